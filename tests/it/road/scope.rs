//! Tags that the handler finds while it runs: who is heard, and what falls with them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::{Path, State};
use axum::routing::get as on_get;
use axum::{Extension, Router};
use futures_util::StreamExt as _;
use futures_util::stream::{self, FuturesUnordered};
use smart_cache::{SmartCache, depends_on, in_scope, smart_cache};
use smart_cache_tests::harness::{Gate, eventually};

use super::{Answer, COLLAPSED, HIT, MISSED, every_kind, get, in_memory, status_of, stored};

/// How many rows were loaded, and how many of the loads were heard.
#[derive(Clone, Default)]
struct Rows {
    gate: Arc<AtomicUsize>,
    heard: Arc<AtomicUsize>,
}

impl Rows {
    fn heard(&self, is_heard: bool) {
        self.heard
            .fetch_add(usize::from(is_heard), Ordering::SeqCst);
    }

    async fn load(&self, id: u64) -> u64 {
        self.heard(depends_on(format!("row:{id}")));
        tokio::task::yield_now().await;
        id
    }
}

#[smart_cache("list:{way}", tags("lists"))]
async fn list(State(rows): State<Rows>, Path(way): Path<String>) -> String {
    let run = rows.gate.fetch_add(1, Ordering::SeqCst) + 1;
    match way.as_str() {
        "join" => {
            tokio::join!(rows.load(1), rows.load(2), rows.load(3));
        }
        "select" => {
            tokio::select! {
                biased;
                _ = async { rows.load(1).await; rows.load(2).await; std::future::pending::<()>().await } => {}
                _ = async { for _ in 0..9 { tokio::task::yield_now().await } rows.load(3).await; } => {}
            }
        }
        "buffered" => {
            stream::iter(1..=3)
                .map(|id| rows.load(id))
                .buffer_unordered(2)
                .collect::<Vec<_>>()
                .await;
        }
        "unordered" => {
            (1..=3)
                .map(|id| rows.load(id))
                .collect::<FuturesUnordered<_>>()
                .collect::<Vec<_>>()
                .await;
        }
        "boxed" => {
            for id in 1..=3 {
                Box::pin(rows.load(id)).await;
            }
        }
        "spawned" => {
            let rows = rows.clone();
            tokio::spawn(async move {
                for id in 1..=3 {
                    rows.load(id).await;
                }
            })
            .await
            .unwrap();
        }
        "thread" => {
            let rows = rows.clone();
            tokio::task::spawn_blocking(move || rows.heard(depends_on("row:1")))
                .await
                .unwrap();
        }
        "carried" => {
            let rows = rows.clone();
            let loading = async move {
                for id in 1..=3 {
                    rows.load(id).await;
                }
            };
            tokio::spawn(in_scope(loading)).await.unwrap();
        }
        "all at once" => {
            let is_heard = depends_on(["row:1", "row:2", "row:3"]);
            (0..3).for_each(|_| rows.heard(is_heard));
        }
        "declared too" => {
            for tag in [
                "row:1",
                "row:2",
                "row:3",
                "lists",
                "list:declared too",
                "",
                "row:1",
            ] {
                rows.heard(depends_on(tag));
            }
        }
        "one" => {
            rows.load(1).await;
        }
        other => panic!("no way {other}"),
    }
    format!("{way} {run}")
}

fn app(cache: &SmartCache, rows: &Rows) -> Router {
    Router::new()
        .route("/list/{way}", on_get(list))
        .layer(Extension(cache.clone()))
        .with_state(rows.clone())
}

/// Asks until the list is a hit: found tags that are new are refused once.
async fn warm(app: &Router, path: &str) -> Answer {
    eventually("a hit", async || {
        let answer = get(app, path).await;
        (status_of(&answer) == HIT).then_some(answer)
    })
    .await
}

async fn check_falls_with_each_row(way: &str) {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let rows = Rows::default();
        let app = app(&cache, &rows);
        let path = format!("/list/{way}");
        warm(&app, &path).await;
        assert!(rows.heard.load(Ordering::SeqCst) >= 3, "{way}");
        for row in [
            "row:1",
            "row:2",
            "row:3",
            "lists",
            &format!("list:{}", way.replace("%20", " ")),
        ] {
            let before = warm(&app, &path).await;
            cache.clear("row:4").await.unwrap();
            assert_eq!(
                get(&app, &path).await.body,
                before.body,
                "row 4 is none of it"
            );
            cache.clear(row).await.unwrap();
            assert_ne!(
                get(&app, &path).await.body,
                before.body,
                "{way} falls with {row}: {}",
                cache.describe()
            );
        }
    }
}

