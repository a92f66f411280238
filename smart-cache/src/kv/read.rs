//! Reads: one value, many, whether there is one, how long it has left, and which there are.

use std::collections::HashMap;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
use serde::de::DeserializeOwned;

use super::{Cache, CacheError, Opened, encoding};
use crate::backend::Ttl;
use crate::error::BackendError;
use crate::protocol::open;

impl Cache {
    /// The value under a key: `None` where there is none, `Some(None)` for a stored `None`.
    ///
    /// One round trip. What does not decode as a `T`, because an older build wrote another type
    /// or another program something else, is missing, and counted in
    /// [`ValueStats::undecodable`](crate::ValueStats); so is a name that holds a Redis list or hash. Whole
    /// numbers can be read as any number type that holds them. While the running task has a
    /// transaction open that gathers this key ([`Collector`](crate::hooks::Collector)), it is missing
    /// for that task: it is of before the task's own write.
    ///
    /// # Errors
    /// [`CacheError::EmptyKey`]. During an outage it is missing, or [`CacheError::Backend`] where
    /// [`OnError::Fail`](crate::OnError) was chosen.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), smart_cache::CacheError> {
    /// # use smart_cache::{SmartCache, Timeout};
    /// let values = SmartCache::in_memory().values();
    /// values.set("nickname", &None::<String>, Timeout::Never).await?;
    /// assert_eq!(values.get::<Option<String>>("nickname").await?, Some(None));
    /// assert_eq!(values.get::<Option<String>>("unknown").await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get<T: DeserializeOwned>(
        &self,
        key: impl AsRef<str>,
    ) -> Result<Option<T>, CacheError> {
        let key = key.as_ref();
        let (opened, name) = self.named(key).await?;
        let found = opened.one(key, name).await?;
        let plain = found.and_then(|stored| opened.unseal(key, stored));
        let value = plain.and_then(|bytes| opened.decode(&bytes));
        opened
            .counters()
            .found(value.is_some().into(), value.is_none().into());
        Ok(value)
    }

    /// The bytes under a key: those of [`set_bytes`](Self::set_bytes) as they were given, a whole
    /// number as decimal text, any other value as it is encoded.
    ///
    /// # Errors
    /// As [`get`](Self::get); round trips too.
    pub async fn get_bytes(&self, key: impl AsRef<str>) -> Result<Option<Bytes>, CacheError> {
        let key = key.as_ref();
        let (opened, name) = self.named(key).await?;
        let found = opened.one(key, name).await?;
        let found = found.and_then(|stored| opened.unseal(key, stored));
        opened
            .counters()
            .found(found.is_some().into(), found.is_none().into());
        Ok(found)
    }

    /// The values that there are under these keys, by the caller's own keys.
    ///
    /// One round trip for all of them. Not atomic across keys on every backend. What does not
    /// decode is missing, as in [`get`](Self::get).
    ///
    /// # Errors
    /// As [`get`](Self::get): during an outage the map is empty.
    pub async fn get_many<T: DeserializeOwned>(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<HashMap<String, T>, CacheError> {
        let (opened, keys, found) = self.many(keys).await?;
        let asked = keys.len();
        let values: HashMap<String, T> = keys
            .into_iter()
            .zip(found)
            .filter_map(|(key, stored)| {
                let bytes = opened.unseal(&key, stored?)?;
                Some((key, opened.decode(&bytes)?))
            })
            .collect();
        opened
            .counters()
            .found(values.len(), asked.saturating_sub(values.len()));
        Ok(values)
    }

    /// [`get_many`](Self::get_many) of bytes, as [`get_bytes`](Self::get_bytes) gives them.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_many_bytes(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<HashMap<String, Bytes>, CacheError> {
        let (opened, keys, found) = self.many(keys).await?;
        let asked = keys.len();
        let values: HashMap<String, Bytes> = keys
            .into_iter()
            .zip(found)
            .filter_map(|(key, stored)| {
                let bytes = opened.unseal(&key, stored?)?;
                Some((key, bytes))
            })
            .collect();
        opened
            .counters()
            .found(values.len(), asked.saturating_sub(values.len()));
        Ok(values)
    }

    /// Whether there is a value under the key: also for a stored `None`, and for one that would not
    /// decode. A name that holds a Redis list or hash holds no value, as for [`get`](Self::get).
    ///
    /// One round trip, which brings the value along.
    ///
    /// # Errors
    /// As [`get`](Self::get): during an outage there is none.
    pub async fn has_key(&self, key: impl AsRef<str>) -> Result<bool, CacheError> {
        let key = key.as_ref();
        let (opened, name) = self.named(key).await?;
        Ok(opened.one(key, name).await?.is_some())
    }

    /// How long a value has left.
    ///
    /// One round trip.
    ///
    /// # Errors
    /// As [`get`](Self::get): during an outage it is missing. [`CacheError::Backend`] with
    /// [`BackendError::Unsupported`] where the backend cannot tell.
    pub async fn ttl(&self, key: impl AsRef<str>) -> Result<Ttl, CacheError> {
        let (opened, name) = self.named(key.as_ref()).await?;
        opened.or_miss(opened.store.ttl(&name).await, Ttl::Missing)
    }

    /// The keys of this handle's version that match a glob: `*` any bytes, `?` one byte, `[a-c]` one
    /// of them, `\` before a character that stands for itself.
    ///
    /// A walk in many round trips, one for about 500 names of the database, each made when the
    /// stream is asked for more. What is there all the while is listed, perhaps twice; what comes
    /// or goes meanwhile may be.
    ///
    /// # Errors
    /// The stream yields one and ends: [`CacheError::Backend`] during an outage, whatever
    /// [`OnError`](crate::OnError) says, for an empty list would be a lie; with
    /// [`BackendError::Unsupported`] where the backend cannot list (memcached), or the names are
    /// those of a [key function](crate::Builder::key_function).
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), smart_cache::CacheError> {
    /// # use smart_cache::{SmartCache, Timeout};
    /// let values = SmartCache::in_memory().values();
    /// values.set("user:7", &1, Timeout::Default).await?;
    /// values.set("shop:7", &1, Timeout::Default).await?;
    /// let mut keys = values.keys("user:*");
    /// while let Some(key) = keys.next().await {
    ///     assert_eq!(key?, "user:7");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn keys(&self, glob: impl Into<String>) -> Keys {
        let (cache, glob) = (self.clone(), glob.into());
        let pages = stream::try_unfold(Some(None), move |from: Option<Option<String>>| {
            let (cache, glob) = (cache.clone(), glob.clone());
            async move {
                match from {
                    Some(from) => cache.page(&glob, from).await.map(Some),
                    None => Ok(None),
                }
            }
        });
        Keys {
            stream: Box::pin(
                pages
                    .map_ok(|names| stream::iter(names.into_iter().map(Ok)))
                    .try_flatten(),
            ),
        }
    }

    /// One step of a walk: keys, and where it goes on.
    async fn page(
        &self,
        glob: &str,
        from: Option<String>,
    ) -> Result<(Vec<String>, Option<Option<String>>), CacheError> {
        let opened = self.place.opened().await?;
        let settings = &opened.smart.inner.config.values;
        if settings.key_function.is_some() {
            let why =
                "the names are those of a key function, which cannot be turned back into keys";
            return Err(BackendError::Unsupported(why.into()).into());
        }
        let prefix = format!("{}:", self.version.unwrap_or(settings.version));
        let page = opened.store.names(&format!("{prefix}{glob}"), from).await?;
        let key = |name: &String| Some(name.strip_prefix(&prefix)?.to_owned());
        Ok((
            page.names.iter().filter_map(key).collect(),
            page.next.map(Some),
        ))
    }

    /// The opened cache and the name of a key.
    pub(super) async fn named(&self, key: &str) -> Result<(&Opened, String), CacheError> {
        let opened = self.place.opened().await?;
        let name = opened.name(key, self.version)?;
        Ok((opened, name))
    }

    async fn many(
        &self,
        keys: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> Result<(&Opened, Vec<String>, Vec<Option<Bytes>>), CacheError> {
        let keys: Vec<String> = keys
            .into_iter()
            .map(|key| key.as_ref().to_owned())
            .collect();
        let opened = self.place.opened().await?;
        let names: Vec<String> = keys
            .iter()
            .map(|key| opened.name(key, self.version))
            .collect::<Result<_, _>>()?;
        let mut found = opened.or_miss(opened.store.get_many(&names).await, Vec::new())?;
        if open::any() {
            for (key, found) in keys.iter().zip(&mut found) {
                found.take_if(|_| open::writes(&opened.smart, key));
            }
        }
        Ok((opened, keys, found))
    }
}

