//! The return that is never reached must not be reported to a crate that denies such.
#![deny(unreachable_code, unused)]

use axum::extract::Path;

/// Documented.
#[smart_cache::smart_cache("page")]
pub async fn page(Path(_): Path<String>) {}

/// Documented.
#[axum::debug_handler]
#[smart_cache::smart_cache("other")]
pub async fn other(Path(_): Path<String>) -> Result<String, ()> {
    Err(())
}

fn main() {}
