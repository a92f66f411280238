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
