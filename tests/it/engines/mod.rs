//! Past one server: clusters and sentinels, real ones, that fail over, move slots and restart while
//! applications are asked and write.
//!
//! A [`Node`] is an application with a cache of its own; several of them on one namespace stand for
//! several processes. All share [`Rows`], and every answer tells how old the row was that it was made
//! of, so a [`Load`] can tell whether any answer was of before an acknowledged clear.

mod cluster;
mod cut_off;
mod doors;
mod moving;
mod partitions;
mod replicas;
mod rights;
mod sentinels;
mod valkey;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use http_body_util::BodyExt as _;
use smart_cache::{BackendKind, Builder, SmartCache, StartFlush, smart_cache};
use smart_cache_tests::harness::eventually;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

/// Rows of one table: how many there are.
const ROWS: usize = 8;
/// How long a request may wait for Redis here: more than a loaded machine takes for an answer, and little
/// enough for a failover to be noticed soon.
const TIMEOUT: Duration = Duration::from_millis(500);
/// The bound of what the memory of a process may be late by; the heartbeat is a quarter of it.
const STALENESS: Duration = Duration::from_millis(400);

/// The data that all nodes share.
#[derive(Clone)]
struct Rows(Arc<[Row; ROWS]>);

#[derive(Default)]
struct Row {
    /// Raised by each write.
    version: AtomicU64,
    /// Which versions were there when a clear was sent that was acknowledged, and when it was.
    cleared: Mutex<Vec<(Instant, u64)>>,
    /// How often a handler has read it.
    runs: AtomicU64,
}

impl Rows {
    fn new() -> Self {
        Self(Arc::new(std::array::from_fn(|_| Row::default())))
    }

    fn write(&self, id: usize) -> u64 {
        self.0[id].version.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn version(&self, id: usize) -> u64 {
        self.0[id].version.load(Ordering::SeqCst)
    }

    fn runs(&self, id: usize) -> u64 {
        self.0[id].runs.load(Ordering::SeqCst)
    }

    fn acknowledged(&self, id: usize, version: u64) {
        let mut cleared = self.0[id]
            .cleared
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        cleared.push((Instant::now(), version));
    }

    /// The newest version whose clear was acknowledged.
    fn floor_of_writes(&self, id: usize) -> u64 {
        self.floor(id, Instant::now())
    }

    /// The oldest version that an answer may be of, if what was cleared by then counts.
    fn floor(&self, id: usize, until: Instant) -> u64 {
        let cleared = self.0[id]
            .cleared
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let counted = cleared.iter().filter(|(at, _)| *at <= until);
        counted.map(|(_, version)| *version).max().unwrap_or(0)
    }
}

#[smart_cache("row:{id}", tags("rows"))]
async fn row(State(rows): State<Rows>, Path(id): Path<usize>) -> String {
    let version = rows.version(id);
    rows.0[id].runs.fetch_add(1, Ordering::SeqCst);
    // Long enough for a clear to come in between.
    tokio::task::yield_now().await;
    format!("{id} {version}")
}

/// One application.
#[derive(Clone)]
struct Node {
    router: Router,
    cache: SmartCache,
    rows: Rows,
    /// How long after an acknowledged clear it may answer with what was before: not at all, unless it has
    /// a local tier.
    late: Duration,
}

/// What came back.
#[derive(Debug, Clone)]
struct Answer {
    version: u64,
    how: String,
}

impl Answer {
    fn is_hit(&self) -> bool {
        self.how.contains("; hit")
    }
}

/// A cache that stores for ever at once and flushes nothing when it starts. Every hit is a round trip.
fn builder(url: &str, namespace: &str) -> Builder {
    SmartCache::builder()
        .url(url)
        .backend(BackendKind::Redis)
        .namespace(namespace)
        .app_version("test")
        .flush(StartFlush::Never)
        .settle(Duration::ZERO)
        .timeout(TIMEOUT)
        .local_staleness(STALENESS)
        .local_capacity(0)
}

impl Node {
    async fn at(url: &str, namespace: &str, rows: &Rows) -> Self {
        Self::of(builder(url, namespace).build().await.unwrap(), rows)
    }

    /// One with a local tier.
    async fn near(url: &str, namespace: &str, rows: &Rows) -> Self {
        let near = builder(url, namespace).local_capacity(8 << 20);
        Self {
            late: STALENESS,
            ..Self::of(near.build().await.unwrap(), rows)
        }
    }

    fn of(cache: SmartCache, rows: &Rows) -> Self {
        let router = Router::new()
            .route("/row/{id}", get(row))
            .layer(Extension(cache.clone()))
            .with_state(rows.clone());
        Self {
            router,
            cache,
            rows: rows.clone(),
            late: Duration::ZERO,
        }
    }

    /// Asks for a row. Whatever Redis does, the answer must be one.
    async fn ask(&self, id: usize) -> Answer {
        let request = Request::get(format!("/row/{id}"))
            .body(Body::empty())
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let how = response.headers()["cache-status"]
            .to_str()
            .unwrap()
            .to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&body).unwrap();
        let (of, version) = text.split_once(' ').unwrap();
        assert_eq!(of, id.to_string());
        Answer {
            version: version.parse().unwrap(),
            how,
        }
    }

    /// Asks until the cache answers.
    async fn hit(&self, id: usize) -> Answer {
        eventually("a hit", async || {
            Some(self.ask(id).await).filter(Answer::is_hit)
        })
        .await
    }

