use smart_cache::smart_cache;

#[smart_cache("page", crate = ::my_smart_cache)]
async fn page() {}

fn main() {}
