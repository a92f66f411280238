use axum::extract::Path;
use smart_cache::{clears_cache, smart_cache};

#[smart_cache("product:{idd}", tags("products:{shop}"))]
async fn product(Path(id): Path<u64>) -> String {
    id.to_string()
}

#[clears_cache("product:{id}:{idd}")]
async fn rename(Path(id): Path<u64>) -> String {
    id.to_string()
}

fn main() {}
