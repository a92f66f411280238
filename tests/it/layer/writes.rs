//! Writes pass through a layer, and clear what they are told to.

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{any, get as on_get};
use http::{Method, StatusCode};
use smart_cache::{SmartCache, layer};
use smart_cache_tests::harness::{Gate, eventually, serve};

use super::{HIT, STORED, ask, every_kind, get, status_of};

/// Answers with the status that the path names.
async fn write(
    method: Method,
    State(gate): State<Gate>,
    Path(status): Path<u16>,
) -> (StatusCode, String) {
    gate.pass().await;
    assert!(status != 999, "after the commit of {method}");
    let status = StatusCode::from_u16(status).unwrap();
    (status, method.to_string())
}

/// A page and a write under one layer, and a page that has another key.
async fn warmed(cache: &SmartCache, gate: &Gate) -> Router {
    let app = Router::new()
        .route("/page", on_get(|| async { "page" }))
        .route("/write/{status}", any(write))
        .layer(
            layer("pages")
                .clears_on_write(|request| format!("nothing:{}", request.method))
                .clears_on_write(|_| ["pages"])
                .cache(cache.clone()),
        )
        .route(
            "/other",
            on_get(|| async { "other" }).layer(layer("other").cache(cache.clone())),
        )
        .with_state(gate.clone());
    for path in ["/page", "/other"] {
        eventually("a hit", async || {
            (status_of(&get(&app, path).await) == HIT).then_some(())
        })
        .await;
    }
    app
}

async fn is_hit(app: &Router, path: &str) -> bool {
    match status_of(&get(app, path).await) {
        HIT => true,
        STORED => false,
        other => panic!("{other}"),
    }
}

async fn check(method: Method, status: u16, clears: bool) {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let app = warmed(&cache, &Gate::opened()).await;
        let answer = ask(&app, method.clone(), &format!("/write/{status}"), &[]).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(status_of(&answer), "smart-cache; fwd=method");
        assert_eq!(is_hit(&app, "/page").await, !clears, "{method} {status}");
        assert!(is_hit(&app, "/other").await);
    }
}

#[tokio::test]
async fn a_write_that_succeeds_clears() {
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        check(method, 200, true).await;
    }
    check(Method::from_bytes(b"PURGE").unwrap(), 204, true).await;
    check(Method::POST, 303, true).await;
}

#[tokio::test]
async fn a_write_that_failed_may_have_committed_and_clears() {
    check(Method::POST, 500, true).await;
}

#[tokio::test]
async fn a_write_that_was_refused_clears_nothing() {
    check(Method::POST, 404, false).await;
    check(Method::DELETE, 409, false).await;
}

#[tokio::test]
async fn a_method_that_changes_nothing_clears_nothing() {
    check(Method::OPTIONS, 200, false).await;
    check(Method::TRACE, 200, false).await;
}

#[tokio::test]
async fn a_write_whose_client_goes_away_clears() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::new();
        let app = warmed(&cache, &gate).await;
        let served = serve(app.clone()).await;
        let writing = tokio::spawn({
            let client = served.client();
            async move { client.request(Method::POST, "/write/200").await }
        });
        gate.begun().await;
        assert!(is_hit(&app, "/page").await, "not before it is done");
        let clears = cache.stats().clears;
        writing.abort();
        eventually("the clear", async || {
            (cache.stats().clears > clears).then_some(())
        })
        .await;
        assert!(!is_hit(&app, "/page").await);
    }
}

#[tokio::test]
async fn a_write_that_panics_clears() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let app = warmed(&cache, &Gate::opened()).await;
        let clears = cache.stats().clears;
        let writing = tokio::spawn({
            let app = app.clone();
            async move { ask(&app, Method::POST, "/write/999", &[]).await }
        });
        assert!(writing.await.unwrap_err().is_panic());
        eventually("the clear", async || {
            (cache.stats().clears > clears).then_some(())
        })
        .await;
        assert!(!is_hit(&app, "/page").await);
    }
}

#[tokio::test]
async fn a_write_reaches_its_handler_with_its_body() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let app: Router = Router::new()
            .route("/", any(|body: String| async move { body }))
            .layer(layer("bodies").cache(cache.clone()));
        let served = serve(app).await;
        for round in 0..2 {
            let body = format!("round {round}");
            let request = http::Request::post("/").body(body.clone().into()).unwrap();
            assert_eq!(served.client().send(request).await.body(), &body);
            // A GET with a body is asked too, each time.
            let request = http::Request::get("/").body(body.clone().into()).unwrap();
            let answer = served.client().send(request).await;
            assert_eq!(answer.body(), &body);
            assert_eq!(
                answer.headers()["cache-status"],
                "smart-cache; fwd=bypass; detail=request-body"
            );
        }
    }
}
