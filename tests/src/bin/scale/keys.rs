//! A namespace of a thousand entries against one of a million.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Extension, Router};
use smart_cache::{SmartCache, smart_cache};
use smart_cache_tests::harness::{Random, RedisServer, eventually, number_after};

use super::measure::{Times, bytes, machine, row};
use super::shared::{ask, cache, is_hit};

/// Caches that fill, with a connection each, and requests that each has under way.
const WRITERS: usize = 4;
const AT_ONCE: usize = 32;
const FEW: u64 = 1_000;
/// Clears that are timed, one after the other.
const CLEARS: u64 = 1_000;

#[smart_cache("product:{id}", tags("products"))]
async fn product(State(length): State<usize>, Path(id): Path<u64>) -> String {
    format!("{id:0>length$}")
}

struct Namespace {
    server: RedisServer,
    /// Questions that are timed, one after the other.
    lookups: u64,
    writers: Vec<(SmartCache, Router)>,
}

pub(crate) async fn run() -> ExitCode {
    let entries = number_after("--entries").unwrap_or(1_000_000).max(FEW);
    let length = number_after("--body").unwrap_or(512) as usize;
    let lookups = number_after("--lookups").unwrap_or(20_000).max(1);
    machine();
    row(
        "entries",
        format!("{entries}, each with a key of its own, a tag of all, a body of {length} bytes"),
    );
    let namespace = Namespace::start(length, lookups).await;
    namespace.fill(0, FEW).await;
    namespace.timed("at a thousand", FEW).await;

    let empty = namespace.memory().await;
    let began = Instant::now();
    namespace.fill(FEW, entries).await;
    let rate = (entries - FEW) as f64 / began.elapsed().as_secs_f64();
    let grown = namespace.memory().await - empty;
    let each = grown / (entries - FEW).max(1) as f64;
    row("filled, 4 connections, 128 at once", format!("{rate:.0}/s"));
    row("memory of Redis", bytes(grown));
    let beyond = each - length as f64;
    row(
        "memory of Redis for each entry",
        format!("{each:.0} B, {beyond:.0} beyond its body"),
    );
    namespace.timed("at all of them", entries).await;
    namespace.sweep("sweep, all alive").await;
    let cache = &namespace.writers[0].0;
    let began = Instant::now();
    cache.clear("products").await.expect("Redis answers");
    row(
        "clear of the tag of all",
        format!("{:.1?}", began.elapsed()),
    );
    let began = Instant::now();
    cache.clear_all().await.expect("Redis answers");
    row("clear_all", format!("{:.1?}", began.elapsed()));
    namespace.sweep("sweep, all dead").await;
    let left = namespace.memory().await - empty;
    row("memory of Redis behind that sweep", bytes(left.max(0.0)));
    ExitCode::SUCCESS
}

impl Namespace {
    async fn start(length: usize, lookups: u64) -> Self {
        let server = RedisServer::start().await;
        let mut writers = Vec::new();
        for _ in 0..WRITERS {
            // Every hit is one of Redis: the local tier knows nothing of the number of keys.
            let cache = cache(&server.url(), |builder| builder.local_capacity(0)).await;
            let router = Router::new()
                .route("/{id}", get(product))
                .layer(Extension(cache.clone()))
                .with_state(length);
            writers.push((cache, router));
        }
        Self {
            server,
            lookups,
            writers,
        }
    }

    async fn number(&self, field: &str) -> f64 {
        self.server.info(field).await.parse().expect("a number")
    }

    async fn memory(&self) -> f64 {
        self.number("used_memory").await
    }

    async fn cpu(&self) -> f64 {
        self.number("used_cpu_user").await + self.number("used_cpu_sys").await
    }

    fn stored(&self) -> u64 {
        let stored = |(cache, _): &(SmartCache, Router)| cache.stats().stored;
        self.writers.iter().map(stored).sum()
    }

    /// Fills those from `first` on that are not there, from all connections at once, and waits for the
    /// last store.
    async fn fill(&self, first: u64, end: u64) {
        let (next, missed) = (Arc::new(AtomicU64::new(first)), Arc::new(AtomicU64::new(0)));
        let before = self.stored();
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..WRITERS * AT_ONCE {
            let router = self.writers[number % WRITERS].1.clone();
            let (next, missed) = (Arc::clone(&next), Arc::clone(&missed));
            tasks.spawn(async move {
                loop {
                    let id = next.fetch_add(1, Ordering::Relaxed);
                    if id >= end {
                        return;
                    }
                    let answer = ask(&router, &format!("/{id}")).await;
                    missed.fetch_add(u64::from(!is_hit(&answer)), Ordering::Relaxed);
                }
            });
        }
        tasks.join_all().await;
        let missed = missed.load(Ordering::Relaxed);
        eventually("the last store", async || {
            (self.stored() - before >= missed).then_some(())
        })
        .await;
    }

    /// Hits and clears while there are so many entries. What is cleared is filled again.
    async fn timed(&self, when: &str, entries: u64) {
        let (cache, router) = &self.writers[0];
        let mut random = Random::seeded(entries);
        let mut hits = Times::default();
        for _ in 0..self.lookups {
            let path = format!("/{}", random.below(entries));
            let began = Instant::now();
            let answer = ask(router, &path).await;
            hits.push(began.elapsed());
            assert!(is_hit(&answer), "{answer:?}");
        }
        row(&format!("hit from Redis {when}"), hits.percentiles());
        let mut clears = Times::default();
        for id in 0..CLEARS {
            let began = Instant::now();
            let cleared = cache.clear(format!("product:{id}")).await;
            clears.push(began.elapsed());
            cleared.expect("Redis answers");
        }
        row(&format!("clear of a key {when}"), clears.percentiles());
        self.fill(0, CLEARS).await;
    }

    async fn sweep(&self, what: &str) {
        let (cpu, began) = (self.cpu().await, Instant::now());
        let removed = self.writers[0].0.sweep().await.expect("Redis answers");
        let (took, cpu) = (began.elapsed(), self.cpu().await - cpu);
        row(
            what,
            format!("{took:.1?}, {removed} removed, {cpu:.1} s of Redis' processor"),
        );
    }
}
