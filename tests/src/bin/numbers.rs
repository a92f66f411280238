//! The numbers that are no throughput: what a miss asks, who runs for a cold key, how long a clear of very many
//! keys takes, what an outage costs.
//!
//! `numbers [miss|cold|many|outage]...` (all without a word) starts private servers and prints a line for each
//! number, `= WHAT | IS | GOAL`, and fails when one is missed that no slow machine excuses.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Path;
use axum::http::{Request, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use smart_cache::{BackendKind, SmartCache, StartFlush, smart_cache};
use smart_cache_tests::harness::{
    Chaos, Client, Program, RedisServer, eventually, namespace, within, workspace_program,
};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

const PROCESSES: usize = 4;
const CONNECTIONS: usize = 200;
const REQUESTS: usize = 10_000;
/// Asked one after the other while the breaker is open.
const ASKED: usize = 2000;

#[tokio::main]
async fn main() -> ExitCode {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if words.is_empty() {
        words = ["miss", "cold", "many", "outage"]
            .map(str::to_owned)
            .to_vec();
    }
    let mut kept = true;
    for word in words {
        kept &= match word.as_str() {
            "miss" => miss().await,
            "cold" => cold().await,
            "many" => many().await,
            "outage" => frozen().await & stopped().await,
            _ => {
                eprintln!("usage: numbers [miss|cold|many|outage]...");
                return ExitCode::FAILURE;
            }
        };
    }
    if kept {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One line of the table.
fn line(what: &str, is: impl std::fmt::Display, goal: &str) {
    println!("= {what} | {is} | {goal}");
}

static RUNS: AtomicU64 = AtomicU64::new(0);

#[smart_cache("page:{id}", local = false)]
async fn page(Path(id): Path<u64>) -> String {
    RUNS.fetch_add(1, Ordering::SeqCst);
    id.to_string()
}

async fn plain(Path(id): Path<u64>) -> String {
    id.to_string()
}

struct App {
    router: Router,
    cache: SmartCache,
}

impl App {
    async fn at(url: &str) -> Self {
        let cache = SmartCache::builder()
            .url(url)
            .backend(BackendKind::Redis)
            .namespace(namespace())
            .app_version("numbers")
            .flush(StartFlush::Never)
            .settle(Duration::ZERO)
            .build()
            .await
            .expect("settings that are right");
        let router = Router::new()
            .route("/page/{id}", get(page))
            .route("/plain/{id}", get(plain))
            .layer(Extension(cache.clone()));
        Self { router, cache }
    }

    /// How long an answer took, and whether it was one.
    async fn ask(&self, path: &str) -> (Duration, bool) {
        let request = Request::get(path).body(Body::empty());
        let began = Instant::now();
        let answer = self.router.clone().oneshot(request.expect("a path")).await;
        let answered = answer.is_ok_and(|answer| answer.status() == StatusCode::OK);
        (began.elapsed(), answered)
    }

    /// The middle and the longest of many requests, one after the other, and how many failed.
    async fn times(&self, path: &str) -> (Duration, Duration, usize) {
        let (mut times, mut failed) = (Vec::with_capacity(ASKED), 0);
        for _ in 0..ASKED {
            let (took, answered) = self.ask(path).await;
            times.push(took);
            failed += usize::from(!answered);
        }
        times.sort_unstable();
        (times[ASKED / 2], times[ASKED - 1], failed)
    }

    async fn hit(&self, path: &str) {
        eventually("a hit", async || {
            let before = self.cache.stats().hits;
            self.ask(path).await;
            (self.cache.stats().hits > before).then_some(())
        })
        .await;
    }
}

/// A miss asks once, takes a ticket once, and stores once.
async fn miss() -> bool {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let app = App::at(&chaos.url()).await;
    app.hit("/page/0").await;
    let mut least = u64::MAX;
    // A heartbeat may go by beside one of them, not beside each.
    for id in 1..6 {
        let (before, stored) = (chaos.commands(), app.cache.stats().stored);
        app.ask(&format!("/page/{id}")).await;
        eventually("the store", async || {
            (app.cache.stats().stored > stored).then_some(())
        })
        .await;
        least = least.min(chaos.commands() - before);
    }
    line("a miss: commands (lookup, ticket, store)", least, "3");
    least == 3
}

/// Asks for one page again and again on one connection.
async fn ask_often(address: std::net::SocketAddr, path: String, times: usize) -> usize {
    let stream = TcpStream::connect(address).await.expect("it listens");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP");
    let connection = tokio::spawn(connection);
    let mut answered = 0;
    for _ in 0..times {
        let request = Request::get(&path)
            .header("host", "localhost")
            .body(Empty::<Bytes>::new())
            .expect("a path");
        let Ok(answer) = sender.send_request(request).await else {
            break;
        };
        let status = answer.status();
        let body = answer.into_body().collect().await;
        answered += usize::from(status == StatusCode::OK && body.is_ok());
    }
    connection.abort();
    answered
}

/// Ten thousand requests on four real processes for one cold page, which takes a while to make.
async fn cold() -> bool {
    let (server, namespace) = (RedisServer::start().await, namespace());
    let url = server.url();
    let environment = [
        ("SMART_REDIS_URL", url.as_str()),
        ("SMART_REDIS_NAMESPACE", &namespace),
        ("SMART_REDIS_RESTART_AND_CLEAR_CACHE", "false"),
        ("SMART_REDIS_APP_VERSION", "one"),
        ("SMART_REDIS_SETTLE", "0"),
        // All cores are busy here; a slow answer is not what this is about.
        ("SMART_REDIS_TIMEOUT", "5s"),
        ("SMART_REDIS_WAIT", "20s"),
    ];
    let (mut programs, mut addresses) = (Vec::new(), Vec::new());
    for _ in 0..PROCESSES {
        let arguments = ["redis", "0", "--handler-ms", "300"];
        let mut program = Program::start(workspace_program("load"), &arguments, &environment);
        let address = program.line_with("listening on ").await;
        addresses.push(address.parse().expect("an address"));
        programs.push(program);
    }
    let mut asked = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let address = addresses[connection % PROCESSES];
        asked.spawn(ask_often(
            address,
            "/item/7".to_owned(),
            REQUESTS / CONNECTIONS,
        ));
    }
    let answers = within("all answers", asked.join_all()).await;
    let answered: usize = answers.into_iter().sum();
    let mut runs = 0;
    for address in addresses {
        let calls = Client::of(address).get("/calls").await;
        let calls = String::from_utf8_lossy(calls.body()).into_owned();
        runs += calls.parse::<u64>().expect("a number");
    }
    let what =
        format!("a cold key, {REQUESTS} requests on {PROCESSES} processes: answers, handler runs");
    line(&what, format!("{answered}, {runs}"), "10000, 1");
    (answered, runs) == (REQUESTS, 1)
}

/// A hundred thousand keys in one clear, with the timeout that there is by default.
async fn many() -> bool {
    let server = RedisServer::start().await;
    let app = App::at(&server.url()).await;
    app.hit("/page/7").await;
    let keys: Vec<String> = (0..100_000).map(|id| format!("page:{id}")).collect();
    let began = Instant::now();
    let said = match app.cache.clear(keys).await {
        Ok(()) => "acknowledged".to_owned(),
        Err(why) => why.to_string(),
    };
    let took = began.elapsed();
    line("a clear of 100 000 keys", format!("{took:.0?}, {said}"), "");
    // Acknowledged or not, it is repeated until it has landed, and nothing old is shown meanwhile.
    let runs = RUNS.load(Ordering::SeqCst);
    app.ask("/page/7").await;
    RUNS.load(Ordering::SeqCst) > runs
}

/// What is asked of a server that stands still.
async fn frozen() -> bool {
    let server = RedisServer::start().await;
    let app = App::at(&server.url()).await;
    app.hit("/page/1").await;
    server.freeze();
    let kept = outage(&app, "frozen").await;
    server.thaw();
    kept
}

/// What is asked of a server that is gone.
async fn stopped() -> bool {
    let mut server = RedisServer::start().await;
    let app = App::at(&server.url()).await;
    app.hit("/page/1").await;
    server.kill();
    outage(&app, "stopped").await
}

async fn outage(app: &App, how: &str) -> bool {
    let timeout = Duration::from_millis(250);
    let (first, answered) = app.ask("/page/1").await;
    let is_open = || !app.cache.stats().available;
    let mut worst = first;
    let mut failed = usize::from(!answered);
    while !is_open() {
        let (took, answered) = app.ask("/page/1").await;
        worst = worst.max(took);
        failed += usize::from(!answered);
    }
    let (plain, _, _) = app.times("/plain/1").await;
    let (median, longest, more) = app.times("/page/1").await;
    failed += more;
    let added = median.saturating_sub(plain);
    let of = |what: &str| format!("Redis {how}: {what}");
    line(&of("failed requests"), failed, "0");
    line(
        &of("longest answer until the breaker opens"),
        format!("{worst:.1?}"),
        "the timeout, 250 ms",
    );
    line(
        &of("added by the cache then, median"),
        format!("{added:.1?}"),
        "below 1 ms",
    );
    line(&of("longest answer then"), format!("{longest:.1?}"), "");
    // What a loaded machine may add.
    let margin = Duration::from_millis(400);
    failed == 0 && worst < timeout + margin && added < Duration::from_millis(20)
}
