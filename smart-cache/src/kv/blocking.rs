//! Every method for code that cannot await.
//!
//! The caller's own thread drives the call; connections and timers live on the runtime of the
//! blocking clears, because one of the caller's runtime could not move while its thread stands
//! still.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Cache, CacheError, ComputeError, GetOrSet, Place, Source, Timeout};
use crate::backend::Ttl;
use crate::key::IntoKeys;

/// [`Cache`] for code that cannot await: each method is that of the same name there, with the same
/// atomicity, round trips and errors, and blocks the thread. It may be used anywhere, also on a
/// runtime's own thread.
///
/// # Example
/// ```
/// # fn main() -> Result<(), smart_cache::CacheError> {
/// use smart_cache::{SmartCache, Timeout};
///
/// let values = SmartCache::in_memory().values().blocking();
/// values.set("n", &41, Timeout::Default)?;
/// assert_eq!(values.incr("n", 1)?, 42);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BlockingCache {
    cache: Cache,
}

impl Cache {
    /// The same cache for code that cannot await, over a connection of its own.
    #[must_use]
    pub fn blocking(&self) -> BlockingCache {
        let place = match &self.place.source {
            Source::Twin(_) => Arc::clone(&self.place),
            _ => Place::new(Source::Twin(Arc::clone(&self.place))),
        };
        BlockingCache {
            cache: Self {
                place,
                version: self.version,
            },
        }
    }
}

#[expect(
    clippy::missing_errors_doc,
    reason = "the type says that each method is documented at its asynchronous twin"
)]
impl BlockingCache {
    /// As [`Cache::version`].
    #[must_use]
    pub fn version(&self, version: u32) -> Self {
        Self {
            cache: self.cache.version(version),
        }
    }

    /// As [`Cache::get`].
    pub fn get<T: DeserializeOwned>(&self, key: impl AsRef<str>) -> Result<Option<T>, CacheError> {
        block_on(self.cache.get(key))?
    }

    /// As [`Cache::get_bytes`].
    pub fn get_bytes(&self, key: impl AsRef<str>) -> Result<Option<Bytes>, CacheError> {
        block_on(self.cache.get_bytes(key))?
    }

