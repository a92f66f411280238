//! A master of a cluster that is cut off from the other nodes and not from us: it is alive, answers, and takes clears
//! that nobody else will ever hear of.
//!
//! What bounds it is the cluster's own rule: a master that hears of no majority for `cluster-node-timeout` serves
//! nobody, and the others elect another one no sooner.

use std::time::{Duration, Instant};

use smart_cache_tests::harness::{Cluster, ClusterOptions, eventually, namespace};

use super::{Load, Node, Rows, STALENESS, builder};

async fn cluster(node_timeout: Duration) -> Cluster {
    Cluster::with(ClusterOptions {
        replicas: 1,
        node_timeout,
        can_be_cut: true,
        ..ClusterOptions::default()
    })
    .await
}

async fn careful(url: &str, namespace: &str, rows: &Rows) -> Node {
    let cache = builder(url, namespace).min_replicas(1).build();
    Node::of(cache.await.unwrap(), rows)
}

async fn owner(cluster: &Cluster, slot: &str) -> usize {
    eventually("the nodes to agree on an owner", async || {
        cluster.owner_of(slot)
    })
    .await
}

/// Until a node that is cut off has noticed that it is alone.
async fn has_stopped(cluster: &Cluster, at: usize) {
    eventually("the old master to stop", async || {
        let info = cluster.cut_off_says(at, &["CLUSTER", "INFO"]);
        info.contains("cluster_state:fail").then_some(())
    })
    .await;
}

#[tokio::test]
async fn nothing_stale_is_served_while_the_others_elect_another_one() {
    let cluster = cluster(Duration::from_millis(1500)).await;
    let (ns, rows) = (namespace(), Rows::new());
    let nodes = [
        careful(&cluster.url(), &ns, &rows).await,
        Node::at(&cluster.url(), &ns, &rows).await,
        Node::near(&cluster.url(), &ns, &rows).await,
    ];
    let load = Load::on(&nodes);
    load.goes_on("the start").await;
    let slot = cluster.slot_of(&ns);
    let old = owner(&cluster, &slot).await;
    cluster.cut_off(old);
    let began = Instant::now();
    let new = eventually("another master", async || {
        cluster.owner_of(&slot).filter(|owner| *owner != old)
    })
    .await;
    println!("another master after {:?}", began.elapsed());
    assert_eq!(new, (old + 3) % 6, "its replica");
    // It has been alive all the time.
    has_stopped(&cluster, old).await;
    load.goes_on("the election").await;
    cluster.let_in(old);
    cluster.agreed().await;
    load.goes_on("its return").await;
    assert_eq!(owner(&cluster, &slot).await, new);
    load.end().await;
}

/// An operator who does not wait: for a while there are two masters, and both acknowledge.
#[tokio::test]
async fn what_a_master_was_told_after_a_takeover_is_told_to_the_next_one() {
    let cluster = cluster(Duration::from_secs(4)).await;
    let (ns, rows) = (namespace(), Rows::new());
    let careful = careful(&cluster.url(), &ns, &rows).await;
    let careless = Node::at(&cluster.url(), &ns, &rows).await;
    let near = Node::near(&cluster.url(), &ns, &rows).await;
    for id in 1..4 {
        careless.hit(id).await;
    }
    near.local_hit(1).await;
    // Its connection for clears is made before.
    careful.surely_write(0).await;
    let slot = cluster.slot_of(&ns);
    let old = owner(&cluster, &slot).await;
    let new = (old + 3) % 6;
    cluster.cut_off(old);
    let taken = cluster.node(new).cli(&["CLUSTER", "FAILOVER", "TAKEOVER"]);
    assert_eq!(taken, "OK");
    let other = eventually("somebody on the new master", async || {
        let other = Node::at(&cluster.url(), &ns, &rows).await;
        for id in 1..4 {
            other.ask(id).await;
        }
        let page = format!("{{{ns}}}:t:row:1");
        let is_there = cluster.node(new).cli(&["EXISTS", &page]) == "1";
        is_there.then_some(other)
    })
    .await;
    for id in 1..4 {
        other.hit(id).await;
    }
    assert!(other.write(1).await, "the new master acknowledges");
    // The old one does too, and nobody has told it anything.
    let (by_careful, by_careless) = (rows.write(2), rows.write(3));
    let error = careful.cache.clear("row:2").await.unwrap_err().to_string();
    assert!(
        error.contains("NOREPLICAS") || error.contains("no answer"),
        "{error}"
    );
    let heard = careless.cache.clear("row:3").await;
    println!("a clear that the old master may have taken: {heard:?}");
    assert!(careless.cache.stats().available, "it still answers");
    // Until it stops by itself, it shows what it has to those who are left with it.
    has_stopped(&cluster, old).await;
    for node in [&careful, &careless, &near] {
        let stopped = Instant::now();
        eventually("the old master to be given up", async || {
            (node.ask(1).await.version >= rows.version(1)).then_some(())
        })
        .await;
        // A heartbeat tells, and a busy machine takes its time.
        assert!(stopped.elapsed() < STALENESS * 10);
        for _ in 0..20 {
            assert_eq!(node.ask(1).await.version, rows.version(1));
        }
    }
    // What the old one had acknowledged is said again to the new one. What it could not is pending, and stays so: there
    // is no other replica to wait for before the old master is one.
    eventually("a page of after the clear", async || {
        (other.ask(3).await.version == by_careless).then_some(())
    })
    .await;
    assert_eq!(other.hit(3).await.version, by_careless);
    assert_eq!(careful.ask(2).await.version, by_careful);
    assert_eq!(careful.cache.stats().pending_clears, 1);
    cluster.let_in(old);
    cluster.agreed().await;
    careful.all_cleared().await;
    for node in [&careful, &careless, &near, &other] {
        for id in 0..4 {
            assert_eq!(node.hit(id).await.version, rows.version(id));
        }
    }
}
