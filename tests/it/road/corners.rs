//! Corners that a review found: each of these was stale, shared, lost or slow once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get as on_get;
use axum::{Extension, Router};
use smart_cache::backend::{Backend, MemoryBackend};
use smart_cache::{
    Cached, SmartCache, clear_cache, clear_cache_blocking, clears_cache, depends_on, smart_cache,
    uncached,
};
use smart_cache_tests::harness::{Chaos, Gate, RedisServer, eventually, within};

use super::{HIT, STORED, get, in_memory, memory, redis_at, status_of, stored};

#[smart_cache("corner:{id}")]
async fn corner(Path(id): Path<String>) -> String {
    id
}

/// A page, with handlers that clear it in other ways than by awaiting `clear_cache`.
fn app(cache: &SmartCache) -> Router {
    #[clears_cache("unrelated")]
    async fn blocking() -> &'static str {
        clear_cache_blocking("corner:1").unwrap();
        "cleared"
    }
    #[clears_cache("unrelated")]
    async fn spawned() -> &'static str {
        tokio::spawn(clear_cache("corner:1"))
            .await
            .unwrap()
            .unwrap();
        "cleared"
    }
    #[clears_cache("corner:1")]
    async fn inner() -> &'static str {
        "written"
    }
    #[clears_cache("unrelated")]
    async fn called() -> &'static str {
        let called: Cached<&'static str> = inner(uncached()).await;
        called.into_value()
    }
    Router::new()
        .route("/page/{id}", on_get(corner))
        .route("/blocking", on_get(blocking))
        .route("/spawned", on_get(spawned))
        .route("/called", on_get(called))
        .layer(Extension(cache.clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_clear_inside_a_handler_clears_that_handlers_cache() {
    let cache = in_memory().await;
    let app = app(&cache);
    for way in ["/blocking", "/spawned", "/called"] {
        let before = cache.stats().stored;
        get(&app, "/page/1").await;
        stored(&cache, before + 1).await;
        assert_eq!(status_of(&get(&app, "/page/1").await), HIT);
        get(&app, way).await;
        assert_eq!(status_of(&get(&app, "/page/1").await), STORED, "{way}");
        stored(&cache, before + 2).await;
        cache.clear("corner:1").await.unwrap();
    }
}

#[test]
fn a_clear_that_its_runtime_drops_is_pending_and_lands_on_the_next() {
    #[clears_cache("corner:1")]
    async fn never_ends(State(gate): State<Gate>) -> &'static str {
        gate.pass().await;
        "written"
    }
    let cache = memory_cache();
    let gate = Gate::new();
    let pages = app(&cache);
    let writes: Router = Router::new()
        .route("/", on_get(never_ends))
        .layer(Extension(cache.clone()))
        .with_state(gate.clone());
    let first = runtime();
    first.block_on(async {
        get(&pages, "/page/1").await;
        stored(&cache, 1).await;
        drop(tokio::spawn(async move { get(&writes, "/").await }));
        gate.begun().await;
    });
    // The write's guard clears while the runtime is shutting down.
    drop(first);
    runtime().block_on(async {
        assert_ne!(status_of(&get(&pages, "/page/1").await), HIT);
        eventually("the clear to land", async || {
            (cache.stats().pending_clears == 0).then_some(())
        })
        .await;
        assert_ne!(
            status_of(&get(&pages, "/page/1").await),
            HIT,
            "nothing from before the clear"
        );
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn memory_cache() -> SmartCache {
    runtime().block_on(in_memory())
}

#[tokio::test]
async fn a_memory_backend_tells_every_tier_in_front_of_it() {
    let backend = Arc::new(MemoryBackend::new(
        1 << 20,
        Duration::from_secs(10),
        Duration::ZERO,
        100,
    ));
    let cache = memory()
        .custom_backend(Arc::clone(&backend) as Arc<dyn Backend>)
        .build()
        .await
        .unwrap();
    let app = app(&cache);
    for clear_all in [false, true] {
        let before = cache.stats().stored;
        get(&app, "/page/1").await;
        stored(&cache, before + 1).await;
        for _ in 0..3 {
            assert_eq!(status_of(&get(&app, "/page/1").await), HIT);
        }
        assert!(cache.stats().local_hits > 0);
        // Not through the cache: another one shares the backend.
        if clear_all {
            backend.clear_all().await.unwrap();
        } else {
            backend.clear(&["corner:1".to_owned()]).await.unwrap();
        }
        assert_eq!(status_of(&get(&app, "/page/1").await), STORED);
        stored(&cache, before + 2).await;
        cache.clear_all().await.unwrap();
    }
}

#[tokio::test]
async fn what_a_response_says_while_it_is_made_is_heard() {
    struct Rendered;
    impl IntoResponse for Rendered {
        fn into_response(self) -> Response {
            assert!(depends_on("rendered-row"));
            "rendered".into_response()
        }
    }
    #[smart_cache("rendered")]
    async fn rendered() -> Rendered {
        Rendered
    }
    let cache = in_memory().await;
    let app: Router = Router::new()
        .route("/", on_get(rendered))
        .layer(Extension(cache.clone()));
    while cache.stats().stored == 0 {
        get(&app, "/").await;
        tokio::task::yield_now().await;
    }
    assert_eq!(status_of(&get(&app, "/").await), HIT);
    cache.clear("rendered-row").await.unwrap();
    assert_ne!(status_of(&get(&app, "/").await), HIT);
}

#[tokio::test]
async fn a_request_that_leaves_during_its_ticket_leaves_no_lease_behind() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let cache = redis_at(&chaos.url()).build().await.unwrap();
    let app = app(&cache);
    get(&app, "/page/warm").await;
    stored(&cache, 1).await;
    // Of the commands of a miss only the ticket names a lease before the handler runs.
    let mut held = chaos.hold("{n}:l:");
    let leaving = tokio::spawn({
        let app = app.clone();
        async move { get(&app, "/page/1").await }
    });
    within("the ticket", held.arrived()).await;
    leaving.abort();
    held.release();
    let began = Instant::now();
    let answer = get(&app, "/page/1").await;
    assert!(
        ["smart-cache; fwd=miss; stored", HIT].contains(&status_of(&answer)),
        "{answer:?}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn many_entries_with_found_tags_are_looked_up_side_by_side() {
    #[smart_cache("list:{id}")]
    async fn list(Path(id): Path<u32>) -> String {
        depends_on(format!("list-row:{id}"));
        id.to_string()
    }
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let cache = redis_at(&chaos.url())
        .local_capacity(0)
        .build()
        .await
        .unwrap();
    let app: Router = Router::new()
        .route("/{id}", on_get(list))
        .layer(Extension(cache.clone()));
    for id in 0..40 {
        let before = cache.stats().stored;
        while cache.stats().stored == before {
            get(&app, &format!("/{id}")).await;
            tokio::task::yield_now().await;
        }
    }
    // Forty round trips one after the other would take longer than a request waits.
    chaos.delay(Duration::from_millis(20));
    let impatient = redis_at(&chaos.url())
        .local_capacity(0)
        .timeout(Duration::from_millis(400))
        .build()
        .await
        .unwrap();
    let app: Router = Router::new()
        .route("/{id}", on_get(list))
        .layer(Extension(impatient));
    let asked: Vec<_> = (0..40)
        .map(|id| {
            let app = app.clone();
            tokio::spawn(async move { status_of(&get(&app, &format!("/{id}")).await).to_owned() })
        })
        .collect();
    for answer in asked {
        assert_eq!(answer.await.unwrap(), HIT);
    }
}

#[tokio::test]
async fn what_a_layer_makes_of_the_target_tells_answers_apart() {
    #[derive(serde::Deserialize)]
    struct Lang {
        lang: String,
    }
    #[smart_cache("greeting")]
    async fn greeting(Query(Lang { lang }): Query<Lang>) -> String {
        lang
    }
    // As a layer does that negotiates the language.
    async fn negotiate(mut request: Request) -> Request {
        let lang = request.headers()["accept-language"]
            .to_str()
            .unwrap()
            .to_owned();
        *request.uri_mut() = format!("/greeting?lang={lang}").parse().unwrap();
        request
    }
    let cache = in_memory().await;
    let app: Router = Router::new()
        .route(
            "/greeting",
            on_get(greeting).layer(axum::middleware::map_request(negotiate)),
        )
        .layer(Extension(cache));
    for lang in ["de", "en", "de", "en"] {
        let request = http::Request::get("/greeting")
            .header("accept-language", lang)
            .body(Body::empty())
            .unwrap();
        let response = tower::ServiceExt::oneshot(app.clone(), request)
            .await
            .unwrap();
        assert_eq!(super::whole(response).await.unwrap().text(), lang);
    }
}

#[tokio::test]
async fn any_text_may_stand_in_a_key() {
    let server = RedisServer::start().await;
    let nasty = [
        "a:b",
        "a*b?[c]",
        "%00%01%7f",
        "%E2%82%AC%F0%9F%A6%80",
        "%D7%A9%D7%9C",
        "#",
        "##",
        "{}",
        "%20",
        "a%2Fb",
        &"x".repeat(10_000),
    ];
    for cache in [
        in_memory().await,
        redis_at(&server.url()).build().await.unwrap(),
    ] {
        let app = app(&cache);
        for (at, text) in nasty.iter().enumerate() {
            let path = format!(
                "/page/{}",
                text.replace('#', "%23")
                    .replace('?', "%3F")
                    .replace('{', "%7B")
                    .replace('}', "%7D")
            );
            let first = get(&app, &path).await;
            stored(&cache, at as u64 + 1).await;
            assert_eq!(status_of(&get(&app, &path).await), HIT, "{text}");
            cache
                .clear(format!("corner:{}", first.text()))
                .await
                .unwrap();
        }
        for (at, text) in nasty.iter().enumerate() {
            let path = format!(
                "/page/{}",
                text.replace('#', "%23")
                    .replace('?', "%3F")
                    .replace('{', "%7B")
                    .replace('}', "%7D")
            );
            assert_eq!(status_of(&get(&app, &path).await), STORED, "{text}");
            stored(&cache, (nasty.len() + at) as u64 + 1).await;
        }
    }
}
