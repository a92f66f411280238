//! What enters the local tier, and how much of it.

use std::time::Duration;

use smart_cache_tests::harness::{RedisServer, eventually, namespace};

use super::{Node, Rows, builder};

/// Asks until the backend answers, then often; whether memory ever did.
async fn is_ever_local(node: &Node, path: &str) -> bool {
    let mut local = false;
    for _ in 0..30 {
        local |= node.ask(path).await.local;
        tokio::task::yield_now().await;
    }
    local
}

#[tokio::test]
async fn what_settles_stays_out_and_enters_once_it_has_settled() {
    let server = RedisServer::start().await;
    let (namespace, rows) = (namespace(), Rows::default());
    let settling = builder(&server.url(), &namespace).settle(Duration::from_secs(60));
    let node = Node::built(settling, &rows).await;
    eventually("a hit", async || {
        node.ask("/page/1").await;
        (node.cache.stats().hits > 0).then_some(())
    })
    .await;
    assert!(!is_ever_local(&node, "/page/1").await);
    assert_eq!(node.local().entries, 0);
    let short = builder(&server.url(), &namespace).settle(Duration::from_millis(50));
    let node = Node::built(short, &rows).await;
    node.cache.clear("page:1").await.unwrap();
    // The settling entry expires, and the next fill is for ever.
    node.warm("/page/1").await;
}

#[tokio::test]
async fn what_has_a_time_to_live_stays_out() {
    let server = RedisServer::start().await;
    let node = Node::at(&server.url(), &namespace(), &Rows::default()).await;
    assert!(!is_ever_local(&node, "/brief/1").await);
    assert!(node.cache.stats().hits > 0);
    assert_eq!(node.local().entries, 0);
}

#[tokio::test]
async fn hits_send_the_bytes_that_are_kept_and_no_copy_of_them() {
    let server = RedisServer::start().await;
    let node = Node::at(&server.url(), &namespace(), &Rows::default()).await;
    node.warm("/page/1").await;
    let (one, other) = (node.body("/page/1").await, node.body("/page/1").await);
    assert_eq!(one.as_ptr(), other.as_ptr());
}

#[tokio::test]
async fn a_handler_may_stay_out() {
    let server = RedisServer::start().await;
    let node = Node::at(&server.url(), &namespace(), &Rows::default()).await;
    assert!(!is_ever_local(&node, "/far/1").await);
    assert!(node.cache.stats().hits > 0);
    assert_eq!(node.local().entries, 0);
    node.warm("/page/1").await;
}

async fn with_capacity(bytes: u64) -> (RedisServer, Node) {
    let server = RedisServer::start().await;
    let cache = builder(&server.url(), &namespace()).local_capacity(bytes);
    let node = Node::of(cache.build().await.unwrap(), &Rows::default());
    (server, node)
}

#[tokio::test]
async fn a_capacity_of_nothing_is_no_local_tier() {
    let (server, node) = with_capacity(0).await;
    assert!(!is_ever_local(&node, "/page/1").await);
    assert!(node.cache.stats().hits > 0);
    assert_eq!(node.cache.stats().local, None);
    assert!(
        !server.cli(&["CLIENT", "LIST"]).contains("resp=3"),
        "nobody listens for nothing"
    );
}

#[tokio::test]
async fn a_capacity_of_one_byte_keeps_nothing() {
    let (_server, node) = with_capacity(1).await;
    node.live().await;
    assert!(!is_ever_local(&node, "/page/1").await);
    assert_eq!((node.local().entries, node.local().bytes), (0, 0));
}

#[tokio::test]
async fn a_capacity_beyond_the_machine_takes_no_memory_of_its_own() {
    for bytes in [1 << 50, u64::MAX] {
        let (_server, node) = with_capacity(bytes).await;
        node.live().await;
        for id in 0..50 {
            node.warm(&format!("/page/{id}")).await;
        }
        assert_eq!(node.local().entries, 50);
        node.cache.clear("page:1").await.unwrap();
        assert!(!node.ask("/page/1").await.local);
    }
}

#[tokio::test]
async fn a_body_larger_than_the_capacity_stays_out() {
    let (_server, node) = with_capacity(64 << 10).await;
    node.live().await;
    node.warm("/body/1/1000").await;
    let big = "/body/2/70000";
    for _ in 0..20 {
        let answer = node.ask(big).await;
        assert!(!answer.local && answer.length > 70_000, "{answer:?}");
    }
    assert!(node.local().bytes <= 64 << 10);
    // What was there is still there.
    assert!(node.ask("/body/1/1000").await.local);
}

/// The capacity is split among locks; an entry must not be too large for its share of them.
#[tokio::test]
async fn a_body_that_fits_into_the_capacity_several_times_enters() {
    let (_server, node) = with_capacity(8 << 20).await;
    node.live().await;
    node.warm("/body/1/1900000").await;
    assert!(node.local().bytes > 1_900_000);
}

#[tokio::test]
async fn the_weight_never_exceeds_the_capacity() {
    let capacity = 256 << 10;
    let (_server, node) = with_capacity(capacity).await;
    node.live().await;
    for id in 0..600 {
        let path = format!("/body/{id}/{}", 100 + (id * 37) % 4000);
        // Its first hit may stay out: the push of its own store can come after it.
        node.warm(&path).await;
        assert!(node.local().bytes <= capacity, "{:?}", node.local());
    }
    assert!(node.local().bytes > capacity / 2, "{:?}", node.local());
}

#[tokio::test]
async fn a_staleness_that_cannot_be_kept_is_refused() {
    let server = RedisServer::start().await;
    for staleness in [Duration::ZERO, Duration::from_millis(19), Duration::MAX] {
        let refused = builder(&server.url(), "n")
            .local_staleness(staleness)
            .build()
            .await;
        let why = refused
            .expect_err("a staleness that cannot be kept")
            .to_string();
        assert!(why.contains("local_staleness"), "{why}");
    }
    for staleness in [
        Duration::from_millis(20),
        Duration::from_secs(365 * 24 * 3600),
    ] {
        let node = builder(&server.url(), "n").local_staleness(staleness);
        Node::built(node, &Rows::default())
            .await
            .warm("/page/1")
            .await;
    }
}
