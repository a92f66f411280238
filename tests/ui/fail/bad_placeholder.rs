use axum::extract::Path;
use smart_cache::{clears_cache, smart_cache};

#[smart_cache("product:{0}", tags("{}", "{id:05}", "a{id", "a}", "{id()}"))]
async fn product(Path(id): Path<u64>) -> String {
    id.to_string()
}

#[clears_cache("product:{id:?}")]
async fn rename(Path(_id): Path<u64>) {}

fn main() {}
