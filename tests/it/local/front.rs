//! The tier in front of other things, beside another one, and on runtimes that end.

use std::time::Duration;

use smart_cache::{BackendKind, SmartCache, StartFlush};
use smart_cache_tests::harness::{RedisServer, eventually, namespace};

use super::{MARGIN, Node, Rows};

#[tokio::test]
async fn the_memory_backend_is_answered_for_too() {
    let cache = SmartCache::builder()
        .backend(BackendKind::Memory)
        .settle(Duration::ZERO)
        .flush(StartFlush::Never);
    let rows = Rows::default();
    let node = Node::built(cache, &rows).await;
    for (path, key) in [
        ("/page/1", "page:1"),
        ("/page/1", "pages"),
        ("/list/1", "part"),
    ] {
        for _ in 0..20 {
            node.warm(path).await;
            let version = rows.write();
            node.cache.clear(key).await.unwrap();
            assert_eq!(node.ask(path).await.version, version);
        }
    }
    node.warm("/page/1").await;
    let version = rows.write();
    node.cache.clear_all_blocking().unwrap();
    assert_eq!(node.ask("/page/1").await.version, version);
}

#[tokio::test]
async fn two_caches_of_one_process_hear_each_other() {
    let server = RedisServer::start().await;
    let (namespace, rows) = (namespace(), Rows::default());
    let near = Node::at(&server.url(), &namespace, &rows).await;
    let other = Node::at(
        &server.url(),
        &smart_cache_tests::harness::namespace(),
        &rows,
    )
    .await;
    let twin = Node::at(&server.url(), &namespace, &rows).await;
    for node in [&near, &other, &twin] {
        node.warm("/page/1").await;
    }
    let version = rows.write();
    near.cache.clear("page:1").await.unwrap();
    assert_eq!(near.ask("/page/1").await.version, version);
    assert!(twin.until("/page/1", version).await < MARGIN);
    assert!(
        other.ask("/page/1").await.version < version,
        "another namespace is another cache"
    );
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// The connection that hears lived on a runtime that is gone: nothing may be served until another
/// one hears again.
#[test]
fn a_runtime_that_ended_takes_the_local_hits_with_it() {
    let home = runtime();
    let server = home.block_on(RedisServer::start());
    let (namespace, rows) = (namespace(), Rows::default());
    let other = home.block_on(Node::at(&server.url(), &namespace, &rows));
    let first = runtime();
    let node = first.block_on(Node::at(&server.url(), &namespace, &rows));
    first.block_on(node.warm("/page/1"));
    drop(first);
    assert!(!node.local().live);
    let version = rows.write();
    home.block_on(other.cache.clear("page:1")).unwrap();
    let second = runtime();
    second.block_on(async {
        assert_eq!(node.ask("/page/1").await.version, version);
        node.live().await;
        node.warm("/page/1").await;
    });
}

/// Nobody drives this runtime, so nothing is heard: the tier goes off by time alone.
#[test]
fn a_runtime_that_stands_still_is_believed_for_the_staleness_only() {
    const L: Duration = Duration::from_millis(300);
    let home = runtime();
    let server = home.block_on(RedisServer::start());
    let (namespace, rows) = (namespace(), Rows::default());
    let other = home.block_on(Node::at(&server.url(), &namespace, &rows));
    let parked = runtime();
    let short = super::builder(&server.url(), &namespace).local_staleness(L);
    let node = parked.block_on(async {
        let node = Node::built(short, &rows).await;
        node.warm("/page/1").await;
        node
    });
    let version = rows.write();
    home.block_on(other.cache.clear("page:1")).unwrap();
    let cleared = std::time::Instant::now();
    runtime().block_on(async {
        eventually("the new version", async || {
            let began = cleared.elapsed();
            let answer = node.ask("/page/1").await;
            assert!(answer.version == version || began <= L, "{began:?}");
            (answer.version == version).then_some(())
        })
        .await;
    });
    // It goes on later, and what it never heard in between is not believed.
    parked.block_on(async {
        for _ in 0..200 {
            assert_eq!(node.ask("/page/1").await.version, version);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}
