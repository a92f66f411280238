//! `SMART_REDIS_PARTITIONS`: entries in several slots, clears in all of them, and what becomes of it when the
//! number changes.

use std::collections::BTreeMap;

use smart_cache::backend::{Backend as _, PartitionedBackend, RedisOptions};
use smart_cache_tests::harness::{Cluster, ClusterOptions, RedisServer, eventually, namespace};

use super::{Load, Node, ROWS, Rows, builder};

async fn spread(url: &str, namespace: &str, rows: &Rows, partitions: u32) -> Node {
    let cache = builder(url, namespace).partitions(partitions).build();
    Node::of(cache.await.unwrap(), rows)
}

/// How many entries each partition has.
fn entries(server: &RedisServer, ns: &str) -> BTreeMap<String, usize> {
    let mut entries = BTreeMap::new();
    for name in server.cli(&["KEYS", &format!("{{{ns}*}}:e:*")]).lines() {
        if let Some((tag, _)) = name.split_once("}:") {
            *entries.entry(tag[1..].to_owned()).or_default() += 1;
        }
    }
    entries
}

#[tokio::test]
async fn entries_are_spread_and_a_clear_reaches_all_of_them() {
    let server = RedisServer::start().await;
    let (ns, rows) = (namespace(), Rows::new());
    let one = spread(&server.url(), &ns, &rows, 4).await;
    let two = spread(&server.url(), &ns, &rows, 4).await;
    let words = one.cache.describe();
    assert!(words.contains("4 partitions"), "{words}");
    for id in 0..ROWS {
        one.hit(id).await;
        assert!(two.ask(id).await.is_hit(), "the other process knows where");
    }
    let spread_over = entries(&server, &ns);
    assert!(spread_over.len() > 1, "{spread_over:?}");
    assert_eq!(spread_over.values().sum::<usize>(), ROWS);
    // By a tag that all of them have.
    let versions: Vec<u64> = (0..ROWS).map(|id| rows.write(id)).collect();
    two.cache.clear("rows").await.unwrap();
    for (id, version) in versions.into_iter().enumerate() {
        assert_eq!(one.ask(id).await.version, version);
    }
    for id in 0..ROWS {
        one.hit(id).await;
    }
    one.cache.clear_all().await.unwrap();
    for id in 0..ROWS {
        assert!(!two.ask(id).await.is_hit());
    }
    // One of them is as none.
    let single = namespace();
    let alone = spread(&server.url(), &single, &rows, 1).await;
    alone.hit(1).await;
    assert!(
        Node::at(&server.url(), &single, &rows)
            .await
            .ask(1)
            .await
            .is_hit()
    );
    assert_eq!(
        server.cli(&["EXISTS", &format!("{{{single}}}:partitions")]),
        "0"
    );
}

#[tokio::test]
async fn the_memory_of_a_process_hears_of_every_partition() {
    let server = RedisServer::start().await;
    let (ns, rows) = (namespace(), Rows::new());
    let near = builder(&server.url(), &ns)
        .partitions(4)
        .local_capacity(8 << 20);
    let near = Node::of(near.build().await.unwrap(), &rows);
    let far = spread(&server.url(), &ns, &rows, 4).await;
    for id in 0..ROWS {
        near.hit(id).await;
        near.local_hit(id).await;
    }
    for id in 0..ROWS {
        let before = near.cache.stats().local_hits;
        far.surely_write(id).await;
        eventually("the clear to be heard", async || {
            (near.ask(id).await.version == rows.version(id)).then_some(())
        })
        .await;
        // The others are untouched, but for a chance neighbour.
        let others = (0..ROWS).filter(|other| *other != id);
        for other in others {
            near.ask(other).await;
        }
        assert!(near.cache.stats().local_hits > before);
    }
    // Its own clears are heard before anybody tells.
    for id in 0..ROWS {
        near.hit(id).await;
        near.local_hit(id).await;
        near.surely_write(id).await;
        assert_eq!(near.ask(id).await.version, rows.version(id));
    }
    assert!(near.cache.stats().local.unwrap().live);
}

