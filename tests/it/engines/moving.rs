//! A slot on its way from one node to another: whole, half, and back.

use std::time::Duration;

use smart_cache_tests::harness::{Cluster, eventually, namespace};

use super::{Load, Node, Rows};

async fn owner(cluster: &Cluster, slot: &str) -> usize {
    eventually("the nodes to agree on an owner", async || {
        cluster.owner_of(slot)
    })
    .await
}

#[tokio::test]
async fn a_slot_moves_back_and_forth_under_load_and_nothing_stale_is_served() {
    let cluster = Cluster::start().await;
    let (ns, rows) = (namespace(), Rows::new());
    let slot = cluster.slot_of(&ns);
    let mut owner = cluster.owner_of(&slot).unwrap();
    let nodes = [
        Node::at(&cluster.url(), &ns, &rows).await,
        Node::at(&cluster.url(), &ns, &rows).await,
    ];
    let load = Load::on(&nodes);
    load.goes_on("the start").await;
    for _ in 0..4 {
        let to = (owner + 1) % 3;
        cluster.begin_move(&slot, owner, to);
        // In small steps, so that the load meets the slot in every state.
        while cluster.move_names(&slot, owner, to, 3) > 0 {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        cluster.end_move(&slot, to);
        owner = to;
        load.goes_on("a move").await;
    }
    let tally = load.end().await;
    assert_eq!(cluster.owner_of(&slot), Some(owner));
    drop(tally);
}

/// What is in the memory of a process ends with the tokens that leave the server it listens to.
#[tokio::test]
async fn the_memory_of_a_process_follows_the_slot() {
    let cluster = Cluster::start().await;
    let (ns, rows) = (namespace(), Rows::new());
    let near = Node::near(&cluster.url(), &ns, &rows).await;
    let far = Node::at(&cluster.url(), &ns, &rows).await;
    let slot = cluster.slot_of(&ns);
    let mut owner = owner(&cluster, &slot).await;
    for _ in 0..3 {
        near.local_hit(1).await;
        let to = (owner + 1) % 3;
        cluster.move_slot(&slot, owner, to);
        owner = to;
        let cleared = eventually("a clear on the new owner", async || {
            far.write(1).await.then(|| rows.version(1))
        })
        .await;
        eventually("the clear to be heard", async || {
            (near.ask(1).await.version >= cleared).then_some(())
        })
        .await;
        for _ in 0..20 {
            assert!(near.ask(1).await.version >= cleared);
        }
    }
}

/// Step by step: some names here, some there. What a lookup would have to read from two nodes is not
/// served, what a clear has to delete is found, and no token is minted on the wrong side.
#[tokio::test]
async fn half_a_slot_serves_nothing_stale_and_clears_what_it_must() {
    let cluster = Cluster::start().await;
    let (ns, rows) = (namespace(), Rows::new());
    let node = Node::at(&cluster.url(), &ns, &rows).await;
    let slot = cluster.slot_of(&ns);
    let from = owner(&cluster, &slot).await;
    let to = (from + 1) % 3;
    for id in 0..4 {
        node.hit(id).await;
    }
    let token = |id: usize| format!("{{{ns}}}:t:row:{id}");
    cluster.begin_move(&slot, from, to);
    // Whole on the source: served as before.
    assert!(node.ask(0).await.is_hit());
    cluster.move_these(from, to, &[&token(1)]);
    let half = node.ask(1).await;
    assert!(!half.is_hit(), "its token is on its way: {half:?}");
    assert!(node.ask(0).await.is_hit());
    // One token here, one there.
    let (first, second) = (rows.write(0), rows.write(1));
    node.cache.clear(["row:0", "row:1"]).await.unwrap();
    for (at, name) in [(from, token(0)), (from, token(1)), (to, token(1))] {
        let kept = cluster
            .node(at)
            .cli(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
        assert!(
            !kept.lines().any(|kept| kept == name),
            "{name} on {at}: {kept}"
        );
    }
    for (id, version) in [(0, first), (1, second)] {
        let answer = node.ask(id).await;
        assert_eq!(answer.version, version);
        assert!(
            !answer.is_hit() && !answer.how.contains("stored"),
            "{answer:?}"
        );
    }
    // Nothing was minted for what was cleared, on either side.
    for at in [from, to] {
        let kept = cluster
            .node(at)
            .cli(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
        assert!(
            !kept.contains(&token(0)) && !kept.contains(&token(1)),
            "{kept}"
        );
    }
    // The namespace's own token moves: nothing is served any more, and a clear of everything lands.
    cluster.move_these(from, to, &[&format!("{{{ns}}}:t:")]);
    assert!(!node.ask(2).await.is_hit());
    node.cache.clear_all().await.unwrap();
    while cluster.move_names(&slot, from, to, 100) > 0 {}
    cluster.end_move(&slot, to);
    for id in 0..4 {
        let answer = eventually("a hit on the new owner", async || {
            let answer = node.ask(id).await;
            assert!(answer.version >= rows.floor_of_writes(id), "{answer:?}");
            answer.is_hit().then_some(answer)
        })
        .await;
        assert_eq!(answer.version, rows.version(id));
    }
}

/// A migration whose answer is lost leaves a name on both nodes. Its clear finds one of them; the other
/// must never count.
#[tokio::test]
async fn a_token_that_was_left_on_both_nodes_never_counts() {
    let cluster = Cluster::start().await;
    let (ns, rows) = (namespace(), Rows::new());
    let node = Node::at(&cluster.url(), &ns, &rows).await;
    let slot = cluster.slot_of(&ns);
    let from = owner(&cluster, &slot).await;
    let to = (from + 1) % 3;
    let before = node.hit(1).await;
    cluster.begin_move(&slot, from, to);
    let port = cluster.node(to).port().to_string();
    let token = format!("{{{ns}}}:t:row:1");
    let copied =
        cluster
            .node(from)
            .cli(&["MIGRATE", "127.0.0.1", &port, &token, "0", "5000", "COPY"]);
    assert_eq!(copied, "OK");
    assert!(node.write(1).await);
    while cluster.move_names(&slot, from, to, 100) > 0 {}
    cluster.end_move(&slot, to);
    // The old token and the old entry are together again; only the namespace's token tells. Back to where
    // both are from, and nobody asks for anything meanwhile: but for the heartbeat of the application.
    let id = |at: usize| {
        let token = cluster.node(at).cli(&["GET", &format!("{{{ns}}}:t:")]);
        token.split(':').next().unwrap_or_default().to_owned()
    };
    let first = id(to);
    eventually("the new owner to begin a life of its own", async || {
        (id(to) != first).then_some(())
    })
    .await;
    cluster.move_slot(&slot, to, from);
    eventually("an answer of the first owner", async || {
        let answer = node.ask(1).await;
        assert!(answer.version > before.version, "stale: {answer:?}");
        answer.is_hit().then_some(())
    })
    .await;
}

#[tokio::test]
async fn plain_values_are_found_on_both_nodes_while_their_slot_moves() {
    let cluster = Cluster::start().await;
    let ns = namespace();
    let node = Node::at(&cluster.url(), &ns, &Rows::new()).await;
    let values = node.cache.values();
    let slot = cluster.slot_of(&ns);
    let from = owner(&cluster, &slot).await;
    let to = (from + 1) % 3;
    let never = smart_cache::Timeout::Never;
    for (key, value) in [
        ("here", 1),
        ("there", 2),
        ("gone", 3),
        ("count", 10),
        ("away", 20),
    ] {
        values.set(key, &value, never).await.unwrap();
    }
    cluster.begin_move(&slot, from, to);
    let name = |key: &str| format!("{{{ns}}}:v:1:{key}");
    cluster.move_these(from, to, &[&name("there"), &name("gone"), &name("away")]);

    let found = values
        .get_many::<i64>(["here", "there", "nowhere"])
        .await
        .unwrap();
    assert_eq!(found.get("here"), Some(&1));
    assert_eq!(found.get("there"), Some(&2));
    assert_eq!(found.len(), 2);
    assert_eq!(values.incr("count", 1).await.unwrap(), 11);
    assert_eq!(values.incr("away", 1).await.unwrap(), 21);
    assert!(values.add("fresh", &5, never).await.unwrap());
    assert!(!values.add("there", &6, never).await.unwrap());
    assert!(values.touch("there", never).await.unwrap());
    assert!(!values.touch("nowhere", never).await.unwrap());
    values.set("there", &22, never).await.unwrap();
    let refused = values
        .set_many([("here", 7), ("brand-new", 8)], never)
        .await
        .unwrap();
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!(
        values
            .delete_many(["gone", "here", "nowhere"])
            .await
            .unwrap(),
        2
    );
    assert_eq!(values.get::<i64>("there").await.unwrap(), Some(22));
    assert_eq!(values.get::<i64>("gone").await.unwrap(), None);
    // What is on both nodes cannot be walked, and a clear that would miss half of it is no clear.
    let error = values.clear().await.unwrap_err().to_string();
    assert!(error.contains("moving"), "{error}");

    while cluster.move_names(&slot, from, to, 100) > 0 {}
    cluster.end_move(&slot, to);
    eventually("the values of the new owner", async || {
        values.get::<i64>("there").await.ok().flatten()
    })
    .await;
    values.set("after", &1, never).await.unwrap();
    values.clear().await.unwrap();
    assert_eq!(values.get::<i64>("after").await.unwrap(), None);
}
