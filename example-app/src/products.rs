//! The products: finding them, showing one, changing one.
//!
//! Handlers stand here; what they ask of the database and the pages they show are in the
//! files beside this one.
//!
//! What is cached here goes by three keys, and every change of a product clears all three:
//! `product:7` for what shows that product, `category:lighting` for what is computed over its
//! category, `products` for what is computed over the whole shop. No write says so: the database
//! does, see `hooks.rs`.

mod change;
mod choice;
mod known;
mod list_page;
mod product;
mod product_page;
mod search;

use axum::extract::{Query, State};
use axum::response::Redirect;
use axum::{Form, Json};
use maud::Markup;
use smart_cache::smart_cache;

use self::change::{Change, EditForm};
pub(crate) use self::known::KnownProduct;
use self::product::Product;
use self::search::{Results, Search};
use crate::db::Db;
use crate::error::AppError;

/// `GET /products?category=&q=&price=&stars=&stock=&sort=&page=`
#[smart_cache(
    "products",
    query("category", "q", "price", "stars", "stock", "sort", "page")
)]
pub(crate) async fn list(
    State(db): State<Db>,
    Query(search): Query<Search>,
) -> Result<Markup, AppError> {
    let results = Results::of(&db, &search).await?;
    Ok(list_page::list_page(&search, &results))
}

/// `GET /api/products`, with the same parameters.
#[smart_cache(
    "products",
    query("category", "q", "price", "stars", "stock", "sort", "page")
)]
pub(crate) async fn list_json(
    State(db): State<Db>,
    Query(search): Query<Search>,
) -> Result<Json<Results>, AppError> {
    Results::of(&db, &search).await.map(Json)
}

/// `GET /products/{id}`
///
/// The page shows similar products too, so it falls with its category. A declared tag counts from
/// the first answer on, one that `depends_on` finds from the second: so an extractor finds the
/// category, by one look at a primary key, before the page is computed.
#[smart_cache("product:{product.id}", tags("category:{product.category}"))]
pub(crate) async fn show(
    State(db): State<Db>,
    // The path names it, and the path is in every variant.
    #[key(ignore)] product: KnownProduct,
) -> Result<Markup, AppError> {
    let product = Product::of(&db, product.id).await?;
    let similar = product::similar(&db, &product).await?;
    Ok(product_page::product_page(&product, &similar))
}

/// `GET /api/products/{id}`
///
/// It names the product's category, so it falls with it too.
#[smart_cache("product:{product.id}", tags("category:{product.category}"))]
pub(crate) async fn show_json(
    State(db): State<Db>,
    #[key(ignore)] product: KnownProduct,
) -> Result<Json<Product>, AppError> {
    Product::of(&db, product.id).await.map(Json)
}

/// `PUT /products/{id}`: JSON with `name`, `price_cents` or both.
pub(crate) async fn update(
    State(db): State<Db>,
    product: KnownProduct,
    Json(change): Json<Change>,
) -> Result<Json<Product>, AppError> {
    change.apply(&db, product.id).await?;
    Product::of(&db, product.id).await.map(Json)
}

/// `POST /products/{id}/edit`: the same by a form, and back to the page.
pub(crate) async fn edit(
    State(db): State<Db>,
    product: KnownProduct,
    Form(form): Form<EditForm>,
) -> Result<Redirect, AppError> {
    form.into_change()?.apply(&db, product.id).await?;
    Ok(Redirect::to(&format!("/products/{}", product.id)))
}
