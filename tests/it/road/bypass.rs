//! What keeps an answer out of the cache, each time with its reason.

use axum::extract::{FromRequestParts, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get as on_get;
use axum::{Extension, Router};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method};
use smart_cache::{Bypass, KeyPart, SmartCache, Variant, depends_on, smart_cache};
use smart_cache_tests::harness::{Gate, RedisServer};

use super::{HIT, MISSED, STORED, ask, every_kind, get, in_memory, redis_at, status_of, stored};

type Headers = Query<Vec<(String, String)>>;

/// Answers with the headers that the query names.
#[smart_cache("headers", vary("accept-language", "x-tenant"))]
async fn headers(State(gate): State<Gate>, Query(wanted): Headers) -> Response {
    let mut response = gate.pass().await.to_string().into_response();
    for (name, value) in wanted {
        let name: HeaderName = name.parse().unwrap();
        response
            .headers_mut()
            .append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    response
}

/// A visitor who may have asked to stay out.
struct Visitor {
    is_private: bool,
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self {
            is_private: parts.headers.contains_key("x-private"),
        })
    }
}

impl KeyPart for Visitor {
    fn show(&self, variant: &mut Variant) {
        if self.is_private {
            variant.bypass();
        }
    }
}

#[smart_cache("visited")]
async fn visited(State(gate): State<Gate>, _visitor: Visitor) -> String {
    gate.pass().await.to_string()
}

#[smart_cache("tagged", tags("{tag}"))]
async fn tagged(State(gate): State<Gate>, Tag(tag): Tag) -> String {
    let _ = tag;
    gate.pass().await.to_string()
}

/// The query, whole, as a tag.
struct Tag(String);

impl<S: Send + Sync> FromRequestParts<S> for Tag {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(parts.uri.query().unwrap_or_default().to_owned()))
    }
}

impl KeyPart for Tag {
    fn show(&self, variant: &mut Variant) {
        variant.query();
    }
}

fn app(cache: SmartCache, gate: &Gate) -> Router {
    Router::new()
        .route("/headers", on_get(headers))
        .route("/visited", on_get(visited))
        .route("/tagged", on_get(tagged))
        .layer(Extension(cache))
        .with_state(gate.clone())
}

/// The query that makes the handler answer with these headers.
fn with(headers: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = headers
        .iter()
        .map(|(name, value)| {
            let value: String = value.bytes().map(|byte| format!("%{byte:02x}")).collect();
            format!("{name}={value}")
        })
        .collect();
    format!("/headers?{}", pairs.join("&"))
}

async fn check(headers: &[(&str, &str)], expected: &str) {
    let gate = Gate::opened();
    let app = app(in_memory().await, &gate);
    let path = with(headers);
    get(&app, &path).await;
    let second = get(&app, &path).await;
    assert_eq!(status_of(&second), expected, "{headers:?}");
    for (name, value) in headers {
        let found = second
            .headers
            .get_all(*name)
            .iter()
            .any(|found| found.as_bytes() == value.as_bytes());
        assert!(found, "the client gets {name}: {value}");
    }
    assert_eq!(gate.runs(), if expected == HIT { 1 } else { 2 });
}

const COOKIE: &str = "smart-cache; fwd=bypass; detail=set-cookie";
const CONTROL: &str = "smart-cache; fwd=bypass; detail=cache-control";
const VARY: &str = "smart-cache; fwd=bypass; detail=vary";

#[tokio::test]
async fn an_answer_with_a_cookie_is_never_kept() {
    check(&[("set-cookie", "a=b")], COOKIE).await;
    check(&[("Set-Cookie", "a=b"), ("set-cookie", "c=d")], COOKIE).await;
    check(
        &[("set-cookie", "a=b"), ("cache-control", "public")],
        COOKIE,
    )
    .await;
    check(&[("set-cookie", "")], COOKIE).await;
}

#[tokio::test]
async fn an_answer_that_forbids_it_is_never_kept_in_any_spelling() {
    for value in [
        "private",
        "Private",
        "PRIVATE",
        "no-store",
        "No-Store",
        "no-cache",
        "NO-CACHE",
        "max-age=60, private",
        "private,max-age=60",
        "private , max-age=60",
        " private ",
        "\tprivate\t",
        "public, no-cache=\"set-cookie\"",
        "private=\"x-user\"",
        "private =\"x\"",
        "max-age=0,,no-store",
        "no-store;",
        "private; max-age=3",
    ] {
        check(&[("cache-control", value)], CONTROL).await;
    }
    check(
        &[("cache-control", "public"), ("cache-control", "private")],
        CONTROL,
    )
    .await;
    check(
        &[
            ("cache-control", "max-age=60"),
            ("Cache-Control", "No-Store"),
        ],
        CONTROL,
    )
    .await;
}

#[tokio::test]
async fn an_answer_that_allows_it_is_kept_with_its_words() {
    for value in [
        "public",
        "max-age=60",
        "public, max-age=31536000, immutable",
        "must-revalidate",
        "s-maxage=5",
        "",
    ] {
        check(&[("cache-control", value)], HIT).await;
    }
    check(&[("x-cache-control", "private")], HIT).await;
    check(&[("cache-control", "privately")], HIT).await;
}

