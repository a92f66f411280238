//! The low-level API: values under keys, beside the responses and on the same backend.
//!
//! | file | what |
//! |---|---|
//! | `read.rs` `write.rs` `count.rs` | the methods of [`Cache`] |
//! | `compute.rs` `road.rs` | `get_or_set`: the question, the road of a value that is computed |
//! | `function.rs` `fragment.rs` | what `#[smart_cached]` calls; pieces of pages |
//! | `blocking.rs` | every method for code that cannot await |
//! | `encoding.rs` `nested.rs` `timeout.rs` `error.rs` `stats.rs` | values as bytes; times; failures; counters |
//!
//! Over 400 lines, since the handle's documentation stands here.

mod blocking;
mod compute;
mod count;
mod encoding;
mod error;
mod fragment;
mod function;
mod nested;
mod read;
mod road;
mod stats;
mod timeout;
mod write;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::OnceCell;

pub use self::blocking::{BlockingCache, BlockingGetOrSet};
pub use self::compute::{ComputeError, GetOrSet};
pub use self::error::{CacheError, OnError};
pub use self::fragment::{Fragment, fragment};
pub use self::function::CachedValue;
pub use self::function::{FunctionCall, Returned, ReturnsValue};
pub use self::read::Keys;
pub(crate) use self::road::Reads;
pub(crate) use self::stats::ValueCounters;
pub use self::stats::ValueStats;
pub use self::timeout::Timeout;
use crate::backend::{Backend, ValueStore};
use crate::cache::SmartCache;
use crate::error::{BackendError, ConfigError};
use crate::seal::Bound;

/// Values under keys: Django's low-level cache API, typed over serde. Cheap to clone.
///
#[doc = include_str!("../../docs/low_level.md")]
#[derive(Clone)]
pub struct Cache {
    place: Arc<Place>,
    /// `None`: as configured.
    version: Option<u32>,
}

/// Which cache a handle is of; shared by its clones.
struct Place {
    source: Source,
    opened: OnceCell<Opened>,
}

enum Source {
    /// The default cache.
    Default,
    Named(String),
    Own(SmartCache),
    /// Another handle's cache, over the connection of blocking calls.
    Twin(Arc<Place>),
}

/// A cache that is set up.
#[derive(Clone)]
struct Opened {
    smart: SmartCache,
    backend: Arc<dyn Backend>,
    store: Arc<dyn ValueStore>,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match &self.place.source {
            Source::Default => "default",
            Source::Named(name) => name,
            Source::Own(_) => "own",
            Source::Twin(_) => "blocking",
        };
        f.debug_struct("Cache")
            .field("of", &name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Cache {
    /// Whether both are handles of one cache, at one version.
    fn eq(&self, other: &Self) -> bool {
        self.place.is_same(&other.place) && self.version == other.version
    }
}

/// The low-level API of the default cache: the one of the environment, or the one that was
/// [installed](crate::install).
///
/// It is set up by the first call that needs it, or by [`start`](crate::start).
///
/// # Example
/// ```no_run
/// # async fn example() -> Result<(), smart_cache::CacheError> {
/// use smart_cache::{Timeout, cache};
///
/// cache().set("greeting", "hello", Timeout::Default).await?;
/// assert_eq!(cache().get::<String>("greeting").await?.as_deref(), Some("hello"));
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn cache() -> Cache {
    static DEFAULT: OnceLock<Arc<Place>> = OnceLock::new();
    let place = DEFAULT.get_or_init(|| Place::new(Source::Default));
    Cache {
        place: Arc::clone(place),
        version: None,
    }
}

/// The low-level API of a named cache: one of `SMART_REDIS_CACHES`, or one that was
/// [installed](crate::install_named) before. The same cache each time.
///
/// # Errors
/// [`ConfigError::UnknownCache`], which lists the names there are.
///
/// # Example
/// ```no_run
/// # async fn example() -> Result<(), smart_cache::CacheError> {
/// // SMART_REDIS_CACHES=sessions  SMART_REDIS_SESSIONS_URL=redis://sessions.internal
/// let sessions = smart_cache::caches("sessions")?;
/// sessions.delete("user:7").await?;
/// # Ok(())
/// # }
/// ```
pub fn caches(name: &str) -> Result<Cache, ConfigError> {
    static NAMED: Mutex<Option<HashMap<String, Arc<Place>>>> = Mutex::new(None);
    let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    let named = named.get_or_insert_default();
    if !named.contains_key(name) {
        crate::start::is_known(name)?;
        let place = Place::new(Source::Named(name.to_owned()));
        named.insert(name.to_owned(), place);
    }
    Ok(Cache {
        place: Arc::clone(&named[name]),
        version: None,
    })
}

impl SmartCache {
    /// The low-level API of this cache: values beside its responses, on the same backend.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), smart_cache::CacheError> {
    /// use smart_cache::{SmartCache, Timeout};
    ///
    /// let values = SmartCache::in_memory().values();
    /// values.set("n", &41, Timeout::Never).await?;
    /// assert_eq!(values.incr("n", 1).await?, 42);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn values(&self) -> Cache {
        Cache {
            place: Place::new(Source::Own(self.clone())),
            version: None,
        }
    }
}

impl Place {
    fn new(source: Source) -> Arc<Self> {
        Arc::new(Self {
            source,
            opened: OnceCell::new(),
        })
    }

