//! The audit: hits whose handler is run again find out what a forgotten clear has left.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::routing::get as on_get;
use axum::{Extension, Router};
use http::StatusCode;
use smart_cache::{Builder, SmartCache, Stats, smart_cache};
use smart_cache_tests::harness::{Log, RedisServer, eventually};

use crate::road::{get, memory, redis_at, stored};

/// What the handlers read, and how often they ran.
#[derive(Clone, Default)]
struct Table {
    row: Arc<Mutex<String>>,
    runs: Arc<AtomicU64>,
}

impl Table {
    fn write(&self, row: &str) {
        row.clone_into(&mut self.row.lock().unwrap());
    }

    fn read(&self) -> String {
        self.runs.fetch_add(1, Ordering::SeqCst);
        self.row.lock().unwrap().clone()
    }

    fn runs(&self) -> u64 {
        self.runs.load(Ordering::SeqCst)
    }
}

#[smart_cache("row:{id}", tags("rows"))]
async fn row(State(table): State<Table>, Path(id): Path<u32>) -> Result<String, StatusCode> {
    let row = table.read();
    match &*row {
        "panic" => panic!("as the test wants it"),
        "failure" => Err(StatusCode::INTERNAL_SERVER_ERROR),
        _ => Ok(format!("{id} {row}")),
    }
}

#[smart_cache("dice:{id}", audit = false)]
async fn dice(State(table): State<Table>, Path(id): Path<u32>) -> String {
    format!("{id} {}", table.read())
}

struct World {
    cache: SmartCache,
    table: Table,
    app: Router,
}

impl World {
    async fn new(builder: Builder) -> Self {
        let cache = builder.build().await.unwrap();
        let table = Table::default();
        table.write("old");
        let app = Router::new()
            .route("/row/{id}", on_get(row))
            .route("/dice/{id}", on_get(dice))
            .layer(Extension(cache.clone()))
            .with_state(table.clone());
        Self { cache, table, app }
    }

    /// Stores one answer, and forgets about it.
    async fn filled(builder: Builder, path: &str) -> Self {
        let world = Self::new(builder).await;
        get(&world.app, path).await;
        stored(&world.cache, 1).await;
        world
    }

