//! What a request shows of itself: the extractor that the attribute adds to a handler.

use std::convert::Infallible;
use std::fmt::{Display, Formatter};
use std::marker::PhantomData;

use axum::extract::{FromRequestParts, MatchedPath, OriginalUri};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Uri};

use crate::cache::SmartCache;
use crate::http::wants::Wants;
use crate::key::Target;
use crate::policy::{self, Bypass};

/// The extractor that `#[smart_cache]` adds; a user meets it only when calling a handler as a
/// function, with [`uncached`].
#[derive(Debug)]
pub struct CacheContext<H = NoHeaders> {
    /// `None`: the handler was called as a plain function.
    pub(crate) shown: Option<Shown>,
    headers: PhantomData<fn() -> H>,
}

/// Marks a context that carries no headers: nothing in the variant needs them.
#[derive(Debug)]
#[doc(hidden)]
pub enum NoHeaders {}

/// Marks the context of a handler with `vary(..)`.
#[derive(Debug)]
#[doc(hidden)]
pub enum WithHeaders {}

/// Marks the context of a handler without arguments: `#[debug_handler]` above such a handler
/// calls it with none, and this name in the compiler's message says what to do.
#[derive(Debug)]
#[doc(hidden)]
pub struct PutDebugHandlerBelow<H = NoHeaders>(PhantomData<fn() -> H>);

/// Whether a context keeps the request's headers.
#[doc(hidden)]
pub trait HeadersKept {
    const KEPT: bool;
}

impl HeadersKept for NoHeaders {
    const KEPT: bool = false;
}

impl HeadersKept for WithHeaders {
    const KEPT: bool = true;
}

impl<H: HeadersKept> HeadersKept for PutDebugHandlerBelow<H> {
    const KEPT: bool = H::KEPT;
}

/// What this request shows.
#[derive(Debug)]
pub(crate) struct Shown {
    /// Whether its method lets it use the cache at all.
    pub(crate) method: Result<(), Bypass>,
    pub(crate) is_head: bool,
    /// The whole target, before any router strips a prefix.
    pub(crate) sent: Sent,
    /// What the handler's extractors read, if a layer has made it something else than the rest
    /// of the target.
    pub(crate) rewritten: Option<Box<Uri>>,
    /// The cache of the router, if it has one of its own.
    pub(crate) cache: Option<SmartCache>,
    /// The type of the router's state.
    pub(crate) state: &'static str,
    /// Kept only for `vary(..)`.
    pub(crate) headers: Option<Box<HeaderMap>>,
    /// In which form the answer is wanted.
    pub(crate) wants: Wants,
    /// Which route the router has found, for operators.
    pub(crate) route: Option<MatchedPath>,
}

/// A target as it was sent.
#[derive(Debug)]
pub(crate) enum Sent {
    /// Nearly all of them (RFC 9112, section 3.2.1).
    Path(PathAndQuery),
    /// With scheme and authority, or without a path.
    Whole(Box<Uri>),
}

impl Sent {
    fn of(uri: &Uri) -> Self {
        match uri.path_and_query() {
            Some(path) if uri.authority().is_none() => Self::Path(path.clone()),
            _ => Self::Whole(Box::new(uri.clone())),
        }
    }

    pub(crate) fn path(&self) -> &str {
        match self {
            Self::Path(path) => path.path(),
            Self::Whole(uri) => uri.path(),
        }
    }

    pub(crate) fn query(&self) -> Option<&str> {
        match self {
            Self::Path(path) => path.query(),
            Self::Whole(uri) => uri.query(),
        }
    }
}

impl<'a> From<&'a Sent> for Target<'a> {
    fn from(sent: &'a Sent) -> Self {
        Self {
            path: sent.path(),
            query: sent.query(),
            whole: sent,
        }
    }
}

impl Display for Sent {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => path.fmt(f),
            Self::Whole(uri) => uri.fmt(f),
        }
    }
}

impl<S, H> FromRequestParts<S> for CacheContext<H>
where
    S: Send + Sync,
    H: HeadersKept,
{
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let original = parts
            .extensions
            .get::<OriginalUri>()
            .map(|original| &original.0);
        let uri = original.unwrap_or(&parts.uri);
        // Most targets come as they were sent.
        let is_rewritten = original.is_some_and(|original| {
            original.query() != parts.uri.query() || !original.path().ends_with(parts.uri.path())
        });
        let shown = Shown {
            method: policy::request(&parts.method),
            is_head: parts.method == Method::HEAD,
            sent: Sent::of(uri),
            rewritten: is_rewritten.then(|| Box::new(parts.uri.clone())),
            cache: parts.extensions.get::<SmartCache>().cloned(),
            state: std::any::type_name::<S>(),
            headers: H::KEPT.then(|| Box::new(parts.headers.clone())),
            wants: Wants::of(&parts.headers),
            route: parts.extensions.get::<MatchedPath>().cloned(),
        };
        Ok(Self {
            shown: Some(shown),
            headers: PhantomData,
        })
    }
}

/// Stands for the cache when an annotated handler is called as a plain function: the body runs,
/// and `.into_value()` gives its own result back.
///
/// # Example
/// ```
/// use axum::extract::Path;
/// use smart_cache::{smart_cache, uncached};
///
/// #[smart_cache("double:{n}")]
/// async fn double(Path(n): Path<u64>) -> String {
///     (2 * n).to_string()
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert_eq!(double((uncached(), Path(21))).await.into_value(), "42");
/// # }
/// ```
#[must_use]
pub fn uncached<H>() -> CacheContext<H> {
    CacheContext {
        shown: None,
        headers: PhantomData,
    }
}
