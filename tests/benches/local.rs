//! The steps of a hit, and many requests for one cold page: `cargo bench -p smart-cache-tests`.
//!
//! `form` and `codec` measure one step each; the others are whole roads through a router.

use std::hint::black_box;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, RawQuery};
use axum::http::{Request, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use divan::{Bencher, counter::ItemsCount};
use smart_cache::{BackendKind, SmartCache, StartFlush, smart_cache};
use tower::ServiceExt as _;

/// Prints, beside the times, how often each step allocates and how much.
#[global_allocator]
static ALLOCATIONS: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

static BODY: &[u8] = &[b'x'; 64 << 10];

fn json(length: usize) -> Response {
    let body = Bytes::from_static(&BODY[..length]);
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn plain(Path((_, length)): Path<(u64, usize)>) -> Response {
    json(length)
}

#[smart_cache("item:{id}")]
async fn item(Path((id, length)): Path<(u64, usize)>) -> Response {
    let _ = id;
    json(length)
}

#[smart_cache("item:{id}", tags("items", "shelf:{id}"))]
async fn tagged(Path((id, length)): Path<(u64, usize)>) -> Response {
    let _ = id;
    json(length)
}

#[smart_cache("item:{id}", query("page", "q"), vary("accept-language"))]
async fn varied(Path((id, length)): Path<(u64, usize)>, RawQuery(_): RawQuery) -> Response {
    let _ = id;
    json(length)
}

/// The same without the local tier: the memory backend is asked, and its bytes are decoded.
#[smart_cache("item:{id}", local = false)]
async fn decoded(Path((id, length)): Path<(u64, usize)>) -> Response {
    let _ = id;
    json(length)
}

#[smart_cache("cold:{id}", local = false)]
async fn cold(Path(id): Path<u64>) -> String {
    tokio::time::sleep(Duration::from_millis(1)).await;
    id.to_string()
}

struct Stage {
    runtime: tokio::runtime::Runtime,
    router: Router,
}

fn stage(threads: usize) -> Stage {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime
        .worker_threads(threads)
        .enable_all()
        .build()
        .expect("a runtime");
    let cache = runtime.block_on(
        SmartCache::builder()
            .backend(BackendKind::Memory)
            .settle(Duration::ZERO)
            .flush(StartFlush::Never)
            .build(),
    );
    let router = Router::new()
        .route("/plain/{id}/{length}", get(plain))
        .route("/item/{id}/{length}", get(item))
        .route("/tagged/{id}/{length}", get(tagged))
        .route("/varied/{id}/{length}", get(varied))
        .route("/decoded/{id}/{length}", get(decoded))
        .route("/cold/{id}", get(cold))
        .layer(Extension(cache.expect("the settings are good")));
    Stage { runtime, router }
}

async fn ask(router: &Router, uri: &str) -> Response {
    let request = Request::get(uri)
        .header("accept-language", "en")
        .body(Body::empty());
    let answer = router.clone().oneshot(request.expect("a request")).await;
    answer.unwrap_or_else(|never| match never {})
}

fn road(bencher: Bencher<'_, '_>, uri: &str) {
    let Stage { runtime, router } = stage(1);
    for _ in 0..100 {
        // Filled, stored, and read into the local tier.
        runtime.block_on(ask(&router, uri));
        runtime.block_on(tokio::task::yield_now());
    }
    bencher
        .counter(ItemsCount::new(1_u32))
        .bench_local(|| runtime.block_on(async { black_box(ask(&router, uri).await) }));
}

const LENGTHS: [usize; 2] = [1 << 10, 64 << 10];

#[divan::bench(args = LENGTHS)]
fn plain_handler(bencher: Bencher<'_, '_>, length: usize) {
    road(bencher, &format!("/plain/7/{length}"));
}

#[divan::bench(args = LENGTHS)]
fn local_hit(bencher: Bencher<'_, '_>, length: usize) {
    road(bencher, &format!("/item/7/{length}"));
}

/// One hot page for several threads at once: what its readers cost each other.
#[divan::bench(threads = [1, 2, 4])]
fn local_hit_of_many_threads(bencher: Bencher<'_, '_>) {
    let Stage { runtime, router } = stage(1);
    for _ in 0..100 {
        runtime.block_on(ask(&router, "/item/7/1024"));
        runtime.block_on(tokio::task::yield_now());
    }
    bencher
        .counter(ItemsCount::new(1_u32))
        .bench(|| runtime.block_on(async { black_box(ask(&router, "/item/7/1024").await) }));
}

/// Against `local_hit`: what two tags add to key and variant.
#[divan::bench]
fn local_hit_with_tags(bencher: Bencher<'_, '_>) {
    road(bencher, "/tagged/7/1024");
}

/// Against `local_hit`: what a query of three parameters and a header add to key and variant.
#[divan::bench]
fn local_hit_with_query_and_vary(bencher: Bencher<'_, '_>) {
    road(bencher, "/varied/7/1024?utm_source=x&q=shoes&page=3");
}

/// Against `local_hit`: lookup and codec.
#[divan::bench(args = LENGTHS)]
fn hit_of_the_memory_backend(bencher: Bencher<'_, '_>, length: usize) {
    road(bencher, &format!("/decoded/7/{length}"));
}

/// A cold page for so many requests at once, each time another one.
#[divan::bench(args = [1, 64, 1024])]
fn flight(bencher: Bencher<'_, '_>, requests: u32) {
    let Stage { runtime, router } = stage(2);
    let mut page = 0_u64;
    bencher.counter(ItemsCount::new(requests)).bench_local(|| {
        page += 1;
        let uri = format!("/cold/{page}");
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..requests {
                let (router, uri) = (router.clone(), uri.clone());
                tasks.spawn(async move { ask(&router, &uri).await });
            }
            black_box(tasks.join_all().await);
        });
    });
}

#[divan::bench]
fn form(bencher: Bencher) {
    let uri = Uri::from_static("/shop/items/7?page=2&q=lamp&utm_source=x");
    bencher.bench_local(|| smart_cache::private::bench::form(black_box(&uri), "utm_*"));
}

#[divan::bench(args = [1 << 10, 64 << 10])]
fn encode(bencher: Bencher, length: usize) {
    let body = Bytes::from_static(&BODY[..length]);
    bencher.bench_local(|| smart_cache::private::bench::encode(black_box(&body)));
}

#[divan::bench(args = [1 << 10, 64 << 10])]
fn decode(bencher: Bencher, length: usize) {
    let bytes = smart_cache::private::bench::encode(&Bytes::from_static(&BODY[..length]));
    bencher.bench_local(|| assert!(smart_cache::private::bench::decode(black_box(&bytes))));
}
