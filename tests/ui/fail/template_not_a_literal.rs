use smart_cache::{clears_cache, smart_cache};

const KEY: &str = "page";

#[smart_cache(KEY)]
async fn page() {}

#[smart_cache(concat!("page", "s"))]
async fn pages() {}

#[smart_cache(7)]
async fn number() {}

#[clears_cache(format!("page"))]
async fn write() {}

fn main() {
    let _ = KEY;
}
