use axum::extract::Path;
use smart_cache::{clears_cache, smart_cache};

#[smart_cache("page")]
async fn page() -> String {
    "page"
}

#[smart_cache("page:{id}")]
async fn answer(Path(id): Path<u64>) -> Result<String, std::num::ParseIntError> {
    if id == 0 {
        return Ok(id);
    }
    Err("none")
}

#[clears_cache("page")]
async fn write(text: String) -> Option<String> {
    text
}

#[smart_cache("unit")]
async fn unit() {
    7
}

fn main() {}
