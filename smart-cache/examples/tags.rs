//! A list that falls with any product on it, without naming one of them.
//!
//! `cargo run -p smart-cache --example tags --features testing` shows what each answer says of itself.

use std::error::Error;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::Request;
use axum::routing::get;
use smart_cache::{clear_cache, depends_on, smart_cache, testing};
use tower::ServiceExt as _;

#[smart_cache("product:{id}", tags("products"))]
async fn product(Path(id): Path<u64>) -> String {
    load(id)
}

/// Its attribute knows no product; the rows that it reads say which ones it depends on.
#[smart_cache("offers")]
async fn offers() -> String {
    [1, 7].map(load).join(", ")
}

/// Where rows are read is where it is said that they were.
fn load(id: u64) -> String {
    depends_on(format!("product:{id}"));
    format!("product {id}")
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // In the memory of this process, with a recorder that knows when an answer is stored.
    let (cache, recorder) = testing::recorded();
    smart_cache::install(cache)?;
    let app = Router::new()
        .route("/offers", get(offers))
        .route("/products/{id}", get(product));
    let is_hit = async |path: &str| -> Result<bool, Box<dyn Error>> {
        let request = Request::get(path).body(Body::empty())?;
        let answer = app.clone().oneshot(request).await?;
        recorder.idle().await;
        println!("{path:12} {:?}", answer.headers()["cache-status"]);
        Ok(testing::status(&answer).is_some_and(|status| status.hit))
    };
    // What a handler finds counts once the tokens of its tags are older than its run, so such an
    // answer may need a second run before it stays.
    while !is_hit("/offers").await? {}
    while !is_hit("/products/2").await? {}

    clear_cache("product:7").await?; // on the list
    assert!(!is_hit("/offers").await?);
    assert!(is_hit("/products/2").await?);

    clear_cache("products").await?; // the tag of every product's own page
    assert!(!is_hit("/products/2").await?);
    Ok(())
}

#[cfg(test)]
#[test]
fn a_list_falls_with_each_product_on_it() {
    main().unwrap();
}
