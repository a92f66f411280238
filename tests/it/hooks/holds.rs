//! Holds through the public API: schedules 10 and 13, with writers that die.

use std::convert::Infallible;
use std::time::Duration;

use smart_cache::hooks::Collector;
use smart_cache::{ClearError, SmartCache};
use smart_cache_tests::harness::{Chaos, Gate, Program, RedisServer, SqliteFile, eventually};

use super::{
    Products, asked_elsewhere, asked_here, catalogue, fill, gone, kept, shop, shop_behind, shown,
};
use crate::road::{HIT, every_kind, redis_at};
use crate::stores;
use crate::values::stage::Stage;

const HELD: &str = "smart-cache; fwd=bypass; detail=held";
const LONG: Duration = Duration::from_secs(60);

async fn committed() -> Result<(), Infallible> {
    Ok(())
}

#[tokio::test]
async fn a_held_key_is_neither_served_nor_stored_until_the_write_has_ended() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let (app, gate) = shop(&cache);
        for commits in [true, false] {
            kept(&app, 1).await;
            kept(&app, 2).await;
            let collector = Collector::of(&cache);
            collector.hold("product:1", LONG).await.unwrap();
            let runs = gate.runs();
            assert_eq!(asked_elsewhere(&app, 1).await, HELD);
            assert_eq!(asked_elsewhere(&app, 1).await, HELD);
            assert_eq!(gate.runs(), runs + 2, "nothing was stored");
            assert!(asked_here(&app, 1).await.ends_with("detail=transaction"));
            assert_eq!(asked_elsewhere(&app, 2).await, HIT);
            if commits {
                collector
                    .commit(committed())
                    .await
                    .unwrap()
                    .cleared
                    .unwrap();
            } else {
                collector.discard();
                eventually("the hold has ended", async || {
                    (asked_elsewhere(&app, 1).await != HELD).then_some(())
                })
                .await;
            }
            kept(&app, 1).await;
        }
    }
}

#[tokio::test]
async fn a_tag_can_be_held_and_a_hold_outlaws_what_is_on_its_way() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::new();
        let app = shop_behind(&cache, &gate);
        let slow = {
            let app = app.clone();
            tokio::spawn(async move { asked_here(&app, 1).await })
        };
        gate.begun().await;
        let collector = Collector::of(&cache);
        collector.hold("products", LONG).await.unwrap();
        gate.open_for_all();
        slow.await.unwrap();
        assert_eq!(asked_elsewhere(&app, 1).await, HELD);
        collector
            .commit(committed())
            .await
            .unwrap()
            .cleared
            .unwrap();
        assert_ne!(
            asked_elsewhere(&app, 1).await,
            HIT,
            "it was computed before the write"
        );
    }
}

/// Schedule 13: two holds, a plain clear between them, and one writer that never comes back.
#[tokio::test]
async fn two_holds_a_plain_clear_and_one_writer_that_dies() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let (app, _) = shop(&cache);
        fill(&app, &cache, &[1]).await;
        let survivor = Collector::of(&cache);
        survivor.hold("product:1", LONG).await.unwrap();
        let dead = Collector::of(&cache);
        dead.hold("product:1", Duration::from_millis(700))
            .await
            .unwrap();
        let other: SmartCache = cache.clone();
        tokio::spawn(async move { other.clear("product:1").await })
            .await
            .unwrap()
            .unwrap();
        // On Redis the clear has taken the mark; a ticket puts it back.
        for _ in 0..2 {
            let asked = asked_elsewhere(&app, 1).await;
            assert!(asked != HIT && !asked.ends_with("stored"), "{asked}");
        }
        survivor.commit(committed()).await.unwrap().cleared.unwrap();
        assert_eq!(
            asked_elsewhere(&app, 1).await,
            HELD,
            "the other write is still open"
        );
        eventually("the hold of the dead writer is over", async || {
            (asked_elsewhere(&app, 1).await != HELD).then_some(())
        })
        .await;
        kept(&app, 1).await;
        drop(dead);
    }
}

