//! The server that the numbers are measured with.
//!
//! `load -- MODE PORT [--threads N] [--body BYTES] [--handler-ms N] [--encodings]`, with `GET /item/{id}` and `GET /calls`.
//!
//! | mode | what a request to `/item/{id}` costs |
//! |---|---|
//! | `plain` | the handler alone, which returns a ready `Bytes`: no cache |
//! | `local` | a hit of the cache as it comes, local tier included |
//! | `redis` | a hit of the cache without its local tier: a round trip each |
//! | `compress` | the handler alone behind tower-http's `CompressionLayer`, which encodes each answer |
//! | `raw-get` | a handler written by hand: one GET on a multiplexed connection |
//!
//! With `--encodings` the cache keeps zstd, brotli and gzip beside the plain body; ask with
//! `wrk -H 'accept-encoding: br'`. Then, and with `compress`, the body is JSON that compresses as
//! pages do. `SMART_REDIS_*` says where Redis is. `/calls` counts the runs of the handler behind the cache.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use smart_cache::{SmartCache, smart_cache};
use smart_cache_tests::harness::Random;
use tower_http::compression::CompressionLayer;

/// Runs of the handler.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// What the handlers answer with: made once.
#[derive(Clone)]
struct Ready {
    body: Bytes,
    takes: Duration,
}

