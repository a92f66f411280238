//! The least rights: exactly those of docs/redis.md suffice, and each of them is needed, in every row of the table.
//!
//! Over 400 lines: one workout, under every right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::RawQuery;
use axum::http::Request;
use axum::routing::get;
use axum::{Extension, Router};
use smart_cache::hooks::Collector;
use smart_cache::inspect::Level;
use smart_cache::{SmartCache, StartFlush, Timeout, depends_on, smart_cache};
use smart_cache_tests::harness::{
    Cluster, ClusterOptions, RedisServer, Sentinels, eventually, namespace,
};
use tokio::sync::Semaphore;
use tokio::task::LocalSet;
use tower::ServiceExt as _;

use super::doors::fails_with;
use super::{Node, ROWS, Rows, builder};

const DOCS: &str = include_str!("../../../docs/redis.md");

/// What docs/redis.md says a user needs, with the namespace of the test.
fn rights(ns: &str) -> String {
    let line = DOCS
        .lines()
        .find(|line| line.starts_with("ACL SETUSER smart-cache "))
        .expect("docs/redis.md gives the line");
    let rules = line.strip_prefix("ACL SETUSER smart-cache ").unwrap();
    let rules = rules.replace("{cache}", &format!("{{{ns}}}"));
    let rules = rules.replace("{cache#*}", &format!("{{{ns}#*}}"));
    format!("app {}", rules.replace(">password", ">secret"))
}

/// What a row of the table there adds, by its first words.
fn row(begins: &str) -> Vec<String> {
    let begins = format!("| {begins}");
    let (_, behind_the_line) = DOCS.split_once("\nACL SETUSER ").unwrap();
    let mut lines = behind_the_line.lines();
    let line = lines.find(|line| line.starts_with(&begins));
    let line = line.unwrap_or_else(|| panic!("docs/redis.md has no row {begins:?}"));
    let cell = line.split(" | ").nth(1).unwrap_or_default();
    let words = cell.split(['`', ' ']).filter(|word| word.starts_with('+'));
    // A bar would end the cell.
    words.map(|word| word.replace("\\|", "|")).collect()
}

