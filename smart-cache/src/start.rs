//! The caches that the environment configures: the default one and the named ones.
//!
//! Nothing has to be started: the first request that needs a cache makes it. [`start`] does the
//! same in `main`, where a bad value can still stop the program.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::cache::SmartCache;
use crate::config;
use crate::error::{BackendError, ClearError, ConfigError};
use crate::key::IntoKeys;

static DEFAULT: OnceCell<SmartCache> = OnceCell::const_new();
/// How long a request or a blocking clear waits for the cache to be set up.
const LONGEST_START: Duration = Duration::from_secs(3);
static NAMED: Mutex<Option<HashMap<String, Arc<OnceCell<SmartCache>>>>> = Mutex::new(None);

/// Sets up the default cache from the environment, in `main`: connects, gives advice in the log,
/// flushes if so configured, and lists the cached handlers.
///
/// It differs from doing nothing in that a bad value stops the start, and that the first
/// request finds a connection. A Redis that does not answer is no error: handlers run until it
/// does. Calling it again returns the same cache.
///
/// # Errors
/// When a `SMART_REDIS_*` variable holds something that cannot be used; the message names the
/// variable, its value and what is allowed.
///
/// # Example
/// ```no_run
/// # async fn example() -> Result<(), smart_cache::ConfigError> {
/// let cache = smart_cache::start().await?;
/// println!("caching in {}", cache.describe());
/// # Ok(())
/// # }
/// ```
pub async fn start() -> Result<SmartCache, ConfigError> {
    let cache = DEFAULT
        .get_or_try_init(|| SmartCache::builder().env().build())
        .await?;
    // A request may have been faster, and found that a setting cannot be used.
    cache.is_set_up()?;
    for name in config::named_caches()? {
        cell(&name)
            .get_or_try_init(|| SmartCache::builder().named_env(&name).build())
            .await?;
    }
    list_handlers();
    Ok(cache.clone())
}

/// Makes `cache` the default one, for programs that build it in code.
///
/// # Errors
/// [`ConfigError::Taken`] when a default cache is in use already.
pub fn install(cache: SmartCache) -> Result<(), ConfigError> {
    DEFAULT.set(cache).map_err(|_| ConfigError::Taken {
        name: String::new(),
    })
}

/// Makes `cache` the one that `cache = "name"` in an attribute means.
///
/// # Errors
/// [`ConfigError::Taken`] when there is one of this name already.
pub fn install_named(name: &str, cache: SmartCache) -> Result<(), ConfigError> {
    cell(name).set(cache).map_err(|_| ConfigError::Taken {
        name: name.to_owned(),
    })
}

/// Makes every answer that was cached under these keys or tags gone, on every node:
/// [`SmartCache::clear`] of the default cache, or inside an annotated handler of the cache that
/// this handler uses.
///
/// # Errors
/// As [`SmartCache::clear`].
///
/// # Example
/// ```no_run
/// # async fn example(id: u64) -> Result<(), smart_cache::ClearError> {
/// smart_cache::clear_cache(format!("product:{id}")).await?;
/// smart_cache::clear_cache(["products", "category:3"]).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Pitfalls
/// Call it after the commit. When the client leaves, axum drops the handler at whatever it is
/// awaiting: a handler that is dropped between its commit and this call clears nothing, which
/// `#[clears_cache(..)]` does not let happen. Outside annotated handlers this is the default
/// cache: one that is in the router (`.layer(Extension(cache))`) is cleared with its own method.
#[must_use = "a clear happens when it is awaited, and its error says that other nodes may serve the old answer"]
pub fn clear_cache(keys: impl IntoKeys) -> impl Future<Output = Result<(), ClearError>> + Send {
    // Whose handler is running is known here, not where the future is awaited: in a task, say.
    let (keys, cache) = (keys.into_keys(), crate::protocol::scope::current_cache());
    async move { or_default(cache).await.clear(keys).await }
}

/// A soft clear: the old answers are shown until the new ones are there. [`SmartCache::expire`] of
/// the cache that [`clear_cache`] would clear.
///
/// # Errors
/// As [`SmartCache::expire`].
///
/// # Example
/// ```no_run
/// # async fn example() -> Result<(), smart_cache::ClearError> {
/// smart_cache::expire_cache("front-page").await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "a soft clear happens when it is awaited, and its error says that other nodes may not know of it"]
pub fn expire_cache(keys: impl IntoKeys) -> impl Future<Output = Result<(), ClearError>> + Send {
    let (keys, cache) = (keys.into_keys(), crate::protocol::scope::current_cache());
    async move { or_default(cache).await.expire(keys).await }
}

