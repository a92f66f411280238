//! What happened to each key: a backend that counts in front of another one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use self::values::Values;
use crate::backend::memory::MemoryBackend;
use crate::backend::{
    Added, Backend, BoxFuture, Filling, Lease, Lookup, NewValue, Reclaimed, Stored, Ticket,
    ValueStore,
};
use crate::cache::SmartCache;
use crate::config::Config;
use crate::error::BackendError;
use crate::inspect::Inspect;
use crate::local::Freshness;
use crate::protocol::Target;

mod values;

/// What happened to one key or tag.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// Lookups that found a current answer.
    pub hits: u64,
    /// Lookups that found none. A request that waits for another one's answer may look twice.
    pub misses: u64,
    /// Lookups that found one which was expired and not cleared: it is shown once more.
    pub stale: u64,
    /// Tickets that allowed a handler run to store its answer.
    pub fills: u64,
    /// Answers that were stored.
    pub stores: u64,
    /// Answers that were not stored after all: cleared meanwhile, or the lease had passed on.
    pub refused: u64,
    /// Acknowledged clears, those of everything included; of a value, its removals.
    pub clears: u64,
    /// Acknowledged soft clears ([`SmartCache::expire`]).
    pub expires: u64,
}

/// Counts what happens to each key on its way to another backend.
///
/// There is no local tier in front of it, so that every request is seen. Entries count under
/// their key, not under their tags; clears under what was cleared. A value of the low-level API
/// counts under the name that [`make_key`](crate::Cache::make_key) gives: `1:visits`. Calls of
/// blocking twins count as well.
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
    book: Arc<Book>,
}

/// What a recorder, its blocking twin and its values write into.
#[derive(Debug)]
struct Book {
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
        let book = Book {
            record: Mutex::default(),
            open: watch::Sender::new(0),
        };
        Arc::new(Self {
            inner,
            book: Arc::new(book),
        })
    }

    /// What has happened to this key or tag.
    #[must_use]
    pub fn of(&self, key: &str) -> Seen {
        let record = self.book.record();
        let mut seen = record.keys.get(key).copied().unwrap_or_default();
        seen.clears += record.cleared_all;
        seen
    }

    /// Every key to which something has happened, sorted.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let record = self.book.record();
        let mut keys: Vec<_> = record.keys.keys().cloned().collect();
        keys.sort_unstable();
        keys
    }

    /// Waits until every answer that may be stored has been stored or refused: an answer leaves
    /// before it is stored, so a test that asks again at once would race with it.
    pub async fn idle(&self) {
        // The sender lives in self, so this ends only when nothing is open.
        let _ = self.book.open.subscribe().wait_for(|open| *open == 0).await;
    }
}

impl Book {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, key: &str, change: impl FnOnce(&mut Seen)) {
        // The key that stands for a value is its name behind a mark.
        let key = key
            .strip_prefix('=')
            .filter(|name| !name.is_empty())
            .unwrap_or(key);
        let mut record = self.record();
        match record.keys.get_mut(key) {
            Some(seen) => change(seen),
            None => change(record.keys.entry(key.to_owned()).or_default()),
        }
    }

    fn open_lease(&self) {
        self.open.send_modify(|open| *open += 1);
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
                Ok(Lookup::Hit(_)) => self.book.note(&target.key, |seen| seen.hits += 1),
                Ok(Lookup::Miss { .. }) => self.book.note(&target.key, |seen| seen.misses += 1),
                Ok(Lookup::Stale(_)) => self.book.note(&target.key, |seen| seen.stale += 1),
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
                    self.book.open_lease();
                    self.book.note(&target.key, |seen| seen.fills += 1);
                }
                Ok(Ticket::Filled(_)) => self.book.note(&target.key, |seen| seen.hits += 1),
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
                Ok(Stored::Landed(_)) => self.book.note(&target.key, |seen| seen.stores += 1),
                Ok(_) => self.book.note(&target.key, |seen| seen.refused += 1),
                Err(_) => {}
            }
            self.book.close_lease();
            stored
        })
    }

    fn values(&self) -> Option<Arc<dyn ValueStore>> {
        let inner = self.inner.values()?;
        Some(Arc::new(Values::new(inner, Arc::clone(&self.book))))
    }

    fn add_value<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
        value: NewValue<'a>,
    ) -> BoxFuture<'a, Result<Added, BackendError>> {
        Box::pin(async move {
            let added = self.inner.add_value(target, lease, value).await;
            match &added {
                Ok(Added::Stored) => self.book.note(&target.key, |seen| seen.stores += 1),
                Ok(_) => self.book.note(&target.key, |seen| seen.refused += 1),
                Err(_) => {}
            }
            self.book.close_lease();
            added
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
            self.book.close_lease();
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
                self.book.note(key, |seen| seen.clears += 1);
            }
            Ok(())
        })
    }

    fn expire<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            self.inner.expire(keys).await?;
            for key in keys {
                self.book.note(key, |seen| seen.expires += 1);
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
                self.book.note(key, |seen| seen.clears += 1);
            }
            Ok(())
        })
    }

    fn clear_all(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async move {
            self.inner.clear_all().await?;
            self.book.record().cleared_all += 1;
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

    /// A local tier in front of a recorder would keep requests from it.
    fn freshness(&self) -> Option<&Arc<Freshness>> {
        None
    }

    fn blocking_twin(&self) -> Option<Arc<dyn Backend>> {
        let inner = self.inner.blocking_twin()?;
        let book = Arc::clone(&self.book);
        Some(Arc::new(Self { inner, book }))
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
