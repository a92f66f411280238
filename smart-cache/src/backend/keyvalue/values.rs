//! The plain values beside the entries, and those that were computed under a lease.
//!
//! Nothing can store a value and look at tokens in one step here. So a computed value carries its
//! proof, as an entry does: the digest of the tokens of its ticket. Whoever sets, removes or moves
//! a value deletes the token of its [`value_key`] first, and with it the proof of whatever is still
//! on its way. A value that was simply set carries nothing and stands as it is.
//!
//! A computed value that is to be counted or moved loses its proof first and becomes a plain one,
//! and one whose proof has fallen makes room for another: each by comparing, so that what somebody
//! sets meanwhile stays.
//!
//! Over 400 lines: the trait has many methods, and each has to keep the proof above.

use std::sync::Arc;

use bytes::Bytes;

use super::Shared;
use super::tokens::{UNUSED_TOKEN_LIFE, Wanted, digest_of};
use crate::backend::{
    Added, BoxFuture, Counted, Expiry, Lease, NamePage, NewValue, Ttl, ValueStore, value_key,
};
use crate::error::BackendError;
use crate::protocol::Target;

/// Begins what does not stand as it is.
const MARK: &[u8] = b"\0SCV\x01";
/// Behind the mark: a computed value, or a plain one that begins with the mark by itself.
const COMPUTED: u8 = 1;
const PLAIN: u8 = 0;
/// How often a step begins again because somebody else was faster.
const ATTEMPTS: usize = 32;

/// The values that a backend gives out.
#[derive(Debug)]
pub(super) struct Values {
    shared: Arc<Shared>,
    store: Arc<dyn ValueStore>,
    /// In front of each name, where the store is that of the entries too.
    prefix: &'static str,
}

/// A stored value, read.
enum Found {
    Plain(Bytes),
    /// With the digest that its tokens must have, and whose tokens those are.
    Computed(Vec<u8>, Vec<String>, Bytes),
}

/// What stands in a value's place.
enum Standing {
    Nothing,
    /// A value that was set.
    Plain,
    /// One that was computed, as it is stored and as it is.
    Computed {
        raw: Bytes,
        value: Bytes,
    },
    /// One that was computed and has lost its proof, as it is stored.
    Dead(Bytes),
}

impl Values {
    /// In a store of their own, or beside the entries.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let (store, prefix) = match &shared.values {
            Some(own) => (Arc::clone(own), ""),
            None => (Arc::clone(&shared.store), "v:"),
        };
        Self {
            shared,
            store,
            prefix,
        }
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn all(&self, names: &[String]) -> Vec<String> {
        names.iter().map(|name| self.name(name)).collect()
    }

    /// Ends whatever is being computed for these names.
    async fn outlaw(&self, names: impl Iterator<Item = &str>) -> Result<(), BackendError> {
        let tokens: Vec<_> = names
            .map(|name| self.shared.names.token(&value_key(name)))
            .collect();
        if tokens.is_empty() {
            return Ok(());
        }
        self.shared
            .delete(&tokens, self.shared.soon())
            .await
            .map(drop)
    }

    /// The living values under these stored names.
    async fn living(&self, stored: &[String]) -> Result<Vec<Option<Bytes>>, BackendError> {
        let found = self.store.get_many(stored).await?;
        let mut living = Vec::with_capacity(found.len());
        for value in found {
            living.push(match value.map(read) {
                None => None,
                Some(Found::Plain(value)) => Some(value),
                Some(Found::Computed(digest, keys, value)) => {
                    self.is_proved(&digest, &keys).await?.then_some(value)
                }
            });
        }
        Ok(living)
    }

    async fn is_proved(&self, digest: &[u8], keys: &[String]) -> Result<bool, BackendError> {
        let deadline = self.shared.soon();
        let incarnation = self.shared.incarnation(deadline).await?;
        let mut wanted = vec![self.shared.namespace(Arc::clone(&incarnation))];
        wanted.extend(keys.iter().map(|key| self.shared.wanted(key)));
        let tokens = self.shared.read(&wanted, deadline).await?;
        self.shared.is_still(&incarnation, deadline).await?;
        Ok(digest_of(&tokens).is_some_and(|now| now.as_bytes()[..] == *digest))
    }

    /// What stands under one stored name.
    async fn standing(&self, stored: &str) -> Result<Standing, BackendError> {
        let found = self.store.get_many(&[stored.to_owned()]).await?;
        let Some(raw) = found.into_iter().next().flatten() else {
            return Ok(Standing::Nothing);
        };
        Ok(match read(raw.clone()) {
            Found::Plain(_) => Standing::Plain,
            Found::Computed(digest, keys, value) if self.is_proved(&digest, &keys).await? => {
                Standing::Computed { raw, value }
            }
            Found::Computed(..) => Standing::Dead(raw),
        })
    }

    /// Whether there is a value under a stored name.
    async fn lives(&self, stored: &str) -> Result<bool, BackendError> {
        let standing = self.standing(stored).await?;
        Ok(matches!(
            standing,
            Standing::Plain | Standing::Computed { .. }
        ))
    }

    async fn count(&self, name: &str, delta: i64) -> Result<Counted, BackendError> {
        let stored = self.name(name);
        for _ in 0..ATTEMPTS {
            let counted = self.store.increment(&stored, delta).await?;
            if counted != Counted::NotAnInteger {
                return Ok(counted);
            }
            match self.standing(&stored).await? {
                Standing::Nothing | Standing::Dead(_) => return Ok(Counted::Missing),
                Standing::Plain => return Ok(Counted::NotAnInteger),
                Standing::Computed { raw, value } => {
                    let plain = plain(&value);
                    self.store.exchange(&stored, &raw, Some(&plain)).await?;
                }
            }
        }
        Err(busy())
    }

    async fn move_value(&self, from: &str, to: &str) -> Result<bool, BackendError> {
        let (old, new) = (self.name(from), self.name(to));
        for _ in 0..ATTEMPTS {
            match self.standing(&old).await? {
                Standing::Nothing | Standing::Dead(_) => return Ok(false),
                Standing::Computed { raw, value } => {
                    let plain = plain(&value);
                    self.store.exchange(&old, &raw, Some(&plain)).await?;
                }
                Standing::Plain => {
                    self.outlaw([from, to].into_iter()).await?;
                    return self.store.rename(&old, &new).await;
                }
            }
        }
        Err(busy())
    }

    /// Stores where there is nothing, or only what has lost its proof; whether it did.
    async fn add_over_dead(
        &self,
        stored: &str,
        bytes: Bytes,
        expiry: Expiry,
    ) -> Result<bool, BackendError> {
        for _ in 0..ATTEMPTS {
            if self.store.add(stored, bytes.clone(), expiry).await? {
                return Ok(true);
            }
            match self.standing(stored).await? {
                Standing::Plain | Standing::Computed { .. } => return Ok(false),
                // What somebody has put there since stays.
                Standing::Dead(raw) => drop(self.store.exchange(stored, &raw, None).await?),
                Standing::Nothing => {}
            }
        }
        Err(busy())
    }
}

