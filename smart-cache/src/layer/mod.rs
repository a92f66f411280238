//! The cache as a tower layer: for closures, foreign services, and whole sites.
//!
//! A layer goes the same road as the attribute (`serve.rs`), so every promise holds. What it lacks
//! is the types of what stands behind it. So it puts into the variant whatever any service may
//! read without saying so (`seen.rs`), and keeps requests out that say who asks.

mod known;
mod seen;
mod service;
mod settings;

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;

pub use self::known::CachedLayer;
pub(crate) use self::known::{all, may_have_any_key};
pub use self::service::CacheService;
use self::settings::{Credentials, Home, KeyRule, QuerySeen, Settings};
use crate::cache::SmartCache;
use crate::key::{IntoKeys, Variant};
use crate::listed::Listed;

/// Caches the answers of whatever it is put around, under this key, until the key is cleared.
///
/// See [`CacheLayer`] for what tells two answers apart, and for its options.
///
/// # Panics
/// When the key is empty, which would name nothing.
///
/// # Example
/// ```
/// use axum::{Router, routing::get};
///
/// // One route, with a closure for a handler:
/// let front = get(|| async { "made once" }).layer(smart_cache::layer("front"));
/// // A whole site:
/// let app: Router = Router::new().route("/", front).layer(smart_cache::layer("site"));
/// ```
#[track_caller]
pub fn layer(key: impl Into<String>) -> CacheLayer {
    let (key, place) = (key.into(), Location::caller());
    assert!(
        !key.is_empty(),
        "smart_cache::layer: an empty key names nothing, so nobody could clear it"
    );
    known::add(&key, place);
    CacheLayer {
        settings: Settings::new(key, place),
    }
}

#[doc = include_str!("../../docs/layer.md")]
#[derive(Debug, Clone)]
#[must_use = "a layer does nothing until it is put around something"]
pub struct CacheLayer {
    settings: Settings,
}

impl CacheLayer {
    /// Another key for each request, so that one page can be cleared alone. A request whose key is
    /// empty is not cached.
    ///
    /// # Example
    /// ```
    /// let pages = smart_cache::layer("page").key(|request| format!("page:{}", request.uri.path()));
    /// ```
    pub fn key<F>(mut self, key: F) -> Self
    where
        F: Fn(&Parts) -> String + Send + Sync + 'static,
    {
        known::expect_any_key();
        self.settings.key = KeyRule::Of(Arc::new(key));
        self
    }

    /// More keys that clear the answer. Called again, it adds to those named before.
    ///
    /// # Example
    /// ```
    /// let shop = smart_cache::layer("shop").tags(|_| ["products", "categories"]);
    /// ```
    pub fn tags<F, K>(mut self, tags: F) -> Self
    where
        F: Fn(&Parts) -> K + Send + Sync + 'static,
        K: IntoKeys,
    {
        known::expect_any_key();
        let tags = move |parts: &Parts| tags(parts).into_keys();
        self.settings.tags.push(Arc::new(tags));
        self
    }

    /// The only query parameters that count; an empty list: none does. Without it the query counts
    /// exactly as it was sent.
    pub fn query(mut self, names: impl IntoIterator<Item = &'static str>) -> Self {
        self.settings.query = QuerySeen::Only(names.into_iter().collect());
        self
    }

    /// Lets the query count as it does for an annotated handler with a `Query`: sorted by name, and
    /// without the parameters of `SMART_REDIS_IGNORED_QUERY`. Only right where nothing behind the
    /// layer reads the raw query or renders it into a link.
    pub fn normalised_query(mut self) -> Self {
        self.settings.query = QuerySeen::Normalised;
        self
    }

    /// Request headers that count, in lower case. An answer whose `Vary` names another one is not
    /// stored. Called again, it adds to those named before.
    ///
    /// # Panics
    /// When a name is not that of a header in lower case.
    pub fn vary(mut self, names: impl IntoIterator<Item = &'static str>) -> Self {
        let names: Vec<_> = names.into_iter().collect();
        for name in &names {
            let known = http::HeaderName::from_lowercase(name.as_bytes()).is_ok();
            assert!(
                known,
                "CacheLayer::vary: {name:?} is not the name of a header in lower case"
            );
        }
        self.settings.vary.add(names);
        self
    }

    /// Adds to the variant what the layer cannot know that the answer depends on, such as the user
    /// whom a layer further out has put into the request's extensions.
    ///
    /// # Example
    /// ```
    /// #[derive(Clone)]
    /// struct User { id: u64 }
    ///
    /// let mine = smart_cache::layer("mine").variant(|request, variant| {
    ///     match request.extensions.get::<User>() {
    ///         Some(user) => variant.push(user.id),
    ///         None => variant.bypass(),
    ///     }
    /// });
    /// ```
    pub fn variant<F>(mut self, show: F) -> Self
    where
        F: Fn(&Parts, &mut Variant) + Send + Sync + 'static,
    {
        self.settings.variant.push(Arc::new(show));
        self
    }

    /// Requests that are neither answered from the cache nor stored. Called again, it adds to those
    /// named before.
    pub fn bypass_if<F>(mut self, stays_out: F) -> Self
    where
        F: Fn(&Parts) -> bool + Send + Sync + 'static,
    {
        self.settings.bypass.push(Arc::new(stays_out));
        self
    }

