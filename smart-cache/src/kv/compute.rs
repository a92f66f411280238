//! `get_or_set`: the question, before it goes its road.

use std::convert::Infallible;
use std::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::road::Job;
use super::{Cache, CacheError, Timeout};
use crate::key::IntoKeys;

/// A value that is there or will be computed: made by [`Cache::get_or_set`], finished by
/// [`compute`](Self::compute) or [`try_compute`](Self::try_compute).
#[derive(Debug, Clone)]
#[must_use = "nothing is read or computed until compute()"]
pub struct GetOrSet {
    cache: Cache,
    key: String,
    tags: Vec<String>,
    timeout: Timeout,
}

/// Why a value could be neither found nor computed.
#[derive(Debug, thiserror::Error)]
pub enum ComputeError<E> {
    /// The computation itself failed; nothing was stored.
    #[error(transparent)]
    Compute(E),
    /// The cache failed, and [`OnError::Fail`](crate::OnError) was chosen, or the key is empty, or
    /// the cache could not be set up. Nothing was computed.
    #[error(transparent)]
    Cache(CacheError),
}

impl Cache {
    /// The value under a key, or else what an async closure computes, which is stored.
    ///
    /// However many callers miss at once, in this process and in others, one of them computes, and
    /// the others wait for it (at most `SMART_REDIS_WAIT`, then they compute for themselves). A
    /// caller that is cancelled hands over to another one. What was computed before a
    /// [`delete`](Self::delete), [`set`](Self::set) or [`clear`](Self::clear) of the key is never
    /// stored after it; a value that somebody sets meanwhile stays, and is what the callers get.
    ///
    /// **With tags**, or when something below the closure calls [`depends_on`](crate::depends_on),
    /// the value is stored as responses are: `clear_cache` of the key or of a tag makes it gone
    /// everywhere, and no value whose computation began before that is ever seen after it. It is
    /// then read by `get_or_set` alone: not by [`get`](Self::get), [`ttl`](Self::ttl) or
    /// [`keys`](Self::keys). While a tag is younger than `SMART_REDIS_SETTLE` it is stored for that
    /// long only. What surrounds it, a cached handler or another computed value, depends on the
    /// same key and tags.
    ///
    /// **Without tags** it is a plain value, which all other methods see. It replaces what is of
    /// another Redis type.
    ///
    /// Round trips: one for a hit, none for a tagged value that this process remembers; for a miss
    /// two before the computation (four without tags) and one after it.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), smart_cache::CacheError> {
    /// # use smart_cache::SmartCache;
    /// use std::time::Duration;
    ///
    /// # let values = SmartCache::in_memory().values();
    /// # async fn load(id: u64) -> String { id.to_string() }
    /// let profile: String = values
    ///     .get_or_set("profile:7")
    ///     .tags(["profiles"])
    ///     .timeout(Duration::from_secs(3600))
    ///     .compute(async || load(7).await)
    ///     .await?;
    /// # assert_eq!(profile, "7");
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_or_set(&self, key: impl Into<String>) -> GetOrSet {
        GetOrSet {
            cache: self.clone(),
            key: key.into(),
            tags: Vec::new(),
            timeout: Timeout::Default,
        }
    }
}

impl GetOrSet {
    /// Keys that the value depends on beside its own: a clear of one of them makes it gone.
    pub fn tags(mut self, tags: impl IntoKeys) -> Self {
        self.tags.extend(tags.into_keys());
        self
    }

    /// How long the value stays; zero computes for this caller and stores nothing.
    pub fn timeout(mut self, timeout: impl Into<Timeout>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// The value that is there, or what `compute` returns. A value that cannot be stored is
    /// returned all the same, and the log says why.
    ///
    /// # Errors
    /// [`CacheError::EmptyKey`], also for an empty tag, [`CacheError::Config`], and
    /// [`CacheError::Backend`] during an outage where [`OnError::Fail`](crate::OnError) was chosen;
    /// otherwise an outage only means that every caller computes.
    pub async fn compute<T, F>(self, compute: impl FnOnce() -> F) -> Result<T, CacheError>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = T>,
    {
        let infallible = async || Ok::<T, Infallible>(compute().await);
        match self.try_compute(infallible).await {
            Ok(value) => Ok(value),
            Err(ComputeError::Cache(why)) => Err(why),
            Err(ComputeError::Compute(never)) => match never {},
        }
    }

    /// [`compute`](Self::compute) for what can fail: an error is never stored, and goes to its own
    /// caller; the others compute for themselves.
    ///
    /// # Errors
    /// [`ComputeError::Compute`] with the closure's own error, else as [`compute`](Self::compute).
    pub async fn try_compute<T, E, F>(
        self,
        compute: impl FnOnce() -> F,
    ) -> Result<T, ComputeError<E>>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, E>>,
    {
        let opened = self
            .cache
            .place
            .opened()
            .await
            .map_err(ComputeError::Cache)?;
        let name = opened
            .name(&self.key, self.cache.version)
            .map_err(ComputeError::Cache)?;
        let mut job = Job::new(opened, &self.key, name, self.timeout);
        if !self.tags.is_empty() {
            if self.tags.iter().any(String::is_empty) {
                return Err(ComputeError::Cache(CacheError::EmptyKey));
            }
            job = job.tagged(
                self.tags
                    .iter()
                    .map(String::as_str)
                    .chain([self.key.as_str()]),
            );
        }
        let work = async { compute().await.map_err(ComputeError::Compute) };
        job.run(work, |why| Some(ComputeError::Cache(why))).await
    }
}
