//! What clears and forgotten builds have left behind, found by walking over all names; what the
//! living depend on is remembered on the way, so that the other tokens can go (`retire.rs`).
//!
//! Where names cannot be listed there is no sweep: such a store evicts, or the next fill of the
//! same entry overwrites what is dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::entry::Kept;
use super::names::{ENTRIES, PLACES, version_and_id};
use super::retire::Builds;
use super::tokens::digest_of;
use super::{KeyValueBackend, Shared};
use crate::backend::used::Used;
use crate::codec::Head;
use crate::error::BackendError;
use crate::protocol::{Target, token_name};

/// A build that nobody has announced for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);
/// How often a process announces its build, and looks whether it is time for a sweep.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(3600);
/// One process of all sweeps this often.
const SWEEP_EVERY: Duration = Duration::from_secs(6 * 3600);
/// A page of names may take longer than what requests wait for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether a task is running that keeps the build announced.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    runs: AtomicBool,
}

impl KeyValueBackend {
    /// Keeps the build announced as long as this backend lives, in a task that is begun once.
    pub(super) fn announce(&self) {
        if self.shared.announcer.runs.swap(true, Ordering::Relaxed) {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            self.shared.announcer.runs.store(false, Ordering::Relaxed);
            return;
        };
        // Weak, so that a cache that is dropped ends the task.
        let weak = Arc::downgrade(&self.shared);
        runtime.spawn(async move {
            let mut is_start = true;
            while let Some(shared) = weak.upgrade() {
                if let Err(why) = shared.take_care(is_start).await {
                    tracing::debug!(cause = %why, "the build could not be announced, or not all of the dead removed");
                }
                drop(shared);
                is_start = false;
                tokio::time::sleep(ANNOUNCE_EVERY).await;
            }
        });
    }
}

/// What the sweep found under an entry's name.
enum Seen {
    /// Nothing, or nothing of ours.
    Gone,
    Dead,
    Living(Head),
}

/// A walk over all names that begin alike.
pub(super) struct Walk<'a> {
    shared: &'a Shared,
    glob: String,
    /// `None` at the end.
    from: Option<Option<String>>,
}

impl<'a> Walk<'a> {
    pub(super) fn over(shared: &'a Shared, beginning: &str) -> Self {
        Self {
            shared,
            glob: format!("{beginning}*"),
            from: Some(None),
        }
    }

    /// The next names; `None` when all were seen.
    pub(super) async fn step(&mut self) -> Result<Option<Vec<String>>, BackendError> {
        let Some(from) = self.from.take() else {
            return Ok(None);
        };
        let names = self.shared.store.names(&self.glob, from);
        let page = self.shared.call(patience(self.shared), names).await?;
        self.from = page.next.map(Some);
        Ok(Some(page.names))
    }
}

/// When a step of the sweep is given up.
pub(super) fn patience(shared: &Shared) -> Instant {
    Instant::now() + PATIENCE.max(shared.options.timeout)
}

impl Shared {
    async fn take_care(self: &Arc<Self>, is_start: bool) -> Result<(), BackendError> {
        let name = self.names.announcement(self.names.version());
        let values = [(name, Bytes::from_static(b"1"))];
        let announced = self.store.set_many(&values, Some(FORGOTTEN));
        self.call(self.soon(), announced).await?;
        // A start has more urgent things to do.
        if is_start {
            return Ok(());
        }
        let (name, claim) = (self.names.sweeper(), Bytes::from_static(b"1"));
        let claimed = self.store.add(&name, claim, Some(SWEEP_EVERY));
        if self.call(self.soon(), claimed).await? {
            match self.sweep().await {
                Ok(swept) => tracing::debug!(swept, "what clears had left is gone"),
                Err(BackendError::Unsupported(_)) => {}
                Err(why) => return Err(why),
            }
        }
        Ok(())
    }

    /// Walks over all entries and removes the dead ones; how many. Then over the tokens, of which
    /// those that nothing depends on are given an end.
    pub(super) async fn sweep(self: &Arc<Self>) -> Result<u64, BackendError> {
        let (mut removed, mut used, mut builds) = (0, Used::default(), Builds::default());
        let mut walk = Walk::over(self, ENTRIES);
        while let Some(names) = walk.step().await? {
            for name in names {
                match self.look_at(&name, &mut builds).await? {
                    Seen::Gone => {}
                    Seen::Dead => {
                        let place = name.replacen(ENTRIES, PLACES, 1);
                        removed += self.delete(&[name], self.soon()).await?;
                        self.delete(&[place], self.soon()).await?;
                    }
                    Seen::Living(head) => {
                        let names = std::iter::once(&head.key).chain(&head.tags);
                        for name in names.chain(&head.dynamic) {
                            used.add(&token_name(name));
                        }
                    }
                }
                // Requests come first.
                tokio::task::yield_now().await;
            }
        }
        self.retire(used, &mut builds).await?;
        Ok(removed)
    }

    async fn look_at(&self, name: &str, builds: &mut Builds) -> Result<Seen, BackendError> {
        let Some((version, _)) = version_and_id(name) else {
            return Ok(Seen::Gone);
        };
        if self.is_forgotten(version, builds).await? {
            return Ok(Seen::Dead);
        }
        // It may have expired on the way, and then there is nothing to remove.
        let Some(value) = self.get(name.to_owned(), self.soon()).await? else {
            return Ok(Seen::Gone);
        };
        let Some(kept) = Kept::read(value) else {
            return Ok(Seen::Dead);
        };
        match Head::read(&kept.payload) {
            Some((head, _)) if self.is_vouched_for(&kept).await? => Ok(Seen::Living(head)),
            _ => Ok(Seen::Dead),
        }
    }

    /// Whether the tokens of an entry are those of now.
    pub(super) async fn is_vouched_for(&self, kept: &Kept) -> Result<bool, BackendError> {
        let Some((head, _)) = Head::read(&kept.payload) else {
            return Ok(false);
        };
        let deadline = self.soon();
        let (id, dynamic) = (crate::entry::EntryId::of(b""), head.dynamic);
        let target = Target::from_parts(id, head.key, head.tags);
        let incarnation = self.incarnation(deadline).await?;
        let own = self
            .read(&self.statics(&target, incarnation), deadline)
            .await?;
        let wanted: Vec<_> = dynamic.iter().map(|tag| self.wanted(tag)).collect();
        let found = self.read(&wanted, deadline).await?;
        let complete = found.iter().all(Option::is_some);
        Ok(
            digest_of(&own)
                .is_some_and(|digest| complete && kept.proves(digest, digest_of(&found))),
        )
    }
}
