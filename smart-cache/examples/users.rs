//! A page for each user, cached for each user, and never shown to another.
//!
//! `cargo run -p smart-cache --example users --features testing`

use std::error::Error;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Request, StatusCode, header};
use axum::middleware::map_response;
use axum::response::Response;
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
async fn private(mut answer: Response) -> Response {
    let value = HeaderValue::from_static("private");
    answer.headers_mut().insert(header::CACHE_CONTROL, value);
    answer
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let (cache, recorder) = testing::recorded();
    smart_cache::install(cache)?;
    let app = Router::new()
        .route("/", get(dashboard))
        .layer(map_response(private));
    let ask = async |user: &str| -> Result<(bool, String), Box<dyn Error>> {
        let request = Request::get("/").header(header::AUTHORIZATION, user);
        let answer = app.clone().oneshot(request.body(Body::empty())?).await?;
        recorder.idle().await;
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "private");
        let hit = testing::status(&answer).is_some_and(|status| status.hit);
        let body = to_bytes(answer.into_body(), 1024).await?;
        let body = String::from_utf8(body.to_vec())?;
        println!("{user}: {}, {body:?}", if hit { "hit" } else { "no hit" });
        Ok((hit, body))
    };
    assert_eq!(ask("User 1").await?, (false, "for user 1".to_owned()));
    assert_eq!(ask("User 1").await?, (true, "for user 1".to_owned()));
    assert_eq!(ask("User 2").await?, (false, "for user 2".to_owned()));
    assert_eq!(ask("nobody").await?, (false, String::new())); // 401, from the extractor

    clear_cache("dashboard:1").await?; // hers alone; "dashboards" would be everybody's
    assert!(!ask("User 1").await?.0);
    assert!(ask("User 2").await?.0);
    Ok(())
}

#[cfg(test)]
#[test]
fn nobody_is_shown_the_page_of_another() {
    main().unwrap();
}
