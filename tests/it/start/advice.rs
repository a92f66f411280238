//! What the log says about the server, the namespace, and keys that nobody produces.

use smart_cache_tests::harness::{RedisServer, namespace};
use tempfile::TempDir;

use super::{Environment, PROBE, Probe, assert_says};

#[tokio::test]
async fn a_memory_policy_that_will_hurt_is_named() {
    for (policy, advice) in [
        ("noeviction", "noeviction"),
        ("volatile-lru", "volatile"),
        ("volatile-ttl", "volatile"),
    ] {
        let server = RedisServer::options().memory("100mb", policy).start().await;
        let mut probe = Environment::of(&server, &namespace()).probe().await;
        probe.logs("WARN").await;
        probe.logs(advice).await;
        assert_says(&probe.log, "allkeys-lru");
    }
}

#[tokio::test]
async fn a_good_memory_policy_needs_no_advice() {
    let server = RedisServer::options()
        .memory("100mb", "allkeys-lru")
        .start()
        .await;
    let mut probe = Environment::of(&server, &namespace()).probe().await;
    probe.hit("/page/1").await;
    probe.post("/clear/prodcut:1").await;
    probe.logs("prodcut").await;
    assert!(!probe.log.contains("maxmemory"), "{}", probe.log);
}

#[tokio::test]
async fn a_server_without_a_limit_is_advised_to_have_one() {
    let server = RedisServer::start().await;
    let mut probe = Environment::of(&server, &namespace()).probe().await;
    probe.logs("no maxmemory").await;
}

#[tokio::test]
async fn two_applications_in_one_namespace_are_warned() {
    let server = RedisServer::start().await;
    let environment = Environment::of(&server, &namespace());
    let mut first = environment.probe().await;
    first.logs("maxmemory").await;
    first.hit("/page/1").await;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("another-shop");
    std::fs::copy(PROBE, &path).unwrap();
    // The same bytes under another name: another application of the same version.
    for version in ["same", "other"] {
        let environment = environment.clone().with("SMART_REDIS_APP_VERSION", version);
        let same = Probe::started(environment.start(PROBE, &[])).await;
        same.hit("/page/1").await;
        let mut other = Probe::started(environment.start(&path, &[])).await;
        other.logs("another application uses this namespace").await;
        assert_says(&other.log, "probe");
        assert_says(&other.log, "SMART_REDIS_NAMESPACE");
    }
    // Two builds of one application are no conflict.
    let mut newer = environment
        .with("SMART_REDIS_APP_VERSION", "newer")
        .probe()
        .await;
    newer.post("/clear/prodcut:1").await;
    newer.logs("prodcut").await;
    let conflict = newer
        .log
        .lines()
        .find(|line| line.contains("another application"));
    assert!(
        conflict.is_none_or(|line| line.contains("another-shop")),
        "{}",
        newer.log
    );
}

#[tokio::test]
async fn a_forbidden_info_is_named_with_both_remedies() {
    let server = RedisServer::options()
        .user("app on >secret ~* &* +@all -info")
        .start()
        .await;
    let url = format!("redis://app:secret@127.0.0.1:{}", server.port());
    let environment = Environment::of(&server, &namespace()).with("SMART_REDIS_URL", &url);
    let mut probe = environment.probe().await;
    probe.logs("INFO is forbidden").await;
    assert_says(&probe.log, "+info");
    assert_says(&probe.log, "SMART_REDIS_SERVER_ID");
    let told = environment
        .with("SMART_REDIS_SERVER_ID", "one")
        .probe()
        .await;
    told.hit("/page/1").await;
}

#[tokio::test]
async fn clearing_a_key_that_nobody_produces_names_the_nearest_once() {
    let environment = Environment::default().with("SMART_REDIS_BACKEND", "memory");
    let requests = [
        "POST:/clear/paeg:1",
        "POST:/clear/paeg:1",
        "POST:/clear/page:1",
        "POST:/clear/pages",
        "POST:/clear/something-else-entirely",
    ];
    let (_, output) = environment.run(&requests).await;
    let warnings: Vec<_> = output
        .lines()
        .filter(|line| line.contains("WARN"))
        .collect();
    assert_eq!(warnings.len(), 2, "{output}");
    assert_says(warnings[0], "paeg:1");
    assert_says(warnings[0], "page:{id}");
    assert_says(warnings[1], "something-else-entirely");
}

#[tokio::test]
async fn the_start_lists_what_nothing_clears_and_what_is_cleared_though_nobody_caches_it() {
    let environment = Environment::default().with("SMART_REDIS_BACKEND", "memory");
    let (_, output) = environment.run(&["GET:/page/1"]).await;
    let lines = |part: &str| -> Vec<&str> {
        let all = output.lines();
        all.filter(|line| line.contains(part)).collect()
    };
    let never_cleared = lines("nothing that is known at the start clears this handler's answers");
    assert_eq!(never_cleared.len(), 4, "{output}");
    for key in ["kind:{id}", "nowhere:{id}", "row:{id}", "session:{id}"] {
        let named = never_cleared.iter().filter(|line| line.contains(key));
        assert_eq!(named.count(), 1, "{key}:\n{output}");
    }
    let never_cached = lines("cleared, but no annotated handler is cached under it");
    assert_eq!(never_cached.len(), 1, "{output}");
    assert_says(never_cached[0], "forgotten:{id}");
}

/// A server that loads its snapshot shakes hands and then refuses everything.
#[tokio::test]
async fn a_server_that_loads_for_long_leaves_a_short_log() {
    let mut server = RedisServer::options()
        .debug_commands()
        .option("key-load-delay", "2000")
        .option("loading-process-events-interval-bytes", "1024")
        .start()
        .await;
    assert_eq!(server.cli(&["DEBUG", "POPULATE", "1000", "k", "100"]), "OK");
    server.save().await;
    let mut probe = Environment::of(&server, &namespace()).probe().await;
    let restarting = server.restart();
    tokio::pin!(restarting);
    let mut asked = 0;
    loop {
        tokio::select! {
            () = &mut restarting => break,
            answer = probe.get("/page/1") => {
                asked += 1;
                assert!(!answer.is_hit(), "{answer:?}");
            }
        }
    }
    probe.hit("/page/1").await;
    probe.post("/clear/prodcut:1").await;
    probe.logs("prodcut").await;
    let lost = probe.log.matches("connection lost").count();
    assert!(
        asked > 50,
        "only {asked} requests while the server was loading"
    );
    assert!(lost < 12, "{lost} lines for {asked} requests");
}

/// Nobody reads a hundred thousand warnings, or one line of two megabytes.
#[tokio::test]
async fn a_clear_of_very_many_keys_leaves_a_short_log() {
    let environment = Environment::default().with("SMART_REDIS_PORT", "1");
    let (_, output) = environment.run(&["POST:/clear-many/50000"]).await;
    assert_says(
        &output,
        "-> 200 OK [no cache-status] error: the clear was not acknowledged",
    );
    assert!(output.len() < 50_000, "{} bytes of log", output.len());
}
