//! How often a hit from the process's memory allocates, beside the handler alone.
//!
//! A program of its own, for it counts with an allocator of its own.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use smart_cache::{BackendKind, SmartCache, StartFlush, smart_cache};
use smart_cache_tests::harness::eventually;
use std::time::Duration;
use tower::ServiceExt as _;

static BODY: &[u8] = &[b'x'; 64 << 10];

async fn plain(Path((_, length)): Path<(u64, usize)>) -> Bytes {
    Bytes::from_static(&BODY[..length])
}

#[smart_cache("item:{id}")]
async fn item(Path((id, length)): Path<(u64, usize)>) -> Bytes {
    let _ = id;
    Bytes::from_static(&BODY[..length])
}

async fn ask(router: &Router, uri: &str) {
    let request = Request::get(uri).body(Body::empty());
    let answer = router.clone().oneshot(request.expect("a path")).await;
    let answer = answer.unwrap_or_else(|never| match never {});
    assert_eq!(answer.status(), StatusCode::OK);
    // The body's frames are the very bytes that are kept.
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        let data = frame.ok().and_then(|frame| frame.into_data().ok());
        assert!(data.is_some_and(|data| !data.is_empty()));
    }
}

#[test]
fn a_local_hit_allocates_for_its_key_and_its_headers_and_nothing_by_the_size_of_its_body() {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    let cache = SmartCache::builder()
        .backend(BackendKind::Memory)
        .settle(Duration::ZERO)
        .flush(StartFlush::Never);
    let cache = runtime.block_on(cache.build()).unwrap();
    let router = Router::new()
        .route("/plain/{id}/{length}", get(plain))
        .route("/item/{id}/{length}", get(item))
        .layer(Extension(cache.clone()));
    let counted = |uri: &str| {
        let counted = allocation_counter::measure(|| runtime.block_on(ask(&router, uri)));
        (counted.count_total, counted.bytes_total)
    };
    let mut beyond = Vec::new();
    for length in [1 << 10, 64 << 10] {
        let hit = format!("/item/7/{length}");
        runtime.block_on(eventually("a local hit", async || {
            let before = cache.stats().local_hits;
            ask(&router, &hit).await;
            (cache.stats().local_hits > before).then_some(())
        }));
        let (hits, hit_bytes) = counted(&hit);
        let (plains, plain_bytes) = counted(&format!("/plain/7/{length}"));
        println!(
            "{length}: local hit {hits} ({hit_bytes} bytes), plain {plains} ({plain_bytes} bytes)"
        );
        assert!(hits <= plains + MORE, "{hits} against {plains}");
        beyond.push(hit_bytes);
    }
    let grown = beyond[1].abs_diff(beyond[0]);
    assert!(grown < 64, "the larger body costs {grown} bytes more");
}

/// Of the key, of the name in the local tier, of what was asked, of the headers' two tables.
const MORE: u64 = 4;