    async fn audited(&self, what: &str, count: impl Fn(&Stats) -> u64) {
        eventually(what, async || {
            (count(&self.cache.stats()) > 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_handler_that_says_the_same_is_counted_and_left_alone() {
    let world = World::filled(memory().audit(1.0), "/row/7").await;
    get(&world.app, "/row/7").await;
    world.audited("an audit", |stats| stats.audits_same).await;
    assert_eq!(world.table.runs(), 2);
    assert_eq!(world.cache.stats().clears, 0);
    let line = world.cache.handler_stats().remove(0);
    assert_eq!(
        (line.audits_same, line.misses),
        (1, 1),
        "an audit is no miss"
    );
}

/// The log names the key, and both bodies by their digests.
#[track_caller]
fn tells_key_and_digests(log: &str) {
    let told: Vec<_> = log
        .lines()
        .filter(|line| line.contains("AUDIT: "))
        .collect();
    assert_eq!(told.len(), 1, "{log}");
    let told = told[0];
    assert!(told.contains(" key=row:7 "), "{told}");
    let digest = |field: &str| {
        let (_, rest) = told.split_once(field).unwrap();
        let digest = rest.split(' ').next().unwrap();
        assert_eq!(digest.len(), 64, "{told}");
        assert!(
            digest.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{told}"
        );
        digest.to_owned()
    };
    assert_ne!(digest(" stored_body="), digest(" body="), "{told}");
}

#[tokio::test]
async fn what_a_forgotten_clear_has_left_is_found_counted_and_cleared_everywhere() {
    let server = RedisServer::start().await;
    let near = || redis_at(&server.url()).local_capacity(64 << 20);
    for builder in [memory(), redis_at(&server.url()), near().namespace("near")] {
        let (log, _guard) = Log::of_this_thread();
        let world = World::filled(builder.audit(1.0), "/row/7").await;
        world.table.write("new");
        let old = get(&world.app, "/row/7").await;
        assert_eq!(old.text(), "7 old", "the hit itself waits for nothing");
        world
            .audited("the difference", |stats| stats.audits_different)
            .await;
        tells_key_and_digests(&log.text());
        eventually("the new answer", async || {
            (get(&world.app, "/row/7").await.text() == "7 new").then_some(())
        })
        .await;
        assert_eq!(world.cache.stats().clears, 1, "{:?}", world.cache);
    }
}

#[tokio::test]
async fn other_nodes_stop_serving_what_one_has_found() {
    let server = RedisServer::start().await;
    let near = || redis_at(&server.url()).local_capacity(64 << 20);
    let world = World::filled(near().audit(1.0), "/row/7").await;
    let other = near().build().await.unwrap();
    let others = Router::new()
        .route("/row/{id}", on_get(row))
        .layer(Extension(other.clone()))
        .with_state(world.table.clone());
    eventually("a hit of the other's own memory", async || {
        get(&others, "/row/7").await;
        (other.stats().local_hits > 0).then_some(())
    })
    .await;
    world.table.write("new");
    get(&world.app, "/row/7").await;
    eventually("the new answer on the other node", async || {
        (get(&others, "/row/7").await.text() == "7 new").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_clear_that_follows_its_commit_is_no_difference() {
    let world = World::filled(memory().audit(1.0), "/row/7").await;
    // The commit, a hit in between, then the clear.
    world.table.write("new");
    get(&world.app, "/row/7").await;
    eventually("the handler to run again", async || {
        (world.table.runs() == 2).then_some(())
    })
    .await;
    world.cache.clear("rows").await.unwrap();
    world
        .audited("an audit", |stats| stats.audits_unknown)
        .await;
    assert_eq!(world.cache.stats().audits_different, 0);
}

#[tokio::test]
async fn a_handler_that_fails_tells_nothing() {
    for failure in ["failure", "panic"] {
        let world = World::filled(memory().audit(1.0), "/row/7").await;
        world.table.write(failure);
        // More often than there may be audits at once: each gives its place back.
        for audits in 1..=10 {
            get(&world.app, "/row/7").await;
            eventually("an audit", async || {
                (world.cache.stats().audits_unknown == audits).then_some(())
            })
            .await;
        }
        let stats = world.cache.stats();
        assert_eq!((stats.audits_different, stats.clears), (0, 0), "{failure}");
    }
}

#[tokio::test]
async fn nothing_is_audited_that_opted_out_or_was_not_asked_for() {
    let world = World::filled(memory().audit(1.0), "/dice/7").await;
    for _ in 0..20 {
        get(&world.app, "/dice/7").await;
    }
    assert_eq!(world.table.runs(), 1, "audit = false");

    let world = World::filled(memory(), "/row/7").await;
    for _ in 0..20 {
        get(&world.app, "/row/7").await;
    }
    assert_eq!(world.table.runs(), 1, "the default is no audit");
}

#[tokio::test]
async fn a_layer_is_audited_unless_it_says_otherwise() {
    for audited in [true, false] {
        let cache = memory().audit(1.0).build().await.unwrap();
        let table = Table::default();
        let layer = smart_cache::layer("front");
        let layer = if audited {
            layer
        } else {
            layer.without_audit()
        };
        let reads = table.clone();
        let front = on_get(async move || reads.read()).layer(layer);
        let app = Router::new()
            .route("/", front)
            .layer(Extension(cache.clone()));
        get(&app, "/").await;
        stored(&cache, 1).await;
        for _ in 0..3 {
            get(&app, "/").await;
        }
        if audited {
            eventually("an audit", async || {
                (cache.stats().audits_same > 0).then_some(())
            })
            .await;
        } else {
            assert_eq!(table.runs(), 1);
        }
    }
}

#[tokio::test]
async fn a_share_is_one() {
    for share in [-0.1, 1.1, f64::NAN] {
        let refused = memory().audit(share).build().await.unwrap_err();
        assert!(refused.to_string().contains("from 0 to 1"), "{refused}");
    }
}
