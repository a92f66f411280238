//! A model of SeaORM that clears its pages whenever it is saved or deleted.
//!
//! `cargo run -p smart-cache --example sea_orm --features sea-orm`, then
//! `curl -i 127.0.0.1:3000/7`, `curl -X POST 127.0.0.1:3000/7/lamp`, and the first once more.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use sea_orm::prelude::*;
use sea_orm::{ActiveValue::Set, ConnectOptions, Database};
use smart_cache::{hooks::sea_orm::begin, smart_cache};

#[expect(unreachable_pub, reason = "SeaORM derives public items beside these")]
mod product {
    use sea_orm::entity::prelude::*;
    use smart_cache::hooks::CacheKeys;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel, CacheKeys)]
    #[sea_orm(table_name = "products")]
    #[cache_keys("product:{id}")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub name: String,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    smart_cache::sea_orm_hooks!(ActiveModel);
}

#[smart_cache("product:{id}")]
async fn product(State(db): State<DbConn>, Path(id): Path<i64>) -> Result<String, StatusCode> {
    let found = product::Entity::find_by_id(id).one(&db).await;
    let found = found.map_err(failed)?.ok_or(StatusCode::NOT_FOUND)?;
    Ok(found.name)
}

async fn rename(
    State(db): State<DbConn>,
    Path((id, name)): Path<(i64, String)>,
) -> Result<(), StatusCode> {
    let tx = begin(&db).await.map_err(failed)?;
    let (id, name) = (Set(id), Set(name));
    let renamed = product::ActiveModel { id, name };
    renamed.update(&*tx).await.map_err(failed)?; // gathers the keys of its row
    tx.commit().await.map_err(failed)?; // commits, then clears
    Ok(())
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "map_err hands the error over"
)]
fn failed(why: DbErr) -> StatusCode {
    eprintln!("{why}");
    StatusCode::INTERNAL_SERVER_ERROR
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // One connection, for each has a memory of its own.
    let mut options = ConnectOptions::new("sqlite::memory:");
    options.max_connections(1);
    let db = Database::connect(options).await?;
    let table = "CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL)";
    db.execute_unprepared(table).await?;
    let (id, name) = (Set(7), Set("chair".to_owned()));
    product::ActiveModel { id, name }.insert(&db).await?;
    let app = axum::Router::new()
        .route("/{id}", get(product))
        .route("/{id}/{name}", post(rename))
        .with_state(db);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, app).await?)
}
