//! Where a layer may stand, and what stands behind it.

use std::convert::Infallible;

use axum::extract::{OriginalUri, Path, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get as on_get;
use axum::{Extension, Router};
use http::{Method, StatusCode};
use smart_cache::{layer, registry, smart_cache};
use smart_cache_tests::harness::{Gate, serve};
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::{HIT, STORED, ask, every_kind, get, in_memory, run, status_of, stored};

#[tokio::test]
async fn a_closure_is_cached_for_ever_and_cleared_exactly() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::opened();
        let counted = gate.clone();
        let front = on_get(async move || counted.pass().await.to_string());
        let app: Router = Router::new()
            .route("/", front.layer(layer("front")))
            .layer(Extension(cache.clone()));
        let first = get(&app, "/").await;
        assert_eq!((status_of(&first), first.text().as_str()), (STORED, "1"));
        stored(&cache, 1).await;
        let second = get(&app, "/").await;
        assert_eq!((status_of(&second), second.text().as_str()), (HIT, "1"));
        cache.clear("fron").await.unwrap();
        assert_eq!(get(&app, "/").await.text(), "1");
        cache.clear("front").await.unwrap();
        assert_eq!(get(&app, "/").await.text(), "2");
    }
}

#[tokio::test]
async fn a_nested_router_counts_the_whole_path() {
    async fn shown(State(gate): State<Gate>, OriginalUri(uri): OriginalUri) -> String {
        format!("{uri} {}", gate.pass().await)
    }

    let pages = || {
        Router::new()
            .route("/page", on_get(shown))
            .layer(layer("pages"))
    };
    let app: Router = Router::new()
        .nest("/a", pages())
        .nest("/b", pages().nest("/c", pages()))
        .layer(Extension(in_memory().await))
        .with_state(Gate::opened());
    for _ in 0..2 {
        assert_eq!(get(&app, "/a/page").await.text(), "/a/page 1");
        assert_eq!(get(&app, "/b/page").await.text(), "/b/page 2");
        assert_eq!(get(&app, "/b/c/page").await.text(), "/b/c/page 3");
    }
}

