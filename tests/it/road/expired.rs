//! Soft clears on the road of a request: nobody waits, one request refreshes, nothing is wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get as on_get;
use axum::{Extension, Router};
use http::{Method, StatusCode};
use smart_cache::{SmartCache, depends_on, smart_cache};
use smart_cache_tests::harness::{Chaos, Direction, Gate, RedisServer, eventually};

use super::{Answer, HIT, STORED, ask, every_kind, get, in_memory, redis_at, status_of, stored};

const EXPIRED: &str = "smart-cache; hit; detail=expired";

/// A handler's gate, and what it answers with.
#[derive(Clone)]
struct Shop {
    gate: Gate,
    /// A status; 1 panics.
    says: Arc<AtomicU16>,
}

impl Shop {
    async fn answer(&self) -> Response {
        let run = self.gate.pass().await;
        match self.says.load(Ordering::SeqCst) {
            1 => panic!("as a handler may"),
            200 => format!("run {run}").into_response(),
            status => (StatusCode::from_u16(status).unwrap(), "bad").into_response(),
        }
    }
}

#[smart_cache("page:{id}", tags("pages"))]
async fn page(State(shop): State<Shop>, Path(id): Path<u64>) -> Response {
    depends_on(format!("row:{id}"));
    shop.answer().await
}

#[smart_cache("safe:{id}", stale_if_error = "1h")]
async fn safe(State(shop): State<Shop>, Path(id): Path<u64>) -> Response {
    let _ = id;
    shop.answer().await
}

/// Over before it began.
#[smart_cache("brief:{id}", stale_if_error = "1ms")]
async fn brief(State(shop): State<Shop>, Path(id): Path<u64>) -> Response {
    let _ = id;
    shop.answer().await
}

/// Its future borrows, so it cannot go on without its request.
#[smart_cache("borrowed:{id}", stale_if_error = "1h")]
async fn borrowed(State(ref shop): State<Shop>, Path(id): Path<u64>) -> Response {
    let _ = id;
    shop.answer().await
}

struct World {
    app: Router,
    cache: SmartCache,
    shop: Shop,
}

impl World {
    fn new(cache: SmartCache) -> Self {
        let shop = Shop {
            gate: Gate::opened(),
            says: Arc::new(AtomicU16::new(200)),
        };
        Self::with(cache, shop)
    }

    fn with(cache: SmartCache, shop: Shop) -> Self {
        let app = Router::new()
            .route("/page/{id}", on_get(page))
            .route("/safe/{id}", on_get(safe))
            .route("/brief/{id}", on_get(brief))
            .route("/borrowed/{id}", on_get(borrowed))
            .layer(Extension(cache.clone()))
            .with_state(shop.clone());
        Self { app, cache, shop }
    }

    /// Asks until the page comes from the cache as new.
    async fn hit(&self, path: &str) -> Answer {
        eventually(format!("a hit of {path}"), async || {
            let answer = get(&self.app, path).await;
            (status_of(&answer) == HIT).then_some(answer)
        })
        .await
    }

    /// A filled page whose handler waits at a new gate from now on.
    async fn filled(cache: SmartCache, path: &str) -> Self {
        let mut world = Self::new(cache);
        world.hit(path).await;
        world.shop.gate = Gate::new();
        Self::with(world.cache, world.shop)
    }