    /// Caches requests with `Authorization` too, each of its values for itself. Without this they
    /// are not cached.
    pub fn allow_authorization(mut self) -> Self {
        self.settings.authorization = Credentials::Counted;
        self
    }

    /// Caches requests with `Authorization` as if it were not there: *whoever asks, with or without
    /// credentials, gets the answer that somebody else was given*. Only right where a layer further
    /// out checks every request, and its answer does not depend on who asks.
    pub fn ignore_authorization(mut self) -> Self {
        self.settings.authorization = Credentials::Ignored;
        self
    }

    /// Caches requests with cookies too. The values of the cookies named here count; every other
    /// cookie is promised not to matter to the answer. Without this requests with a cookie are not
    /// cached.
    ///
    /// # Example
    /// ```
    /// // The page depends on the theme; analytics cookies do not matter.
    /// let themed = smart_cache::layer("front").allow_cookies(["theme"]);
    /// ```
    pub fn allow_cookies(mut self, names: impl IntoIterator<Item = &'static str>) -> Self {
        let known = self.settings.cookies.get_or_insert_default();
        known.extend(names);
        self
    }

    /// Clears these keys when a request with any method but GET, HEAD, OPTIONS and TRACE was
    /// answered, before its answer leaves, unless that is a 4xx; also when the request is cancelled
    /// or what it ran panics, since a commit may have happened. Called again, it adds to those named
    /// before.
    ///
    /// # Example
    /// ```
    /// let articles = smart_cache::layer("articles").clears_on_write(|_| "articles");
    /// ```
    pub fn clears_on_write<F, K>(mut self, keys: F) -> Self
    where
        F: Fn(&Parts) -> K + Send + Sync + 'static,
        K: IntoKeys,
    {
        let keys = move |parts: &Parts| keys(parts).into_keys();
        self.settings.clears.push(Arc::new(keys));
        self
    }

    /// Lets answers expire, too. Without it they stay until they are cleared.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.settings.ttl = Some(ttl);
        self
    }

    /// After a soft clear ([`expire_cache`](crate::expire_cache)), for how long the last good
    /// answer outlives refreshes that fail with a 5xx or a panic. Without it the first failure
    /// ends it.
    pub fn stale_if_error(mut self, limit: Duration) -> Self {
        self.settings.stale_if_error = Some(limit);
        self
    }

    /// Keeps the service from being asked again to compare (`SMART_REDIS_AUDIT`): it has side
    /// effects, or is never the same twice.
    pub fn without_audit(mut self) -> Self {
        self.settings.audit = false;
        self
    }

    /// Keeps an answer no longer than it says itself: by `s-maxage`, `max-age` or `Expires`, its `Age`
    /// taken off. One that has no time left, must be fresh (`must-revalidate`) without saying for how
    /// long, or has another status than 200 and says nothing, is not stored (`detail=expired`). A 200
    /// that says nothing stays until it is cleared, or for the [`ttl`](Self::ttl).
    ///
    /// For what stands in front of other people's services: without this option what an answer says
    /// to browsers does not count, since it is cleared when it is wrong.
    pub fn honour_freshness(mut self) -> Self {
        self.settings.honour_freshness = true;
        self
    }

    /// The statuses that are stored; without it 200 alone. Never stored, whatever is listed: 1xx,
    /// 206, 304, 412, 416 and 5xx.
    pub fn status(mut self, statuses: impl IntoIterator<Item = u16>) -> Self {
        self.settings.status = Listed::default();
        self.settings.status.add(statuses);
        self
    }

    /// Longest body, in bytes, that is stored; without it the cache's setting, 2 MiB by default. A
    /// longer one, and one of unknown length, passes through as it comes.
    pub fn max_body(mut self, bytes: u64) -> Self {
        self.settings.max_body = Some(bytes);
        self
    }

    /// The encodings in which bodies are kept ready beside the plain one, in the order of the
    /// server's preference, joined by commas: `zstd`, `br`, `gzip`, each with its cargo feature
    /// (`br` needs `brotli`); `-` for none. Without it the cache's setting, none by default.
    ///
    /// # Panics
    /// When a name is none of these, or its feature is not on; the message says which.
    pub fn encodings(mut self, names: &str) -> Self {
        match crate::encode::parse(names) {
            Ok(encodings) => self.settings.encodings = Some(encodings),
            Err(allowed) => panic!("CacheLayer::encodings: {names:?} is not allowed: {allowed}"),
        }
        self
    }

    /// Keeps the answers out of the process's own memory: every hit asks the backend.
    pub fn without_local_tier(mut self) -> Self {
        self.settings.local = false;
        self
    }

    /// The cache to use; without it that of the router (`Extension<SmartCache>`, put there by a
    /// layer further out), else the default one.
    pub fn cache(mut self, cache: SmartCache) -> Self {
        self.settings.home = Home::Given(cache);
        self
    }

    /// The named cache to use, as `cache = "name"` of the attribute.
    pub fn named_cache(mut self, name: &'static str) -> Self {
        self.settings.home = Home::Named(name);
        self
    }
}

impl<S> tower_layer::Layer<S> for CacheLayer {
    type Service = CacheService<S>;

    fn layer(&self, inner: S) -> CacheService<S> {
        CacheService::new(inner, self.settings.clone())
    }
}
