//! A Redis that is gone or silent: reads miss, writes are errors, nobody waits.

use std::time::{Duration, Instant};

use smart_cache::Timeout::Default;
use smart_cache::backend::Ttl;
use smart_cache::{
    BackendError, BackendKind, Cache, CacheError, ComputeError, OnError, SmartCache, StartFlush,
};
use smart_cache_tests::harness::{RedisServer, eventually, namespace};

/// What a loaded machine may add to the timeout of 250 ms.
const LONGEST: Duration = Duration::from_millis(750);

async fn values(server: &RedisServer, on_error: OnError) -> SmartCache {
    at(&server.url(), on_error).await
}

/// A cache with the timeout that nobody has to set, on the store of this URL.
pub(super) async fn at(url: &str, on_error: OnError) -> SmartCache {
    let builder = SmartCache::builder()
        .backend(BackendKind::Auto)
        .url(url)
        .namespace(namespace())
        .app_version("test")
        .flush(StartFlush::Never)
        .local_capacity(0)
        .on_error(on_error);
    builder.build().await.unwrap()
}

pub(super) fn is_backend<T>(outcome: &Result<T, CacheError>) -> bool {
    matches!(outcome, Err(CacheError::Backend(_)))
}

/// What a call comes to, within the timeout.
macro_rules! timed {
    ($call:expr) => {{
        let start = Instant::now();
        let outcome = $call.await;
        let took = start.elapsed();
        assert!(took < LONGEST, "{} took {took:?}", stringify!($call));
        outcome
    }};
}

/// Every call, each within the timeout.
pub(super) async fn each_ends_in_time(values: &Cache) {
    assert_eq!(timed!(values.get::<i32>("k")).unwrap(), None);
    assert!(
        timed!(values.get_many::<i32>(["k", "l"]))
            .unwrap()
            .is_empty()
    );
    assert!(!timed!(values.has_key("k")).unwrap());
    assert_eq!(timed!(values.ttl("k")).unwrap(), Ttl::Missing);
    // Computed for this caller, whatever was there.
    let plain = values.get_or_set("k");
    assert_eq!(timed!(plain.compute(async || 7)).unwrap(), 7);
    let tagged = values.get_or_set("k").tags("t");
    assert_eq!(timed!(tagged.compute(async || 8)).unwrap(), 8);
    each_write_fails_in_time(values).await;
    // An empty list would be a lie.
    assert!(is_backend(&timed!(values.keys("*").all())));
}

/// Every call that changes something, each a typed error within the timeout.
pub(super) async fn each_write_fails_in_time(values: &Cache) {
    assert!(is_backend(&timed!(values.set("k", &2, Default))));
    assert!(is_backend(&timed!(values.add("k", &2, Default))));
    assert!(is_backend(&timed!(values.touch("k", Default))));
    assert!(is_backend(&timed!(values.delete("k"))));
    assert!(is_backend(&timed!(values.delete_many(["k"]))));
    assert!(is_backend(&timed!(values.set_many([("k", 2)], Default))));
    assert!(is_backend(&timed!(values.incr("k", 1))));
    assert!(is_backend(&timed!(values.incr_version("k", 1))));
    assert!(is_backend(&timed!(values.clear())));
}

/// Reads are errors too, where that was chosen, and nothing is computed.
pub(super) async fn each_read_fails_in_time(values: &Cache) {
    assert!(is_backend(&timed!(values.get::<i32>("k"))));
    assert!(is_backend(&timed!(values.get_many::<i32>(["k"]))));
    assert!(is_backend(&timed!(values.has_key("k"))));
    assert!(is_backend(&timed!(values.ttl("k"))));
    for tags in [&[][..], &["t"]] {
        let value = values.get_or_set("k").tags(tags.to_vec());
        let failed =
            timed!(value.try_compute(async || -> Result<u64, &str> { panic!("it is computed") }));
        assert!(
            matches!(failed, Err(ComputeError::Cache(CacheError::Backend(_)))),
            "{failed:?}"
        );
    }
}

pub(super) async fn is_back(values: &Cache) {
    eventually("the server to be back", async || {
        values.set("k", &3, Default).await.ok()
    })
    .await;
    assert_eq!(values.get::<i32>("k").await.unwrap(), Some(3));
}

#[tokio::test]
async fn a_server_that_is_gone_costs_nobody_more_than_the_timeout() {
    let mut server = RedisServer::start().await;
    let smart = values(&server, OnError::Miss).await;
    smart.values().set("k", &1, Default).await.unwrap();
    server.kill();
    each_ends_in_time(&smart.values()).await;
    assert!(smart.stats().values.unavailable >= 4);
    server.restart().await;
    is_back(&smart.values()).await;
}

#[tokio::test]
async fn a_frozen_server_costs_nobody_more_than_the_timeout() {
    let server = RedisServer::start().await;
    let smart = values(&server, OnError::Miss).await;
    smart.values().set("k", &1, Default).await.unwrap();
    server.freeze();
    each_ends_in_time(&smart.values()).await;
    server.thaw();
    is_back(&smart.values()).await;
}

#[tokio::test]
async fn reads_fail_where_that_was_chosen() {
    let mut server = RedisServer::start().await;
    let smart = values(&server, OnError::Fail).await;
    let values = smart.values();
    assert_eq!(values.get::<i32>("k").await.unwrap(), None);
    server.kill();
    each_read_fails_in_time(&values).await;
}

#[tokio::test]
async fn at_the_memory_limit_reads_go_on_and_writes_say_why() {
    let server = RedisServer::start().await;
    let smart = values(&server, OnError::Miss).await;
    let values = smart.values();
    values.set("k", &1, Default).await.unwrap();
    for (name, value) in [("maxmemory-policy", "noeviction"), ("maxmemory", "1")] {
        assert_eq!(server.cli(&["config", "set", name, value]).trim(), "OK");
    }
    let refused = values.set("l", &2, Default).await;
    assert!(
        matches!(&refused, Err(CacheError::Backend(BackendError::Refused(why))) if why.contains("OOM")),
        "{refused:?}"
    );
    assert!(is_backend(
        &values.set_many([("l", 2), ("m", 3)], Default).await
    ));
    assert_eq!(values.get::<i32>("k").await.unwrap(), Some(1));
    assert!(values.delete("k").await.unwrap());
}
