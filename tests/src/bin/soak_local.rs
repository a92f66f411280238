//! Random variants in a small local tier, with clears and fills: what it weighs, and what the process does.
//!
//! `soak_local [--minutes M] [--seconds S] [--capacity BYTES] [--seed N]` prints both once in a while,
//! and exits with 1 when the weight exceeds the capacity, or the process has grown since a quarter of the time.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Path;
use axum::http::Request;
use axum::routing::get;
use axum::{Extension, Router};
use http_body_util::BodyExt as _;
use smart_cache::{BackendKind, SmartCache, StartFlush, smart_cache};
use smart_cache_tests::harness::{
    Random, RedisServer, eventually, namespace, number_after, resident_bytes,
};
use tower::ServiceExt as _;

/// Different pages; far more than fit.
const PAGES: u64 = 20_000;

#[smart_cache("page:{id}", tags("section:{section}"), query("size"))]
async fn page(
    Path((section, id)): Path<(u64, u64)>,
    axum::extract::RawQuery(query): axum::extract::RawQuery,
) -> String {
    let size = query
        .and_then(|query| query.strip_prefix("size=")?.parse().ok())
        .unwrap_or(0);
    format!("{section} {id} {}", "x".repeat(size))
}

#[tokio::main]
async fn main() -> ExitCode {
    let seconds = number_after("--seconds").or_else(|| Some(number_after("--minutes")? * 60));
    let length = Duration::from_secs(seconds.unwrap_or(60));
    let capacity = number_after("--capacity").unwrap_or(8 << 20);
    let mut random = Random::seeded(number_after("--seed").unwrap_or(1));
    // Redis is bounded too: what it evicts is heard of.
    let server = RedisServer::options()
        .memory("100mb", "allkeys-lru")
        .start()
        .await;
    let cache = SmartCache::builder()
        .url(&server.url())
        .backend(BackendKind::Redis)
        .namespace(namespace())
        .flush(StartFlush::Never)
        .settle(Duration::ZERO)
        .local_capacity(capacity)
        .build()
        .await
        .expect("the settings are good");
    let router: Router = Router::new()
        .route("/{section}/{id}", get(page))
        .layer(Extension(cache.clone()));
    let local = || cache.stats().local.expect("a local tier");
    eventually("the tier to be live", async || local().live.then_some(())).await;
    let (began, mut told, mut heaviest) = (Instant::now(), None::<Instant>, 0);
    let mut early = None;
    let report = |heaviest: u64| {
        let stats = cache.stats();
        println!(
            "{:>5} s  RSS {:>6.1} MiB  weight {:>5.2} MiB  at most {:>5.2}  entries {:>5}  hits {:>8}  local {:>8}  misses {:>8}  clears {:>7}",
            began.elapsed().as_secs(),
            mebi(resident_bytes()),
            mebi(local().bytes),
            mebi(heaviest),
            local().entries,
            stats.hits,
            stats.local_hits,
            stats.misses,
            stats.clears,
        );
    };
    while began.elapsed() < length {
        // Some pages are popular.
        let limit = [100, 1000, PAGES][random.below(3) as usize];
        let id = random.below(limit);
        let size = [100, 2_000, 30_000][(id % 3) as usize] + random.below(2);
        let uri = format!("/{}/{id}?size={size}", id % 50);
        let request = Request::get(uri).body(Body::empty()).expect("a request");
        let response = router.clone().oneshot(request).await.expect("an answer");
        response.into_body().collect().await.expect("a body");
        match random.below(200) {
            0..8 => cache
                .clear(format!("page:{id}"))
                .await
                .expect("Redis is there"),
            8 => cache
                .clear(format!("section:{}", id % 50))
                .await
                .expect("Redis is there"),
            9 if random.below(500) == 0 => cache.clear_all().await.expect("Redis is there"),
            _ => {}
        }
        heaviest = heaviest.max(local().bytes);
        if heaviest > capacity {
            report(heaviest);
            println!("the weight exceeds the capacity of {capacity}");
            return ExitCode::FAILURE;
        }
        if early.is_none() && began.elapsed() > length / 4 {
            early = Some(resident_bytes());
        }
        if told.is_none_or(|told| told.elapsed() > (length / 12).max(Duration::from_secs(2))) {
            told = Some(Instant::now());
            report(heaviest);
        }
    }
    report(heaviest);
    let (early, now) = (early.unwrap_or_default(), resident_bytes());
    // Allocators keep something back, and a short run has hardly begun by then.
    if now > early + early / 10 + (8 << 20) {
        println!("{:.1} MiB have become {:.1}", mebi(early), mebi(now));
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn mebi(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
