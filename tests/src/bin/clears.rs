//! How long a clear takes, by the number of entries that fall with it.
//!
//! `clears [ENTRIES]` (default 1 000 000) starts a private redis-server, stores that many entries
//! that depend on the same twenty tags, and clears the tags one after the other; the same with a
//! single entry. Prints the median and the slowest of twenty round trips of each, and
//! the ratio of the medians as a line of `tests/bench`'s table.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use smart_cache::backend::{Backend, Filling, RedisBackend, RedisOptions, Stored, Ticket};
use smart_cache::{BackendError, Target};
use smart_cache_tests::harness::RedisServer;

const TAGS: usize = 20;
/// Stores under way at once.
const AT_ONCE: usize = 128;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BackendError> {
    let most = std::env::args()
        .nth(1)
        .and_then(|most| most.parse().ok())
        .unwrap_or(1_000_000);
    println!("{:>10} {:>12} {:>12}", "entries", "median", "slowest");
    let mut medians = Vec::new();
    for entries in [1, most] {
        let server = RedisServer::start().await;
        let backend = backend(&server.url(), &entries.to_string());
        fill(&backend, entries).await?;
        let mut times = Vec::new();
        for tag in tags() {
            let began = Instant::now();
            backend.clear(&[tag]).await?;
            times.push(began.elapsed());
        }
        times.sort_unstable();
        let median = times[TAGS / 2];
        println!("{entries:>10} {median:>12.1?} {:>12.1?}", times[TAGS - 1]);
        medians.push(median.as_secs_f64());
    }
    println!(
        "= a clear of {most} entries / of one, median | {:.2} | 1",
        medians[1] / medians[0]
    );
    Ok(())
}

fn backend(url: &str, namespace: &str) -> Arc<RedisBackend> {
    let mut options = RedisOptions::default();
    options.namespace = namespace.to_owned();
    options.timeout = Duration::from_secs(30);
    options.settle = Duration::ZERO;
    options.tracking = false;
    match RedisBackend::new(url, options) {
        Ok(backend) => Arc::new(backend),
        Err(why) => panic!("{why}"),
    }
}

fn tags() -> impl Iterator<Item = String> {
    (0..TAGS).map(|tag| format!("tag:{tag}"))
}

async fn fill(backend: &Arc<RedisBackend>, entries: usize) -> Result<(), BackendError> {
    let mut stores = FuturesUnordered::new();
    for entry in 0..entries {
        stores.push(store(Arc::clone(backend), entry));
        if stores.len() >= AT_ONCE {
            stores.next().await.transpose()?;
        }
    }
    while let Some(stored) = stores.next().await {
        stored?;
    }
    Ok(())
}

async fn store(backend: Arc<RedisBackend>, entry: usize) -> Result<(), BackendError> {
    let tags: Vec<String> = tags().collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let target = Target::new(&format!("key:{entry}"), &tags, &entry.to_le_bytes());
    let deadline = Instant::now() + Duration::from_secs(30);
    let Ticket::Lead(lease) = backend.ticket(&target, &[], deadline).await? else {
        panic!("an entry of its own is led by nobody else");
    };
    let filling = Filling {
        payload: b"a body that nobody reads",
        ttl: None,
        dynamic: &[],
    };
    let stored = backend.store(&target, &lease, filling).await?;
    assert_eq!(stored, Stored::Landed(None));
    Ok(())
}
