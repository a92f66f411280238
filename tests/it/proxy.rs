//! The program `proxy`, in front of a scripted origin: the same rules by the attribute and by the
//! layer. A foreign suite of HTTP cache tests is run against it by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method};
use smart_cache_tests::harness::{Client, Program, Served, serve};

/// Answers as the request's `x-answer-*` headers say, and tells what it was asked.
async fn origin(State(asked): State<Arc<AtomicU64>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in &parts.headers {
        if let Some(name) = name.as_str().strip_prefix("x-answer-") {
            headers.append(name.parse::<HeaderName>().unwrap(), value.clone());
        }
    }
    let text = format!(
        "{} {} {} {} {}",
        asked.fetch_add(1, Ordering::Relaxed) + 1,
        parts.method,
        parts.uri,
        parts.headers.contains_key("x-hop"),
        body.len(),
    );
    (headers, text).into_response()
}

struct Stage {
    _origin: Served,
    _proxy: Program,
    client: Client,
}

async fn stage(mode: &str) -> Stage {
    let served = serve(Router::new().fallback(origin).with_state(Arc::default())).await;
    let base = format!("http://{}", served.address());
    let arguments = ["--origin", &base, "--port", "0", "--mode", mode];
    let environment = [("SMART_REDIS_BACKEND", "memory")];
    let mut proxy = Program::start(env!("CARGO_BIN_EXE_proxy"), &arguments, &environment);
    let address = proxy.line_with("listening on ").await;
    Stage {
        client: Client::of(address.parse().unwrap()),
        _origin: served,
        _proxy: proxy,
    }
}

impl Stage {
    async fn ask(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> (String, String) {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let reply = self.client.send(request.body(Bytes::new()).unwrap()).await;
        let status = reply.headers()["cache-status"].to_str().unwrap().to_owned();
        (String::from_utf8(reply.body().to_vec()).unwrap(), status)
    }
}

impl Stage {
    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> (String, String) {
        self.ask(Method::GET, path, headers).await
    }
}

const HIT: &str = "smart-cache; hit";

async fn check(mode: &str) {
    let stage = stage(mode).await;
    let fresh = ("x-answer-cache-control", "max-age=60");

    // A fresh answer is kept, for its own target alone.
    assert_eq!(
        stage.get("/a?x=1", &[fresh]).await.0,
        "1 GET /a?x=1 false 0"
    );
    let again = stage.get("/a?x=1", &[]).await;
    assert_eq!(
        (again.0.as_str(), again.1.as_str()),
        ("1 GET /a?x=1 false 0", HIT)
    );
    assert_eq!(
        stage.get("/a?x=2", &[fresh]).await.0,
        "2 GET /a?x=2 false 0"
    );

    // A client may want the origin's own answer, or none but a stored one.
    for control in ["no-cache", "no-store", "max-age=0"] {
        let forced = stage.get("/a?x=1", &[("cache-control", control)]).await;
        assert_ne!(forced.1, HIT, "{control}");
    }
    let only = http::Request::get("/nowhere").header("cache-control", "only-if-cached");
    let only = stage.client.send(only.body(Bytes::new()).unwrap()).await;
    assert_eq!(only.status(), 504);

    // A write clears its path with every query, and the path that its answer names.
    stage.get("/b", &[fresh]).await;
    assert_eq!(stage.get("/b", &[]).await.1, HIT);
    let write = stage
        .ask(Method::POST, "/a", &[("x-answer-location", "/b?y")])
        .await;
    assert_eq!(write.1, "smart-cache; fwd=method");
    assert_ne!(stage.get("/a?x=1", &[]).await.1, HIT);
    assert_ne!(stage.get("/b", &[]).await.1, HIT);

    // What is stale, private or said to vary is asked for again.
    for header in [
        ("x-answer-cache-control", "max-age=0"),
        ("x-answer-cache-control", "private, max-age=60"),
        ("x-answer-vary", "x-unknown"),
        ("x-answer-set-cookie", "a=b"),
    ] {
        stage.get("/c", &[header]).await;
        assert_ne!(stage.get("/c", &[header]).await.1, HIT, "{header:?}");
    }
    let varying = [fresh, ("x-answer-vary", "foo"), ("foo", "1")];
    stage.get("/d", &varying).await;
    assert_eq!(stage.get("/d", &varying).await.1, HIT);
    assert_ne!(stage.get("/d", &[fresh, ("foo", "2")]).await.1, HIT);
}

#[tokio::test]
async fn the_proxy_keeps_the_rules_by_the_attribute() {
    check("attribute").await;
}

#[tokio::test]
async fn the_proxy_keeps_the_rules_by_the_layer() {
    check("layer").await;
}

#[tokio::test]
async fn methods_bodies_and_headers_pass_unchanged_but_for_those_of_the_connection() {
    for mode in ["attribute", "layer"] {
        let stage = stage(mode).await;
        let request = http::Request::builder()
            .method("REPORT")
            .uri("/x%2Fy?a=%20&b")
            .header("connection", "x-hop")
            .header("x-hop", "1")
            .header("x-answer-x-kept", "yes")
            .body(Bytes::from(vec![b'z'; 100_000]))
            .unwrap();
        let reply = stage.client.send(request).await;
        assert_eq!(reply.body(), "1 REPORT /x%2Fy?a=%20&b false 100000");
        assert_eq!(reply.headers()["x-kept"], "yes");
    }
}
