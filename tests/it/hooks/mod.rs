//! Clears that follow the database: bound to commits, durable, or made by the database itself.

mod collector;

use axum::extract::{Path, State};
use axum::routing::get as on_get;
use axum::{Extension, Router};
use smart_cache::{SmartCache, smart_cache};
use smart_cache_tests::harness::Gate;

use crate::road::{HIT, get, status_of, stored};

#[smart_cache("product:{id}", tags("products"))]
async fn product(State(gate): State<Gate>, Path(id): Path<u64>) -> String {
    format!("{id} {}", gate.pass().await)
}

/// An application with one cached page for each product; the gate counts its handler's runs.
pub(crate) fn shop(cache: &SmartCache) -> (Router, Gate) {
    let gate = Gate::opened();
    let app = Router::new()
        .route("/product/{id}", on_get(product))
        .layer(Extension(cache.clone()))
        .with_state(gate.clone());
    (app, gate)
}

/// How one product's page is answered to a task of its own.
pub(crate) async fn asked_elsewhere(app: &Router, id: u64) -> String {
    let app = app.clone();
    tokio::spawn(async move { asked_here(&app, id).await })
        .await
        .unwrap()
}

/// How one product's page is answered to the running task.
pub(crate) async fn asked_here(app: &Router, id: u64) -> String {
    status_of(&get(app, &format!("/product/{id}")).await).to_owned()
}

/// Fills the pages of these products, and waits until they are stored.
pub(crate) async fn fill(app: &Router, cache: &SmartCache, ids: &[u64]) {
    let before = cache.stats().stored;
    for id in ids {
        asked_elsewhere(app, *id).await;
    }
    stored(cache, before + ids.len() as u64).await;
    for id in ids {
        assert_eq!(asked_elsewhere(app, *id).await, HIT);
    }
}
