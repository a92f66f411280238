//! Clears that have not landed yet, and those that land by repetition.

use std::future::Future as _;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use smart_cache_tests::harness::{Chaos, Direction, RedisServer, eventually, namespace};
use tower::ServiceExt as _;

use super::{Node, Rows, builder};

#[tokio::test]
async fn a_pending_clear_ends_local_hits_of_its_keys() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    chaos.mark("TRACKING");
    let (namespace, rows) = (namespace(), Rows::default());
    let short = builder(&chaos.url(), &namespace).timeout(Duration::from_millis(100));
    let node = Node::built(short, &rows).await;
    for _ in 0..3 {
        node.warm("/page/1").await;
        node.warm("/page/2").await;
        let version = rows.write();
        chaos.freeze(Direction::Requests);
        node.cache.clear("page:1").await.unwrap_err();
        assert!(node.cache.stats().pending_clears > 0);
        for _ in 0..5 {
            let answer = node.ask("/page/1").await;
            assert_eq!((answer.version, answer.local), (version, false));
        }
        chaos.thaw(Direction::Requests);
        eventually("the clear to land", async || {
            assert_eq!(node.ask("/page/1").await.version, version);
            (node.cache.stats().pending_clears == 0).then_some(())
        })
        .await;
        assert_eq!(node.ask("/page/1").await.version, version);
        node.live().await;
        assert_eq!(node.warm("/page/1").await.version, version);
    }
}

/// A cancelled write outside of any runtime: its clear is only remembered, and repeated by the next
/// request. When it has landed, this node must not need a push to know of it.
#[test]
fn a_remembered_clear_that_lands_is_ones_own() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (server, chaos) = runtime.block_on(async {
        let server = RedisServer::start().await;
        let chaos = Chaos::in_front_of(server.address()).await;
        (server, chaos)
    });
    chaos.mark("TRACKING");
    let (namespace, rows) = (namespace(), Rows::default());
    let node = runtime.block_on(Node::at(&chaos.url(), &namespace, &rows));
    let request = Request::put("/write/1").body(Body::empty()).unwrap();
    let mut writing = Box::pin(node.router.clone().oneshot(request));
    runtime.block_on(async {
        node.warm("/page/1").await;
        chaos.freeze_marked(Direction::Replies);
        // As far as the commit, and no further.
        let before = rows.read();
        std::future::poll_fn(|context| {
            assert!(writing.as_mut().poll(context).is_pending());
            if rows.read() > before {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    });
    // No runtime here.
    drop(writing);
    assert_eq!(node.cache.stats().pending_clears, 1);
    runtime.block_on(async {
        eventually("the clear to land", async || {
            assert_eq!(node.ask("/page/1").await.version, 1);
            (node.cache.stats().pending_clears == 0).then_some(())
        })
        .await;
        for _ in 0..20 {
            assert_eq!(node.ask("/page/1").await.version, 1);
        }
    });
    drop(server);
}
