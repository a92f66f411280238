use axum::extract::{Path, State};
use smart_cache::smart_cache;

#[derive(Clone)]
struct Shop {
    id: u64,
}

#[smart_cache("product:{shop.ident}")]
async fn product(State(shop): State<Shop>) -> String {
    shop.id.to_string()
}

#[smart_cache("product:{shop.id}:{id}")]
async fn other(Path(id): Path<u64>) -> String {
    id.to_string()
}

fn main() {}
