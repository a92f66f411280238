//! Closures and a whole site, cached by a layer instead of an attribute.
//!
//! `cargo run -p smart-cache --example layer --features testing`

use std::error::Error;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::get;
use smart_cache::{layer, testing};
use tower::ServiceExt as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (cache, recorder) = testing::recorded();
    // Everything below "/articles" falls with each write to it.
    let articles = Router::new()
        .route("/", get(async || "all articles"))
        .route(
            "/{id}",
            get(async || "one article").post(async || "changed"),
        )
        .layer(
            layer("articles")
                .query(["page"]) // nothing else in the query counts
                .clears_on_write(|_| "articles"),
        );
    // Outside of the layer, for what is different each time.
    let app = Router::new()
        .nest("/articles", articles)
        .route(
            "/time",
            get(async || format!("{:?}", std::time::Instant::now())),
        )
        .layer(axum::Extension(cache));
    let ask = async |method: &str, path: &str, header: (&str, &str)| {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header.0, header.1).body(Body::empty())?;
        let answer = app.clone().oneshot(request).await?;
        recorder.idle().await;
        let status = answer.headers().get("cache-status");
        let status = status.map_or("not cached here", |value| value.to_str().unwrap_or("?"));
        println!("{method:4} {path:18} {}: {status}", header.0);
        Ok::<_, Box<dyn Error>>(status.to_owned())
    };
    let plain = ("accept", "*/*");
    assert!(ask("GET", "/articles/7", plain).await?.ends_with("stored"));
    assert!(ask("GET", "/articles/7", plain).await?.ends_with("hit"));
    assert!(
        ask("GET", "/articles/7?tracker=1", plain)
            .await?
            .ends_with("hit")
    );
    // A request that says who asks stays out, unless the layer is told what to make of it.
    let cookie = ask("GET", "/articles/7", ("cookie", "session=1")).await?;
    assert!(cookie.ends_with("detail=cookie"));
    ask("POST", "/articles/7", plain).await?;
    assert!(ask("GET", "/articles/7", plain).await?.ends_with("stored"));
    assert_eq!(ask("GET", "/time", plain).await?, "not cached here");
    Ok(())
}

#[cfg(test)]
#[test]
fn a_layer_caches_closures_and_leaves_out_who_asks() {
    main().unwrap();
}
