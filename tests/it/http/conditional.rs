//! A client that has the answer already is told so, without its body.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::get as on_get;
use http::{HeaderMap, Method, StatusCode};
use smart_cache::smart_cache;
use smart_cache_tests::harness::Gate;

use super::{ask, code, get, header, serve};
use crate::road::{HIT, STORED, every_kind, in_memory, stored};

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// The same text whenever it runs.
#[smart_cache("text:{id}")]
async fn text(State(gate): State<Gate>, Path(id): Path<u64>) -> impl IntoResponse {
    gate.pass().await;
    let headers = [
        ("cache-control", "public, max-age=60"),
        ("content-language", "en"),
        ("content-location", "/text"),
        ("expires", "Thu, 01 Jan 2099 00:00:00 GMT"),
        ("x-own", "1"),
    ];
    (headers, format!("text {id}"))
}

#[smart_cache("own:{id}")]
async fn own(State(gate): State<Gate>, Path(id): Path<u64>) -> impl IntoResponse {
    gate.pass().await;
    let headers = [("etag", "W/\"own, tag\""), ("last-modified", MODIFIED)];
    (headers, id.to_string())
}

#[smart_cache("dated:{id}")]
async fn dated(State(gate): State<Gate>, Path(id): Path<u64>) -> impl IntoResponse {
    gate.pass().await;
    ([("last-modified", MODIFIED)], id.to_string())
}

#[smart_cache("changing:{id}", status(200, 404))]
async fn changing(State(gate): State<Gate>, Path(id): Path<u16>) -> (StatusCode, String) {
    (
        StatusCode::from_u16(id).unwrap(),
        gate.pass().await.to_string(),
    )
}

/// Looks at the condition by itself, and says so.
#[smart_cache("looks:{id}", vary("if-none-match"))]
async fn looks(
    State(gate): State<Gate>,
    Path(id): Path<u64>,
    #[key(ignore)] headers: HeaderMap,
) -> impl IntoResponse {
    gate.pass().await;
    let condition = headers
        .get("if-none-match")
        .map(|value| value.as_bytes().len());
    ([("etag", "\"a\"")], format!("{id} {condition:?}"))
}

#[smart_cache("cookie:{id}")]
async fn cookie(State(gate): State<Gate>, Path(id): Path<u64>) -> impl IntoResponse {
    gate.pass().await;
    ([("set-cookie", "a=b"), ("etag", "\"a\"")], id.to_string())
}

fn app(gate: &Gate) -> Router {
    Router::new()
        .route("/text/{id}", on_get(text))
        .route("/own/{id}", on_get(own))
        .route("/dated/{id}", on_get(dated))
        .route("/changing/{id}", on_get(changing))
        .route("/looks/{id}", on_get(looks))
        .route("/cookie/{id}", on_get(cookie))
        .with_state(gate.clone())
}

#[tokio::test]
async fn the_first_answer_and_every_hit_carry_one_strong_tag() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::opened();
        let served = serve(app(&gate), &cache).await;
        let first = get(&served, "/text/7", &[]).await;
        assert_eq!(header(&first, "cache-status"), STORED);
        let tag = header(&first, "etag").to_owned();
        assert!(tag.starts_with('"') && tag.len() == 34, "{tag}");
        stored(&cache, 1).await;
        for _ in 0..3 {
            let hit = get(&served, "/text/7", &[]).await;
            assert_eq!(
                (header(&hit, "cache-status"), header(&hit, "etag")),
                (HIT, &*tag)
            );
            let same = get(&served, "/text/7", &[("if-none-match", &tag)]).await;
            assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
            assert_eq!(same.body(), "");
        }
        assert_ne!(header(&get(&served, "/text/8", &[]).await, "etag"), tag);
        assert_eq!(gate.runs(), 2);
    }
}

