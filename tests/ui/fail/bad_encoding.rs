use smart_cache::smart_cache;

#[smart_cache("page", encodings("deflate", "br", gzip))]
async fn page() {}

fn main() {}
