use axum::Extension;
use smart_cache::smart_cache;

#[derive(Clone)]
struct User {
    id: u64,
}

#[smart_cache("page")]
async fn page(#[key(user)] Extension(user): Extension<User>) -> String {
    user.id.to_string()
}

#[smart_cache("page")]
async fn other(#[key(user.id, user.name)] Extension(user): Extension<User>) -> String {
    user.id.to_string()
}

fn main() {}
