use smart_cache::{clears_cache, smart_cache};

#[smart_cache("page", timeout = "10m")]
async fn page() {}

#[clears_cache("page", tags("pages"))]
async fn write() {}

fn main() {}
