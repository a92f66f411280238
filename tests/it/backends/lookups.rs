//! Lookups that are asked at one moment travel together, and must not share more than that.

use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use smart_cache::Target;
use smart_cache::backend::Lookup;
use smart_cache_tests::harness::RedisServer;

use super::stage::{Stage, Subject, options, page, tags};

#[tokio::test]
async fn many_entries_asked_at_one_moment_are_each_answered_with_their_own() {
    let stage = Stage::redis().await;
    let backend = stage.backend();
    let targets: Vec<Target> = (0..300).map(|at| page(&format!("k{at}"))).collect();
    for (at, target) in targets.iter().enumerate() {
        if !at.is_multiple_of(3) {
            backend.fill(target, &format!("body {at}")).await;
        }
    }
    let asked = targets
        .iter()
        .chain(&targets)
        .map(|target| backend.served(target));
    let found = futures_util::future::join_all(asked).await;
    for (at, body) in found.into_iter().enumerate() {
        let at = at % targets.len();
        assert_eq!(
            body,
            (!at.is_multiple_of(3)).then(|| format!("body {at}")),
            "k{at}"
        );
    }
}

/// Commands that the server has been asked for lookups.
fn questions(server: &RedisServer) -> u64 {
    let stats = server.cli(&["INFO", "commandstats"]);
    let calls = stats
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_mget:calls="));
    let calls = calls.and_then(|calls| calls.split(',').next()?.parse().ok());
    calls.unwrap_or(0)
}

/// In one batch a crowd would leave the process idle until the server has answered, and the server
/// idle until the next crowd asks.
#[tokio::test]
async fn a_crowd_asks_in_halves() {
    let server = RedisServer::start().await;
    let (backend, target) = (Subject::at(&server.url(), options("n")), page("k"));
    backend.fill(&target, "body").await;
    let crowd = async |size| {
        let before = questions(&server);
        let asked = (0..size).map(|_| backend.served(&target));
        let found = futures_util::future::join_all(asked).await;
        assert!(found.iter().all(|body| body.as_deref() == Some("body")));
        questions(&server) - before
    };
    assert_eq!(crowd(1).await, 1);
    // Nobody could know of it beforehand; the batches grow with the crowd.
    let first = crowd(10_000).await;
    assert!((2..60).contains(&first), "{first} questions");
    let second = crowd(10_000).await;
    assert!((2..=3).contains(&second), "{second} questions");
}

#[tokio::test]
async fn one_entry_asked_with_other_tags_at_one_moment_is_judged_by_each() {
    for stage in [Stage::Memory, Stage::redis().await] {
        let backend = stage.backend();
        let one = Target::new("k", &["a"], b"variant");
        let other = Target::new("k", &["b"], b"variant");
        backend.fill(&one, "depends on a").await;
        backend.lead(&other).await;
        let (by_a, by_b) = tokio::join!(backend.served(&one), backend.served(&other));
        assert_eq!(by_a.as_deref(), Some("depends on a"));
        assert_eq!(by_b, None, "nothing is stored that depends on b");
    }
}

#[tokio::test]
async fn found_tags_and_plain_entries_travel_together() {
    let backend = Stage::redis().await;
    let backend = backend.backend();
    let (plain, list, dead, found) = (page("plain"), page("list"), page("dead"), tags(&["row"]));
    backend.fill(&plain, "plain").await;
    for target in [&list, &dead] {
        let lease = backend.lead_with(target, &found).await;
        backend
            .store_with(target, &lease, "list", None, &found)
            .await;
    }
    backend.clear(&["dead"]).await;
    let (one, two, three) = tokio::join!(
        backend.served(&plain),
        backend.served(&list),
        backend.lookup(&dead),
    );
    assert_eq!(one.as_deref(), Some("plain"));
    assert_eq!(two.as_deref(), Some("list"));
    assert!(matches!(three.unwrap(), Lookup::Miss { dynamic, .. } if dynamic == found));
}

#[tokio::test]
async fn who_asks_after_a_clear_is_not_answered_with_a_question_from_before_it() {
    let stage = Stage::redis().await;
    let (backend, target) = (stage.backend(), page("k"));
    for round in 0..100 {
        backend.fill(&target, &format!("round {round}")).await;
        // Polled to the point where it waits for the others, and no further.
        let mut early = Box::pin(backend.served(&target));
        assert!(early.as_mut().now_or_never().is_none());
        backend.clear(&["k"]).await;
        let (_, late) = tokio::join!(early, backend.served(&target));
        assert_eq!(late, None, "round {round}");
    }
}

#[tokio::test]
async fn a_lookup_that_is_given_up_does_not_take_the_others_with_it() {
    let stage = Stage::redis().await;
    let (backend, target) = (stage.backend(), page("k"));
    backend.fill(&target, "body").await;
    for _ in 0..20 {
        let mut first = Box::pin(backend.served(&target));
        assert!(first.as_mut().now_or_never().is_none());
        let mut second = Box::pin(backend.served(&target));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        assert_eq!(second.await.as_deref(), Some("body"));
    }
}

/// Each test of an application has a runtime of its own, and a static cache outlives them all.
#[test]
fn a_runtime_that_ends_in_the_middle_of_a_lookup_leaves_the_next_one_a_working_backend() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let first = runtime();
    let (server, backend) = first.block_on(async {
        let server = RedisServer::start().await;
        let backend = Subject::at(&server.url(), options("n"));
        backend.fill(&page("k"), "body").await;
        // Left behind before it was sent.
        let target = page("k");
        let mut lookup = Box::pin(
            backend
                .0
                .lookup(&target, Instant::now() + Duration::from_secs(5)),
        );
        assert!(lookup.as_mut().now_or_never().is_none());
        drop(lookup);
        (server, backend)
    });
    drop(first);
    for _ in 0..3 {
        let served = runtime().block_on(async { backend.served(&page("k")).await });
        assert_eq!(served.as_deref(), Some("body"));
    }
    drop(server);
}
