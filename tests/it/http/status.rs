//! What `Cache-Status` says beside hit and miss.

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::any;
use http::Method;
use smart_cache::smart_cache;
use smart_cache_tests::harness::Gate;

use super::{ask, get, header, serve};
use crate::road::{in_memory, memory, stored};

#[smart_cache("named:{name}")]
async fn named(State(gate): State<Gate>, Path(name): Path<String>) -> String {
    gate.pass().await;
    name
}

fn app(gate: &Gate) -> Router {
    Router::new()
        .route("/{name}", any(named))
        .with_state(gate.clone())
}

#[tokio::test]
async fn the_key_is_shown_when_that_is_switched_on() {
    let (cache, gate) = (
        memory().status_key(true).build().await.unwrap(),
        Gate::opened(),
    );
    let served = serve(app(&gate), &cache).await;
    for (path, key) in [
        ("/plain", "named:plain"),
        ("/%22%5C", "named:\\\"\\\\"),
        ("/%C3%BC%0D%0Ax:%201", "named:%C3%BC%0D%0Ax: 1"),
    ] {
        let miss = get(&served, path, &[]).await;
        assert_eq!(
            header(&miss, "cache-status"),
            format!("smart-cache; fwd=miss; stored; key=\"{key}\"")
        );
    }
    stored(&cache, 3).await;
    let hit = get(&served, "/plain", &[]).await;
    assert_eq!(
        header(&hit, "cache-status"),
        "smart-cache; hit; key=\"named:plain\""
    );
    let other = ask(&served, Method::POST, "/plain", &[]).await;
    assert_eq!(header(&other, "cache-status"), "smart-cache; fwd=method");
}

#[tokio::test]
async fn the_key_is_not_shown_otherwise() {
    let (cache, gate) = (in_memory().await, Gate::opened());
    let served = serve(app(&gate), &cache).await;
    let miss = get(&served, "/secret", &[]).await;
    assert!(!header(&miss, "cache-status").contains("secret"));
}
