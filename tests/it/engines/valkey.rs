//! Valkey: the road, the memory of a process, values, a cluster, sentinels.

use std::time::Duration;

use smart_cache_tests::harness::{
    Cluster, ClusterOptions, RedisOptions, RedisServer, Sentinels, eventually, left_out, namespace,
    valkey_server,
};

use super::{Load, Node, Rows};

/// `None` where this machine is without it.
fn options() -> Option<RedisOptions> {
    let program = valkey_server();
    if program.is_none() {
        left_out("valkey");
    }
    program.map(|program| RedisServer::options().program(program))
}

#[tokio::test]
async fn valkey_is_a_server_like_redis() {
    let Some(options) = options() else { return };
    let server = options.start().await;
    let (ns, rows) = (namespace(), Rows::new());
    let near = Node::near(&server.url(), &ns, &rows).await;
    let far = Node::at(&server.url(), &ns, &rows).await;
    near.hit(1).await;
    near.local_hit(1).await;
    assert!(far.write(1).await);
    eventually("the clear to be heard", async || {
        (near.ask(1).await.version == rows.version(1)).then_some(())
    })
    .await;
    let values = near.cache.values();
    values
        .set("n", &1, smart_cache::Timeout::Never)
        .await
        .unwrap();
    assert_eq!(values.incr("n", 2).await.unwrap(), 3);
    let facts = near.cache.inspect().unwrap().facts().await.unwrap();
    let version = facts.server_version.unwrap();
    assert!(version.starts_with("Valkey "), "{version}");
    let findings = near.cache.checkup().await;
    let bad: Vec<_> = findings
        .iter()
        .filter(|finding| finding.level > smart_cache::inspect::Level::Note)
        .collect();
    assert!(bad.is_empty(), "{bad:?}");
}

#[tokio::test]
async fn a_cluster_of_valkey_is_one_like_redis() {
    let Some(node) = options() else { return };
    let cluster = Cluster::with(ClusterOptions {
        node,
        ..ClusterOptions::default()
    })
    .await;
    let (ns, rows) = (namespace(), Rows::new());
    let nodes = [
        Node::at(&cluster.url(), &ns, &rows).await,
        Node::at(&cluster.url(), &ns, &rows).await,
    ];
    let load = Load::on(&nodes);
    load.goes_on("the start").await;
    let slot = cluster.slot_of(&ns);
    let owner = cluster.owner_of(&slot).unwrap();
    cluster.move_slot(&slot, owner, (owner + 1) % 3);
    load.goes_on("the move").await;
    load.end().await;
}

#[tokio::test]
async fn sentinels_of_valkey_are_some_like_redis() {
    let Some(server) = options() else { return };
    let sentinels = Sentinels::with(1, Duration::from_secs(600), &server, None).await;
    let (ns, rows) = (namespace(), Rows::new());
    let node = Node::at(&sentinels.url(), &ns, &rows).await;
    let load = Load::on(&[node]);
    load.goes_on("the start").await;
    sentinels.fail_over().await;
    sentinels.master_other_than(0).await;
    load.goes_on("the promotion").await;
    load.end().await;
}
