//! What becomes of a node's connections, and what it serves meanwhile.

use std::time::{Duration, Instant};

use smart_cache_tests::harness::{Chaos, Direction, Loss, RedisServer, eventually, namespace};

use super::{MARGIN, Node, Rows, builder};

/// The staleness that is measured here.
const L: Duration = Duration::from_millis(500);

/// A node behind a proxy that can tell its tracking connection from the other, and one that is not.
struct Stage {
    server: RedisServer,
    chaos: Chaos,
    rows: Rows,
    near: Node,
    other: Node,
}

impl Stage {
    async fn with(staleness: Duration) -> Self {
        let server = RedisServer::start().await;
        let chaos = Chaos::in_front_of(server.address()).await;
        chaos.mark("TRACKING");
        let (namespace, rows) = (namespace(), Rows::default());
        let near = builder(&chaos.url(), &namespace).local_staleness(staleness);
        let near = Node::built(near, &rows).await;
        let other = Node::at(&server.url(), &namespace, &rows).await;
        near.warm("/page/1").await;
        other.warm("/page/1").await;
        Self {
            server,
            chaos,
            rows,
            near,
            other,
        }
    }

    /// Another node writes and clears; `near` is asked until long after L. When, after the clear was
    /// acknowledged, the last request began that was answered with what had been cleared.
    async fn last_old_answer(&self) -> Option<Duration> {
        let version = self.rows.write();
        self.other.cache.clear("page:1").await.unwrap();
        let cleared = Instant::now();
        let mut last = None;
        while cleared.elapsed() < L * 3 {
            let began = cleared.elapsed();
            let answer = self.near.ask("/page/1").await;
            if answer.version < version {
                assert!(
                    answer.local,
                    "only the local tier may be behind: {answer:?}"
                );
                last = Some(began);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        last
    }

    /// The ids of the connections that the server knows as tracking ones.
    fn tracking(&self) -> Vec<String> {
        let clients = self.server.cli(&["CLIENT", "LIST"]);
        let field = |line: &str, name: &str| {
            line.split(' ')
                .find_map(|field| field.strip_prefix(name))
                .map(str::to_owned)
        };
        clients
            .lines()
            .filter(|line| field(line, "flags=").is_some_and(|flags| flags.contains('t')))
            .filter_map(|line| field(line, "id="))
            .collect()
    }
}

/// After the link is back the node is fast again, and hears.
async fn recovers(stage: &Stage) {
    stage.near.live().await;
    stage.near.warm("/page/1").await;
    let version = stage.rows.write();
    stage.other.cache.clear("page:1").await.unwrap();
    stage.near.until("/page/1", version).await;
    stage.near.warm("/page/1").await;
}

async fn frozen(marked_only: bool, direction: Direction) {
    let stage = Stage::with(L).await;
    if marked_only {
        stage.chaos.freeze_marked(direction);
    } else {
        stage.chaos.freeze(direction);
    }
    let last = stage.last_old_answer().await;
    println!(
        "frozen {direction:?}, tracking only: {marked_only}: last old answer after {last:?}, L = {L:?}"
    );
    assert!(last.is_none_or(|last| last <= L), "{last:?}");
    assert!(!stage.near.local().live);
    if marked_only {
        stage.chaos.thaw_marked(direction);
    } else {
        stage.chaos.thaw(direction);
    }
    recovers(&stage).await;
}

#[tokio::test]
async fn a_frozen_tracking_link_serves_old_answers_for_at_most_the_staleness() {
    frozen(true, Direction::Replies).await;
}

#[tokio::test]
async fn a_tracking_link_that_nothing_leaves_is_no_proof() {
    frozen(true, Direction::Requests).await;
}

#[tokio::test]
async fn frozen_links_serve_old_answers_for_at_most_the_staleness() {
    frozen(false, Direction::Replies).await;
}

#[tokio::test]
async fn links_that_nothing_leaves_serve_old_answers_for_at_most_the_staleness() {
    frozen(false, Direction::Requests).await;
}

/// Nobody can clear on a server that stands still; but what stood there before is not served for ever.
#[tokio::test]
async fn a_server_that_stands_still_is_served_from_memory_for_at_most_the_staleness() {
    let stage = Stage::with(L).await;
    stage.server.freeze();
    let frozen = Instant::now();
    let mut last = Duration::ZERO;
    while frozen.elapsed() < L * 3 {
        let began = frozen.elapsed();
        if stage.near.ask("/page/1").await.local {
            last = began;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    println!("SIGSTOP: last local hit after {last:?}, L = {L:?}");
    assert!(last <= L, "{last:?}");
    stage.server.thaw();
    recovers(&stage).await;
}

#[tokio::test]
async fn a_killed_tracking_connection_ends_everything_and_comes_back() {
    let stage = Stage::with(super::LONG).await;
    for _ in 0..3 {
        stage.near.warm("/page/1").await;
        let before = stage.tracking();
        assert_eq!(before.len(), 2, "one for each node");
        for id in &before {
            assert_eq!(stage.server.cli(&["CLIENT", "KILL", "ID", id]), "1");
        }
        // Nobody pushes this one.
        let version = stage.rows.write();
        let mut raw = stage.server.connection().await;
        let () = redis::cmd("FLUSHALL").query_async(&mut raw).await.unwrap();
        assert!(stage.near.until("/page/1", version).await < MARGIN);
        stage.near.live().await;
        stage.other.live().await;
        assert!(stage.tracking().iter().all(|id| !before.contains(id)));
    }
    recovers(&stage).await;
}

#[tokio::test]
async fn a_cut_tracking_link_ends_everything() {
    let stage = Stage::with(super::LONG).await;
    stage.chaos.refuse_connections();
    stage.chaos.cut_marked();
    stage.near.dead().await;
    let version = stage.rows.write();
    stage.other.cache.clear("page:1").await.unwrap();
    // The data connection still serves.
    for _ in 0..20 {
        let answer = stage.near.ask("/page/1").await;
        assert_eq!((answer.version, answer.local), (version, false));
    }
    assert!(stage.near.cache.stats().available);
    assert_eq!(
        stage.near.local().entries,
        1,
        "what cannot be served is not collected either"
    );
    stage.chaos.accept_connections();
    recovers(&stage).await;
}

#[tokio::test]
async fn a_lost_data_connection_ends_everything_and_comes_back() {
    let stage = Stage::with(super::LONG).await;
    for _ in 0..3 {
        stage.near.warm("/page/1").await;
        stage.chaos.cut_unmarked();
        let version = stage.rows.write();
        stage.other.cache.clear("page:1").await.unwrap();
        stage.near.until("/page/1", version).await;
        recovers(&stage).await;
    }
}

/// The push of a clear is cut off, and so is the connection: no time passes between the two.
#[tokio::test]
async fn a_link_cut_before_the_push_arrives_ends_everything() {
    let stage = Stage::with(super::LONG).await;
    for _ in 0..5 {
        stage.near.warm("/page/1").await;
        stage.chaos.freeze_marked(Direction::Replies);
        let version = stage.rows.write();
        stage.other.cache.clear("page:1").await.unwrap();
        assert!(
            stage.near.ask("/page/1").await.version < version,
            "the push is on its way"
        );
        stage.chaos.cut_marked();
        stage.chaos.thaw_marked(Direction::Replies);
        assert!(stage.near.until("/page/1", version).await < MARGIN);
        stage.near.live().await;
    }
}

#[tokio::test]
async fn a_server_that_restarts_empty_or_with_its_data_serves_nothing_from_before() {
    for saved in [false, true] {
        let mut stage = Stage::with(super::LONG).await;
        if saved {
            stage.server.save().await;
        }
        // Cleared after the snapshot, killed before the push.
        stage.chaos.freeze_marked(Direction::Replies);
        let version = stage.rows.write();
        stage.other.cache.clear("page:1").await.unwrap();
        stage.server.kill();
        stage.chaos.thaw_marked(Direction::Replies);
        assert!(stage.near.until("/page/1", version).await < MARGIN);
        stage.server.restart().await;
        for _ in 0..50 {
            assert_eq!(
                stage.near.ask("/page/1").await.version,
                version,
                "saved: {saved}"
            );
            assert_eq!(
                stage.other.ask("/page/1").await.version,
                version,
                "saved: {saved}"
            );
        }
        stage.other.live().await;
        recovers(&stage).await;
    }
}

/// Pushes arrive and PINGs are not answered: what was heard may not be all.
#[tokio::test]
async fn a_server_that_pushes_but_never_answers_a_ping_is_believed_for_the_staleness_only() {
    let stage = Stage::with(L).await;
    for _ in 0..20 {
        stage.chaos.lose_reply_of("PING", Loss::Swallowed);
    }
    let start = Instant::now();
    stage.near.dead().await;
    println!("no PONG: off after {:?}, L = {L:?}", start.elapsed());
    assert!(start.elapsed() < L * 2 + MARGIN);
    let last = stage.last_old_answer().await;
    assert!(last.is_none_or(|last| last <= L), "{last:?}");
}

/// A PONG that comes late proves only what was when its PING left.
#[tokio::test]
async fn a_slow_link_keeps_the_bound() {
    let stage = Stage::with(L).await;
    stage.chaos.delay(Duration::from_millis(200));
    stage.near.warm("/page/1").await;
    for _ in 0..2 {
        let last = stage.last_old_answer().await;
        println!("200 ms of delay: last old answer after {last:?}, L = {L:?}");
        assert!(last.is_none_or(|last| last <= L), "{last:?}");
    }
    stage.chaos.delay(Duration::ZERO);
    recovers(&stage).await;
}

/// A PING is answered before a clear, the PONG arrives after it, and the push of the clear never does.
#[tokio::test]
async fn a_pong_that_arrives_after_a_clear_does_not_vouch_for_it() {
    let delay = L * 3 / 5;
    let stage = Stage::with(L).await;
    for _ in 0..3 {
        stage.chaos.delay(delay);
        stage.near.warm("/page/1").await;
        let freeze = async {
            // Between the last PONG from before the clear and the push of the clear.
            tokio::time::sleep(delay * 9 / 10).await;
            stage.chaos.freeze_marked(Direction::Replies);
        };
        let (last, ()) = tokio::join!(stage.last_old_answer(), freeze);
        println!("a late PONG: last old answer after {last:?}, L = {L:?}");
        assert!(last.is_none_or(|last| last <= L), "{last:?}");
        stage.chaos.thaw_marked(Direction::Replies);
        stage.chaos.delay(Duration::ZERO);
        stage.near.live().await;
    }
}

/// The address moves to another server, but only for the connection that hears.
#[tokio::test]
async fn a_tracking_connection_to_another_server_is_not_believed() {
    let stage = Stage::with(L).await;
    let stranger = RedisServer::start().await;
    let mut raw = stranger.connection().await;
    // Only new connections go there; the data connection stays.
    stage.chaos.divert(stranger.address());
    stage.chaos.cut_marked();
    stage.near.dead().await;
    eventually("an attempt on the other server", async || {
        let info: String = redis::cmd("INFO")
            .arg("stats")
            .query_async(&mut raw)
            .await
            .unwrap();
        let connections = info
            .lines()
            .find_map(|line| line.strip_prefix("total_connections_received:"));
        (connections.unwrap().trim().parse::<u64>().unwrap() > 3).then_some(())
    })
    .await;
    assert!(!stage.near.local().live);
    let last = stage.last_old_answer().await;
    assert_eq!(last, None);
    stage.chaos.divert(stage.server.address());
    recovers(&stage).await;
}
