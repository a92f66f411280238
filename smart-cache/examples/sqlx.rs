//! Clears that follow the commit, with sqlx on SQLite, and the database that clears by itself.
//!
//! `cargo run -p smart-cache --example sqlx --features sqlx-sqlite`

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use smart_cache::hooks::outbox::{self, Triggers};
use smart_cache::hooks::sqlx::begin;
use smart_cache::smart_cache;
use sqlx::SqlitePool;

#[smart_cache("product:{id}", tags("products"))]
async fn show(State(pool): State<SqlitePool>, Path(id): Path<i64>) -> Result<String, StatusCode> {
    let name = sqlx::query_scalar("SELECT name FROM products WHERE id = ?1").bind(id);
    let name: Option<String> = name.fetch_optional(&pool).await.map_err(failed)?;
    name.ok_or(StatusCode::NOT_FOUND)
}

async fn rename(
    State(pool): State<SqlitePool>,
    Path(id): Path<i64>,
    Json(name): Json<String>,
) -> Result<(), StatusCode> {
    let mut tx = begin(&pool).await.map_err(failed)?;
    let update = sqlx::query("UPDATE products SET name = ?1 WHERE id = ?2");
    update
        .bind(name)
        .bind(id)
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
    tx.clear(format!("product:{id}")); // after the commit; never after a rollback
    tx.commit().await.map_err(failed)?;
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn failed(why: sqlx::Error) -> StatusCode {
    eprintln!("{why}");
    StatusCode::INTERNAL_SERVER_ERROR
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = SqlitePool::connect("sqlite:example.db?mode=rwc").await?;
    let table = "CREATE TABLE IF NOT EXISTS products (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
        INSERT OR IGNORE INTO products VALUES (7, 'Lamp')";
    sqlx::raw_sql(table).execute(&pool).await?;
    // For every other writer: `sqlite3 example.db "update products set name = 'Mug'"`.
    let triggers = Triggers::on("products", ["product:{id}", "products"])?;
    outbox::install_triggers(&mut *pool.acquire().await?, &triggers).await?;
    let cache = smart_cache::start().await?;
    let _relay = outbox::relay(&cache, &pool);
    let app = Router::new().route("/products/{id}", get(show).put(rename));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app.with_state(pool)).await?;
    Ok(())
}
