//! The ways in: certificates, the fewest rights, servers that forbid what others allow.
//!
//! Over 400 lines: one workout, under every right, certificate and restriction.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::Request;
use axum::routing::get;
use axum::{Extension, Router};
use smart_cache::hooks::Collector;
use smart_cache::inspect::Level;
use smart_cache::{Builder, SmartCache, Timeout, depends_on, smart_cache};
use smart_cache_tests::harness::{
    Certificates, Cluster, ClusterOptions, Log, RedisServer, eventually, namespace,
};

use tower::ServiceExt as _;

use super::{Node, ROWS, Rows, builder};

fn with_certificates(builder: Builder, files: &Certificates) -> Builder {
    builder
        .tls_ca(&files.authority)
        .tls_client(&files.client, &files.client_key)
}

/// Until a clear fails with all of these words, in any case.
async fn fails_with(builder: Builder, words: &[&str]) {
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
        let cache = with_certificates(builder(&cluster.url(), &ns), &files);
        let node = Node::of(cache.build().await.unwrap(), &rows);
        node.hit(1).await;
        let slot = cluster.slot_of(&ns);
        let owner = cluster.owner_of(&slot).unwrap();
        cluster.begin_move(&slot, owner, (owner + 1) % 3);
        // One name, which is nowhere: it is sought on the other node, over TLS as well.
        node.cache.clear("never").await.unwrap();
    }
}

/// What docs/redis.md says a user needs, with the namespace of the test.
fn rights(ns: &str) -> String {
    let docs = include_str!("../../../docs/redis.md");
    let line = docs
        .lines()
        .find(|line| line.starts_with("ACL SETUSER smart-cache "))
        .expect("docs/redis.md gives the line");
    let rules = line.strip_prefix("ACL SETUSER smart-cache ").unwrap();
    let rules = rules.replace("{cache}", &format!("{{{ns}}}"));
    let rules = rules.replace("{cache#*}", &format!("{{{ns}#*}}"));
    format!("app {}", rules.replace(">password", ">secret"))
}

#[smart_cache("wide")]
async fn wide(query: RawQuery) -> String {
    format!("{query:?}")
}

/// Everything that a program and its operators may ask of the server.
async fn workout(cache: &SmartCache, node: &Node) {
    // More variants than a key may have.
    let wide = Router::new()
        .route("/wide", get(wide))
        .layer(Extension(cache.clone()));
    for n in 0..4 {
        let request = Request::get(format!("/wide?n={n}")).body(Body::empty());
        wide.clone().oneshot(request.unwrap()).await.unwrap();
    }
    for id in 0..ROWS {
        node.hit(id).await;
    }
    node.local_hit(1).await;
    assert!(node.write(1).await);
    cache.expire("row:2").await.unwrap();
    eventually("the answer that was made anew", async || {
        node.ask(2).await.is_hit().then_some(())
    })
    .await;
    // A write that holds its keys.
    let collector = Collector::of(cache);
    let longest = Duration::from_secs(5);
    collector.hold("row:3", longest).await.unwrap();
    collector.clear().await.unwrap();
    // Values.
    let values = cache.values();
    values.set("a", &1, Timeout::Never).await.unwrap();
    values.set("b", &2, Duration::from_secs(60)).await.unwrap();
    values.add("c", &3, Timeout::Never).await.unwrap();
    values.touch("c", Timeout::Never).await.unwrap();
    values.touch("c", Duration::from_secs(60)).await.unwrap();
    values.incr("a", 1).await.unwrap();
    values.incr_version("a", 1).await.unwrap();
    values.ttl("b").await.unwrap();
    let found = values.get_many::<u64>(["a", "b", "c"]).await.unwrap();
    assert_eq!(found.len(), 2);
    values.delete("b").await.unwrap();
    let plain = values.get_or_set("computed").compute(async || 1_u64);
    assert_eq!(plain.await.unwrap(), 1);
    let tagged = values.get_or_set("tagged").tags("rows");
    let tagged = tagged.compute(async || {
        let _ = depends_on("part");
        2_u64
    });
    assert_eq!(tagged.await.unwrap(), 2);
    values.clear().await.unwrap();
    // Operators.
    let inspect = cache.inspect().unwrap();
    let page = inspect.keys("row:*", None, 100).await.unwrap();
    assert!(!page.keys.is_empty());
    let long = "x".repeat(600);
    cache.clear(long).await.unwrap();
    let entries = inspect.entries("row:4", None, 10).await.unwrap().entries;
    let view = inspect.entry("test", entries[0].id).await.unwrap();
    assert!(view.is_some());
    inspect.facts().await.unwrap();
    assert!(!cache.fleet().await.unwrap().is_empty());
    eventually("the clears to be noted", async || {
        let noted = cache.recent_clears().await.ok()?;
        (!noted.is_empty()).then_some(())
    })
    .await;
    let findings = cache.checkup().await;
    let bad: Vec<_> = findings
        .iter()
        .filter(|finding| finding.level > Level::Note)
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
    cache.sweep().await.unwrap();
    cache.clear_all().await.unwrap();
}

