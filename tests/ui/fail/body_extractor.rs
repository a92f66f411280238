use axum::Json;
use axum::body::Bytes;
use smart_cache::smart_cache;

#[smart_cache("json")]
async fn json(Json(text): Json<String>) -> String {
    text
}

#[smart_cache("bytes")]
async fn bytes(_: Bytes) {}

#[smart_cache("text")]
async fn text(_: String) {}

fn main() {}
