//! The handle on one cache: what the roads share, and what a user clears and reads.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::backend::Backend;
use crate::backend::memory::MemoryBackend;
use crate::backend::off::OffBackend;
use crate::builder::Builder;
use crate::config::Config;
use crate::error::{BackendError, ClearError, ConfigError};
use crate::key::IntoKeys;
use crate::local::LocalTier;
use crate::protocol::clear::{PendingClears, Wish};
use crate::protocol::flight::Flights;
use crate::protocol::token_name;
use crate::stats::{Counters, LocalStats, Stats};

/// Keys of one clear whose entries are freed at once; the sweep frees the others.
const MOST_RECLAIMED: usize = 1_000;

/// A cache of responses. Cheap to clone: all clones are one cache.
///
/// Most programs never name it: attributes and [`clear_cache`](crate::clear_cache) use the one
/// that the environment configures. Put another one into the router with
/// `.layer(Extension(cache))` and the handlers below it use that one instead; then clear it with
/// [`SmartCache::clear`] or `#[clears_cache(..)]`.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use smart_cache::SmartCache;
///
/// let cache = SmartCache::in_memory();
/// cache.clear(["product:7", "products"]).await?;
/// assert_eq!(cache.stats().clears, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SmartCache {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) flights: Arc<Flights>,
    pub(crate) pending: Arc<PendingClears>,
    pub(crate) counters: Counters,
    /// Hits without a round trip; `None` when it is switched off, or nothing could keep it honest.
    pub(crate) local: Option<LocalTier>,
    /// One walk over what clears left behind at a time; the sweep finds what is skipped.
    reclaiming: Arc<tokio::sync::Semaphore>,
    /// Why there is nothing behind this handle.
    broken: Option<ConfigError>,
    blocking_twin: OnceLock<Arc<dyn Backend>>,
}

impl std::fmt::Debug for SmartCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SmartCache")
            .field("backend", &self.inner.backend.describe())
            .finish_non_exhaustive()
    }
}

impl SmartCache {
    /// Builds a cache step by step; for tests, and for several caches in one program.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A cache in the memory of this process, with the default settings: the same protocol, no
    /// server. It needs no runtime to be made.
    #[must_use]
    pub fn in_memory() -> Self {
        let config = Config::default();
        let backend = MemoryBackend::new(
            config.local_capacity,
            config.lease,
            config.settle,
            config.max_variants,
        );
        Self::assemble(config, Arc::new(backend))
    }

    /// A cache that keeps nothing: every handler runs, every clear succeeds.
    #[must_use]
    pub fn off() -> Self {
        Self::assemble(Config::off(), Arc::new(OffBackend))
    }

    /// Stands in for a cache that could not be configured: handlers run, clears fail with the
    /// reason.
    pub(crate) fn broken(why: ConfigError) -> Self {
        Self::with(Config::off(), Arc::new(OffBackend), Some(why))
    }

    pub(crate) fn assemble(config: Config, backend: Arc<dyn Backend>) -> Self {
        Self::with(config, backend, None)
    }

