//! Stores: under the lease, with the tokens of the ticket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::Shared;
use super::entry::{list_alone, written};
use super::ticket::{Granted, listed_digest};
use super::tokens::{Token, UNUSED_TOKEN_LIFE, Wanted, digest_of, now_us};
use crate::backend::{Filling, Lease, Stored};
use crate::error::BackendError;
use crate::protocol::Target;

impl Shared {
    pub(super) async fn put(
        self: &Arc<Self>,
        target: &Target,
        lease: &Lease,
        filling: &Filling<'_>,
    ) -> Result<Stored, BackendError> {
        let Some(granted) = Granted::read(&lease.value) else {
            return Ok(Stored::LeaseLost);
        };
        if !self.holds(target, lease).await? {
            return Ok(Stored::LeaseLost);
        }
        let stored = self.put_under(target, lease, &granted, filling).await;
        // Given back only now: whoever has the next one finds the entry.
        if let Err(why) = self.spend(target, lease).await {
            tracing::debug!(key = %target.key, cause = %why, "a lease could not be given back; it expires by itself");
        }
        stored
    }

    async fn put_under(
        self: &Arc<Self>,
        target: &Target,
        lease: &Lease,
        granted: &Granted,
        filling: &Filling<'_>,
    ) -> Result<Stored, BackendError> {
        // The digest alone keeps a stale answer from being served; this look only saves the
        // write, and tells how long the answer has to settle.
        let deadline = self.soon();
        let incarnation = self.incarnation(deadline).await?;
        let statics = self.statics(target, Arc::clone(&incarnation));
        let mut wanted = statics.clone();
        wanted.extend(filling.dynamic.iter().map(|tag| self.wanted(tag)));
        let (tokens, is_retiring) = self.read_to_keep(&wanted, deadline).await?;
        self.is_still(&incarnation, deadline).await?;
        let (own, found) = tokens.split_at(statics.len());
        if digest_of(own) != Some(lease.digest) {
            return Ok(Stored::Cleared);
        }
        let of_list = listed_digest(filling.dynamic, &granted.foreseen);
        if !filling.dynamic.is_empty() && (of_list.is_none() || of_list != digest_of(found)) {
            self.leave_list(target, filling, found, &wanted[statics.len()..])
                .await?;
            return Ok(Stored::YoungTag);
        }
        let newest = tokens.iter().flatten().map(|token| token.stamp).max();
        let age = granted.began.saturating_sub(newest.unwrap_or(0));
        let settling = Duration::from_micros(age) < self.options.settle;
        let ttl = match (settling, filling.ttl) {
            (true, Some(ttl)) => Some(ttl.min(self.options.settle)),
            (true, None) => Some(self.options.settle),
            (false, ttl) => ttl,
        };
        let value = written(lease.digest, of_list, ttl.is_some(), filling.payload);
        self.write(target, value, ttl).await?;
        if !settling {
            self.keep(&wanted[1..], &tokens[1..], ttl, is_retiring)
                .await;
        }
        Ok(Stored::Landed(ttl))
    }

    /// A tag was found that the ticket did not foresee, or that has changed since: the next
    /// ticket reads the list of them here, and mints what is missing.
    async fn leave_list(
        self: &Arc<Self>,
        target: &Target,
        filling: &Filling<'_>,
        found: &[Option<Token>],
        wanted: &[Wanted],
    ) -> Result<(), BackendError> {
        let missing = wanted
            .iter()
            .zip(found)
            .filter(|(_, token)| token.is_none())
            .map(|(wanted, _)| wanted.clone())
            .collect();
        self.mint(missing, &[], self.soon()).await?;
        let list = crate::codec::head_alone(filling.payload);
        self.write(target, list_alone(list), Some(UNUSED_TOKEN_LIFE))
            .await
    }

    async fn write(
        self: &Arc<Self>,
        target: &Target,
        value: bytes::Bytes,
        ttl: Option<Duration>,
    ) -> Result<(), BackendError> {
        let (bytes, longest) = (value.len() as u64, self.store.longest_value());
        if let Some(limit) = longest.filter(|longest| bytes > *longest) {
            return Err(BackendError::TooLarge { bytes, limit });
        }
        let values = [(self.names.entry(target.id), value)];
        let kept = self.call(self.soon(), self.store.set_many(&values, ttl));
        if !kept.await?.is_empty() {
            return Err(BackendError::Refused(
                format!("the store does not keep {bytes} bytes").into(),
            ));
        }
        self.list(target, ttl).await
    }

    /// An entry depends on these tokens now, so they must not expire before it. One that has
    /// outlived an unused token's life was made permanent before, unless the sweep has given some
    /// an end since (`is_retiring`).
    pub(super) async fn keep(
        self: &Arc<Self>,
        wanted: &[Wanted],
        tokens: &[Option<Token>],
        ttl: Option<Duration>,
        is_retiring: bool,
    ) {
        if !is_retiring && ttl.is_some_and(|ttl| ttl < UNUSED_TOKEN_LIFE / 2) {
            return;
        }
        let now = now_us();
        let is_young =
            |token: &Token| now.saturating_sub(token.stamp) <= UNUSED_TOKEN_LIFE.as_micros() as u64;
        let mut keeping = JoinSet::new();
        for (wanted, token) in wanted.iter().zip(tokens) {
            if is_retiring || token.as_ref().is_some_and(is_young) {
                let (shared, name) = (Arc::clone(self), wanted.name.clone());
                keeping.spawn(async move {
                    let deadline: Instant = shared.soon();
                    let kept = shared.call(deadline, shared.store.touch(&name, None)).await;
                    if let Err(why) = kept {
                        // The entry misses in an hour, and is filled again.
                        tracing::debug!(%name, cause = %why, "a token could not be made permanent");
                    }
                });
            }
        }
        keeping.join_all().await;
    }
}
