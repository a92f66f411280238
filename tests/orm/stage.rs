//! Pages over a database, and the caches that keep them.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::get as on_get;
use axum::{Extension, Router};
use http::Request;
use http_body_util::BodyExt as _;
use smart_cache::{BackendKind, Builder, SmartCache, StartFlush, smart_cache};
use smart_cache_tests::harness::{RedisServer, eventually, within};
use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;
use tower::ServiceExt as _;

pub(crate) const HIT: &str = "smart-cache; hit";

/// What a page shows, and what `Cache-Status` says of it.
pub(crate) async fn get(app: &Router, path: &str) -> (String, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let asked = app.clone().oneshot(request);
    let answer = within(format!("the answer to {path}"), asked)
        .await
        .unwrap();
    let status = answer.headers().get("cache-status");
    let status = status.map_or("", |status| status.to_str().unwrap());
    let status = status.to_owned();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (String::from_utf8(body.to_vec()).unwrap(), status)
}

fn kept_for_ever(builder: Builder) -> Builder {
    builder.settle(Duration::ZERO).flush(StartFlush::Never)
}

pub(crate) async fn in_memory() -> SmartCache {
    let builder = SmartCache::builder().backend(BackendKind::Memory);
    kept_for_ever(builder).build().await.unwrap()
}

/// A cache in memory, and one on a server, which lives as long as the list.
pub(crate) async fn every_kind() -> (Vec<SmartCache>, RedisServer) {
    let server = RedisServer::start().await;
    let builder = SmartCache::builder()
        .url(&server.url())
        .backend(BackendKind::Redis)
        .timeout(Duration::from_secs(5));
    let redis = kept_for_ever(builder).build().await.unwrap();
    (vec![in_memory().await, redis], server)
}

/// A database with products.
#[derive(Debug, Clone)]
pub(crate) enum Products {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Products {
    async fn name(&self, id: i64) -> String {
        const NAME: &str = "SELECT name FROM products WHERE id = $1";
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
        };
        found.unwrap_or_else(|| "none".to_owned())
    }

    pub(crate) async fn count(&self, category: i64) -> i64 {
        const COUNT: &str = "SELECT count(*) FROM products WHERE category_id = $1";
        match self {
            Self::Sqlite(pool) => sqlx::query_scalar(COUNT)
                .bind(category)
                .fetch_one(pool)
                .await
                .unwrap(),
            Self::Postgres(pool) => sqlx::query_scalar(COUNT)
                .bind(category)
                .fetch_one(pool)
                .await
                .unwrap(),
        }
    }
}

#[smart_cache("product:{id}", tags("products"))]
async fn named(State(products): State<Products>, Path(id): Path<i64>) -> String {
    products.name(id).await
}

/// Pages that are read from a database: one for each product.
pub(crate) fn catalogue(cache: &SmartCache, products: Products) -> Router {
    Router::new()
        .route("/product/{id}", on_get(named))
        .layer(Extension(cache.clone()))
        .with_state(products)
}

/// Waits until a page is answered from the cache.
pub(crate) async fn kept(app: &Router, path: &str) {
    eventually(format!("{path} is a hit"), async || {
        (get(app, path).await.1 == HIT).then_some(())
    })
    .await;
}
