//! Writes: set, add, touch, delete, alone and for many keys.

use bytes::Bytes;
use serde::Serialize;

use super::error::shown;
use super::timeout::Life;
use super::{Cache, CacheError, Opened, Timeout, encoding};
use crate::error::BackendError;

impl Cache {
    /// Stores a value, whatever was there, for as long as `timeout` says; zero removes it.
    ///
    /// Atomic, one round trip. Replaces also what is of another Redis type. A `get_or_set` of this
    /// key that is computing meanwhile does not store any more.
    ///
    /// # Errors
    /// [`CacheError::Backend`] during an outage: the value may have been stored. With
    /// [`BackendError::TooLarge`] for a value that the backend never keeps.
    /// [`CacheError::Encode`] for a value that cannot be written, [`CacheError::EmptyKey`].
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), smart_cache::CacheError> {
    /// # use smart_cache::{SmartCache, Timeout};
    /// use std::time::Duration;
    ///
    /// let values = SmartCache::in_memory().values();
    /// values.set("point", &(1, 2), Timeout::Default).await?;
    /// values.set("point", &(1, 3), Duration::from_millis(500)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Pitfalls
    /// Store plain data with named fields: a value outlives the build that wrote it, and what the
    /// next build cannot read is a miss.
    pub async fn set<T: Serialize + ?Sized>(
        &self,
        key: impl AsRef<str>,
        value: &T,
        timeout: impl Into<Timeout>,
    ) -> Result<(), CacheError> {
        let (key, timeout) = (key.as_ref(), timeout.into());
        self.put(key, encode(key, value)?, timeout).await
    }

    /// [`set`](Self::set) of bytes as they are: [`get_bytes`](Self::get_bytes) gives them back.
    /// Decimal text is a whole number, which can be counted with and read as one.
    ///
    /// # Errors
    /// As [`set`](Self::set); atomicity and round trips too.
    pub async fn set_bytes(
        &self,
        key: impl AsRef<str>,
        value: impl Into<Bytes>,
        timeout: impl Into<Timeout>,
    ) -> Result<(), CacheError> {
        self.put(key.as_ref(), value.into(), timeout.into()).await
    }

    /// Stores a value where there is none; whether the key was free. With a timeout of zero nothing
    /// is stored, and the answer is the same.
    ///
    /// Atomic, one round trip. What is there and cannot be read keeps the key from being free.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub async fn add<T: Serialize + ?Sized>(
        &self,
        key: impl AsRef<str>,
        value: &T,
        timeout: impl Into<Timeout>,
    ) -> Result<bool, CacheError> {
        let key = key.as_ref();
        self.add_bytes(key, encode(key, value)?, timeout).await
    }

    /// [`add`](Self::add) of bytes as they are.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub async fn add_bytes(
        &self,
        key: impl AsRef<str>,
        value: impl Into<Bytes>,
        timeout: impl Into<Timeout>,
    ) -> Result<bool, CacheError> {
        let key = key.as_ref();
        let (opened, name) = self.named(key).await?;
        match opened.life(timeout.into()) {
            Life::Over => Ok(opened
                .store
                .get_many(&[name])
                .await?
                .iter()
                .all(Option::is_none)),
            Life::Until(expiry) => {
                let bytes = opened.seal(key, value.into())?;
                Ok(opened.store.add(&name, bytes, expiry).await?)
            }
        }
    }

    /// Gives a value a new timeout; whether there is one. Zero removes it.
    ///
    /// Atomic, one round trip. True also for a value that stays for ever already.
    ///
    /// # Errors
    /// [`CacheError::Backend`] during an outage, [`CacheError::EmptyKey`].
    pub async fn touch(
        &self,
        key: impl AsRef<str>,
        timeout: impl Into<Timeout>,
    ) -> Result<bool, CacheError> {
        let (opened, name) = self.named(key.as_ref()).await?;
        match opened.life(timeout.into()) {
            Life::Over => Ok(opened.remove(vec![name]).await? > 0),
            Life::Until(expiry) => Ok(opened.store.touch(&name, expiry).await?),
        }
    }

    /// Lets a value stay until it is removed; whether there is one:
    /// [`touch`](Self::touch) with [`Timeout::Never`].
    ///
    /// # Errors
    /// As [`touch`](Self::touch); atomicity and round trips too.
    pub async fn persist(&self, key: impl AsRef<str>) -> Result<bool, CacheError> {
        self.touch(key, Timeout::Never).await
    }

    /// Removes the value under a key, and what [`get_or_set`](Self::get_or_set) has computed for it
    /// or is computing; whether there was a value that was set.
    ///
    /// Atomic, one round trip.
    ///
    /// # Errors
    /// [`CacheError::Backend`] during an outage: it may have taken effect, and it is not repeated.
    /// [`CacheError::EmptyKey`].
    pub async fn delete(&self, key: impl AsRef<str>) -> Result<bool, CacheError> {
        let (opened, name) = self.named(key.as_ref()).await?;
        Ok(opened.remove(vec![name]).await? > 0)
    }

    /// [`delete`](Self::delete) of many keys; how many values there were.
    ///
    /// One round trip for all of them.
    ///
    /// # Errors
    /// As [`delete`](Self::delete).
    pub async fn delete_many(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<u64, CacheError> {
        let opened = self.place.opened().await?;
        let names = keys
            .into_iter()
            .map(|key| opened.name(key.as_ref(), self.version))
            .collect::<Result<Vec<_>, _>>()?;
        opened.remove(names).await
    }

    /// Stores many values with one timeout, and returns the keys of those that were not kept.
    ///
    /// One round trip for all of them, each atomic by itself. With a timeout of zero all are
    /// removed.
    ///
    /// # Errors
    /// [`CacheError::Backend`] when nothing was kept: during an outage any of them may have been.
    /// [`CacheError::Encode`] and [`CacheError::EmptyKey`] before anything is stored.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), smart_cache::CacheError> {
    /// # use smart_cache::{SmartCache, Timeout};
    /// let values = SmartCache::in_memory().values();
    /// let failed = values.set_many([("a", 1), ("b", 2)], Timeout::Default).await?;
    /// assert!(failed.is_empty());
    /// assert_eq!(values.get_many::<i32>(["a", "b", "c"]).await?.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn set_many<T: Serialize>(
        &self,
        values: impl IntoIterator<Item = (impl AsRef<str>, T)>,
        timeout: impl Into<Timeout>,
    ) -> Result<Vec<String>, CacheError> {
        let encoded = values
            .into_iter()
            .map(|(key, value)| Ok((key.as_ref().to_owned(), encode(key.as_ref(), &value)?)))
            .collect::<Result<Vec<_>, CacheError>>()?;
        self.set_many_bytes(encoded, timeout).await
    }

    /// [`set_many`](Self::set_many) of bytes as they are.
    ///
    /// # Errors
    /// As [`set_many`](Self::set_many).
    pub async fn set_many_bytes(
        &self,
        values: impl IntoIterator<Item = (impl Into<String>, Bytes)>,
        timeout: impl Into<Timeout>,
    ) -> Result<Vec<String>, CacheError> {
        let opened = self.place.opened().await?;
        let mut keys = Vec::new();
        let mut named = Vec::new();
        for (key, bytes) in values {
            let key = key.into();
            let name = opened.name(&key, self.version)?;
            named.push((name, opened.seal(&key, bytes)?));
            keys.push(key);
        }
        let Life::Until(expiry) = opened.life(timeout.into()) else {
            let names = named.into_iter().map(|(name, _)| name).collect();
            opened.remove(names).await?;
            return Ok(Vec::new());
        };
        let names: Vec<String> = named.iter().map(|(name, _)| name.clone()).collect();
        opened.distrust_local(&names);
        let refused = opened.store.set_many(&named, expiry).await;
        opened.distrust_local(&names);
        Ok(refused?
            .into_iter()
            .filter_map(|at| keys.get(at).cloned())
            .collect())
    }

    async fn put(&self, key: &str, bytes: Bytes, timeout: Timeout) -> Result<(), CacheError> {
        let refused = self.set_many_bytes([(key, bytes)], timeout).await?;
        if refused.is_empty() {
            return Ok(());
        }
        Err(BackendError::Refused("the value was not kept".into()).into())
    }
}

impl Opened {
    pub(super) fn life(&self, timeout: Timeout) -> Life {
        timeout.life(self.smart.inner.config.values.default_timeout)
    }

    pub(super) async fn remove(&self, names: Vec<String>) -> Result<u64, CacheError> {
        self.distrust_local(&names);
        let removed = self.store.delete_many(&names).await;
        self.distrust_local(&names);
        Ok(removed?)
    }
}

fn encode<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<Bytes, CacheError> {
    encoding::encode(value).map_err(|why| CacheError::Encode {
        key: shown(key),
        why: why.into(),
    })
}
