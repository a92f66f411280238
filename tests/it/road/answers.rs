//! A hit is the stored answer, to the byte.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get as on_get};
use axum::{Extension, Router};
use http::{HeaderValue, StatusCode};
use smart_cache::{SmartCache, smart_cache};
use smart_cache_tests::harness::{Chaos, Gate, RedisServer, eventually, serve, within};

use super::{
    Answer, COLLAPSED, HIT, STORED, every_kind, get, in_memory, memory, redis_at, status_of, stored,
};

/// Headers that repeat, that are empty and that are no UTF-8, and a body of every byte.
#[smart_cache("odd:{id}")]
async fn odd(State(gate): State<Gate>, Path(id): Path<u64>) -> Response {
    let run = gate.pass().await;
    let mut body: Vec<u8> = (0..=255).collect();
    body.extend(format!("{id} {run}").bytes());
    let mut response = Body::from(body).into_response();
    let headers = response.headers_mut();
    for value in ["one", "two", "", "one"] {
        headers.append("x-many", HeaderValue::from_static(value));
    }
    headers.insert(
        "x-bytes",
        HeaderValue::from_bytes(b"caf\xe9 \xff\x80").unwrap(),
    );
    headers.insert("x-long", HeaderValue::from_bytes(&[b'l'; 9000]).unwrap());
    headers.insert(
        "content-type",
        HeaderValue::from_static("application/octet-stream"),
    );
    headers.append(
        "link",
        HeaderValue::from_static("</a>; rel=next, </b>; rel=prev"),
    );
    response
}

#[smart_cache("text:{id}")]
async fn text(State(gate): State<Gate>, Path(id): Path<u64>) -> String {
    format!("{id} {}", gate.pass().await)
}

#[smart_cache("found:{id}", status(200, 404))]
async fn found(State(gate): State<Gate>, Path(id): Path<u16>) -> (StatusCode, String) {
    (
        StatusCode::from_u16(id).unwrap(),
        gate.pass().await.to_string(),
    )
}

#[smart_cache("only-ok:{id}")]
async fn only_ok(State(gate): State<Gate>, Path(id): Path<u16>) -> (StatusCode, String) {
    (
        StatusCode::from_u16(id).unwrap(),
        gate.pass().await.to_string(),
    )
}

#[smart_cache("brief:{id}", ttl = "150ms")]
async fn brief(State(gate): State<Gate>, Path(id): Path<u64>) -> String {
    format!("{id} {}", gate.pass().await)
}

/// Says that it had been kept for a while already, as a cache further in does.
#[smart_cache("aged:{id}")]
async fn aged(
    State(gate): State<Gate>,
    Path(id): Path<u64>,
) -> ([(&'static str, &'static str); 1], String) {
    gate.pass().await;
    ([("age", "1000")], id.to_string())
}

#[smart_cache("hop:{id}")]
async fn hop(
    State(gate): State<Gate>,
    Path(id): Path<u64>,
) -> ([(&'static str, &'static str); 4], String) {
    gate.pass().await;
    let headers = [
        ("connection", "x-of-this-hop"),
        ("x-of-this-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("x-kept", "1"),
    ];
    (headers, id.to_string())
}

pub(super) fn app(cache: SmartCache, gate: &Gate) -> Router {
    Router::new()
        .route("/odd/{id}", on_get(odd))
        .route("/text/{id}", any(text))
        .route("/get/{id}", on_get(text))
        .route("/found/{id}", on_get(found))
        .route("/only-ok/{id}", on_get(only_ok))
        .route("/brief/{id}", on_get(brief))
        .route("/aged/{id}", on_get(aged))
        .route("/hop/{id}", on_get(hop))
        .layer(Extension(cache))
        .with_state(gate.clone())
}

#[tokio::test]
async fn the_second_answer_is_the_first_to_the_byte() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::opened();
        let app = app(cache, &gate);
        let first = get(&app, "/odd/7").await;
        assert_eq!(status_of(&first), STORED);
        assert!(
            !first.headers.contains_key("age"),
            "a fresh answer has no age"
        );
        for _ in 0..3 {
            let second = get(&app, "/odd/7").await;
            assert_eq!(status_of(&second), HIT);
            assert_eq!(second.own(), first.clone().own());
        }
        assert_eq!(gate.runs(), 1);
        let many: Vec<_> = first.headers.get_all("x-many").iter().collect();
        assert_eq!(many, ["one", "two", "", "one"]);
    }
}

