//! Redis Cluster: the road, moving slots, failovers, restarts, what is missing.

use std::time::{Duration, Instant};

use smart_cache_tests::harness::{Cluster, ClusterOptions, RedisServer, eventually, namespace};

use super::{Load, Node, Rows};

#[tokio::test]
async fn the_road_leads_to_the_owner_of_the_slot() {
    let cluster = Cluster::start().await;
    let rows = Rows::new();
    let mut owners = Vec::new();
    // Each namespace is somewhere else.
    for _ in 0..6 {
        let ns = namespace();
        let node = Node::near(&cluster.url(), &ns, &rows).await;
        let other = Node::at(&cluster.url(), &ns, &rows).await;
        let before = node.hit(1).await;
        let runs = rows.runs(1);
        assert!(other.ask(1).await.is_hit(), "one page for both");
        node.local_hit(1).await;
        assert_eq!(rows.runs(1), runs, "no handler has run again");
        assert!(other.write(1).await);
        eventually("the clear to be heard", async || {
            (node.ask(1).await.version > before.version).then_some(())
        })
        .await;
        node.cache.clear_all().await.unwrap();
        assert!(!other.ask(1).await.is_hit());
        let slot = cluster.slot_of(&ns);
        owners.push(cluster.owner_of(&slot).unwrap());
    }
    owners.sort_unstable();
    owners.dedup();
    assert!(
        owners.len() > 1,
        "by chance all slots are of one node: 1 of 243"
    );
}

#[tokio::test]
async fn one_living_seed_is_enough() {
    let mut cluster = Cluster::with(ClusterOptions {
        masters: 3,
        ..ClusterOptions::default()
    })
    .await;
    let rows = Rows::new();
    let ns = namespace();
    let owner = cluster.owner_of(&cluster.slot_of(&ns)).unwrap();
    let seed = (owner + 1) % 3;
    let dead = RedisPort::free();
    let url = format!(
        "redis+cluster://127.0.0.1:{},{},no-such-host.invalid",
        dead.0,
        cluster.node(seed).address()
    );
    let node = Node::at(&url, &ns, &rows).await;
    node.hit(1).await;
    // What was learned of the other nodes is remembered: the seed itself is not needed any more.
    cluster.node_mut(seed).kill();
    node.cache.values().close().await;
    eventually("an answer without the seed", async || {
        node.ask(2).await;
        node.ask(2).await.is_hit().then_some(())
    })
    .await;
}

/// A port that nobody listens on.
struct RedisPort(u16);

impl RedisPort {
    fn free() -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        Self(listener.local_addr().unwrap().port())
    }
}

