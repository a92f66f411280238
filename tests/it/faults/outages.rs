//! Redis is not there, dies, comes back, freezes; the link to it is slow, cut, or half open.

use std::time::{Duration, Instant};

use smart_cache_tests::harness::{Chaos, Direction, Loss, RedisServer, namespace};

use super::{App, MARGIN, TIMEOUT, assert_within};

/// The middle one of many times.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[tokio::test]
async fn a_redis_that_is_missing_at_the_start_is_used_when_it_comes() {
    let mut server = RedisServer::start().await;
    server.kill();
    let start = Instant::now();
    let app = App::at(&server.url(), &namespace()).await;
    assert_within(start.elapsed(), Duration::from_secs(1));
    for _ in 0..20 {
        let answer = app.ask(1).await;
        assert!(answer.is_unavailable(), "{answer:?}");
        assert_within(answer.took, Duration::from_millis(20));
    }
    assert!(!app.cache.stats().available);
    server.restart().await;
    app.hit(1).await;
    assert!(app.cache.stats().available);
}

#[tokio::test]
async fn a_redis_that_is_killed_and_restarted_is_cold_and_then_used_again() {
    let mut server = RedisServer::start().await;
    let app = App::at(&server.url(), &namespace()).await;
    let before = app.hit(1).await;
    server.kill();
    let down = app
        .until(1, "the loss to be noticed", |answer| !answer.is_hit())
        .await;
    assert!(down.is_unavailable(), "{down:?}");
    assert_within(down.took, TIMEOUT);
    server.restart().await;
    let after = app.hit(1).await;
    assert_ne!(
        after.body, before.body,
        "nothing was saved, so nothing came back"
    );
}

