use axum::extract::{Path, State};
use smart_cache::smart_cache;

#[smart_cache("page:{name}")]
async fn page(State(count): State<u64>, Path(name): Path<String>) -> String {
    drop(name);
    count += 1;
    format!("{name} {count}")
}

fn main() {}