impl Opened {
    /// What is stored under one name; nothing while this task writes what its key stands for.
    async fn one(&self, key: &str, name: String) -> Result<Option<Bytes>, CacheError> {
        if open::writes(&self.smart, key) {
            return Ok(None);
        }
        let found = self.or_miss(self.store.get_many(&[name]).await, Vec::new())?;
        Ok(found.into_iter().next().flatten())
    }

    /// A stored value, if it is one of this type; counted if it is not.
    pub(super) fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Option<T> {
        let value = encoding::decode(bytes);
        if value.is_none() {
            self.counters().undecodable();
        }
        value
    }
}

/// Keys of a cache, by [`Cache::keys`]: a [`Stream`], and for programs without stream tools
/// [`next`](Self::next) and [`all`](Self::all).
#[must_use = "a stream does nothing until it is asked"]
pub struct Keys {
    stream: Pin<Box<dyn Stream<Item = Result<String, CacheError>> + Send>>,
}

impl Keys {
    /// The next key.
    pub async fn next(&mut self) -> Option<Result<String, CacheError>> {
        self.stream.next().await
    }

    /// All that follow, sorted and each once.
    ///
    /// # Errors
    /// The first one that the walk meets.
    pub async fn all(self) -> Result<Vec<String>, CacheError> {
        let keys: std::collections::BTreeSet<String> = self.stream.try_collect().await?;
        Ok(keys.into_iter().collect())
    }
}

impl Stream for Keys {
    type Item = Result<String, CacheError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.stream.as_mut().poll_next(context)
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}
