//! The routes of the shop and what surrounds them.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};

use crate::db::Db;
use crate::hooks::{self, Clears};
use crate::{assets, cart, categories, error, home, products, reviews, stock, timing};

/// Every route, over one database that clears what it changes.
pub(crate) fn app(db: Db, clears: Clears) -> Router {
    Router::new()
        .route("/", get(home::show))
        .route("/products", get(products::list))
        .route("/products/{id}", get(products::show).put(products::update))
        .route("/products/{id}/edit", post(products::edit))
        .route("/products/{id}/reviews", post(reviews::add))
        .route("/products/{id}/stock", post(stock::restock))
        .route("/categories/{slug}", get(categories::show))
        .route("/cart", get(cart::show).post(cart::add))
        .route("/cart/{product}/remove", post(cart::remove))
        .route("/api/products", get(products::list_json))
        .route("/api/products/{id}", get(products::show_json))
        .route("/api/categories/{slug}", get(categories::show_json))
        .merge(assets::routes())
        .with_state(db)
        .layer(from_fn_with_state(clears, hooks::show_own_writes))
        // The last one is the outermost.
        .layer(from_fn(error::dress))
        .layer(from_fn(ask_before_reuse))
        .layer(from_fn(timing::report))
}

/// Tells browsers and proxies to ask before they show a copy again.
///
/// Only the shop knows when a page has changed, and it can clear no copy but its own.
async fn ask_before_reuse(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("private, no-cache"));
    response
}
