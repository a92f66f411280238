//! The local tier on real servers: several nodes, and what each may still answer from its memory.
//!
//! A [`Node`] is an application with a cache of its own; two of them on one server stand for two
//! processes. What the handlers answer comes from one [`Rows`], so an answer tells how old it is.

mod clears;
mod entries;
mod front;
mod links;
mod pending;
mod processes;
mod programs;
mod refusals;
mod server;
mod turns;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request, StatusCode};
use axum::routing::{get, put};
use axum::{Extension, Router};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use smart_cache::{
    BackendKind, Builder, LocalStats, SmartCache, StartFlush, clears_cache, depends_on, smart_cache,
};
use smart_cache_tests::harness::eventually;
use tower::ServiceExt as _;

/// So long that nothing in a test ends because of it: what ends an entry was heard.
const LONG: Duration = Duration::from_secs(20);
/// What a loaded machine may add to any measured time.
const MARGIN: Duration = Duration::from_millis(400);

/// The data that all nodes share: one number, which each write makes greater.
#[derive(Clone, Default)]
struct Rows(Arc<AtomicU64>);

impl Rows {
    fn read(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn write(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }
}

#[smart_cache("page:{id}", tags("pages"))]
async fn page(State(rows): State<Rows>, Path(id): Path<u64>) -> String {
    format!("{id} {}", rows.read())
}

#[smart_cache("list:{id}")]
async fn list(State(rows): State<Rows>, Path(id): Path<u64>) -> String {
    let read = rows.read();
    // Not heard when the handler runs beside the cache, which is as it should be.
    let _ = depends_on("part");
    format!("{id} {read}")
}

#[smart_cache("far:{id}", local = false)]
async fn far(State(rows): State<Rows>, Path(id): Path<u64>) -> String {
    format!("{id} {}", rows.read())
}

#[smart_cache("brief:{id}", ttl = "1h")]
async fn brief(State(rows): State<Rows>, Path(id): Path<u64>) -> String {
    format!("{id} {}", rows.read())
}

#[smart_cache("body:{id}")]
async fn body(State(rows): State<Rows>, Path((id, length)): Path<(u64, usize)>) -> String {
    format!("{id} {} {}", rows.read(), "x".repeat(length))
}

#[clears_cache("page:{id}")]
async fn write(State(rows): State<Rows>, Path(id): Path<u64>) -> String {
    let written = rows.write();
    tokio::task::yield_now().await;
    format!("{id} {written}")
}

/// One application.
#[derive(Clone)]
struct Node {
    router: Router,
    cache: SmartCache,
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answer {
    version: u64,
    /// Whether it came from the node's memory.
    local: bool,
    length: usize,
}

/// A cache that stores for ever at once, with a local tier that forgets only what it hears of.
fn builder(url: &str, namespace: &str) -> Builder {
    SmartCache::builder()
        .url(url)
        .backend(BackendKind::Redis)
        .namespace(namespace)
        .app_version("test")
        .flush(StartFlush::Never)
        .settle(Duration::ZERO)
        .timeout(Duration::from_secs(1))
        .local_staleness(LONG)
}

impl Node {
    /// A node whose local tier is live.
    async fn at(url: &str, namespace: &str, rows: &Rows) -> Self {
        Self::built(builder(url, namespace), rows).await
    }

    async fn built(builder: Builder, rows: &Rows) -> Self {
        let node = Self::of(builder.build().await.unwrap(), rows);
        node.live().await;
        node
    }

    fn of(cache: SmartCache, rows: &Rows) -> Self {
        let router = Router::new()
            .route("/page/{id}", get(page))
            .route("/list/{id}", get(list))
            .route("/far/{id}", get(far))
            .route("/brief/{id}", get(brief))
            .route("/body/{id}/{length}", get(body))
            .route("/write/{id}", put(write))
            .layer(Extension(cache.clone()))
            .with_state(rows.clone());
        Self { router, cache }
    }

    fn local(&self) -> LocalStats {
        self.cache.stats().local.expect("a local tier")
    }

    async fn live(&self) {
        eventually("the local tier to be live", async || {
            self.local().live.then_some(())
        })
        .await;
    }

    async fn dead(&self) {
        eventually("the local tier to be off", async || {
            (!self.local().live).then_some(())
        })
        .await;
    }

    /// Asks this node alone: nobody else may ask it meanwhile, or the hits could not be told apart.
    async fn ask(&self, path: &str) -> Answer {
        let before = self.cache.stats().local_hits;
        let body = self.body(path).await;
        let local = self.cache.stats().local_hits > before;
        let text = std::str::from_utf8(&body).unwrap();
        let version = text.split(' ').nth(1).unwrap().parse().unwrap();
        Answer {
            version,
            local,
            length: body.len(),
        }
    }

    /// The bytes that are sent.
    async fn body(&self, path: &str) -> Bytes {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.into_body().collect().await.unwrap().to_bytes()
    }

    /// Asks until the node answers from its memory.
    async fn warm(&self, path: &str) -> Answer {
        eventually(format!("a local hit of {path}"), async || {
            Some(self.ask(path).await).filter(|answer| answer.local)
        })
        .await
    }

    /// Asks until the answer is of this version; how long that took.
    async fn until(&self, path: &str, version: u64) -> Duration {
        let start = Instant::now();
        eventually(format!("version {version} of {path}"), async || {
            (self.ask(path).await.version == version).then_some(())
        })
        .await;
        start.elapsed()
    }
}
