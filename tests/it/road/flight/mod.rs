//! One handler run for all who miss at once, and nobody stranded.

mod ends;
mod nodes;

use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get as on_get;
use axum::{Extension, Router};
use smart_cache::{SmartCache, depends_on, smart_cache};
use smart_cache_tests::harness::{Gate, RedisServer, eventually, within};
use tokio::task::{JoinHandle, JoinSet};

use super::{Answer, COLLAPSED, HIT, STORED, every_kind, get, in_memory, status_of, stored};

#[smart_cache("page:{id}", tags("pages"))]
async fn page(State(gate): State<Gate>, Path(id): Path<u64>) -> String {
    format!("{id} {}", gate.pass().await)
}

#[smart_cache("private:{id}")]
async fn private(State(gate): State<Gate>, Path(id): Path<u64>) -> Response {
    let run = gate.pass().await;
    ([("cache-control", "private")], format!("{id} {run}")).into_response()
}

/// Panics in its first run.
#[smart_cache("panics:{id}")]
async fn panics(State(gate): State<Gate>, Path(id): Path<u64>) -> String {
    let run = gate.pass().await;
    assert!(run > 1, "as a handler would");
    format!("{id} {run}")
}

fn app(cache: &SmartCache, gate: &Gate) -> Router {
    Router::new()
        .route("/page/{id}", on_get(page))
        .route("/private/{id}", on_get(private))
        .route("/panics/{id}", on_get(panics))
        .layer(Extension(cache.clone()))
        .with_state(gate.clone())
}

fn asking(app: &Router, path: &'static str) -> JoinHandle<Answer> {
    let app = app.clone();
    tokio::spawn(async move { get(&app, path).await })
}

/// Both kinds of cache, with the tokens of the page there or not yet.
async fn worlds() -> (Vec<(SmartCache, bool)>, (RedisServer, RedisServer)) {
    let ((cold, one), (warm, other)) = (every_kind().await, every_kind().await);
    let cold = cold.into_iter().map(|cache| (cache, false));
    let warm = warm.into_iter().map(|cache| (cache, true));
    (cold.chain(warm).collect(), (one, other))
}

/// An application whose page misses; its tokens are there if `is_warm`.
async fn missing(cache: &SmartCache, is_warm: bool, path: &'static str) -> (Router, Gate) {
    let gate = Gate::new();
    let app = app(cache, &gate);
    if is_warm {
        // Another variant of the same key brings the tokens.
        let other: Router = Router::new()
            .route("/other/{id}", on_get(page))
            .layer(Extension(cache.clone()))
            .with_state(Gate::opened());
        let id = path.rsplit('/').next().unwrap();
        get(&other, &format!("/other/{id}")).await;
        stored(cache, 1).await;
    }
    (app, gate)
}

/// Lets everybody who can move do so: long enough for a few round trips, and nothing is proved by
/// it being longer.
async fn settle_down() {
    tokio::time::sleep(Duration::from_millis(120)).await;
}

#[tokio::test]
async fn a_hundred_requests_at_once_are_one_run() {
    let (worlds, _servers) = worlds().await;
    for (cache, is_warm) in worlds {
        let (app, gate) = missing(&cache, is_warm, "/page/7").await;
        let mut asked = JoinSet::new();
        for _ in 0..100 {
            let app = app.clone();
            asked.spawn(async move { get(&app, "/page/7").await });
        }
        gate.begun().await;
        gate.open_for_all();
        let answers = within("all answers", asked.join_all()).await;
        assert!(answers.iter().all(|answer| answer.text() == "7 1"));
        assert_eq!(gate.runs(), 1, "{} warm {is_warm}", cache.describe());
        let with = |status| {
            answers
                .iter()
                .filter(|answer| status_of(answer) == status)
                .count()
        };
        assert_eq!(with(STORED), 1);
        assert_eq!(with(COLLAPSED) + with(HIT), 99);
    }
}

/// The first store of a list meets a tag that nobody knew, so its followers have to look again.
#[tokio::test]
async fn a_hundred_requests_at_once_for_a_list_with_a_new_row_are_two_runs() {
    #[smart_cache("list")]
    async fn list(State(gate): State<Gate>) -> String {
        depends_on("row");
        gate.pass().await.to_string()
    }
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::new();
        let app: Router = Router::new()
            .route("/list", on_get(list))
            .layer(Extension(cache.clone()))
            .with_state(gate.clone());
        let asked: Vec<_> = (0..100).map(|_| asking(&app, "/list")).collect();
        gate.begun().await;
        settle_down().await;
        gate.open_for_all();
        for task in asked {
            within("an answer", task).await.unwrap();
        }
        assert_eq!(gate.runs(), 2, "{}", cache.describe());
        assert_eq!(cache.stats().flights, 0);
    }
}

#[tokio::test]
async fn different_pages_do_not_wait_for_each_other() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::new();
        let app = app(&cache, &gate);
        let one = asking(&app, "/page/1");
        gate.begun().await;
        let two = asking(&app, "/page/2");
        gate.begun().await;
        gate.open_for_all();
        assert_eq!(
            (one.await.unwrap().text(), two.await.unwrap().text()),
            ("1 1".to_owned(), "2 2".to_owned())
        );
    }
}

/// Schedule 8: who comes after the clear must not be given what was computed from before it.
#[tokio::test]
async fn a_request_after_a_clear_does_not_join_the_flight_from_before_it() {
    for wish in ["page:7", "pages", ""] {
        let (worlds, _servers) = worlds().await;
        for (cache, is_warm) in worlds {
            let (app, gate) = missing(&cache, is_warm, "/page/7").await;
            let before = asking(&app, "/page/7");
            gate.begun().await;
            if wish.is_empty() {
                cache.clear_all().await.unwrap();
            } else {
                cache.clear(wish).await.unwrap();
            }
            let after = asking(&app, "/page/7");
            gate.begun().await;
            assert_eq!(gate.runs(), 2, "{wish} {} warm {is_warm}", cache.describe());
            gate.open_for_all();
            assert_eq!(
                before.await.unwrap().text(),
                "7 1",
                "it had asked before the clear"
            );
            assert_eq!(after.await.unwrap().text(), "7 2");
            // Whichever store came last: only the answer from after the clear is ever served.
            for _ in 0..10 {
                assert_eq!(get(&app, "/page/7").await.text(), "7 2");
            }
            assert_eq!(gate.runs(), 2);
        }
    }
}

#[tokio::test]
async fn the_answer_from_before_a_clear_is_not_stored_however_late_it_comes() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::new();
        let app = app(&cache, &gate);
        let before = asking(&app, "/page/7");
        gate.begun().await;
        cache.clear("pages").await.unwrap();
        gate.open_for_all();
        assert_eq!(before.await.unwrap().text(), "7 1");
        eventually("the refused store", async || {
            (cache.stats().refused_cleared == 1).then_some(())
        })
        .await;
        assert_eq!(get(&app, "/page/7").await.text(), "7 2");
    }
}

#[tokio::test]
async fn a_request_alone_leaves_no_flight_behind() {
    let cache = in_memory().await;
    let gate = Gate::opened();
    let app = app(&cache, &gate);
    get(&app, "/page/7").await;
    get(&app, "/private/7").await;
    assert_eq!(cache.stats().flights, 0);
}
