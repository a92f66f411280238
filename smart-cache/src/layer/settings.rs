//! What one layer was told.

use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;

use crate::cache::SmartCache;
use crate::http::encoding::Encodings;
use crate::key::Variant;
use crate::listed::Listed;

/// Something that is worked out for each request.
pub(super) type OfRequest<T> = Arc<dyn Fn(&Parts) -> T + Send + Sync>;
/// Something that adds to the variant.
pub(super) type Shows = Arc<dyn Fn(&Parts, &mut Variant) + Send + Sync>;

/// What a layer does, for all of its requests.
#[derive(Clone)]
pub(super) struct Settings {
    /// What the layer goes by in the counters: the key that it was made with.
    pub(super) name: Arc<str>,
    /// Where the layer was made: two layers under one key do not share entries.
    pub(super) place: &'static Location<'static>,
    pub(super) key: KeyRule,
    pub(super) tags: Vec<OfRequest<Vec<String>>>,
    pub(super) query: QuerySeen,
    pub(super) vary: Listed<&'static str>,
    pub(super) variant: Vec<Shows>,
    pub(super) bypass: Vec<OfRequest<bool>>,
    pub(super) authorization: Credentials,
    /// `None`: a request with cookies is not cached.
    pub(super) cookies: Option<Vec<&'static str>>,
    pub(super) clears: Vec<OfRequest<Vec<String>>>,
    pub(super) ttl: Option<Duration>,
    pub(super) stale_if_error: Option<Duration>,
    pub(super) audit: bool,
    pub(super) honour_freshness: bool,
    pub(super) status: Listed<u16>,
    pub(super) max_body: Option<u64>,
    pub(super) encodings: Option<Encodings>,
    pub(super) local: bool,
    pub(super) home: Home,
}

/// The key of a request.
#[derive(Clone)]
pub(super) enum KeyRule {
    Fixed(Arc<str>),
    Of(OfRequest<String>),
}

/// How much of the query counts.
#[derive(Debug, Clone)]
pub(super) enum QuerySeen {
    /// As it was sent: nothing is known of who reads it.
    Exact,
    Normalised,
    Only(Vec<&'static str>),
}

/// What becomes of a request that says who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Credentials {
    Bypass,
    Counted,
    Ignored,
}

/// Which cache is used.
#[derive(Debug, Clone)]
pub(super) enum Home {
    /// The router's, else the default one.
    Router,
    Named(&'static str),
    Given(SmartCache),
}

impl Settings {
    pub(super) fn new(key: String, place: &'static Location<'static>) -> Self {
        let name: Arc<str> = key.into();
        Self {
            name: Arc::clone(&name),
            place,
            key: KeyRule::Fixed(name),
            tags: Vec::new(),
            query: QuerySeen::Exact,
            vary: Listed::default(),
            variant: Vec::new(),
            bypass: Vec::new(),
            authorization: Credentials::Bypass,
            cookies: None,
            clears: Vec::new(),
            ttl: None,
            stale_if_error: None,
            audit: true,
            honour_freshness: false,
            status: Listed::default(),
            max_body: None,
            encodings: None,
            local: true,
            home: Home::Router,
        }
    }

    /// The name of the cache, if it goes by one.
    pub(super) fn cache_name(&self) -> Option<&'static str> {
        match self.home {
            Home::Named(name) => Some(name),
            Home::Router | Home::Given(_) => None,
        }
    }

    /// The cache of a request; `None` while it is being set up and that takes too long.
    pub(super) async fn cache(&self, router: Option<SmartCache>) -> Option<SmartCache> {
        match &self.home {
            Home::Given(cache) => Some(cache.clone()),
            Home::Router | Home::Named(_) => crate::start::resolve(router, self.cache_name()).await,
        }
    }
}

impl std::fmt::Debug for Settings {
    /// Without the closures, which show nothing.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("name", &self.name)
            .field("place", &format_args!("{}", self.place))
            .field("query", &self.query)
            .field("vary", &&*self.vary)
            .field("authorization", &self.authorization)
            .field("cookies", &self.cookies)
            .field("ttl", &self.ttl)
            .field("stale_if_error", &self.stale_if_error)
            .field("audit", &self.audit)
            .field("status", &&*self.status)
            .finish_non_exhaustive()
    }
}
