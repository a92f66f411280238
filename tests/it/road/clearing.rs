//! A clear is seen by the very next request, wherever it is made.

use axum::extract::{Path, State};
use axum::routing::get as on_get;
use axum::{Extension, Router};
use futures_util::FutureExt as _;
use smart_cache::{ClearError, SmartCache, smart_cache};
use smart_cache_tests::harness::{Gate, RedisServer};

use super::{HIT, STORED, every_kind, get, redis_at, status_of, stored};

#[smart_cache("product:{id}", tags("products", "parity:{even}"))]
async fn product(State(gate): State<Gate>, Path(Id { id, even }): Path<Id>) -> String {
    let _ = even;
    format!("{id} {}", gate.pass().await)
}

#[derive(serde::Deserialize)]
struct Id {
    id: u64,
    even: bool,
}

fn app(cache: &SmartCache, gate: &Gate) -> Router {
    Router::new()
        .route("/product/{id}/{even}", on_get(product))
        .layer(Extension(cache.clone()))
        .with_state(gate.clone())
}

async fn is_hit(app: &Router, id: u64) -> bool {
    let answer = get(app, &format!("/product/{id}/{}", id.is_multiple_of(2))).await;
    match status_of(&answer) {
        HIT => true,
        STORED => false,
        other => panic!("{other}"),
    }
}

async fn check(keys: &[&str], gone: &[u64]) {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::opened();
        let app = app(&cache, &gate);
        for id in 1..=4 {
            is_hit(&app, id).await;
        }
        stored(&cache, 4).await;
        cache.clear(keys).await.unwrap();
        for id in 1..=4 {
            assert_eq!(
                is_hit(&app, id).await,
                !gone.contains(&id),
                "{keys:?} and {id}"
            );
        }
    }
}

#[tokio::test]
async fn a_clear_takes_what_depends_on_it_and_nothing_else() {
    check(&["product:1"], &[1]).await;
    check(&["product:1", "product:4"], &[1, 4]).await;
    check(&["products"], &[1, 2, 3, 4]).await;
    check(&["parity:true"], &[2, 4]).await;
    check(&["parity:false", "product:2"], &[1, 2, 3]).await;
    check(
        &[
            "product",
            "product:",
            "product:*",
            "parity",
            "PRODUCTS",
            "product:11",
        ],
        &[],
    )
    .await;
    check(&[], &[]).await;
}

#[tokio::test]
async fn a_clear_of_everything_takes_everything() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::opened();
        let app = app(&cache, &gate);
        for _ in 0..2 {
            for id in 1..=4 {
                assert!(!is_hit(&app, id).await);
            }
            cache.clear_all().await.unwrap();
        }
        assert!(!is_hit(&app, 1).await);
        assert!(is_hit(&app, 1).await, "and it fills again");
    }
}

#[tokio::test]
async fn clear_and_refill_take_turns_without_end() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::opened();
        let app = app(&cache, &gate);
        for round in 1..=50 {
            assert!(!is_hit(&app, 1).await, "round {round}");
            assert!(is_hit(&app, 1).await, "round {round}");
            cache
                .clear(["product:1", "products", "parity:false"][round % 3])
                .await
                .unwrap();
        }
        assert_eq!(gate.runs(), 50);
    }
}

#[tokio::test]
async fn a_clear_is_seen_by_every_process_at_once() {
    let server = RedisServer::start().await;
    let mut nodes = Vec::new();
    let gate = Gate::opened();
    for _ in 0..3 {
        let cache = redis_at(&server.url()).build().await.unwrap();
        nodes.push((app(&cache, &gate), cache));
    }
    for round in 0..12 {
        for (app, _) in &nodes {
            is_hit(app, 1).await;
        }
        nodes[round % 3].1.clear("product:1").await.unwrap();
        let runs = gate.runs();
        for (at, (app, _)) in nodes.iter().enumerate() {
            let answer = get(app, "/product/1/false").await;
            assert_eq!(
                answer.text(),
                format!("1 {}", runs + 1),
                "node {at}, round {round}"
            );
        }
    }
}

#[tokio::test]
async fn the_blocking_clear_is_seen_at_once_too() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::opened();
        let app = app(&cache, &gate);
        is_hit(&app, 1).await;
        stored(&cache, 1).await;
        cache.clear_blocking("products").unwrap();
        assert!(!is_hit(&app, 1).await);
        stored(&cache, 2).await;
        cache.clear_all_blocking().unwrap();
        assert!(!is_hit(&app, 1).await);
    }
}

#[tokio::test]
async fn an_empty_key_is_refused_and_nothing_is_cleared() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::opened();
        let app = app(&cache, &gate);
        is_hit(&app, 1).await;
        let refused = cache.clear(["product:1", ""]).await;
        assert!(matches!(refused, Err(ClearError::EmptyKey)), "{refused:?}");
        assert!(is_hit(&app, 1).await);
    }
}

#[tokio::test]
async fn a_clear_that_nobody_waits_for_goes_on() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::opened();
        let app = app(&cache, &gate);
        is_hit(&app, 1).await;
        stored(&cache, 1).await;
        let clears = cache.stats().clears;
        {
            let mut clearing = std::pin::pin!(cache.clear("product:1"));
            // Polled once, then dropped, as when the client has gone.
            assert!(clearing.as_mut().now_or_never().is_none());
        }
        smart_cache_tests::harness::eventually("the clear to land", async || {
            (cache.stats().clears > clears).then_some(())
        })
        .await;
        assert!(!is_hit(&app, 1).await);
    }
}
