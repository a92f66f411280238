//! The registry's statics are the only unsafe code, and a crate may forbid its own.
#![forbid(unsafe_code)]
#![deny(warnings, unreachable_code, clippy::all, clippy::pedantic)]

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::routing::{get, post};
use smart_cache::{clears_cache, smart_cache};

#[smart_cache("nothing")]
async fn nothing() {}

#[smart_cache("page:{id}:{query.0.is_some}", vary("accept"))]
#[cfg(any())]
async fn never(Path(id): Path<u64>) {}

#[smart_cache("page:{id}")]
async fn page(State(state): State<u64>, Path(id): Path<u64>, RawQuery(_): RawQuery) -> Result<String, String> {
    if id == 0 {
        return Err(String::new());
    }
    Ok(format!("{state} {id}"))
}

#[smart_cache("one-line")]
async fn one_line(_: State<u64>) -> String { String::new() }

#[clears_cache("page:{id}")]
async fn write(Path(id): Path<u64>, _text: String) -> String { id.to_string() }

fn main() {
    let _: Router = Router::new()
        .route("/", get(nothing))
        .route("/one", get(one_line))
        .route("/{id}", get(page))
        .route("/{id}", post(write))
        .with_state(7);
}
