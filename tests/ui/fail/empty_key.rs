use smart_cache::{clears_cache, smart_cache};

#[smart_cache("", tags(" "))]
async fn page() {}

#[clears_cache("page", "")]
async fn write() {}

fn main() {}
