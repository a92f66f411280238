//! The same across processes: two caches on one server, which share nothing else.

use std::time::Duration;

use smart_cache_tests::harness::{Gate, RedisServer};

use super::super::{HIT, redis_at, status_of};
use super::{app, asking, settle_down};

#[tokio::test]
async fn a_handler_that_outlasts_its_lease_keeps_it() {
    let server = RedisServer::start().await;
    let lease = Duration::from_millis(300);
    let build = || {
        redis_at(&server.url())
            .lease(lease)
            .wait(Duration::from_secs(20))
            .build()
    };
    let (one, other) = (build().await.unwrap(), build().await.unwrap());
    let gate = Gate::new();
    let (first, second) = (app(&one, &gate), app(&other, &gate));
    let leader = asking(&first, "/page/7");
    gate.begun().await;
    let waiting = asking(&second, "/page/7");
    // Nothing can be observed here but that nothing happens.
    tokio::time::sleep(lease * 3).await;
    assert_eq!(gate.runs(), 1, "the lease was renewed");
    gate.open_for_all();
    assert_eq!(leader.await.unwrap().text(), "7 1");
    let answer = waiting.await.unwrap();
    assert_eq!((status_of(&answer), answer.text().as_str()), (HIT, "7 1"));
}

#[tokio::test]
async fn two_processes_run_the_handler_once() {
    let server = RedisServer::start().await;
    let (one, other) = (
        redis_at(&server.url()).build().await.unwrap(),
        redis_at(&server.url()).build().await.unwrap(),
    );
    let gate = Gate::new();
    let (first, second) = (app(&one, &gate), app(&other, &gate));
    let mut asked: Vec<_> = (0..20).map(|_| asking(&first, "/page/7")).collect();
    asked.extend((0..20).map(|_| asking(&second, "/page/7")));
    gate.begun().await;
    settle_down().await;
    gate.open_for_all();
    for task in asked {
        assert_eq!(task.await.unwrap().text(), "7 1");
    }
    assert_eq!(gate.runs(), 1);
}

#[tokio::test]
async fn when_the_leader_of_another_process_goes_away_one_here_leads() {
    let server = RedisServer::start().await;
    let (one, other) = (
        redis_at(&server.url()).build().await.unwrap(),
        redis_at(&server.url()).build().await.unwrap(),
    );
    let gate = Gate::new();
    let (first, second) = (app(&one, &gate), app(&other, &gate));
    let leader = asking(&first, "/page/7");
    gate.begun().await;
    let waiting: Vec<_> = (0..5).map(|_| asking(&second, "/page/7")).collect();
    settle_down().await;
    leader.abort();
    gate.begun().await;
    settle_down().await;
    assert_eq!(gate.runs(), 2);
    gate.open_for_all();
    for task in waiting {
        assert_eq!(task.await.unwrap().text(), "7 2");
    }
}