    async fn refreshes(&self, number: u64) {
        eventually(format!("refresh number {number}"), async || {
            (self.cache.stats().refreshes >= number).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn everybody_is_shown_the_old_answer_while_one_request_refreshes_it() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        for name in ["page:7", "pages", "row:7"] {
            let world = World::filled(cache.clone(), "/page/7").await;
            let old = get(&world.app, "/page/7").await;
            world.cache.expire(name).await.unwrap();
            for _ in 0..20 {
                let shown = get(&world.app, "/page/7").await;
                assert_eq!(status_of(&shown), EXPIRED, "{name}");
                assert_eq!(shown.body, old.body);
            }
            world.shop.gate.begun().await;
            assert_eq!(world.shop.gate.runs(), 1, "one of twenty");
            world.shop.gate.open_for_all();
            assert_eq!(world.hit("/page/7").await.text(), "run 1");
            assert_eq!(world.shop.gate.runs(), 1);
        }
    }
}

#[tokio::test]
async fn one_process_of_the_fleet_refreshes() {
    let server = RedisServer::start().await;
    let cache = async || redis_at(&server.url()).build().await.unwrap();
    let one = World::filled(cache().await, "/page/7").await;
    let two = World::with(cache().await, one.shop.clone());
    two.cache.expire("page:7").await.unwrap();
    for world in [&one, &two, &one, &two] {
        assert_eq!(status_of(&get(&world.app, "/page/7").await), EXPIRED);
    }
    one.shop.gate.begun().await;
    one.shop.gate.open_for_all();
    assert_eq!(one.hit("/page/7").await.text(), "run 1");
    assert_eq!(two.hit("/page/7").await.text(), "run 1");
    assert_eq!(one.shop.gate.runs(), 1);
}

#[tokio::test]
async fn a_clear_during_the_refresh_kills_the_old_answer_and_the_new_one() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let world = World::filled(cache, "/page/7").await;
        world.cache.expire("page:7").await.unwrap();
        get(&world.app, "/page/7").await;
        world.shop.gate.begun().await;
        world.cache.clear("row:7").await.unwrap();
        let waiting = tokio::spawn({
            let app = world.app.clone();
            async move { get(&app, "/page/7").await }
        });
        world.shop.gate.begun().await;
        world.shop.gate.open_for_all();
        let fresh = waiting.await.unwrap();
        assert_ne!(status_of(&fresh), EXPIRED);
        assert_eq!(fresh.text(), "run 2", "it has run after the clear");
        world.refreshes(1).await;
        assert_ne!(world.hit("/page/7").await.text(), "run 1");
    }
}

