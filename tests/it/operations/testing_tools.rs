//! The tools for users' tests do what they say.

use std::sync::Arc;

use axum::extract::Path;
use axum::routing::get as on_get;
use axum::{Extension, Router};
use http::HeaderMap;
use smart_cache::backend::Backend;
use smart_cache::testing::{self, Failing, Fault, Recorder};
use smart_cache::{SmartCache, Timeout, smart_cache};
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
async fn a_recorder_counts_values_and_computations_and_soft_clears() {
    let recorder = Recorder::new(in_memory());
    let backend: Arc<dyn Backend> = Arc::<Recorder>::clone(&recorder);
    let cache = on(backend).await;
    let values = cache.values();
    values.set("n", &1, Timeout::Default).await.unwrap();
    assert_eq!(values.get::<u8>("n").await.unwrap(), Some(1));
    assert!(!values.has_key("other").await.unwrap());
    assert_eq!(values.blocking().incr("n", 1).unwrap(), 2);
    assert!(values.delete("n").await.unwrap());
    let seen = recorder.of("1:n");
    assert_eq!((seen.hits, seen.stores, seen.clears), (1, 2, 1));
    assert_eq!(recorder.of("1:other").misses, 1);

    for tags in [&[][..], &["t"]] {
        let computed = async || {
            let computed = values.get_or_set("k").tags(tags.to_vec());
            computed.compute(async || 7_u8).await.unwrap()
        };
        let before = recorder.of("1:k");
        assert_eq!((computed().await, computed().await), (7, 7));
        recorder.idle().await;
        let seen = recorder.of("1:k");
        assert_eq!(seen.fills - before.fills, 1, "{tags:?}");
        assert_eq!(seen.stores - before.stores, 1, "{tags:?}");
        values.delete("k").await.unwrap();
    }

    let app = app(&cache);
    get(&app, "/page/one").await;
    recorder.idle().await;
    cache.expire("page:one").await.unwrap();
    let shown = ask(&app, "/page/one").await;
    testing::assert_hit(&shown);
    testing::assert_expired(&shown);
    assert_eq!(recorder.of("page:one").expires, 1);
    assert_eq!(recorder.of("page:one").stale, 1);
    assert_eq!(recorder.of("page:one").clears, 0);
    cache.clear_blocking("page:one").unwrap();
    assert_eq!(recorder.of("page:one").clears, 1);
}

/// The twin of a backend with connections is another one; what it does counts and fails all the same.
#[tokio::test]
async fn blocking_calls_on_a_real_server_are_recorded_and_fail_on_command() {
    let server = RedisServer::start().await;
    let redis = smart_cache::backend::RedisBackend::new(
        &server.url(),
        smart_cache::backend::RedisOptions::default(),
    );
    let failing = Failing::new(Arc::new(redis.unwrap()));
    let recorder = Recorder::new(Arc::<Failing>::clone(&failing));
    let backend: Arc<dyn Backend> = Arc::<Recorder>::clone(&recorder);
    let cache = on(backend).await;
    cache.clear_blocking("page:one").unwrap();
    assert_eq!(recorder.of("page:one").clears, 1);
    let values = cache.values().blocking();
    values.set("n", &1, Timeout::Never).unwrap();
    assert_eq!(recorder.of("1:n").stores, 1);
    failing.fail(Fault::Refuses);
    values.set("n", &2, Timeout::Never).unwrap_err();
    cache.clear_blocking("page:one").unwrap_err();
    failing.fail(Fault::None);
    assert_eq!(values.get::<u8>("n").unwrap(), Some(1));
}

#[tokio::test]
async fn values_fail_in_each_way_they_are_told_to() {
    let failing = Failing::new(in_memory());
    let backend: Arc<dyn Backend> = Arc::<Failing>::clone(&failing);
    let cache = on(backend).await;
    let values = cache.values();
    values.set("n", &1, Timeout::Never).await.unwrap();
    failing.fail(Fault::Refuses);
    assert_eq!(values.get::<u8>("n").await.unwrap(), None, "a miss");
    values.incr("n", 1).await.unwrap_err();
    failing.fail(Fault::RefusesStores);
    assert_eq!(values.get::<u8>("n").await.unwrap(), Some(1));
    values.set("n", &2, Timeout::Never).await.unwrap_err();
    values.add("other", &2, Timeout::Never).await.unwrap_err();
    values.incr("n", 1).await.unwrap_err();
    assert_eq!(values.get_or_set("k").compute(async || 3).await.unwrap(), 3);
    assert!(values.delete("n").await.unwrap());
    failing.fail(Fault::RefusesClears);
    values.set("n", &2, Timeout::Never).await.unwrap();
    values.delete("n").await.unwrap_err();
    assert_eq!(values.get::<u8>("n").await.unwrap(), Some(2));
    cache.expire("page:one").await.unwrap_err();
    failing.fail(Fault::LosesClearAnswers);
    values.delete("n").await.unwrap_err();
    assert_eq!(values.get::<u8>("n").await.unwrap(), None);
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
