//! What can happen in Redis alone: names of another type, round trips, one connection.

use std::future::Future;
use std::time::{Duration, Instant};

use smart_cache::Timeout::{Default, Never};
use smart_cache::backend::Ttl;
use smart_cache::{CacheError, SmartCache};
use smart_cache_tests::harness::{Chaos, Gate, RedisServer, within};

use super::stage::Stage;

async fn at(server: RedisServer) -> (Stage, SmartCache, String) {
    let stage = Stage::Redis(Box::new(server));
    let namespace = smart_cache_tests::harness::namespace();
    let smart = stage.builder().namespace(&namespace).build().await.unwrap();
    (stage, smart, namespace)
}

fn server(stage: &Stage) -> &RedisServer {
    match stage {
        Stage::Redis(server) | Stage::Partitioned(server) => server,
        Stage::Memory | Stage::Stores(_) => panic!("not a server"),
    }
}

#[tokio::test]
async fn a_name_of_another_type_is_a_miss_and_is_replaced() {
    let (stage, smart, namespace) = at(RedisServer::start().await).await;
    let (server, values) = (server(&stage), smart.values());
    let name = format!("{{{namespace}}}:v:1:k");
    let foreign = || server.cli(&["rpush", &name, "a"]);
    foreign();
    assert_eq!(values.get::<i32>("k").await.unwrap(), None);
    assert!(values.get_many::<i32>(["k"]).await.unwrap().is_empty());
    assert_eq!(smart.stats().values.misses, 2);
    assert!(matches!(
        values.incr("k", 1).await,
        Err(CacheError::NotAnInteger { .. })
    ));
    assert!(!values.add("k", &1, Default).await.unwrap());
    values.set("k", &1, Default).await.unwrap();
    assert_eq!(values.get::<i32>("k").await.unwrap(), Some(1));
    values.delete("k").await.unwrap();
    foreign();
    assert!(values.delete("k").await.unwrap());
    foreign();
    values.clear().await.unwrap();
    assert_eq!(server.cli(&["exists", &name]).trim(), "0");
}

#[tokio::test]
async fn what_is_computed_replaces_a_name_of_another_type() {
    let (stage, smart, namespace) = at(RedisServer::start().await).await;
    let (server, values) = (server(&stage), smart.values());
    let foreign = |key: &str| {
        let name = format!("{{{namespace}}}:v:1:{key}");
        assert_eq!(server.cli(&["rpush", &name, "a"]), "1");
    };
    for timeout in [Default, Never] {
        foreign("k");
        for computed in 1..=2_u64 {
            let value = values.get_or_set("k").timeout(timeout);
            assert_eq!(value.compute(async || computed).await.unwrap(), 1);
        }
        assert_eq!(values.get::<u64>("k").await.unwrap(), Some(1));
        let is_for_ever = values.ttl("k").await.unwrap() == Ttl::Never;
        assert_eq!(is_for_ever, timeout == Never);
        assert!(values.delete("k").await.unwrap());
    }
    // Those who join are told of what was stored, and none of them computes once more.
    foreign("joined");
    let gate = Gate::new();
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let (values, gate) = (values.clone(), gate.clone());
            tokio::spawn(async move {
                let value = values.get_or_set("joined").compute(async || {
                    gate.pass().await;
                    gate.runs()
                });
                value.await.unwrap()
            })
        })
        .collect();
    gate.begun().await;
    gate.open_for_all();
    for caller in callers {
        assert_eq!(within("a caller", caller).await.unwrap(), 1);
    }
    assert_eq!(gate.runs(), 1);
}

/// Whether there is a value is asked by reading it; times and names are those of whatever is there.
#[tokio::test]
async fn a_name_of_another_type_has_a_time_and_moves_and_is_no_value() {
    let (stage, smart, namespace) = at(RedisServer::start().await).await;
    let (server, values) = (server(&stage), smart.values());
    let name = |version: u32| format!("{{{namespace}}}:v:{version}:k");
    assert_eq!(server.cli(&["rpush", &name(1), "a"]), "1");
    assert!(!values.has_key("k").await.unwrap());
    assert!(values.get_bytes("k").await.unwrap().is_none());
    assert_eq!(values.ttl("k").await.unwrap(), Ttl::Never);
    assert!(values.touch("k", Duration::from_secs(50)).await.unwrap());
    assert!(matches!(values.ttl("k").await.unwrap(), Ttl::After(_)));
    assert!(values.persist("k").await.unwrap());
    assert_eq!(values.ttl("k").await.unwrap(), Ttl::Never);
    assert_eq!(values.keys("*").all().await.unwrap(), ["k"]);
    // A value with tags is an entry: it stands elsewhere, and removes nothing.
    let tagged = values.get_or_set("k").tags("t");
    assert_eq!(tagged.compute(async || 1_u64).await.unwrap(), 1);
    assert_eq!(values.incr_version("k", 1).await.unwrap(), 2);
    assert_eq!(values.ttl("k").await.unwrap(), Ttl::Missing);
    assert_eq!(server.cli(&["type", &name(2)]), "list");
    assert!(!values.version(2).has_key("k").await.unwrap());
}