#[tokio::test]
async fn a_redis_that_restarts_from_a_snapshot_is_cold() {
    let mut server = RedisServer::start().await;
    let app = App::at(&server.url(), &namespace()).await;
    let before = app.hit(1).await;
    server.save().await;
    server.restart().await;
    // The entry is there again, but clears may have happened after the snapshot.
    let after = app.hit(1).await;
    assert_ne!(after.body, before.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_costs_one_timeout_and_then_nothing() {
    let server = RedisServer::start().await;
    let app = App::at(&server.url(), &namespace()).await;
    let before = app.hit(1).await;
    server.freeze();
    let first: Vec<_> = (0..20)
        .map(|_| {
            let app = app.clone();
            tokio::spawn(async move { app.ask(1).await })
        })
        .collect();
    for answer in first {
        let answer = answer.await.unwrap();
        assert!(answer.is_unavailable(), "{answer:?}");
        assert_within(answer.took, TIMEOUT);
    }
    let mut times = Vec::new();
    for _ in 0..200 {
        let answer = app.ask(1).await;
        assert!(answer.is_unavailable(), "{answer:?}");
        times.push(answer.took);
    }
    let (median, worst) = (median(times.clone()), times.iter().max().unwrap());
    println!("breaker open: median {median:?}, worst {worst:?}");
    assert!(median < Duration::from_millis(20), "median {median:?}");
    server.thaw();
    let after = app.hit(1).await;
    assert_eq!(
        after.body, before.body,
        "the entry has been there all the time"
    );
}

#[tokio::test]
async fn a_redis_that_is_frozen_at_the_start_is_used_when_it_goes_on() {
    let server = RedisServer::start().await;
    server.freeze();
    let start = Instant::now();
    let app = App::at(&server.url(), &namespace()).await;
    println!("started in {:?}", start.elapsed());
    assert_within(start.elapsed(), Duration::from_secs(2));
    let answer = app.ask(1).await;
    assert_within(answer.took, TIMEOUT);
    server.thaw();
    app.hit(1).await;
}

#[tokio::test]
async fn a_slow_link_within_the_timeout_still_hits() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let app = App::at(&chaos.url(), &namespace()).await;
    let before = app.hit(1).await;
    let delay = Duration::from_millis(60);
    chaos.delay(delay);
    let slow = app
        .until(1, "a slow hit", |answer| {
            answer.is_hit() && answer.took >= delay
        })
        .await;
    assert_eq!(slow.body, before.body);
    chaos.delay(Duration::ZERO);
    app.until(1, "a fast hit", |answer| {
        answer.is_hit() && answer.took < delay
    })
    .await;
}

/// A handshake may take longer than a request would wait; if the breaker closed after one that did,
/// every closing would cost the next requests a whole timeout.
#[tokio::test]
async fn a_link_slower_than_the_timeout_keeps_the_breaker_open() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let app = App::at(&chaos.url(), &namespace()).await;
    app.hit(1).await;
    chaos.delay(TIMEOUT + Duration::from_millis(100));
    let first = app
        .until(
            1,
            "the slowness to be noticed",
            super::Answer::is_unavailable,
        )
        .await;
    assert_within(first.took, TIMEOUT);
    // What was in flight when the breaker opened has ended after one more timeout.
    let (start, mut slow) = (Instant::now(), 0);
    while start.elapsed() < Duration::from_millis(2500) {
        let answer = app.ask(1).await;
        assert!(answer.is_unavailable(), "{answer:?}");
        slow += u32::from(answer.took > Duration::from_millis(150));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(
        slow <= 1,
        "{slow} requests waited for a link that is known to be too slow"
    );
    chaos.delay(Duration::ZERO);
    app.hit(1).await;
}

#[tokio::test]
async fn a_link_that_breaks_in_the_middle_of_a_reply_is_made_again() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let app = App::at(&chaos.url(), &namespace()).await;
    let before = app.hit(1).await;
    for loss in [Loss::Torn, Loss::Cut, Loss::Silence] {
        for needle in ["MGET", "INFO"] {
            chaos.lose_reply_of(needle, loss);
            let (start, mut was_lost) = (Instant::now(), false);
            while start.elapsed() < Duration::from_millis(400) {
                let answer = app.ask(1).await;
                assert_within(answer.took, TIMEOUT);
                was_lost |= !answer.is_hit();
                if was_lost {
                    break;
                }
            }
            let after = app.hit(1).await;
            assert_eq!(after.body, before.body, "{loss:?} of {needle}");
        }
    }
}

#[tokio::test]
async fn a_half_open_link_is_a_frozen_redis() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let app = App::at(&chaos.url(), &namespace()).await;
    let before = app.hit(1).await;
    for direction in [Direction::Replies, Direction::Requests] {
        chaos.freeze(direction);
        let first = app.ask(1).await;
        assert!(first.is_unavailable(), "{first:?}");
        assert_within(first.took, TIMEOUT);
        let mut times = Vec::new();
        for _ in 0..50 {
            times.push(app.ask(1).await.took);
        }
        assert!(
            median(times.clone()) < Duration::from_millis(20),
            "{times:?}"
        );
        chaos.thaw(direction);
        assert_eq!(app.hit(1).await.body, before.body);
    }
}

#[tokio::test]
async fn a_link_that_is_cut_again_and_again_fails_no_request() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let app = App::at(&chaos.url(), &namespace()).await;
    app.hit(1).await;
    let start = Instant::now();
    for _ in 0..50 {
        chaos.cut();
        let answer = app.ask(1).await;
        assert_within(answer.took, TIMEOUT);
    }
    println!("fifty cuts in {:?}", start.elapsed());
    app.hit(1).await;
}

#[tokio::test]
async fn a_proxy_that_refuses_connections_is_a_missing_redis() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let app = App::at(&chaos.url(), &namespace()).await;
    app.hit(1).await;
    chaos.refuse_connections();
    chaos.cut();
    app.until(1, "the loss to be noticed", super::Answer::is_unavailable)
        .await;
    for _ in 0..50 {
        assert!(app.ask(1).await.took < MARGIN);
    }
    chaos.accept_connections();
    app.hit(1).await;
}
