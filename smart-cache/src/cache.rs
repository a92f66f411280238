//! The handle on one cache: what the roads share, and what a user clears and reads.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use crate::backend::memory::MemoryBackend;
use crate::backend::off::OffBackend;
use crate::backend::{Backend, Payload};
use crate::builder::Builder;
use crate::clock::Moment;
use crate::config::Config;
use crate::entry::{Entry, EntryId};
use crate::error::{BackendError, ConfigError};
use crate::inspect::clears::Journal;
use crate::local::LocalTier;
use crate::protocol::clear::{PendingClears, Wish};
use crate::protocol::flight::Flights;
use crate::seal::Keyring;
use crate::stats::{Counters, HandlerStats, LocalStats, Stats};

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
    /// Seals what is stored, where keys were given.
    pub(crate) keyring: Option<Keyring>,
    pub(crate) pending: Arc<PendingClears>,
    /// Reads of plain values that callers can join.
    pub(crate) reads: Arc<crate::kv::Reads>,
    /// Tickets of requests that miss at one moment.
    pub(crate) tickets: Arc<crate::protocol::turn::Tickets>,
    pub(crate) counters: Counters,
    #[cfg(feature = "metrics")]
    pub(crate) durations: crate::observe::Durations,
    /// Hits without a round trip; `None` when it is switched off, or nothing could keep it honest.
    pub(crate) local: Option<LocalTier>,
    /// One walk over what clears left behind at a time; the sweep finds what is skipped.
    pub(crate) reclaiming: Arc<tokio::sync::Semaphore>,
    /// Handlers that are run again to compare what they say, a few at a time.
    pub(crate) audits: Arc<tokio::sync::Semaphore>,
    /// Why there is nothing behind this handle.
    broken: Option<ConfigError>,
    pub(crate) blocking_twin: OnceLock<Arc<dyn Backend>>,
    /// Clears that are to be noted.
    pub(crate) journal: Journal,
    /// Names this cache among those of its namespace.
    pub(crate) identity: String,
    pub(crate) started: SystemTime,
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
        Self::assemble(Config::default(), Arc::new(OffBackend))
    }

    /// Stands in for a cache that could not be configured: handlers run, clears fail with the
    /// reason.
    pub(crate) fn broken(why: ConfigError) -> Self {
        Self::with(Config::default(), Arc::new(OffBackend), Some(why))
    }

    pub(crate) fn assemble(config: Config, backend: Arc<dyn Backend>) -> Self {
        Self::with(config, backend, None)
    }

    fn with(config: Config, backend: Arc<dyn Backend>, broken: Option<ConfigError>) -> Self {
        let freshness = backend.freshness().filter(|_| config.local_capacity > 0);
        let local =
            freshness.map(|freshness| LocalTier::new(config.local_capacity, Arc::clone(freshness)));
        let keyring = config.keyring.as_ref();
        let keyring = keyring.map(|keyring| keyring.within(&config.namespace));
        let inner = Inner {
            local,
            config,
            backend,
            flights: Arc::default(),
            keyring,
            pending: Arc::default(),
            reads: Arc::default(),
            tickets: Arc::default(),
            counters: Counters::default(),
            #[cfg(feature = "metrics")]
            durations: crate::observe::Durations::default(),
            reclaiming: Arc::new(tokio::sync::Semaphore::new(1)),
            audits: Arc::new(tokio::sync::Semaphore::new(crate::audit::MOST_AT_ONCE)),
            broken,
            blocking_twin: OnceLock::new(),
            journal: Journal::default(),
            identity: crate::protocol::Nonce::fresh()
                .map_or_else(|_| String::new(), |nonce| nonce.short()),
            started: SystemTime::now(),
        };
        Self {
            inner: Arc::new(inner),
        }
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

    /// What each cached handler has done in this process since this cache was built; those that
    /// were never asked are not among them. By module, name and line; layers, which have no
    /// module, come first.
    ///
    /// # Example
    /// ```
    /// let cache = smart_cache::SmartCache::in_memory();
    /// for handler in cache.handler_stats() {
    ///     println!("{}: {} hits, {} misses", handler.key, handler.hits, handler.misses);
    /// }
    /// ```
    #[must_use]
    pub fn handler_stats(&self) -> Vec<HandlerStats> {
        self.inner.counters.of_handlers()
    }

    fn local_stats(&self) -> Option<LocalStats> {
        let local = self.inner.local.as_ref()?;
        let now = Instant::now();
        let live = local.freshness().hears(now);
        Some(LocalStats {
            live,
            entries: local.len(),
            bytes: local.bytes(),
            evictions: local.evictions(),
            lag: local
                .freshness()
                .lag(now, self.inner.config.local_staleness),
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

    /// A stored entry, opened and made ready.
    pub(crate) fn entry(&self, payload: &Payload, id: EntryId, now: Moment) -> Option<Arc<Entry>> {
        let keys = self.inner.keyring.as_ref();
        payload.entry(id, keys, self.inner.config.status_header, now)
    }

    /// Whether there is anything behind this handle.
    pub(crate) fn is_set_up(&self) -> Result<(), ConfigError> {
        self.inner.broken.clone().map_or(Ok(()), Err)
    }

    /// Connects, says what is wrong, flushes if so configured.
    pub(crate) async fn open(&self) {
        use crate::config::StartFlush;

        #[cfg(feature = "metrics")]
        self.publish_in_background();
        if self.inner.config.announce {
            self.keep_reporting();
        }
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
        let flushed = self.inner.backend.clear_all().await;
        self.distrust_local(&Wish::All);
        if let Err(why) = flushed {
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

    /// The time limits of a request that begins now.
    pub(crate) fn limits(&self, now: Instant) -> Limits {
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
