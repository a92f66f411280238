//! Lookups that are sent together: joining them, and waiting for what comes of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use redis::Cmd;
use tokio::runtime::{Handle, Id};
use tokio::sync::Notify;

use super::judged::Judged;
use super::pace::Pace;
use crate::backend::Lookup;
use crate::backend::redis::Core;
use crate::entry::EntryId;
use crate::error::BackendError;
use crate::local::Sample;
use crate::protocol::{Target, token_name};

/// Entries and names of one MGET; the next batch is sent right behind it.
const MOST_ENTRIES: usize = 64;
const MOST_NAMES: usize = 1024;
/// About as many bytes as one answer should have: who shares a batch waits for all of it.
const MOST_BYTES: usize = 512 << 10;

/// The batch that lookups join at the moment.
#[derive(Debug, Default)]
pub(in crate::backend::redis) struct Batches {
    newest: Mutex<Newest>,
    /// Bytes of an entry as of late.
    usual: AtomicUsize,
}

#[derive(Debug, Default)]
struct Newest {
    batch: Arc<Batch>,
    pace: Pace,
}

/// Lookups that are sent together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// What is to be sent; taken by whoever sends it, and then nobody joins any more.
    question: Mutex<Question>,
    /// Told when nobody else finds a place in it.
    full: Notify,
    /// How many have joined.
    joined: AtomicUsize,
    /// What came of it, for everybody who joined.
    outcome: OnceLock<Result<Vec<Judged>, BackendError>>,
    landed: Notify,
}

#[derive(Debug, Default)]
enum Question {
    #[default]
    Empty,
    Open(Open),
    Sent,
}

/// A question that others may join.
#[derive(Debug)]
struct Open {
    mget: Mget,
    slots: Vec<Slot>,
    /// How many lookups may still join.
    places: usize,
    /// The runtime that will send it: another one may stand still, so nobody joins from there.
    runtime: Id,
}

/// An MGET that is being written.
#[derive(Debug)]
pub(super) struct Mget {
    command: Cmd,
    /// One buffer for every name.
    name: String,
}

/// One entry of a batch, shared by requests that ask for it with the same tags.
#[derive(Debug)]
pub(super) struct Slot {
    id: EntryId,
    tags: Vec<Arc<str>>,
    /// Taken before the question is sent; see `local/freshness.rs`.
    pub(super) sample: Option<Sample>,
}

impl Slot {
    /// The number of its tokens, the namespace's aside: the key's and the tags'.
    pub(super) fn tokens(&self) -> usize {
        1 + self.tags.len()
    }
}

impl Mget {
    pub(super) fn new() -> Self {
        let mut command = Cmd::with_capacity(8, 512);
        command.arg("MGET");
        Self {
            command,
            name: String::with_capacity(128),
        }
    }

    pub(super) fn add(&mut self, write: impl FnOnce(&mut String)) {
        self.name.clear();
        write(&mut self.name);
        self.command.arg(self.name.as_bytes());
    }

    pub(super) fn command(&self) -> &Cmd {
        &self.command
    }
}

impl Batches {
    /// How many entries fit into one batch, as large as they have been of late.
    fn room(&self) -> usize {
        let usual = self.usual.load(Ordering::Relaxed).max(1);
        (MOST_BYTES / usual).clamp(1, MOST_ENTRIES)
    }

    /// Takes the size of the newest entries into account.
    pub(super) fn saw(&self, bytes: usize, entries: usize) {
        let usual = self.usual.load(Ordering::Relaxed);
        let newest = bytes.checked_div(entries).unwrap_or(usual);
        self.usual
            .store((3 * usual + newest) / 4, Ordering::Relaxed);
    }

    /// Joins the open batch, or opens one.
    pub(super) fn join(&self, core: &Core, target: &Target) -> Joined {
        let Newest { batch, pace } = &mut *lock(&self.newest);
        let joined = batch.join(core, target, pace);
        let (slot, opened) = joined.unwrap_or_else(|| {
            batch.full.notify_one();
            *batch = Arc::default();
            batch.join(core, target, pace).unwrap_or((0, true))
        });
        Joined {
            batch: Arc::clone(batch),
            slot,
            opened,
        }
    }

    pub(super) fn landed(&self, batch: &Batch) {
        let joined = batch.joined.load(Ordering::Relaxed);
        lock(&self.newest).pace.landed(joined);
    }
}

/// A place in a batch.
pub(super) struct Joined {
    pub(super) batch: Arc<Batch>,
    pub(super) slot: usize,
    /// Whoever opens a batch must see to it that it is sent.
    pub(super) opened: bool,
}

impl Batch {
    /// The slot of `target`, and whether it is the first; `None` when nobody can join any more.
    fn join(&self, core: &Core, target: &Target, pace: &mut Pace) -> Option<(usize, bool)> {
        let (names, here) = (&core.shared.names, Handle::current().id());
        let question = &mut *lock(&self.question);
        let opened = matches!(question, Question::Empty);
        if opened {
            let mut mget = Mget::new();
            mget.add(|name| name.push_str(&names.namespace_token()));
            *question = Question::Open(Open {
                mget,
                slots: Vec::new(),
                places: pace.share(),
                runtime: here,
            });
        }
        let Question::Open(open) = question else {
            return None;
        };
        if open.places == 0 || open.runtime != here {
            return None;
        }
        let slot = open.slot(core, target)?;
        open.places -= 1;
        if open.places == 0 {
            self.full.notify_one();
        }
        pace.joined();
        self.joined.fetch_add(1, Ordering::Relaxed);
        Some((slot, opened))
    }

    /// When it is to be sent: after everybody else who is ready, or as soon as nobody can join.
    pub(super) async fn is_due(&self) {
        tokio::select! {
            biased;
            () = self.full.notified() => {}
            () = tokio::task::yield_now() => {}
        }
    }

    /// What is to be sent; nobody joins any more.
    pub(super) fn close(&self) -> Option<(Mget, Vec<Slot>)> {
        match std::mem::replace(&mut *lock(&self.question), Question::Sent) {
            Question::Open(Open { mget, slots, .. }) => Some((mget, slots)),
            Question::Empty | Question::Sent => None,
        }
    }

    pub(super) fn has_landed(&self) -> bool {
        self.outcome.get().is_some()
    }

    /// Tells everybody who joined; once.
    pub(super) fn land(&self, outcome: Result<Vec<Judged>, BackendError>) {
        let _ = self.outcome.set(outcome);
        self.landed.notify_waiters();
    }

    /// Waits until the batch has landed.
    pub(super) async fn outcome(
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
                        .get_or_try_init(|| Box::pin(tagged.look_up(core, deadline)))
                        .await
                        .cloned()
                }
                None => Err(BackendError::Protocol("an answer is missing".into())),
            },
            Some(Err(why)) => Err(why.clone()),
            None => Err(BackendError::Disconnected("the lookup was dropped".into())),
        }
    }
}

impl Open {
    /// The slot of `target`, a new one if it has none yet; `None` if there is no room for it.
    fn slot(&mut self, core: &Core, target: &Target) -> Option<usize> {
        let Self { mget, slots, .. } = self;
        let names = &core.shared.names;
        if let Some(slot) = slots
            .iter()
            .position(|slot| slot.id == target.id && slot.tags == target.tags)
        {
            return Some(slot);
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
        Some(slots.len() - 1)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
