//! Sentinels: the road, failovers, sentinels that lie.

use std::time::Duration;

use smart_cache_tests::harness::{RedisServer, Sentinels, eventually, namespace};

use super::{Load, Node, Rows, STALENESS, builder};

/// So long that no sentinel takes a busy server for dead.
const NEVER: Duration = Duration::from_secs(600);
/// So short that a test need not wait, and long enough for a busy machine.
const SOON: Duration = Duration::from_secs(1);

#[tokio::test]
async fn the_road_leads_to_the_master() {
    let sentinels = Sentinels::start(1, NEVER).await;
    let (ns, rows) = (namespace(), Rows::new());
    let near = Node::near(&sentinels.url(), &ns, &rows).await;
    let far = Node::at(&sentinels.url(), &ns, &rows).await;
    let before = near.hit(1).await;
    near.local_hit(1).await;
    assert_eq!(far.hit(1).await.version, before.version);
    assert!(far.write(1).await);
    assert_eq!(far.ask(1).await.version, before.version + 1);
    assert_ne!(sentinels.server(0).cli(&["DBSIZE"]), "0");
}

/// The old master goes on acknowledging clears until the sentinels have told it, so nodes ask for a replica.
#[tokio::test]
async fn a_promotion_is_followed_without_a_failed_request_or_a_stale_answer() {
    let sentinels = Sentinels::start(1, NEVER).await;
    let (ns, rows) = (namespace(), Rows::new());
    let careful = async |capacity: u64, late: Duration| {
        let cache = builder(&sentinels.url(), &ns).min_replicas(1);
        let cache = cache.local_capacity(capacity).build().await.unwrap();
        Node {
            late,
            ..Node::of(cache, &rows)
        }
    };
    let nodes = [
        careful(0, Duration::ZERO).await,
        careful(0, Duration::ZERO).await,
        careful(8 << 20, STALENESS).await,
    ];
    let load = Load::on(&nodes);
    load.goes_on("the start").await;
    sentinels.fail_over().await;
    let master = sentinels.master_other_than(0).await;
    load.goes_on("the promotion").await;
    assert_eq!(master, 1);
    load.end().await;
}

#[tokio::test]
async fn a_master_that_is_killed_is_replaced() {
    let mut sentinels = Sentinels::start(1, SOON).await;
    let (ns, rows) = (namespace(), Rows::new());
    let nodes = [
        Node::at(&sentinels.url(), &ns, &rows).await,
        Node::at(&sentinels.url(), &ns, &rows).await,
        Node::near(&sentinels.url(), &ns, &rows).await,
    ];
    let load = Load::on(&nodes);
    load.goes_on("the start").await;
    sentinels.server_mut(0).kill();
    assert_eq!(sentinels.master_other_than(0).await, 1);
    load.goes_on("the failover").await;
    sentinels.server_mut(0).restart().await;
    load.goes_on("its return").await;
    load.end().await;
}

/// As a machine that hung: it takes itself for the master when it goes on.
#[tokio::test]
async fn a_master_that_was_frozen_is_not_believed_when_it_is_back() {
    let sentinels = Sentinels::start(1, SOON).await;
    let (ns, rows) = (namespace(), Rows::new());
    let nodes = [
        Node::at(&sentinels.url(), &ns, &rows).await,
        Node::at(&sentinels.url(), &ns, &rows).await,
        Node::near(&sentinels.url(), &ns, &rows).await,
    ];
    let load = Load::on(&nodes);
    load.goes_on("the start").await;
    sentinels.server(0).freeze();
    assert_eq!(sentinels.master_other_than(0).await, 1);
    load.goes_on("the failover").await;
    sentinels.server(0).thaw();
    load.goes_on("its return").await;
    load.end().await;
}

/// The master is well and we reach it; the sentinels do not, and promote another one.
#[tokio::test]
async fn a_master_that_only_we_still_reach_is_given_up() {
    let sentinels = Sentinels::start(1, SOON).await;
    let (ns, rows) = (namespace(), Rows::new());
    let node = Node::near(&sentinels.url(), &ns, &rows).await;
    node.hit(1).await;
    node.local_hit(1).await;
    sentinels.cut_off(0).await;
    assert_eq!(sentinels.master_other_than(0).await, 1);
    // A page on the new master, and a clear of it that only the old one hears.
    let early = Node::at(&sentinels.url(), &ns, &rows).await;
    eventually("a page on the new master", async || {
        early.ask(2).await;
        let is_there = sentinels
            .server(1)
            .cli(&["EXISTS", &format!("{{{ns}}}:t:row:2")]);
        (is_there == "1").then_some(())
    })
    .await;
    let lost = rows.write(2);
    let heard = node.cache.clear("row:2").await;
    println!("a clear that the old master may have taken: {heard:?}");
    // It still answers on the connection that we had.
    assert!(node.cache.stats().available);
    let other = Node::at(&sentinels.url(), &ns, &rows).await;
    eventually("a clear on the new master", async || {
        other.write(1).await.then_some(())
    })
    .await;
    let cleared = rows.version(1);
    eventually("the old master to be given up", async || {
        (node.ask(1).await.version >= cleared).then_some(())
    })
    .await;
    for _ in 0..20 {
        assert!(node.ask(1).await.version >= cleared);
    }
    // What the old master had acknowledged meanwhile, the new one has heard since.
    other.hit(2).await;
    assert_eq!(other.ask(2).await.version, lost, "cleared, and for ever");
    // And its own writes reach the others.
    assert!(node.write(1).await);
    assert_eq!(other.ask(1).await.version, rows.version(1));
    sentinels.let_in(0);
    for _ in 0..20 {
        assert_eq!(node.hit(1).await.version, rows.version(1));
        assert_eq!(other.hit(1).await.version, rows.version(1));
    }
}

