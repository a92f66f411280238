//! What an entry of the local tier costs besides its body, against the weight that it claims.
//!
//! `overhead [--entries N] [--body BYTES] [--headers H]` fills N entries through another process, reads each once,
//! and prints by how much this process has grown.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request};
use axum::routing::get;
use axum::{Extension, Router};
use http_body_util::BodyExt as _;
use smart_cache::{BackendKind, SmartCache, StartFlush, smart_cache};
use smart_cache_tests::harness::{Program, RedisServer, number_after, resident_bytes, text_after};
use tower::ServiceExt as _;

/// As many at once as a busy server has.
const TASKS: u64 = 32;

/// What the handler answers with.
#[derive(Clone, Copy)]
struct Shape {
    body: usize,
    /// Beyond those that every answer has.
    headers: u64,
}

#[smart_cache("item:{id}", tags("items"))]
async fn item(State(shape): State<Shape>, Path(id): Path<u64>) -> (HeaderMap, String) {
    let length = shape.body;
    let header = |number| {
        let name = HeaderName::try_from(format!("x-header-{number}")).expect("a name");
        (name, HeaderValue::from(id))
    };
    (
        (0..shape.headers).map(header).collect(),
        format!("{id:0>length$}"),
    )
}

async fn node(url: &str, capacity: u64, shape: Shape) -> (Router, SmartCache) {
    let cache = SmartCache::builder()
        .url(url)
        .backend(BackendKind::Redis)
        .namespace("overhead")
        .flush(StartFlush::Never)
        .settle(Duration::ZERO)
        .timeout(Duration::from_secs(10))
        .local_capacity(capacity)
        .build()
        .await
        .expect("the settings are good");
    let router = Router::new()
        .route("/item/{id}", get(item))
        .layer(Extension(cache.clone()))
        .with_state(shape);
    (router, cache)
}

/// Asks for each entry once.
async fn ask_all(router: &Router, entries: u64) {
    let mut tasks = tokio::task::JoinSet::new();
    let next = Arc::new(std::sync::atomic::AtomicU64::new(0));
    for _ in 0..TASKS {
        let (router, next) = (router.clone(), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let id = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if id >= entries {
                    return;
                }
                let request = Request::get(format!("/item/{id}"))
                    .body(Body::empty())
                    .expect("a request");
                let response = router.clone().oneshot(request).await.expect("an answer");
                response.into_body().collect().await.expect("a body");
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let entries = number_after("--entries").unwrap_or(100_000);
    let length = number_after("--body").unwrap_or(1024);
    let body = usize::try_from(length).expect("a body fits into memory");
    let headers = number_after("--headers").unwrap_or(0);
    let shape = Shape { body, headers };
    if let Some(url) = text_after("--fill") {
        let (router, cache) = node(&url, 0, shape).await;
        ask_all(&router, entries).await;
        while cache.stats().stored + cache.stats().failed_stores < entries {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        return;
    }
    let server = RedisServer::start().await;
    let texts = [entries, length, headers].map(|number| number.to_string());
    let ([entries_text, length_text, headers_text], url) = (texts, server.url());
    let arguments = [
        "--fill",
        &url,
        "--entries",
        &entries_text,
        "--body",
        &length_text,
        "--headers",
        &headers_text,
    ];
    let own = std::env::current_exe().expect("a running program is a file");
    let mut filling = Program::start(own, &arguments, &[]);
    // It prints nothing: its output closes when it has ended.
    while !filling.has_ended() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (router, cache) = node(&url, 1 << 40, shape).await;
    // Until the tier is live and everything that is made once has been made.
    while !cache.stats().local.is_some_and(|local| local.live) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    ask_all(&router, (entries / 100).max(1)).await;
    let (before, kept_before) = (resident_bytes(), cache.stats().local.expect("a local tier"));
    ask_all(&router, entries).await;
    let (after, kept) = (resident_bytes(), cache.stats().local.expect("a local tier"));
    let number = (kept.entries - kept_before.entries) as f64;
    let grown = (after - before) as f64 / number;
    let claimed = (kept.bytes - kept_before.bytes) as f64 / number;
    println!("entries kept                  {number:>10}");
    println!("misses on the way             {:>10}", cache.stats().misses);
    println!("memory for each               {grown:>10.0} bytes");
    println!(
        "  beyond its body of {length:>6}   {:>10.0} bytes",
        grown - length as f64
    );
    println!("weight for each               {claimed:>10.0} bytes");
    println!(
        "  beyond its body             {:>10.0} bytes",
        claimed - length as f64
    );
    println!("weight / memory               {:>10.2}", claimed / grown);
    println!(
        "= a local entry: bytes of memory beside its body, and weight / memory | {:.0}, {:.2} | small, 1",
        grown - length as f64,
        claimed / grown
    );
}
