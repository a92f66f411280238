//! Lookups: one MGET for everything that is asked at the same moment.
//!
//! A lookup joins the batch that is open (`batch.rs`), and the first one of a batch has it sent as
//! soon as the other requests that are ready have had their turn. So a busy process asks for the
//! namespace's token once for many requests, and for a popular entry once for all that want it;
//! an idle one sends at once. Every lookup of a batch is sent after all of its requests had
//! arrived, so none of them is answered with something from before its arrival. A batch that has as
//! many lookups as `pace.rs` gives it is sent without more ado, and the next one is opened.
//! `judged.rs` says what an answer proves.

mod batch;
mod judged;
mod pace;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use redis::Value;

use self::batch::Batch;
pub(super) use self::batch::Batches;
pub(super) use self::judged::{DIGESTS, NO_DYNAMIC, Origins};
use self::judged::{Judged, judge};
use super::Core;
use super::reply::{Tokens, array, belongs_to};
use crate::backend::Lookup;
use crate::error::BackendError;
use crate::protocol::{Digesting, Target};

/// Looks one entry up, together with whatever else is asked at the same moment.
pub(super) async fn look_up(
    core: &Arc<Core>,
    target: &Target,
    deadline: Instant,
) -> Result<Lookup, BackendError> {
    // Waits for a connection that is being made, each request by its own deadline.
    if !core.link.is_up() {
        // On the heap like all that is rare here: each lookup would carry room for it.
        Box::pin(core.link.up(deadline)).await?;
    }
    let joined = core.batches.join(core, target);
    if joined.opened {
        let sending = Sending {
            core: Arc::clone(core),
            batch: Arc::clone(&joined.batch),
        };
        tokio::spawn(sending.send(deadline));
    }
    joined.batch.outcome(core, joined.slot, deadline).await
}

/// A batch on its way; lands it, whatever becomes of the task that sends it.
struct Sending {
    core: Arc<Core>,
    batch: Arc<Batch>,
}

impl Sending {
    async fn send(self, deadline: Instant) {
        self.batch.is_due().await;
        self.land(send(&self.core, &self.batch, deadline).await);
    }

    fn land(&self, outcome: Result<Vec<Judged>, BackendError>) {
        // First this, or who is woken and asks again would count twice among those that wait.
        self.core.batches.landed(&self.batch);
        self.batch.land(outcome);
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if !self.batch.has_landed() {
            // The runtime has ended, perhaps before it was sent: nobody joins it any more.
            drop(self.batch.close());
            self.land(Err(BackendError::ended()));
        }
    }
}

async fn send(core: &Core, batch: &Batch, deadline: Instant) -> Result<Vec<Judged>, BackendError> {
    let Some((mget, slots)) = batch.close() else {
        return Ok(Vec::new());
    };
    let up = core.link.up(deadline).await?;
    let mut replies = array(up.call(mget.command(), deadline).await?)?;
    let id = up.id();
    let begun = match replies.first() {
        Some(Value::BulkString(token)) => Digesting::begin(token),
        _ => Digesting::default(),
    };
    let mut outcome = Vec::with_capacity(slots.len());
    let (mut at, mut bytes) = (1, 0);
    for slot in slots {
        let end = at + 1 + slot.tokens();
        if replies.len() < end {
            return Err(BackendError::Protocol("an answer is missing".into()));
        }
        let entry = match std::mem::replace(&mut replies[at], Value::Nil) {
            Value::BulkString(entry) => Some(Bytes::from(entry)),
            // Nothing, or something of another type, which is no entry either.
            _ => None,
        };
        bytes += entry.as_ref().map_or(0, Bytes::len);
        outcome.push(
            match Tokens::read(replies[..1].iter().chain(&replies[at + 1..end])) {
                Tokens::Held => Judged::Known(Lookup::Held),
                Tokens::Whole(tokens) if belongs_to(tokens[0], &id) => {
                    let digest = begun.clone().of(tokens[1..].iter().copied());
                    judge(entry, &tokens, Some(digest), slot.sample)
                }
                Tokens::Missing | Tokens::Whole(_) => judge(entry, &[], None, None),
            },
        );
        at = end;
    }
    core.batches.saw(bytes, outcome.len());
    Ok(outcome)
}
