//! Lookups: one MGET for everything that is asked at the same moment.
//!
//! A lookup joins the batch that is open, and the first one of a batch has it sent as soon as
//! the other requests that are ready have had their turn. So a busy process asks for the
//! namespace's token once for many requests, and for a popular entry once for all that want it;
//! an idle one sends at once. Every lookup of a batch is sent after all of its requests had
//! arrived, so none of them is answered with something from before its arrival.
//!
//! Over 400 lines, since joining a batch, sending it and judging its answers are one argument.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use redis::{Cmd, Value};
use tokio::runtime::{Handle, Id};
use tokio::sync::{Notify, OnceCell};

use super::Core;
use super::reply::{Tokens, array, belongs_to, digest};
use crate::backend::{Lookup, Payload, Stale};
use crate::entry::EntryId;
use crate::error::BackendError;
use crate::local::Sample;
use crate::protocol::{Digest, Target, expired_at, origin, token_name};

/// Entries and names of one MGET; the next batch is sent right behind it.
const MOST_ENTRIES: usize = 64;
const MOST_NAMES: usize = 1024;
/// About as many bytes as one answer should have: who shares a batch waits for all of it.
const MOST_BYTES: usize = 512 << 10;
/// The digests in front of every entry: of its static tokens, of those that its handler had found,
/// and of the origins of all of them.
pub(super) const DIGESTS: usize = 120;
const ORIGINS: std::ops::Range<usize> = 80..120;
/// In place of the second digest when an entry has no dynamic tags.
pub(super) const NO_DYNAMIC: [u8; 40] = [b'-'; 40];

/// The batch that lookups join at the moment.
#[derive(Debug, Default)]
pub(super) struct Batches {
    newest: Mutex<Arc<Batch>>,
    /// Bytes of an entry as of late.
    usual: AtomicUsize,
}

/// Lookups that are sent together.
#[derive(Debug, Default)]
struct Batch {
    /// What is to be sent; taken by whoever sends it, and then nobody joins any more.
    question: Mutex<Question>,
    /// What came of it, for everybody who joined.
    outcome: OnceLock<Result<Vec<Judged>, BackendError>>,
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

/// One entry of a batch, shared by requests that ask for it with the same tags.
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
    /// How many entries fit into one batch, as large as they have been of late.
    fn room(&self) -> usize {
        let usual = self.usual.load(Ordering::Relaxed).max(1);
        (MOST_BYTES / usual).clamp(1, MOST_ENTRIES)
    }

    /// Takes the size of the newest entries into account.
    fn saw(&self, bytes: usize, entries: usize) {
        let usual = self.usual.load(Ordering::Relaxed);
        let newest = bytes.checked_div(entries).unwrap_or(usual);
        self.usual
            .store((3 * usual + newest) / 4, Ordering::Relaxed);
    }

    /// Joins the open batch, or opens one. The one who opens it must see to it that it is sent.
    fn join(&self, core: &Core, target: &Target) -> Joined {
        let mut newest = lock(&self.newest);
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
        let names_so_far: usize = slots.iter().map(Slot::tokens).sum();
        let fits =
            names_so_far + 1 + target.tags.len() <= MOST_NAMES && slots.len() < core.batches.room();
        if !fits && !slots.is_empty() {
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
    async fn outcome(
        &self,
        core: &Core,
        slot: usize,
        deadline: Instant,
    ) -> Result<Lookup, BackendError> {
        // Made before the look, so that a landing in between is not missed.
        let landed = self.landed.notified();
        if self.outcome.get().is_none() {
            landed.await;
        }
        match self.outcome.get() {
            Some(Ok(judged)) => match judged.get(slot) {
                Some(Judged::Known(lookup)) => Ok(lookup.clone()),
                Some(Judged::Tagged(tagged, lookup)) => {
                    // One of those who share it asks; the others take its answer.
                    lookup
                        .get_or_try_init(|| tagged.look_up(core, deadline))
                        .await
                        .cloned()
                }
                None => Err(BackendError::Protocol("an answer is missing".into())),
            },
            Some(Err(why)) => Err(why.clone()),
            None => Err(BackendError::Disconnected("the lookup was dropped".into())),
        }
    }

    fn land(&self, outcome: Result<Vec<Judged>, BackendError>) {
        // Only the first landing counts; the guard's own is for a runtime that ended.
        let _ = self.outcome.set(outcome);
        self.landed.notify_waiters();
    }
}

/// Lands its batch, whatever becomes of the task that sends it.
struct Sending(Arc<Batch>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.land(Err(BackendError::ended()));
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
            let outcome = send(&core, &sending.0, deadline).await;
            sending.0.land(outcome);
        });
    }
    joined.batch.outcome(core, joined.slot, deadline).await
}

async fn send(core: &Core, batch: &Batch, deadline: Instant) -> Result<Vec<Judged>, BackendError> {
    let question = std::mem::replace(&mut *lock(&batch.question), Question::Sent);
    let Question::Open(mget, slots, _) = question else {
        return Ok(Vec::new());
    };
    let up = core.link.up(deadline).await?;
    let mut replies = array(up.call(&mget.command, deadline).await?)?;
    let id = up.id();
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
                    judge(entry, &tokens, slot.sample)
                }
                Tokens::Missing | Tokens::Whole(_) => judge(entry, &[], None),
            },
        );
        at = end;
    }
    core.batches.saw(bytes, outcome.len());
    Ok(outcome)
}

