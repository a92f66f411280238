//! The end of the road: a computed value is stored, and those who wait are told.

use std::sync::Arc;

use bytes::Bytes;

use super::Opened;
use crate::backend::{Added, Expiry, Filling, NewValue, Stored};
use crate::codec::{self, Head};
use crate::entry::{Answer, Entry};
use crate::error::BackendError;
use crate::protocol::Target;
use crate::protocol::flight::Leader;
use crate::protocol::lease::HeldLease;
use crate::protocol::turn::Lead;

/// A value that has been computed and is not stored yet.
pub(super) struct Storing {
    pub(super) opened: Opened,
    pub(super) target: Arc<Target>,
    pub(super) key: String,
    pub(super) name: String,
    /// Without any tag: it becomes a plain value.
    pub(super) is_plain: bool,
    pub(super) answer: Answer,
    /// Tags that were found while it was computed.
    pub(super) found: Vec<Arc<str>>,
    pub(super) expiry: Expiry,
}

impl Storing {
    /// Stores the value and tells the followers; another value, where somebody has set one
    /// meanwhile.
    pub(super) async fn land(self, lead: Lead) -> Option<Bytes> {
        let (lease, seat) = lead.into_parts();
        let is_distrusted = self
            .opened
            .smart
            .inner
            .pending
            .distrusts(&self.target, &self.found);
        match lease {
            Some(lease) if !is_distrusted && self.is_plain => self.add(lease, seat).await,
            Some(lease) if !is_distrusted => {
                self.store(lease, seat).await;
                None
            }
            _ => {
                look_again(seat);
                None
            }
        }
    }

    fn entry(&self) -> Arc<Entry> {
        Arc::new(Entry::new(self.answer.clone(), false))
    }

    fn tell(&self, seat: Option<Leader>) {
        if let Some(seat) = seat {
            seat.answer(&self.entry());
        }
    }

    /// As a plain value, where there is none and nobody has removed one meanwhile.
    async fn add(&self, lease: HeldLease, seat: Option<Leader>) -> Option<Bytes> {
        let Ok(bytes) = self.opened.seal(&self.key, self.answer.body.clone()) else {
            self.tell(seat);
            return None;
        };
        let value = NewValue {
            name: &self.name,
            bytes: &bytes,
            expiry: self.expiry,
        };
        let added = match lease.add_value(value).await {
            // A backend without leases for values: at least nobody's value is replaced.
            Err(BackendError::Unsupported(_)) => {
                let bytes = bytes.clone();
                let added = self.opened.store.add(&self.name, bytes, self.expiry).await;
                added.map(|added| if added { Added::Stored } else { Added::Present })
            }
            added => added,
        };
        match added {
            Ok(Added::Stored) => self.tell(seat),
            Ok(Added::Refused) => look_again(seat),
            Ok(Added::Present) => {
                look_again(seat);
                let names = std::slice::from_ref(&self.name);
                let winner = self.opened.store.get_many(names).await.ok()?;
                return winner.into_iter().next().flatten();
            }
            Err(why) => {
                tracing::debug!(name = %self.name, cause = %why, "a computed value was not stored");
                self.tell(seat);
            }
        }
        None
    }

    /// As an entry under tokens.
    async fn store(&self, lease: HeldLease, mut seat: Option<Leader>) {
        // What depends on tags that were found counts only once it is stored.
        if let Some(seat) = seat.take_if(|_| self.found.is_empty()) {
            seat.answer(&self.entry());
        }
        if let Some(seat) = &seat {
            seat.close();
        }
        for tag in &self.found {
            crate::registry::remember(tag);
        }
        let head = Head {
            key: Arc::clone(&self.target.key),
            tags: self.target.tags.clone(),
            dynamic: self.found.clone(),
        };
        let request = format!("value {}", self.name);
        let payload = codec::encode(self.target.id, &head, &self.answer, &request);
        let keys = self.opened.smart.inner.keyring.as_ref();
        let Some(payload) = codec::seal(self.target.id, payload, keys) else {
            tracing::warn!(name = %self.name, "no randomness to seal a value with: it is not stored");
            return look_again(seat);
        };
        let filling = Filling {
            payload: &payload,
            ttl: self.expiry,
            dynamic: &self.found,
        };
        match lease.store(filling).await {
            Ok(Stored::Landed(_)) => self.tell(seat),
            outcome => {
                tracing::debug!(name = %self.name, ?outcome, "a computed value was not stored");
                look_again(seat);
            }
        }
    }
}

fn look_again(seat: Option<Leader>) {
    if let Some(seat) = seat {
        seat.look_again();
    }
}
