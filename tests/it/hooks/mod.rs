//! Clears that follow the database: bound to commits, durable, or made by the database itself.

mod collector;
mod coverage;
mod crashes;
mod holds;
mod lag;
mod models;
mod outbox_postgres;
mod outbox_sqlite;
mod transactions;
mod triggers;

use axum::extract::{Path, State};
use axum::routing::get as on_get;
use axum::{Extension, Router};
use smart_cache::{SmartCache, smart_cache};
use smart_cache_tests::harness::{Gate, eventually};
use sqlx::mysql::MySqlPool;
use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;

use crate::road::{HIT, get, status_of, stored};

#[smart_cache("product:{id}", tags("products"))]
async fn product(State(gate): State<Gate>, Path(id): Path<u64>) -> String {
    format!("{id} {}", gate.pass().await)
}

/// An application with one cached page for each product; the gate counts its handler's runs.
pub(crate) fn shop(cache: &SmartCache) -> (Router, Gate) {
    let gate = Gate::opened();
    (shop_behind(cache, &gate), gate)
}

/// The same behind a gate of the caller's.
pub(crate) fn shop_behind(cache: &SmartCache, gate: &Gate) -> Router {
    Router::new()
        .route("/product/{id}", on_get(product))
        .layer(Extension(cache.clone()))
        .with_state(gate.clone())
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

/// Waits until a product's page is no longer answered from the cache.
pub(crate) async fn gone(app: &Router, id: u64) {
    eventually(format!("product {id} is gone"), async || {
        (asked_elsewhere(app, id).await != HIT).then_some(())
    })
    .await;
}

/// A database with products.
#[derive(Debug, Clone)]
enum Products {
    Sqlite(SqlitePool),
    Postgres(PgPool),
    MySql(MySqlPool),
}

const NAME: &str = "SELECT name FROM products WHERE id = $1";

impl Products {
    async fn name(&self, id: i64) -> String {
        let found: Option<String> = match self {
            Self::Sqlite(pool) => sqlx::query_scalar(NAME)
                .bind(id)
                .fetch_optional(pool)
                .await
                .unwrap(),
            Self::Postgres(pool) => sqlx::query_scalar(NAME)
                .bind(id)
                .fetch_optional(pool)
                .await
                .unwrap(),
            Self::MySql(pool) => sqlx::query_scalar("SELECT name FROM products WHERE id = ?")
                .bind(id)
                .fetch_optional(pool)
                .await
                .unwrap(),
        };
        found.unwrap_or_else(|| "none".to_owned())
    }
}

#[smart_cache("product:{id}", tags("products"))]
async fn named(State(products): State<Products>, Path(id): Path<i64>) -> String {
    products.name(id).await
}

/// Pages that are read from a database: one for each product.
fn catalogue(cache: &SmartCache, products: Products) -> Router {
    Router::new()
        .route("/product/{id}", on_get(named))
        .layer(Extension(cache.clone()))
        .with_state(products)
}

/// The name that a product's page shows, and whether it came from the cache.
async fn shown(app: &Router, id: i64) -> (String, bool) {
    let app = app.clone();
    let asked = async move {
        let answer = get(&app, &format!("/product/{id}")).await;
        (answer.text(), status_of(&answer) == HIT)
    };
    tokio::spawn(asked).await.unwrap()
}

/// Waits until a product's page shows this name.
async fn shows(app: &Router, id: i64, name: &str) {
    eventually(format!("product {id} is shown as {name}"), async || {
        (shown(app, id).await.0 == name).then_some(())
    })
    .await;
}

/// Waits until a product's page is answered from the cache.
async fn kept(app: &Router, id: i64) {
    eventually(format!("product {id} is a hit"), async || {
        shown(app, id).await.1.then_some(())
    })
    .await;
}