    fn is_same(&self, other: &Self) -> bool {
        match (&self.source, &other.source) {
            (Source::Default, Source::Default) => true,
            (Source::Named(one), Source::Named(other)) => one == other,
            (Source::Own(one), Source::Own(other)) => Arc::ptr_eq(&one.inner, &other.inner),
            (Source::Twin(one), Source::Twin(other)) => one.is_same(other),
            _ => false,
        }
    }

    /// The cache, set up if it was not.
    async fn opened(&self) -> Result<&Opened, CacheError> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let opened = match &self.source {
            Source::Own(smart) => Opened::of(smart.clone())?,
            Source::Default => Opened::resolved(None).await?,
            Source::Named(name) => Opened::resolved(Some(name)).await?,
            // At most one level deep: the twin of a twin is itself.
            Source::Twin(place) => Box::pin(place.opened()).await?.twin(),
        };
        Ok(self.opened.get_or_init(|| async { opened }).await)
    }
}

impl Cache {
    /// A handle whose keys are those of another version: nothing that one version stores is seen
    /// by another. The default is `SMART_REDIS_VERSION`, else 1.
    ///
    /// # Example
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), smart_cache::CacheError> {
    /// # use smart_cache::{SmartCache, Timeout};
    /// let values = SmartCache::in_memory().values();
    /// let next = values.version(2);
    /// next.set("k", "new", Timeout::Default).await?;
    /// assert_eq!(values.get::<String>("k").await?, None);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn version(&self, version: u32) -> Self {
        Self {
            place: Arc::clone(&self.place),
            version: Some(version),
        }
    }

    /// The name that this handle's cache stores a key under, behind its namespace: what the
    /// [key function](crate::Builder::key_function) makes of it, else `<version>:<key>`. In Redis
    /// the whole name is `{<namespace>}:v:<name>`.
    ///
    /// No round trip.
    ///
    /// # Errors
    /// [`CacheError::EmptyKey`], and [`CacheError::Config`] when the cache cannot be set up.
    pub async fn make_key(&self, key: impl AsRef<str>) -> Result<String, CacheError> {
        self.place.opened().await?.name(key.as_ref(), self.version)
    }

    /// Removes every value of this cache's namespace, of every version, and what was computed:
    /// by `get_or_set`, by `#[smart_cached]` functions and fragments. It touches nothing else:
    /// not the cached responses ([`SmartCache::clear_all`] is for these), not their tags, not
    /// another namespace, not another program's data in the same server.
    ///
    /// One round trip for all that was computed, then one for each 500 names of the database: it
    /// walks them and takes its time. Not atomic: a value that is set meanwhile may stay or go.
    /// Whatever is being computed meanwhile is not stored.
    ///
    /// # Errors
    /// [`CacheError::Backend`] during an outage; part of it may have been done then.
    pub async fn clear(&self) -> Result<(), CacheError> {
        let opened = self.place.opened().await?;
        opened.end([VALUES.to_owned()]).await?;
        Ok(opened.store.clear().await?)
    }

    /// Ends the connection that this cache shares with its responses; the next call, or request,
    /// makes a new one. For the end of a program, or before a fork.
    pub async fn close(&self) {
        // A cache that was never set up has nothing to close.
        if let Some(opened) = self.place.opened.get() {
            opened.store.close().await;
        }
    }
}

/// The tag of everything that is computed, which [`Cache::clear`] ends. No name of a value is
/// empty, so it is no [`value_key`](crate::backend::value_key).
const VALUES: &str = "=";

/// Begins every value that is sealed; see `encoding.rs`.
const SEALED: [u8; 2] = [encoding::MARK, 3];