/// [`expire_cache`] for code that cannot await; blocks the thread.
///
/// # Errors
/// As [`SmartCache::expire`].
#[must_use = "the error says that other nodes may not know of it"]
pub fn expire_cache_blocking(keys: impl IntoKeys) -> Result<(), ClearError> {
    let keys = keys.into_keys();
    blocking(move |cache| cache.expire_blocking(keys))
}

/// Makes everything in the default cache's namespace gone: [`SmartCache::clear_all`].
///
/// # Errors
/// As [`SmartCache::clear`].
#[must_use = "a clear happens when it is awaited, and its error says that other nodes may serve the old answer"]
pub async fn clear_all() -> Result<(), ClearError> {
    or_default(crate::protocol::scope::current_cache())
        .await
        .clear_all()
        .await
}

/// [`clear_cache`] for code that cannot await; blocks the thread.
///
/// # Errors
/// As [`SmartCache::clear`].
#[must_use = "the error says that other nodes may serve the old answer"]
pub fn clear_cache_blocking(keys: impl IntoKeys) -> Result<(), ClearError> {
    let keys = keys.into_keys();
    blocking(move |cache| cache.clear_blocking(keys))
}

/// [`clear_all`] for code that cannot await; blocks the thread.
///
/// # Errors
/// As [`SmartCache::clear`].
#[must_use = "the error says that other nodes may serve the old answer"]
pub fn clear_all_blocking() -> Result<(), ClearError> {
    blocking(SmartCache::clear_all_blocking)
}

pub(crate) async fn or_default(cache: Option<SmartCache>) -> SmartCache {
    match cache {
        Some(cache) => cache,
        None => default_cache().await.clone(),
    }
}

/// The default cache; made from the environment if it is not there yet.
pub(crate) async fn default_cache() -> &'static SmartCache {
    DEFAULT
        .get_or_init(|| async {
            list_handlers();
            or_broken(SmartCache::builder().env().build_lazily().await)
        })
        .await
}

/// Where a handler remembers the named cache that it uses: names are looked up under a lock, which
/// its requests would share.
#[derive(Debug, Default)]
#[doc(hidden)]
pub struct Home(OnceLock<SmartCache>);

impl Home {
    #[must_use]
    #[allow(
        clippy::new_without_default,
        reason = "it is derived; this one is const"
    )]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }
}

/// [`resolve`] for a cache that is set up, without waiting.
pub(crate) fn at_hand<'a>(
    router: Option<&'a SmartCache>,
    name: Option<&str>,
    home: &'a Home,
) -> Option<&'a SmartCache> {
    match (name, router) {
        (None, Some(cache)) => Some(cache),
        (None, None) => DEFAULT.get(),
        (Some(name), _) => home.0.get().or_else(|| {
            let cache = cell(name).get()?.clone();
            Some(home.0.get_or_init(|| cache))
        }),
    }
}

/// The cache that a handler uses: the one it names, else the router's, else the default one.
/// `None` while it is being set up and that takes too long.
pub(crate) async fn resolve(router: Option<SmartCache>, name: Option<&str>) -> Option<SmartCache> {
    let found = match (name, router) {
        (None, Some(cache)) => Some(cache),
        (None, None) => DEFAULT.get().cloned(),
        (Some(name), _) => cell(name).get().cloned(),
    };
    if found.is_some() {
        return found;
    }
    // Another request may be setting it up, on a runtime that stands still.
    let made = async {
        match name {
            Some(name) => named(name).await,
            None => default_cache().await.clone(),
        }
    };
    tokio::time::timeout(LONGEST_START, made).await.ok()
}

/// Clears as soon as the cache has been set up; for a write that could not wait for it.
pub(crate) fn clear_once_set_up(name: Option<&'static str>, keys: Vec<String>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    runtime.spawn(async move {
        let cache = match name {
            Some(name) => named(name).await,
            None => default_cache().await.clone(),
        };
        // A failure is logged where it is remembered.
        let _ = cache.clear(keys).await;
    });
}

async fn named(name: &str) -> SmartCache {
    let cell = cell(name);
    let made = cell.get_or_init(|| async {
        let known = config::named_caches();
        or_broken(match known {
            Ok(known) if known.iter().any(|known| known == name) => {
                SmartCache::builder().named_env(name).build_lazily().await
            }
            Ok(known) => Err(ConfigError::UnknownCache {
                name: name.to_owned(),
                known: known.join(", "),
            }),
            Err(why) => Err(why),
        })
    });
    made.await.clone()
}

