//! One entry that depends on ever other tags, and what they leave in Redis.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::State;
use axum::routing::get;
use axum::{Extension, Router};
use smart_cache::{SmartCache, depends_on, smart_cache};
use smart_cache_tests::harness::{RedisServer, number_after};

use super::measure::{Times, bytes, machine, row};
use super::shared::{ask, cache, is_hit, micros};

/// Questions until a filling has to be a hit.
const MOST_ASKED: usize = 10_000;

/// What the entry is made of.
#[derive(Clone)]
struct Source {
    filling: Arc<AtomicU64>,
    tags: u64,
}

#[smart_cache("list")]
async fn list(State(source): State<Source>) -> String {
    let filling = source.filling.load(Ordering::SeqCst);
    for tag in 0..source.tags {
        depends_on(format!("row:{}", filling * source.tags + tag));
    }
    format!("filling {filling}")
}

pub(crate) async fn run() -> ExitCode {
    let tags = number_after("--tags").unwrap_or(100_000).max(1);
    let at_once = number_after("--at-once").unwrap_or(20).max(1);
    let fillings = tags.div_ceil(at_once);
    machine();
    row(
        "tags",
        format!("{tags} in the life of one entry, {at_once} at a time, {fillings} fillings"),
    );
    let server = RedisServer::start().await;
    let cache = cache(&server.url(), |builder| builder.local_capacity(0)).await;
    let source = Source {
        filling: Arc::default(),
        tags: at_once,
    };
    let router = Router::new()
        .route("/", get(list))
        .layer(Extension(cache.clone()))
        .with_state(source.clone());
    let stage = Stage {
        server,
        cache,
        router,
    };
    let (mut fills, mut hits) = (
        [Times::default(), Times::default()],
        [Times::default(), Times::default()],
    );
    let few = (fillings / 10).max(1);
    let mut before = Left::default();
    for filling in 0..fillings {
        source.filling.store(filling, Ordering::SeqCst);
        let (filled, hit) = stage.fill(filling).await;
        let end = usize::from(filling + few >= fillings);
        if filling < few || end == 1 {
            fills[end].push_micros(filled);
            hits[end].push_micros(hit);
        }
        if filling == 0 {
            before = stage.left().await;
        }
    }
    let after = stage.left().await;
    let ([first_fill, last_fill], [first_hit, last_hit]) = (fills, hits);
    row("clear and fill, the first tenth", first_fill.percentiles());
    row("clear and fill, the last tenth", last_fill.percentiles());
    row("hit, the first tenth", first_hit.percentiles());
    row("hit, the last tenth", last_hit.percentiles());
    row("the entry, after the first filling", bytes(before.entry));
    row("the entry, after the last", bytes(after.entry));
    row("tokens, after the first filling", &before.tokens);
    row("tokens, after the last", &after.tokens);
    let each = (after.memory - before.memory) / tags as f64;
    row(
        "memory of Redis for each tag that it had",
        format!("{each:.0} B"),
    );
    // The sweep spares what is younger than an hour, for it may just have been used.
    stage.age(fillings.saturating_sub(1) * at_once).await;
    let began = Instant::now();
    stage.cache.sweep().await.expect("Redis answers");
    row(
        "sweep, as if an hour later",
        format!("{:.1?}", began.elapsed()),
    );
    let swept = stage.left().await;
    row("tokens behind it", &swept.tokens);
    assert!(
        is_hit(&ask(&stage.router, "/").await),
        "the sweep took what was alive"
    );
    if swept.tokens.for_ever > at_once + 2 || after.entry > before.entry * 1.5 {
        println!("tags have accumulated");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

struct Stage {
    server: RedisServer,
    cache: SmartCache,
    router: Router,
}

/// What is in Redis.
#[derive(Default)]
struct Left {
    entry: f64,
    tokens: Tokens,
    memory: f64,
}

#[derive(Default)]
struct Tokens {
    for_ever: u64,
    /// Those that have an expiry, and the longest that one has left, in milliseconds.
    expiring: u64,
    longest: i64,
}

impl std::fmt::Display for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            for_ever,
            expiring,
            longest,
        } = self;
        write!(
            f,
            "{for_ever} for ever, {expiring} that are gone within {} s",
            longest / 1000
        )
    }
}

impl Stage {
    /// Clears the entry and asks until the new one is a hit; how long that took until then, and how long
    /// the hit, in microseconds.
    async fn fill(&self, filling: u64) -> (u64, u64) {
        let began = Instant::now();
        self.cache.clear("list").await.expect("Redis answers");
        for _ in 0..MOST_ASKED {
            let asked = Instant::now();
            let answer = ask(&self.router, "/").await;
            if is_hit(&answer) {
                assert_eq!(answer.1, format!("filling {filling}").as_bytes());
                let filled = asked - began;
                return (
                    filled.as_micros() as u64,
                    asked.elapsed().as_micros() as u64,
                );
            }
            // The store follows the answer.
            tokio::task::yield_now().await;
        }
        panic!("filling {filling} is never a hit");
    }

    /// Makes the tokens of the first so many tags as old as they are after two hours.
    async fn age(&self, tags: u64) {
        let mut connection = self.server.connection().await;
        let old = micros().saturating_sub(2 * 3_600_000_000);
        for first in (0..tags).step_by(1_000) {
            let mut aged = redis::pipe();
            for tag in first..tags.min(first + 1_000) {
                let token = format!(":{tag:032x}:{}", old + tag);
                aged.cmd("SET").arg(format!("{{scale}}:t:row:{tag}"));
                aged.arg(token).arg("XX").arg("KEEPTTL").ignore();
            }
            let () = aged
                .query_async(&mut connection)
                .await
                .expect("Redis answers");
        }
    }

    async fn left(&self) -> Left {
        let mut connection = self.server.connection().await;
        let mut left = Left {
            memory: self
                .server
                .info("used_memory")
                .await
                .parse()
                .expect("a number"),
            ..Left::default()
        };
        let mut cursor = "0".to_owned();
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&cursor).arg("COUNT").arg(1_000);
            let (next, names): (String, Vec<String>) =
                scan.query_async(&mut connection).await.expect("names");
            let mut asked = redis::pipe();
            for name in &names {
                asked.cmd("PTTL").arg(name);
            }
            let lives: Vec<i64> = asked.query_async(&mut connection).await.expect("lives");
            for (name, life) in names.iter().zip(lives) {
                if name.starts_with("{scale}:e:") {
                    let mut length = redis::cmd("STRLEN");
                    let length: f64 = length
                        .arg(name)
                        .query_async(&mut connection)
                        .await
                        .expect("an entry");
                    left.entry += length;
                } else if name.starts_with("{scale}:t:") && life < 0 {
                    left.tokens.for_ever += 1;
                } else if name.starts_with("{scale}:t:") {
                    left.tokens.expiring += 1;
                    left.tokens.longest = left.tokens.longest.max(life);
                }
            }
            if next == "0" {
                return left;
            }
            cursor = next;
        }
    }
}
