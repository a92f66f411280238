use axum::extract::Path;
use smart_cache::smart_cache;

#[smart_cache("product:{ids}")]
async fn product(Path(ids): Path<Vec<u64>>) -> String {
    ids.len().to_string()
}

#[smart_cache("product:{ids}:{id}")]
async fn pair(Path((ids, id)): Path<(Vec<u64>, u64)>) -> String {
    ids.len().to_string() + &id.to_string()
}

fn main() {}
