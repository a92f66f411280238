use smart_cache::smart_cache;

#[smart_cache("page", status(200, 500, 206, 304, 99, 1000, 70000))]
async fn page() {}

fn main() {}
