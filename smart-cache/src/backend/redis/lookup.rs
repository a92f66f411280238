//! Lookups: one MGET for everything that is asked at the same moment.
//!
//! A lookup joins the batch that is open, and the first one of a batch has it sent as soon as
//! the other requests that are ready have had their turn. So a busy process asks for the
//! namespace's token once for many requests, and for a popular entry once for all that want it;
//! an idle one sends at once. Every lookup of a batch is sent after all of its requests had
//! arrived, so none of them is answered with something from before its arrival.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use bytes::Bytes;
use redis::{Cmd, Value};
use tokio::runtime::{Handle, Id};
use tokio::sync::Notify;

use super::Core;
use super::reply::{Tokens, array, belongs_to, digest};
use super::up::Up;
use crate::backend::{Lookup, Payload};
use crate::entry::EntryId;
use crate::error::BackendError;
use crate::local::Sample;
use crate::protocol::{Digest, Target, token_name};

/// Entries of one MGET; the next batch is sent right behind it.
const MOST_ENTRIES: usize = 64;
/// The two digests in front of every entry.
pub(super) const DIGESTS: usize = 80;
/// In place of the second digest when an entry has no dynamic tags.
const NO_DYNAMIC: [u8; 40] = [b'-'; 40];

/// The batch that lookups join at the moment.
#[derive(Debug, Default)]
pub(super) struct Batches(Mutex<Arc<Batch>>);

/// Lookups that are sent together.
#[derive(Debug, Default)]
struct Batch {
    /// What is to be sent; taken by whoever sends it, and then nobody joins any more.
    question: Mutex<Question>,
    /// What came of it, for everybody who joined.
    outcome: OnceLock<Result<Vec<Lookup>, BackendError>>,
    landed: Notify,
}

#[derive(Debug, Default)]
enum Question {
    #[default]
    Empty,
    /// With the runtime that will send it: another one may stand still, so nobody joins from there.
    Open(Mget, Vec<Slot>, Id),
    Sent,
}

/// An MGET that is being written.
#[derive(Debug)]
struct Mget {
    command: Cmd,
    /// One buffer for every name.
    name: String,
}

/// One entry of a batch. The tags are no part of its id, so it is shared only by requests that
/// depend on the same ones.
#[derive(Debug)]
struct Slot {
    id: EntryId,
    tags: Vec<Arc<str>>,
    /// Taken before the question is sent; see `local/freshness.rs`.
    sample: Option<Sample>,
}

impl Slot {
    /// The number of its tokens, the namespace's aside: the key's and the tags'.
    fn tokens(&self) -> usize {
        1 + self.tags.len()
    }
}

impl Mget {
    fn new() -> Self {
        let mut command = Cmd::with_capacity(8, 512);
        command.arg("MGET");
        Self {
            command,
            name: String::with_capacity(128),
        }
    }

    fn add(&mut self, write: impl FnOnce(&mut String)) {
        self.name.clear();
        write(&mut self.name);
        self.command.arg(self.name.as_bytes());
    }
}

impl Batches {
    /// Joins the open batch, or opens one. The one who opens it must see to it that it is sent.
    fn join(&self, core: &Core, target: &Target) -> Joined {
        let mut newest = lock(&self.0);
        let joined = newest.join(core, target);
        if let Some((slot, opened)) = joined {
            return Joined {
                batch: Arc::clone(&newest),
                slot,
                opened,
            };
        }
        *newest = Arc::default();
        let slot = newest.join(core, target).map_or(0, |(slot, _)| slot);
        Joined {
            batch: Arc::clone(&newest),
            slot,
            opened: true,
        }
    }
}

/// A place in a batch.
struct Joined {
    batch: Arc<Batch>,
    slot: usize,
    opened: bool,
}

impl Batch {
    /// The slot of `target`, and whether it is the first; `None` when nobody can join any more.
    fn join(&self, core: &Core, target: &Target) -> Option<(usize, bool)> {
        let (names, here) = (&core.shared.names, Handle::current().id());
        let question = &mut *lock(&self.question);
        let opened = matches!(question, Question::Empty);
        if opened {
            let mut mget = Mget::new();
            mget.add(|name| name.push_str(&names.namespace_token()));
            *question = Question::Open(mget, Vec::new(), here);
        }
        let Question::Open(mget, slots, runtime) = question else {
            return None;
        };
        if *runtime != here {
            return None;
        }
        if let Some(slot) = slots
            .iter()
            .position(|slot| slot.id == target.id && slot.tags == target.tags)
        {
            return Some((slot, opened));
        }
        if slots.len() >= MOST_ENTRIES {
            return None;
        }
        mget.add(|name| names.push_entry(name, target.id));
        for key in target.names() {
            mget.add(|name| names.push_token(name, key));
        }
        let names: Vec<_> = target.names().map(|key| token_name(key)).collect();
        let freshness = core.shared.freshness.as_ref();
        let sample = freshness.map(|freshness| freshness.sample(names.iter().map(|name| &**name)));
        slots.push(Slot {
            id: target.id,
            tags: target.tags.clone(),
            sample,
        });
        Some((slots.len() - 1, opened))
    }

