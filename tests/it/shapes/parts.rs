//! What each extractor lets through is what tells two answers apart, no more and no less.

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, OptionalFromRequestParts, Path, Query, RawQuery};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Request, Uri};
use http_body_util::BodyExt as _;
use serde::Deserialize;
use smart_cache::{KeyPart, Variant, smart_cache};
use tower::ServiceExt as _;

use super::{Shapes, ran};

/// Who is asking, by a header; an empty name is a name.
struct Visitor(String);

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = String;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, String> {
        match parts.headers.get("x-visitor") {
            Some(name) => Ok(Self(name.to_str().unwrap().to_owned())),
            None => Err("nobody asks".to_owned()),
        }
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Visitor {
    type Rejection = String;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, String> {
        Ok(
            <Self as FromRequestParts<S>>::from_request_parts(parts, state)
                .await
                .ok(),
        )
    }
}

impl KeyPart for Visitor {
    fn show(&self, variant: &mut Variant) {
        variant.push(&self.0);
    }
}

#[derive(Deserialize)]
struct Pair {
    a: String,
    b: String,
}

#[smart_cache("no-query")]
async fn no_query() -> String {
    ran("no-query")
}

#[smart_cache("query")]
async fn query(_: RawQuery) -> String {
    ran("query")
}

#[smart_cache("exact")]
async fn exact(_: Uri) -> String {
    ran("exact")
}

#[smart_cache("typed:{id}")]
async fn typed(Path(id): Path<u64>) -> String {
    format!("{id} {}", ran("typed"))
}

#[smart_cache("own")]
async fn own(Visitor(name): Visitor) -> String {
    format!("{name} {}", ran("own"))
}

#[smart_cache("maybe")]
async fn maybe(visitor: Option<Visitor>) -> String {
    format!("{} {}", visitor.is_some(), ran("maybe"))
}

#[smart_cache("refused")]
async fn refused(visitor: Result<Visitor, String>) -> String {
    format!("{} {}", visitor.is_ok(), ran("refused"))
}

#[smart_cache("in-tuple")]
async fn in_tuple((Visitor(name), RawQuery(_)): (Visitor, RawQuery)) -> String {
    format!("{name} {}", ran("in-tuple"))
}

#[smart_cache("part-only")]
async fn part_only(#[key(name.len())] Visitor(name): Visitor) -> String {
    format!("{} {}", name.len(), ran("part-only"))
}

#[smart_cache("ignored-part")]
async fn ignored(#[key(ignore)] _: Visitor) -> String {
    ran("ignored-part")
}

#[smart_cache("language", vary("x-visitor"))]
async fn language(#[key(ignore)] _: HeaderMap) -> String {
    ran("language")
}

#[smart_cache("{a}:{b}", query())]
async fn separated(Query(Pair { a, b }): Query<Pair>) -> String {
    format!("{a} {b} {}", ran("separated"))
}

async fn router() -> Router {
    Shapes::default()
        .plain("/no-query", no_query)
        .plain("/query", query)
        .plain("/exact", exact)
        .at("/typed/{id}", "/typed/7", typed)
        .plain("/own", own)
        .plain("/maybe", maybe)
        .plain("/refused", refused)
        .plain("/in-tuple", in_tuple)
        .plain("/part-only", part_only)
        .plain("/ignored-part", ignored)
        .plain("/language", language)
        .plain("/separated", separated)
        .into_router()
        .await
}

/// A request: an address, and the value of the header `x-visitor`.
type Asked = (&'static str, Option<&'static str>);

async fn body(router: &Router, (address, visitor): Asked) -> String {
    let mut request = Request::builder().uri(address);
    if let Some(visitor) = visitor {
        request = request.header("x-visitor", visitor);
    }
    let response = router
        .clone()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

#[track_caller]
fn check(are_shared: bool, first: &str, second: &str) {
    assert_eq!(first == second, are_shared, "{first:?} and {second:?}");
}

async fn check_shared(first: Asked, second: Asked) {
    let router = router().await;
    check(
        true,
        &body(&router, first).await,
        &body(&router, second).await,
    );
}

async fn check_apart(first: Asked, second: Asked) {
    let router = router().await;
    check(
        false,
        &body(&router, first).await,
        &body(&router, second).await,
    );
}

#[tokio::test]
async fn a_query_that_the_handler_cannot_see_does_not_count() {
    check_shared(("/no-query?a=1", None), ("/no-query?a=2", None)).await;
    check_apart(("/query?a=1", None), ("/query?a=2", None)).await;
}

#[tokio::test]
async fn a_uri_counts_as_it_was_sent() {
    check_shared(("/exact?a=1&b=2", None), ("/exact?a=1&b=2", None)).await;
    check_apart(("/exact?a=1&b=2", None), ("/exact?b=2&a=1", None)).await;
}

#[tokio::test]
async fn paths_that_give_one_key_are_still_two_variants() {
    check_apart(("/typed/7", None), ("/typed/007", None)).await;
}

#[tokio::test]
async fn what_an_extractor_pushes_tells_answers_apart() {
    check_shared(("/own", Some("a")), ("/own", Some("a"))).await;
    check_apart(("/own", Some("a")), ("/own", Some("b"))).await;
    check_apart(("/in-tuple?a", Some("a")), ("/in-tuple?a", Some("b"))).await;
    check_apart(("/in-tuple?a", Some("a")), ("/in-tuple?b", Some("a"))).await;
}

#[tokio::test]
async fn an_absent_part_differs_from_an_empty_one() {
    check_shared(("/maybe", None), ("/maybe", None)).await;
    check_apart(("/maybe", None), ("/maybe", Some(""))).await;
}

#[tokio::test]
async fn a_refusal_that_may_tell_anything_is_never_stored() {
    check_shared(("/refused", Some("a")), ("/refused", Some("a"))).await;
    check_apart(("/refused", None), ("/refused", None)).await;
}

#[tokio::test]
async fn only_the_named_part_of_an_argument_counts() {
    check_shared(("/part-only", Some("a")), ("/part-only", Some("b"))).await;
    check_apart(("/part-only", Some("a")), ("/part-only", Some("bb"))).await;
    check_shared(("/ignored-part", Some("a")), ("/ignored-part", Some("b"))).await;
}

#[tokio::test]
async fn a_declared_header_counts() {
    check_shared(("/language", Some("a")), ("/language", Some("a"))).await;
    check_apart(("/language", Some("a")), ("/language", Some("b"))).await;
    check_apart(("/language", None), ("/language", Some(""))).await;
}

#[tokio::test]
async fn a_separator_inside_a_value_makes_no_two_requests_alike() {
    check_apart(
        ("/separated?a=x:y&b=z", None),
        ("/separated?a=x&b=y:z", None),
    )
    .await;
}