fn busy() -> BackendError {
    BackendError::Refused("the value changes all the time".into())
}

impl Shared {
    /// Stores a value that was computed under this lease; see the module.
    pub(super) async fn add_computed(
        self: &Arc<Self>,
        target: &Target,
        lease: &Lease,
        value: &NewValue<'_>,
    ) -> Result<Added, BackendError> {
        if !self.holds(target, lease).await? {
            return Ok(Added::Refused);
        }
        let added = self.add_under(target, lease, value).await;
        // Given back only now: whoever has the next one finds the value.
        if let Err(why) = self.spend(target, lease).await {
            tracing::debug!(key = %target.key, cause = %why, "a lease could not be given back; it expires by itself");
        }
        added
    }

    async fn add_under(
        self: &Arc<Self>,
        target: &Target,
        lease: &Lease,
        value: &NewValue<'_>,
    ) -> Result<Added, BackendError> {
        let deadline = self.soon();
        let incarnation = self.incarnation(deadline).await?;
        let wanted: Vec<Wanted> = self.statics(target, incarnation);
        let (tokens, is_retiring) = self.read_to_keep(&wanted, deadline).await?;
        if digest_of(&tokens) != Some(lease.digest) {
            return Ok(Added::Refused);
        }
        let values = Values::new(Arc::clone(self));
        let stored = values.name(value.name);
        let bytes = computed(lease.digest.as_bytes(), target, value.bytes);
        if !values.add_over_dead(&stored, bytes, value.expiry).await? {
            return Ok(Added::Present);
        }
        // Its tokens must not expire before it.
        let ttl = value.expiry.filter(|ttl| *ttl < UNUSED_TOKEN_LIFE / 2);
        self.keep(&wanted[1..], &tokens[1..], ttl, is_retiring)
            .await;
        Ok(Added::Stored)
    }
}

fn read(value: Bytes) -> Found {
    let Some(rest) = value.strip_prefix(MARK) else {
        return Found::Plain(value);
    };
    match rest.split_first() {
        Some((&PLAIN, own)) => Found::Plain(value.slice_ref(own)),
        Some((&COMPUTED, own)) => parse(&value.slice_ref(own)).unwrap_or(Found::Plain(value)),
        _ => Found::Plain(value),
    }
}

