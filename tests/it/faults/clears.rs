//! Clears that do not reach Redis: the caller hears why, this process distrusts the key at once,
//! and the clear lands by itself.

use std::future::Future as _;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use smart_cache_tests::harness::{Chaos, Loss, RedisServer, eventually, namespace};

use super::{App, TIMEOUT, assert_says, assert_within};

#[tokio::test]
async fn a_clear_that_fails_is_distrusted_here_and_lands_for_everybody_later() {
    let server = RedisServer::start().await;
    let (ns, chaos) = (namespace(), Chaos::in_front_of(server.address()).await);
    let app = App::at(&chaos.url(), &ns).await;
    let other = App::at(&server.url(), &ns).await;
    let before = app.hit(1).await;
    assert_eq!(
        other.hit(1).await.body,
        before.body,
        "both serve the same entry"
    );

    chaos.refuse_connections();
    chaos.cut();
    let start = Instant::now();
    let error = app.failing_clear("page:1").await;
    assert_within(start.elapsed(), TIMEOUT);
    assert_says(&error, "not connected");
    assert_eq!(app.cache.stats().pending_clears, 1);
    assert_eq!(app.cache.stats().failed_clears, 1);
    let distrusted = app.ask(1).await;
    assert!(distrusted.how.contains("pending-clear"), "{distrusted:?}");
    assert_ne!(distrusted.body, before.body);
    assert_eq!(
        other.ask(1).await.body,
        before.body,
        "the others cannot know yet"
    );

    chaos.accept_connections();
    app.all_cleared().await;
    assert_ne!(other.ask(1).await.body, before.body);
    assert_ne!(app.hit(1).await.body, before.body);
}

#[tokio::test]
async fn a_distrusted_key_is_neither_served_nor_stored_while_the_link_is_back() {
    let server = RedisServer::options()
        .user("app on >secret ~* &* +@all")
        .start()
        .await;
    let url = format!("redis://app:secret@127.0.0.1:{}", server.port());
    let app = App::at(&url, &namespace()).await;
    app.hit(1).await;
    app.hit(2).await;
    assert_eq!(server.cli(&["ACL", "SETUSER", "app", "-del"]), "OK");
    app.failing_clear("page:1").await;
    for _ in 0..5 {
        let answer = app.ask(1).await;
        assert!(answer.how.contains("pending-clear"), "{answer:?}");
        assert!(
            app.ask(2).await.is_hit(),
            "only the key itself is distrusted"
        );
    }
    let error = app.cache.clear_all().await.unwrap_err();
    assert_says(&error.to_string(), "NOPERM");
    assert!(
        app.ask(2).await.how.contains("pending-clear"),
        "now all of them are"
    );
    assert_eq!(app.cache.stats().pending_clears, 2);
    assert_eq!(server.cli(&["ACL", "SETUSER", "app", "+del"]), "OK");
    app.all_cleared().await;
    app.hit(1).await;
    app.hit(2).await;
}

#[tokio::test]
async fn a_tag_that_could_not_be_cleared_is_distrusted_too() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let app = App::at(&chaos.url(), &namespace()).await;
    app.hit(1).await;
    chaos.lose_reply_of("DEL", Loss::Silence);
    app.failing_clear("pages").await;
    assert!(app.ask(1).await.how.contains("pending-clear"));
    app.all_cleared().await;
    app.hit(1).await;
}

#[tokio::test]
async fn a_clear_whose_reply_is_lost_is_an_error_and_has_happened() {
    for loss in [Loss::Cut, Loss::Silence, Loss::Torn] {
        let server = RedisServer::start().await;
        let (ns, chaos) = (namespace(), Chaos::in_front_of(server.address()).await);
        let app = App::at(&chaos.url(), &ns).await;
        let other = App::at(&server.url(), &ns).await;
        let before = app.hit(1).await;
        chaos.lose_reply_of("DEL", loss);
        let start = Instant::now();
        app.failing_clear("page:1").await;
        assert_within(start.elapsed(), TIMEOUT);
        assert_ne!(other.ask(1).await.body, before.body, "{loss:?}");
        app.all_cleared().await;
        app.hit(1).await;
    }
}

