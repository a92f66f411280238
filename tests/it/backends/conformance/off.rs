//! The cache that is switched off: every handler runs, every clear is acknowledged.

use axum::routing::get;
use axum::{Extension, Router};
use smart_cache::{SmartCache, smart_cache};
use smart_cache_tests::harness::Gate;

use crate::road::{get as ask, status_of};

#[smart_cache("page")]
async fn counted(axum::extract::State(gate): axum::extract::State<Gate>) -> String {
    gate.pass().await.to_string()
}

#[tokio::test]
async fn every_handler_runs_and_says_that_the_cache_is_off() {
    let (gate, cache) = (Gate::opened(), SmartCache::off());
    let app: Router = Router::new()
        .route("/page", get(counted))
        .layer(Extension(cache.clone()))
        .with_state(gate.clone());
    for run in 1..=3 {
        let answer = ask(&app, "/page").await;
        assert_eq!(answer.text(), run.to_string());
        assert_eq!(status_of(&answer), "smart-cache; fwd=bypass; detail=off");
    }
    assert_eq!(gate.runs(), 3);
}

#[tokio::test]
async fn every_clear_is_acknowledged() {
    let cache = SmartCache::off();
    cache.clear(["a", "b"]).await.unwrap();
    cache.clear_all().await.unwrap();
    assert!(
        cache.clear("").await.is_err(),
        "an empty key is a mistake everywhere"
    );
    assert_eq!(cache.stats().clears, 2);
}
