//! Servers that cannot push: the tier is off, says so, and everything else works.

use smart_cache_tests::harness::{Log, RedisOptions, RedisServer, eventually, namespace};

use super::{Node, Rows, builder};

async fn does_without(options: RedisOptions, user: &str) {
    let (log, _guard) = Log::of_this_thread();
    let server = options.start().await;
    let url = server.url().replace("redis://", &format!("redis://{user}"));
    let (namespace, rows) = (namespace(), Rows::default());
    let mut nodes = Vec::new();
    for _ in 0..2 {
        nodes.push(Node::of(
            builder(&url, &namespace).build().await.unwrap(),
            &rows,
        ));
    }
    eventually("the log to say so", async || {
        log.text().contains("local tier off").then_some(())
    })
    .await;
    for path in ["/page/1", "/list/1", "/far/1"] {
        for round in 0..10 {
            for node in &nodes {
                let answer = node.ask(path).await;
                assert_eq!(
                    (answer.version, answer.local),
                    (rows.read(), false),
                    "round {round}"
                );
            }
        }
        let version = rows.write();
        nodes[0]
            .cache
            .clear([path[1..].replace('/', ":").as_str(), "part"])
            .await
            .unwrap();
        for node in &nodes {
            assert_eq!(node.ask(path).await.version, version);
        }
    }
    for node in &nodes {
        assert!(node.cache.stats().hits > 0, "Redis itself still answers");
        assert!(node.cache.stats().available);
        let local = node.local();
        assert!(!local.live);
        assert_eq!(
            (local.entries, local.bytes),
            (0, 0),
            "memory for what is never served"
        );
    }
    let text = log.text();
    assert!(text.contains("WARN"), "{text}");
}

#[tokio::test]
async fn a_server_without_resp3_is_used_without_the_local_tier() {
    does_without(
        RedisServer::options().option("rename-command", "HELLO \"\""),
        "",
    )
    .await;
}

#[tokio::test]
async fn a_user_without_the_right_to_track_is_served_without_the_local_tier() {
    let user = "app on >secret ~* +@all -client|tracking";
    does_without(RedisServer::options().user(user), "app:secret@").await;
}
