//! A part of a stored answer is cut out of it; nothing but whole answers is stored.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::get as on_get;
use http::{HeaderMap, Method};
use smart_cache::smart_cache;
use smart_cache_tests::harness::Gate;

use super::{ask, code, get, header, serve};
use crate::road::{HIT, STORED, every_kind, in_memory, stored};

const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

#[smart_cache("digits:{id}")]
async fn digits(State(gate): State<Gate>, Path(id): Path<u64>) -> impl IntoResponse {
    gate.pass().await;
    let headers = [
        ("content-type", "text/x-digits"),
        ("content-digest", "sha-256=:AAAA:"),
        ("last-modified", MODIFIED),
        ("x-own", "1"),
    ];
    (headers, format!("012345678{id}"))
}

#[smart_cache("empty:{id}")]
async fn empty(State(gate): State<Gate>, Path(id): Path<u64>) -> impl IntoResponse {
    gate.pass().await;
    ([("x-id", id.to_string())], "")
}

/// Serves parts by itself.
#[smart_cache("parts:{id}")]
async fn parts(
    State(gate): State<Gate>,
    Path(id): Path<u64>,
    #[key(ignore)] headers: HeaderMap,
) -> axum::response::Response {
    gate.pass().await;
    let body = format!("whole {id}");
    if headers.contains_key("range") {
        let range = [("content-range", "bytes 0-1/7")];
        return (http::StatusCode::PARTIAL_CONTENT, range, "wh").into_response();
    }
    body.into_response()
}

fn app(gate: &Gate) -> Router {
    Router::new()
        .route("/digits/{id}", on_get(digits))
        .route("/empty/{id}", on_get(empty))
        .route("/parts/{id}", on_get(parts))
        .with_state(gate.clone())
}

#[tokio::test]
async fn one_range_is_cut_out_of_the_stored_answer() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::opened();
        let served = serve(app(&gate), &cache).await;
        let whole = get(&served, "/digits/9", &[]).await;
        stored(&cache, 1).await;
        for (range, expected, body) in [
            ("bytes=0-3", "bytes 0-3/10", "0123"),
            ("bytes=7-", "bytes 7-9/10", "789"),
            ("bytes=-2", "bytes 8-9/10", "89"),
            ("bytes=4-400", "bytes 4-9/10", "456789"),
            ("bytes=-400", "bytes 0-9/10", "0123456789"),
        ] {
            let part = get(&served, "/digits/9", &[("range", range)]).await;
            assert_eq!(
                (code(&part), header(&part, "content-range")),
                (206, expected)
            );
            assert_eq!(part.body(), body, "{range}");
            assert_eq!(header(&part, "content-length"), body.len().to_string());
            assert_eq!(header(&part, "etag"), header(&whole, "etag"));
            assert_eq!(header(&part, "content-type"), "text/x-digits");
            assert_eq!(
                (header(&part, "x-own"), header(&part, "cache-status")),
                ("1", HIT)
            );
            assert!(!part.headers().contains_key("content-digest"));
        }
        let after = get(&served, "/digits/9", &[]).await;
        assert_eq!((code(&after), after.body()), (200, whole.body()));
        assert_eq!(gate.runs(), 1);
    }
}

#[tokio::test]
async fn a_miss_is_stored_whole_and_answered_in_part() {
    let (cache, gate) = (in_memory().await, Gate::opened());
    let served = serve(app(&gate), &cache).await;
    let part = get(&served, "/digits/9", &[("range", "bytes=0-1")]).await;
    assert_eq!((code(&part), header(&part, "cache-status")), (206, STORED));
    assert_eq!(part.body(), "01");
    stored(&cache, 1).await;
    let whole = get(&served, "/digits/9", &[]).await;
    assert_eq!((code(&whole), header(&whole, "cache-status")), (200, HIT));
    assert_eq!(whole.body(), "0123456789");
}

#[tokio::test]
async fn bytes_that_are_not_there_are_refused_with_the_length() {
    let (cache, gate) = (in_memory().await, Gate::opened());
    let served = serve(app(&gate), &cache).await;
    get(&served, "/digits/9", &[]).await;
    get(&served, "/empty/1", &[]).await;
    stored(&cache, 2).await;
    for (path, range, expected) in [
        ("/digits/9", "bytes=10-", "bytes */10"),
        ("/digits/9", "bytes=-0", "bytes */10"),
        ("/digits/9", "bytes=999999999999999999999-", "bytes */10"),
        ("/empty/1", "bytes=0-", "bytes */0"),
    ] {
        let refused = get(&served, path, &[("range", range)]).await;
        assert_eq!(
            (code(&refused), header(&refused, "content-range")),
            (416, expected)
        );
        assert_eq!(refused.body(), "");
        assert!(!refused.headers().contains_key("x-own"));
    }
    assert_eq!(
        code(&get(&served, "/empty/1", &[("range", "bytes=-1")]).await),
        200
    );
}

#[tokio::test]
async fn several_ranges_and_nonsense_get_the_whole_answer() {
    let (cache, gate) = (in_memory().await, Gate::opened());
    let served = serve(app(&gate), &cache).await;
    get(&served, "/digits/9", &[]).await;
    stored(&cache, 1).await;
    for range in [
        "bytes=0-1,3-4",
        "bytes=5-2",
        "items=0-1",
        "bytes=x-1",
        "",
        "bytes=-",
    ] {
        let whole = get(&served, "/digits/9", &[("range", range)]).await;
        assert_eq!(code(&whole), 200, "{range}");
        assert_eq!(whole.body(), "0123456789");
    }
    let head = ask(
        &served,
        Method::HEAD,
        "/digits/9",
        &[("range", "bytes=0-1")],
    )
    .await;
    assert_eq!((code(&head), header(&head, "content-length")), (200, "10"));
}

#[tokio::test]
async fn if_range_gives_a_part_only_of_the_same_answer() {
    let (cache, gate) = (in_memory().await, Gate::opened());
    let served = serve(app(&gate), &cache).await;
    let whole = get(&served, "/digits/9", &[]).await;
    let tag = header(&whole, "etag");
    stored(&cache, 1).await;
    for (validator, expected) in [
        (tag, 206),
        (MODIFIED, 206),
        ("\"other\"", 200),
        (&*format!("W/{tag}"), 200),
        ("Sun, 06 Nov 1994 08:49:38 GMT", 200),
        ("nonsense", 200),
    ] {
        let wanted = [("range", "bytes=0-1"), ("if-range", validator)];
        let answer = get(&served, "/digits/9", &wanted).await;
        assert_eq!(code(&answer), expected, "{validator}");
    }
    let unsatisfiable = [("range", "bytes=10-"), ("if-range", "\"other\"")];
    assert_eq!(code(&get(&served, "/digits/9", &unsatisfiable).await), 200);
    let both = [("range", "bytes=0-1"), ("if-none-match", tag)];
    assert_eq!(code(&get(&served, "/digits/9", &both).await), 304);
}

#[tokio::test]
async fn a_part_that_the_handler_made_is_never_stored() {
    let (cache, gate) = (in_memory().await, Gate::opened());
    let served = serve(app(&gate), &cache).await;
    for _ in 0..2 {
        let part = get(&served, "/parts/1", &[("range", "bytes=0-1")]).await;
        assert_eq!(code(&part), 206);
        assert_eq!(
            header(&part, "cache-status"),
            "smart-cache; fwd=bypass; detail=status"
        );
    }
    let whole = get(&served, "/parts/1", &[]).await;
    assert_eq!(whole.body(), "whole 1");
    assert_eq!(gate.runs(), 3);
}
