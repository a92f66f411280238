use smart_cache::{clears_cache, smart_cache};

#[smart_cache]
async fn page() {}

#[smart_cache(tags("pages"))]
async fn other() {}

#[clears_cache(cache = "default")]
async fn write() {}

fn main() {}
