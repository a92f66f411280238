//! Soft clears behind a layer, and the encodings that it keeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get as on_get;
use http::{Method, StatusCode};
use smart_cache::{CacheLayer, SmartCache, layer};
use smart_cache_tests::harness::{Gate, eventually};

use super::{HIT, ask, get, in_memory, status_of, stored};

const EXPIRED: &str = "smart-cache; hit; detail=expired";

/// A handler's gate, and the status that it answers with.
#[derive(Clone)]
struct Shop {
    gate: Gate,
    says: Arc<AtomicU16>,
}

async fn answer(State(shop): State<Shop>) -> Response {
    let run = shop.gate.pass().await;
    match shop.says.load(Ordering::SeqCst) {
        200 => format!("run {run}").into_response(),
        status => (StatusCode::from_u16(status).unwrap(), "bad").into_response(),
    }
}

struct World {
    app: Router,
    cache: SmartCache,
    shop: Shop,
}

impl World {
    /// A site behind a layer with these options, whose first run has been stored; the next one waits
    /// at the gate.
    async fn filled(options: impl FnOnce(CacheLayer) -> CacheLayer) -> Self {
        let cache = in_memory().await;
        let shop = Shop {
            gate: Gate::new(),
            says: Arc::new(AtomicU16::new(200)),
        };
        let app = Router::new()
            .route("/", on_get(answer))
            .layer(options(layer("site").cache(cache.clone())))
            .with_state(shop.clone());
        shop.gate.open();
        get(&app, "/").await;
        shop.gate.begun().await;
        stored(&cache, 1).await;
        Self { app, cache, shop }
    }

    /// Asks until the page comes from the cache as new.
    async fn hit(&self) -> String {
        eventually("a hit", async || {
            let answer = get(&self.app, "/").await;
            (status_of(&answer) == HIT).then(|| answer.text())
        })
        .await
    }
}

#[tokio::test]
async fn everybody_is_shown_the_old_answer_while_one_run_behind_the_layer_refreshes_it() {
    let world = World::filled(|layer| layer).await;
    assert_eq!(world.hit().await, "run 1");
    world.cache.expire("site").await.unwrap();
    for _ in 0..20 {
        let shown = get(&world.app, "/").await;
        assert_eq!((status_of(&shown), &*shown.text()), (EXPIRED, "run 1"));
    }
    world.shop.gate.begun().await;
    assert_eq!(world.shop.gate.runs(), 2, "the fill, and one of twenty");
    world.shop.gate.open_for_all();
    assert_eq!(world.hit().await, "run 2");
    assert_eq!(world.shop.gate.runs(), 2);
}

#[tokio::test]
async fn the_last_good_answer_outlives_failures_behind_the_layer_until_it_is_cleared() {
    let world = World::filled(|layer| layer.stale_if_error(Duration::from_secs(3600))).await;
    assert_eq!(world.hit().await, "run 1");
    world.shop.gate.open_for_all();
    world.shop.says.store(500, Ordering::SeqCst);
    world.cache.expire("site").await.unwrap();
    for failures in 1..=3 {
        let shown = get(&world.app, "/").await;
        assert_eq!((status_of(&shown), &*shown.text()), (EXPIRED, "run 1"));
        eventually("a failure", async || {
            // A lease that goes back is on its way; the next request tries again.
            get(&world.app, "/").await;
            (world.cache.stats().failed_refreshes >= failures).then_some(())
        })
        .await;
    }
    world.cache.clear("site").await.unwrap();
    world.shop.says.store(200, Ordering::SeqCst);
    assert_ne!(get(&world.app, "/").await.text(), "run 1");
    assert_ne!(world.hit().await, "run 1");
}

#[tokio::test]
async fn without_a_word_the_first_failure_behind_the_layer_ends_the_old_answer() {
    let world = World::filled(|layer| layer).await;
    world.shop.gate.open_for_all();
    world.shop.says.store(500, Ordering::SeqCst);
    world.cache.expire("site").await.unwrap();
    assert_eq!(get(&world.app, "/").await.text(), "run 1");
    eventually("the failure to be seen", async || {
        (get(&world.app, "/").await.status == 500).then_some(())
    })
    .await;
    world.shop.says.store(200, Ordering::SeqCst);
    assert_ne!(world.hit().await, "run 1");
}

#[tokio::test]
async fn a_hit_of_a_layer_is_sent_in_an_encoding_that_it_keeps() {
    async fn text(State(gate): State<Gate>) -> String {
        gate.pass().await;
        "a line of the quick brown fox\n".repeat(200)
    }

    let (cache, gate) = (in_memory().await, Gate::opened());
    let app = Router::new()
        .route("/", on_get(text))
        .layer(layer("text").encodings("br").cache(cache.clone()))
        .with_state(gate.clone());
    let first = get(&app, "/").await;
    stored(&cache, 1).await;
    let plain = get(&app, "/").await;
    let short = ask(&app, Method::GET, "/", &[("accept-encoding", "br")]).await;
    let other = ask(&app, Method::GET, "/", &[("accept-encoding", "gzip")]).await;
    for hit in [&plain, &short, &other] {
        assert_eq!(status_of(hit), HIT);
        assert_eq!(hit.headers["vary"], "accept-encoding");
    }
    assert_eq!(short.headers["content-encoding"], "br");
    assert!(short.body.len() < plain.body.len());
    assert_ne!(short.headers["etag"], plain.headers["etag"]);
    for identity in [&plain, &other] {
        assert!(!identity.headers.contains_key("content-encoding"));
        assert_eq!(identity.body, first.body);
        assert_eq!(identity.headers["etag"], first.headers["etag"]);
    }
    let mut decoded = Vec::new();
    brotli::BrotliDecompress(&mut &short.body[..], &mut decoded).unwrap();
    assert_eq!(decoded, first.body);
    assert_eq!(gate.runs(), 1);
}
