use smart_cache::smart_cache;

#[smart_cache("page", ttl = "ten minutes")]
async fn page() {}

#[smart_cache("page", ttl = "0s")]
async fn nothing() {}

#[smart_cache("page", ttl = "10")]
async fn unitless() {}

fn main() {}
