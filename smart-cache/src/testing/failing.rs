//! A backend that fails on command, in front of any other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::backend::{Backend, BoxFuture, Filling, Lease, Lookup, Reclaimed, Stored, Ticket};
use crate::error::BackendError;
use crate::inspect::Inspect;
use crate::protocol::Target;

/// How long a silent backend keeps waiting whoever brings no deadline: the default of
/// `SMART_REDIS_TIMEOUT`.
const SILENCE: Duration = Duration::from_millis(250);

/// What a [`Failing`] backend does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Fault {
    /// It works.
    #[default]
    None,
    /// It refuses everything at once, as when Redis is gone: handlers run, clears are errors.
    Refuses,
    /// It answers nothing until the caller's patience ends, as when Redis is frozen.
    Silent,
    /// Lookups work, clears are refused and have no effect.
    RefusesClears,
    /// Clears take effect, but their acknowledgement is lost.
    LosesClearAnswers,
    /// Lookups and tickets work, stores are refused, as when Redis is full.
    RefusesStores,
}

/// Stands in front of a backend and fails when told to.
///
/// There is no local tier in front of it, so that every request meets the fault.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use smart_cache::testing::{Failing, Fault};
/// use smart_cache::{SmartCache, backend::MemoryBackend};
/// use std::{sync::Arc, time::Duration};
///
/// let second = Duration::from_secs(1);
/// let memory = MemoryBackend::new(1 << 20, second, second, 100);
/// let backend = Failing::new(Arc::new(memory));
/// let cache = SmartCache::builder().custom_backend(backend.clone()).build().await?;
///
/// backend.fail(Fault::Refuses);
/// assert!(cache.clear("product:7").await.is_err());
/// assert_eq!(cache.stats().pending_clears, 1); // repeated until it lands
/// backend.fail(Fault::None);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Failing {
    inner: Arc<dyn Backend>,
    fault: Mutex<Fault>,
}

impl Failing {
    /// Works until it is told to [`fail`](Self::fail).
    #[must_use]
    pub fn new(inner: Arc<dyn Backend>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            fault: Mutex::default(),
        })
    }

    /// Fails like this from now on; [`Fault::None`] ends it. Calls under way are not touched.
    pub fn fail(&self, fault: Fault) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }

    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails here if nothing at all gets through.
    async fn pass(&self, deadline: Instant) -> Result<(), BackendError> {
        match self.fault() {
            Fault::Refuses => Err(refused()),
            Fault::Silent => {
                let began = Instant::now();
                tokio::time::sleep_until(deadline.into()).await;
                Err(BackendError::Timeout(began.elapsed()))
            }
            _ => Ok(()),
        }
    }

    async fn pass_soon(&self) -> Result<(), BackendError> {
        self.pass(Instant::now() + SILENCE).await
    }

    async fn through_clear(
        &self,
        clear: BoxFuture<'_, Result<(), BackendError>>,
    ) -> Result<(), BackendError> {
        self.pass_soon().await?;
        match self.fault() {
            Fault::RefusesClears => Err(refused()),
            Fault::LosesClearAnswers => {
                clear.await?;
                Err(BackendError::Timeout(SILENCE))
            }
            _ => clear.await,
        }
    }
}

fn refused() -> BackendError {
    BackendError::Refused("told to fail by the test".into())
}

impl Backend for Failing {
    fn lookup<'a>(
        &'a self,
        target: &'a Target,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Lookup, BackendError>> {
        Box::pin(async move {
            self.pass(deadline).await?;
            self.inner.lookup(target, deadline).await
        })
    }

    fn ticket<'a>(
        &'a self,
        target: &'a Target,
        dynamic: &'a [Arc<str>],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Ticket, BackendError>> {
        Box::pin(async move {
            self.pass(deadline).await?;
            self.inner.ticket(target, dynamic, deadline).await
        })
    }

    fn store<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
        filling: Filling<'a>,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(async move {
            self.pass_soon().await?;
            if self.fault() == Fault::RefusesStores {
                return Err(refused());
            }
            self.inner.store(target, lease, filling).await
        })
    }

    fn renew<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            self.pass_soon().await?;
            self.inner.renew(target, lease).await
        })
    }

    fn release<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            self.pass_soon().await?;
            self.inner.release(target, lease).await
        })
    }

    fn discard<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            self.pass_soon().await?;
            self.inner.discard(target).await
        })
    }

    fn clear<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(self.through_clear(self.inner.clear(keys)))
    }

    fn clear_all(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(self.through_clear(self.inner.clear_all()))
    }

    fn hold<'a>(
        &'a self,
        keys: &'a [String],
        writer: &'a str,
        longest: Duration,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(self.through_clear(self.inner.hold(keys, writer, longest)))
    }

    fn unhold<'a>(
        &'a self,
        keys: &'a [String],
        writer: &'a str,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(self.through_clear(self.inner.unhold(keys, writer)))
    }

    fn reclaim(&self, keys: Vec<String>) -> BoxFuture<'_, Reclaimed> {
        Box::pin(async move {
            match self.pass_soon().await {
                Ok(()) => self.inner.reclaim(keys).await,
                Err(_) => Reclaimed::default(),
            }
        })
    }

    fn sweep(&self) -> BoxFuture<'_, Result<u64, BackendError>> {
        Box::pin(async move {
            self.pass_soon().await?;
            self.inner.sweep().await
        })
    }

    fn lease(&self) -> Duration {
        self.inner.lease()
    }

    fn open(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async move {
            self.pass_soon().await?;
            self.inner.open().await
        })
    }

    fn first_of_version(&self) -> BoxFuture<'_, Result<bool, BackendError>> {
        Box::pin(async move {
            self.pass_soon().await?;
            self.inner.first_of_version().await
        })
    }

    fn inspect(&self) -> Option<&dyn Inspect> {
        self.inner.inspect()
    }

    fn describe(&self) -> String {
        format!("{}, failing on command", self.inner.describe())
    }

    fn is_available(&self) -> bool {
        !matches!(self.fault(), Fault::Refuses | Fault::Silent) && self.inner.is_available()
    }
}