#[tokio::test]
async fn a_clear_into_a_frozen_redis_lands_when_it_goes_on() {
    let server = RedisServer::start().await;
    let ns = namespace();
    let app = App::at(&server.url(), &ns).await;
    let other = App::at(&server.url(), &ns).await;
    let before = app.hit(1).await;
    server.freeze();
    let start = Instant::now();
    let error = app.failing_clear("page:1").await;
    assert_within(start.elapsed(), TIMEOUT);
    assert_says(&error, "SMART_REDIS_TIMEOUT");
    server.thaw();
    app.all_cleared().await;
    assert_ne!(other.hit(1).await.body, before.body);
}

#[tokio::test]
async fn a_cancelled_clear_goes_on() {
    let server = RedisServer::start().await;
    let ns = namespace();
    let (chaos, other) = (
        Chaos::in_front_of(server.address()).await,
        App::at(&server.url(), &ns).await,
    );
    let app = App::at(&chaos.url(), &ns).await;
    let before = app.hit(1).await;
    assert!(other.hit(1).await.is_hit());
    let mut held = chaos.hold("DEL");
    {
        let clear = app.cache.clear("page:1");
        tokio::pin!(clear);
        let polled = clear.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Pending));
    }
    held.arrived().await;
    held.release();
    other
        .until(1, "the clear to land", |answer| answer.body != before.body)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_keys_are_one_clear() {
    let server = RedisServer::start().await;
    let app = App::of(
        super::builder(&server.url(), &namespace())
            // An unoptimised build takes its time to write five megabytes.
            .timeout(Duration::from_secs(5))
            .build()
            .await
            .unwrap(),
    );
    let before = app.hit(7).await;
    let keys: Vec<String> = (0..100_000).map(|id| format!("page:{id}")).collect();
    assert_eq!(server.cli(&["CONFIG", "RESETSTAT"]), "OK");
    let start = Instant::now();
    app.cache.clear(keys).await.unwrap();
    println!("cleared 100 000 keys in {:?}", start.elapsed());
    let calls = server.cli(&["INFO", "commandstats"]);
    assert!(calls.contains("cmdstat_del:calls=1,"), "{calls}");
    assert_ne!(app.ask(7).await.body, before.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_keys_that_cannot_be_cleared_are_distrusted_and_cleared_later() {
    let mut server = RedisServer::start().await;
    let app = App::at(&server.url(), &namespace()).await;
    app.hit(7).await;
    server.kill();
    app.until(7, "the loss to be noticed", super::Answer::is_unavailable)
        .await;
    for from in [0, 100_000] {
        let keys: Vec<String> = (from..from + 100_000)
            .map(|id| format!("page:{id}"))
            .collect();
        app.cache.clear(keys).await.unwrap_err();
        assert!(app.cache.stats().pending_clears > 0);
        assert!(app.ask(7).await.how.contains("pending-clear"));
    }
    server.restart().await;
    app.all_cleared().await;
    app.hit(7).await;
}

#[tokio::test]
async fn a_write_during_an_outage_is_seen_after_it_by_every_process() {
    let server = RedisServer::start().await;
    let ns = namespace();
    let chaos = Chaos::in_front_of(server.address()).await;
    let app = App::at(&chaos.url(), &ns).await;
    let other = App::at(&server.url(), &ns).await;
    let before = [
        app.hit(1).await.body,
        app.hit(2).await.body,
        app.hit(3).await.body,
    ];
    chaos.refuse_connections();
    chaos.cut();
    for key in ["page:1", "page:2", "page:3", "page:1"] {
        app.failing_clear(key).await;
    }
    assert_eq!(app.cache.stats().pending_clears, 3, "a key is pending once");
    chaos.accept_connections();
    app.all_cleared().await;
    for (id, before) in (1..).zip(before) {
        other.hit(id).await;
        assert_ne!(other.ask(id).await.body, before);
    }
}

#[tokio::test]
async fn a_clear_that_is_repeated_stops_with_its_cache() {
    let mut server = RedisServer::start().await;
    let app = App::at(&server.url(), &namespace()).await;
    app.hit(1).await;
    server.kill();
    app.failing_clear("page:1").await;
    drop(app);
    server.restart().await;
    // The repetition looks at least every two seconds whether its cache still lives.
    eventually("the last connection to close", async || {
        let clients = server.cli(&["CLIENT", "LIST", "TYPE", "normal"]);
        (clients.lines().count() == 1).then_some(())
    })
    .await;
}
