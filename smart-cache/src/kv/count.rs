//! Counters, and values that move to another version.

use super::error::shown;
use super::{Cache, CacheError};
use crate::backend::Counted;

impl Cache {
    /// Adds to the whole number under a key and returns the sum; a negative `delta` subtracts.
    ///
    /// Atomic: the server itself counts, and the timeout stays. One round trip. Begin a counter
    /// with `add(key, &0, timeout)`.
    ///
    /// # Errors
    /// [`CacheError::Missing`] when there is no value, [`CacheError::NotAnInteger`] when it is none
    /// of 64 bits or of another Redis type, [`CacheError::Overflow`] when the sum would not be:
    /// nothing is changed then. [`CacheError::Sealed`] where values are encrypted. [`CacheError::Backend`] during an outage: it may have taken effect,
    /// and it is not repeated. [`CacheError::EmptyKey`].
    pub async fn incr(&self, key: impl AsRef<str>, delta: i64) -> Result<i64, CacheError> {
        let key = key.as_ref();
        let (opened, name) = self.named(key).await?;
        if opened.smart.inner.keyring.is_some() {
            return Err(CacheError::Sealed { key: shown(key) });
        }
        match opened.store.increment(&name, delta).await? {
            Counted::Now(sum) => Ok(sum),
            Counted::Missing => Err(CacheError::Missing { key: shown(key) }),
            Counted::NotAnInteger => Err(CacheError::NotAnInteger { key: shown(key) }),
            Counted::Overflow => Err(CacheError::Overflow { key: shown(key) }),
        }
    }

    /// Subtracts from the whole number under a key: [`incr`](Self::incr) the other way round.
    ///
    /// # Errors
    /// As [`incr`](Self::incr); atomicity and round trips too.
    pub async fn decr(&self, key: impl AsRef<str>, delta: i64) -> Result<i64, CacheError> {
        let key = key.as_ref();
        let delta = delta
            .checked_neg()
            .ok_or_else(|| CacheError::Overflow { key: shown(key) })?;
        self.incr(key, delta).await
    }

    /// Moves the value under a key from this handle's version to that version plus `delta`, with
    /// what is left of its timeout, and returns the new version.
    ///
    /// Atomic (on memcached two steps), one round trip. What was stored at the new version is replaced.
    ///
    /// # Errors
    /// [`CacheError::Missing`] when there is no value, [`CacheError::Overflow`] when the version
    /// would be negative or too great, [`CacheError::Backend`] during an outage: it may have taken
    /// effect. [`CacheError::EmptyKey`].
    pub async fn incr_version(&self, key: impl AsRef<str>, delta: i32) -> Result<u32, CacheError> {
        let key = key.as_ref();
        let opened = self.place.opened().await?;
        let version = self
            .version
            .unwrap_or(opened.smart.inner.config.values.version);
        let next = version
            .checked_add_signed(delta)
            .ok_or_else(|| CacheError::Overflow { key: shown(key) })?;
        let names = [
            opened.name(key, Some(version))?,
            opened.name(key, Some(next))?,
        ];
        opened.distrust_local(&names);
        let moved = opened.store.rename(&names[0], &names[1]).await;
        opened.distrust_local(&names);
        if moved? {
            Ok(next)
        } else {
            Err(CacheError::Missing { key: shown(key) })
        }
    }

    /// [`incr_version`](Self::incr_version) the other way round.
    ///
    /// # Errors
    /// As [`incr_version`](Self::incr_version); atomicity and round trips too.
    pub async fn decr_version(&self, key: impl AsRef<str>, delta: i32) -> Result<u32, CacheError> {
        let key = key.as_ref();
        let delta = delta
            .checked_neg()
            .ok_or_else(|| CacheError::Overflow { key: shown(key) })?;
        self.incr_version(key, delta).await
    }
}
