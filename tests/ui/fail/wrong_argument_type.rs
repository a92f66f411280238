use smart_cache::smart_cache;

#[smart_cache("page", ttl = 10, tags = "pages", local = "no", status("ok"), cache(name), max_body)]
async fn page() {}

#[smart_cache("page", query(page), vary(), crate = "smart_cache")]
async fn other() {}

fn main() {}