#[tokio::test]
async fn the_second_answer_over_a_socket_is_the_first_to_the_byte() {
    let (server, gate) = (RedisServer::start().await, Gate::opened());
    let cache = redis_at(&server.url()).build().await.unwrap();
    let served = serve(app(cache, &gate)).await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        let (parts, body) = served.client().get("/odd/7").await.into_parts();
        let mut headers = parts.headers;
        headers.remove("date");
        answers.push(Answer {
            status: parts.status,
            headers,
            body,
        });
    }
    assert_eq!(status_of(&answers[1]), HIT);
    assert_eq!(answers[0].headers["content-length"], "259");
    assert_eq!(answers[0].clone().own(), answers[1].clone().own());
    assert_eq!(answers[0].clone().own(), answers[2].clone().own());
    assert_eq!(gate.runs(), 1);
}

#[tokio::test]
async fn the_answer_leaves_before_it_is_stored() {
    let (server, gate) = (RedisServer::start().await, Gate::opened());
    let chaos = Chaos::in_front_of(server.address()).await;
    let cache = redis_at(&chaos.url()).build().await.unwrap();
    let served = serve(app(cache.clone(), &gate)).await;
    // The payload of a store begins so, and nothing else does.
    let mut held = chaos.hold("SC\u{1}");
    let answer = served.client().get("/text/8").await;
    assert_eq!(answer.body(), "8 1", "the client has its answer");
    held.arrived().await;
    assert_eq!(
        cache.stats().stored,
        0,
        "and the store has not even arrived"
    );
    held.release();
    stored(&cache, 1).await;
    let answer = served.client().get("/text/8").await;
    assert_eq!(answer.headers()["cache-status"], HIT);
}

#[tokio::test]
async fn the_status_header_can_be_switched_off() {
    let gate = Gate::opened();
    let app = app(memory().status_header(false).build().await.unwrap(), &gate);
    for path in ["/text/7", "/text/7", "/only-ok/404"] {
        let answer = get(&app, path).await;
        assert!(!answer.headers.contains_key("cache-status"), "{answer:?}");
    }
    assert_eq!(gate.runs(), 2);
}

