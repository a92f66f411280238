//! The files that every page refers to, compiled in.

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::db::Db;

pub(crate) fn routes() -> Router<Db> {
    Router::new()
        .route("/style.css", get(style))
        .route("/status.js", get(status))
        .route("/icons.svg", get(icons))
        .route("/favicon.svg", get(favicon))
}

async fn style() -> impl IntoResponse {
    asset(
        "text/css; charset=utf-8",
        include_str!("../assets/style.css"),
    )
}

async fn status() -> impl IntoResponse {
    asset(
        "text/javascript; charset=utf-8",
        include_str!("../assets/status.js"),
    )
}

async fn icons() -> impl IntoResponse {
    asset("image/svg+xml", include_str!("../assets/icons.svg"))
}

async fn favicon() -> impl IntoResponse {
    asset("image/svg+xml", include_str!("../assets/favicon.svg"))
}

fn asset(content_type: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        // Short, because a new build brings new files under the same names.
        (header::CACHE_CONTROL, "public, max-age=60"),
    ];
    (headers, text)
}
