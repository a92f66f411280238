//! Clears from code that cannot await, through the default cache.

use smart_cache_tests::harness::{RedisServer, namespace};

use super::{Environment, PROBE, Probe};

/// The milliseconds in "... after 12 ms".
fn milliseconds(text: &str) -> u64 {
    let (_, after) = text
        .rsplit_once(" after ")
        .unwrap_or_else(|| panic!("no time in {text:?}"));
    after.trim_end_matches(" ms").parse().unwrap()
}

#[tokio::test]
async fn a_hook_on_the_only_thread_of_a_runtime_clears() {
    let server = RedisServer::start().await;
    let environment = Environment::of(&server, &namespace());
    for arguments in [&["--single"][..], &["--single", "--lazy"], &[], &["--lazy"]] {
        let probe = Probe::started(environment.start(PROBE, arguments)).await;
        let cleared = probe.post("/clear-blocking/page:1").await;
        assert!(cleared.starts_with("ok after"), "{arguments:?}: {cleared}");
        let before = probe.hit("/page/1").await;
        let cleared = probe.post("/clear-blocking/page:1").await;
        assert!(cleared.starts_with("ok after"), "{arguments:?}: {cleared}");
        assert_ne!(
            probe.get("/page/1").await.body,
            before.body,
            "{arguments:?}"
        );
    }
}

#[tokio::test]
async fn a_hook_without_any_runtime_clears() {
    let server = RedisServer::start().await;
    let environment = Environment::of(&server, &namespace());
    let probe = environment.probe().await;
    let before = probe.hit("/page/1").await;
    let (succeeded, output) = environment.run(&["--blocking"]).await;
    assert!(succeeded && output.contains("cleared: ok"), "{output}");
    assert_ne!(probe.get("/page/1").await.body, before.body);
}

/// The first request is setting the cache up on the very thread that the hook blocks.
#[tokio::test]
async fn a_hook_while_the_cache_is_being_set_up_on_its_thread_ends_in_time() {
    let server = RedisServer::start().await;
    let environment = Environment::of(&server, &namespace());
    let probe = Probe::started(environment.start(PROBE, &["--single", "--lazy"])).await;
    let cleared = probe.post("/clear-while-starting/page:2").await;
    assert!(milliseconds(&cleared) < 8000, "{cleared}");
    probe.hit("/page/1").await;
}

#[tokio::test]
async fn a_hook_with_redis_down_ends_in_time_with_the_cause() {
    let mut server = RedisServer::start().await;
    server.kill();
    let environment = Environment::of(&server, &namespace());
    for arguments in [&["--single"][..], &["--single", "--lazy"]] {
        let probe = Probe::started(environment.start(PROBE, arguments)).await;
        let cleared = probe.post("/clear-blocking/page:1").await;
        assert!(
            cleared.starts_with("error: the clear was not acknowledged"),
            "{cleared}"
        );
        assert!(milliseconds(&cleared) < 3000, "{cleared}");
    }
    let (_, output) = environment.run(&["--blocking"]).await;
    assert!(output.contains("cleared: error"), "{output}");
}

#[tokio::test]
async fn a_hook_with_redis_frozen_ends_in_time_and_lands_later() {
    let server = RedisServer::start().await;
    let environment = Environment::of(&server, &namespace());
    let probe = Probe::started(environment.start(PROBE, &["--single"])).await;
    let before = probe.hit("/page/1").await;
    server.freeze();
    let cleared = probe.post("/clear-blocking/page:1").await;
    assert!(
        cleared.starts_with("error: the clear was not acknowledged"),
        "{cleared}"
    );
    assert!(milliseconds(&cleared) < 3000, "{cleared}");
    server.thaw();
    assert_ne!(probe.hit("/page/1").await.body, before.body);
}
