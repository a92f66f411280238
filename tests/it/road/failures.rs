//! Whatever fails, and whenever: the handler runs once, and its answer is the client's.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::get as on_get;
use axum::{Extension, Router};
use smart_cache::{SmartCache, depends_on, smart_cache};
use smart_cache_tests::harness::{Chaos, Direction, Gate, Loss, RedisServer, eventually};

use super::{Answer, get, redis_at, status_of};

#[smart_cache("page:{id}", tags("pages"))]
async fn page(State(gate): State<Gate>, Path(id): Path<String>) -> String {
    format!("{id} {}", gate.pass().await)
}

#[smart_cache("list:{id}")]
async fn list(State(gate): State<Gate>, Path(id): Path<String>) -> String {
    depends_on("row");
    format!("{id} {}", gate.pass().await)
}

struct World {
    app: Router,
    cache: SmartCache,
    gate: Gate,
    chaos: Chaos,
    _server: RedisServer,
}

impl World {
    async fn new() -> Self {
        let server = RedisServer::start().await;
        let chaos = Chaos::in_front_of(server.address()).await;
        let cache = redis_at(&chaos.url())
            .timeout(Duration::from_millis(300))
            .build()
            .await
            .unwrap();
        let gate = Gate::opened();
        let app = Router::new()
            .route("/page/{id}", on_get(page))
            .route("/list/{id}", on_get(list))
            .layer(Extension(cache.clone()))
            .with_state(gate.clone());
        let world = Self {
            app,
            cache,
            gate,
            chaos,
            _server: server,
        };
        world.back("/page/first").await;
        world.back("/list/first").await;
        world
    }

    /// Waits until the cache works again, proved by a page that comes from it.
    async fn back(&self, path: &str) {
        eventually("the cache to work again", async || {
            let answer = get(&self.app, path).await;
            (status_of(&answer) == super::HIT).then_some(())
        })
        .await;
    }

    /// Asks for a page of its own, so that the handler has to run: exactly once, answering this
    /// request.
    async fn check_runs_once(&self, path: &str, what: &str) -> Answer {
        let runs = self.gate.runs();
        let answer = get(&self.app, path).await;
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
        let id = path.rsplit('/').next().unwrap();
        assert_eq!(
            answer.text(),
            format!("{id} {}", runs + 1),
            "{what}: {answer:?}"
        );
        assert_eq!(self.gate.runs(), runs + 1, "{what}");
        answer
    }
}

/// What the commands of a miss have in them, one after the other: the lookup, the ticket (the first
/// script), and the store (which alone carries a payload).
const COMMANDS: [&str; 3] = ["MGET", "EVALSHA", "SC\u{1}"];

#[tokio::test]
async fn a_connection_that_breaks_at_any_command_costs_no_second_run() {
    let world = World::new().await;
    for (round, needle) in COMMANDS.iter().enumerate() {
        for kind in ["page", "list"] {
            world.chaos.lose_reply_of(needle, Loss::Cut);
            world
                .check_runs_once(&format!("/{kind}/{kind}{round}"), needle)
                .await;
            world.back(&format!("/{kind}/first")).await;
        }
    }
}

#[tokio::test]
async fn a_command_that_is_never_answered_costs_no_second_run() {
    let world = World::new().await;
    for (round, needle) in COMMANDS.iter().enumerate() {
        for kind in ["page", "list"] {
            world.chaos.lose_reply_of(needle, Loss::Silence);
            world
                .check_runs_once(&format!("/{kind}/{kind}{round}"), needle)
                .await;
            world.back(&format!("/{kind}/first")).await;
        }
    }
}

#[tokio::test]
async fn a_connection_cut_in_front_of_any_command_costs_no_second_run() {
    let world = World::new().await;
    for (round, needle) in COMMANDS.iter().enumerate() {
        for kind in ["page", "list"] {
            let mut held = world.chaos.hold(needle);
            let path = format!("/{kind}/{kind}{round}");
            let cutting = async {
                held.arrived().await;
                world.chaos.cut();
            };
            let (_, ()) = tokio::join!(world.check_runs_once(&path, needle), cutting);
            drop(held);
            world.back(&format!("/{kind}/first")).await;
        }
    }
}

#[tokio::test]
async fn a_network_frozen_in_either_direction_costs_no_second_run() {
    let world = World::new().await;
    for (round, direction) in [Direction::Requests, Direction::Replies]
        .into_iter()
        .enumerate()
    {
        world.chaos.freeze(direction);
        let what = format!("{direction:?} frozen");
        for at in 0..3 {
            world
                .check_runs_once(&format!("/page/{round}-{at}"), &what)
                .await;
        }
        world.chaos.thaw(direction);
        world.back("/page/first").await;
    }
}

#[tokio::test]
async fn a_network_frozen_while_the_handler_runs_costs_no_second_run() {
    let world = World::new().await;
    // A gate of its own, since the world's is open.
    let gate = Gate::new();
    let app: Router = Router::new()
        .route("/page/{id}", on_get(page))
        .layer(Extension(world.cache.clone()))
        .with_state(gate.clone());
    let asking = tokio::spawn({
        let app = app.clone();
        async move { get(&app, "/page/slow").await }
    });
    gate.begun().await;
    world.chaos.freeze(Direction::Requests);
    world.chaos.freeze(Direction::Replies);
    gate.open_for_all();
    assert_eq!(asking.await.unwrap().text(), "slow 1");
    world.chaos.thaw(Direction::Requests);
    world.chaos.thaw(Direction::Replies);
    world.back("/page/first").await;
    assert_eq!(gate.runs(), 1);
}

#[tokio::test]
async fn many_requests_while_the_connection_breaks_again_and_again_run_at_most_once_each() {
    const REQUESTS: u64 = 150;
    let world = World::new().await;
    let runs = world.gate.runs();
    let mut asked = tokio::task::JoinSet::new();
    for at in 0..REQUESTS {
        let app = world.app.clone();
        asked.spawn(async move {
            let id = at % 10;
            let answer = get(&app, &format!("/page/many{id}")).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert!(
                answer.text().starts_with(&format!("many{id} ")),
                "{answer:?}"
            );
        });
        if at % 10 == 9 {
            world.chaos.cut();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    while let Some(done) = asked.join_next().await {
        done.unwrap();
    }
    assert!(
        world.gate.runs() - runs <= REQUESTS,
        "{} runs",
        world.gate.runs() - runs
    );
    world.back("/page/first").await;
}