#[tokio::test]
async fn a_list_falls_with_each_of_its_rows_however_they_were_loaded() {
    for way in [
        "join",
        "buffered",
        "unordered",
        "boxed",
        "carried",
        "all%20at%20once",
        "declared%20too",
    ] {
        check_falls_with_each_row(way).await;
    }
}

#[tokio::test]
async fn what_select_awaited_is_heard() {
    check_falls_with_each_row("select").await;
}

#[tokio::test]
async fn a_spawned_task_and_a_thread_are_not_heard_and_are_told_so() {
    for way in ["spawned", "thread"] {
        let (cache, rows) = (in_memory().await, Rows::default());
        let app = app(&cache, &rows);
        warm(&app, &format!("/list/{way}")).await;
        assert_eq!(rows.heard.load(Ordering::SeqCst), 0, "{way}");
    }
}

#[tokio::test]
async fn outside_of_a_handler_nobody_hears() {
    assert!(!depends_on("row:1"));
    in_scope(async { assert!(!depends_on("row:1")) }).await;
}

#[tokio::test]
async fn a_handler_that_is_not_being_cached_is_told_that_nobody_hears() {
    let (cache, rows) = (SmartCache::off(), Rows::default());
    get(&app(&cache, &rows), "/list/join").await;
    assert_eq!(rows.heard.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_new_tag_is_refused_once_in_its_life() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let rows = Rows::default();
        let app = app(&cache, &rows);
        warm(&app, "/list/one").await;
        assert_eq!((cache.stats().refused_young, cache.stats().stored), (1, 1));
        for round in 2..10 {
            cache.clear("row:1").await.unwrap();
            warm(&app, "/list/one").await;
            assert_eq!(
                (cache.stats().refused_young, cache.stats().stored),
                (1, round)
            );
        }
    }
}

#[tokio::test]
async fn a_row_cleared_while_the_list_is_made_is_not_in_the_list_that_stays() {
    #[smart_cache("slow")]
    async fn slow(State(gate): State<Gate>) -> String {
        depends_on("slow-row");
        gate.pass().await.to_string()
    }
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::new();
        let app: Router = Router::new()
            .route("/slow", on_get(slow))
            .layer(Extension(cache.clone()))
            .with_state(gate.clone());
        for known in [false, true] {
            cache.clear("slow").await.unwrap();
            let making = tokio::spawn({
                let app = app.clone();
                async move { get(&app, "/slow").await }
            });
            gate.begun().await;
            cache.clear("slow-row").await.unwrap();
            let refused = cache.stats().refused_young;
            gate.open();
            let old = making.await.unwrap().text();
            eventually("the refused store", async || {
                (cache.stats().refused_young > refused).then_some(())
            })
            .await;
            let stores = cache.stats().stored;
            gate.open();
            let new = get(&app, "/slow").await;
            gate.begun().await;
            assert_ne!(new.text(), old, "known {known}: {}", cache.describe());
            stored(&cache, stores + 1).await;
        }
    }
}

#[tokio::test]
async fn followers_of_a_list_never_get_what_was_refused() {
    #[smart_cache("followed")]
    async fn followed(State(gate): State<Gate>) -> String {
        depends_on("followed-row");
        gate.pass().await.to_string()
    }
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::new();
        let app: Router = Router::new()
            .route("/followed", on_get(followed))
            .layer(Extension(cache.clone()))
            .with_state(gate.clone());
        let ask = || {
            let app = app.clone();
            tokio::spawn(async move { get(&app, "/followed").await })
        };
        let leader = ask();
        gate.begun().await;
        cache.clear("followed-row").await.unwrap();
        // It asks after the clear, of a tag that nobody can know yet, and meets the old flight.
        let follower = ask();
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        gate.open_for_all();
        assert_eq!(leader.await.unwrap().text(), "1");
        let answer = follower.await.unwrap();
        assert_ne!(answer.text(), "1", "computed before the clear: {answer:?}");
        assert!(
            [MISSED, COLLAPSED, HIT].contains(&status_of(&answer)),
            "{answer:?}"
        );
    }
}
