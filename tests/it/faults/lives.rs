//! Runtimes that end under a cache, caches that end under a server.

use std::future::Future as _;
use std::time::Duration;

use smart_cache_tests::harness::{RedisServer, eventually, namespace, within};

use super::{App, TIMEOUT, assert_within};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn a_cache_outlives_the_runtimes_it_is_used_on() {
    let server = runtime().block_on(RedisServer::start());
    let app = runtime().block_on(App::at(&server.url(), &namespace()));
    let first = runtime().block_on(app.hit(1));
    for _ in 0..5 {
        let answer = runtime().block_on(app.ask(1));
        assert!(
            answer.is_hit(),
            "the first request of a runtime makes a connection: {answer:?}"
        );
        assert_eq!(answer.body, first.body);
        runtime().block_on(app.cache.clear("page:2")).unwrap();
    }
}

#[test]
fn a_clear_that_is_pending_when_its_runtime_ends_lands_on_the_next() {
    let mut server = runtime().block_on(RedisServer::start());
    let app = runtime().block_on(App::at(&server.url(), &namespace()));
    let before = runtime().block_on(app.hit(1));
    server.kill();
    runtime().block_on(app.failing_clear("page:1"));
    runtime().block_on(server.restart());
    runtime().block_on(async {
        let after = app.hit(1).await;
        assert_ne!(after.body, before.body);
        app.all_cleared().await;
    });
}

/// A runtime that nobody drives any more is not gone: its tasks never end, and never go on.
#[test]
fn a_runtime_that_stands_still_costs_a_timeout_at_most() {
    let parked = runtime();
    let server = parked.block_on(RedisServer::start());
    let app = parked.block_on(App::at(&server.url(), &namespace()));
    parked.block_on(app.hit(1));
    let other = runtime();
    other.block_on(async {
        let first = app.ask(1).await;
        assert_within(first.took, TIMEOUT);
        for _ in 0..20 {
            let answer = app.ask(1).await;
            assert!(
                answer.took < Duration::from_millis(100),
                "the breaker must be open, or a connection made: {answer:?}"
            );
        }
        app.hit(1).await;
    });
    drop(parked);
    other.block_on(app.hit(1));
}

#[test]
fn a_clear_that_is_pending_on_a_runtime_that_stands_still_lands_by_another() {
    let parked = runtime();
    let mut server = parked.block_on(RedisServer::start());
    let app = parked.block_on(App::at(&server.url(), &namespace()));
    let before = parked.block_on(app.hit(1));
    server.kill();
    parked.block_on(app.failing_clear("page:1"));
    runtime().block_on(async {
        server.restart().await;
        assert_ne!(app.hit(1).await.body, before.body);
        app.all_cleared().await;
    });
}

/// The thread that opened a batch of lookups never gets to send it: others must not wait for it.
#[test]
fn a_runtime_that_stands_still_with_a_lookup_holds_up_nobody() {
    let parked = runtime();
    let server = parked.block_on(RedisServer::start());
    let app = parked.block_on(App::at(&server.url(), &namespace()));
    parked.block_on(app.hit(1));
    let mut asking = Box::pin(app.ask(1));
    let polled = parked.block_on(std::future::poll_fn(|context| {
        std::task::Poll::Ready(asking.as_mut().poll(context).is_pending())
    }));
    assert!(polled, "the lookup is under way");
    runtime().block_on(async {
        for _ in 0..3 {
            let answer = within("an answer", app.ask(1)).await;
            assert_within(answer.took, TIMEOUT);
        }
    });
}

async fn clients(server: &RedisServer) -> usize {
    // redis-cli's own is one of them.
    server
        .cli(&["CLIENT", "LIST", "TYPE", "normal"])
        .lines()
        .count()
        - 1
}

#[tokio::test]
async fn a_dropped_cache_leaves_no_connection_and_no_task() {
    let server = RedisServer::start().await;
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    // The harness's own connection, by which it saw that the server is there.
    eventually("silence", async || {
        ((clients(&server).await, tasks()) == (0, 0)).then_some(())
    })
    .await;
    for _ in 0..3 {
        let app = App::at(&server.url(), &namespace()).await;
        app.hit(1).await;
        app.cache.clear("page:1").await.unwrap();
        app.cache.clear_blocking("page:1").unwrap();
        assert!(clients(&server).await > 0);
        assert!(app.runs() > 0);
        drop(app);
        eventually("connections and tasks to end", async || {
            ((clients(&server).await, tasks()) == (0, 0)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_cache_that_never_reached_its_server_leaves_no_task_either() {
    let mut server = RedisServer::start().await;
    server.kill();
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    eventually("silence", async || (tasks() == 0).then_some(())).await;
    let app = App::at(&server.url(), &namespace()).await;
    app.ask(1).await;
    drop(app);
    eventually("tasks to end", async || (tasks() == 0).then_some(())).await;
}

#[test]
fn a_blocking_clear_works_without_a_runtime_and_on_its_thread() {
    let server = runtime().block_on(RedisServer::start());
    let home = runtime();
    let app = home.block_on(App::at(&server.url(), &namespace()));
    for id in 0..3 {
        let before = home.block_on(app.hit(id));
        app.cache.clear_blocking(format!("page:{id}")).unwrap();
        home.block_on(async {
            assert_ne!(app.ask(id).await.body, before.body);
            let before = app.hit(id).await;
            app.cache.clear_blocking(format!("page:{id}")).unwrap();
            assert_ne!(app.ask(id).await.body, before.body);
            let before = app.hit(id).await;
            app.cache.clear_all_blocking().unwrap();
            assert_ne!(app.ask(id).await.body, before.body);
        });
    }
}

#[test]
fn a_blocking_clear_into_a_missing_or_frozen_redis_ends_in_time_and_lands_later() {
    let home = runtime();
    let mut server = home.block_on(RedisServer::start());
    let app = home.block_on(App::at(&server.url(), &namespace()));
    home.block_on(async {
        let before = app.hit(1).await;
        server.freeze();
        for _ in 0..2 {
            let start = std::time::Instant::now();
            app.cache.clear_blocking("page:1").unwrap_err();
            assert_within(start.elapsed(), TIMEOUT + Duration::from_secs(1));
        }
        assert!(app.ask(1).await.how.contains("pending-clear"));
        server.thaw();
        app.all_cleared().await;
        assert_ne!(app.hit(1).await.body, before.body);
        server.kill();
        let start = std::time::Instant::now();
        app.cache.clear_blocking("page:1").unwrap_err();
        assert_within(start.elapsed(), TIMEOUT + Duration::from_secs(1));
        server.restart().await;
        app.all_cleared().await;
    });
}
