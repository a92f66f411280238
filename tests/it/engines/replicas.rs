//! `SMART_REDIS_MIN_REPLICAS`: what was acknowledged has reached replicas.

use std::time::Duration;

use smart_cache_tests::harness::{RedisServer, Sentinels, eventually, namespace};

use super::{Load, Node, Rows, builder};

async fn careful(url: &str, namespace: &str, rows: &Rows, replicas: u32) -> Node {
    let cache = builder(url, namespace).min_replicas(replicas).build();
    Node::of(cache.await.unwrap(), rows)
}

#[tokio::test]
async fn an_acknowledged_clear_has_reached_the_replicas() {
    let master = RedisServer::start().await;
    let mut replicas = Vec::new();
    for _ in 0..2 {
        let replica = RedisServer::options().replica_of(&master).start().await;
        replica.synced(&master).await;
        replicas.push(replica);
    }
    let (ns, rows) = (namespace(), Rows::new());
    // However long a busy machine takes.
    let cache = builder(&master.url(), &ns).min_replicas(2);
    let cache = cache.timeout(Duration::from_secs(10)).build().await;
    let node = Node::of(cache.unwrap(), &rows);
    let token = format!("{{{ns}}}:t:row:1");
    for _ in 0..20 {
        node.hit(1).await;
        assert!(node.write(1).await);
        for replica in &replicas {
            // No waiting: it was there before the clear was acknowledged.
            assert_eq!(replica.cli(&["EXISTS", &token]), "0");
        }
    }
    node.cache.expire("row:1").await.unwrap();
    node.cache.clear_all().await.unwrap();
    // Many at once, over a few connections.
    let clears = (0..50).map(|at| node.cache.clear(format!("row:{at}")));
    for cleared in futures_util::future::join_all(clears).await {
        cleared.unwrap();
    }
}

#[tokio::test]
async fn a_clear_that_reaches_too_few_replicas_is_an_error_and_lands_when_there_are_enough() {
    let master = RedisServer::start().await;
    let replica = RedisServer::options().replica_of(&master).start().await;
    replica.synced(&master).await;
    let (ns, rows) = (namespace(), Rows::new());
    let node = careful(&master.url(), &ns, &rows, 1).await;
    node.hit(1).await;
    replica.freeze();
    let error = {
        rows.write(1);
        node.cache.clear("row:1").await.unwrap_err().to_string()
    };
    assert!(
        error.contains("NOREPLICAS") || error.contains("no answer within"),
        "{error}"
    );
    assert_eq!(node.cache.stats().pending_clears, 1);
    let distrusted = node.ask(1).await;
    assert!(distrusted.how.contains("pending-clear"), "{distrusted:?}");
    assert_eq!(distrusted.version, rows.version(1));
    // What is not cleared is served meanwhile: a clear that waits holds up nobody else.
    node.hit(2).await;
    replica.thaw();
    node.all_cleared().await;
    assert_eq!(node.hit(1).await.version, rows.version(1));
}

/// The clears of a master that is cut off are the ones that only WAIT tells: it takes them, and nobody
/// else ever hears of them.
#[tokio::test]
async fn a_clear_on_a_master_that_is_cut_off_lands_on_the_next_one() {
    let sentinels = Sentinels::start(2, Duration::from_secs(1)).await;
    let (ns, rows) = (namespace(), Rows::new());
    let node = careful(&sentinels.url(), &ns, &rows, 1).await;
    let careless = Node::at(&sentinels.url(), &ns, &rows).await;
    node.hit(1).await;
    // Its connection for clears was made before.
    node.surely_write(3).await;
    sentinels.cut_off(0).await;
    // The old master takes it, and that is worth nothing.
    let careless_word = careless.cache.clear("row:2").await;
    let version = rows.write(1);
    let error = node.cache.clear("row:1").await.unwrap_err().to_string();
    assert!(
        error.contains("NOREPLICAS") || error.contains("no answer"),
        "{error}"
    );
    careless_word.expect("without WAIT nobody notices");
    let master = sentinels.master_other_than(0).await;
    // Somebody fills the page on the new master from old rows, as it were: before the clear lands there.
    node.all_cleared().await;
    let token = format!("{{{ns}}}:t:row:1");
    eventually("a hit on the new master", async || {
        let answer = node.ask(1).await;
        assert_eq!(answer.version, version);
        answer.is_hit().then_some(())
    })
    .await;
    assert_eq!(sentinels.server(master).cli(&["EXISTS", &token]), "1");
}

#[tokio::test]
async fn nothing_stale_is_served_by_careful_nodes_through_a_failover() {
    let mut sentinels = Sentinels::start(2, Duration::from_secs(1)).await;
    let (ns, rows) = (namespace(), Rows::new());
    let nodes = [
        careful(&sentinels.url(), &ns, &rows, 1).await,
        careful(&sentinels.url(), &ns, &rows, 1).await,
    ];
    let load = Load::on(&nodes);
    load.goes_on("the start").await;
    sentinels.server_mut(0).kill();
    sentinels.master_other_than(0).await;
    load.goes_on("the failover").await;
    load.end().await;
}
