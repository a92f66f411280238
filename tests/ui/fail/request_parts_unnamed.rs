use axum::Extension;
use axum::http::{Method, request::Parts};
use smart_cache::smart_cache;

#[smart_cache("page")]
async fn page(_: Method, Extension(_): Extension<String>, _: Parts) {}

fn main() {}
