use smart_cache::smart_cache;

#[smart_cache("page", max_body = "much")]
async fn page() {}

#[smart_cache("page", max_body = "0")]
async fn nothing() {}

fn main() {}
