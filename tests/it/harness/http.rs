//! Requests over a real connection.

use axum::Router;
use axum::routing::get;
use http::{Method, StatusCode, header};
use smart_cache_tests::harness::{Gate, serve};

#[tokio::test]
async fn the_whole_answer_comes_back() {
    let router = Router::new().route("/hello", get(async || ([(header::ETAG, "\"1\"")], "hello")));
    let server = serve(router).await;
    let answer = server.client().get("/hello?x=1").await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()[header::ETAG], "\"1\"");
    assert_eq!(answer.body(), "hello");
    let head = server.client().request(Method::HEAD, "/hello").await;
    assert_eq!(
        (
            head.headers()[header::CONTENT_LENGTH].as_bytes(),
            head.body().len()
        ),
        (&b"5"[..], 0)
    );
}

#[tokio::test]
async fn a_dropped_request_closes_its_connection_and_cancels_the_handler() {
    let (began, cancelled) = (Gate::opened(), Gate::opened());
    /// Counts its own end.
    struct End(Gate);
    impl Drop for End {
        fn drop(&mut self) {
            let gate = self.0.clone();
            tokio::spawn(async move { gate.pass().await });
        }
    }
    let router = Router::new().route("/", {
        let (began, cancelled) = (began.clone(), cancelled.clone());
        get(async move || {
            let _end = End(cancelled);
            began.pass().await;
            std::future::pending::<()>().await;
        })
    });
    let server = serve(router).await;
    let client = server.client();
    let request = tokio::spawn(async move { client.get("/").await });
    began.begun().await;
    request.abort();
    cancelled.begun().await;
}
