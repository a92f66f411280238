use axum::debug_handler;
use smart_cache::{clears_cache, smart_cache};

#[debug_handler]
#[smart_cache("page")]
async fn page() -> String {
    String::new()
}

#[debug_handler]
#[smart_cache("varied", vary("accept-language"))]
async fn varied() -> String {
    String::new()
}

#[debug_handler]
#[clears_cache("page")]
async fn write() {}

fn main() {}
