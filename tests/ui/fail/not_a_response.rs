use axum::Router;
use axum::routing::get;
use smart_cache::smart_cache;

struct Page;

#[smart_cache("page")]
async fn page() -> Page {
    Page
}

fn main() {
    let _: Router = Router::new().route("/", get(page));
}
