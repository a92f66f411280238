use smart_cache::{clears_cache, smart_cache};

#[smart_cache("page")]
fn page() -> impl Future<Output = String> {
    async { String::new() }
}

#[clears_cache("page")]
fn write(#[key(ignore)] _: axum::http::Method) -> std::future::Ready<()> {
    std::future::ready(())
}

fn main() {
    let _ = page;
    let _ = write;
}
