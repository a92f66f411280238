//! Whatever stands in Redis under our names: a miss, and then it is healed.

use axum::extract::{Path, State};
use axum::routing::get as on_get;
use axum::{Extension, Router};
use redis::aio::MultiplexedConnection;
use redis::cmd;
use smart_cache::{SmartCache, depends_on, smart_cache};
use smart_cache_tests::harness::{Gate, RedisServer, eventually};

use super::{HIT, get, redis_at, status_of, stored};

#[smart_cache("page:{id}", tags("pages"))]
async fn page(State(gate): State<Gate>, Path(id): Path<u64>) -> String {
    format!("{id} {}", gate.pass().await)
}

#[smart_cache("list")]
async fn list(State(gate): State<Gate>) -> String {
    depends_on("row");
    format!("list {}", gate.pass().await)
}

/// An application on a server of its own, with page 7 and the list stored.
struct World {
    app: Router,
    cache: SmartCache,
    gate: Gate,
    raw: MultiplexedConnection,
    _server: RedisServer,
}

impl World {
    async fn new() -> Self {
        let server = RedisServer::start().await;
        let (cache, gate) = (
            redis_at(&server.url())
                .local_capacity(0)
                .build()
                .await
                .unwrap(),
            Gate::opened(),
        );
        let app = Router::new()
            .route("/page/{id}", on_get(page))
            .route("/list", on_get(list))
            .layer(Extension(cache.clone()))
            .with_state(gate.clone());
        let world = Self {
            app,
            cache,
            gate,
            raw: server.connection().await,
            _server: server,
        };
        for path in ["/page/7", "/page/8", "/list"] {
            world.heal(path).await;
        }
        world
    }

    /// Asks until it is a hit again; every answer on the way is a right one.
    async fn heal(&self, path: &str) {
        eventually(format!("{path} to be healed"), async || {
            let answer = get(&self.app, path).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert!(
                answer
                    .text()
                    .starts_with(path[1..].trim_start_matches("page/")),
                "{answer:?}"
            );
            (status_of(&answer) == HIT).then_some(())
        })
        .await;
    }

    async fn names(&mut self, pattern: &str) -> Vec<String> {
        cmd("KEYS")
            .arg(pattern)
            .query_async(&mut self.raw)
            .await
            .unwrap()
    }

    /// The name of the entry that holds this body.
    async fn entry(&mut self, body: &str) -> String {
        for name in self.names("{n}:e:*").await {
            let value: Vec<u8> = cmd("GET")
                .arg(&name)
                .query_async(&mut self.raw)
                .await
                .unwrap();
            if value
                .windows(body.len())
                .any(|part| part == body.as_bytes())
            {
                return name;
            }
        }
        panic!("no entry holds {body}")
    }

    async fn value(&mut self, name: &str) -> Vec<u8> {
        cmd("GET")
            .arg(name)
            .query_async(&mut self.raw)
            .await
            .unwrap()
    }

    async fn set(&mut self, name: &str, value: &[u8]) {
        let () = cmd("SET")
            .arg(name)
            .arg(value)
            .query_async(&mut self.raw)
            .await
            .unwrap();
    }

    /// Puts something of each other type where a string belongs.
    async fn put_wrong_type(&mut self, name: &str, kind: &str) {
        let () = cmd("DEL")
            .arg(name)
            .query_async(&mut self.raw)
            .await
            .unwrap();
        let put = match kind {
            "list" => cmd("RPUSH").arg(name).arg("x").to_owned(),
            "set" => cmd("SADD").arg(name).arg("x").to_owned(),
            "hash" => cmd("HSET").arg(name).arg("x").arg("y").to_owned(),
            "zset" => cmd("ZADD").arg(name).arg(1).arg("x").to_owned(),
            "stream" => cmd("XADD").arg(name).arg("*").arg("x").arg("y").to_owned(),
            "string" => cmd("SET").arg(name).arg("x").to_owned(),
            other => panic!("no type {other}"),
        };
        let _: redis::Value = put.query_async(&mut self.raw).await.unwrap();
    }