    /// As [`Cache::get_many`].
    pub fn get_many<T: DeserializeOwned>(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<HashMap<String, T>, CacheError> {
        block_on(self.cache.get_many(keys))?
    }

    /// As [`Cache::get_many_bytes`].
    pub fn get_many_bytes(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<HashMap<String, Bytes>, CacheError> {
        block_on(self.cache.get_many_bytes(keys))?
    }

    /// As [`Cache::has_key`].
    pub fn has_key(&self, key: impl AsRef<str>) -> Result<bool, CacheError> {
        block_on(self.cache.has_key(key))?
    }

    /// As [`Cache::ttl`].
    pub fn ttl(&self, key: impl AsRef<str>) -> Result<Ttl, CacheError> {
        block_on(self.cache.ttl(key))?
    }

    /// As [`Cache::keys`], all of them, sorted and each once.
    pub fn keys(&self, glob: impl Into<String>) -> Result<Vec<String>, CacheError> {
        block_on(self.cache.keys(glob).all())?
    }

    /// As [`Cache::set`].
    pub fn set<T: Serialize + ?Sized>(
        &self,
        key: impl AsRef<str>,
        value: &T,
        timeout: impl Into<Timeout>,
    ) -> Result<(), CacheError> {
        block_on(self.cache.set(key, value, timeout))?
    }

    /// As [`Cache::set_bytes`].
    pub fn set_bytes(
        &self,
        key: impl AsRef<str>,
        value: impl Into<Bytes>,
        timeout: impl Into<Timeout>,
    ) -> Result<(), CacheError> {
        block_on(self.cache.set_bytes(key, value, timeout))?
    }

    /// As [`Cache::set_many`].
    pub fn set_many<T: Serialize>(
        &self,
        values: impl IntoIterator<Item = (impl AsRef<str>, T)>,
        timeout: impl Into<Timeout>,
    ) -> Result<Vec<String>, CacheError> {
        block_on(self.cache.set_many(values, timeout))?
    }

    /// As [`Cache::set_many_bytes`].
    pub fn set_many_bytes(
        &self,
        values: impl IntoIterator<Item = (impl Into<String>, Bytes)>,
        timeout: impl Into<Timeout>,
    ) -> Result<Vec<String>, CacheError> {
        block_on(self.cache.set_many_bytes(values, timeout))?
    }

    /// As [`Cache::add`].
    pub fn add<T: Serialize + ?Sized>(
        &self,
        key: impl AsRef<str>,
        value: &T,
        timeout: impl Into<Timeout>,
    ) -> Result<bool, CacheError> {
        block_on(self.cache.add(key, value, timeout))?
    }

    /// As [`Cache::add_bytes`].
    pub fn add_bytes(
        &self,
        key: impl AsRef<str>,
        value: impl Into<Bytes>,
        timeout: impl Into<Timeout>,
    ) -> Result<bool, CacheError> {
        block_on(self.cache.add_bytes(key, value, timeout))?
    }

    /// As [`Cache::touch`].
    pub fn touch(
        &self,
        key: impl AsRef<str>,
        timeout: impl Into<Timeout>,
    ) -> Result<bool, CacheError> {
        block_on(self.cache.touch(key, timeout))?
    }

    /// As [`Cache::persist`].
    pub fn persist(&self, key: impl AsRef<str>) -> Result<bool, CacheError> {
        block_on(self.cache.persist(key))?
    }

    /// As [`Cache::delete`].
    pub fn delete(&self, key: impl AsRef<str>) -> Result<bool, CacheError> {
        block_on(self.cache.delete(key))?
    }

    /// As [`Cache::delete_many`].
    pub fn delete_many(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<u64, CacheError> {
        block_on(self.cache.delete_many(keys))?
    }

    /// As [`Cache::incr`].
    pub fn incr(&self, key: impl AsRef<str>, delta: i64) -> Result<i64, CacheError> {
        block_on(self.cache.incr(key, delta))?
    }

    /// As [`Cache::decr`].
    pub fn decr(&self, key: impl AsRef<str>, delta: i64) -> Result<i64, CacheError> {
        block_on(self.cache.decr(key, delta))?
    }

    /// As [`Cache::incr_version`].
    pub fn incr_version(&self, key: impl AsRef<str>, delta: i32) -> Result<u32, CacheError> {
        block_on(self.cache.incr_version(key, delta))?
    }

    /// As [`Cache::decr_version`].
    pub fn decr_version(&self, key: impl AsRef<str>, delta: i32) -> Result<u32, CacheError> {
        block_on(self.cache.decr_version(key, delta))?
    }

    /// As [`Cache::make_key`].
    pub fn make_key(&self, key: impl AsRef<str>) -> Result<String, CacheError> {
        block_on(self.cache.make_key(key))?
    }

    /// As [`Cache::clear`].
    pub fn clear(&self) -> Result<(), CacheError> {
        block_on(self.cache.clear())?
    }

    /// As [`Cache::close`].
    pub fn close(&self) -> Result<(), CacheError> {
        block_on(self.cache.close())
    }

    /// As [`Cache::get_or_set`]; finished by [`BlockingGetOrSet::compute`].
    pub fn get_or_set(&self, key: impl Into<String>) -> BlockingGetOrSet {
        BlockingGetOrSet(self.cache.get_or_set(key))
    }
}

/// [`GetOrSet`] for code that cannot await.
#[derive(Debug, Clone)]
#[must_use = "nothing is read or computed until compute()"]
pub struct BlockingGetOrSet(GetOrSet);

impl BlockingGetOrSet {
    /// As [`GetOrSet::tags`].
    pub fn tags(self, tags: impl IntoKeys) -> Self {
        Self(self.0.tags(tags))
    }

    /// As [`GetOrSet::timeout`].
    pub fn timeout(self, timeout: impl Into<Timeout>) -> Self {
        Self(self.0.timeout(timeout))
    }

    /// As [`GetOrSet::compute`], with a closure that returns when it has computed; it runs on the
    /// caller's thread.
    ///
    /// # Errors
    /// As [`GetOrSet::compute`].
    pub fn compute<T>(self, compute: impl FnOnce() -> T) -> Result<T, CacheError>
    where
        T: Serialize + DeserializeOwned,
    {
        match self.try_compute(|| Ok::<T, Infallible>(compute())) {
            Ok(value) => Ok(value),
            Err(ComputeError::Cache(why)) => Err(why),
            Err(ComputeError::Compute(never)) => match never {},
        }
    }

    /// As [`GetOrSet::try_compute`].
    ///
    /// # Errors
    /// As [`GetOrSet::try_compute`].
    pub fn try_compute<T, E>(
        self,
        compute: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, ComputeError<E>>
    where
        T: Serialize + DeserializeOwned,
    {
        block_on(self.0.try_compute(async || compute())).map_err(ComputeError::Cache)?
    }
}

/// Drives a future on this thread, within the runtime of the blocking calls.
fn block_on<F: Future>(future: F) -> Result<F::Output, CacheError> {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let runtime = crate::clearing::blocking_runtime()?;
    let _entered = runtime.enter();
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    // A thread that is driving a task has the budget of that task, which is renewed at the task's
    // next poll: never, while this thread stands here.
    let mut future = pin!(tokio::task::unconstrained(future));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Ok(output);
        }
        // A wake that came before this is not lost: parking then returns at once.
        std::thread::park();
    }
}
