//! Several processes write, clear and read at once, and none may answer with what was cleared.
//!
//! `stress_local [--seconds S] [--seed N] [--nodes N]` starts a private redis-server and the nodes, and
//! meanwhile evicts tokens, flushes the server and kills tracking connections. A node commits a version
//! of its own pages to a file that all share, clears, and notes when the clear was acknowledged. Every
//! node reads all pages, and each answer must be at least as new as
//! - what the node itself had cleared before the request began, for its own pages;
//! - what another node had cleared a whole L before the request began, for the others'.
//!
//! Exits with 1 when one answer was older.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::extract::{Path as PathOf, State};
use axum::http::Request;
use axum::routing::get;
use axum::{Extension, Router};
use http_body_util::BodyExt as _;
use smart_cache::{BackendKind, SmartCache, StartFlush, smart_cache};
use smart_cache_tests::harness::{Program, Random, RedisServer, number_after, text_after};
use tower::ServiceExt as _;

/// Pages of each node.
const PAGES: u64 = 3;
/// The versions whose acknowledgement is remembered: far more than are written within L.
const HISTORY: u64 = 1 << 15;
const L: Duration = Duration::from_millis(500);
const READERS: u64 = 4;

/// The database: for each page the newest version, the newest that was cleared, and when each was.
#[derive(Clone)]
struct Rows(Arc<File>);

impl Rows {
    fn open(path: &Path) -> Self {
        let file = File::options().read(true).write(true).open(path);
        Self(Arc::new(file.expect("the shared file")))
    }

    fn at(page: u64, field: u64) -> u64 {
        (page * (HISTORY + 2) + field) * 8
    }

    fn read(&self, page: u64, field: u64) -> u64 {
        let mut number = [0; 8];
        // Beyond the end stands nothing yet.
        let _ = self.0.read_at(&mut number, Self::at(page, field));
        u64::from_le_bytes(number)
    }

    fn write(&self, page: u64, field: u64, number: u64) {
        self.0
            .write_all_at(&number.to_le_bytes(), Self::at(page, field))
            .expect("the shared file");
    }

    fn newest(&self, page: u64) -> u64 {
        self.read(page, 0)
    }

    fn cleared(&self, page: u64) -> u64 {
        self.read(page, 1)
    }

    fn cleared_at(&self, page: u64, version: u64) -> u64 {
        self.read(page, 2 + version % HISTORY)
    }
}

/// The same clock for all processes.
fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("it is past 1970").as_micros() as u64
}

#[smart_cache("page:{id}", tags("pages"))]
async fn page(State(rows): State<Rows>, PathOf(id): PathOf<u64>) -> String {
    rows.newest(id).to_string()
}

/// What one node has seen.
#[derive(Debug, Default)]
struct Seen {
    reads: u64,
    old: u64,
    /// The longest that another node's clear was not heard of, in microseconds.
    latest: u64,
}

struct Node {
    number: u64,
    nodes: u64,
    rows: Rows,
    router: Router,
    cache: SmartCache,
}

impl Node {
    async fn read(&self, random: &mut Random, seen: &mut Seen) {
        let id = random.below(self.nodes * PAGES);
        let own = id / PAGES == self.number;
        let began = micros();
        let cleared = self.rows.cleared(id);
        let mut least = cleared;
        if !own {
            while least > 0 && self.rows.cleared_at(id, least) + L.as_micros() as u64 > began {
                least -= 1;
            }
        }
        let request = Request::get(format!("/{id}"))
            .body(Body::empty())
            .expect("a request");
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("an answer");
        let body = response
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        let version = std::str::from_utf8(&body)
            .ok()
            .and_then(|text| text.parse::<u64>().ok());
        let version = version.expect("a version");
        seen.reads += 1;
        if version < cleared {
            let behind = began.saturating_sub(self.rows.cleared_at(id, version + 1));
            seen.latest = seen.latest.max(behind);
        }
        if version < least {
            seen.old += 1;
            println!(
                "OLD: node {} answered page {id} with {version}, cleared up to {least}, own: {own}",
                self.number
            );
        }
    }

    async fn write(&self, random: &mut Random) {
        let id = self.number * PAGES + random.below(PAGES);
        let version = self.rows.newest(id) + 1;
        self.rows.write(id, 0, version);
        let by_tag = random.below(20) == 0;
        let keys = if by_tag {
            "pages".to_owned()
        } else {
            format!("page:{id}")
        };
        while let Err(why) = self.cache.clear(keys.as_str()).await {
            println!("node {}: {why}", self.number);
        }
        // First when, then that: a reader sees no version without its time.
        self.rows.write(id, 2 + version % HISTORY, micros());
        self.rows.write(id, 1, version);
    }
}