/// The commands that the server has been asked for, those of scripts included.
fn asked_for(server: &RedisServer) -> BTreeSet<String> {
    let stats = server.cli(&["INFO", "commandstats"]);
    let names = stats.lines().filter_map(|line| {
        let (name, numbers) = line.strip_prefix("cmdstat_")?.split_once(':')?;
        let is_used = !numbers.starts_with("calls=0,");
        is_used.then(|| name.to_owned())
    });
    names.collect()
}

/// Nothing but `CLIENT SETINFO`, with which the client names itself and which may fail.
fn assert_nothing_denied(server: &RedisServer) {
    let denied = server.cli(&["ACL", "LOG"]);
    let denied: Vec<_> = denied
        .lines()
        .skip_while(|line| *line != "object")
        .skip(1)
        .step_by(2)
        .collect();
    assert!(
        denied.iter().all(|object| object.starts_with("client")),
        "{denied:?}"
    );
}

#[tokio::test]
async fn the_rights_of_the_docs_are_enough_for_partitions_too() {
    let (ns, rows) = (namespace(), Rows::new());
    let server = RedisServer::options().user(&rights(&ns)).start().await;
    let url = format!("redis://app:secret@127.0.0.1:{}", server.port());
    let cache = builder(&url, &ns)
        .local_capacity(8 << 20)
        .partitions(3)
        .max_variants(3);
    let cache = cache.build().await.unwrap();
    let node = Node::of(cache.clone(), &rows);
    workout(&cache, &node).await;
    assert_nothing_denied(&server);
}

#[tokio::test]
async fn the_rights_of_the_docs_are_enough_and_none_of_them_is_idle() {
    let (ns, rows) = (namespace(), Rows::new());
    let rules = rights(&ns);
    let server = RedisServer::options().user(&rules).start().await;
    // What the harness itself has asked, to wait for the server.
    let mut others = asked_for(&server);
    others.extend(["acl|log".to_owned(), "client|setinfo".to_owned()]);
    let url = format!("redis://app:secret@127.0.0.1:{}", server.port());
    let cache = builder(&url, &ns)
        .local_capacity(8 << 20)
        .max_variants(2)
        .flush(smart_cache::StartFlush::EachVersion);
    let cache = cache.build().await.unwrap();
    let node = Node::of(cache.clone(), &rows);
    // A build that nobody has announced for long, and whose entries are swept.
    let builds = format!("{{{ns}}}:builds");
    assert_eq!(server.cli(&["HSET", &builds, "old", "1 somebody"]), "1");
    workout(&cache, &node).await;
    let processes = format!("{{{ns}}}:processes");
    eventually("the process to report", async || {
        (server.cli(&["EXISTS", &processes]) == "1").then_some(())
    })
    .await;
    assert_nothing_denied(&server);
    let allowed: BTreeSet<String> = rules
        .split(' ')
        .filter_map(|word| word.strip_prefix('+'))
        .map(str::to_owned)
        .collect();
    assert!(!allowed.contains("@all"));
    let asked = asked_for(&server);
    let idle: Vec<_> = allowed.difference(&asked).collect();
    assert!(idle.is_empty(), "allowed and never asked for: {idle:?}");
    let more: Vec<_> = asked
        .difference(&allowed)
        .filter(|name| !others.contains(*name))
        .collect();
    assert!(
        more.iter()
            .all(|name| matches!(name.as_str(), "hello" | "auth")),
        "{more:?}"
    );
}

#[tokio::test]
async fn a_right_that_is_taken_away_is_named_by_the_doctor() {
    let (ns, rows) = (namespace(), Rows::new());
    let server = RedisServer::options().user(&rights(&ns)).start().await;
    let url = format!("redis://app:secret@127.0.0.1:{}", server.port());
    for command in ["evalsha", "mget", "del", "get", "sadd"] {
        let node = Node::at(&url, &ns, &rows).await;
        assert_eq!(
            server.cli(&["ACL", "SETUSER", "app", &format!("-{command}")]),
            "OK"
        );
        let findings = node.cache.checkup().await;
        let worst = findings.iter().max_by_key(|finding| finding.level).unwrap();
        assert_eq!(worst.level, Level::Problem, "{command}: {findings:?}");
        let remedy = worst.remedy.as_deref().unwrap_or_default();
        assert!(
            worst.says.contains(command) || remedy.contains("docs/redis.md"),
            "{command}: {worst:?}"
        );
        assert_eq!(
            server.cli(&["ACL", "SETUSER", "app", &format!("+{command}")]),
            "OK"
        );
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
