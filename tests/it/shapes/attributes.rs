//! Other attributes above and below ours.

use axum::extract::{Path, RawQuery, State};
use axum_macros::debug_handler;
use smart_cache::smart_cache;
use tracing::instrument;

use super::{App, Shapes, check_each_is_cached, ran};

/// An error that `#[instrument(err)]` can show.
#[derive(Debug)]
struct AppError;

impl std::fmt::Display for AppError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("no such page")
    }
}

impl axum::response::IntoResponse for AppError {
    fn into_response(self) -> axum::response::Response {
        axum::http::StatusCode::NOT_FOUND.into_response()
    }
}

#[instrument(skip_all, fields(user = name.as_str()), err)]
#[smart_cache("instrument-above:{name}")]
async fn instrument_above(
    State(_app): State<App>,
    Path(name): Path<String>,
) -> Result<String, AppError> {
    Ok(format!("{name} {}", ran("instrument-above")))
}

#[smart_cache("instrument-below:{name}")]
#[instrument(skip_all, fields(user = name.as_str()), err)]
async fn instrument_below(
    State(_app): State<App>,
    Path(name): Path<String>,
) -> Result<String, AppError> {
    Ok(format!("{name} {}", ran("instrument-below")))
}

#[smart_cache("instrument-alone")]
#[instrument(err, ret)]
async fn instrument_alone() -> Result<String, AppError> {
    Ok(ran("instrument-alone"))
}

#[instrument(err)]
#[smart_cache("instrument-alone-above")]
async fn instrument_alone_above() -> Result<String, AppError> {
    Ok(ran("instrument-alone-above"))
}

#[debug_handler(state = App)]
#[smart_cache("debug-above:{id}")]
async fn debug_above(Path(id): Path<u64>, _: RawQuery) -> String {
    format!("{id} {}", ran("debug-above"))
}

#[smart_cache("debug-below:{id}")]
#[debug_handler]
async fn debug_below(State(_app): State<App>, Path(id): Path<u64>) -> String {
    format!("{id} {}", ran("debug-below"))
}

#[debug_handler]
#[smart_cache("debug-key:{id}")]
async fn debug_key(
    #[key(id)] Path(id): Path<u64>,
    #[key(ignore)] _: axum::http::HeaderMap,
) -> String {
    format!("{id} {}", ran("debug-key"))
}

#[debug_handler]
#[smart_cache("debug-mutable")]
async fn debug_mutable(mut query: RawQuery) -> String {
    query.0.take();
    ran("debug-mutable")
}

#[smart_cache("debug-nothing")]
#[axum_macros::debug_handler]
async fn debug_nothing() -> String {
    ran("debug-nothing")
}

#[smart_cache("debug-condition")]
#[cfg_attr(test, debug_handler)]
async fn debug_on_condition() -> String {
    ran("debug-condition")
}

#[utoipa::path(get, path = "/utoipa-above/{id}", params(("id" = u64, Path)), responses((status = 200)))]
#[smart_cache("utoipa-above:{id}")]
async fn utoipa_above(Path(id): Path<u64>) -> String {
    format!("{id} {}", ran("utoipa-above"))
}

/// Shows in the OpenAPI document.
#[smart_cache("utoipa-below:{id}")]
#[utoipa::path(get, path = "/utoipa-below/{id}", responses((status = 200, body = String)))]
#[instrument(skip_all)]
#[debug_handler]
async fn utoipa_below(Path(id): Path<u64>) -> Result<String, AppError> {
    Ok(format!("{id} {}", ran("utoipa-below")))
}

#[smart_cache("utoipa-nothing")]
#[instrument(err)]
#[utoipa::path(get, path = "/utoipa-nothing", responses((status = 200, body = String)))]
#[debug_handler]
async fn utoipa_nothing() -> Result<String, AppError> {
    Ok(ran("utoipa-nothing"))
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(utoipa_above, utoipa_below, utoipa_nothing))]
struct Document;

#[smart_cache::smart_cache("by-path:{id}")]
#[cfg(test)]
async fn by_path(Path(id): Path<u64>) -> String {
    format!("{id} {}", ran("by-path"))
}

#[cfg(not(test))]
#[smart_cache::smart_cache("by-path:{id}")]
async fn by_path(Path(id): Path<u64>, _: DoesNotExist) -> String {
    id.to_string()
}

#[cfg_attr(test, smart_cache("on-condition"))]
#[inline]
#[must_use]
async fn on_condition() -> String {
    ran("on-condition")
}

/// Of these lints the rewritten function raises only the last, and no expectation may be left
/// unfulfilled, with or without clippy.
#[expect(
    clippy::unused_async,
    clippy::redundant_clone,
    unused_variables,
    reason = "the expectations are the test"
)]
#[smart_cache("expectations")]
async fn expectations(app: State<App>) -> String {
    ran("expectations").clone()
}

use smart_cache::smart_cache as remembered;

mod facade {
    pub(super) use smart_cache as cache;
    pub(super) use smart_cache::smart_cache as kept;
}

#[remembered("renamed")]
async fn renamed() -> String {
    ran("renamed")
}

#[facade::kept("re-exported:{id}", crate = facade::cache)]
async fn re_exported(Path(id): Path<u64>) -> String {
    format!("{id} {}", ran("re-exported"))
}

#[tokio::test]
async fn handlers_with_other_attributes_are_cached() {
    check_each_is_cached(
        Shapes::default()
            .at(
                "/instrument-above/{name}",
                "/instrument-above/a",
                instrument_above,
            )
            .at(
                "/instrument-below/{name}",
                "/instrument-below/a",
                instrument_below,
            )
            .plain("/instrument-alone", instrument_alone)
            .plain("/instrument-alone-above", instrument_alone_above)
            .at("/debug-above/{id}", "/debug-above/7", debug_above)
            .at("/debug-below/{id}", "/debug-below/7", debug_below)
            .at("/debug-key/{id}", "/debug-key/7", debug_key)
            .plain("/debug-mutable", debug_mutable)
            .plain("/debug-nothing", debug_nothing)
            .plain("/debug-condition", debug_on_condition)
            .at("/utoipa-above/{id}", "/utoipa-above/7", utoipa_above)
            .at("/utoipa-below/{id}", "/utoipa-below/7", utoipa_below)
            .plain("/utoipa-nothing", utoipa_nothing)
            .at("/by-path/{id}", "/by-path/7", by_path)
            .plain("/on-condition", on_condition)
            .plain("/expectations", expectations)
            .plain("/renamed", renamed)
            .at("/re-exported/{id}", "/re-exported/7", re_exported),
    )
    .await;
}

#[test]
fn utoipa_describes_cached_handlers() {
    let document = <Document as utoipa::OpenApi>::openapi();
    let paths: Vec<&str> = document.paths.paths.keys().map(String::as_str).collect();
    assert_eq!(
        paths,
        [
            "/utoipa-above/{id}",
            "/utoipa-below/{id}",
            "/utoipa-nothing"
        ]
    );
}