#[tokio::test]
async fn a_plain_address_of_a_node_says_what_to_give_instead() {
    let cluster = Cluster::start().await;
    let rows = Rows::new();
    let ns = namespace();
    let owner = cluster.owner_of(&cluster.slot_of(&ns)).unwrap();
    let url = cluster.node((owner + 1) % 3).url();
    let node = Node::at(&url, &ns, &rows).await;
    assert!(node.ask(1).await.how.contains("unavailable"));
    eventually("the remedy", async || {
        let error = node.cache.clear("row:1").await.unwrap_err().to_string();
        (error.contains("MOVED") && error.contains("redis+cluster://")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_no_cluster_says_so() {
    let server = RedisServer::start().await;
    let url = format!("redis+cluster://{}", server.address());
    let node = Node::at(&url, &namespace(), &Rows::new()).await;
    assert!(node.ask(1).await.how.contains("unavailable"));
    let error = node.cache.clear("row:1").await.unwrap_err().to_string();
    assert!(error.contains("cluster support disabled"), "{error}");
}

/// A cluster with replicas, two applications under load, and who serves their namespace.
async fn under_load() -> (Cluster, String, Load) {
    let cluster = Cluster::with_replicas(Duration::from_millis(1500)).await;
    let (ns, rows) = (namespace(), Rows::new());
    let nodes = [
        Node::at(&cluster.url(), &ns, &rows).await,
        Node::at(&cluster.url(), &ns, &rows).await,
    ];
    let load = Load::on(&nodes);
    load.goes_on("the start").await;
    let slot = cluster.slot_of(&ns);
    (cluster, slot, load)
}

async fn owner(cluster: &Cluster, slot: &str) -> usize {
    eventually("the nodes to agree on an owner", async || {
        cluster.owner_of(slot)
    })
    .await
}

async fn owner_other_than(cluster: &Cluster, slot: &str, before: usize) -> usize {
    eventually("another owner", async || {
        cluster.owner_of(slot).filter(|owner| *owner != before)
    })
    .await
}

#[tokio::test]
async fn a_promotion_in_the_cluster_is_followed() {
    let (cluster, slot, load) = under_load().await;
    for _ in 0..2 {
        let master = owner(&cluster, &slot).await;
        let replica = (master + 3) % 6;
        // The servers give one up that takes more than five seconds, and say so to nobody.
        let mut asked: Option<Instant> = None;
        eventually("the failover", async || {
            let again = asked.is_none_or(|at| at.elapsed() > Duration::from_secs(6));
            if again && cluster.node(replica).cli(&["CLUSTER", "FAILOVER"]) == "OK" {
                asked = Some(Instant::now());
            }
            cluster.owner_of(&slot).filter(|owner| *owner == replica)
        })
        .await;
        load.goes_on("the promotion").await;
    }
    load.end().await;
}

#[tokio::test]
async fn a_master_of_the_cluster_that_is_killed_is_replaced() {
    let (mut cluster, slot, load) = under_load().await;
    let master = owner(&cluster, &slot).await;
    cluster.node_mut(master).kill();
    let next = owner_other_than(&cluster, &slot, master).await;
    load.goes_on("the failover").await;
    // It comes back as a replica.
    cluster.node_mut(master).restart().await;
    cluster.agreed().await;
    load.goes_on("its return").await;
    assert_eq!(owner(&cluster, &slot).await, next);
    load.end().await;
}

/// The old master is alive all the time, and takes itself for the owner until the others tell it.
#[tokio::test]
async fn a_master_of_the_cluster_that_was_cut_off_is_not_believed_when_it_is_back() {
    let (cluster, slot, load) = under_load().await;
    let master = owner(&cluster, &slot).await;
    cluster.node(master).freeze();
    let next = owner_other_than(&cluster, &slot, master).await;
    load.goes_on("the failover").await;
    cluster.node(master).thaw();
    load.goes_on("its return").await;
    cluster.agreed().await;
    assert_eq!(owner(&cluster, &slot).await, next);
    load.end().await;
}

#[tokio::test]
async fn every_node_of_the_cluster_restarts_one_after_the_other() {
    let (mut cluster, _, load) = under_load().await;
    for at in 0..cluster.len() {
        cluster.node_mut(at).restart().await;
        cluster.agreed().await;
        load.goes_on("a restart").await;
    }
    load.end().await;
}

#[tokio::test]
async fn a_slot_that_nobody_serves_is_named_and_heals_when_somebody_does() {
    let cluster = Cluster::with(ClusterOptions {
        node: RedisServer::options().option("cluster-require-full-coverage", "no"),
        ..ClusterOptions::default()
    })
    .await;
    let (ns, rows) = (namespace(), Rows::new());
    let node = Node::at(&cluster.url(), &ns, &rows).await;
    let first = node.hit(1).await;
    let slot = cluster.slot_of(&ns);
    for at in 0..3 {
        let said = cluster.node(at).cli(&["CLUSTER", "DELSLOTS", &slot]);
        // The gossip of the others may have come first.
        assert!(
            said == "OK" || said.contains("already unassigned"),
            "{said}"
        );
    }
    eventually("the slot to be missed", async || {
        node.ask(1).await.how.contains("unavailable").then_some(())
    })
    .await;
    assert!(!node.write(1).await);
    eventually("the slot to be named", async || {
        let error = node.cache.clear("row:1").await.unwrap_err().to_string();
        (error.contains("CLUSTERDOWN") && error.contains(&slot)).then_some(())
    })
    .await;
    // Another namespace is served as before.
    let other = eventually("a namespace in another slot", async || {
        let other = namespace();
        (cluster.slot_of(&other) != slot).then_some(other)
    })
    .await;
    Node::at(&cluster.url(), &other, &rows).await.hit(1).await;
    assert_eq!(cluster.node(0).cli(&["CLUSTER", "ADDSLOTS", &slot]), "OK");
    node.all_cleared().await;
    eventually("the new version", async || {
        let answer = node.ask(1).await;
        assert!(answer.version > first.version, "stale: {answer:?}");
        answer.is_hit().then_some(())
    })
    .await;
}