/// The commands that rules allow.
fn allowed(rules: &str) -> BTreeSet<String> {
    let words = rules.split(' ');
    let allowed = words.filter_map(|word| word.strip_prefix('+'));
    allowed.map(str::to_owned).collect()
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
    if cache.stats().local.is_some() {
        node.local_hit(1).await;
    }
    node.surely_write(1).await;
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
        // How far away the server is says how busy the machine is.
        .filter(|finding| finding.level > Level::Note && finding.check != "connection")
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

/// Who was denied what, but for `CLIENT SETINFO`, with which the client names itself and which may fail.
fn denied(server: &RedisServer) -> BTreeSet<(String, String)> {
    let log = server.cli(&["ACL", "LOG", "100000"]);
    let lines: Vec<&str> = log.lines().collect();
    let mut denied = BTreeSet::new();
    let mut object = "";
    for pair in lines.chunks_exact(2) {
        match *pair {
            ["object", name] => object = name,
            ["username", user] if !object.starts_with("client|setinfo") => {
                denied.insert((user.to_owned(), object.to_owned()));
            }
            _ => {}
        }
    }
    denied
}

#[track_caller]
fn assert_nothing_denied(server: &RedisServer) {
    let denied = denied(server);
    assert!(denied.is_empty(), "{denied:?}");
}

/// The address of a server for the user with these rights.
fn url_of(server: &RedisServer) -> String {
    format!("redis://app:secret@{}", server.address())
}

#[tokio::test]
async fn the_rights_of_the_docs_are_enough_for_partitions_too() {
    let (ns, rows) = (namespace(), Rows::new());
    let server = RedisServer::options().user(&rights(&ns)).start().await;
    let url = url_of(&server);
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
    let url = url_of(&server);
    let cache = builder(&url, &ns)
        .local_capacity(8 << 20)
        .max_variants(2)
        .flush(StartFlush::EachVersion);
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
    let allowed = allowed(&rules);
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
    let url = url_of(&server);
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

/// Has everything but one right: sooner or later it is denied what only that right allows.
#[tokio::test]
async fn each_right_is_missed_by_whoever_has_all_the_others() {
    let all = allowed(&rights("any"));
    assert!(all.len() > 30, "{all:?}");
    // A server that has been told a script by one user has it for all.
    let (scripts, others) = all.into_iter().partition(|right| right == "script|load");
    are_missed(others).await;
    are_missed(scripts).await;
}

async fn are_missed(rights: BTreeSet<String>) {
    assert!(!rights.is_empty());
    let mut options = RedisServer::options().option("acllog-max-len", "100000");
    let mut missing = BTreeMap::new();
    for (number, right) in rights.into_iter().enumerate() {
        let (user, ns) = (format!("u{number}"), namespace());
        let rules = self::rights(&ns).replacen("app ", &format!("{user} "), 1);
        let without = rules.replacen(&format!(" +{right}"), "", 1);
        assert!(!allowed(&without).contains(&right), "{right}: {without}");
        options = options.user(&without);
        missing.insert((user, right), ns);
    }
    let server = options.start().await;
    // What waits for something inside is bound to its thread.
    let tasks = LocalSet::new();
    let few = Arc::new(Semaphore::new(12));
    let mut at_work = BTreeMap::new();
    for (who, ns) in missing {
        let url = format!("redis://{}:secret@{}", who.0, server.address());
        // A build whose entries are swept.
        let builds = format!("{{{ns}}}:builds");
        assert_eq!(server.cli(&["HSET", &builds, "old", "1 somebody"]), "1");
        let few = Arc::clone(&few);
        let work = tasks.spawn_local(async move {
            let _one_of_few = few.acquire_owned().await;
            let cache = builder(&url, &ns)
                .local_capacity(8 << 20)
                .max_variants(2)
                .timeout(Duration::from_secs(5))
                .flush(StartFlush::EachVersion);
            let cache = cache.build().await.unwrap();
            let node = Node::of(cache.clone(), &Rows::new());
            workout(&cache, &node).await;
            // What it reports now and then is still to come.
            std::future::pending::<()>().await;
        });
        at_work.insert(who, work);
    }
    let all_missed = eventually("each right to be missed", async || {
        for who in denied(&server) {
            if let Some(work) = at_work.remove(&who) {
                work.abort();
            }
        }
        let nobody = at_work.values().all(tokio::task::JoinHandle::is_finished);
        assert!(
            !nobody || at_work.is_empty(),
            "nobody has missed {:?}",
            at_work.keys()
        );
        tokio::time::sleep(Duration::from_millis(30)).await;
        at_work.is_empty().then_some(())
    });
    tasks.run_until(all_missed).await;
}

#[tokio::test]
async fn another_database_takes_select_and_no_more() {
    let (ns, rows) = (namespace(), Rows::new());
    let server = RedisServer::options().user(&rights(&ns)).start().await;
    let url = url_of(&server) + "/1";
    fails_with(builder(&url, &ns), &["select"]).await;
    grant(&server, &row("a database other than 0"));
    let node = Node::near(&url, &ns, &rows).await;
    workout(&node.cache, &node).await;
    assert_nothing_denied(&server);
}

/// Gives the user more rights, and forgets what it was denied without them.
fn grant(server: &RedisServer, more: &[String]) {
    assert!(!more.is_empty());
    for right in more {
        assert_eq!(server.cli(&["ACL", "SETUSER", "app", right]), "OK");
    }
    assert_eq!(server.cli(&["ACL", "LOG", "RESET"]), "OK");
}

/// Takes a right away from the user, on all of these.
fn take<'a>(servers: impl IntoIterator<Item = &'a RedisServer>, right: &str) {
    let taken = right.replacen('+', "-", 1);
    for server in servers {
        assert_eq!(server.cli(&["ACL", "SETUSER", "app", &taken]), "OK");
    }
}

/// Whether one of these has denied the user this.
fn is_denied<'a>(servers: impl IntoIterator<Item = &'a RedisServer>, right: &str) -> bool {
    let entry = ("app".to_owned(), right.to_owned());
    let mut servers = servers.into_iter();
    servers.any(|server| denied(server).contains(&entry))
}

#[tokio::test]
async fn a_cluster_takes_three_rights_more() {
    let (ns, rows) = (namespace(), Rows::new());
    let more = row("a cluster");
    assert_eq!(more, ["+cluster|slots", "+cluster|info", "+asking"]);
    let rules = format!("{} {}", rights(&ns), more.join(" "));
    let cluster = Cluster::with(ClusterOptions {
        node: RedisServer::options().user(&rules),
        ..ClusterOptions::default()
    })
    .await;
    let nodes = || (0..cluster.len()).map(|at| cluster.node(at));
    let url = cluster.url().replace("://", "://app:secret@");
    let node = Node::near(&url, &ns, &rows).await;
    workout(&node.cache, &node).await;
    // On its way from one node to the other a name is asked for on both.
    let slot = cluster.slot_of(&ns);
    let from = cluster.owner_of(&slot).unwrap();
    cluster.begin_move(&slot, from, (from + 1) % 3);
    eventually("a clear on both", async || {
        node.cache.clear("never").await.ok()
    })
    .await;
    let mut asked = BTreeSet::new();
    for node in nodes() {
        assert_nothing_denied(node);
        asked.extend(asked_for(node));
    }
    for right in &more {
        assert!(asked.contains(&right[1..]), "{right} is idle");
    }
    // Without each of them.
    take(nodes(), "+asking");
    node.cache.clear("never").await.unwrap_err();
    assert!(is_denied(nodes(), "asking"));
    // The word of every node counts alike then, however old it is: nothing fails for that.
    take(nodes(), "+cluster|info");
    Node::at(&url, &ns, &rows).await.ask(1).await;
    assert!(is_denied(nodes(), "cluster|info"));
    take(nodes(), "+cluster|slots");
    fails_with(builder(&url, &ns), &["cluster|slots"]).await;
}