    /// The next answer is of a new run, and a hit comes soon after.
    async fn check_missed_and_healed(&self, path: &str, what: &str) {
        let runs = self.gate.runs();
        let answer = get(&self.app, path).await;
        assert_ne!(status_of(&answer), HIT, "{what}");
        assert_eq!(self.gate.runs(), runs + 1, "{what}: {answer:?}");
        self.heal(path).await;
    }
}

const TYPES: [&str; 5] = ["list", "set", "hash", "zset", "stream"];

#[tokio::test]
async fn an_entry_of_another_type_is_a_miss_and_is_healed() {
    let mut world = World::new().await;
    for path in ["/page/7", "/list"] {
        for kind in TYPES {
            let name = world
                .entry(if path == "/list" { "list " } else { "7 " })
                .await;
            world.put_wrong_type(&name, kind).await;
            world.check_missed_and_healed(path, kind).await;
        }
    }
}

#[tokio::test]
async fn a_truncated_entry_is_a_miss_and_is_healed() {
    let mut world = World::new().await;
    let name = world.entry("7 ").await;
    let length = world.value(&name).await.len();
    for cut in [
        0,
        1,
        39,
        40,
        79,
        80,
        81,
        119,
        120,
        121,
        122,
        124,
        130,
        140,
        length - 20,
        length - 2,
        length - 1,
    ] {
        let whole = world.value(&name).await;
        world.set(&name, &whole[..cut.min(whole.len() - 1)]).await;
        world
            .check_missed_and_healed("/page/7", &format!("cut at {cut}"))
            .await;
    }
    assert!(world.cache.stats().corrupt > 0, "they are counted");
}

#[tokio::test]
async fn a_damaged_entry_is_a_miss_and_is_healed() {
    let mut world = World::new().await;
    for name in [world.entry("7 ").await, world.entry("list ").await] {
        let path = if world
            .value(&name)
            .await
            .windows(5)
            .any(|part| part == b"list ")
        {
            "/list"
        } else {
            "/page/7"
        };
        let length = world.value(&name).await.len();
        // The digest over the origins and the mark, from 80 to 120, prove nothing on a lookup.
        for at in (0..80).step_by(13).chain((121..length).step_by(7)) {
            let mut damaged = world.value(&name).await;
            let at = at.min(damaged.len() - 1);
            damaged[at] ^= 0x55;
            world.set(&name, &damaged).await;
            world
                .check_missed_and_healed(path, &format!("{path} damaged at {at}"))
                .await;
        }
    }
}

#[tokio::test]
async fn random_bytes_behind_true_digests_are_a_miss_and_are_healed() {
    let mut world = World::new().await;
    let name = world.entry("7 ").await;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..40_usize {
        let digests = world.value(&name).await[..120].to_vec();
        let mut noise = digests;
        for _ in 0..round * 7 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            noise.push(state as u8);
        }
        world.set(&name, &noise).await;
        world
            .check_missed_and_healed("/page/7", &format!("round {round}"))
            .await;
    }
}

#[tokio::test]
async fn an_entry_of_another_format_is_a_miss_and_is_healed() {
    let mut world = World::new().await;
    let name = world.entry("7 ").await;
    let value = world.value(&name).await;
    let magic = value.windows(2).position(|part| part == b"SC").unwrap();
    for (what, at, to) in [("another head", magic + 2, 2), ("no head", magic, b'X')] {
        let mut other = world.value(&name).await;
        other[at] = to;
        world.set(&name, &other).await;
        world.check_missed_and_healed("/page/7", what).await;
    }
    // The format stands right behind the head: one key, one tag, no found tags.
    let record = magic + 3 + 2 + (4 + "page:7".len()) + (4 + "pages".len()) + 2;
    let mut other = world.value(&name).await;
    assert_eq!(other[record], 3, "the format's number");
    other[record] = 2;
    world.set(&name, &other).await;
    world
        .check_missed_and_healed("/page/7", "another format")
        .await;
}

