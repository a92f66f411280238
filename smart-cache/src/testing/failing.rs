//! A backend that fails on command, in front of any other.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::values::Values;
use crate::backend::{
    Added, Backend, BoxFuture, Filling, Lease, Lookup, NewValue, Reclaimed, Stored, Ticket,
    ValueStore,
};
use crate::error::BackendError;
use crate::inspect::Inspect;
use crate::local::Freshness;
use crate::protocol::Target;

mod values;

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
    /// Lookups work, clears are refused and have no effect; so are removals of values.
    RefusesClears,
    /// Clears take effect, but their acknowledgement is lost.
    LosesClearAnswers,
    /// Lookups and tickets work, stores are refused, as when Redis is full; of values all that
    /// writes one.
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
    faults: Arc<Faults>,
}

/// What a failing backend, its blocking twin and its values do.
#[derive(Debug, Default)]
struct Faults(Mutex<Fault>);

impl Failing {
    /// Works until it is told to [`fail`](Self::fail).
    #[must_use]
    pub fn new(inner: Arc<dyn Backend>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            faults: Arc::default(),
        })
    }

    /// Fails like this from now on; [`Fault::None`] ends it. Calls under way are not touched.
    pub fn fail(&self, fault: Fault) {
        *self.faults.0.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    }
}

impl Faults {
    fn now(&self) -> Fault {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails here if nothing at all gets through.
    async fn pass(&self, deadline: Instant) -> Result<(), BackendError> {
        match self.now() {
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

    async fn clears<T>(
        &self,
        clear: BoxFuture<'_, Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        self.pass_soon().await?;
        match self.now() {
            Fault::RefusesClears => Err(refused()),
            Fault::LosesClearAnswers => {
                clear.await?;
                Err(BackendError::Timeout(SILENCE))
            }
            _ => clear.await,
        }
    }

    async fn stores<T>(
        &self,
        store: BoxFuture<'_, Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        self.pass_soon().await?;
        match self.now() {
            Fault::RefusesStores => Err(refused()),
            _ => store.await,
        }
    }

    /// Whatever neither stores nor clears.
    async fn asks<T>(
        &self,
        question: BoxFuture<'_, Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        self.pass_soon().await?;
        question.await
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
            self.faults.pass(deadline).await?;
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
            self.faults.pass(deadline).await?;
            self.inner.ticket(target, dynamic, deadline).await
        })
    }

    fn store<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
        filling: Filling<'a>,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(self.faults.stores(self.inner.store(target, lease, filling)))
    }

    fn values(&self) -> Option<Arc<dyn ValueStore>> {
        let inner = self.inner.values()?;
        Some(Arc::new(Values::new(inner, Arc::clone(&self.faults))))
    }

    fn add_value<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
        value: NewValue<'a>,
    ) -> BoxFuture<'a, Result<Added, BackendError>> {
        Box::pin(
            self.faults
                .stores(self.inner.add_value(target, lease, value)),
        )
    }

    fn renew<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(self.faults.asks(self.inner.renew(target, lease)))
    }

    fn release<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(self.faults.asks(self.inner.release(target, lease)))
    }

    fn discard<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(self.faults.asks(self.inner.discard(target)))
    }

    fn clear<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(self.faults.clears(self.inner.clear(keys)))
    }

    fn expire<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(self.faults.clears(self.inner.expire(keys)))
    }

    fn clear_all(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(self.faults.clears(self.inner.clear_all()))
    }

    fn hold<'a>(
        &'a self,
        keys: &'a [String],
        writer: &'a str,
        longest: Duration,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(self.faults.clears(self.inner.hold(keys, writer, longest)))
    }

    fn unhold<'a>(
        &'a self,
        keys: &'a [String],
        writer: &'a str,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(self.faults.clears(self.inner.unhold(keys, writer)))
    }

    fn reclaim(&self, keys: Vec<String>) -> BoxFuture<'_, Reclaimed> {
        Box::pin(async move {
            match self.faults.pass_soon().await {
                Ok(()) => self.inner.reclaim(keys).await,
                Err(_) => Reclaimed::default(),
            }
        })
    }

    fn sweep(&self) -> BoxFuture<'_, Result<u64, BackendError>> {
        Box::pin(self.faults.asks(self.inner.sweep()))
    }

    fn lease(&self) -> Duration {
        self.inner.lease()
    }

    fn open(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(self.faults.asks(self.inner.open()))
    }

    fn first_of_version(&self) -> BoxFuture<'_, Result<bool, BackendError>> {
        Box::pin(self.faults.asks(self.inner.first_of_version()))
    }

    /// A local tier in front of a failing backend would keep requests from it.
    fn freshness(&self) -> Option<&Arc<Freshness>> {
        None
    }

    fn blocking_twin(&self) -> Option<Arc<dyn Backend>> {
        let inner = self.inner.blocking_twin()?;
        let faults = Arc::clone(&self.faults);
        Some(Arc::new(Self { inner, faults }))
    }

    fn inspect(&self) -> Option<&dyn Inspect> {
        self.inner.inspect()
    }

    fn describe(&self) -> String {
        format!("{}, failing on command", self.inner.describe())
    }

    fn is_available(&self) -> bool {
        !matches!(self.faults.now(), Fault::Refuses | Fault::Silent) && self.inner.is_available()
    }
}