/// Whether there is a cache of this name: installed, or in the environment.
pub(crate) fn is_known(name: &str) -> Result<(), ConfigError> {
    let installed: Vec<String> = {
        let named = NAMED
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let named = named.iter().flatten();
        named
            .filter(|(_, cell)| cell.initialized())
            .map(|(name, _)| name.clone())
            .collect()
    };
    if installed.iter().any(|known| known == name) {
        return Ok(());
    }
    let mut known = config::named_caches()?;
    if known.iter().any(|known| known == name) {
        return Ok(());
    }
    known.extend(installed);
    known.sort_unstable();
    known.dedup();
    Err(ConfigError::UnknownCache {
        name: name.to_owned(),
        known: known.join(", "),
    })
}

fn cell(name: &str) -> Arc<OnceCell<SmartCache>> {
    let mut named = NAMED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let named = named.get_or_insert_default();
    // On the way of every request of a named cache: nothing is allocated once it is there.
    match named.get(name) {
        Some(cell) => Arc::clone(cell),
        None => Arc::clone(named.entry(name.to_owned()).or_default()),
    }
}

/// A request cannot be stopped by a bad value: its handler runs, and the log says why.
fn or_broken(made: Result<SmartCache, ConfigError>) -> SmartCache {
    made.unwrap_or_else(|why| {
        tracing::error!(cause = %why, "CACHE NOT ACTIVE: a setting cannot be used; call smart_cache::start() in main to stop the start instead");
        SmartCache::broken(why)
    })
}

/// Clears the default cache for a caller that blocks. Making it needs a runtime, so a thread of
/// its own lends one.
///
/// The caller's thread may be the very one that is making the cache, and then it stands still for
/// as long as it waits here. So it waits for a bounded time, and the clear goes on without it.
pub(crate) fn blocking(
    clear: impl FnOnce(&SmartCache) -> Result<(), ClearError> + Send + 'static,
) -> Result<(), ClearError> {
    if let Some(cache) = crate::protocol::scope::current_cache().or_else(|| DEFAULT.get().cloned())
    {
        return clear(&cache);
    }
    let failed = |why: &str| Err(ClearError::from(BackendError::Disconnected(why.into())));
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    else {
        return failed("no runtime for blocking clears");
    };
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name("smart-cache-start".to_owned());
    let clearing = thread.spawn(move || {
        let cache = runtime.block_on(default_cache());
        // Nobody listens any more when the caller has given up.
        let _ = tell.send(clear(cache));
    });
    if clearing.is_err() {
        return failed("no thread for blocking clears");
    }
    told.recv_timeout(LONGEST_START)
        .unwrap_or_else(|_| failed("the cache is still being set up; the clear follows"))
}

fn list_handlers() {
    let registry = crate::registry::registry();
    tracing::info!(
        cached = registry.cached.len(),
        clearing = registry.clearing.len(),
        "annotated handlers"
    );
    for handler in &registry.cached {
        tracing::info!(handler = %format_args!("{}::{}", handler.module, handler.name), key = handler.key, tags = ?handler.tags, "cached");
    }
    for handler in &registry.clearing {
        tracing::info!(handler = %format_args!("{}::{}", handler.module, handler.name), keys = ?handler.keys, "clears");
    }
    for model in &registry.models {
        tracing::info!(row = %format_args!("{}::{}", model.module, model.name), keys = ?model.keys, "cleared by changes of a row");
    }
    for (table, keys) in &registry.triggers {
        tracing::info!(%table, ?keys, "cleared by triggers");
    }
    for handler in registry.never_cleared() {
        tracing::info!(handler = %format_args!("{}::{}", handler.module, handler.name), key = handler.key, tags = ?handler.tags, "nothing that is known at the start clears this handler's answers: is it left to clear_cache() in a body?");
    }
    for key in registry.never_cached() {
        tracing::info!(%key, "cleared, but no annotated handler is cached under it: is it a tag that one finds with depends_on()?");
    }
    for (variable, nearest) in config::unknown_variables() {
        match nearest {
            Some(nearest) => {
                tracing::warn!(%variable, %nearest, "nothing reads this variable: was the nearest one meant?");
            }
            None => tracing::warn!(%variable, "nothing reads this variable"),
        }
    }
}