impl Ready {
    /// The body, after as long as a handler is to take.
    async fn body(self) -> Bytes {
        CALLS.fetch_add(1, Ordering::Relaxed);
        if !self.takes.is_zero() {
            tokio::time::sleep(self.takes).await;
        }
        self.body
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Plain,
    Local,
    Redis,
    Compress,
    RawGet,
}

struct Args {
    mode: Mode,
    port: u16,
    threads: usize,
    body: usize,
    /// How long a handler takes, so that requests can meet while it runs.
    handler: Duration,
    /// Whether the cache keeps encoded bodies too.
    encodings: bool,
}

const USAGE: &str = "usage: load plain|local|redis|compress|raw-get PORT [--threads N] [--body BYTES] [--handler-ms N] [--encodings]";

impl Args {
    fn parse() -> Result<Self, String> {
        let mut words = std::env::args().skip(1);
        let mode = match words.next().as_deref() {
            Some("plain") => Mode::Plain,
            Some("local") => Mode::Local,
            Some("redis") => Mode::Redis,
            Some("compress") => Mode::Compress,
            Some("raw-get") => Mode::RawGet,
            other => return Err(format!("unknown mode {other:?}; {USAGE}")),
        };
        let port = words
            .next()
            .and_then(|port| port.parse().ok())
            .ok_or(USAGE)?;
        let mut args = Self {
            mode,
            port,
            threads: 1,
            body: 1024,
            handler: Duration::ZERO,
            encodings: false,
        };
        while let Some(flag) = words.next() {
            if flag == "--encodings" {
                args.encodings = true;
                continue;
            }
            let value = words
                .next()
                .and_then(|value| value.parse().ok())
                .ok_or(USAGE)?;
            match flag.as_str() {
                "--threads" => args.threads = value,
                "--body" => args.body = value,
                "--handler-ms" => args.handler = Duration::from_millis(value as u64),
                _ => return Err(format!("unknown flag {flag}; {USAGE}")),
            }
        }
        Ok(args)
    }
}

fn main() -> ExitCode {
    match Args::parse().and_then(|args| run(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("load: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), String> {
    let mut runtime = if args.threads > 1 {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    if args.threads > 1 {
        runtime.worker_threads(args.threads);
    }
    let runtime = runtime
        .enable_all()
        .build()
        .map_err(|why| why.to_string())?;
    runtime.block_on(serve(args))
}

async fn serve(args: &Args) -> Result<(), String> {
    let ready = Ready {
        body: if args.encodings || args.mode == Mode::Compress {
            page_of(args.body)
        } else {
            json_of(args.body)
        },
        takes: args.handler,
    };
    let app = match args.mode {
        Mode::Plain => Router::new()
            .route("/item/{id}", get(plain))
            .with_state(ready),
        Mode::Compress => Router::new()
            .route("/item/{id}", get(plain))
            .layer(CompressionLayer::new())
            .with_state(ready),
        Mode::Local | Mode::Redis => {
            let builder = SmartCache::builder().env();
            let builder = if args.encodings {
                builder.encodings("zstd, br, gzip")
            } else {
                builder
            };
            let builder = if args.mode == Mode::Redis {
                builder.local_capacity(0)
            } else {
                builder
            };
            let cache = builder.build().await.map_err(|why| why.to_string())?;
            smart_cache::install(cache).map_err(|why| why.to_string())?;
            Router::new()
                .route("/item/{id}", get(cached))
                .with_state(ready)
        }
        Mode::RawGet => {
            let connection = raw_connection().await.map_err(|why| why.to_string())?;
            Router::new()
                .route("/item/{id}", get(raw_get))
                .with_state(Raw { connection, ready })
        }
    };
    let app = app.route(
        "/calls",
        get(|| async { CALLS.load(Ordering::Relaxed).to_string() }),
    );
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", args.port))
        .await
        .map_err(|why| why.to_string())?;
    println!(
        "listening on {}",
        listener.local_addr().map_err(|why| why.to_string())?
    );
    axum::serve(listener, app)
        .await
        .map_err(|why| why.to_string())
}

/// JSON of about this many bytes, which compresses to about a third as a list of records does.
fn page_of(length: usize) -> Bytes {
    let mut random = Random::seeded(7);
    let mut body = String::from("[");
    while body.len() < length {
        let (id, price, stock) = (
            random.below(1 << 32),
            random.below(99_999),
            random.below(500),
        );
        body.push_str(&format!(
            "{{\"id\":{id},\"name\":\"product {}\",\"price\":{price},\"stock\":{stock}}},",
            random.below(1 << 20)
        ));
    }
    body.push_str("null]");
    body.into()
}

/// A JSON string of exactly this many bytes.
fn json_of(length: usize) -> Bytes {
    let mut body = String::from("\"");
    body.extend(std::iter::repeat_n('x', length.saturating_sub(2)));
    body.push('"');
    body.into()
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

fn json(body: Bytes) -> Response {
    ([(header::CONTENT_TYPE, JSON)], body).into_response()
}

async fn plain(State(ready): State<Ready>, Path(_id): Path<u64>) -> Response {
    json(ready.body().await)
}

#[smart_cache("item:{id}")]
async fn cached(State(ready): State<Ready>, Path(id): Path<u64>) -> Response {
    json(ready.body().await)
}

/// State of the handler that is written by hand.
#[derive(Clone)]
struct Raw {
    connection: redis::aio::MultiplexedConnection,
    ready: Ready,
}

async fn raw_get(State(raw): State<Raw>, Path(id): Path<u64>) -> Result<Response, StatusCode> {
    // Another size of body is another key: a server may outlive a run.
    let (mut connection, key) = (raw.connection, format!("raw:{}:{id}", raw.ready.body.len()));
    let failed = |_| StatusCode::BAD_GATEWAY;
    let found: Option<Vec<u8>> = redis::cmd("GET")
        .arg(&key)
        .query_async(&mut connection)
        .await
        .map_err(failed)?;
    if let Some(body) = found {
        return Ok(json(body.into()));
    }
    let body = raw.ready.body().await;
    redis::cmd("SET")
        .arg(&key)
        .arg(&body[..])
        .query_async::<()>(&mut connection)
        .await
        .map_err(failed)?;
    Ok(json(body))
}

async fn raw_connection() -> redis::RedisResult<redis::aio::MultiplexedConnection> {
    let variable = |name: &str| std::env::var(format!("SMART_REDIS_{name}")).ok();
    let url = variable("URL").unwrap_or_else(|| {
        let host = variable("HOST").unwrap_or_else(|| "127.0.0.1".to_owned());
        let port = variable("PORT").unwrap_or_else(|| "6379".to_owned());
        format!(
            "redis://{host}:{port}/{}",
            variable("DB").unwrap_or_default()
        )
    });
    redis::Client::open(url)?
        .get_multiplexed_async_connection()
        .await
}