#[tokio::test]
async fn a_release_that_is_lost_is_repeated() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let cache = redis_at(&chaos.url())
        .timeout(Duration::from_millis(200))
        .build()
        .await
        .unwrap();
    let (app, _) = shop(&cache);
    fill(&app, &cache, &[1]).await;
    let collector = Collector::of(&cache);
    collector.hold("product:1", LONG).await.unwrap();
    chaos.refuse_connections();
    chaos.cut();
    let committed = collector.commit(committed()).await.unwrap();
    assert!(matches!(
        committed.cleared,
        Err(ClearError::Unacknowledged(_))
    ));
    assert_eq!(cache.stats().pending_clears, 1);
    chaos.accept_connections();
    eventually("the clear has landed", async || {
        (cache.stats().pending_clears == 0).then_some(())
    })
    .await;
    kept(&app, 1).await;
}

#[tokio::test]
async fn a_backend_without_holds_says_so() {
    let mut caches = vec![SmartCache::off()];
    let stages = [stores::sqlite(), stores::file(), stores::memcached().await].map(Stage::Stores);
    for stage in &stages {
        caches.push(stage.smart().await);
    }
    for cache in caches {
        let collector = Collector::of(&cache);
        let refused = collector.hold("product:1", LONG).await.unwrap_err();
        assert!(
            refused.to_string().contains("no holds"),
            "{}: {refused}",
            cache.describe()
        );
    }
}

/// Schedule 10: a real process is killed after its commit and before its clear; no table, no relay.
#[tokio::test]
async fn a_writer_that_is_killed_after_its_commit_leaves_nothing_old_behind_its_hold() {
    let server = RedisServer::start().await;
    let cache = redis_at(&server.url()).build().await.unwrap();
    let (file, pool) = SqliteFile::of_products().await;
    let app = catalogue(&cache, Products::Sqlite(pool));
    for (product, mode, name) in [(1, "hold", "new"), (2, "rollback", "old")] {
        kept(&app, product).await;
        let (url, redis) = (file.url(), server.url());
        let product = product.to_string();
        let arguments = [mode, &url, &redis, "n", &product, "new"];
        let mut writer = Program::start(env!("CARGO_BIN_EXE_committer"), &arguments, &[]);
        writer.line_with("held").await;
        let (status, _) = writer.ended().await;
        assert!(!status.success(), "it has killed itself");
        let product = product.parse().unwrap();
        let (seen, hit) = shown(&app, product).await;
        assert_eq!(
            (seen.as_str(), hit),
            (name, false),
            "held, so it is read and not stored"
        );
        kept(&app, product).await;
        assert_eq!(shown(&app, product).await, (name.to_owned(), true));
    }
}

/// What the hold is for: without it the same death leaves the old row for ever.
#[tokio::test]
async fn without_hold_or_outbox_the_same_death_leaves_the_old_page() {
    let server = RedisServer::start().await;
    let cache = redis_at(&server.url()).build().await.unwrap();
    let (file, pool) = SqliteFile::of_products().await;
    let app = catalogue(&cache, Products::Sqlite(pool.clone()));
    smart_cache::hooks::outbox::create(&pool).await.unwrap();
    kept(&app, 1).await;
    let arguments = ["between", &file.url(), &server.url(), "n", "1", "new"];
    let writer = Program::start(env!("CARGO_BIN_EXE_committer"), &arguments, &[]);
    assert!(!writer.ended().await.0.success());
    // No relay is at work.
    assert_eq!(shown(&app, 1).await, ("old".to_owned(), true));
    let relay = smart_cache::hooks::outbox::relay(&cache, &pool);
    relay.caught_up().await;
    gone(&shop(&cache).0, 1).await;
    assert_eq!(shown(&app, 1).await.0, "new");
}
