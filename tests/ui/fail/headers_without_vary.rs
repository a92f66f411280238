use axum::http::HeaderMap;
use smart_cache::smart_cache;

#[smart_cache("page")]
async fn page(headers: HeaderMap) -> String {
    format!("{:?}", headers.get("accept-language"))
}

fn main() {}