#[tokio::test]
async fn a_layer_around_the_whole_site_covers_its_fallback() {
    let cache = in_memory().await;
    let site: Router = Router::new()
        .route("/page", on_get(run))
        .fallback(run)
        .with_state(Gate::opened());
    // Outside the router: nothing has told the target apart from what routers strip.
    let service = layer("site").cache(cache).layer(site);
    let ask = async |path: &str| {
        let request = Request::get(path).body(axum::body::Body::empty()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        super::whole(response).await.unwrap()
    };
    for (path, text) in [("/page", "1"), ("/nowhere", "2"), ("/nowhere/else", "3")] {
        assert_eq!(ask(path).await.text(), text);
        let again = ask(path).await;
        assert_eq!((status_of(&again), again.text().as_str()), (HIT, text));
    }
}

#[tokio::test]
async fn a_fallback_that_finds_nothing_is_not_kept_unless_listed() {
    let cache = in_memory().await;
    let app = |statuses: &[u16]| -> Router {
        Router::new()
            .fallback(|| async { StatusCode::NOT_FOUND })
            .layer(
                layer("missing")
                    .status(statuses.to_vec())
                    .cache(cache.clone()),
            )
    };
    let strict = app(&[]);
    get(&strict, "/x").await;
    assert_eq!(
        status_of(&get(&strict, "/x").await),
        "smart-cache; fwd=bypass; detail=status"
    );
    let listing = app(&[200, 404]);
    get(&listing, "/x").await;
    let again = get(&listing, "/x").await;
    assert_eq!(
        (status_of(&again), again.status),
        (HIT, StatusCode::NOT_FOUND)
    );
}

#[tokio::test]
async fn any_service_that_axum_takes_can_stand_behind_it() {
    let gate = Gate::opened();
    let counted = gate.clone();
    let foreign = service_fn(move |request: Request| {
        let gate = counted.clone();
        async move {
            let text = format!("{} {}", request.uri().path(), gate.pass().await);
            Ok::<Response, Infallible>(text.into_response())
        }
    });
    let app: Router = Router::new()
        .route_service("/one", layer("foreign").layer(foreign.clone()))
        .nest_service("/below", layer("foreign").layer(foreign))
        .layer(Extension(in_memory().await));
    for _ in 0..2 {
        assert_eq!(get(&app, "/one").await.text(), "/one 1");
        assert_eq!(get(&app, "/below/x").await.text(), "/x 2");
    }
}

#[tokio::test]
async fn head_is_answered_from_the_stored_get_and_never_stored() {
    async fn branching(State(gate): State<Gate>, method: Method) -> Response {
        gate.pass().await;
        // A HEAD that is worked out without the body, as handlers do to save work.
        if method == Method::HEAD {
            return [("x-cheap", "1")].into_response();
        }
        "the whole page".into_response()
    }

    let cache = in_memory().await;
    let gate = Gate::opened();
    let router = Router::new()
        .route("/", on_get(branching))
        .with_state(gate.clone());
    for (at, app) in [
        router.clone().layer(layer("head").cache(cache.clone())),
        Router::new().fallback_service(layer("head-outside").cache(cache.clone()).layer(router)),
    ]
    .into_iter()
    .enumerate()
    {
        let head = async || ask(&app, Method::HEAD, "/", &[]).await;
        let first = head().await;
        assert_eq!(status_of(&first), "smart-cache; fwd=miss; detail=head");
        assert!(first.headers.contains_key("x-cheap"));
        let page = get(&app, "/").await;
        assert_eq!(
            (status_of(&page), page.text().as_str()),
            (STORED, "the whole page")
        );
        stored(&cache, 1 + at as u64).await;
        let runs = gate.runs();
        let again = head().await;
        assert_eq!((status_of(&again), again.body.len()), (HIT, 0));
        assert_eq!(again.headers["content-length"], "14");
        assert_eq!(get(&app, "/").await.text(), "the whole page");
        assert_eq!(gate.runs(), runs);
    }
}

#[tokio::test]
async fn a_head_over_a_connection_has_no_body() {
    let cache = in_memory().await;
    let app = Router::new()
        .route("/", on_get(|| async { "page" }))
        .layer(layer("head").cache(cache));
    let served = serve(app).await;
    served.client().get("/").await;
    let head = served.client().request(Method::HEAD, "/").await;
    assert_eq!(head.headers()["cache-status"], HIT);
    assert_eq!(head.headers()["content-length"], "4");
    assert!(head.body().is_empty());
}

#[tokio::test]
async fn two_layers_keep_a_copy_each() {
    let cache = in_memory().await;
    let app: Router = Router::new()
        .route("/", on_get(run).layer(layer("inner").cache(cache.clone())))
        .layer(layer("outer").cache(cache.clone()))
        .with_state(Gate::opened());
    let first = get(&app, "/").await;
    assert_eq!(first.text(), "1");
    assert_eq!(first.headers.get_all("cache-status").iter().count(), 2);
    stored(&cache, 2).await;
    cache.clear("inner").await.unwrap();
    assert_eq!(get(&app, "/").await.text(), "1", "the outer copy");
    cache.clear("outer").await.unwrap();
    assert_eq!(get(&app, "/").await.text(), "2");
    cache.clear("outer").await.unwrap();
    assert_eq!(get(&app, "/").await.text(), "2", "the inner copy");
}

#[tokio::test]
async fn one_layer_twice_on_the_way_does_not_wait_for_itself() {
    let cache = in_memory().await;
    let twice = layer("twice").cache(cache.clone());
    let app: Router = Router::new()
        .route("/page", on_get(run))
        .layer(twice.clone())
        .layer(twice)
        .with_state(Gate::opened());
    let before = std::time::Instant::now();
    assert_eq!(get(&app, "/page").await.text(), "1");
    assert!(before.elapsed() < std::time::Duration::from_secs(1));
    assert_eq!(get(&app, "/page").await.text(), "1");
    assert_eq!((cache.stats().misses, cache.stats().hits), (2, 1));
}

#[tokio::test]
async fn a_layer_around_an_annotated_handler_keeps_its_own_copy() {
    #[smart_cache("product:{id}", tags("products"))]
    async fn product(State(gate): State<Gate>, Path(id): Path<u64>) -> String {
        format!("{id} {}", gate.pass().await)
    }

    let cache = in_memory().await;
    let app: Router = Router::new()
        .route("/product/{id}", on_get(product))
        .layer(layer("site").tags(|_| "products"))
        .layer(Extension(cache.clone()))
        .with_state(Gate::opened());
    assert_eq!(get(&app, "/product/7").await.text(), "7 1");
    stored(&cache, 2).await;
    cache.clear("product:7").await.unwrap();
    assert_eq!(get(&app, "/product/7").await.text(), "7 1");
    cache.clear("products").await.unwrap();
    assert_eq!(get(&app, "/product/7").await.text(), "7 2");
}

#[tokio::test]
async fn a_thousand_requests_for_a_cold_page_run_it_once() {
    let cache = in_memory().await;
    let gate = Gate::new();
    let app: Router = Router::new()
        .route("/", on_get(run))
        .layer(layer("cold").cache(cache.clone()))
        .with_state(gate.clone());
    let all: Vec<_> = (0..1000)
        .map(|_| {
            let app = app.clone();
            tokio::spawn(async move { get(&app, "/").await.text() })
        })
        .collect();
    gate.begun().await;
    gate.open_for_all();
    for one in all {
        assert_eq!(one.await.unwrap(), "1");
    }
    assert_eq!(gate.runs(), 1);
}

#[tokio::test]
async fn a_clear_during_the_run_discards_its_answer() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::new();
        let app: Router = Router::new()
            .route("/", on_get(run))
            .layer(layer("raced").cache(cache.clone()))
            .with_state(gate.clone());
        let reading = tokio::spawn({
            let app = app.clone();
            async move { get(&app, "/").await.text() }
        });
        gate.begun().await;
        cache.clear("raced").await.unwrap();
        gate.open_for_all();
        assert_eq!(reading.await.unwrap(), "1");
        assert_eq!(get(&app, "/").await.text(), "2");
    }
}

#[tokio::test]
async fn the_registry_lists_layers_with_their_place() {
    let _layer = layer("listed-layer");
    let line = line!() - 1;
    let listed = registry().layers;
    let found = listed.iter().find(|listed| listed.key == "listed-layer");
    assert_eq!(found.unwrap().place, (file!(), line));
}

#[test]
#[should_panic(expected = "an empty key names nothing")]
fn an_empty_key_is_refused_where_the_layer_is_made() {
    let _ = layer("");
}

#[test]
#[should_panic(expected = "\"Accept\" is not the name of a header in lower case")]
fn a_header_that_cannot_be_one_is_refused_where_the_layer_is_made() {
    let _ = layer("x").vary(["Accept"]);
}
