//! Answers that expire as they say themselves, where that is honoured.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get as on_get;
use axum::{Extension, Router};
use http::StatusCode;
use smart_cache::{SmartCache, layer, smart_cache};
use smart_cache_tests::harness::eventually;

use super::{HIT, STORED, get, in_memory, status_of};

/// Status and `Cache-Control` of the next answer.
type Next = Arc<Mutex<(u16, &'static str)>>;

async fn plain(State(next): State<Next>) -> Response {
    let (status, control) = *next.lock().unwrap();
    let status = StatusCode::from_u16(status).unwrap();
    (status, [("cache-control", control)], "page").into_response()
}

#[smart_cache("honouring", status(200, 404), honour_freshness = true)]
async fn honouring(State(next): State<Next>) -> Response {
    plain(State(next)).await
}

#[smart_cache("careless", status(200, 404))]
async fn careless(State(next): State<Next>) -> Response {
    plain(State(next)).await
}

async fn fronts() -> (Vec<Router>, Next, SmartCache) {
    let (next, cache) = (Next::default(), in_memory().await);
    let around = layer("honouring-layer")
        .status([200, 404])
        .honour_freshness();
    let apps = [
        Router::new().route("/", on_get(honouring)),
        Router::new().route("/", on_get(plain)).layer(around),
    ];
    let apps = apps.map(|app| {
        app.layer(Extension(cache.clone()))
            .with_state(Arc::clone(&next))
    });
    (apps.into(), next, cache)
}

#[tokio::test]
async fn an_answer_that_is_not_fresh_is_not_kept() {
    let (apps, next, cache) = fronts().await;
    for app in apps {
        for (status, control, is_kept) in [
            (200, "max-age=60", true),
            (200, "max-age=0", false),
            (200, "s-maxage=0, max-age=60", false),
            (200, "max-age=x", false),
            (200, "must-revalidate", false),
            (200, "must-revalidate, max-age=60", true),
            (200, "public", true),
            (404, "public", false),
            (404, "max-age=60", true),
        ] {
            cache.clear_all().await.unwrap();
            *next.lock().unwrap() = (status, control);
            let first = get(&app, "/").await;
            let expected = if is_kept {
                STORED
            } else {
                "smart-cache; fwd=bypass; detail=expired"
            };
            assert_eq!(status_of(&first), expected, "{status} {control}");
            let second = get(&app, "/").await;
            assert_eq!(status_of(&second) == HIT, is_kept, "{status} {control}");
        }
    }
}

#[tokio::test]
async fn an_answer_ends_when_it_said_it_would() {
    let (apps, next, _) = fronts().await;
    *next.lock().unwrap() = (200, "max-age=1");
    for app in apps {
        get(&app, "/").await;
        assert_eq!(status_of(&get(&app, "/").await), HIT);
        eventually("the answer's end", async || {
            (status_of(&get(&app, "/").await) == STORED).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn without_the_option_answers_stay_whatever_they_tell_browsers() {
    let (next, cache) = (Next::default(), in_memory().await);
    let app = Router::new()
        .route("/", on_get(careless))
        .layer(Extension(cache))
        .with_state(Arc::clone(&next));
    *next.lock().unwrap() = (404, "max-age=0, must-revalidate");
    get(&app, "/").await;
    assert_eq!(status_of(&get(&app, "/").await), HIT);
}
