//! Two processes that see two identities behind one address: each adopts, neither is stuck.

use redis::cmd;
use smart_cache::backend::{Stored, Ticket};
use smart_cache_tests::harness::RedisServer;

use super::super::stage::{Subject, options, page};
use super::NAMESPACE;

fn known_as(server: &RedisServer, id: &str) -> Subject {
    let mut options = options(NAMESPACE);
    options.server_id = Some(id.to_owned());
    Subject::at(&server.url(), options)
}

/// How many scripts the server has been asked to run.
async fn scripts(server: &RedisServer) -> u64 {
    let stats: String = cmd("INFO")
        .arg("commandstats")
        .query_async(&mut server.connection().await)
        .await
        .unwrap();
    let calls = |name: &str| -> u64 {
        stats
            .lines()
            .find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")))
            .map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
    };
    calls("evalsha") + calls("eval")
}

#[tokio::test]
async fn one_id_that_begins_like_another_is_another() {
    let server = RedisServer::start().await;
    let (short, long) = (known_as(&server, "prod"), known_as(&server, "prod2"));
    long.fill(&page("k"), "long").await;
    assert_eq!(short.served(&page("k")).await, None);
    short.fill(&page("k"), "short").await;
    assert_eq!(long.served(&page("k")).await, None);
}

#[tokio::test]
async fn two_ids_take_turns_and_never_serve_each_others_answers() {
    let server = RedisServer::start().await;
    let (one, other, target) = (
        known_as(&server, "one"),
        known_as(&server, "other"),
        page("k"),
    );
    for round in 0..10 {
        for (backend, rival) in [(&one, &other), (&other, &one)] {
            let body = format!("round {round}");
            backend.fill(&target, &body).await;
            assert_eq!(backend.served(&target).await, Some(body));
            assert_eq!(rival.served(&target).await, None);
        }
    }
}

#[tokio::test]
async fn two_ids_at_once_adopt_at_most_once_for_each_request() {
    const REQUESTS: u64 = 100;
    let server = RedisServer::start().await;
    let before = scripts(&server).await;
    let mut tasks = tokio::task::JoinSet::new();
    for id in ["one", "other"] {
        let backend = known_as(&server, id);
        tasks.spawn(async move {
            let mut refused = 0;
            for at in 0..REQUESTS {
                match backend.ticket(&page(&format!("{at}"))).await {
                    Ok(Ticket::Lead(_) | Ticket::Busy(_)) => {}
                    Ok(other) => panic!("nobody stores here: {other:?}"),
                    Err(why) => {
                        let text = why.to_string();
                        assert!(text.contains("two servers behind one address"), "{text}");
                        refused += 1;
                    }
                }
            }
            refused
        });
    }
    let refused: u64 = tasks.join_all().await.into_iter().sum();
    // A request is at most a ticket, an adoption and a second ticket; the first call of each
    // script is asked for twice, until the server knows it.
    let ran = scripts(&server).await - before;
    assert!(
        ran <= 2 * REQUESTS * 3 + 8,
        "{ran} scripts, {refused} refused"
    );
}

#[tokio::test]
async fn a_store_after_another_adopted_does_not_land() {
    let server = RedisServer::start().await;
    let (one, other, target) = (
        known_as(&server, "one"),
        known_as(&server, "other"),
        page("k"),
    );
    let lease = one.lead(&target).await;
    other.lead(&page("elsewhere")).await;
    assert_eq!(one.store(&target, &lease, "old").await, Stored::Cleared);
    assert_eq!(one.served(&target).await, None);
    assert_eq!(other.served(&target).await, None);
}