#[tokio::test]
async fn not_modified_says_what_the_answer_would_have_said_and_nothing_of_its_content() {
    let (cache, gate) = (in_memory().await, Gate::opened());
    let served = serve(app(&gate), &cache).await;
    let tag = header(&get(&served, "/text/1", &[]).await, "etag").to_owned();
    stored(&cache, 1).await;
    let same = get(&served, "/text/1", &[("if-none-match", &tag)]).await;
    assert_eq!(code(&same), 304);
    for (name, value) in [
        ("etag", tag.as_str()),
        ("cache-control", "public, max-age=60"),
        ("content-location", "/text"),
        ("expires", "Thu, 01 Jan 2099 00:00:00 GMT"),
        ("cache-status", HIT),
    ] {
        assert_eq!(header(&same, name), value);
    }
    assert!(same.headers().contains_key("age") && same.headers().contains_key("date"));
    for name in [
        "content-type",
        "content-language",
        "content-length",
        "x-own",
    ] {
        assert!(!same.headers().contains_key(name), "{name} in {same:?}");
    }
}

#[tokio::test]
async fn head_is_conditional_too() {
    let (cache, gate) = (in_memory().await, Gate::opened());
    let served = serve(app(&gate), &cache).await;
    let first = get(&served, "/text/1", &[]).await;
    let tag = header(&first, "etag");
    stored(&cache, 1).await;
    let same = ask(&served, Method::HEAD, "/text/1", &[("if-none-match", tag)]).await;
    assert_eq!((code(&same), header(&same, "etag")), (304, tag));
    let other = ask(
        &served,
        Method::HEAD,
        "/text/1",
        &[("if-none-match", "\"x\"")],
    )
    .await;
    assert_eq!((code(&other), header(&other, "content-length")), (200, "6"));
    assert_eq!(gate.runs(), 1);
}

#[tokio::test]
async fn a_miss_runs_the_handler_and_answers_its_condition() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::opened();
        let served = serve(app(&gate), &cache).await;
        let tag = header(&get(&served, "/text/1", &[]).await, "etag").to_owned();
        stored(&cache, 1).await;
        cache.clear("text:1").await.unwrap();
        let same = get(&served, "/text/1", &[("if-none-match", &tag)]).await;
        assert_eq!((code(&same), header(&same, "cache-status")), (304, STORED));
        assert_eq!(gate.runs(), 2);
        // What was stored is the whole answer.
        stored(&cache, 2).await;
        let whole = get(&served, "/text/1", &[]).await;
        assert_eq!((code(&whole), header(&whole, "cache-status")), (200, HIT));
        assert_eq!(whole.body(), "text 1");
    }
}

#[tokio::test]
async fn a_changed_answer_is_sent_whole() {
    let (cache, gate) = (in_memory().await, Gate::opened());
    let served = serve(app(&gate), &cache).await;
    let tag = header(&get(&served, "/changing/200", &[]).await, "etag").to_owned();
    stored(&cache, 1).await;
    cache.clear("changing:200").await.unwrap();
    for expected in [STORED, HIT] {
        let changed = get(&served, "/changing/200", &[("if-none-match", &tag)]).await;
        assert_eq!(
            (code(&changed), header(&changed, "cache-status")),
            (200, expected)
        );
        assert_eq!(changed.body(), "2");
        stored(&cache, 2).await;
    }
}

#[tokio::test]
async fn the_handlers_own_validators_win() {
    let (cache, gate) = (in_memory().await, Gate::opened());
    let served = serve(app(&gate), &cache).await;
    get(&served, "/own/1", &[]).await;
    get(&served, "/dated/1", &[]).await;
    stored(&cache, 2).await;
    for (path, condition, expected) in [
        ("/own/1", ("if-none-match", "\"own, tag\""), 304),
        ("/own/1", ("if-none-match", "\"x\", W/\"own, tag\""), 304),
        ("/own/1", ("if-none-match", "\"own\", \"tag\""), 200),
        ("/own/1", ("if-match", "W/\"own, tag\""), 412),
        ("/own/1", ("if-modified-since", MODIFIED), 304),
        (
            "/own/1",
            ("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT"),
            200,
        ),
        (
            "/own/1",
            ("if-modified-since", "Sun Nov  6 08:49:37 1994"),
            304,
        ),
        (
            "/own/1",
            ("if-unmodified-since", "Sunday, 06-Nov-94 08:49:36 GMT"),
            412,
        ),
        ("/dated/1", ("if-modified-since", MODIFIED), 304),
        ("/dated/1", ("if-none-match", "*"), 304),
    ] {
        let answer = get(&served, path, &[condition]).await;
        assert_eq!(code(&answer), expected, "{path} {condition:?}");
        assert_eq!(header(&answer, "cache-status"), HIT);
    }
    assert_eq!(
        header(&get(&served, "/own/1", &[]).await, "etag"),
        "W/\"own, tag\""
    );
    assert_eq!(
        header(&get(&served, "/dated/1", &[]).await, "etag").len(),
        34
    );
    assert_eq!(gate.runs(), 2);
}

