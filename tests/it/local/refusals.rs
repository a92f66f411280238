//! Servers that cannot push: the tier is off, says so, and everything else works.

use std::io;
use std::sync::{Arc, Mutex};

use smart_cache_tests::harness::{RedisOptions, RedisServer, eventually, namespace};

use super::{Node, Rows, builder};

/// Keeps what is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Everything that this thread logs from now on; the test's runtime has no other.
    fn of_this_thread() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

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
