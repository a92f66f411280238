use std::rc::Rc;

use axum::Router;
use axum::extract::Path;
use axum::routing::get;
use smart_cache::smart_cache;

async fn pause() {}

#[axum::debug_handler]
#[smart_cache("page:{id}")]
async fn page(Path(id): Path<u64>) -> String {
    let shared = Rc::new(id);
    pause().await;
    shared.to_string()
}

#[smart_cache("other")]
async fn other() -> String {
    let shared = Rc::new(7);
    pause().await;
    shared.to_string()
}

fn is_send<T: Send>(_: T) {}

fn main() {
    is_send(other(smart_cache::uncached()));
    let _: Router = Router::new().route("/{id}", get(page));
}