#[tokio::test]
async fn a_failed_precondition_has_no_body_and_cannot_be_kept() {
    let (cache, gate) = (in_memory().await, Gate::opened());
    let served = serve(app(&gate), &cache).await;
    for expected in [STORED, HIT] {
        let failed = get(&served, "/text/1", &[("if-match", "\"other\"")]).await;
        assert_eq!(
            (code(&failed), header(&failed, "cache-status")),
            (412, expected)
        );
        assert_eq!(failed.body(), "");
        for name in ["cache-control", "expires", "etag", "x-own"] {
            assert!(!failed.headers().contains_key(name), "{name} in {failed:?}");
        }
        stored(&cache, 1).await;
    }
}

#[tokio::test]
async fn conditions_are_about_200_alone_and_never_about_what_is_not_stored() {
    let (cache, gate) = (in_memory().await, Gate::opened());
    let served = serve(app(&gate), &cache).await;
    for _ in 0..2 {
        let missing = get(&served, "/changing/404", &[("if-none-match", "*")]).await;
        assert_eq!(code(&missing), 404);
        assert!(!missing.headers().contains_key("etag"));
        stored(&cache, 1).await;
    }
    let bypassed = get(&served, "/cookie/1", &[("if-none-match", "\"a\"")]).await;
    assert_eq!(code(&bypassed), 200, "the handler answers for itself");
    assert_eq!(bypassed.body(), "1");
}

#[tokio::test]
async fn a_handler_that_looks_at_the_condition_itself_keeps_its_answers() {
    let (cache, gate) = (in_memory().await, Gate::opened());
    let served = serve(app(&gate), &cache).await;
    for expected in [STORED, HIT] {
        let answer = get(&served, "/looks/1", &[("if-none-match", "\"a\"")]).await;
        assert_eq!(
            (code(&answer), header(&answer, "cache-status")),
            (200, expected)
        );
        assert_eq!(answer.body(), "1 Some(3)");
        stored(&cache, 1).await;
    }
}

#[tokio::test]
async fn malformed_conditions_get_the_whole_answer() {
    let (cache, gate) = (in_memory().await, Gate::opened());
    let served = serve(app(&gate), &cache).await;
    get(&served, "/text/1", &[]).await;
    stored(&cache, 1).await;
    for condition in [
        ("if-none-match", ""),
        ("if-none-match", "\""),
        ("if-none-match", ",,,"),
        ("if-none-match", "W/"),
        ("if-none-match", "*, *"),
        ("if-modified-since", "never"),
        ("if-unmodified-since", "0"),
        ("if-range", "\""),
        ("range", "bytes"),
    ] {
        let answer = get(&served, "/text/1", &[condition]).await;
        assert_eq!(code(&answer), 200, "{condition:?}");
        assert_eq!(answer.body(), "text 1");
    }
    assert_eq!(gate.runs(), 1);
}

#[tokio::test]
async fn conditions_make_no_variants() {
    let (cache, gate) = (in_memory().await, Gate::opened());
    let served = serve(app(&gate), &cache).await;
    for condition in [
        ("if-none-match", "\"a\""),
        ("if-match", "*"),
        ("if-modified-since", MODIFIED),
        ("range", "bytes=0-"),
        ("accept-encoding", "gzip, br"),
    ] {
        get(&served, "/text/3", &[condition]).await;
        stored(&cache, 1).await;
    }
    assert_eq!(gate.runs(), 1);
}
