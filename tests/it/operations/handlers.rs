//! Each cached handler has counters of its own.

use axum::extract::Path;
use axum::routing::get as on_get;
use axum::{Extension, Router};
use http::StatusCode;
use smart_cache::{Bypass, HandlerStats, SmartCache, smart_cache};

use crate::road::{every_kind, get, stored};

#[smart_cache("one:{id}")]
async fn one(Path(id): Path<String>) -> String {
    id
}

#[smart_cache("two:{id}", tags("twos"))]
async fn two(Path(id): Path<String>) -> Result<String, StatusCode> {
    (id != "gone").then_some(id).ok_or(StatusCode::NOT_FOUND)
}

#[smart_cache("never")]
async fn never_asked() -> String {
    String::new()
}

fn line(cache: &SmartCache, key: &str) -> HandlerStats {
    let mut lines = cache.handler_stats();
    lines.retain(|line| line.key == key);
    assert_eq!(lines.len(), 1, "{key}");
    lines.remove(0)
}

#[tokio::test]
async fn every_handler_counts_its_own_requests() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let app = Router::new()
            .route("/one/{id}", on_get(one))
            .route("/two/{id}", on_get(two))
            .route("/never", on_get(never_asked))
            .layer(Extension(cache.clone()));
        let before = std::time::SystemTime::now();
        get(&app, "/one/a").await;
        stored(&cache, 1).await;
        get(&app, "/one/a").await;
        get(&app, "/one/a").await;
        get(&app, "/two/gone").await;

        let ones = line(&cache, "one:{id}");
        assert_eq!(
            (ones.hits, ones.misses, ones.stored),
            (2, 1, 1),
            "{cache:?}"
        );
        assert!(ones.name == "one" && ones.module.ends_with("handlers"));
        assert!(ones.stored_bytes > 0 && ones.bypasses.is_empty());
        let asked = ones.last_asked.unwrap();
        assert!(asked + std::time::Duration::from_millis(2) >= before);

        let twos = line(&cache, "two:{id}");
        assert_eq!((twos.hits, twos.misses), (0, 0), "{cache:?}");
        assert_eq!(twos.bypasses, [(Bypass::Status, 1)]);

        let all = cache.stats();
        assert_eq!((all.hits, all.misses, all.stored), (2, 1, 1));
        assert_eq!(all.local_hits, ones.local_hits);
        assert_eq!(all.bypasses, [(Bypass::Status, 1)]);
        assert_eq!(
            cache.handler_stats().len(),
            2,
            "what was never asked is not listed"
        );
    }
}

#[smart_cache("mounted:{id}")]
async fn mounted(Path(id): Path<String>) -> String {
    id
}

#[smart_cache("fallback")]
async fn fallback() -> &'static str {
    "nothing here"
}

#[tokio::test]
async fn a_handler_tells_at_which_routes_it_was_asked_and_never_which_paths() {
    let cache = crate::road::in_memory().await;
    let app = Router::new()
        .route("/one/{id}", on_get(one))
        .route("/api/one/{id}", on_get(one))
        .fallback(fallback)
        .layer(Extension(cache.clone()));
    for path in ["/one/a", "/one/b", "/api/one/a", "/one/c"] {
        get(&app, path).await;
    }
    let ones = line(&cache, "one:{id}");
    assert_eq!(ones.routes, ["/one/{id}", "/api/one/{id}"]);
    get(&app, "/nowhere").await;
    get(&app, "/nowhere/else?a=b").await;
    assert_eq!(line(&cache, "fallback").routes, ["/nowhere/else"]);
    let app = Router::new()
        .nest("/shelf", Router::new().route("/{id}", on_get(mounted)))
        .layer(Extension(cache.clone()));
    get(&app, "/shelf/7").await;
    assert_eq!(line(&cache, "mounted:{id}").routes, ["/shelf/{id}"]);
}

#[tokio::test]
async fn a_layer_tells_its_routes_too() {
    let cache = crate::road::in_memory().await;
    let page = async |Path(id): Path<String>| id;
    let app = Router::new()
        .route("/page/{id}", on_get(page))
        .layer(smart_cache::layer("site"))
        .layer(Extension(cache.clone()));
    get(&app, "/page/7").await;
    assert_eq!(line(&cache, "site").routes, ["/page/{id}"]);
}

/// What other processes report: names, routes and reasons, also of handlers that this program has
/// not.
#[tokio::test]
async fn the_fleet_tells_of_every_processs_handlers_by_name_route_and_reason() {
    let server = smart_cache_tests::harness::RedisServer::start().await;
    let other = crate::road::redis_at(&server.url()).build().await.unwrap();
    let app = Router::new()
        .route("/two/{id}", on_get(two))
        .layer(Extension(other.clone()));
    get(&app, "/two/gone").await;
    get(&app, "/two/here").await;
    let reader = crate::road::redis_at(&server.url()).build().await.unwrap();
    let told = smart_cache_tests::harness::eventually("the report", async || {
        let mut fleet = reader.fleet().await.unwrap();
        fleet.retain(|process| !process.own && process.total.requests() == 2);
        fleet.pop()
    })
    .await;
    let twos = &told.handlers[0];
    assert!(twos.handler.ends_with("handlers::two"), "{told:?}");
    assert_eq!(twos.key, "two:{id}");
    assert_eq!(twos.routes, ["/two/{id}"]);
    assert_eq!(twos.total.bypasses, [("status".to_owned(), 1)]);
    assert_eq!(twos.total.misses, 1);
}
