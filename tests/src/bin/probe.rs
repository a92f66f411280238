//! A small application that starts the way real ones do, for tests of the start and the environment.
//!
//! `probe [FLAGS] [REQUESTS]`; it prints its log (as far as `RUST_LOG` goes), then `ready: ..` and
//! `listening on ADDR`, or `error: ..` and exits with 1.
//!
//! | flag | what it does |
//! |---|---|
//! | `--lazy` | does not call `start()`: the first request configures the cache |
//! | `--single` | runs on one thread |
//! | `--install` | installs caches made in code, twice, and prints what came of it |
//! | `--blocking` | clears blockingly from a plain thread before any runtime exists, and exits |
//!
//! With `PROBE_ROWS`, `/row/{id}` answers what stands in that file, so that an answer tells how old it is.
//! Requests such as `GET:/page/1` are answered in order without a socket; then it exits with 0.

use std::collections::HashSet;
use std::process::ExitCode;
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::Request;
use axum::routing::{get, post};
use http_body_util::BodyExt as _;
use smart_cache::{
    ClearError, SmartCache, Timeout, cache, caches, clear_all, clear_cache, clear_cache_blocking,
    clears_cache, install, install_named, smart_cache,
};
use tower::ServiceExt as _;
use tracing_subscriber::filter::LevelFilter;

fn main() -> ExitCode {
    let level = std::env::var("RUST_LOG").ok();
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(std::io::stdout)
        .with_max_level(
            level
                .and_then(|level| LevelFilter::from_str(&level).ok())
                .unwrap_or(LevelFilter::INFO),
        )
        .init();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (flags, requests): (Vec<_>, Vec<_>) =
        words.into_iter().partition(|word| word.starts_with("--"));
    let flags: HashSet<String> = flags.into_iter().collect();
    if flags.contains("--blocking") {
        println!("cleared: {}", timed(|| clear_cache_blocking("page:1")));
        return ExitCode::SUCCESS;
    }
    let mut runtime = if flags.contains("--single") {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let ran = runtime
        .enable_all()
        .build()
        .map_err(|why| why.to_string())
        .and_then(|runtime| runtime.block_on(run(&flags, &requests)));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: &HashSet<String>, requests: &[String]) -> Result<(), String> {
    if flags.contains("--install") {
        for _ in 0..2 {
            println!("install: {}", outcome(install(SmartCache::in_memory())));
            let named = install_named("sessions", SmartCache::in_memory());
            println!("install_named: {}", outcome(named));
        }
    }
    if !flags.contains("--lazy") {
        let cache = smart_cache::start().await.map_err(|why| why.to_string())?;
        println!("ready: {}", cache.describe());
    }
    for handler in smart_cache::registry().cached {
        println!("registered: {} as {}", handler.name, handler.key);
    }
    if requests.is_empty() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .map_err(|why| why.to_string())?;
        println!(
            "listening on {}",
            listener.local_addr().map_err(|why| why.to_string())?
        );
        return axum::serve(listener, app())
            .await
            .map_err(|why| why.to_string());
    }
    for request in requests {
        println!("{request} -> {}", ask(request).await?);
    }
    Ok(())
}

/// Answers `METHOD:/path` without a socket.
async fn ask(request: &str) -> Result<String, String> {
    let (method, path) = request.split_once(':').ok_or("METHOD:/path")?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .map_err(|why| why.to_string())?;
    let Ok(response) = app().oneshot(request).await;
    let status = response.headers().get("cache-status").cloned();
    let status = status.map_or_else(
        || "no cache-status".to_owned(),
        |value| String::from_utf8_lossy(value.as_bytes()).into_owned(),
    );
    let code = response.status();
    let body = response.into_body().collect().await;
    let body = body.map_err(|why| why.to_string())?.to_bytes();
    Ok(format!(
        "{code} [{status}] {}",
        String::from_utf8_lossy(&body)
    ))
}

fn app() -> Router {
    Router::new()
        .route("/page/{id}", get(page))
        .route("/session/{id}", get(session))
        .route("/nowhere/{id}", get(nowhere))
        .route("/row/{id}", get(row))
        .route("/local", get(local))
        .route("/large/{id}", get(kind::<Large>))
        .route("/small/{id}", get(kind::<Small>))
        .route("/write/{id}", post(write))
        .route("/forget/{id}", post(forget))
        .route("/clear/{key}", post(clear))
        .route("/clear-many/{count}", post(clear_many))
        .route("/clear-all", post(async || outcome(clear_all().await)))
        .route("/clear-blocking/{key}", post(clear_blocking))
        .route("/clear-while-starting/{key}", post(clear_while_starting))
        .route("/pending", get(pending))
        .route("/value/{cache}/{key}", get(value).post(set_value))
        .route("/same/{cache}", get(same))
}