#[tokio::test]
async fn an_answer_that_varies_on_what_is_not_in_the_variant_is_never_kept() {
    for value in [
        "*",
        " * ",
        "cookie",
        "Cookie",
        "accept-language, cookie",
        "accept-language,*",
        "authorization",
        "origin",
    ] {
        check(&[("vary", value)], VARY).await;
    }
    check(&[("vary", "accept-language"), ("vary", "cookie")], VARY).await;
}

#[tokio::test]
async fn an_answer_that_varies_on_what_is_declared_is_kept() {
    for value in [
        "accept-language",
        "Accept-Language",
        "X-Tenant , accept-language",
        "",
        " , accept-language,",
    ] {
        check(&[("vary", value)], HIT).await;
    }
    check(&[("vary", "accept-language"), ("vary", "x-tenant")], HIT).await;
}

#[tokio::test]
async fn a_part_that_asks_to_stay_out_is_neither_answered_nor_stored() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::opened();
        let app = app(cache.clone(), &gate);
        let private = || ask(&app, Method::GET, "/visited", &[("x-private", "1")]);
        let answer = private().await;
        assert_eq!(
            (status_of(&answer), answer.text().as_str()),
            ("smart-cache; fwd=bypass; detail=request", "1")
        );
        let answer = get(&app, "/visited").await;
        assert_eq!((status_of(&answer), answer.text().as_str()), (STORED, "2"));
        assert_eq!(private().await.text(), "3");
        assert_eq!(get(&app, "/visited").await.text(), "2");
        assert_eq!(cache.stats().bypasses, [(Bypass::Request, 2)]);
    }
}

#[tokio::test]
async fn an_empty_tag_keeps_the_request_out() {
    let gate = Gate::opened();
    let app = app(in_memory().await, &gate);
    for run in 1..=2 {
        let answer = get(&app, "/tagged").await;
        assert_eq!(
            status_of(&answer),
            "smart-cache; fwd=bypass; detail=empty-key"
        );
        assert_eq!(gate.runs(), run);
    }
    get(&app, "/tagged?a").await;
    assert_eq!(status_of(&get(&app, "/tagged?a").await), HIT);
}

#[tokio::test]
async fn what_a_bypass_answers_is_never_served_to_the_next() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::opened();
        let app = app(cache.clone(), &gate);
        let path = with(&[("set-cookie", "session=secret")]);
        for run in 1..=5 {
            assert_eq!(get(&app, &path).await.text(), run.to_string());
        }
        assert_eq!((cache.stats().stored, cache.stats().hits), (0, 0));
    }
}

#[tokio::test]
async fn more_tags_than_an_entry_may_have_keep_the_answer_out() {
    #[smart_cache("list:{tags}")]
    async fn list(Path(tags): Path<usize>) -> String {
        for tag in 0..tags {
            depends_on(format!("row:{tag}"));
        }
        tags.to_string()
    }
    let app: Router = Router::new()
        .route("/list/{tags}", on_get(list))
        .layer(Extension(in_memory().await));
    for (tags, expected) in [
        // Tags that were found may be too new, so storing cannot be promised.
        (1_000, MISSED),
        (1_001, "smart-cache; fwd=bypass; detail=tags"),
    ] {
        let answer = get(&app, &format!("/list/{tags}")).await;
        assert_eq!(status_of(&answer), expected);
    }
}

#[tokio::test]
async fn a_key_that_a_write_holds_is_neither_served_nor_stored() {
    let server = RedisServer::start().await;
    let cache = redis_at(&server.url()).build().await.unwrap();
    let gate = Gate::opened();
    let app = app(cache.clone(), &gate);
    get(&app, "/visited").await;
    stored(&cache, 1).await;
    for name in ["{n}:t:visited", "{n}:t:"] {
        let before = server.cli(&["GET", name]);
        assert_eq!(server.cli(&["SET", name, "!"]), "OK");
        for _ in 0..2 {
            let runs = gate.runs();
            let answer = get(&app, "/visited").await;
            assert_eq!(status_of(&answer), "smart-cache; fwd=bypass; detail=held");
            assert_eq!(gate.runs(), runs + 1);
        }
        assert_eq!(server.cli(&["SET", name, &before]), "OK");
        assert_eq!(get(&app, "/visited").await.text(), "1");
    }
    assert_eq!(cache.stats().stored, 1);
}

#[tokio::test]
async fn without_its_server_the_cache_says_that_it_is_unavailable() {
    let mut server = RedisServer::start().await;
    let cache = redis_at(&server.url()).build().await.unwrap();
    let gate = Gate::opened();
    let app = app(cache, &gate);
    get(&app, "/visited").await;
    server.kill();
    for run in 2..=4 {
        let answer = get(&app, "/visited").await;
        assert_eq!(
            status_of(&answer),
            "smart-cache; fwd=bypass; detail=unavailable"
        );
        assert_eq!(answer.text(), run.to_string());
    }
}
