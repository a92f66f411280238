use smart_cache::smart_cache;

#[smart_cache("page", vary("accept language", "", "*", "accept"))]
async fn page() {}

fn main() {}
