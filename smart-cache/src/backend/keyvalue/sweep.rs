//! What clears and forgotten builds have left behind, found by walking over all names.
//!
//! Where names cannot be listed there is no sweep: such a store evicts, or the next fill of the
//! same entry overwrites what is dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::entry::Kept;
use super::names::{ENTRIES, PLACES, version_and_id};
use super::tokens::digest_of;
use super::{KeyValueBackend, Shared};
use crate::codec::Head;
use crate::error::BackendError;
use crate::protocol::Target;

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

impl Shared {
    async fn take_care(&self, is_start: bool) -> Result<(), BackendError> {
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

    /// Walks over all entries and removes the dead ones; how many.
    pub(super) async fn sweep(&self) -> Result<u64, BackendError> {
        let (mut removed, mut from) = (0, None);
        loop {
            let glob = format!("{ENTRIES}*");
            let patience = Instant::now() + PATIENCE.max(self.options.timeout);
            let page = self.call(patience, self.store.names(&glob, from)).await?;
            for name in page.names {
                if self.is_dead(&name).await? {
                    let place = name.replacen(ENTRIES, PLACES, 1);
                    removed += self.delete(&[name], self.soon()).await?;
                    self.delete(&[place], self.soon()).await?;
                }
                // Requests come first.
                tokio::task::yield_now().await;
            }
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(removed),
            }
        }
    }

    async fn is_dead(&self, name: &str) -> Result<bool, BackendError> {
        let Some((version, _)) = version_and_id(name) else {
            return Ok(false);
        };
        if version != self.names.version() {
            let announced = self.names.announcement(version);
            if self.get(announced, self.soon()).await?.is_none() {
                return Ok(true);
            }
        }
        match self.get(name.to_owned(), self.soon()).await? {
            // It has expired on the way, so there is nothing to remove.
            None => Ok(false),
            Some(value) => match Kept::read(value) {
                Some(kept) => Ok(!self.is_vouched_for(&kept).await?),
                None => Ok(true),
            },
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
