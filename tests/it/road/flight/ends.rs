//! Every end that a leader can come to, and what its followers get.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::routing::get as on_get;
use axum::{Extension, Router};
use smart_cache::smart_cache;
use smart_cache_tests::harness::{Gate, eventually, within};

use super::super::{HIT, STORED, every_kind, get, memory, status_of, stored};
use super::{app, asking, missing, settle_down, worlds};

#[tokio::test]
async fn when_the_leader_goes_away_one_follower_leads() {
    let (worlds, _servers) = worlds().await;
    for (cache, is_warm) in worlds {
        let (app, gate) = missing(&cache, is_warm, "/page/7").await;
        let leader = asking(&app, "/page/7");
        gate.begun().await;
        let followers: Vec<_> = (0..10).map(|_| asking(&app, "/page/7")).collect();
        settle_down().await;
        assert_eq!(gate.runs(), 1);
        leader.abort();
        let _ = leader.await;
        gate.begun().await;
        settle_down().await;
        assert_eq!(
            gate.runs(),
            2,
            "one leads, nine wait: {} warm {is_warm}",
            cache.describe()
        );
        gate.open_for_all();
        for follower in followers {
            assert_eq!(follower.await.unwrap().text(), "7 2");
        }
        assert_eq!(gate.runs(), 2);
        stored(&cache, u64::from(is_warm) + 1).await;
        assert_eq!(get(&app, "/page/7").await.text(), "7 2");
    }
}

#[tokio::test]
async fn leaders_that_go_away_one_after_the_other_strand_nobody() {
    static RUNNING: AtomicUsize = AtomicUsize::new(0);

    /// A run that is under way; two at once are one too many.
    struct Run;

    impl Run {
        fn begin() -> Self {
            assert_eq!(
                RUNNING.fetch_add(1, Ordering::SeqCst),
                0,
                "one run at a time"
            );
            Self
        }
    }

    impl Drop for Run {
        fn drop(&mut self) {
            RUNNING.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[smart_cache("exclusive")]
    async fn exclusive(State(gate): State<Gate>) -> String {
        let _run = Run::begin();
        gate.pass().await.to_string()
    }

    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::new();
        let app: Router = Router::new()
            .route("/exclusive", on_get(exclusive))
            .layer(Extension(cache.clone()))
            .with_state(gate.clone());
        let mut asked: Vec<_> = (0..6).map(|_| asking(&app, "/exclusive")).collect();
        let last = asked.pop().unwrap();
        gate.begun().await;
        for task in asked {
            settle_down().await;
            task.abort();
            let _ = task.await;
        }
        gate.open_for_all();
        assert!(last.await.is_ok(), "{}", cache.describe());
        assert!(gate.runs() <= 6, "{} runs", gate.runs());
        assert_eq!(cache.stats().flights, 0);
    }
}

#[tokio::test]
async fn a_leader_that_nobody_follows_gives_its_lease_back() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::new();
        let app = app(&cache, &gate);
        for run in 1..=3 {
            let leader = asking(&app, "/page/7");
            gate.begun().await;
            leader.abort();
            let _ = leader.await;
            assert_eq!(gate.runs(), run);
        }
        gate.open_for_all();
        let answer = get(&app, "/page/7").await;
        assert_eq!(
            (status_of(&answer), answer.text().as_str()),
            (STORED, "7 4"),
            "{}",
            cache.describe()
        );
    }
}

#[tokio::test]
async fn when_the_leader_panics_the_followers_are_answered() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::new();
        let app = app(&cache, &gate);
        let leader = asking(&app, "/panics/7");
        gate.begun().await;
        let followers: Vec<_> = (0..5).map(|_| asking(&app, "/panics/7")).collect();
        settle_down().await;
        assert_eq!(gate.runs(), 1);
        gate.open_for_all();
        assert!(leader.await.unwrap_err().is_panic());
        for follower in followers {
            let answer = within("a follower", follower).await.unwrap();
            assert!(answer.text().starts_with("7 "), "{answer:?}");
        }
        assert!(gate.runs() <= 6, "nobody runs twice: {}", gate.runs());
        assert_eq!(cache.stats().flights, 0);
        eventually("a hit", async || {
            (status_of(&get(&app, "/panics/7").await) == HIT).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn when_the_answer_may_not_be_kept_everybody_runs_at_once() {
    let (worlds, _servers) = worlds().await;
    for (cache, is_warm) in worlds {
        let (app, gate) = missing(&cache, is_warm, "/private/7").await;
        let asked: Vec<_> = (0..10).map(|_| asking(&app, "/private/7")).collect();
        gate.begun().await;
        settle_down().await;
        gate.open();
        // The others are let go together, not one behind the other.
        for _ in 0..9 {
            gate.begun().await;
        }
        assert_eq!(gate.runs(), 10);
        gate.open_for_all();
        let mut seen = std::collections::BTreeSet::new();
        for task in asked {
            let answer = task.await.unwrap();
            assert!(
                status_of(&answer).starts_with("smart-cache; fwd=bypass"),
                "{answer:?}"
            );
            assert!(seen.insert(answer.text()), "each has its own answer");
        }
        assert_eq!(gate.runs(), 10);
    }
}

#[tokio::test]
async fn nobody_waits_longer_than_it_is_told_to() {
    for cache in [
        memory()
            .wait(Duration::from_millis(50))
            .build()
            .await
            .unwrap(),
        memory().wait(Duration::ZERO).build().await.unwrap(),
    ] {
        let gate = Gate::new();
        let app = app(&cache, &gate);
        let leader = asking(&app, "/page/7");
        gate.begun().await;
        let late = asking(&app, "/page/7");
        gate.begun().await;
        gate.open_for_all();
        assert_eq!(
            status_of(&late.await.unwrap()),
            "smart-cache; fwd=miss; detail=wait"
        );
        assert_eq!(status_of(&leader.await.unwrap()), STORED);
    }
}
