//! A write through diesel that clears after its commit.
//!
//! `cargo run -p smart-cache --example diesel --features diesel`, then
//! `curl -i 127.0.0.1:3000/7`, `curl -X POST 127.0.0.1:3000/7/lamp`, and the first once more.

#![expect(missing_docs, reason = "diesel's table! makes items that have none")]

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::result::Error;
use smart_cache::hooks::{CacheKeys, diesel::transaction};
use smart_cache::smart_cache;

diesel::table! {
    products (id) { id -> BigInt, name -> Text, }
}

#[derive(Queryable, Selectable, CacheKeys)]
#[diesel(table_name = products)]
#[cache_keys("product:{id}")]
struct Product {
    id: i64,
    name: String,
}

type Db = Arc<Mutex<SqliteConnection>>;

#[smart_cache("product:{id}")]
async fn product(State(db): State<Db>, Path(id): Path<i64>) -> Result<String, StatusCode> {
    let found: Product = blocking(db, move |db| products::table.find(id).first(db)).await?;
    Ok(found.name)
}

async fn rename(
    State(db): State<Db>,
    Path((id, name)): Path<(i64, String)>,
) -> Result<(), StatusCode> {
    blocking(db, move |db| {
        transaction(db, |mut tx| {
            diesel::update(products::table.find(id))
                .set(products::name.eq(name))
                .execute(&mut *tx)?;
            let row: Product = products::table.find(id).first(&mut *tx)?;
            tx.clear(row.cache_keys());
            Ok::<_, Error>(())
        }) // has committed, then cleared
    })
    .await?;
    Ok(())
}

async fn blocking<T: Send + 'static>(
    db: Db,
    work: impl FnOnce(&mut SqliteConnection) -> Result<T, Error> + Send + 'static,
) -> Result<T, StatusCode> {
    let work = move || work(&mut db.lock().unwrap_or_else(PoisonError::into_inner));
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(Error::NotFound)) => Err(StatusCode::NOT_FOUND),
        _ => Err(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut db = SqliteConnection::establish(":memory:")?;
    db.batch_execute("CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO products VALUES (7, 'chair')")?;
    let app = axum::Router::new()
        .route("/{id}", get(product))
        .route("/{id}/{name}", post(rename))
        .with_state(Arc::new(Mutex::new(db)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app).await?)
}
