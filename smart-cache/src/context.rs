//! What a request shows of itself: the extractor that the attribute adds to a handler.

use std::convert::Infallible;
use std::marker::PhantomData;

use axum::extract::{FromRequestParts, MatchedPath, OriginalUri};
use http::request::Parts;
use http::{HeaderMap, Method, Uri};

use crate::cache::SmartCache;
use crate::http::wants::Wants;

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
    pub(crate) method: Method,
    /// The whole target, before any router strips a prefix.
    pub(crate) uri: Uri,
    /// What the handler's extractors read, if a layer has made it something else than the rest
    /// of the target.
    pub(crate) rewritten: Option<Uri>,
    /// The cache of the router, if it has one of its own.
    pub(crate) cache: Option<SmartCache>,
    /// The type of the router's state.
    pub(crate) state: &'static str,
    /// Kept only for `vary(..)`.
    pub(crate) headers: Option<HeaderMap>,
    /// In which form the answer is wanted.
    pub(crate) wants: Wants,
    /// Which route the router has found, for operators.
    pub(crate) route: Option<MatchedPath>,
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
        let is_rewritten =
            uri.query() != parts.uri.query() || !uri.path().ends_with(parts.uri.path());
        let shown = Shown {
            method: parts.method.clone(),
            uri: uri.clone(),
            rewritten: is_rewritten.then(|| parts.uri.clone()),
            cache: parts.extensions.get::<SmartCache>().cloned(),
            state: std::any::type_name::<S>(),
            headers: H::KEPT.then(|| parts.headers.clone()),
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