fn parse(bytes: &Bytes) -> Option<Found> {
    let (digest, rest) = bytes.split_first_chunk::<40>()?;
    let (count, mut rest) = rest.split_first_chunk::<2>()?;
    let mut keys = Vec::new();
    for _ in 0..u16::from_le_bytes(*count) {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let (key, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        keys.push(String::from_utf8(key.to_vec()).ok()?);
        rest = tail;
    }
    Some(Found::Computed(
        digest.to_vec(),
        keys,
        bytes.slice_ref(rest),
    ))
}

/// A plain value as it is stored: as it is, unless it begins like one that is not.
fn plain(value: &Bytes) -> Bytes {
    if value.starts_with(MARK) {
        [MARK, &[PLAIN], value].concat().into()
    } else {
        value.clone()
    }
}

fn computed(digest: &[u8], target: &Target, value: &[u8]) -> Bytes {
    let mut out = [MARK, &[COMPUTED], digest].concat();
    let keys: Vec<_> = target.names().collect();
    out.extend_from_slice(&(keys.len() as u16).to_le_bytes());
    for key in keys {
        out.extend_from_slice(&(key.len() as u32).to_le_bytes());
        out.extend_from_slice(key.as_bytes());
    }
    out.extend_from_slice(value);
    out.into()
}

impl ValueStore for Values {
    fn get_many<'a>(
        &'a self,
        names: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, BackendError>> {
        Box::pin(async move {
            self.shared.breaker.admit()?;
            let (stored, deadline) = (self.all(names), self.shared.patient());
            self.shared.call(deadline, self.living(&stored)).await
        })
    }

    fn set_many<'a>(
        &'a self,
        values: &'a [(String, Bytes)],
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<Vec<usize>, BackendError>> {
        Box::pin(async move {
            self.outlaw(values.iter().map(|(name, _)| name.as_str()))
                .await?;
            let stored: Vec<_> = values
                .iter()
                .map(|(name, value)| (self.name(name), plain(value)))
                .collect();
            self.store.set_many(&stored, expiry).await
        })
    }

    fn add<'a>(
        &'a self,
        name: &'a str,
        value: Bytes,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            self.add_over_dead(&self.name(name), plain(&value), expiry)
                .await
        })
    }

    fn touch<'a>(
        &'a self,
        name: &'a str,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            let stored = self.name(name);
            Ok(self.lives(&stored).await? && self.store.touch(&stored, expiry).await?)
        })
    }

    fn delete_many<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<u64, BackendError>> {
        Box::pin(async move {
            self.outlaw(names.iter().map(String::as_str)).await?;
            self.store.delete_many(&self.all(names)).await
        })
    }

    fn increment<'a>(
        &'a self,
        name: &'a str,
        delta: i64,
    ) -> BoxFuture<'a, Result<Counted, BackendError>> {
        Box::pin(self.count(name, delta))
    }

    fn rename<'a>(
        &'a self,
        from: &'a str,
        to: &'a str,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(self.move_value(from, to))
    }

    fn ttl<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Ttl, BackendError>> {
        Box::pin(async move {
            let stored = self.name(name);
            if self.lives(&stored).await? {
                self.store.ttl(&stored).await
            } else {
                Ok(Ttl::Missing)
            }
        })
    }

    fn names<'a>(
        &'a self,
        glob: &'a str,
        from: Option<String>,
    ) -> BoxFuture<'a, Result<NamePage, BackendError>> {
        Box::pin(async move {
            let mut page = self.store.names(&self.name(glob), from).await?;
            for name in &mut page.names {
                name.drain(..self.prefix.len().min(name.len()));
            }
            Ok(page)
        })
    }

    /// In a store of their own it is that store's clear; beside entries each name is removed.
    fn clear(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async move {
            if self.prefix.is_empty() {
                return self.store.clear().await;
            }
            let mut from = None;
            loop {
                let page = self.store.names(&self.name("*"), from).await?;
                if !page.names.is_empty() {
                    self.store.delete_many(&page.names).await?;
                }
                match page.next {
                    Some(next) => from = Some(next),
                    None => return Ok(()),
                }
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.store.close()
    }

    fn incarnation(&self) -> BoxFuture<'_, Result<String, BackendError>> {
        self.store.incarnation()
    }

    fn blocking_twin(&self) -> Option<Arc<dyn ValueStore>> {
        let twin = self.shared.twin()?;
        Some(Arc::new(Self::new(Arc::new(twin))))
    }

    fn longest_value(&self) -> Option<u64> {
        self.store.longest_value()
    }

    fn describe(&self) -> String {
        self.store.describe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_value_that_looks_computed_stays_plain() {
        let hostile = computed(&[b'x'; 40], &Target::new("k", &["t"], b""), b"value");
        for value in [hostile, Bytes::from_static(MARK), Bytes::from_static(b"7")] {
            match read(plain(&value)) {
                Found::Plain(read) => assert_eq!(read, value),
                Found::Computed(..) => panic!("{value:?}"),
            }
        }
    }

    #[test]
    fn a_computed_value_tells_its_proof() {
        let bytes = computed(&[b'x'; 40], &Target::new("k", &["t"], b""), b"value");
        let Found::Computed(digest, keys, value) = read(bytes) else {
            panic!("it was computed")
        };
        assert_eq!(
            (digest, value),
            (vec![b'x'; 40], Bytes::from_static(b"value"))
        );
        assert_eq!(keys, ["k", "t"]);
    }
}