    fn with(config: Config, backend: Arc<dyn Backend>, broken: Option<ConfigError>) -> Self {
        let freshness = backend.freshness().filter(|_| config.local_capacity > 0);
        let local =
            freshness.map(|freshness| LocalTier::new(config.local_capacity, Arc::clone(freshness)));
        let inner = Inner {
            local,
            config,
            backend,
            flights: Arc::default(),
            pending: Arc::default(),
            counters: Counters::default(),
            reclaiming: Arc::new(tokio::sync::Semaphore::new(1)),
            broken,
            blocking_twin: OnceLock::new(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Makes every answer that was cached under these keys or tags gone, on every node.
    ///
    /// Returns after the backend has acknowledged it: from then on no lookup anywhere returns an
    /// answer whose handler started before. One round trip for any number of keys and entries;
    /// idempotent. Dropping the returned future does not stop the clear.
    ///
    /// # Errors
    /// [`ClearError::Unacknowledged`] when the backend did not answer or refused. This process
    /// then distrusts the keys at once and repeats the clear until it lands; other processes may
    /// serve the old answers until then. [`ClearError::EmptyKey`] when a key is empty: nothing
    /// is cleared then.
    ///
    /// # Example
    /// ```
    /// # async fn example(cache: smart_cache::SmartCache) -> Result<(), smart_cache::ClearError> {
    /// cache.clear(format!("product:{}", 7)).await?;
    /// cache.clear(["products", "category:3"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Pitfalls
    /// Clear after the commit: what is cleared before may be filled again from the old rows (and
    /// is then healed only after `SMART_REDIS_SETTLE`). A key is exact: no prefixes, no globs;
    /// what must fall together shares a tag.
    pub async fn clear(&self, keys: impl IntoKeys) -> Result<(), ClearError> {
        self.clear_detached(self.wish(keys.into_keys())?).await
    }

    /// Makes everything in this cache's namespace gone, on every node; nothing else in the same
    /// Redis is touched.
    ///
    /// # Errors
    /// As [`SmartCache::clear`].
    pub async fn clear_all(&self) -> Result<(), ClearError> {
        self.check()?;
        self.clear_detached(Wish::All).await
    }

    /// [`SmartCache::clear`] for code that cannot await: it blocks the thread, at most for
    /// `SMART_REDIS_TIMEOUT` plus a handshake. It may be called anywhere, also on a runtime's
    /// thread.
    ///
    /// # Errors
    /// As [`SmartCache::clear`].
    pub fn clear_blocking(&self, keys: impl IntoKeys) -> Result<(), ClearError> {
        self.block_on(self.wish(keys.into_keys())?)
    }

    /// [`SmartCache::clear_all`] for code that cannot await.
    ///
    /// # Errors
    /// As [`SmartCache::clear`].
    pub fn clear_all_blocking(&self) -> Result<(), ClearError> {
        self.check()?;
        self.block_on(Wish::All)
    }

    /// Removes now what clears have left behind; see [`Backend::sweep`]. A cache sweeps by itself
    /// every ten minutes, one process of a namespace at a time.
    ///
    /// # Errors
    /// When the backend stops answering.
    pub async fn sweep(&self) -> Result<u64, BackendError> {
        self.inner.backend.sweep().await
    }

    /// What this cache has done since it was built: this process alone.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.counters.snapshot(
            self.inner.pending.len(),
            self.inner.flights.len(),
            self.inner.backend.is_available(),
            self.local_stats(),
        )
    }

    fn local_stats(&self) -> Option<LocalStats> {
        let local = self.inner.local.as_ref()?;
        let live = local.freshness().hears(Instant::now());
        Some(LocalStats {
            live,
            entries: local.len(),
            bytes: local.bytes(),
        })
    }

    /// What is behind this handle, in words; never a secret.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.inner.broken {
            Some(why) => format!("not set up: {why}"),
            None => self.inner.backend.describe(),
        }
    }

    fn check(&self) -> Result<(), ClearError> {
        Ok(self.is_set_up()?)
    }

    /// Whether there is anything behind this handle.
    pub(crate) fn is_set_up(&self) -> Result<(), ConfigError> {
        self.inner.broken.clone().map_or(Ok(()), Err)
    }

    fn wish(&self, mut keys: Vec<String>) -> Result<Wish, ClearError> {
        self.check()?;
        if keys.iter().any(String::is_empty) {
            return Err(ClearError::EmptyKey);
        }
        keys.sort_unstable();
        keys.dedup();
        crate::registry::advise(&keys);
        Ok(Wish::Keys(keys))
    }

    /// Clears in a task of its own: a caller that is cancelled has committed all the same.
    async fn clear_detached(&self, wish: Wish) -> Result<(), ClearError> {
        let cache = self.clone();
        let task = tokio::spawn(async move {
            cache.distrust_local(&wish);
            let outcome = wish.send(&*cache.inner.backend).await;
            cache.settle_clear(wish, outcome)
        });
        match task.await {
            Ok(outcome) => outcome,
            Err(stopped) => Err(BackendError::Disconnected(stopped.to_string().into()).into()),
        }
    }

    /// Clears in the background, where nobody can wait: a drop guard.
    pub(crate) fn clear_in_background(&self, keys: Vec<String>) {
        let Ok(wish) = self.wish(keys) else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let cache = self.clone();
                runtime.spawn(async move {
                    // A failure is remembered and repeated there.
                    let _ = cache.clear_detached(wish).await;
                });
            }
            Err(_) => self.inner.pending.add(&wish, &self.inner.backend),
        }
    }

    /// This process knows of its own clear before anybody tells it. Before the command is sent
    /// and after its answer: what was looked up in between may be of before or after.
    fn distrust_local(&self, wish: &Wish) {
        let Some(local) = &self.inner.local else {
            return;
        };
        match wish {
            Wish::Keys(keys) => keys
                .iter()
                .for_each(|key| local.freshness().changed(&token_name(key))),
            Wish::All => local.freshness().flushed(),
        }
    }

    /// Remembers what was not acknowledged; frees what was.
    fn settle_clear(
        &self,
        wish: Wish,
        outcome: Result<(), BackendError>,
    ) -> Result<(), ClearError> {
        self.distrust_local(&wish);
        self.inner.counters.clear(outcome.is_ok());
        if let Err(why) = outcome {
            tracing::error!(cause = %why, %wish, "a clear was not acknowledged: distrusting and repeating it");
            self.inner.pending.add(&wish, &self.inner.backend);
            return Err(why.into());
        }
        if let (Wish::Keys(mut keys), Ok(permit)) =
            (wish, Arc::clone(&self.inner.reclaiming).try_acquire_owned())
        {
            keys.truncate(MOST_RECLAIMED);
            let backend = Arc::clone(&self.inner.backend);
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move {
                    backend.reclaim(keys).await;
                    drop(permit);
                });
            }
        }
        Ok(())
    }

    /// Runs a clear on the blocking runtime, over a connection that lives there: one of the
    /// caller's runtime could not move while its thread is blocked.
    fn block_on(&self, wish: Wish) -> Result<(), ClearError> {
        let runtime = blocking_runtime()?;
        let twin = self.inner.blocking_twin.get_or_init(|| {
            self.inner
                .backend
                .blocking_twin()
                .unwrap_or_else(|| Arc::clone(&self.inner.backend))
        });
        let (cache, twin) = (self.clone(), Arc::clone(twin));
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        runtime.spawn(async move {
            cache.distrust_local(&wish);
            let outcome = wish.send(&*twin).await;
            let _ = tell.send(cache.settle_clear(wish, outcome));
        });
        told.recv().unwrap_or_else(|_| {
            Err(BackendError::Disconnected("the clear was dropped".into()).into())
        })
    }

    /// Connects, says what is wrong, flushes if so configured.
    pub(crate) async fn open(&self) {
        use crate::config::StartFlush;

        // The backend itself says in the log what keeps it from answering.
        if self.inner.backend.open().await.is_ok() {
            tracing::info!(backend = %self.describe(), "cache ready");
        }
        let flush = match self.inner.config.flush {
            StartFlush::Always => true,
            StartFlush::Never => false,
            // Without an answer a flush too many is the safe side.
            StartFlush::EachVersion => self.inner.backend.first_of_version().await.unwrap_or(true),
        };
        if !flush {
            return;
        }
        self.distrust_local(&Wish::All);
        if let Err(why) = self.inner.backend.clear_all().await {
            // Distrusted until it lands, so a start never serves what it was to flush.
            tracing::warn!(cause = %why, "the flush of this start is applied as soon as the backend answers");
            self.inner.pending.add(&Wish::All, &self.inner.backend);
        }
    }

    /// [`open`](Self::open) for a request: goes on in the background when it takes long.
    pub(crate) async fn open_in_background(&self) {
        let cache = self.clone();
        let opening = tokio::spawn(async move { cache.open().await });
        let opened = tokio::time::timeout(self.inner.config.timeout, opening).await;
        // Until the flush has been done, nothing that it is to remove may be served.
        if opened.is_err() && self.inner.config.flush != crate::config::StartFlush::Never {
            self.inner.pending.add(&Wish::All, &self.inner.backend);
        }
    }

    /// A request's time limits, from now.
    pub(crate) fn limits(&self) -> Limits {
        let now = Instant::now();
        Limits {
            patience: now + self.inner.config.timeout,
            wait: now + self.inner.config.wait,
            timeout: self.inner.config.timeout,
        }
    }
}

/// How long one request waits for others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The backend must have answered by then.
    pub(crate) patience: Instant,
    /// Another request that fills the entry must have finished by then.
    pub(crate) wait: Instant,
    /// Longest wait for an answer of the backend while waiting for others.
    pub(crate) timeout: Duration,
}

/// One runtime on a thread of its own, for callers that block.
fn blocking_runtime() -> Result<&'static tokio::runtime::Handle, ClearError> {
    static RUNTIME: OnceLock<Option<tokio::runtime::Handle>> = OnceLock::new();
    let handle = RUNTIME.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .ok()?;
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new().name("smart-cache-blocking".to_owned());
        thread
            .spawn(move || runtime.block_on(std::future::pending::<()>()))
            .ok()?;
        Some(handle)
    });
    handle
        .as_ref()
        .ok_or_else(|| BackendError::Disconnected("no thread for blocking clears".into()).into())
}
