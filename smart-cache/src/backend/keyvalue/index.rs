//! Which entries a key has: bounds the variants, and finds what a clear has left behind.
//!
//! Each key has so many places as it may have variants. A new entry takes the next place, and the
//! entry that had it goes: the oldest first, at a handful of round trips for each new variant,
//! however many there are. Steps of two processes mix, so the bound is approximate; nothing here
//! decides whether an entry may be served.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::Shared;
use super::entry::Kept;
use super::tokens::UNUSED_TOKEN_LIFE;
use crate::backend::{Counted, Reclaimed};
use crate::codec;
use crate::entry::EntryId;
use crate::error::BackendError;
use crate::protocol::Target;

/// How many places are read at once when a key is reclaimed.
const PLACES_AT_ONCE: u64 = 256;
/// How many entries, with their bodies, are read at once.
const ENTRIES_AT_ONCE: usize = 16;

impl Shared {
    /// Gives an entry that was just written a place under its key, unless it has one.
    pub(super) async fn list(
        &self,
        target: &Target,
        ttl: Option<Duration>,
    ) -> Result<(), BackendError> {
        let own = self.names.place(target.id);
        if self.get(own.clone(), self.soon()).await?.is_some() {
            return Ok(());
        }
        let place = self.next_place(&target.key).await?;
        let at_place = self.names.at_place(&target.key, place);
        let before = self.get(at_place.clone(), self.soon()).await?;
        let values = [
            (at_place, Bytes::from(target.id.hex())),
            (own, Bytes::from(place.to_string())),
        ];
        let expiry = ttl.map(|ttl| ttl + UNUSED_TOKEN_LIFE);
        self.call(self.soon(), self.store.set_many(&values, expiry))
            .await?;
        if let Some(before) = before
            .and_then(|id| read_id(&id))
            .filter(|id| *id != target.id)
        {
            self.displace(before, place).await?;
        }
        Ok(())
    }

    /// The next place of a key; after the last one comes the first again.
    async fn next_place(&self, key: &str) -> Result<u64, BackendError> {
        let name = self.names.places(key);
        let most = u64::from(self.options.max_variants.max(1));
        for _ in 0..2 {
            let counting = self.store.increment(&name, 1);
            match self.call(self.soon(), counting).await? {
                Counted::Now(count) => return Ok(count.unsigned_abs() % most),
                Counted::Missing => {
                    let first = self.store.add(&name, Bytes::from_static(b"0"), None);
                    self.call(self.soon(), first).await?;
                }
                Counted::NotAnInteger | Counted::Overflow => {
                    self.delete(std::slice::from_ref(&name), self.soon())
                        .await?;
                }
            }
        }
        Ok(0)
    }

    /// Removes the entry that had a place, if it has not got another one since.
    async fn displace(&self, id: EntryId, place: u64) -> Result<(), BackendError> {
        let own = self.names.place(id);
        let stands_at = self.get(own.clone(), self.soon()).await?;
        if stands_at.is_some_and(|at| at == place.to_string().as_bytes()) {
            self.delete(&[self.names.entry(id), own], self.soon())
                .await?;
        }
        Ok(())
    }

    /// Removes the entries of a key that no token vouches for any more.
    pub(super) async fn reclaim(
        &self,
        key: &str,
        freed: &mut Reclaimed,
    ) -> Result<(), BackendError> {
        let counted = self.get(self.names.places(key), self.soon()).await?;
        let counted: Option<u64> =
            counted.and_then(|count| std::str::from_utf8(&count).ok()?.trim().parse().ok());
        let Some(counted) = counted else {
            return Ok(());
        };
        let most = u64::from(self.options.max_variants.max(1));
        // Places begin with 1, as the count does, and 0 comes when all have been given out.
        let places: Vec<u64> = (0..most.min(counted + 1)).collect();
        for places in places.chunks(PLACES_AT_ONCE as usize) {
            let names: Vec<_> = places
                .iter()
                .map(|place| self.names.at_place(key, *place))
                .collect();
            let ids = self.get_many(&names, self.soon()).await?;
            let listed: Vec<(String, EntryId)> = names
                .into_iter()
                .zip(ids)
                .filter_map(|(name, id)| Some((name, read_id(&id?)?)))
                .collect();
            for listed in listed.chunks(ENTRIES_AT_ONCE) {
                self.reclaim_some(listed, freed).await?;
            }
        }
        Ok(())
    }

    async fn reclaim_some(
        &self,
        listed: &[(String, EntryId)],
        freed: &mut Reclaimed,
    ) -> Result<(), BackendError> {
        let names: Vec<_> = listed.iter().map(|(_, id)| self.names.entry(*id)).collect();
        let entries = self.get_many(&names, self.soon()).await?;
        let mut dead = Vec::new();
        for ((place, id), entry) in listed.iter().zip(entries) {
            let kept = entry.and_then(Kept::read);
            let lives = match &kept {
                Some(kept) => self.is_vouched_for(kept).await?,
                None => false,
            };
            if !lives {
                if let Some(summary) = kept.and_then(|kept| codec::summary(&kept.payload)) {
                    let lived = SystemTime::now().duration_since(summary.created);
                    freed.add(lived.unwrap_or_default());
                }
                dead.extend([self.names.entry(*id), self.names.place(*id), place.clone()]);
            }
        }
        if !dead.is_empty() {
            self.delete(&dead, self.soon()).await?;
        }
        Ok(())
    }
}

fn read_id(text: &[u8]) -> Option<EntryId> {
    EntryId::parse(std::str::from_utf8(text).ok()?)
}
