//! A transaction's clears come after its commit, once, and never without it.

use std::convert::Infallible;

use futures_util::FutureExt as _;
use smart_cache::hooks::{Collector, clear_after_commit};
use smart_cache::{SmartCache, clear_cache, clears_cache};
use smart_cache_tests::harness::{Gate, Log};

use super::{asked_elsewhere, asked_here, fill, gone, shop};
use crate::road::{HIT, STORED, every_kind, in_memory};

const OPEN: &str = "smart-cache; fwd=bypass; detail=transaction";

async fn committed() -> Result<(), Infallible> {
    Ok(())
}

#[tokio::test]
async fn a_commit_clears_everything_that_was_gathered_in_one_clear() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let (app, _) = shop(&cache);
        fill(&app, &cache, &[1, 2, 3]).await;
        let collector = Collector::of(&cache);
        collector.add(["product:1", "product:2"]);
        collector.add("product:1");
        assert_eq!(
            asked_elsewhere(&app, 1).await,
            HIT,
            "nothing has changed yet"
        );
        let committed = collector.commit(committed()).await.unwrap();
        committed.cleared.unwrap();
        assert_eq!(cache.stats().clears, 1);
        assert_eq!(asked_here(&app, 1).await, STORED);
        assert_eq!(asked_here(&app, 2).await, STORED);
        assert_eq!(asked_here(&app, 3).await, HIT);
    }
}

#[tokio::test]
async fn a_rollback_clears_nothing() {
    let cache = in_memory().await;
    let (app, _) = shop(&cache);
    fill(&app, &cache, &[1]).await;
    let discarded = Collector::of(&cache);
    discarded.add("product:1");
    discarded.discard();
    let dropped = Collector::of(&cache);
    dropped.add("product:1");
    drop(dropped);
    assert_eq!(asked_here(&app, 1).await, HIT);
    assert_eq!(cache.stats().clears, 0);
}

#[tokio::test]
async fn a_savepoint_that_is_rolled_back_drops_its_own_keys_alone() {
    let cache = in_memory().await;
    let (app, _) = shop(&cache);
    fill(&app, &cache, &[1, 2, 3, 4, 5]).await;
    let collector = Collector::of(&cache);
    collector.add("product:1");
    let kept = collector.savepoint();
    kept.add("product:2");
    let inner = kept.savepoint();
    inner.add("product:3");
    inner.release();
    kept.release();
    let dropped = collector.savepoint();
    dropped.add("product:4");
    let within = dropped.savepoint();
    within.add("product:5");
    within.release();
    drop(dropped);
    collector.clear().await.unwrap();
    for (id, expected) in [(1, STORED), (2, STORED), (3, STORED), (4, HIT), (5, HIT)] {
        assert_eq!(asked_here(&app, id).await, expected, "product {id}");
    }
}

#[tokio::test]
async fn the_task_of_an_open_transaction_neither_serves_nor_stores_its_keys() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let (app, gate) = shop(&cache);
        fill(&app, &cache, &[1, 2]).await;
        for by in ["product:1", "products"] {
            let collector = Collector::of(&cache);
            collector.add(by);
            assert_eq!(asked_here(&app, 1).await, OPEN);
            assert_eq!(
                asked_elsewhere(&app, 1).await,
                HIT,
                "others see the old rows still"
            );
            let runs = gate.runs();
            assert_eq!(collector.carry(asked_elsewhere(&app, 1)).await, HIT);
            let carried = {
                let app = app.clone();
                tokio::spawn(collector.carry(async move { asked_here(&app, 1).await }))
            };
            assert_eq!(carried.await.unwrap(), OPEN);
            assert_eq!(gate.runs(), runs + 1);
            collector.discard();
            assert_eq!(asked_here(&app, 1).await, HIT, "the transaction is over");
        }
    }
}

#[tokio::test]
async fn a_page_that_was_filled_while_its_own_task_wrote_is_not_stored() {
    let cache = in_memory().await;
    let (app, _) = shop(&cache);
    let collector = Collector::of(&cache);
    collector.add("product:1");
    assert_eq!(asked_here(&app, 1).await, OPEN);
    collector.discard();
    assert_eq!(asked_here(&app, 1).await, STORED, "nothing was there");
}

#[tokio::test]
async fn a_clear_inside_an_open_transaction_is_put_off_until_its_end_and_the_log_says_so() {
    let (log, _guard) = Log::of_this_thread();
    let too_early = || log.text().matches("which is too early").count();
    for commits in [true, false] {
        let before = too_early();
        let cache = in_memory().await;
        let (app, _) = shop(&cache);
        fill(&app, &cache, &[1, 2]).await;
        let collector = Collector::of(&cache);
        cache.clear("product:1").await.unwrap();
        cache.clear_blocking("product:1").unwrap();
        assert_eq!(too_early() - before, 2, "{}", log.text());
        assert_eq!(cache.stats().clears, 0);
        assert_eq!(asked_elsewhere(&app, 1).await, HIT);
        assert_eq!(asked_here(&app, 1).await, OPEN);
        if commits {
            collector.add("product:2");
            collector
                .commit(committed())
                .await
                .unwrap()
                .cleared
                .unwrap();
            assert_eq!(asked_here(&app, 2).await, STORED);
        } else {
            // It may have been about another write, so it is not lost with this one.
            collector.discard();
        }
        gone(&app, 1).await;
    }
}

