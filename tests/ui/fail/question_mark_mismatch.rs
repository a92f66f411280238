use axum::extract::Path;
use axum::http::StatusCode;
use smart_cache::smart_cache;

#[smart_cache("page:{text}")]
async fn page(Path(text): Path<String>) -> Result<String, StatusCode> {
    let id: u64 = text.parse()?;
    Ok(id.to_string())
}

#[smart_cache("nothing:{text}")]
async fn nothing(Path(text): Path<String>) -> String {
    let id: u64 = text.parse()?;
    id.to_string()
}

fn main() {}
