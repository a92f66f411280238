//! Who clears, and who hears of it when.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use smart_cache::SmartCache;
use smart_cache_tests::harness::{Chaos, Direction, RedisServer, namespace};
use tower::ServiceExt as _;

use super::{MARGIN, Node, Rows};

#[tokio::test]
async fn a_local_hit_asks_nobody() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let (namespace, rows) = (namespace(), Rows::default());
    let node = Node::at(&chaos.url(), &namespace, &rows).await;
    node.warm("/page/1").await;
    let (commands, before) = (chaos.commands(), node.cache.stats());
    for _ in 0..1000 {
        assert!(node.ask("/page/1").await.local);
    }
    let after = node.cache.stats();
    assert_eq!(after.local_hits, before.local_hits + 1000);
    assert_eq!(after.hits, before.hits + 1000, "a local hit is a hit");
    // The heartbeats of two connections may fall in between; the hits are not among them.
    assert!(
        chaos.commands() - commands <= 6,
        "{}",
        chaos.commands() - commands
    );
}

/// What one clear does to a warm node that is not the one that clears; the time it took.
async fn elsewhere(path: &str, clear: impl AsyncFn(&SmartCache)) -> Duration {
    let server = RedisServer::start().await;
    let (namespace, rows) = (namespace(), Rows::default());
    let here = Node::at(&server.url(), &namespace, &rows).await;
    let there = Node::at(&server.url(), &namespace, &rows).await;
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        here.warm(path).await;
        there.warm(path).await;
        let version = rows.write();
        clear(&there.cache).await;
        let answer = there.ask(path).await;
        assert_eq!(
            (answer.version, answer.local),
            (version, false),
            "one's own clear is heard at once"
        );
        slowest = slowest.max(here.until(path, version).await);
    }
    println!("{path}: heard elsewhere after at most {slowest:?}");
    slowest
}

#[tokio::test]
async fn a_clear_elsewhere_ends_local_hits_within_a_network_hop() {
    for path in ["/page/1", "/list/1"] {
        let key = path[1..].replace('/', ":");
        let took = elsewhere(path, async |cache| cache.clear(&*key).await.unwrap()).await;
        assert!(took < MARGIN, "{took:?}");
    }
}

#[tokio::test]
async fn a_tag_cleared_elsewhere_ends_local_hits() {
    let took = elsewhere("/page/1", async |cache| cache.clear("pages").await.unwrap()).await;
    assert!(took < MARGIN, "{took:?}");
}

#[tokio::test]
async fn a_found_tag_cleared_elsewhere_ends_local_hits() {
    let took = elsewhere("/list/1", async |cache| cache.clear("part").await.unwrap()).await;
    assert!(took < MARGIN, "{took:?}");
}

#[tokio::test]
async fn a_namespace_cleared_elsewhere_ends_local_hits() {
    let took = elsewhere("/page/1", async |cache| cache.clear_all().await.unwrap()).await;
    assert!(took < MARGIN, "{took:?}");
}

#[tokio::test]
async fn a_blocking_clear_elsewhere_ends_local_hits() {
    let took = elsewhere("/page/1", async |cache| {
        cache.clear_blocking("page:1").unwrap();
    })
    .await;
    assert!(took < MARGIN, "{took:?}");
}

#[tokio::test]
async fn a_clear_ends_nothing_else() {
    let server = RedisServer::start().await;
    let (namespace, rows) = (namespace(), Rows::default());
    let here = Node::at(&server.url(), &namespace, &rows).await;
    let there = Node::at(&server.url(), &namespace, &rows).await;
    here.warm("/page/1").await;
    here.warm("/page/2").await;
    there.cache.clear("page:1").await.unwrap();
    rows.write();
    here.until("/page/1", 1).await;
    assert!(here.ask("/page/2").await.local);
    // Another namespace on the same server is nobody's business.
    let other = Node::at(
        &server.url(),
        &smart_cache_tests::harness::namespace(),
        &rows,
    )
    .await;
    other.warm("/page/2").await;
    other.cache.clear_all().await.unwrap();
    other.warm("/page/2").await;
    assert!(here.ask("/page/2").await.local);
}

