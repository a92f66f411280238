//! What happens on the server itself: flushes, evictions, expiry, holds.

use redis::aio::MultiplexedConnection;
use smart_cache_tests::harness::{RedisServer, namespace};

use super::{MARGIN, Node, Rows};

/// A warm node, and what a raw client then does to the server; whether the node forgets.
async fn when(path: &str, command: impl Fn(&str) -> redis::Cmd) {
    let server = RedisServer::start().await;
    let (namespace, rows) = (namespace(), Rows::default());
    let node = Node::at(&server.url(), &namespace, &rows).await;
    let mut raw: MultiplexedConnection = server.connection().await;
    for _ in 0..5 {
        node.warm(path).await;
        let version = rows.write();
        let _: redis::Value = command(&format!("{{{namespace}}}:t:"))
            .query_async(&mut raw)
            .await
            .unwrap();
        let took = node.until(path, version).await;
        assert!(took < MARGIN, "{took:?}");
    }
}

fn command(words: &[&str]) -> redis::Cmd {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(word);
    }
    command
}

#[tokio::test]
async fn flushall_ends_local_hits() {
    when("/page/1", |_| command(&["FLUSHALL"])).await;
    when("/page/1", |_| command(&["FLUSHDB", "ASYNC"])).await;
}

#[tokio::test]
async fn an_evicted_token_ends_local_hits() {
    when("/page/1", |tokens| {
        command(&["DEL", &format!("{tokens}page:1")])
    })
    .await;
    when("/page/1", |tokens| {
        command(&["UNLINK", &format!("{tokens}pages")])
    })
    .await;
    when("/page/1", |tokens| command(&["DEL", tokens])).await;
    when("/list/1", |tokens| {
        command(&["DEL", &format!("{tokens}part")])
    })
    .await;
}

#[tokio::test]
async fn an_expired_token_ends_local_hits() {
    when("/page/1", |tokens| {
        command(&["PEXPIRE", &format!("{tokens}page:1"), "1"])
    })
    .await;
}

#[tokio::test]
async fn an_overwritten_or_renamed_token_ends_local_hits() {
    when("/page/1", |tokens| {
        command(&["SET", &format!("{tokens}page:1"), ":another:1"])
    })
    .await;
    when("/page/1", |tokens| {
        command(&["RENAME", &format!("{tokens}page:1"), "elsewhere"])
    })
    .await;
}

/// Redis evicts by itself here, and says so as if the tokens had been deleted.
#[tokio::test]
async fn memory_pressure_ends_local_hits() {
    let server = RedisServer::options()
        .memory("3mb", "allkeys-random")
        .start()
        .await;
    let (namespace, rows) = (namespace(), Rows::default());
    let node = Node::at(&server.url(), &namespace, &rows).await;
    node.warm("/page/1").await;
    let version = rows.write();
    let mut raw = server.connection().await;
    let token = format!("{{{namespace}}}:t:page:1");
    let mut filled = 0;
    while redis::cmd("EXISTS")
        .arg(&token)
        .query_async::<bool>(&mut raw)
        .await
        .unwrap()
    {
        let () = redis::cmd("SET")
            .arg(format!("other:{filled}"))
            .arg("x".repeat(10_000))
            .query_async(&mut raw)
            .await
            .unwrap();
        filled += 1;
        assert!(filled < 20_000, "the token is never evicted");
    }
    assert!(node.until("/page/1", version).await < MARGIN);
}

/// The entry's bytes are gone, but nothing was cleared: what the node still has is current.
#[tokio::test]
async fn an_evicted_entry_may_still_be_served() {
    let server = RedisServer::start().await;
    let (namespace, rows) = (namespace(), Rows::default());
    let here = Node::at(&server.url(), &namespace, &rows).await;
    let there = Node::at(&server.url(), &namespace, &rows).await;
    here.warm("/page/1").await;
    let entries = server.cli(&["--scan", "--pattern", &format!("{{{namespace}}}:e:*")]);
    assert!(!entries.is_empty());
    for entry in entries.lines() {
        assert_eq!(server.cli(&["DEL", entry]), "1");
    }
    assert!(here.ask("/page/1").await.local);
    // And it is as sensitive as before, also to what another node's fill makes of it.
    there.warm("/page/1").await;
    let version = rows.write();
    there.cache.clear("page:1").await.unwrap();
    here.until("/page/1", version).await;
}

#[tokio::test]
async fn a_hold_ends_local_hits_until_it_is_over() {
    let server = RedisServer::start().await;
    let (namespace, rows) = (namespace(), Rows::default());
    let node = Node::at(&server.url(), &namespace, &rows).await;
    node.warm("/page/1").await;
    let token = format!("{{{namespace}}}:t:page:1");
    assert_eq!(server.cli(&["SET", &token, "!", "PX", "60000"]), "OK");
    let version = rows.write();
    node.until("/page/1", version).await;
    for _ in 0..20 {
        let answer = node.ask("/page/1").await;
        assert_eq!((answer.version, answer.local), (version, false));
    }
    assert_eq!(server.cli(&["DEL", &token]), "1");
    node.warm("/page/1").await;
}
