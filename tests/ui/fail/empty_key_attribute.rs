use axum::extract::{Path, State};
use smart_cache::{clears_cache, smart_cache};

#[smart_cache("page")]
async fn page(
    #[key] State(_): State<()>,
    #[key()] _: State<()>,
    #[key(ignore)]
    #[key(id)]
    Path(id): Path<u64>,
    #[key(ignore, 1)] _: State<()>,
    #[key = "id"] _: State<()>,
) -> String {
    id.to_string()
}

#[clears_cache("page")]
async fn write(#[key(ignore)] _: State<()>) {}

fn main() {}
