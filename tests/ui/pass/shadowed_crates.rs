//! A handler in a crate root that shadows the names of crates.
mod axum_app {
    pub mod smart_cache {}
    pub mod axum {}

    use ::axum::extract::Path;

    #[::smart_cache::smart_cache("page:{id}")]
    pub async fn page(Path(id): Path<u64>) -> String {
        id.to_string()
    }
}

fn main() {
    let _: axum::Router = axum::Router::new().route("/{id}", axum::routing::get(axum_app::page));
}
