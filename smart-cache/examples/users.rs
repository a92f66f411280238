//! A page for each user, cached for each user, and never shown to another.
//!
//! `cargo run -p smart-cache --example users --features testing`

use std::error::Error;

use axum::Router;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Request, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use smart_cache::{KeyPart, Variant, clear_cache, smart_cache, testing};
use tower::ServiceExt as _;

/// Who is asking. A real one looks the session up; it does so on every request, hit or miss.
struct User {
    id: u64,
}

impl<S: Sync> FromRequestParts<S> for User {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, StatusCode> {
        let header = parts.headers.get(header::AUTHORIZATION);
        let id = header.and_then(|value| value.to_str().ok()?.strip_prefix("User ")?.parse().ok());
        id.map(|id| Self { id }).ok_or(StatusCode::UNAUTHORIZED)
    }
}

/// Said once, for every handler that takes a `User`. Without it none of them compiles.
impl KeyPart for User {
    fn show(&self, variant: &mut Variant) {
        variant.push(self.id);
    }
}

#[smart_cache("dashboard:{user.id}", tags("dashboards"))]
async fn dashboard(user: User) -> String {
    format!("for user {}", user.id)
}

/// Browsers and proxies must not share the page. It is said outside of what is cached: an answer
/// that says `private` itself is not stored.
async fn private(answer: Response) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "private")], answer)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (cache, recorder) = testing::recorded();
    smart_cache::install(cache)?;
    let app = Router::new()
        .route("/", get(dashboard))
        .layer(map_response(private));
    let is_hit = async |user: &str| -> Result<bool, Box<dyn Error>> {
        let request = Request::get("/").header(header::AUTHORIZATION, user);
        let answer = app.clone().oneshot(request.body(Body::empty())?).await?;
        recorder.idle().await;
        println!("{user}: {}, {:?}", answer.status(), answer.headers());
        Ok(testing::status(&answer).is_some_and(|status| status.hit))
    };
    assert!(!is_hit("User 1").await?);
    assert!(is_hit("User 1").await?);
    assert!(!is_hit("User 2").await?); // another page
    assert!(!is_hit("nobody").await?); // 401, from the extractor

    clear_cache("dashboard:1").await?; // hers alone; "dashboards" would be everybody's
    assert!(!is_hit("User 1").await?);
    assert!(is_hit("User 2").await?);
    Ok(())
}

#[cfg(test)]
#[test]
fn nobody_is_shown_the_page_of_another() {
    main().unwrap();
}
