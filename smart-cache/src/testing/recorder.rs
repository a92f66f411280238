//! What happened to each key: a backend that counts in front of another one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::backend::memory::MemoryBackend;
use crate::backend::{Backend, BoxFuture, Filling, Lease, Lookup, Reclaimed, Stored, Ticket};
use crate::cache::SmartCache;
use crate::config::Config;
use crate::error::BackendError;
use crate::inspect::Inspect;
use crate::protocol::Target;

/// What happened to one key or tag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// Lookups that found a current answer.
    pub hits: u64,
    /// Lookups that found none. A request that waits for another one's answer may look twice.
    pub misses: u64,
    /// Tickets that allowed a handler run to store its answer.
    pub fills: u64,
    /// Answers that were stored.
    pub stores: u64,
    /// Answers that were not stored after all: cleared meanwhile, or the lease had passed on.
    pub refused: u64,
    /// Acknowledged clears, those of everything included.
    pub clears: u64,
}

/// Counts what happens to each key on its way to another backend.
///
/// There is no local tier in front of it, so that every request is seen. Entries count under
/// their key, not under their tags; clears under what was cleared.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), smart_cache::ClearError> {
/// let (cache, recorder) = smart_cache::testing::recorded();
/// cache.clear(["product:7", "products"]).await?;
/// assert_eq!(recorder.of("products").clears, 1);
/// assert_eq!(recorder.of("product:8").clears, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Recorder {
    inner: Arc<dyn Backend>,
    record: Mutex<Record>,
    /// Leases that were granted and neither used nor given back.
    open: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Record {
    keys: HashMap<String, Seen>,
    cleared_all: u64,
}

/// A cache in memory, as [`SmartCache::in_memory`], and the recorder of what happens in it.
#[must_use]
pub fn recorded() -> (SmartCache, Arc<Recorder>) {
    let config = Config::default();
    let memory = MemoryBackend::new(
        config.local_capacity,
        config.lease,
        config.settle,
        config.max_variants,
    );
    let recorder = Recorder::new(Arc::new(memory));
    let backend: Arc<dyn Backend> = Arc::<Recorder>::clone(&recorder);
    (SmartCache::assemble(config, backend), recorder)
}

impl Recorder {
    /// Records what happens to the keys of `inner`; give it to
    /// [`Builder::custom_backend`](crate::Builder::custom_backend).
    #[must_use]
    pub fn new(inner: Arc<dyn Backend>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            record: Mutex::default(),
            open: watch::Sender::new(0),
        })
    }

    /// What has happened to this key or tag.
    #[must_use]
    pub fn of(&self, key: &str) -> Seen {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = record.keys.get(key).copied().unwrap_or_default();
        seen.clears += record.cleared_all;
        seen
    }

    /// Every key to which something has happened, sorted.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys: Vec<_> = record.keys.keys().cloned().collect();
        keys.sort_unstable();
        keys
    }

    /// Waits until every answer that may be stored has been stored or refused: an answer leaves
    /// before it is stored, so a test that asks again at once would race with it.
    pub async fn idle(&self) {
        // The sender lives in self, so this ends only when nothing is open.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    fn note(&self, key: &str, change: impl FnOnce(&mut Seen)) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        match record.keys.get_mut(key) {
            Some(seen) => change(seen),
            None => change(record.keys.entry(key.to_owned()).or_default()),
        }
    }

    fn close_lease(&self) {
        self.open.send_modify(|open| *open = open.saturating_sub(1));
    }
}

impl Backend for Recorder {
    fn lookup<'a>(
        &'a self,
        target: &'a Target,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Lookup, BackendError>> {
        Box::pin(async move {
            let found = self.inner.lookup(target, deadline).await;
            match &found {
                Ok(Lookup::Hit(_)) => self.note(&target.key, |seen| seen.hits += 1),
                Ok(Lookup::Miss { .. }) => self.note(&target.key, |seen| seen.misses += 1),
                Ok(_) | Err(_) => {}
            }
            found
        })
    }

    fn ticket<'a>(
        &'a self,
        target: &'a Target,
        dynamic: &'a [Arc<str>],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Ticket, BackendError>> {
        Box::pin(async move {
            let ticket = self.inner.ticket(target, dynamic, deadline).await;
            match &ticket {
                Ok(Ticket::Lead(_)) => {
                    self.open.send_modify(|open| *open += 1);
                    self.note(&target.key, |seen| seen.fills += 1);
                }
                Ok(Ticket::Filled(_)) => self.note(&target.key, |seen| seen.hits += 1),
                Ok(_) | Err(_) => {}
            }
            ticket
        })
    }

    fn store<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
        filling: Filling<'a>,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(async move {
            let stored = self.inner.store(target, lease, filling).await;
            match &stored {
                Ok(Stored::Landed(_)) => self.note(&target.key, |seen| seen.stores += 1),
                Ok(_) => self.note(&target.key, |seen| seen.refused += 1),
                Err(_) => {}
            }
            self.close_lease();
            stored
        })
    }

    fn renew<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        self.inner.renew(target, lease)
    }

    fn release<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            let released = self.inner.release(target, lease).await;
            self.close_lease();
            released
        })
    }

    fn discard<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), BackendError>> {
        self.inner.discard(target)
    }

    fn clear<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            self.inner.clear(keys).await?;
            for key in keys {
                self.note(key, |seen| seen.clears += 1);
            }
            Ok(())
        })
    }

    fn hold<'a>(
        &'a self,
        keys: &'a [String],
        writer: &'a str,
        longest: Duration,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        self.inner.hold(keys, writer, longest)
    }

    fn unhold<'a>(
        &'a self,
        keys: &'a [String],
        writer: &'a str,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            self.inner.unhold(keys, writer).await?;
            for key in keys {
                self.note(key, |seen| seen.clears += 1);
            }
            Ok(())
        })
    }

    fn clear_all(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async move {
            self.inner.clear_all().await?;
            let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
            record.cleared_all += 1;
            Ok(())
        })
    }

    fn reclaim(&self, keys: Vec<String>) -> BoxFuture<'_, Reclaimed> {
        self.inner.reclaim(keys)
    }

    fn sweep(&self) -> BoxFuture<'_, Result<u64, BackendError>> {
        self.inner.sweep()
    }

    fn lease(&self) -> Duration {
        self.inner.lease()
    }

    fn open(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        self.inner.open()
    }

    fn first_of_version(&self) -> BoxFuture<'_, Result<bool, BackendError>> {
        self.inner.first_of_version()
    }

    fn inspect(&self) -> Option<&dyn Inspect> {
        self.inner.inspect()
    }

    fn describe(&self) -> String {
        format!("{}, recorded", self.inner.describe())
    }

    fn is_available(&self) -> bool {
        self.inner.is_available()
    }
}