/// What the first answer says of an entry.
#[derive(Debug)]
enum Judged {
    Known(Lookup),
    /// Its static tokens do not rule it out; those of the tags that its handler had found are
    /// still to be asked for.
    Tagged(Box<Tagged>, OnceCell<Lookup>),
}

/// An entry that lists tags which its handler had found.
#[derive(Debug)]
struct Tagged {
    entry: Bytes,
    payload: Payload,
    tags: Vec<Arc<str>>,
    digest: Digest,
    /// What its static tokens say.
    statics: Statics,
    sample: Option<Sample>,
}

/// What the static tokens of an entry say of it.
#[derive(Debug)]
struct Statics {
    current: bool,
    /// Begins the digest over the origins of all tokens.
    origins: Origins,
}

/// The origins of an entry's tokens, joined as the store script does it.
#[derive(Debug, Clone, Default)]
pub(super) struct Origins {
    joined: Vec<u8>,
    /// When one of them was expired last, if one was.
    expired: Option<u64>,
}

impl Origins {
    pub(super) fn extend(&mut self, tokens: &[&[u8]]) {
        for token in tokens {
            if !self.joined.is_empty() {
                self.joined.push(b' ');
            }
            self.joined.extend_from_slice(origin(token));
            self.expired = self.expired.max(expired_at(token));
        }
    }

    /// Whether no clear has outlawed this entry; when it was expired.
    pub(super) fn spare(&self, entry: &[u8]) -> Option<SystemTime> {
        let since = self.expired?;
        let digest = Digest::of(std::iter::once(&self.joined[..]));
        (entry.get(ORIGINS)? == digest.as_bytes())
            .then(|| UNIX_EPOCH + Duration::from_micros(since))
    }
}

/// Whether an entry proves that it is current, as far as its static tokens tell; `tokens` is empty
/// when one of them is missing.
fn judge(entry: Option<Bytes>, tokens: &[&[u8]], sample: Option<Sample>) -> Judged {
    let digest = (!tokens.is_empty()).then(|| digest(tokens));
    let miss = |dynamic| Judged::Known(Lookup::Miss { digest, dynamic });
    // One mark behind the digests tells whether the entry expires; then comes the payload.
    let Some(entry) = entry.filter(|entry| entry.len() > DIGESTS) else {
        return miss(Vec::new());
    };
    let (first, second) = (&entry[..40], &entry[40..80]);
    // What has a time to live would outlive it in a local tier.
    let sample = sample.filter(|_| entry[DIGESTS] == b'f');
    let payload = Payload::from(entry.slice(DIGESTS + 1..));
    let is_current = digest.is_some_and(|digest| digest.as_bytes() == first);
    let is_tagged = second != NO_DYNAMIC;
    if is_current && !is_tagged {
        return Judged::Known(Lookup::Hit(payload.sampled(sample)));
    }
    let tags = if is_tagged {
        payload.dynamic()
    } else {
        Vec::new()
    };
    // Only what was expired, or may have been by a tag that was found, can still be shown.
    let may_be_spared = is_current || tokens.iter().any(|token| expired_at(token).is_some());
    let Some(digest) = digest.filter(|_| may_be_spared && is_tagged != tags.is_empty()) else {
        return miss(tags);
    };
    let mut origins = Origins::default();
    origins.extend(tokens);
    if is_tagged {
        let tagged = Tagged {
            statics: Statics {
                current: is_current,
                origins,
            },
            entry,
            payload,
            tags,
            digest,
            sample,
        };
        return Judged::Tagged(Box::new(tagged), OnceCell::new());
    }
    match origins.spare(&entry) {
        Some(since) => Judged::Known(Lookup::Stale(Stale {
            payload,
            digest,
            dynamic: tags,
            since,
        })),
        None => miss(tags),
    }
}

impl Tagged {
    /// Asks for the tokens of the tags that the handler had found.
    async fn look_up(&self, core: &Core, deadline: Instant) -> Result<Lookup, BackendError> {
        let mut sample = self.sample.clone();
        if let (Some(sample), Some(freshness)) = (&mut sample, &core.shared.freshness) {
            // Before their question is sent.
            let names: Vec<_> = self.tags.iter().map(|tag| token_name(tag)).collect();
            freshness.extend(sample, names.iter().map(|name| &**name));
        }
        let mut mget = Mget::new();
        for tag in &self.tags {
            mget.add(|name| core.shared.names.push_token(name, tag));
        }
        let up = core.link.up(deadline).await?;
        let replies = array(up.call(&mget.command, deadline).await?)?;
        if let Tokens::Whole(tokens) = Tokens::read(replies.iter()) {
            if self.statics.current && digest(&tokens).as_bytes() == &self.entry[40..80] {
                return Ok(Lookup::Hit(self.payload.clone().sampled(sample)));
            }
            let mut origins = self.statics.origins.clone();
            origins.extend(&tokens);
            if let Some(since) = origins.spare(&self.entry) {
                return Ok(Lookup::Stale(Stale {
                    payload: self.payload.clone(),
                    digest: self.digest,
                    dynamic: self.tags.clone(),
                    since,
                }));
            }
        }
        Ok(Lookup::Miss {
            digest: Some(self.digest),
            dynamic: self.tags.clone(),
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
