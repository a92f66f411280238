use smart_cache::{clears_cache, smart_cache};

#[smart_cache("page")]
#[smart_cache("pages")]
async fn page() -> String {
    String::new()
}

#[clears_cache("page")]
#[tracing::instrument]
#[smart_cache("pages")]
async fn both() -> String {
    String::new()
}

fn main() {}