    /// Waits until the batch has landed.
    async fn outcome(&self, slot: usize) -> Result<Lookup, BackendError> {
        // Made before the look, so that a landing in between is not missed.
        let landed = self.landed.notified();
        if self.outcome.get().is_none() {
            landed.await;
        }
        match self.outcome.get() {
            Some(Ok(lookups)) => lookups
                .get(slot)
                .cloned()
                .ok_or_else(|| BackendError::Protocol("an answer is missing".into())),
            Some(Err(why)) => Err(why.clone()),
            None => Err(BackendError::Disconnected("the lookup was dropped".into())),
        }
    }

    fn land(&self, outcome: Result<Vec<Lookup>, BackendError>) {
        // Only the first landing counts; the guard's own is for a runtime that ended.
        let _ = self.outcome.set(outcome);
        self.landed.notify_waiters();
    }
}

/// Lands its batch, whatever becomes of the task that sends it.
struct Sending(Arc<Batch>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0
            .land(Err(BackendError::Disconnected("the runtime ended".into())));
    }
}

/// Looks one entry up, together with whatever else is asked at the same moment.
pub(super) async fn look_up(
    core: &Arc<Core>,
    target: &Target,
    deadline: Instant,
) -> Result<Lookup, BackendError> {
    // Waits for a connection that is being made, each request by its own deadline.
    core.link.up(deadline).await?;
    let joined = core.batches.join(core, target);
    if joined.opened {
        let (core, sending) = (Arc::clone(core), Sending(Arc::clone(&joined.batch)));
        tokio::spawn(async move {
            // The other requests that are ready join first.
            tokio::task::yield_now().await;
            let outcome = send(&core, &sending.0).await;
            sending.0.land(outcome);
        });
    }
    joined.batch.outcome(joined.slot).await
}

async fn send(core: &Core, batch: &Batch) -> Result<Vec<Lookup>, BackendError> {
    let question = std::mem::replace(&mut *lock(&batch.question), Question::Sent);
    let Question::Open(mget, slots, _) = question else {
        return Ok(Vec::new());
    };
    let deadline = Instant::now() + core.shared.options.timeout;
    let up = core.link.up(deadline).await?;
    let mut replies = array(up.call(&mget.command, deadline).await?)?;
    let id = up.id();
    let mut lookups = Vec::with_capacity(slots.len());
    let mut at = 1;
    for slot in slots {
        let end = at + 1 + slot.tokens();
        if replies.len() < end {
            return Err(BackendError::Protocol("an answer is missing".into()));
        }
        let entry = std::mem::replace(&mut replies[at], Value::Nil);
        let lookup = match Tokens::read(replies[..1].iter().chain(&replies[at + 1..end])) {
            Tokens::Held => Lookup::Held,
            Tokens::Missing => judge(core, &up, entry, None, None, deadline).await?,
            Tokens::Whole(tokens) => {
                let digest = belongs_to(tokens[0], &id).then(|| digest(&tokens));
                judge(core, &up, entry, digest, slot.sample, deadline).await?
            }
        };
        lookups.push(lookup);
        at = end;
    }
    Ok(lookups)
}

/// Whether an entry proves that it is current.
async fn judge(
    core: &Core,
    up: &Up,
    entry: Value,
    digest: Option<Digest>,
    mut sample: Option<Sample>,
    deadline: Instant,
) -> Result<Lookup, BackendError> {
    let miss = |dynamic| Lookup::Miss { digest, dynamic };
    let Value::BulkString(entry) = entry else {
        return Ok(miss(Vec::new()));
    };
    let entry = Bytes::from(entry);
    // One mark behind the digests tells whether the entry expires; then comes the payload.
    if entry.len() <= DIGESTS {
        return Ok(miss(Vec::new()));
    }
    let (first, second) = (&entry[..40], &entry[40..DIGESTS]);
    // What has a time to live would outlive it in a local tier.
    let is_permanent = entry[DIGESTS] == b'f';
    let payload = Payload::from(entry.slice(DIGESTS + 1..));
    let is_current = digest.is_some_and(|digest| digest.as_bytes() == first);
    if second == NO_DYNAMIC {
        let sampled = || payload.sampled(sample.filter(|_| is_permanent));
        return Ok(if is_current {
            Lookup::Hit(sampled())
        } else {
            miss(Vec::new())
        });
    }
    let dynamic = payload.dynamic();
    if let (Some(sample), Some(freshness)) = (&mut sample, &core.shared.freshness) {
        let names: Vec<_> = dynamic.iter().map(|tag| token_name(tag)).collect();
        freshness.extend(sample, names.iter().map(|name| &**name));
    }
    let found = if is_current {
        dynamic_digest(core, up, &dynamic, deadline).await?
    } else {
        None
    };
    let is_whole = found.is_some_and(|digest| digest.as_bytes() == second);
    Ok(if is_whole {
        Lookup::Hit(payload.sampled(sample.filter(|_| is_permanent)))
    } else {
        miss(dynamic)
    })
}

/// The digest of the tokens of tags that a handler had found; `None` when one is missing.
async fn dynamic_digest(
    core: &Core,
    up: &Up,
    tags: &[Arc<str>],
    deadline: Instant,
) -> Result<Option<Digest>, BackendError> {
    if tags.is_empty() {
        return Ok(None);
    }
    let mut mget = Mget::new();
    for tag in tags {
        mget.add(|name| core.shared.names.push_token(name, tag));
    }
    let replies = array(up.call(&mget.command, deadline).await?)?;
    match Tokens::read(replies.iter()) {
        Tokens::Whole(tokens) => Ok(Some(digest(&tokens))),
        Tokens::Held | Tokens::Missing => Ok(None),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
