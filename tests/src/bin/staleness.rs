//! How long a node that is cut off still serves what was cleared elsewhere, against the bound L.
//!
//! `staleness [--rounds N] [--staleness-ms L]` starts a private redis-server and two caches, one of
//! them behind a proxy; freezes the links of that one, clears on the other, and reports when the last
//! request began that was still answered with the old page. Exits with 1 when that was later than L.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::routing::get;
use axum::{Extension, Router};
use http_body_util::BodyExt as _;
use smart_cache::{BackendKind, SmartCache, StartFlush, smart_cache};
use smart_cache_tests::harness::{
    Chaos, Direction, RedisServer, eventually, namespace, number_after,
};
use tower::ServiceExt as _;

#[smart_cache("page")]
async fn page(State(version): State<Arc<AtomicU64>>) -> String {
    version.load(Ordering::SeqCst).to_string()
}

struct Node {
    router: Router,
    cache: SmartCache,
}

impl Node {
    async fn at(url: &str, namespace: &str, bound: Duration, version: &Arc<AtomicU64>) -> Self {
        let cache = SmartCache::builder()
            .url(url)
            .backend(BackendKind::Redis)
            .namespace(namespace)
            .flush(StartFlush::Never)
            .settle(Duration::ZERO)
            .local_staleness(bound)
            .build()
            .await
            .expect("the settings are good");
        let router = Router::new()
            .route("/", get(page))
            .layer(Extension(cache.clone()))
            .with_state(Arc::clone(version));
        Self { router, cache }
    }

    /// The version that is served, and whether from memory.
    async fn ask(&self) -> (u64, bool) {
        let before = self.cache.stats().local_hits;
        let request = Request::get("/").body(Body::empty()).expect("a request");
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("an answer");
        let local = self.cache.stats().local_hits > before;
        let body = response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        let version = std::str::from_utf8(&body)
            .ok()
            .and_then(|text| text.parse().ok());
        (version.expect("a version"), local)
    }

    async fn warm(&self) {
        eventually("a local hit", async || self.ask().await.1.then_some(())).await;
    }
}

/// What is frozen.
#[derive(Clone, Copy, Debug)]
enum Frozen {
    Pushes,
    Heartbeats,
    Everything,
}

impl Frozen {
    fn freeze(self, chaos: &Chaos) {
        match self {
            Self::Pushes => chaos.freeze_marked(Direction::Replies),
            Self::Heartbeats => {
                chaos.freeze_marked(Direction::Requests);
                chaos.freeze_marked(Direction::Replies);
            }
            Self::Everything => chaos.freeze(Direction::Replies),
        }
    }

    fn thaw(chaos: &Chaos) {
        for direction in [Direction::Requests, Direction::Replies] {
            chaos.thaw(direction);
            chaos.thaw_marked(direction);
        }
    }
}

/// When the last request with an old answer began, after the clear was acknowledged.
async fn round(
    stage: &Stage,
    frozen: Frozen,
    bound: Duration,
    offset: Duration,
) -> Option<Duration> {
    let Stage {
        chaos,
        near,
        other,
        version,
    } = stage;
    near.warm().await;
    // At another moment between two heartbeats each time.
    tokio::time::sleep(offset).await;
    frozen.freeze(chaos);
    let new = version.fetch_add(1, Ordering::SeqCst) + 1;
    other
        .cache
        .clear("page")
        .await
        .expect("the other node's link is whole");
    let cleared = Instant::now();
    let mut last = None;
    while cleared.elapsed() < bound * 2 + Duration::from_millis(300) {
        let began = cleared.elapsed();
        if near.ask().await.0 < new {
            last = Some(began);
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    Frozen::thaw(chaos);
    last
}

struct Stage {
    chaos: Chaos,
    near: Node,
    other: Node,
    version: Arc<AtomicU64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let rounds = number_after("--rounds").unwrap_or(5).max(1);
    let bounds = number_after("--staleness-ms").map_or_else(|| vec![200, 500, 1000], |ms| vec![ms]);
    let server = RedisServer::start().await;
    let (mut kept, mut share) = (true, 0.0_f64);
    println!(
        "{:>8}  {:<12} {:>7} {:>12} {:>12}  bound",
        "L", "frozen", "rounds", "median last", "latest"
    );
    for bound in bounds.into_iter().map(Duration::from_millis) {
        let chaos = Chaos::in_front_of(server.address()).await;
        chaos.mark("TRACKING");
        let (namespace, version) = (namespace(), Arc::default());
        let near = Node::at(&chaos.url(), &namespace, bound, &version).await;
        let other = Node::at(&server.url(), &namespace, bound, &version).await;
        let stage = Stage {
            chaos,
            near,
            other,
            version,
        };
        for frozen in [Frozen::Pushes, Frozen::Heartbeats, Frozen::Everything] {
            let mut lasts = Vec::new();
            for number in 0..rounds {
                let offset = bound.mul_f64(number as f64 / rounds as f64 / 4.0);
                lasts.push(
                    round(&stage, frozen, bound, offset)
                        .await
                        .unwrap_or_default(),
                );
            }
            lasts.sort_unstable();
            let (median, latest) = (lasts[lasts.len() / 2], lasts[lasts.len() - 1]);
            let holds = latest <= bound;
            kept &= holds;
            share = share.max(latest.as_secs_f64() / bound.as_secs_f64());
            let said = if holds { "kept" } else { "BROKEN" };
            println!(
                "{:>8}  {:<12} {rounds:>7} {:>12} {:>12}  {said}",
                format!("{bound:?}"),
                format!("{frozen:?}"),
                format!("{median:.0?}"),
                format!("{latest:.0?}")
            );
        }
    }
    println!(
        "= frozen links: latest old answer after a clear / staleness | {share:.2} | at most 1"
    );
    if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
