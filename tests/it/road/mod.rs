//! The road of a request, from the outside: real axum applications, asked over HTTP.

mod answers;
mod bodies;
mod bypass;
mod clearing;
mod clears_attribute;
mod corners;
mod corruption;
mod expired;
mod failures;
mod flight;
mod identity;
mod methods;
mod processes;
mod query;
mod scope;
mod staged;
mod sweep;
mod variants;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use smart_cache::{BackendKind, Builder, SmartCache, StartFlush};
use smart_cache_tests::harness::{RedisServer, eventually, within};
use tower::ServiceExt as _;

pub(crate) const HIT: &str = "smart-cache; hit";
pub(crate) const STORED: &str = "smart-cache; fwd=miss; stored";
/// The handler has found tags, so whether its answer could be stored is not known yet.
pub(crate) const MISSED: &str = "smart-cache; fwd=miss";
pub(crate) const COLLAPSED: &str = "smart-cache; fwd=miss; collapsed";

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    /// What the handler itself had answered: without the headers that the cache adds.
    pub(crate) fn own(mut self) -> Self {
        self.headers.remove("cache-status");
        self.headers.remove("age");
        self
    }
}

/// How the cache says that it has answered.
pub(crate) fn status_of(answer: &Answer) -> &str {
    let mut all = answer.headers.get_all("cache-status").iter();
    let status = all.next().expect("there is a Cache-Status");
    assert!(all.next().is_none(), "there is one: {answer:?}");
    status.to_str().unwrap()
}

/// GET of a path, with its query.
pub(crate) async fn get(app: &Router, path: &str) -> Answer {
    ask(app, Method::GET, path, &[]).await
}

/// Any request without a body.
pub(crate) async fn ask(
    app: &Router,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> Answer {
    whole(send(app, method, path, headers).await).await.unwrap()
}

/// The answer's head, its body still to be read.
pub(crate) async fn send(
    app: &Router,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
) -> Response {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    within(
        format!("the answer to {path}"),
        app.clone().oneshot(request),
    )
    .await
    .unwrap()
}

/// Reads the body; an error when it breaks off.
pub(crate) async fn whole(response: Response) -> Result<Answer, axum::Error> {
    let (parts, body) = response.into_parts();
    let body = within("a body", body.collect()).await?.to_bytes();
    Ok(Answer {
        status: parts.status,
        headers: parts.headers,
        body,
    })
}

/// A cache in memory that stores for ever at once.
pub(crate) async fn in_memory() -> SmartCache {
    memory().build().await.unwrap()
}

pub(crate) fn memory() -> Builder {
    SmartCache::builder()
        .backend(BackendKind::Memory)
        .settle(Duration::ZERO)
        .flush(StartFlush::Never)
}

/// A cache on a server that stores for ever at once; a loaded machine does not trip over it. Without
/// the local tier, so that every hit is one of the server's.
pub(crate) fn redis_at(url: &str) -> Builder {
    SmartCache::builder()
        .url(url)
        .backend(BackendKind::Redis)
        .namespace("n")
        .app_version("v")
        .settle(Duration::ZERO)
        .flush(StartFlush::Never)
        .local_capacity(0)
        .timeout(Duration::from_secs(5))
}

/// Waits until this many answers have been stored: a store lands after its answer has left.
pub(crate) async fn stored(cache: &SmartCache, answers: u64) {
    eventually(format!("store number {answers}"), async || {
        (cache.stats().stored >= answers).then_some(())
    })
    .await;
}

/// Every kind of cache: in memory, on a server, on a server with the local tier in front, and the same
/// in several partitions. The server lives as long as the list.
pub(crate) async fn every_kind() -> (Vec<SmartCache>, RedisServer) {
    let server = RedisServer::start().await;
    let far = redis_at(&server.url()).build().await.unwrap();
    let near = redis_at(&server.url())
        .namespace("near")
        .local_capacity(64 << 20);
    let near = near.build().await.unwrap();
    let spread = redis_at(&server.url())
        .namespace("spread")
        .partitions(3)
        .local_capacity(64 << 20);
    let spread = spread.build().await.unwrap();
    (vec![in_memory().await, far, near, spread], server)
}