#[tokio::test]
async fn clear_leaves_other_data_of_the_same_database_alone() {
    let (stage, smart, namespace) = at(RedisServer::start().await).await;
    let server = server(&stage);
    let foreign = [
        "plain",
        "v:1:k",
        &format!("{{{namespace}x}}:v:1:k"),
        &format!("{{{namespace}}}:vv"),
    ];
    for name in foreign {
        assert_eq!(server.cli(&["set", name, "1"]).trim(), "OK");
    }
    smart.values().set("k", &1, Never).await.unwrap();
    smart.values().clear().await.unwrap();
    assert_eq!(smart.values().get::<i32>("k").await.unwrap(), None);
    for name in foreign {
        assert_eq!(server.cli(&["exists", name]).trim(), "1", "{name}");
    }
}

#[tokio::test]
async fn each_call_for_many_is_one_round_trip_over_the_one_connection() {
    let (stage, smart, _) = at(RedisServer::start().await).await;
    let (server, values) = (server(&stage), smart.values());
    let before = server.info("total_connections_received").await;
    let keys: Vec<String> = (0..500).map(|n| format!("k{n}")).collect();
    let written: Vec<(&String, usize)> = keys.iter().zip(0..).collect();
    values.set_many(written, Default).await.unwrap();
    assert_eq!(values.get_many::<usize>(&keys).await.unwrap().len(), 500);
    assert_eq!(values.delete_many(&keys).await.unwrap(), 500);
    let calls = |name: &str| {
        let stats = server.cli(&["info", "commandstats"]);
        let line = stats
            .lines()
            .find(|line| line.starts_with(&format!("cmdstat_{name}:")));
        line.and_then(|line| line.split(['=', ',']).nth(1)?.parse().ok())
            .unwrap_or(0_u64)
    };
    // One for the values; the tokens of the names go in another of the same pipeline.
    assert_eq!((calls("mget"), calls("set"), calls("del")), (1, 500, 3));
    let after = server.info("total_connections_received").await;
    let opened = |text: &str| text.parse::<u64>().unwrap();
    // The harness's own `redis-cli` and `info` calls are the others.
    assert!(opened(&after) - opened(&before) <= 5, "{before} {after}");
}

/// What a call answers. One after the other, 500 answers that are 20 ms late take ten seconds.
async fn soon<T>(what: &str, call: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let answer = call.await;
    let took = start.elapsed();
    assert!(took < Duration::from_secs(2), "{what} took {took:?}");
    answer
}

#[tokio::test]
async fn calls_for_many_keys_wait_for_a_slow_network_once() {
    let stage = Stage::redis().await;
    let chaos = Chaos::in_front_of(server(&stage).address()).await;
    let smart = stage.builder().url(&chaos.url()).build().await.unwrap();
    let values = smart.values();
    // The connection is there before the network is slow.
    values.set("first", &1, Default).await.unwrap();
    chaos.delay(Duration::from_millis(20));
    let keys: Vec<String> = (0..500).map(|n| format!("k{n}")).collect();
    let written: Vec<(&String, usize)> = keys.iter().zip(0..).collect();
    let refused = soon("set_many", values.set_many(written, Default)).await;
    assert!(refused.unwrap().is_empty());
    let found = soon("get_many", values.get_many::<usize>(&keys)).await;
    assert_eq!(found.unwrap().len(), 500);
    let removed = soon("delete_many", values.delete_many(&keys)).await;
    assert_eq!(removed.unwrap(), 500);
}

#[tokio::test]
async fn callers_on_several_nodes_compute_once() {
    let stage = Stage::redis().await;
    let namespace = smart_cache_tests::harness::namespace();
    for (key, tags) in [("plain", &[][..]), ("tagged", &["t"])] {
        let (gate, mut callers) = (Gate::new(), Vec::new());
        for _ in 0..4 {
            let builder = stage.builder().namespace(&namespace).local_capacity(0);
            let builder = builder.wait(Duration::from_secs(20));
            let values = builder.build().await.unwrap().values();
            callers.extend((0..500).map(|_| {
                let (values, gate) = (values.clone(), gate.clone());
                tokio::spawn(async move {
                    let value = values.get_or_set(key).tags(tags.to_vec());
                    let value = value.compute(async || {
                        gate.pass().await;
                        gate.runs()
                    });
                    value.await.unwrap()
                })
            }));
        }
        gate.begun().await;
        gate.open_for_all();
        for caller in callers {
            assert_eq!(within("a caller", caller).await.unwrap(), 1, "{key}");
        }
        assert_eq!(gate.runs(), 1, "{key}");
    }
}

#[tokio::test]
async fn a_clear_on_one_node_ends_what_another_one_remembers() {
    let stage = Stage::redis().await;
    let namespace = smart_cache_tests::harness::namespace();
    let node = async || stage.builder().namespace(&namespace).build().await.unwrap();
    let (one, other) = (node().await, node().await);
    let read = async |node: &SmartCache, fresh: u8| {
        let value = node.values().get_or_set("k").tags("t");
        value.compute(async || fresh).await.unwrap()
    };
    assert_eq!(read(&one, 1).await, 1);
    assert_eq!(read(&other, 2).await, 1);
    // The third one is answered by the node's own memory, once it may.
    assert_eq!(read(&other, 3).await, 1);
    one.clear("t").await.unwrap();
    assert_eq!(read(&one, 4).await, 4);
    smart_cache_tests::harness::eventually("the other node to hear of it", async || {
        (read(&other, 5).await == 4).then_some(())
    })
    .await;
    one.values().delete("k").await.unwrap();
    assert_eq!(read(&one, 6).await, 6);
    smart_cache_tests::harness::eventually("the other node to hear of that", async || {
        (read(&other, 7).await == 6).then_some(())
    })
    .await;
}