#[tokio::test]
async fn a_clear_of_everything_inside_an_open_transaction_is_put_off_too() {
    let cache = in_memory().await;
    let (app, _) = shop(&cache);
    fill(&app, &cache, &[1]).await;
    let collector = Collector::of(&cache);
    cache.clear_all().await.unwrap();
    assert_eq!(asked_elsewhere(&app, 1).await, HIT);
    assert_eq!(asked_here(&app, 1).await, OPEN);
    collector.clear().await.unwrap();
    assert_eq!(asked_here(&app, 1).await, STORED);
}

#[tokio::test]
async fn a_commit_that_fails_clears_all_the_same() {
    let cache = in_memory().await;
    let (app, _) = shop(&cache);
    fill(&app, &cache, &[1]).await;
    let collector = Collector::of(&cache);
    collector.add("product:1");
    let lost = async { Err::<(), _>("connection lost") };
    assert_eq!(collector.commit(lost).await.unwrap_err(), "connection lost");
    assert_eq!(asked_here(&app, 1).await, STORED);
}

#[tokio::test]
async fn a_request_that_is_cancelled_or_panics_while_it_commits_still_clears() {
    let cache = in_memory().await;
    let (app, _) = shop(&cache);
    fill(&app, &cache, &[1, 2, 3]).await;
    let collector = Collector::of(&cache);
    collector.add("product:1");
    let mut committing = Box::pin(collector.commit(std::future::pending::<Result<(), ()>>()));
    assert!((&mut committing).now_or_never().is_none());
    drop(committing);
    gone(&app, 1).await;

    let collector = Collector::of(&cache);
    collector.add("product:2");
    let commit = async { panic!("in the commit") };
    let panicking = tokio::spawn(async { collector.commit::<(), ()>(commit).await });
    assert!(panicking.await.is_err());
    gone(&app, 2).await;

    // Committed, and the clear was never waited for.
    let collector = Collector::of(&cache);
    collector.add("product:3");
    drop(collector.clear());
    gone(&app, 3).await;
}

#[tokio::test]
async fn a_collector_that_ends_where_no_runtime_is_clears() {
    let cache = in_memory().await;
    let (app, _) = shop(&cache);
    fill(&app, &cache, &[1, 2]).await;
    let own = cache.clone();
    let thread = std::thread::spawn(move || {
        let collector = Collector::of(&own);
        collector.add("product:1");
        let committed = collector
            .commit_blocking(|| Ok::<_, Infallible>(7))
            .unwrap();
        assert_eq!(committed.value, 7);
        committed.cleared.unwrap();
        let mut unknown = Collector::of(&own);
        unknown.add("product:2");
        unknown.arm();
    });
    thread.join().unwrap();
    assert_eq!(asked_here(&app, 1).await, STORED);
    gone(&app, 2).await;
}

#[tokio::test]
async fn two_transactions_of_one_task_end_each_by_itself() {
    let cache = in_memory().await;
    let (app, _) = shop(&cache);
    fill(&app, &cache, &[1, 2]).await;
    let outer = Collector::of(&cache);
    outer.add("product:1");
    let inner = Collector::of(&cache);
    inner.add("product:2");
    inner.commit(committed()).await.unwrap().cleared.unwrap();
    assert_eq!(asked_here(&app, 2).await, STORED, "committed and cleared");
    assert_eq!(asked_here(&app, 1).await, OPEN, "still open");
    outer.discard();
    assert_eq!(asked_here(&app, 1).await, HIT);
}

#[clears_cache("nothing")]
async fn write(
    axum::extract::State((cache, commits, gate)): axum::extract::State<(SmartCache, bool, Gate)>,
) {
    clear_after_commit("product:1").await.unwrap();
    assert_eq!(
        cache.stats().clears,
        1,
        "no transaction is open, so it is cleared at once"
    );
    let collector = Collector::open();
    clear_after_commit("product:2").await.unwrap();
    clear_cache("product:3").await.unwrap();
    assert_eq!(cache.stats().clears, 1);
    gate.pass().await;
    if commits {
        collector.commit(committed()).await.unwrap();
    } else {
        collector.discard();
    }
}

#[tokio::test]
async fn what_a_models_hook_gathers_belongs_to_the_tasks_transaction() {
    for commits in [true, false] {
        let cache = in_memory().await;
        let (app, gate) = shop(&cache);
        fill(&app, &cache, &[1, 2, 3]).await;
        let writer = axum::Router::new()
            .route("/write", axum::routing::get(write))
            .layer(axum::Extension(cache.clone()))
            .with_state((cache.clone(), commits, gate));
        crate::road::get(&writer, "/write").await;
        assert_ne!(asked_here(&app, 1).await, HIT);
        assert_eq!(asked_here(&app, 2).await == HIT, !commits);
        gone(&app, 3).await;
    }
}
