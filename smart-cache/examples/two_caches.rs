//! Several caches in one program: pages in one, values in another, a router with its own.
//!
//! `cargo run -p smart-cache --example two_caches`. In production the environment makes them:
//! `SMART_REDIS_CACHES=pages,sessions`, each with `SMART_REDIS_PAGES_URL` and the like.

use std::error::Error;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Path;
use axum::http::Request;
use axum::routing::get;
use axum::{Extension, Router};
use smart_cache::{BackendKind, SmartCache, Timeout, cache, caches, smart_cache};
use tower::ServiceExt as _;

/// In the cache that it names, wherever it is mounted.
#[smart_cache("article:{id}", cache = "pages")]
async fn article(Path(id): Path<u64>) -> String {
    format!("article {id}")
}

/// In the cache of its router, or in the default one.
#[smart_cache("status")]
async fn status() -> &'static str {
    "all is well"
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let pages = SmartCache::builder()
        .backend(BackendKind::Memory)
        .namespace("pages")
        .settle(Duration::ZERO) // every clear follows its commit here
        .build()
        .await?;
    let own = SmartCache::in_memory();
    smart_cache::install(SmartCache::in_memory())?;
    smart_cache::install_named("pages", pages.clone())?;
    smart_cache::install_named("sessions", SmartCache::in_memory())?;
    let app = Router::new()
        .route("/articles/{id}", get(article))
        .route("/status", get(status))
        .layer(Extension(own.clone()));

    for path in ["/articles/7", "/status"] {
        let request = Request::get(path).body(Body::empty())?;
        app.clone().oneshot(request).await?;
    }
    let misses = |cache: &SmartCache| cache.stats().misses;
    println!("pages: {}, own: {}", misses(&pages), misses(&own));
    assert_eq!((misses(&pages), misses(&own)), (1, 1));

    // The same key in two caches is two values.
    caches("sessions")?
        .set("7", "ada", Timeout::Default)
        .await?;
    assert_eq!(cache().get::<String>("7").await?, None);
    // A clear goes to one cache: that of its method, or for `clear_cache` outside of annotated
    // handlers the default one.
    pages.clear("article:7").await?;
    Ok(())
}

#[cfg(test)]
#[test]
fn each_answer_is_in_its_own_cache() {
    main().unwrap();
}