#[tokio::test]
async fn an_entry_under_anothers_name_is_never_served() {
    let mut world = World::new().await;
    let (seven, eight) = (world.entry("7 ").await, world.entry("8 ").await);
    let moved = world.value(&eight).await;
    world.set(&seven, &moved).await;
    world.check_missed_and_healed("/page/7", "moved").await;

    // Also when the digests in front are those that belong there.
    let (own, other) = (world.value(&seven).await, world.value(&eight).await);
    world
        .set(&seven, &[&own[..120], &other[120..]].concat())
        .await;
    world
        .check_missed_and_healed("/page/7", "moved behind the right digests")
        .await;
}

#[tokio::test]
async fn tokens_and_clock_of_another_type_are_misses_and_are_healed() {
    let mut world = World::new().await;
    for name in ["{n}:t:", "{n}:t:page:7", "{n}:t:pages", "{n}:clock"] {
        for kind in TYPES {
            world.put_wrong_type(name, kind).await;
            if name == "{n}:clock" {
                // A lookup reads no clock: it is met by the next miss, which begins a new life.
                world.cache.clear("page:7").await.unwrap();
            }
            world
                .check_missed_and_healed("/page/7", &format!("{name} is a {kind}"))
                .await;
            world.heal("/page/8").await;
        }
    }
    for kind in TYPES {
        world.put_wrong_type("{n}:t:row", kind).await;
        world
            .check_missed_and_healed("/list", &format!("the found tag is a {kind}"))
            .await;
    }
}

#[tokio::test]
async fn malformed_tokens_are_missing_ones() {
    let mut world = World::new().await;
    for name in ["{n}:t:", "{n}:t:page:7", "{n}:t:pages"] {
        for value in [
            "",
            ":",
            "x",
            "::",
            ":abc:",
            ":xyz:12",
            "\0",
            "🦀",
            ":00:99999999999999999999",
            "a b",
            "! ",
        ] {
            world.set(name, value.as_bytes()).await;
            world
                .check_missed_and_healed("/page/7", &format!("{name} is {value:?}"))
                .await;
        }
    }
}

#[tokio::test]
async fn a_malformed_clock_begins_a_new_life_of_the_namespace() {
    let mut world = World::new().await;
    for value in [
        "",
        "x",
        "-1",
        "nan",
        "1e400",
        "99999999999999999999999",
        "\0",
    ] {
        world.set("{n}:clock", value.as_bytes()).await;
        world.cache.clear("page:7").await.unwrap();
        world
            .check_missed_and_healed("/page/7", &format!("the clock is {value:?}"))
            .await;
        world.heal("/page/8").await;
    }
}

#[tokio::test]
async fn a_lease_of_another_type_does_not_stop_a_fill() {
    let mut world = World::new().await;
    let entry = world.entry("7 ").await;
    let lease = entry.replacen(":e:", ":l:", 1);
    for kind in ["string", "list", "set", "hash", "zset", "stream"] {
        world.put_wrong_type(&lease, kind).await;
        world.cache.clear("page:7").await.unwrap();
        world
            .check_missed_and_healed("/page/7", &format!("the lease is a {kind}"))
            .await;
    }
}

#[tokio::test]
async fn an_index_of_another_type_does_not_stop_a_fill() {
    let mut world = World::new().await;
    for kind in ["string", "list", "hash", "zset", "stream"] {
        let stores = world.cache.stats().stored;
        world.put_wrong_type("{n}:n:v:page:7", kind).await;
        world.cache.clear("page:7").await.unwrap();
        world
            .check_missed_and_healed("/page/7", &format!("the index is a {kind}"))
            .await;
        stored(&world.cache, stores + 1).await;
    }
}
