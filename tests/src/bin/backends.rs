//! What each backend costs, side by side: the table of `docs/backends.md`.
//!
//! `backends [--rounds N]` (default 400) starts a private server of each kind, and prints the median
//! of that many steps, one after the other on one thread: a hit, a miss (the answer to a request
//! whose handler had to run; its store comes after it) and a clear of a response of 1 KiB; `get`,
//! `set` and `get_many` of 100 of values of 1 KiB. `no cache` is the same request without any.
//!
//! The servers are on this machine, so a round trip is a turn of the loopback; a network adds its
//! own time to each. Run it with `--release`.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Path;
use axum::http::Request;
use axum::routing::get;
use axum::{Extension, Router};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use smart_cache::{BackendKind, Cache, SmartCache, StartFlush, Timeout, smart_cache};
use smart_cache_tests::harness::{
    MariaDbServer, MemcachedServer, PostgresServer, RedisServer, number_after,
};
use tempfile::TempDir;
use tower::ServiceExt as _;

const BODY: usize = 1024;
const MANY: usize = 100;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let rounds = number_after("--rounds").unwrap_or(400) as usize;
    println!("| | hit | miss | clear | `get` | `set` | `get_many` of 100 |");
    println!("|---|---|---|---|---|---|---|");
    let folder = TempDir::with_prefix("backends-")?;
    let (redis, memcached) = (RedisServer::start().await, MemcachedServer::start().await);
    let (postgres, mariadb) = (PostgresServer::start().await, MariaDbServer::start().await);
    let sqlite = format!("sqlite:{}", folder.path().join("cache.db").display());
    let files = format!("file:{}", folder.path().join("files").display());
    let redis = redis.url();
    let of = |url: &str| measure(url.to_owned(), None, rounds);
    row(
        "no cache",
        [
            Some(hits(&SmartCache::off(), rounds).await?),
            None,
            None,
            None,
            None,
            None,
        ],
    );
    row("`memory`", of("").await?);
    let local = measure(redis.clone(), Some(64 << 20), rounds);
    row("`redis`, local tier", local.await?);
    row("`redis`", measure(redis, Some(0), rounds).await?);
    row("`memcached`", of(&memcached.url()).await?);
    row("`file`", of(&files).await?);
    row("`sql`, SQLite", of(&sqlite).await?);
    row("`sql`, PostgreSQL", of(&postgres.database()).await?);
    row("`sql`, MariaDB", of(&mariadb.database()).await?);
    Ok(())
}

/// Medians; `None` where there is nothing to measure.
type Row = [Option<Duration>; 6];

fn row(name: &str, times: Row) {
    let cells = times.map(|time| {
        time.map_or(String::new(), |time| {
            let micros = time.as_secs_f64() * 1e6;
            if micros < 10.0 {
                format!("{micros:.1} µs")
            } else {
                format!("{micros:.0} µs")
            }
        })
    });
    println!("| {name} | {} |", cells.join(" | "));
}

async fn measure(url: String, local: Option<u64>, rounds: usize) -> Outcome<Row> {
    let builder = SmartCache::builder()
        .namespace("backends")
        .app_version("one")
        .flush(StartFlush::Always)
        .settle(Duration::ZERO)
        .timeout(Duration::from_secs(5));
    let builder = match &*url {
        "" => builder.backend(BackendKind::Memory),
        url => builder.backend(BackendKind::Auto).url(url),
    };
    let builder = match local {
        Some(bytes) => builder.local_capacity(bytes),
        None => builder,
    };
    let cache = builder.build().await?;
    let hit = hits(&cache, rounds).await?;
    let (miss, clear) = (misses(&cache, rounds).await?, clears(&cache, rounds).await?);
    let [get, set, many] = plain_values(&cache.values(), rounds).await?;
    Ok([hit, miss, clear, get, set, many].map(Some))
}

#[smart_cache("item:{id}")]
async fn item(Path(id): Path<u64>) -> String {
    format!("{id:x<BODY$}")
}

fn app(cache: &SmartCache) -> Router {
    Router::new()
        .route("/item/{id}", get(item))
        .layer(Extension(cache.clone()))
}

/// One request, answered to the last byte; how long that took, and what the cache says of it.
async fn ask(app: &Router, id: usize) -> Outcome<(Duration, String)> {
    let request = Request::get(format!("/item/{id}")).body(Body::empty())?;
    let began = Instant::now();
    let response = app.clone().oneshot(request).await?;
    let status = response.headers().get("cache-status").cloned();
    response.into_body().collect().await?;
    let took = began.elapsed();
    let status = status.map_or(Ok(String::new()), |status| {
        status.to_str().map(str::to_owned)
    });
    Ok((took, status?))
}

/// Requests for one page that is there; where there is no cache, for the page.
async fn hits(cache: &SmartCache, rounds: usize) -> Outcome<Duration> {
    let (app, mut times) = (app(cache), Vec::new());
    while times.len() < rounds {
        let (took, status) = ask(&app, 0).await?;
        // The first ones fill it.
        if status.contains("; hit") || status.contains("detail=off") {
            times.push(took);
        } else {
            tokio::task::yield_now().await;
        }
    }
    Ok(median(times))
}

async fn misses(cache: &SmartCache, rounds: usize) -> Outcome<Duration> {
    let (app, mut times) = (app(cache), Vec::new());
    for id in 1..=rounds {
        times.push(ask(&app, id).await?.0);
        // The store has its time to itself, not that of the next request.
        while !ask(&app, id).await?.1.contains("; hit") {
            tokio::task::yield_now().await;
        }
    }
    Ok(median(times))
}

async fn clears(cache: &SmartCache, rounds: usize) -> Outcome<Duration> {
    let mut times = Vec::new();
    for id in 1..=rounds {
        let began = Instant::now();
        cache.clear(format!("item:{id}")).await?;
        times.push(began.elapsed());
    }
    Ok(median(times))
}

async fn plain_values(values: &Cache, rounds: usize) -> Outcome<[Duration; 3]> {
    let value = Bytes::from(vec![b'x'; BODY]);
    let (mut gets, mut sets, mut many) = (Vec::new(), Vec::new(), Vec::new());
    let keys: Vec<String> = (0..MANY).map(|n| format!("k{n}")).collect();
    for n in 0..rounds.max(MANY) {
        let key = &keys[n % MANY];
        let began = Instant::now();
        values
            .set_bytes(key, value.clone(), Timeout::Default)
            .await?;
        sets.push(began.elapsed());
        let began = Instant::now();
        let found = values.get_bytes(key).await?;
        gets.push(began.elapsed());
        assert_eq!(found.as_ref(), Some(&value));
    }
    for _ in 0..rounds.div_ceil(4) {
        let began = Instant::now();
        let found = values.get_many_bytes(&keys).await?;
        many.push(began.elapsed());
        assert_eq!(found.len(), MANY);
    }
    Ok([gets, sets, many].map(median))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
