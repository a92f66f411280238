//! The products: finding them, showing one, changing one.
//!
//! Handlers stand here; what they ask of the database and the pages they show are in the
//! files beside this one.

mod change;
mod choice;
mod list_page;
mod product;
mod product_page;
mod search;

use axum::extract::{Path, Query, State};
use axum::response::Redirect;
use axum::{Form, Json};
use maud::Markup;

use self::change::{Change, EditForm};
use self::product::Product;
use self::search::{Results, Search};
use crate::db::Db;
use crate::error::AppError;

/// `GET /products?category=&q=&price=&stars=&stock=&sort=&page=`
pub(crate) async fn list(
    State(db): State<Db>,
    Query(search): Query<Search>,
) -> Result<Markup, AppError> {
    let results = Results::of(&db, &search).await?;
    Ok(list_page::list_page(&search, &results))
}

/// `GET /api/products`, with the same parameters.
pub(crate) async fn list_json(
    State(db): State<Db>,
    Query(search): Query<Search>,
) -> Result<Json<Results>, AppError> {
    Results::of(&db, &search).await.map(Json)
}

/// `GET /products/{id}`
pub(crate) async fn show(State(db): State<Db>, Path(id): Path<i64>) -> Result<Markup, AppError> {
    let product = Product::of(&db, id).await?;
    let similar = product::similar(&db, &product).await?;
    Ok(product_page::product_page(&product, &similar))
}

/// `GET /api/products/{id}`
pub(crate) async fn show_json(
    State(db): State<Db>,
    Path(id): Path<i64>,
) -> Result<Json<Product>, AppError> {
    Product::of(&db, id).await.map(Json)
}

/// `PUT /products/{id}`: JSON with `name`, `price_cents` or both.
pub(crate) async fn update(
    State(db): State<Db>,
    Path(id): Path<i64>,
    Json(change): Json<Change>,
) -> Result<Json<Product>, AppError> {
    change.apply(&db, id).await?;
    Product::of(&db, id).await.map(Json)
}

/// `POST /products/{id}/edit`: the same by a form, and back to the page.
pub(crate) async fn edit(
    State(db): State<Db>,
    Path(id): Path<i64>,
    Form(form): Form<EditForm>,
) -> Result<Redirect, AppError> {
    form.into_change()?.apply(&db, id).await?;
    Ok(Redirect::to(&format!("/products/{id}")))
}
