//! Pieces of pages: rendered once, kept until they are cleared.

use std::fmt::Display;
use std::future::Future;

use super::Timeout;
use super::function::{FunctionCall, infallible};
use crate::cache::SmartCache;
use crate::error::ClearError;
use crate::key::IntoKeys;

/// A piece of a page, made by [`fragment`].
#[derive(Debug)]
#[must_use = "nothing is rendered or cleared until it is asked for"]
pub struct Fragment {
    name: String,
    key: String,
    tags: Vec<String>,
    timeout: Timeout,
    cache: Option<SmartCache>,
}

/// A piece of a page that is rendered once for each set of values that it varies on, and kept until
/// it is cleared: the counterpart of Django's `{% cache %}` tag.
///
/// Its key is `fragment:<name>:<hash of the values>`, and `fragment:<name>` is one of its tags, so
/// `clear_cache("fragment:sidebar")` clears it for every set of values. It is stored as a tagged
/// [`get_or_set`](crate::Cache::get_or_set) is, with the same promises: a cached handler around it
/// depends on it, and [`depends_on`](crate::depends_on) works inside it. It belongs to the cache of
/// the handler that is running, else to the default one.
///
/// # Example
/// ```
/// # async fn example(user_id: u64) -> Result<(), smart_cache::ClearError> {
/// use smart_cache::fragment;
///
/// let sidebar: String = fragment("sidebar", &[&user_id])
///     .tags(["menus"])
///     .get_or_render(async || format!("<nav>{user_id}</nav>"))
///     .await;
///
/// fragment("sidebar", &[&user_id]).clear().await?; // this user's
/// smart_cache::clear_cache("fragment:sidebar").await?; // everybody's
/// # Ok(())
/// # }
/// ```
///
/// # Pitfalls
/// Whatever the piece shows must be among the values, or be the same for all: a user's name in a
/// fragment that does not vary on the user is everybody's.
pub fn fragment(name: &str, vary: &[&dyn Display]) -> Fragment {
    let mut hasher = blake3::Hasher::new();
    for value in vary {
        let value = value.to_string();
        // Without its length the end of one value could be the beginning of the next.
        hasher.update(&(value.len() as u64).to_le_bytes());
        hasher.update(value.as_bytes());
    }
    let hash = hasher.finalize().to_hex();
    Fragment {
        name: format!("fragment:{name}"),
        key: format!("fragment:{name}:{}", &hash[..32]),
        tags: Vec::new(),
        timeout: Timeout::Never,
        cache: None,
    }
}

impl Fragment {
    /// Keys that the piece depends on beside its own.
    pub fn tags(mut self, tags: impl IntoKeys) -> Self {
        self.tags.extend(tags.into_keys());
        self
    }

    /// How long it stays if nobody clears it; for ever unless something else is said.
    pub fn timeout(mut self, timeout: impl Into<Timeout>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// The cache that it is kept in.
    pub fn cache(mut self, cache: &SmartCache) -> Self {
        self.cache = Some(cache.clone());
        self
    }

    /// The key that clears exactly this piece.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The piece that is there, or what `render` returns. A cache that fails renders every time.
    ///
    /// One round trip for a hit, none for a piece that this process remembers.
    pub async fn get_or_render<F>(self, render: impl FnOnce() -> F) -> String
    where
        F: Future<Output = String>,
    {
        let (call, cache) = self.call();
        infallible(call, cache, async { render().await }).await
    }

    /// [`get_or_render`](Self::get_or_render) for templates that can fail: an error is never
    /// stored.
    ///
    /// # Errors
    /// The closure's own.
    pub async fn try_get_or_render<E, F>(self, render: impl FnOnce() -> F) -> Result<String, E>
    where
        F: Future<Output = Result<String, E>>,
    {
        let (call, cache) = self.call();
        call.run(cache, async { render().await }).await
    }

    /// Makes this piece gone, for these values alone, on every node.
    ///
    /// # Errors
    /// As [`clear_cache`](crate::clear_cache).
    pub async fn clear(self) -> Result<(), ClearError> {
        match &self.cache {
            Some(cache) => cache.clear(self.key).await,
            None => crate::clear_cache(self.key).await,
        }
    }

    fn call(self) -> (FunctionCall, Option<SmartCache>) {
        let mut call = FunctionCall::of(None, self.timeout);
        call.part("fragment");
        call.key(format_args!("{}", self.key));
        for tag in self.tags.iter().chain([&self.name]) {
            call.tag(format_args!("{tag}"));
        }
        // Clearing it by hand is no typo, though no attribute names it.
        crate::registry::remember(&self.key);
        crate::registry::remember(&self.name);
        (call, self.cache)
    }
}