#[smart_cache("page:{id}", tags("pages"))]
async fn page(Path(id): Path<u64>) -> String {
    answer("page", id)
}

#[smart_cache("session:{id}", cache = "sessions")]
async fn session(Path(id): Path<u64>) -> String {
    answer("session", id)
}

#[smart_cache("nowhere:{id}", cache = "nowhere")]
async fn nowhere(Path(id): Path<u64>) -> String {
    answer("nowhere", id)
}

/// What stands in the file that `PROBE_ROWS` names: data that several processes share.
#[smart_cache("row:{id}", tags("rows"))]
async fn row(Path(id): Path<u64>) -> String {
    let rows = std::env::var("PROBE_ROWS").map(std::fs::read_to_string);
    format!(
        "{id} {}",
        rows.map(Result::unwrap_or_default).unwrap_or_default()
    )
}

/// Something that a generic handler is generic over.
trait Kind: Send + 'static {
    const NAME: &'static str;
}

enum Large {}
enum Small {}

impl Kind for Large {
    const NAME: &'static str = "large";
}

impl Kind for Small {
    const NAME: &'static str = "small";
}

#[smart_cache("kind:{id}")]
async fn kind<K: Kind>(Path(id): Path<u64>) -> String {
    answer(K::NAME, id)
}

#[clears_cache("page:{id}")]
async fn write(Path(id): Path<u64>) -> String {
    answer("written", id)
}

/// Clears what no handler here is cached under.
#[clears_cache("forgotten:{id}")]
async fn forget(Path(id): Path<u64>) -> String {
    answer("forgotten", id)
}

async fn clear(Path(key): Path<String>) -> String {
    outcome(clear_cache(key).await)
}

async fn clear_many(Path(count): Path<u64>) -> String {
    let keys: Vec<String> = (0..count).map(|id| format!("paeg:{id}")).collect();
    outcome(clear_cache(keys).await)
}

/// What a synchronous hook does, on the runtime's own thread.
async fn clear_blocking(Path(key): Path<String>) -> String {
    timed(|| clear_cache_blocking(key))
}

/// The same, while the first request of the process is still setting the cache up on this thread.
async fn clear_while_starting(Path(key): Path<String>) -> String {
    let first = tokio::spawn(
        app().oneshot(
            Request::builder()
                .uri("/page/1")
                .body(Body::empty())
                .unwrap_or_default(),
        ),
    );
    // Lets the other request come as far as it can without waiting.
    tokio::task::yield_now().await;
    let cleared = timed(|| clear_cache_blocking(key));
    drop(first.await);
    cleared
}

async fn pending() -> String {
    match smart_cache::start().await {
        Ok(cache) => cache.stats().pending_clears.to_string(),
        Err(why) => why.to_string(),
    }
}

/// Whether the local tier may answer, and how often it has.
async fn local() -> String {
    match smart_cache::start().await {
        Ok(cache) => {
            let stats = cache.stats();
            let live = stats.local.is_some_and(|local| local.live);
            format!("{live} {}", stats.local_hits)
        }
        Err(why) => why.to_string(),
    }
}

/// The low-level API of a cache by its name.
async fn value(Path((cache, key)): Path<(String, String)>) -> String {
    match caches(&cache) {
        Ok(values) => match values.get::<String>(key).await {
            Ok(found) => format!("{found:?}"),
            Err(why) => format!("error: {why}"),
        },
        Err(why) => format!("error: {why}"),
    }
}

async fn set_value(Path((cache, key)): Path<(String, String)>) -> String {
    match caches(&cache) {
        Ok(values) => outcome(values.set(key, &cache, Timeout::Default).await),
        Err(why) => format!("error: {why}"),
    }
}

/// Whether a name is the same cache each time, and another than the default one.
async fn same(Path(name): Path<String>) -> String {
    match (caches(&name), caches(&name)) {
        (Ok(one), Ok(other)) => (one == other && one != cache()).to_string(),
        (Err(why), _) | (_, Err(why)) => format!("error: {why}"),
    }
}

/// A body that no other run of any process gives.
fn answer(what: &str, id: u64) -> String {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    format!("{what} {id} by process {}, run {run}", std::process::id())
}

fn outcome<E: std::fmt::Display>(result: Result<(), E>) -> String {
    result.map_or_else(|why| format!("error: {why}"), |()| "ok".to_owned())
}

fn timed(clear: impl FnOnce() -> Result<(), ClearError>) -> String {
    let start = Instant::now();
    let outcome = outcome(clear());
    format!("{outcome} after {} ms", start.elapsed().as_millis())
}