#[tokio::test]
async fn what_is_listed_is_what_all_partitions_have() {
    let server = RedisServer::start().await;
    let (ns, rows) = (namespace(), Rows::new());
    let node = spread(&server.url(), &ns, &rows, 3).await;
    for id in 0..ROWS {
        node.hit(id).await;
    }
    let inspect = node.cache.inspect().unwrap();
    let mut keys = Vec::new();
    let mut from = None;
    loop {
        let page = inspect.keys("row:*", from.as_deref(), 2).await.unwrap();
        keys.extend(page.keys.into_iter().map(|line| (line.key, line.entries)));
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    keys.sort();
    keys.dedup();
    let all: Vec<_> = (0..ROWS).map(|id| (format!("row:{id}"), 1)).collect();
    assert_eq!(keys, all);
    let one = inspect.keys("row:3", None, 10).await.unwrap().keys;
    assert_eq!((one.len(), one[0].entries), (1, 1));
    let entries = inspect.entries("row:3", None, 10).await.unwrap().entries;
    assert_eq!(entries.len(), 1);
    let view = inspect.entry("test", entries[0].id).await.unwrap().unwrap();
    assert_eq!(view.key, "row:3");
    assert_eq!(inspect.facts().await.unwrap().partitions, [3]);
    // What a clear leaves behind is freed in every partition.
    node.cache.clear("rows").await.unwrap();
    eventually("the sweep to find the dead", async || {
        node.cache.sweep().await.unwrap();
        self::entries(&server, &ns).is_empty().then_some(())
    })
    .await;
    let findings = node.cache.checkup().await;
    assert!(
        findings.iter().any(|finding| finding.check == "partitions"),
        "{findings:?}"
    );
}

#[tokio::test]
async fn plain_values_are_where_their_names_say() {
    let server = RedisServer::start().await;
    let (ns, rows) = (namespace(), Rows::new());
    let node = spread(&server.url(), &ns, &rows, 4).await;
    let (values, never) = (node.cache.values(), smart_cache::Timeout::Never);
    let all: Vec<(String, u64)> = (0..20).map(|n| (format!("k{n}"), n)).collect();
    assert!(
        values
            .set_many(all.clone(), never)
            .await
            .unwrap()
            .is_empty()
    );
    let other = spread(&server.url(), &ns, &rows, 4).await.cache.values();
    let names = all.iter().map(|(name, _)| name.clone());
    let found = other.get_many::<u64>(names.clone()).await.unwrap();
    assert_eq!(found.len(), 20);
    assert_eq!(values.incr("k3", 4).await.unwrap(), 7);
    assert_eq!(values.incr_version("k3", 1).await.unwrap(), 2);
    assert_eq!(other.version(2).get::<u64>("k3").await.unwrap(), Some(7));
    assert_eq!(other.get::<u64>("k3").await.unwrap(), None);
    assert!(!values.add("k4", &0, never).await.unwrap());
    assert_eq!(values.delete_many(names).await.unwrap(), 19);
    let computed = values.get_or_set("sum").compute(async || 42_u64);
    assert_eq!(computed.await.unwrap(), 42);
    values.clear().await.unwrap();
    assert_eq!(server.cli(&["KEYS", &format!("{{{ns}*}}:v:*")]), "");
}

/// One partition's server is gone: the others serve on, and a clear is no clear.
#[tokio::test]
async fn a_partition_that_is_down_costs_its_own_entries_and_the_acknowledgement_of_clears() {
    let mut cluster = Cluster::with(ClusterOptions {
        node: RedisServer::options()
            .option("cluster-require-full-coverage", "no")
            // It comes back with what it had, and what it had must not count.
            .append_only(),
        ..ClusterOptions::default()
    })
    .await;
    // Where the partitions lie goes by the namespace's name: until one of the nodes has some of the entries, and
    // not the first partition, which is known by then in any case.
    let (node, rows, victim) = loop {
        let (ns, rows) = (namespace(), Rows::new());
        let node = spread(&cluster.url(), &ns, &rows, 8).await;
        for id in 0..ROWS {
            node.hit(id).await;
        }
        let first = cluster.owner_of(&cluster.slot_of(&ns)).unwrap();
        let has_some = |node: &usize| !entries(cluster.node(*node), &ns).is_empty();
        if let Some(victim) = (0..3).find(|node| *node != first && has_some(node)) {
            break (node, rows, victim);
        }
    };
    cluster.node_mut(victim).kill();
    let (mut served, mut missed) = (0, 0);
    eventually("the loss to be noticed", async || {
        (served, missed) = (0, 0);
        for id in 0..ROWS {
            let answer = node.ask(id).await;
            served += usize::from(answer.is_hit());
            missed += usize::from(answer.how.contains("unavailable"));
        }
        (missed > 0 && served + missed == ROWS).then_some(())
    })
    .await;
    println!("{served} served, {missed} not");
    assert!(served > 0, "the others go on");
    assert!(!node.write(1).await, "one partition has not heard of it");
    assert_eq!(node.cache.stats().pending_clears, 1);
    assert_eq!(node.ask(1).await.version, rows.version(1));
    cluster.node_mut(victim).restart().await;
    node.all_cleared().await;
    for id in 0..ROWS {
        assert_eq!(node.hit(id).await.version, rows.version(id));
    }
}

/// Before and after a deployment, at once: two numbers, one namespace.
#[tokio::test]
async fn processes_with_different_numbers_hear_each_others_clears() {
    let server = RedisServer::start().await;
    for (few, many) in [(1, 4), (2, 4), (3, 5)] {
        let (ns, rows) = (namespace(), Rows::new());
        let old = spread(&server.url(), &ns, &rows, few).await;
        old.hit(0).await;
        let new = spread(&server.url(), &ns, &rows, many).await;
        for (writer, reader) in [(&old, &new), (&new, &old), (&old, &new)] {
            for id in 0..ROWS {
                reader.hit(id).await;
            }
            for id in 0..ROWS {
                writer.surely_write(id).await;
                let answer = reader.ask(id).await;
                assert_eq!(
                    answer.version,
                    rows.version(id),
                    "{few} and {many}: {answer:?}"
                );
            }
            for id in 0..ROWS {
                reader.hit(id).await;
            }
            rows.write(0);
            writer.cache.clear_all().await.unwrap();
            assert_eq!(reader.ask(0).await.version, rows.version(0));
            for id in 0..ROWS {
                assert!(!reader.ask(id).await.how.contains("unavailable"));
            }
        }
        let noted = server.cli(&["GET", &format!("{{{ns}}}:partitions")]);
        let expected = if few == 1 {
            "4".to_owned()
        } else {
            format!("{few} {many}")
        };
        assert_eq!(noted, expected);
    }
}

#[tokio::test]
async fn different_numbers_under_load_serve_nothing_stale() {
    let server = RedisServer::start().await;
    let (ns, rows) = (namespace(), Rows::new());
    let mut nodes = Vec::new();
    for partitions in [1, 2, 4] {
        nodes.push(spread(&server.url(), &ns, &rows, partitions).await);
    }
    let load = Load::on(&nodes);
    for _ in 0..3 {
        load.goes_on("nothing at all").await;
    }
    load.end().await;
}

/// What was stored under a greater number, and cleared while nobody with that number was there, is not
/// there any more when the number comes back.
#[tokio::test]
async fn a_number_that_comes_back_finds_nothing_that_was_cleared_meanwhile() {
    let server = RedisServer::start().await;
    let (ns, rows) = (namespace(), Rows::new());
    let four = spread(&server.url(), &ns, &rows, 4).await;
    for id in 0..ROWS {
        four.hit(id).await;
    }
    drop(four);
    // The record is remembered, so the clears of one partition reach the others.
    let one = spread(&server.url(), &ns, &rows, 1).await;
    for id in 0..ROWS {
        one.surely_write(id).await;
    }
    let four = spread(&server.url(), &ns, &rows, 4).await;
    for id in 0..ROWS {
        assert_eq!(four.hit(id).await.version, rows.version(id));
    }
    drop((one, four));
    // And where it was lost, the partitions that clears may have missed begin cold.
    assert_eq!(server.cli(&["DEL", &format!("{{{ns}}}:partitions")]), "1");
    let one = spread(&server.url(), &ns, &rows, 1).await;
    for id in 0..ROWS {
        one.surely_write(id).await;
    }
    let four = spread(&server.url(), &ns, &rows, 4).await;
    for id in 0..ROWS {
        let answer = four.ask(id).await;
        assert_eq!(answer.version, rows.version(id), "{answer:?}");
    }
}

/// The record is lost while processes with a greater number run, and one that never knew of them clears.
#[tokio::test]
async fn a_record_that_is_lost_is_noted_again_and_what_clears_have_missed_is_cold() {
    let server = RedisServer::start().await;
    let (ns, rows) = (namespace(), Rows::new());
    let four = spread(&server.url(), &ns, &rows, 4).await;
    for id in 0..ROWS {
        four.hit(id).await;
    }
    let one = spread(&server.url(), &ns, &rows, 1).await;
    let record = format!("{{{ns}}}:partitions");
    for _ in 0..5 {
        assert_eq!(server.cli(&["DEL", &record]), "1");
        for id in 0..ROWS {
            one.surely_write(id).await;
        }
        eventually("the number to be noted", async || {
            (server.cli(&["GET", &record]) == "4").then_some(())
        })
        .await;
        for id in 0..ROWS {
            eventually("the newest version", async || {
                (four.ask(id).await.version == rows.version(id)).then_some(())
            })
            .await;
            assert_eq!(four.hit(id).await.version, rows.version(id));
        }
    }
}

#[tokio::test]
async fn something_else_in_place_of_the_record_does_no_harm() {
    let server = RedisServer::start().await;
    let (ns, rows) = (namespace(), Rows::new());
    let record = format!("{{{ns}}}:partitions");
    assert_eq!(server.cli(&["RPUSH", &record, "somebody's"]), "1");
    let one = spread(&server.url(), &ns, &rows, 1).await;
    one.hit(1).await;
    one.surely_write(1).await;
    let two = spread(&server.url(), &ns, &rows, 2).await;
    two.hit(1).await;
    assert_eq!(server.cli(&["GET", &record]), "2");
    assert_eq!(server.cli(&["SET", &record, "999999 -4 nonsense"]), "OK");
    one.surely_write(1).await;
    // As if it had been lost: what the clear has missed is cold once it is noted again.
    eventually("the newest version", async || {
        (two.ask(1).await.version == rows.version(1)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn no_number_but_those_that_make_sense_is_taken() {
    for number in [0, 257] {
        let made = PartitionedBackend::new("redis://127.0.0.1", number, RedisOptions::default());
        assert!(made.unwrap_err().to_string().contains("from 1 to 256"));
    }
    let made = PartitionedBackend::new("redis://127.0.0.1", 2, RedisOptions::default()).unwrap();
    assert!(made.describe().contains("2 partitions"));
    let error = builder("redis://127.0.0.1", "pages#1").build().await;
    assert!(error.unwrap_err().to_string().contains("partitions"));
}
