//! GET fills and reads, HEAD only reads, and every other method passes by.

use http::{Method, StatusCode};
use smart_cache_tests::harness::{Gate, RedisServer, serve};

use super::answers::app;
use super::{HIT, STORED, ask, get, in_memory, redis_at, status_of, stored};

#[tokio::test]
async fn head_is_answered_from_the_stored_get() {
    let gate = Gate::opened();
    let cache = in_memory().await;
    let app = app(cache.clone(), &gate);
    let first = get(&app, "/get/7").await;
    stored(&cache, 1).await;
    let head = ask(&app, Method::HEAD, "/get/7", &[]).await;
    assert_eq!(status_of(&head), HIT);
    assert_eq!(head.status, StatusCode::OK);
    assert!(head.body.is_empty());
    assert_eq!(head.headers["content-length"], first.body.len().to_string());
    assert_eq!(head.headers["content-type"], first.headers["content-type"]);
    assert_eq!(gate.runs(), 1);
}

#[tokio::test]
async fn a_head_that_misses_stores_nothing() {
    let gate = Gate::opened();
    let app = app(in_memory().await, &gate);
    for run in 1..=2 {
        let head = ask(&app, Method::HEAD, "/get/7", &[]).await;
        assert_eq!(status_of(&head), "smart-cache; fwd=miss; detail=head");
        assert_eq!(gate.runs(), run);
    }
    let first = get(&app, "/get/7").await;
    assert_eq!((status_of(&first), first.text().as_str()), (STORED, "7 3"));
}

#[tokio::test]
async fn head_over_a_socket_has_the_length_and_no_body() {
    let (server, gate) = (RedisServer::start().await, Gate::opened());
    let cache = redis_at(&server.url()).build().await.unwrap();
    let served = serve(app(cache.clone(), &gate)).await;
    served.client().get("/odd/7").await;
    stored(&cache, 1).await;
    let head = served.client().request(Method::HEAD, "/odd/7").await;
    assert_eq!(head.headers()["cache-status"], HIT);
    assert_eq!(head.headers()["content-length"], "259");
    assert!(head.body().is_empty());
}

#[tokio::test]
async fn other_methods_neither_read_nor_write_the_cache() {
    let gate = Gate::opened();
    let app = app(in_memory().await, &gate);
    get(&app, "/text/7").await;
    for (at, method) in [
        "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE", "get",
    ]
    .into_iter()
    .enumerate()
    {
        let method: Method = method.parse().unwrap();
        let answer = ask(&app, method.clone(), "/text/7", &[]).await;
        assert_eq!(status_of(&answer), "smart-cache; fwd=method", "{method}");
        assert_eq!(
            answer.text(),
            format!("7 {}", at + 2),
            "{method} ran the handler"
        );
    }
    assert_eq!(get(&app, "/text/7").await.text(), "7 1");
    let answer = ask(&app, Method::POST, "/text/8", &[]).await;
    assert_eq!(answer.text(), "8 10");
    assert_eq!(
        status_of(&get(&app, "/text/8").await),
        STORED,
        "a POST stored nothing"
    );
}