/// Keys whose tokens have other names than the keys themselves.
#[tokio::test]
async fn long_and_odd_keys_are_heard_of_too() {
    use axum::extract::Path;
    use smart_cache::smart_cache;

    #[smart_cache("{key}")]
    async fn named(
        axum::extract::State(rows): axum::extract::State<Rows>,
        Path(key): Path<String>,
    ) -> String {
        format!("{} {}", key.len(), rows.read())
    }

    let server = RedisServer::start().await;
    let (namespace, rows) = (namespace(), Rows::default());
    let mut nodes = [
        Node::at(&server.url(), &namespace, &rows).await,
        Node::at(&server.url(), &namespace, &rows).await,
    ];
    for node in &mut nodes {
        node.router = axum::Router::new()
            .route("/{key}", axum::routing::get(named))
            .layer(axum::Extension(node.cache.clone()))
            .with_state(rows.clone());
    }
    let [here, there] = nodes;
    let long = "k".repeat(2000);
    for (path, key) in [
        (format!("/{long}"), long.as_str()),
        ("/%23a".to_owned(), "#a"),
        ("/%C3%BC".to_owned(), "\u{fc}"),
    ] {
        here.warm(&path).await;
        there.warm(&path).await;
        let version = rows.write();
        there.cache.clear(key).await.unwrap();
        assert_eq!(there.ask(&path).await.version, version);
        assert!(here.until(&path, version).await < MARGIN);
    }
}

/// No push helps here: the connection that pushes arrive on is frozen.
// The blocking clear must not stop the proxy.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ones_own_clear_is_heard_without_the_server() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    chaos.mark("TRACKING");
    let (namespace, rows) = (namespace(), Rows::default());
    let node = Node::at(&chaos.url(), &namespace, &rows).await;
    for path in ["/page/1", "/list/1", "/page/2"] {
        node.warm(path).await;
    }
    chaos.freeze_marked(Direction::Replies);
    let version = rows.write();
    node.cache.clear(["page:1", "part"]).await.unwrap();
    for path in ["/page/1", "/list/1"] {
        assert_eq!(node.ask(path).await.version, version, "{path}");
        let again = node.warm(path).await;
        assert_eq!(again.version, version, "{path}");
    }
    assert!(
        node.ask("/page/2").await.local,
        "the tier is live, though it hears nothing"
    );
    let version = rows.write();
    node.cache.clear_blocking("page:1").unwrap();
    assert_eq!(node.ask("/page/1").await.version, version);
    node.warm("/page/1").await;
    let version = rows.write();
    let request = Request::put("/write/1").body(Body::empty()).unwrap();
    assert!(
        node.router
            .clone()
            .oneshot(request)
            .await
            .unwrap()
            .status()
            .is_success()
    );
    assert_eq!(node.ask("/page/1").await.version, version + 1);
    node.warm("/page/1").await;
    let version = rows.write();
    node.cache.clear_all().await.unwrap();
    for path in ["/page/1", "/list/1", "/page/2"] {
        assert_eq!(node.ask(path).await.version, version, "{path}");
    }
}

#[tokio::test]
async fn a_hundred_thousand_keys_are_cleared_in_one_call() {
    let server = RedisServer::start().await;
    let (namespace, rows) = (namespace(), Rows::default());
    let patient = |url: &str| super::builder(url, &namespace).timeout(Duration::from_secs(20));
    let here = Node::built(patient(&server.url()), &rows).await;
    let there = Node::built(patient(&server.url()), &rows).await;
    for id in [0, 77_777, 99_999] {
        here.warm(&format!("/page/{id}")).await;
    }
    let version = rows.write();
    let keys: Vec<String> = (0..100_000).map(|id| format!("page:{id}")).collect();
    let start = Instant::now();
    there.cache.clear(keys).await.unwrap();
    println!("100 000 keys cleared in {:?}", start.elapsed());
    for id in [0, 77_777, 99_999] {
        here.until(&format!("/page/{id}"), version).await;
    }
    println!("and heard of elsewhere after {:?}", start.elapsed());
    // Each node still knows how to be fast.
    here.warm("/page/77777").await;
    there.warm("/page/77777").await;
}
