use smart_cache::smart_cache;

#[smart_cache("page", "pages", ttl = "1m", tags("a"), ttl = "2m", tags("b"))]
async fn page() {}

fn main() {}
