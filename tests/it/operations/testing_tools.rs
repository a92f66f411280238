//! The tools for users' tests do what they say.

use std::sync::Arc;

use axum::extract::Path;
use axum::routing::get as on_get;
use axum::{Extension, Router};
use http::HeaderMap;
use smart_cache::backend::Backend;
use smart_cache::testing::{self, Failing, Fault, Recorder};
use smart_cache::{SmartCache, smart_cache};
use smart_cache_tests::harness::RedisServer;

use crate::road::{get, memory, redis_at, send};

#[smart_cache("page:{id}", tags("pages"))]
async fn page(Path(id): Path<String>) -> (HeaderMap, String) {
    let mut headers = HeaderMap::new();
    if id == "cookie" {
        headers.insert("set-cookie", "a=b".parse().unwrap());
    }
    (headers, id)
}

fn app(cache: &SmartCache) -> Router {
    Router::new()
        .route("/page/{id}", on_get(page))
        .layer(Extension(cache.clone()))
}

/// Asks, and gives the answer with its body unread.
async fn ask(app: &Router, path: &str) -> axum::response::Response {
    send(app, http::Method::GET, path, &[]).await
}

async fn on(backend: Arc<dyn Backend>) -> SmartCache {
    memory().custom_backend(backend).build().await.unwrap()
}

fn in_memory() -> Arc<dyn Backend> {
    let second = std::time::Duration::from_secs(1);
    Arc::new(smart_cache::backend::MemoryBackend::new(
        1 << 20,
        10 * second,
        std::time::Duration::ZERO,
        100,
    ))
}

#[tokio::test]
async fn a_recorder_counts_what_happened_to_each_key() {
    let recorder = Recorder::new(in_memory());
    let backend: Arc<dyn Backend> = Arc::<Recorder>::clone(&recorder);
    let cache = on(backend).await;
    let app = app(&cache);
    for _ in 0..3 {
        get(&app, "/page/one").await;
        recorder.idle().await;
    }
    cache.clear("pages").await.unwrap();
    get(&app, "/page/one").await;
    recorder.idle().await;
    cache.clear_all().await.unwrap();

    let seen = recorder.of("page:one");
    assert_eq!((seen.hits, seen.misses), (2, 2));
    assert_eq!((seen.fills, seen.stores, seen.refused), (2, 2, 0));
    assert_eq!(seen.clears, 1, "the clear of everything alone");
    assert_eq!(recorder.of("pages").clears, 2);
    assert_eq!(recorder.keys(), ["page:one", "pages"]);
}

#[tokio::test]
async fn a_recorder_waits_for_stores_of_a_real_server_too() {
    let server = RedisServer::start().await;
    let redis = smart_cache::backend::RedisBackend::new(
        &server.url(),
        smart_cache::backend::RedisOptions::default(),
    );
    let recorder = Recorder::new(Arc::new(redis.unwrap()));
    let backend: Arc<dyn Backend> = Arc::<Recorder>::clone(&recorder);
    let cache = redis_at(&server.url())
        .custom_backend(backend)
        .build()
        .await
        .unwrap();
    let app = app(&cache);
    testing::assert_stored(&ask(&app, "/page/one").await);
    recorder.idle().await;
    testing::assert_hit(&ask(&app, "/page/one").await);
}

#[tokio::test]
async fn an_answer_that_may_not_be_stored_leaves_no_lease_open() {
    let recorder = Recorder::new(in_memory());
    let backend: Arc<dyn Backend> = Arc::<Recorder>::clone(&recorder);
    let app = app(&on(backend).await);
    testing::assert_bypass(&ask(&app, "/page/cookie").await, "set-cookie");
    recorder.idle().await;
    assert_eq!(recorder.of("page:cookie").stores, 0);
}

#[tokio::test]
async fn a_failing_backend_fails_in_each_way_it_is_told_to() {
    let failing = Failing::new(in_memory());
    let recorder = Recorder::new(Arc::<Failing>::clone(&failing));
    let backend: Arc<dyn Backend> = Arc::<Recorder>::clone(&recorder);
    let cache = on(backend).await;
    let app = app(&cache);
    testing::assert_stored(&ask(&app, "/page/one").await);
    recorder.idle().await;

    for fault in [Fault::Refuses, Fault::Silent] {
        failing.fail(fault);
        testing::assert_bypass(&ask(&app, "/page/one").await, "unavailable");
        assert!(!cache.stats().available, "{fault:?}");
    }
    failing.fail(Fault::RefusesStores);
    testing::assert_hit(&ask(&app, "/page/one").await);
    testing::assert_stored(&ask(&app, "/page/two").await);
    recorder.idle().await;
    assert_eq!(cache.stats().failed_stores, 1);

    failing.fail(Fault::RefusesClears);
    cache.clear("page:one").await.unwrap_err();
    testing::assert_bypass(&ask(&app, "/page/one").await, "pending-clear");
}

#[tokio::test]
async fn a_clear_whose_answer_was_lost_has_taken_effect() {
    let failing = Failing::new(in_memory());
    let backend: Arc<dyn Backend> = Arc::<Failing>::clone(&failing);
    let cache = on(Arc::clone(&backend)).await;
    let other = on(backend).await;
    let (app, others) = (app(&cache), app(&other));
    testing::assert_stored(&ask(&app, "/page/one").await);
    crate::road::stored(&cache, 1).await;
    testing::assert_hit(&ask(&others, "/page/one").await);

    failing.fail(Fault::LosesClearAnswers);
    cache.clear("page:one").await.unwrap_err();
    testing::assert_stored(&ask(&others, "/page/one").await);
}
