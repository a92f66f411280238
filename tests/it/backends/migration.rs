//! A clear while its slot moves from one node of a cluster to another.

use smart_cache::Target;
use smart_cache_tests::harness::{RedisServer, eventually};

use super::stage::{Subject, options};

async fn node() -> RedisServer {
    RedisServer::options()
        .option("cluster-enabled", "yes")
        .start()
        .await
}

/// Two nodes that know each other; the first has all slots.
async fn cluster() -> (RedisServer, RedisServer) {
    let (source, target) = (node().await, node().await);
    assert_eq!(
        source.cli(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]),
        "OK"
    );
    let port = target.port().to_string();
    assert_eq!(source.cli(&["CLUSTER", "MEET", "127.0.0.1", &port]), "OK");
    for node in [&source, &target] {
        eventually("the nodes to agree", async || {
            let info = node.cli(&["CLUSTER", "INFO"]);
            (info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2"))
                .then_some(())
        })
        .await;
    }
    (source, target)
}

#[tokio::test]
async fn a_clear_finds_its_tokens_on_both_nodes_while_their_slot_moves() {
    let (source, target) = cluster().await;
    let backend = Subject::at(&source.url(), options("moving"));
    let (stays, moves) = (
        Target::new("stays", &[], b"1"),
        Target::new("moves", &[], b"2"),
    );
    backend.fill(&stays, "old").await;
    backend.fill(&moves, "old").await;
    let slot = source.cli(&["CLUSTER", "KEYSLOT", "{moving}:t:"]);
    let (from, to) = (
        source.cli(&["CLUSTER", "MYID"]),
        target.cli(&["CLUSTER", "MYID"]),
    );
    assert_eq!(
        target.cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from]),
        "OK"
    );
    assert_eq!(
        source.cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to]),
        "OK"
    );
    let port = target.port().to_string();
    assert_eq!(
        source.cli(&[
            "MIGRATE",
            "127.0.0.1",
            &port,
            "{moving}:t:moves",
            "0",
            "1000"
        ]),
        "OK"
    );
    // One name here, one there, and one nowhere.
    backend.clear(&["stays", "moves", "never"]).await;
    let left = source.cli(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
    assert!(
        left.contains("{moving}:t:") && !left.contains("{moving}:t:stays"),
        "{left}"
    );
    assert_eq!(target.cli(&["CLUSTER", "COUNTKEYSINSLOT", &slot]), "0");
    // And a single name that has moved already: the namespace's own.
    assert_eq!(
        source.cli(&["MIGRATE", "127.0.0.1", &port, "{moving}:t:", "0", "1000"]),
        "OK"
    );
    backend.0.clear_all().await.unwrap();
    assert_eq!(target.cli(&["CLUSTER", "COUNTKEYSINSLOT", &slot]), "0");
}