    /// Asks until the answer comes from the node's memory.
    async fn local_hit(&self, id: usize) {
        eventually("a local hit", async || {
            let before = self.cache.stats().local_hits;
            self.ask(id).await;
            (self.cache.stats().local_hits > before).then_some(())
        })
        .await;
    }

    /// Writes a row and clears it; whether the clear was acknowledged.
    async fn write(&self, id: usize) -> bool {
        let version = self.rows.write(id);
        match self.cache.clear(format!("row:{id}")).await {
            Ok(()) => {
                self.rows.acknowledged(id, version);
                true
            }
            Err(why) => {
                println!("row {id}: {why}");
                false
            }
        }
    }

    /// Writes a row and clears it, at the second attempt perhaps: connections that are made for a first
    /// clear may take longer than it waits, on a busy machine.
    async fn surely_write(&self, id: usize) {
        if !self.write(id).await {
            self.all_cleared().await;
        }
    }

    /// Waits until everything that could not be cleared has been.
    async fn all_cleared(&self) {
        eventually("all clears to land", async || {
            (self.cache.stats().pending_clears == 0).then_some(())
        })
        .await;
    }
}

/// Applications that are asked and write, all the time, until it is ended.
struct Load {
    nodes: Vec<Node>,
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
    tasks: JoinSet<()>,
}

/// What a load has seen.
#[derive(Debug, Default)]
struct Tally {
    asked: AtomicU64,
    hits: AtomicU64,
    acknowledged: AtomicU64,
    failed: AtomicU64,
    stale: Mutex<Vec<String>>,
}

impl Load {
    /// Begins; an answer is stale when it is of before a clear that was acknowledged before it was asked
    /// for, by more than its node may be late.
    fn on(nodes: &[Node]) -> Self {
        let (stop, tally) = (Arc::<AtomicBool>::default(), Arc::<Tally>::default());
        let mut tasks = JoinSet::new();
        for (number, node) in nodes.iter().enumerate() {
            for reader in 0..2 {
                let (node, stop, tally) = (node.clone(), Arc::clone(&stop), Arc::clone(&tally));
                tasks.spawn(async move {
                    let mut id = reader;
                    while !stop.load(Ordering::SeqCst) {
                        id = (id + 3) % ROWS;
                        tally.read(&node, number, id).await;
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                });
            }
            let (node, stop, tally) = (node.clone(), Arc::clone(&stop), Arc::clone(&tally));
            tasks.spawn(async move {
                let mut id = number;
                while !stop.load(Ordering::SeqCst) {
                    id = (id + 1) % ROWS;
                    let counter = if node.write(id).await {
                        &tally.acknowledged
                    } else {
                        &tally.failed
                    };
                    counter.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
        }
        Self {
            nodes: nodes.to_vec(),
            stop,
            tally,
            tasks,
        }
    }

    fn hits(&self) -> u64 {
        self.tally.hits.load(Ordering::SeqCst)
    }

    fn acknowledged(&self) -> u64 {
        self.tally.acknowledged.load(Ordering::SeqCst)
    }

    /// Hits of those nodes that have a local tier, from it.
    fn local_hits(&self) -> Vec<u64> {
        let near = self.nodes.iter().filter(|node| !node.late.is_zero());
        near.map(|node| node.cache.stats().local_hits).collect()
    }

    /// Waits until the cache has answered so many more requests and acknowledged some more clears, and
    /// local tiers are believed again: what was done to the servers before is over.
    async fn goes_on(&self, what: &str) {
        let (hits, acknowledged) = (self.hits() + 100, self.acknowledged() + 20);
        let local = self.local_hits();
        eventually(format!("hits and clears after {what}"), async || {
            let mut near = self.local_hits().into_iter().zip(&local);
            let is_near = near.all(|(now, before)| now > before + 5);
            let goes_on = self.hits() >= hits && self.acknowledged() >= acknowledged;
            (goes_on && is_near).then_some(())
        })
        .await;
    }

    /// Ends: nothing may have been stale, every clear lands after all, and then every node answers with
    /// what is in the rows.
    async fn end(mut self) -> Arc<Tally> {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("no request fails");
        }
        let stale = self
            .tally
            .stale
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        println!("{:?}", self.tally);
        assert!(
            stale.is_empty(),
            "{} stale answers: {stale:#?}",
            stale.len()
        );
        for node in &self.nodes {
            node.all_cleared().await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        for node in &self.nodes {
            for id in 0..ROWS {
                eventually("the newest version", async || {
                    (node.ask(id).await.version == node.rows.version(id)).then_some(())
                })
                .await;
                assert_eq!(node.hit(id).await.version, node.rows.version(id));
            }
        }
        self.tally
    }
}

impl Tally {
    async fn read(&self, node: &Node, number: usize, id: usize) {
        let asked = Instant::now();
        let floor = asked
            .checked_sub(node.late)
            .map_or(0, |until| node.rows.floor(id, until));
        let answer = node.ask(id).await;
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.hits
            .fetch_add(u64::from(answer.is_hit()), Ordering::SeqCst);
        if answer.version < floor {
            let mut stale = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
            stale.push(format!(
                "node {number}, row {id}: version {} after {floor} was cleared ({})",
                answer.version, answer.how
            ));
        }
    }
}
