use axum::http::HeaderMap;
use smart_cache::smart_cache;

#[smart_cache("product:{idd}", tags("{}"), ttl = 10, retries = 3, status(500), vary("a b"))]
async fn product(headers: HeaderMap, #[key] page: u64, user: u64) -> Result<String, u8> {
    let _ = (headers, page, user);
    Ok(1)
}

fn main() {}