#[tokio::test]
async fn a_hit_tells_its_age_in_whole_seconds() {
    let gate = Gate::opened();
    let app = app(in_memory().await, &gate);
    get(&app, "/text/7").await;
    let answer = get(&app, "/text/7").await;
    assert_eq!(answer.headers.get_all("age").iter().count(), 1);
    let age: u64 = answer.headers["age"].to_str().unwrap().parse().unwrap();
    assert!(age < 30, "{age}");
    eventually("a second to pass", async || {
        let age: u64 = get(&app, "/text/7").await.headers["age"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        (age >= 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_age_that_the_handler_sent_is_added_to() {
    let gate = Gate::opened();
    let app = app(in_memory().await, &gate);
    assert_eq!(get(&app, "/aged/7").await.headers["age"], "1000");
    let age: u64 = get(&app, "/aged/7").await.headers["age"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1000..1030).contains(&age), "{age}");
}

#[tokio::test]
async fn headers_of_one_connection_are_not_stored() {
    let gate = Gate::opened();
    let app = app(in_memory().await, &gate);
    let first = get(&app, "/hop/7").await;
    assert_eq!(
        first.headers["x-of-this-hop"], "1",
        "the first client gets them"
    );
    let second = get(&app, "/hop/7").await;
    assert_eq!(status_of(&second), HIT);
    for name in ["connection", "x-of-this-hop", "keep-alive"] {
        assert!(!second.headers.contains_key(name), "{name}");
    }
    assert_eq!(second.headers["x-kept"], "1");
}

#[tokio::test]
async fn only_200_is_stored_unless_the_handler_lists_more() {
    let gate = Gate::opened();
    let app = app(in_memory().await, &gate);
    for status in [
        201, 202, 204, 206, 301, 302, 304, 307, 400, 401, 403, 404, 410, 418, 429, 500, 502, 503,
    ] {
        for _ in 0..2 {
            let before = gate.runs();
            let answer = get(&app, &format!("/only-ok/{status}")).await;
            assert_eq!(answer.status.as_u16(), status);
            assert_eq!(status_of(&answer), "smart-cache; fwd=bypass; detail=status");
            assert_eq!(gate.runs(), before + 1);
        }
    }
    get(&app, "/only-ok/200").await;
    assert_eq!(status_of(&get(&app, "/only-ok/200").await), HIT);
}

#[tokio::test]
async fn a_listed_404_is_stored_with_its_status() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::opened();
        let app = app(cache, &gate);
        let first = get(&app, "/found/404").await;
        assert_eq!(
            (first.status, status_of(&first)),
            (StatusCode::NOT_FOUND, STORED)
        );
        let second = get(&app, "/found/404").await;
        assert_eq!(
            (second.status, status_of(&second)),
            (StatusCode::NOT_FOUND, HIT)
        );
        assert_eq!(second.own(), first.own());
        get(&app, "/found/410").await;
        assert_eq!(
            status_of(&get(&app, "/found/410").await),
            "smart-cache; fwd=bypass; detail=status"
        );
    }
}

#[tokio::test]
async fn an_answer_with_a_time_to_live_is_served_until_it_is_over() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::opened();
        let app = app(cache, &gate);
        get(&app, "/brief/7").await;
        eventually("the answer to expire", async || {
            (get(&app, "/brief/7").await.text() == "7 2").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_young_answer_expires_after_settle_and_the_next_one_stays() {
    let gate = Gate::opened();
    let cache = memory()
        .settle(Duration::from_millis(100))
        .build()
        .await
        .unwrap();
    let app = app(cache, &gate);
    get(&app, "/text/7").await;
    eventually("the settling answer to expire", async || {
        (get(&app, "/text/7").await.text() == "7 2").then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(get(&app, "/text/7").await.text(), "7 2");
}

#[tokio::test]
async fn who_waits_for_anothers_handler_gets_its_answer_and_is_told() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::new();
        let app = app(cache.clone(), &gate);
        // The tokens are there already, so the second request meets the first before any ticket.
        gate.open();
        get(&app, "/text/7").await;
        cache.clear("text:7").await.unwrap();
        let ask = |app: &Router| {
            let app = app.clone();
            tokio::spawn(async move { get(&app, "/text/7").await })
        };
        let first = ask(&app);
        gate.begun().await;
        gate.begun().await;
        let second = ask(&app);
        tokio::task::yield_now().await;
        while cache.stats().flights == 0 {
            tokio::task::yield_now().await;
        }
        // Long enough to be in its seat; were it later, it would be a hit, which fails below.
        tokio::time::sleep(Duration::from_millis(100)).await;
        gate.open();
        let (first, second) = (first.await.unwrap(), second.await.unwrap());
        assert_eq!((status_of(&first), first.text().as_str()), (STORED, "7 2"));
        assert_eq!(
            (status_of(&second), second.text().as_str()),
            (COLLAPSED, "7 2")
        );
        assert_eq!(gate.runs(), 2);
        within("a hit", get(&app, "/text/7")).await;
    }
}