#[tokio::test]
async fn a_refresh_that_fails_makes_the_old_answer_gone() {
    for failure in [500, 503, 1, 404, 302] {
        let world = World::new(in_memory().await);
        let old = world.hit("/page/7").await;
        world.cache.expire("page:7").await.unwrap();
        world.shop.says.store(failure, Ordering::SeqCst);
        assert_eq!(get(&world.app, "/page/7").await.body, old.body);
        world.refreshes(1).await;
        world.shop.says.store(200, Ordering::SeqCst);
        eventually("the old answer to be gone", async || {
            let answer = get(&world.app, "/page/7").await;
            (answer.body != old.body).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn the_last_good_answer_outlives_refreshes_that_fail() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        for (round, failure) in [500, 503, 1].into_iter().enumerate() {
            let world = World::new(cache.clone());
            let path = format!("/safe/{round}");
            let old = world.hit(&path).await;
            world.cache.expire(format!("safe:{round}")).await.unwrap();
            world.shop.says.store(failure, Ordering::SeqCst);
            let failed = world.cache.stats().failed_refreshes;
            for more in 1..=3 {
                let shown = get(&world.app, &path).await;
                assert_eq!((status_of(&shown), &shown.body), (EXPIRED, &old.body));
                eventually("a failure", async || {
                    // A lease that goes back is on its way; the next request tries again.
                    get(&world.app, &path).await;
                    (world.cache.stats().failed_refreshes >= failed + more).then_some(())
                })
                .await;
            }
            // What it is worth nobody can tell any more.
            world.cache.clear(format!("safe:{round}")).await.unwrap();
            world.shop.says.store(200, Ordering::SeqCst);
            assert_ne!(get(&world.app, &path).await.body, old.body);
        }
    }
}

#[tokio::test]
async fn an_answer_that_may_not_be_stored_ends_the_old_one_whatever_outlives_errors() {
    let world = World::new(in_memory().await);
    let old = world.hit("/safe/7").await;
    world.cache.expire("safe:7").await.unwrap();
    world.shop.says.store(404, Ordering::SeqCst);
    assert_eq!(get(&world.app, "/safe/7").await.body, old.body);
    world.refreshes(1).await;
    eventually("the handler's own answer", async || {
        let answer = get(&world.app, "/safe/7").await;
        (answer.status == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn errors_are_outlived_for_as_long_as_the_handler_says() {
    let world = World::new(in_memory().await);
    let old = world.hit("/brief/7").await;
    world.cache.expire("brief:7").await.unwrap();
    world.shop.says.store(500, Ordering::SeqCst);
    eventually("the failure to be seen", async || {
        let answer = get(&world.app, "/brief/7").await;
        (answer.status == 500).then_some(())
    })
    .await;
    world.shop.says.store(200, Ordering::SeqCst);
    assert_ne!(world.hit("/brief/7").await.body, old.body);
}

#[tokio::test]
async fn a_handler_that_borrows_refreshes_within_its_request() {
    let world = World::filled(in_memory().await, "/borrowed/7").await;
    let old = get(&world.app, "/borrowed/7").await;
    world.cache.expire("borrowed:7").await.unwrap();
    let refreshing = tokio::spawn({
        let app = world.app.clone();
        async move { get(&app, "/borrowed/7").await }
    });
    world.shop.gate.begun().await;
    // Everybody else is shown the old one meanwhile.
    let other = get(&world.app, "/borrowed/7").await;
    assert_eq!((status_of(&other), &other.body), (EXPIRED, &old.body));
    world.shop.gate.open();
    let fresh = refreshing.await.unwrap();
    assert_eq!((status_of(&fresh), fresh.text()), (STORED, "run 1".into()));
    world.hit("/borrowed/7").await;

    world.cache.expire("borrowed:7").await.unwrap();
    world.shop.says.store(500, Ordering::SeqCst);
    world.shop.gate.open_for_all();
    let shown = get(&world.app, "/borrowed/7").await;
    assert_eq!((status_of(&shown), shown.text()), (EXPIRED, "run 1".into()));
    assert_eq!(world.cache.stats().failed_refreshes, 1);
}

#[tokio::test]
async fn a_head_is_shown_the_old_answer_and_refreshes_nothing() {
    let world = World::filled(in_memory().await, "/page/7").await;
    world.cache.expire("page:7").await.unwrap();
    let head = ask(&world.app, Method::HEAD, "/page/7", &[]).await;
    assert_eq!(status_of(&head), EXPIRED);
    assert_eq!(world.cache.stats().refreshes, 0);
    assert_eq!(world.shop.gate.runs(), 0);
}

#[tokio::test]
async fn a_request_that_is_gone_does_not_stop_its_refresh() {
    let world = World::filled(in_memory().await, "/page/7").await;
    world.cache.expire("page:7").await.unwrap();
    drop(get(&world.app, "/page/7").await);
    world.shop.gate.begun().await;
    world.shop.gate.open_for_all();
    assert_eq!(world.hit("/page/7").await.text(), "run 1");
}

#[tokio::test]
async fn an_expire_that_is_not_acknowledged_becomes_a_clear() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let cache = redis_at(&chaos.url()).timeout(Duration::from_millis(300));
    let world = World::new(cache.build().await.unwrap());
    let old = world.hit("/page/7").await;
    chaos.freeze(Direction::Requests);
    world.cache.expire("page:7").await.unwrap_err();
    assert_eq!(world.cache.stats().pending_clears, 1);
    chaos.thaw(Direction::Requests);
    eventually("the clear to land", async || {
        (world.cache.stats().pending_clears == 0).then_some(())
    })
    .await;
    let fresh = get(&world.app, "/page/7").await;
    assert_ne!(status_of(&fresh), EXPIRED);
    assert_ne!(fresh.body, old.body);
}

#[tokio::test]
async fn a_blocking_expire_is_an_expire() {
    let world = World::filled(in_memory().await, "/page/7").await;
    let cache = world.cache.clone();
    tokio::task::spawn_blocking(move || cache.expire_blocking("page:7"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status_of(&get(&world.app, "/page/7").await), EXPIRED);
    world.shop.gate.open_for_all();
    let before = world.cache.stats().stored;
    stored(&world.cache, before.max(2)).await;
}