async fn run_node(number: u64, nodes: u64, length: Duration, seed: u64) -> ExitCode {
    let rows = Rows::open(Path::new(&text_after("--rows").expect("--rows FILE")));
    let cache = SmartCache::builder()
        .url(&text_after("--url").expect("--url URL"))
        .backend(BackendKind::Redis)
        .namespace("stress")
        .app_version("stress")
        .flush(StartFlush::Never)
        .settle(Duration::ZERO)
        .timeout(Duration::from_secs(5))
        .local_staleness(L)
        .build()
        .await
        .expect("the settings are good");
    let router = Router::new()
        .route("/{id}", get(page))
        .layer(Extension(cache.clone()))
        .with_state(rows.clone());
    let node = Arc::new(Node {
        number,
        nodes,
        rows,
        router,
        cache,
    });
    println!("ready");
    let end = Instant::now() + length;
    let mut readers = tokio::task::JoinSet::new();
    for reader in 0..READERS {
        let node = Arc::clone(&node);
        let mut random = Random::seeded(seed ^ (number << 32) ^ (reader << 16));
        readers.spawn(async move {
            let mut seen = Seen::default();
            while Instant::now() < end {
                node.read(&mut random, &mut seen).await;
                // A local hit never waits, and the others must have their turn too.
                tokio::task::yield_now().await;
            }
            seen
        });
    }
    let writing = {
        let node = Arc::clone(&node);
        let mut random = Random::seeded(seed ^ (number << 40));
        tokio::spawn(async move {
            while Instant::now() < end {
                node.write(&mut random).await;
                tokio::time::sleep(Duration::from_millis(random.below(8))).await;
            }
        })
    };
    writing.await.expect("the writer");
    let mut all = Seen::default();
    for seen in readers.join_all().await {
        all.reads += seen.reads;
        all.old += seen.old;
        all.latest = all.latest.max(seen.latest);
    }
    let stats = node.cache.stats();
    println!(
        "node {number}: {} reads, {} local hits, {} misses, {} clears, heard of others' clears within {:?}, {} too old",
        all.reads,
        stats.local_hits,
        stats.misses,
        stats.clears,
        Duration::from_micros(all.latest),
        all.old,
    );
    if all.old == 0 && stats.local_hits > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What happens to the server meanwhile.
async fn disturb(server: &RedisServer, nodes: u64, random: &mut Random) {
    let mut raw = server.connection().await;
    // Rarely, for both end every entry of a node: a node that were deaf to single clears must not be
    // saved by them.
    match random.below(60) {
        0 => redis::cmd("FLUSHALL")
            .query_async::<()>(&mut raw)
            .await
            .expect("the server is there"),
        1 => {
            let clients: String = redis::cmd("CLIENT")
                .arg("LIST")
                .query_async(&mut raw)
                .await
                .expect("the server is there");
            let tracking = clients.lines().filter(|line| {
                line.split(' ').any(|field| {
                    field
                        .strip_prefix("flags=")
                        .is_some_and(|flags| flags.contains('t'))
                })
            });
            let ids: Vec<_> = tracking
                .filter_map(|line| line.split(' ').next()?.strip_prefix("id="))
                .collect();
            if !ids.is_empty() {
                let id = ids[random.below(ids.len() as u64) as usize];
                // It may have gone by itself meanwhile.
                let _: redis::RedisResult<u64> = redis::cmd("CLIENT")
                    .arg("KILL")
                    .arg("ID")
                    .arg(id)
                    .query_async(&mut raw)
                    .await;
            }
        }
        _ => {
            let token = format!("{{stress}}:t:page:{}", random.below(nodes * PAGES));
            redis::cmd("DEL")
                .arg(token)
                .query_async::<()>(&mut raw)
                .await
                .expect("the server is there");
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let seconds = number_after("--seconds").unwrap_or(5);
    let (nodes, seed) = (
        number_after("--nodes").unwrap_or(3),
        number_after("--seed").unwrap_or(1),
    );
    let length = Duration::from_secs(seconds);
    if let Some(number) = number_after("--node") {
        return run_node(number, nodes, length, seed).await;
    }
    let server = RedisServer::start().await;
    let rows = server.folder().join("rows");
    std::fs::write(&rows, []).expect("the server's folder is writable");
    let (rows, url) = (rows.display().to_string(), server.url());
    let own = std::env::current_exe().expect("a running program is a file");
    let mut programs = Vec::new();
    for number in 0..nodes {
        let numbers = [number, nodes, seconds, seed].map(|number| number.to_string());
        let [number, nodes, seconds, seed] = numbers.each_ref().map(String::as_str);
        let arguments = [
            "--node",
            number,
            "--nodes",
            nodes,
            "--seconds",
            seconds,
            "--seed",
            seed,
            "--rows",
            &rows,
            "--url",
            &url,
        ];
        let mut program = Program::start(&own, &arguments, &[]);
        program.line_with("ready").await;
        programs.push(program);
    }
    let (mut random, began) = (Random::seeded(seed), Instant::now());
    while began.elapsed() < length {
        disturb(&server, nodes, &mut random).await;
        tokio::time::sleep(Duration::from_millis(20 + random.below(60))).await;
    }
    let mut good = true;
    for program in programs {
        let (status, lines) = program.ended().await;
        good &= status.success();
        println!("{}", lines.join("\n"));
    }
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