#[tokio::test]
async fn clears_that_replicas_have_take_wait() {
    let (ns, rows) = (namespace(), Rows::new());
    let master = RedisServer::options().user(&rights(&ns)).start().await;
    let replica = RedisServer::options().replica_of(&master).start().await;
    replica.synced(&master).await;
    let cache = || {
        let careful = builder(&url_of(&master), &ns).min_replicas(1);
        careful.timeout(Duration::from_secs(5)).build()
    };
    let without = cache().await.unwrap();
    let error = without.clear("row:1").await.unwrap_err().to_string();
    assert!(error.contains("wait"), "{error}");
    drop(without);
    grant(&master, &row("`SMART_REDIS_MIN_REPLICAS`"));
    let node = Node::of(cache().await.unwrap(), &rows);
    workout(&node.cache, &node).await;
    assert_nothing_denied(&master);
}

/// A replica is told from a master by its role then, and nodes of a cluster by their names.
#[tokio::test]
async fn without_info_the_role_is_asked_for() {
    let (ns, rows) = (namespace(), Rows::new());
    let rules = rights(&ns).replacen(" +info", "", 1);
    assert!(!allowed(&rules).contains("info"));
    let more = row("no `INFO`");
    assert_eq!(more, ["+role", "+cluster|myid"]);
    let user = format!("{rules} {}", more[0]);
    let master = RedisServer::options().user(&user).start().await;
    let replica = RedisServer::options().user(&user).replica_of(&master);
    let replica = replica.start().await;
    replica.synced(&master).await;
    let known = |url: &str| {
        let known = builder(url, &ns).server_id("one");
        known.local_capacity(8 << 20)
    };
    let node = Node::of(known(&url_of(&master)).build().await.unwrap(), &rows);
    workout(&node.cache, &node).await;
    let only_info = |server: &RedisServer| {
        let denied = denied(server);
        assert!(
            denied.iter().all(|(_, object)| object == "info"),
            "{denied:?}"
        );
    };
    only_info(&master);
    fails_with(known(&url_of(&replica)), &["replica"]).await;

    let user = format!("{user} {} {}", row("a cluster").join(" "), more[1]);
    let cluster = Cluster::with(ClusterOptions {
        node: RedisServer::options().user(&user),
        ..ClusterOptions::default()
    })
    .await;
    let url = cluster.url().replace("://", "://app:secret@");
    let node = Node::of(known(&url).build().await.unwrap(), &rows);
    node.hit(1).await;
    node.local_hit(1).await;
    let owner = cluster.owner_of(&cluster.slot_of(&ns)).unwrap();
    let asked = asked_for(cluster.node(owner));
    assert!(asked.contains("cluster|myid"), "{asked:?}");
    only_info(cluster.node(owner));
}

#[tokio::test]
async fn without_a_local_tier_nothing_is_tracked() {
    let (ns, rows) = (namespace(), Rows::new());
    let spared = row("no local tier");
    assert_eq!(spared, ["+client|tracking"]);
    let rules = rights(&ns).replacen(&format!(" {}", spared[0]), "", 1);
    assert!(!allowed(&rules).contains("client|tracking"));
    let server = RedisServer::options().user(&rules).start().await;
    let node = Node::at(&url_of(&server), &ns, &rows).await;
    workout(&node.cache, &node).await;
    assert_nothing_denied(&server);
}

#[tokio::test]
async fn a_user_of_the_sentinels_needs_two_rights() {
    let sentinels = Sentinels::start(0, Duration::from_secs(600)).await;
    let all = || (0..3).map(|at| sentinels.sentinel(at));
    let (ns, rows) = (namespace(), Rows::new());
    let words = DOCS.split(['`', ' ', '\n']);
    let more: Vec<&str> = words
        .filter(|word| word.starts_with("+sentinel|"))
        .collect();
    assert_eq!(more.len(), 2, "{more:?}");
    for sentinel in all() {
        let user = ["ACL", "SETUSER", "app", "on", ">secret", "resetkeys"];
        let rules = [&user[..], &["-@all"], &more].concat();
        assert_eq!(sentinel.cli(&rules), "OK");
    }
    let url = sentinels.url() + "?sentinel_username=app&sentinel_password=secret";
    let node = Node::at(&url, &ns, &rows).await;
    node.hit(1).await;
    node.surely_write(1).await;
    all().for_each(assert_nothing_denied);
    // Without this one nothing fails: but a sentinel that lags behind is believed like the others.
    take(all(), "+sentinel|master");
    Node::at(&url, &ns, &rows).await.hit(1).await;
    assert!(is_denied(all(), "sentinel|master"));
    take(all(), "+sentinel|get-master-addr-by-name");
    fails_with(builder(&url, &ns), &["get-master-addr-by-name"]).await;
}