#[tokio::test]
async fn sentinels_and_servers_may_have_passwords_of_their_own() {
    let server = RedisServer::options()
        .password("of-servers")
        .option("masterauth", "of-servers");
    let sentinels = Sentinels::with(1, NEVER, &server, Some("of-sentinels")).await;
    let (ns, rows) = (namespace(), Rows::new());
    let url = sentinels.url();
    let full = url.replace("://", "://:of-servers@") + "?sentinel_password=of-sentinels";
    let node = Node::at(&full, &ns, &rows).await;
    node.hit(1).await;
    assert!(node.write(1).await);
    let words = format!("{} {:?}", node.cache.describe(), node.cache);
    assert!(!words.contains("of-se"), "{words}");
    // Without, it says what is missing.
    let without = Node::at(&url.replace("://", "://:of-servers@"), &ns, &rows).await;
    assert!(without.ask(1).await.how.contains("unavailable"));
    let error = without.cache.clear("row:1").await.unwrap_err().to_string();
    assert!(error.contains("SMART_REDIS_SENTINEL_PASSWORD"), "{error}");
    let wrong = full.replace("of-servers", "nobodys");
    let wrong = Node::at(&wrong, &ns, &rows).await;
    let error = wrong.cache.clear("row:1").await.unwrap_err().to_string();
    assert!(error.to_lowercase().contains("password"), "{error}");
}

/// Without sentinels nobody can say where the master is, and nobody has to: it is where it was.
#[tokio::test]
async fn an_outage_of_the_sentinels_disturbs_nothing_that_works() {
    let mut sentinels = Sentinels::start(1, NEVER).await;
    let (ns, rows) = (namespace(), Rows::new());
    let node = Node::at(&sentinels.url(), &ns, &rows).await;
    let load = Load::on(std::slice::from_ref(&node));
    load.goes_on("the start").await;
    for at in 0..3 {
        sentinels.sentinel_mut(at).kill();
    }
    tokio::time::sleep(super::STALENESS * 3).await;
    load.goes_on("their end").await;
    assert!(node.cache.stats().available);
    for at in 0..3 {
        sentinels.sentinel_mut(at).restart().await;
    }
    load.goes_on("their return").await;
    load.end().await;
}

#[tokio::test]
async fn a_master_that_no_sentinel_knows_is_named() {
    let sentinels = Sentinels::start(0, NEVER).await;
    let url = sentinels.url().replace("the-master", "somebody-else");
    let node = Node::at(&url, &namespace(), &Rows::new()).await;
    assert!(node.ask(1).await.how.contains("unavailable"));
    let error = node.cache.clear("row:1").await.unwrap_err().to_string();
    assert!(error.contains("somebody-else"), "{error}");
}

/// Where INFO is forbidden the identity is configured, once for all servers: one that takes over is told
/// from the one before it all the same.
#[tokio::test]
async fn without_info_a_promotion_is_another_life_too() {
    let sentinels = Sentinels::start(1, NEVER).await;
    let (ns, rows) = (namespace(), Rows::new());
    for at in 0..2 {
        let rules = [
            "ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all", "-info",
        ];
        assert_eq!(sentinels.server(at).cli(&rules), "OK");
    }
    let url = sentinels.url().replace("://", "://app:secret@");
    let cache = super::builder(&url, &ns).server_id("one");
    let node = Node::of(cache.build().await.unwrap(), &rows);
    let before = node.hit(1).await;
    rows.write(1);
    sentinels.fail_over().await;
    sentinels.master_other_than(0).await;
    eventually("an answer of the new master", async || {
        let answer = node.ask(1).await;
        // The replica had the old entry and its tokens.
        (answer.is_hit() && answer.version > before.version).then_some(())
    })
    .await;
}

#[tokio::test]
async fn sentinels_that_lie_are_not_believed() {
    let sentinels = Sentinels::start(1, NEVER).await;
    let stranger = RedisServer::start().await;
    let replica = RedisServer::options().replica_of(&stranger).start().await;
    replica.synced(&stranger).await;
    let nobody = {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.local_addr().unwrap()
    };
    let of_replica = Sentinels::liar(replica.address()).await;
    let of_nobody = Sentinels::liar(nobody).await;
    let url = Sentinels::url_of(&[&of_replica, &of_nobody, sentinels.sentinel(0)]);
    let (ns, rows) = (namespace(), Rows::new());
    let node = Node::at(&url, &ns, &rows).await;
    node.hit(1).await;
    assert_ne!(sentinels.server(0).cli(&["DBSIZE"]), "0");
    assert_eq!(stranger.cli(&["DBSIZE"]), "0");
    // Their lies are told again at every heartbeat, and do not disturb what works.
    let connections = sentinels.server(0).info("total_connections_received").await;
    tokio::time::sleep(super::STALENESS * 4).await;
    for id in 0..super::ROWS {
        node.hit(id).await;
    }
    assert!(node.cache.stats().available);
    let after: u64 = sentinels
        .server(0)
        .info("total_connections_received")
        .await
        .parse()
        .unwrap();
    let before: u64 = connections.parse().unwrap();
    // The harness's own, and a link of a sentinel perhaps; not one for each heartbeat.
    assert!(
        after - before < 4,
        "{before} connections before, {after} after"
    );
    // Nobody but liars: handlers run, and clears say why.
    let url = Sentinels::url_of(&[&of_replica, &of_nobody]);
    let alone = Node::at(&url, &ns, &rows).await;
    assert!(alone.ask(1).await.how.contains("unavailable"));
    let error = alone.cache.clear("row:1").await.unwrap_err().to_string();
    assert!(!error.is_empty());
}
