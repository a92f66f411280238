//! The ways in: certificates, servers that forbid what others allow.

use std::path::Path;
use std::time::Duration;

use smart_cache::{Builder, Timeout};
use smart_cache_tests::harness::{
    Certificates, Cluster, ClusterOptions, Log, RedisServer, eventually, namespace,
};

use super::{Node, ROWS, Rows, builder};

fn with_certificates(builder: Builder, files: &Certificates) -> Builder {
    builder
        .tls_ca(&files.authority)
        .tls_client(&files.client, &files.client_key)
}

/// Until a clear fails with all of these words, in any case.
pub(super) async fn fails_with(builder: Builder, words: &[&str]) {
    let node = Node::of(builder.build().await.unwrap(), &Rows::new());
    assert!(node.ask(1).await.how.contains("unavailable"));
    eventually(format!("an error with {words:?}"), async || {
        let error = node.cache.clear("row:1").await.unwrap_err().to_string();
        let error = error.to_lowercase();
        println!("{error}");
        words.iter().all(|word| error.contains(word)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_is_shown_one() {
    let server = RedisServer::options().asks_for_certificates().start().await;
    let files = server.certificates().unwrap();
    let (ns, rows) = (namespace(), Rows::new());
    let near = builder(&server.url(), &ns).local_capacity(8 << 20);
    let near = with_certificates(near, files).build().await.unwrap();
    let near = Node::of(near, &rows);
    near.hit(1).await;
    // The connection that listens for clears shows it too.
    near.local_hit(1).await;
    assert!(near.write(1).await);
    assert_eq!(near.hit(1).await.version, rows.version(1));
    // And the one that waits for replicas, of which there are none.
    let careful = with_certificates(builder(&server.url(), &ns).min_replicas(1), files);
    let careful = careful.build().await.unwrap();
    eventually("what the server says of replicas", async || {
        let error = careful.clear("row:1").await.unwrap_err().to_string();
        error.contains("NOREPLICAS").then_some(())
    })
    .await;
}

#[tokio::test]
async fn certificates_that_do_not_fit_are_errors_that_say_so() {
    let server = RedisServer::options().asks_for_certificates().start().await;
    let other = RedisServer::options().asks_for_certificates().start().await;
    let (files, others) = (
        server.certificates().unwrap(),
        other.certificates().unwrap(),
    );
    let url = server.url();
    let trusting = || builder(&url, &namespace()).tls_ca(&files.authority);
    // None at all, one that is over, one of another authority, a server of another authority.
    fails_with(trusting(), &["certificate"]).await;
    let over = trusting().tls_client(&files.expired_client, &files.expired_client_key);
    fails_with(over, &["certificate", "expired"]).await;
    let stranger = trusting().tls_client(&others.client, &others.client_key);
    fails_with(stranger, &["unknownca"]).await;
    let distrusting = builder(&url, &namespace())
        .tls_ca(&others.authority)
        .tls_client(&files.client, &files.client_key);
    fails_with(distrusting, &["certificate"]).await;
}

#[tokio::test]
async fn files_that_cannot_be_used_stop_the_start() {
    let server = RedisServer::options().asks_for_certificates().start().await;
    let files = server.certificates().unwrap();
    let nonsense = server.folder().join("nonsense.pem");
    std::fs::write(&nonsense, "no certificate").unwrap();
    let start = || builder(&server.url(), &namespace());
    let missing = Path::new("/nowhere/at-all.pem");
    for (builder, name, file) in [
        (start().tls_ca(missing), "SMART_REDIS_TLS_CA", missing),
        (start().tls_ca(&nonsense), "SMART_REDIS_TLS_CA", &nonsense),
        (
            start().tls_client(missing, &files.client_key),
            "SMART_REDIS_TLS_CERT",
            missing,
        ),
        (
            start().tls_client(&files.client, missing),
            "SMART_REDIS_TLS_KEY",
            missing,
        ),
        (
            start().tls_client(&files.client, &nonsense),
            "SMART_REDIS_TLS_KEY",
            &nonsense,
        ),
        (
            start().tls_client(&nonsense, &files.client_key),
            "SMART_REDIS_TLS_CERT",
            &nonsense,
        ),
    ] {
        let error = builder.build().await.unwrap_err().to_string();
        assert!(
            error.contains(name) && error.contains(file.to_str().unwrap()),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_certificate_that_is_renewed_is_shown_at_the_next_connection() {
    let server = RedisServer::options().asks_for_certificates().start().await;
    let files = server.certificates().unwrap();
    let (cert, key) = (
        server.folder().join("current.pem"),
        server.folder().join("current.key"),
    );
    std::fs::copy(&files.expired_client, &cert).unwrap();
    std::fs::copy(&files.expired_client_key, &key).unwrap();
    let cache = builder(&server.url(), &namespace())
        .tls_ca(&files.authority)
        .tls_client(&cert, &key);
    let node = Node::of(cache.build().await.unwrap(), &Rows::new());
    assert!(node.ask(1).await.how.contains("unavailable"));
    std::fs::copy(&files.client, &cert).unwrap();
    std::fs::copy(&files.client_key, &key).unwrap();
    node.hit(1).await;
}

#[tokio::test]
async fn a_cluster_may_speak_tls_too() {
    let folder = tempfile::tempdir().unwrap();
    let files = Certificates::make(folder.path());
    let cluster = Cluster::with(ClusterOptions {
        node: RedisServer::options()
            .tls_with(&files)
            .option("tls-cluster", "yes"),
        ..ClusterOptions::default()
    })
    .await;
    let rows = Rows::new();
    for _ in 0..3 {
        let ns = namespace();
        // A handshake more on the way of the clear, on a busy machine.
        let patient = builder(&cluster.url(), &ns).timeout(Duration::from_secs(5));
        let cache = with_certificates(patient, &files);
        let node = Node::of(cache.build().await.unwrap(), &rows);
        node.hit(1).await;
        let slot = cluster.slot_of(&ns);
        let owner = cluster.owner_of(&slot).unwrap();
        cluster.begin_move(&slot, owner, (owner + 1) % 3);
        // One name, which is nowhere: it is sought on the other node, over TLS as well.
        node.cache.clear("never").await.unwrap();
    }
}

/// As a managed service behind a proxy: no INFO, no CONFIG, no ROLE, no RESP3.
#[tokio::test]
async fn a_server_that_forbids_most_is_used_without_the_local_tier() {
    let (log, _guard) = Log::of_this_thread();
    let mut options = RedisServer::options();
    for command in [
        "INFO", "CONFIG", "ROLE", "HELLO", "ACL", "SLOWLOG", "MONITOR",
    ] {
        options = options.option("rename-command", &format!("{command} \"\""));
    }
    let server = options.start().await;
    let (ns, rows) = (namespace(), Rows::new());
    let build = || {
        builder(&server.url(), &ns)
            .local_capacity(8 << 20)
            .server_id("one")
            .build()
    };
    let node = Node::of(build().await.unwrap(), &rows);
    let other = Node::of(build().await.unwrap(), &rows);
    for id in 0..ROWS {
        node.hit(id).await;
        assert!(other.ask(id).await.is_hit());
        assert!(other.write(id).await);
        assert_eq!(node.ask(id).await.version, rows.version(id));
    }
    node.cache.expire("row:1").await.unwrap();
    let values = node.cache.values();
    values.set("n", &1, Timeout::Never).await.unwrap();
    assert_eq!(values.incr("n", 1).await.unwrap(), 2);
    node.cache.sweep().await.unwrap();
    assert_eq!(node.cache.stats().local_hits, 0);
    let facts = node.cache.inspect().unwrap().facts().await.unwrap();
    assert_eq!((facts.used_memory, facts.server_version), (None, None));
    node.cache.clear_all().await.unwrap();
    for words in ["local tier off", "SMART_REDIS_SERVER_ID"] {
        eventually("the log to say so", async || {
            log.text().contains(words).then_some(())
        })
        .await;
    }
}
