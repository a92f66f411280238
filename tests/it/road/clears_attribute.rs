//! `#[clears_cache(..)]`: the page is gone before the answer of the write is there.

use std::sync::Mutex;

use axum::extract::{Path, State};
use axum::routing::{get as on_get, post};
use axum::{Extension, Router};
use http::{Method, StatusCode};
use smart_cache::{SmartCache, clears_cache, install_named, smart_cache, uncached};
use smart_cache_tests::harness::{Chaos, Gate, Loss, RedisServer, eventually, serve};

use super::{Answer, HIT, STORED, ask, every_kind, get, in_memory, redis_at, status_of, stored};

#[smart_cache("page:{id}", tags("pages"))]
async fn page(Path(id): Path<u64>) -> String {
    id.to_string()
}

#[smart_cache("list")]
async fn list() -> &'static str {
    "list"
}

/// Answers with the status that the path names.
#[clears_cache("page:{id}", "list")]
async fn write(
    State(gate): State<Gate>,
    Path((id, status)): Path<(u64, u16)>,
) -> (StatusCode, String) {
    gate.pass().await;
    (StatusCode::from_u16(status).unwrap(), id.to_string())
}

#[clears_cache("page:{id}")]
async fn fails(Path(id): Path<u64>) -> Result<String, StatusCode> {
    Err(if id == 7 {
        StatusCode::CONFLICT
    } else {
        StatusCode::BAD_GATEWAY
    })
}

#[clears_cache("page:{id}")]
async fn panics(State(gate): State<Gate>, Path(id): Path<u64>) -> String {
    gate.pass().await;
    panic!("after the commit of {id}");
}

fn app(cache: &SmartCache, gate: &Gate) -> Router {
    Router::new()
        .route("/page/{id}", on_get(page))
        .route("/list", on_get(list))
        .route("/write/{id}/{status}", post(write))
        .route("/fails/{id}", post(fails))
        .route("/panics/{id}", post(panics))
        .layer(Extension(cache.clone()))
        .with_state(gate.clone())
}

/// All pages are hits from here on.
async fn warmed(cache: &SmartCache, gate: &Gate) -> Router {
    let app = app(cache, gate);
    for path in ["/page/7", "/page/8", "/list"] {
        get(&app, path).await;
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

async fn check(path: &str, clears: bool) {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let app = warmed(&cache, &Gate::opened()).await;
        let answer: Answer = ask(&app, Method::POST, path, &[]).await;
        assert!(
            !answer.headers.contains_key("cache-status"),
            "a write is not cached"
        );
        assert_eq!(is_hit(&app, "/page/7").await, !clears, "{path}");
        if path.starts_with("/write") {
            assert_eq!(is_hit(&app, "/list").await, !clears, "{path}");
        }
        assert!(is_hit(&app, "/page/8").await, "{path}");
    }
}

#[tokio::test]
async fn a_write_that_succeeds_clears_all_its_keys() {
    for status in [200, 201, 204, 302, 303] {
        check(&format!("/write/7/{status}"), true).await;
    }
}

#[tokio::test]
async fn a_write_that_was_refused_clears_nothing() {
    for status in [400, 401, 404, 409, 422, 499] {
        check(&format!("/write/7/{status}"), false).await;
    }
    check("/fails/7", false).await;
}

#[tokio::test]
async fn a_write_that_failed_may_have_committed_and_clears() {
    for status in [500, 502, 503] {
        check(&format!("/write/7/{status}"), true).await;
    }
    let cache = in_memory().await;
    let app = warmed(&cache, &Gate::opened()).await;
    ask(&app, Method::POST, "/fails/8", &[]).await;
    assert!(!is_hit(&app, "/page/8").await);
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
            async move { client.request(Method::POST, "/write/7/200").await }
        });
        gate.begun().await;
        assert!(is_hit(&app, "/page/7").await, "not before the body is done");
        let clears = cache.stats().clears;
        writing.abort();
        eventually("the clear", async || {
            (cache.stats().clears > clears).then_some(())
        })
        .await;
        assert!(!is_hit(&app, "/page/7").await);
        assert!(!is_hit(&app, "/list").await);
        assert!(is_hit(&app, "/page/8").await);
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
            async move { ask(&app, Method::POST, "/panics/7", &[]).await }
        });
        assert!(writing.await.unwrap_err().is_panic());
        eventually("the clear", async || {
            (cache.stats().clears > clears).then_some(())
        })
        .await;
        assert!(!is_hit(&app, "/page/7").await);
    }
}

#[tokio::test]
async fn a_write_is_answered_also_when_its_clear_is_not_acknowledged() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let cache = redis_at(&chaos.url()).build().await.unwrap();
    let app = warmed(&cache, &Gate::opened()).await;
    chaos.lose_reply_of("DEL", Loss::Cut);
    let answer = ask(&app, Method::POST, "/write/7/200", &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    eventually("the page to be filled anew", async || {
        let status = status_of(&get(&app, "/page/7").await).to_owned();
        assert_ne!(
            status, HIT,
            "it was cleared, and distrusted until that is certain"
        );
        (status == STORED).then_some(())
    })
    .await;
    assert_eq!(cache.stats().pending_clears, 0);
}

#[tokio::test]
async fn who_reads_after_the_write_was_answered_sees_it() {
    static NAME: Mutex<String> = Mutex::new(String::new());

    #[smart_cache("name")]
    async fn name() -> String {
        NAME.lock().unwrap().clone()
    }

    #[clears_cache("name")]
    async fn rename(Path(new): Path<String>) {
        *NAME.lock().unwrap() = new;
    }

    let (caches, _server) = every_kind().await;
    for cache in caches {
        let app: Router = Router::new()
            .route("/name", on_get(name))
            .route("/name/{new}", post(rename))
            .layer(Extension(cache));
        for round in 0..50 {
            ask(&app, Method::POST, &format!("/name/n{round}"), &[]).await;
            for _ in 0..2 {
                assert_eq!(get(&app, "/name").await.text(), format!("n{round}"));
            }
        }
    }
}

#[tokio::test]
async fn called_as_a_function_a_write_clears_and_gives_its_value_back() {
    #[smart_cache("direct:{id}", cache = "clears_attribute_direct")]
    async fn direct(Path(id): Path<u64>) -> String {
        id.to_string()
    }

    #[clears_cache("direct:{id}", cache = "clears_attribute_direct")]
    async fn change(Path(id): Path<u64>) -> Result<String, String> {
        if id == 0 {
            Err("no such row".to_owned())
        } else {
            Ok((id + 1).to_string())
        }
    }

    let cache = in_memory().await;
    install_named("clears_attribute_direct", cache.clone()).unwrap();
    let app: Router = Router::new().route("/direct/{id}", on_get(direct));
    for id in [7, 0] {
        get(&app, &format!("/direct/{id}")).await;
    }
    stored(&cache, 2).await;
    assert_eq!(
        change((uncached(), Path(7))).await.into_value(),
        Ok("8".to_owned())
    );
    assert!(!is_hit(&app, "/direct/7").await);
    assert_eq!(
        change((uncached(), Path(0))).await.into_value(),
        Err("no such row".to_owned())
    );
    assert!(
        !is_hit(&app, "/direct/0").await,
        "an Err says nothing about the commit"
    );
    assert_eq!(direct((uncached(), Path(7))).await.into_value(), "7");
}
