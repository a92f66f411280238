//! Handlers by what they return.

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum_macros::debug_handler;
use smart_cache::smart_cache;

use super::{Shapes, check_each_is_cached, ran};

struct AppError;

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        StatusCode::BAD_REQUEST.into_response()
    }
}

impl From<std::num::ParseIntError> for AppError {
    fn from(_: std::num::ParseIntError) -> Self {
        Self
    }
}

type Answer<T> = std::result::Result<T, AppError>;

#[smart_cache("unit")]
async fn unit() {
    ran("unit");
}

#[smart_cache("opaque")]
#[debug_handler]
async fn opaque() -> impl IntoResponse {
    ran("opaque")
}

#[smart_cache("opaque-ok")]
#[debug_handler]
async fn opaque_ok() -> Result<impl IntoResponse, ()> {
    Ok(ran("opaque-ok"))
}

#[smart_cache("opaque-err")]
#[debug_handler]
async fn opaque_err() -> Result<(), impl IntoResponse> {
    Err((StatusCode::OK, ran("opaque-err")))
}

#[smart_cache("opaque-both")]
#[debug_handler]
async fn opaque_both() -> Result<impl IntoResponse, impl IntoResponse> {
    Ok::<_, ()>(ran("opaque-both"))
}

#[smart_cache("opaque-both-err")]
#[debug_handler]
async fn opaque_both_err() -> Result<impl IntoResponse, impl IntoResponse> {
    Err::<(), _>((StatusCode::OK, ran("opaque-both-err")))
}

#[debug_handler]
#[smart_cache("opaque-with-argument")]
async fn opaque_with_argument(Path(_): Path<u64>) -> Result<impl IntoResponse, impl IntoResponse> {
    Ok::<_, ()>(ran("opaque-with-argument"))
}

#[smart_cache("opaque-with-argument-below")]
#[debug_handler]
async fn opaque_with_argument_below(Path(_): Path<u64>) -> Result<(), impl IntoResponse> {
    Err((StatusCode::OK, ran("opaque-with-argument-below")))
}

#[smart_cache("captures-nothing")]
async fn captures_nothing() -> impl IntoResponse + use<> {
    ran("captures-nothing")
}

#[smart_cache("alias:{id}")]
async fn alias(Path(id): Path<String>) -> Answer<Json<String>> {
    let id: u64 = id.parse()?;
    if id == 0 {
        return Err(AppError);
    }
    Ok(Json(format!("{id} {}", ran("alias"))))
}

#[smart_cache("tuple")]
async fn tuple() -> (StatusCode, [(&'static str, &'static str); 1], Html<String>) {
    (StatusCode::OK, [("x-shape", "tuple")], Html(ran("tuple")))
}

#[smart_cache("response")]
async fn response() -> Response {
    ran("response").into_response()
}

#[smart_cache("static")]
async fn borrowed() -> &'static str {
    ran("static").leak()
}

#[smart_cache("boxed")]
async fn boxed() -> Result<Response, Box<dyn IntoBoxed + Send>> {
    Ok(ran("boxed").into_response())
}

trait IntoBoxed {}

impl IntoResponse for Box<dyn IntoBoxed + Send> {
    fn into_response(self) -> Response {
        ().into_response()
    }
}

struct Page(String);

impl Page {
    #[smart_cache("returns-self")]
    #[debug_handler]
    async fn returns_self() -> Self {
        Self(ran("returns-self"))
    }

    #[smart_cache("associated")]
    #[debug_handler]
    pub(crate) async fn associated() -> String {
        ran("associated")
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

/// A handler that never returns has no type to declare, and must stay free of one.
#[smart_cache("endless")]
#[expect(dead_code, reason = "that it compiles is the test")]
async fn endless() -> impl IntoResponse {
    if std::hint::black_box(true) {
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn handlers_with_any_answer_are_cached() {
    check_each_is_cached(
        Shapes::default()
            .plain("/unit", unit)
            .plain("/opaque", opaque)
            .plain("/opaque-ok", opaque_ok)
            .plain("/opaque-err", opaque_err)
            .plain("/opaque-both", opaque_both)
            .plain("/opaque-both-err", opaque_both_err)
            .at(
                "/opaque-with-argument/{id}",
                "/opaque-with-argument/7",
                opaque_with_argument,
            )
            .at(
                "/opaque-with-argument-below/{id}",
                "/opaque-with-argument-below/7",
                opaque_with_argument_below,
            )
            .plain("/captures-nothing", captures_nothing)
            .at("/alias/{id}", "/alias/7", alias)
            .plain("/tuple", tuple)
            .plain("/response", response)
            .plain("/static", borrowed)
            .plain("/boxed", boxed)
            .plain("/returns-self", Page::returns_self)
            .plain("/associated", Page::associated),
    )
    .await;
}