impl Opened {
    async fn resolved(name: Option<&str>) -> Result<Self, CacheError> {
        let smart = crate::start::resolve(None, name).await;
        Self::of(
            smart.ok_or_else(|| {
                BackendError::Disconnected("the cache is still being set up".into())
            })?,
        )
    }

    fn of(smart: SmartCache) -> Result<Self, CacheError> {
        smart.is_set_up()?;
        let backend = Arc::clone(&smart.inner.backend);
        let store = backend
            .values()
            .ok_or_else(|| BackendError::Unsupported("it has no place for plain values".into()))?;
        Ok(Self {
            smart,
            backend,
            store,
        })
    }

    /// The same cache over the connection of blocking calls.
    fn twin(&self) -> Self {
        let backend = self.smart.blocking_backend();
        let store = backend.values().unwrap_or_else(|| Arc::clone(&self.store));
        Self {
            smart: self.smart.clone(),
            backend,
            store,
        }
    }

    /// The name of a key, as its store takes it.
    fn name(&self, key: &str, version: Option<u32>) -> Result<String, CacheError> {
        let settings = &self.smart.inner.config.values;
        let version = version.unwrap_or(settings.version);
        let name = match &settings.key_function {
            _ if key.is_empty() => String::new(),
            Some(make) => make.make(key, version),
            None => format!("{version}:{key}"),
        };
        if name.is_empty() {
            return Err(CacheError::EmptyKey);
        }
        Ok(name)
    }

    /// A value as it is stored: sealed, where there are keys.
    fn seal(&self, key: &str, plain: Bytes) -> Result<Bytes, CacheError> {
        let Some(keys) = &self.smart.inner.keyring else {
            return Ok(plain);
        };
        let sealed = keys.seal(&Bound::Value { key }, &plain).ok_or_else(|| {
            let why = "the system has no randomness to seal it with".into();
            CacheError::Encode {
                key: error::shown(key),
                why,
            }
        })?;
        Ok([&SEALED[..], &sealed].concat().into())
    }

    /// A stored value, opened; counted where it cannot be, and where there are keys and it is not
    /// sealed: somebody else has put it there.
    fn unseal(&self, key: &str, stored: Bytes) -> Option<Bytes> {
        let Some(keys) = &self.smart.inner.keyring else {
            return Some(stored);
        };
        let sealed = stored.strip_prefix(&SEALED);
        let plain = sealed.and_then(|sealed| keys.open(&Bound::Value { key }, sealed));
        if plain.is_none() {
            self.counters().undecodable();
        }
        plain.map(Bytes::from)
    }

    fn counters(&self) -> &ValueCounters {
        &self.smart.inner.counters.values
    }

    /// What a read that failed comes to: a miss, where the cache is to be missed. What a backend
    /// cannot do at all is never a miss.
    fn or_miss<T>(&self, outcome: Result<T, BackendError>, miss: T) -> Result<T, CacheError> {
        let why = match outcome {
            Ok(found) => return Ok(found),
            Err(why @ BackendError::Unsupported(_)) => return Err(why.into()),
            Err(why) => why,
        };
        match self.smart.inner.config.values.on_error {
            OnError::Fail => Err(why.into()),
            OnError::Miss => {
                tracing::debug!(cause = %why, "no answer: the value counts as missing");
                self.counters().unavailable();
                Ok(miss)
            }
        }
    }

    /// This process knows of its own writes before anybody tells it: what was computed for these
    /// names is not served from its memory any more.
    fn distrust_local(&self, names: &[String]) {
        if self.smart.inner.local.is_some() {
            let keys = names.iter().map(|name| crate::backend::value_key(name));
            let wish = crate::protocol::clear::Wish::Keys(keys.collect());
            self.smart.distrust_local(&wish);
        }
    }

    /// Clears keys by the road of all clears: remembered and repeated when it fails.
    async fn end<const N: usize>(&self, keys: [String; N]) -> Result<(), CacheError> {
        use crate::error::ClearError;

        let wish = crate::protocol::clear::Wish::Keys(keys.into());
        let backend = Arc::clone(&self.backend);
        match self.smart.clear_by(backend, wish).await {
            Ok(()) => Ok(()),
            Err(ClearError::Unacknowledged(why)) => Err(why.into()),
            Err(ClearError::Config(why)) => Err(why.into()),
            Err(ClearError::EmptyKey) => Err(CacheError::EmptyKey),
        }
    }
}
