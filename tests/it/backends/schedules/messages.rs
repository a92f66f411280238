//! Schedules 4, 5 and 6: messages that come late, twice, or without an answer.

use smart_cache::Target;
use smart_cache::backend::{Stored, Ticket};
use smart_cache_tests::harness::{Chaos, Loss, RedisServer, Replay, eventually};

use super::super::stage::{Subject, page, tagged};
use super::{STORE, TICKET, direct, sha, through, with_scripts};

/// A page under "k" and "t" that is stored, and the ticket that it was stored with, to be delivered again.
async fn filled_by_a_captured_ticket(server: &RedisServer) -> (Subject, Target, Replay, Chaos) {
    with_scripts(server).await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let (backend, target) = (through(&chaos), tagged("k", &["t"]));
    let captured = chaos.capture(sha(TICKET));
    let lease = backend.lead(&target).await;
    let ticket = captured.taken().await;
    assert_eq!(
        backend.store(&target, &lease, "old").await,
        Stored::Landed(None)
    );
    (backend, target, ticket, chaos)
}

#[tokio::test]
async fn a_ticket_delivered_twice_revives_nothing_that_was_cleared() {
    let server = RedisServer::start().await;
    let (backend, target, ticket, _chaos) = filled_by_a_captured_ticket(&server).await;
    for keys in [&["k"][..], &["t"], &["k", "t"]] {
        backend.clear(keys).await;
        ticket.deliver().await;
        assert_eq!(
            backend.served(&target).await,
            None,
            "a replayed nonce is no token of before"
        );
    }
    backend.0.clear_all().await.unwrap();
    ticket.deliver().await;
    assert_eq!(backend.served(&target).await, None);
}

#[tokio::test]
async fn a_ticket_delivered_twice_lets_no_expire_bring_back_what_was_cleared() {
    let server = RedisServer::start().await;
    let (backend, target, ticket, _chaos) = filled_by_a_captured_ticket(&server).await;
    backend.clear(&["k", "t"]).await;
    // The tokens have the nonce of before again, though not the stamp.
    ticket.deliver().await;
    for keys in [&["k"][..], &["t"], &["k", "t"]] {
        backend.expire(keys).await;
        assert_eq!(backend.stale(&target).await, None, "after {keys:?}");
        assert_eq!(backend.served(&target).await, None, "after {keys:?}");
    }
}

#[tokio::test]
async fn a_ticket_delivered_twice_around_anothers_store_and_a_clear_stores_nothing_old() {
    let server = RedisServer::start().await;
    with_scripts(&server).await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let (backend, other, target) = (through(&chaos), direct(&server), page("k"));
    let captured = chaos.capture(sha(TICKET));
    let lease = backend.lead(&target).await;
    let ticket = captured.taken().await;
    other.clear(&["k"]).await;
    other.fill(&target, "other").await;
    other.clear(&["k"]).await;
    ticket.deliver().await;
    // The handler of the first ticket has read rows from before both clears.
    assert_ne!(
        backend.store(&target, &lease, "old").await,
        Stored::Landed(None)
    );
    assert_eq!(backend.served(&target).await, None);
}

#[tokio::test]
async fn a_ticket_whose_answer_is_lost_is_an_error_and_its_lease_lets_the_next_wait() {
    let server = RedisServer::start().await;
    with_scripts(&server).await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let (backend, target) = (through(&chaos), page("k"));
    assert_eq!(backend.served(&target).await, None);
    chaos.lose_reply_of(sha(TICKET), Loss::Cut);
    backend.ticket(&target).await.unwrap_err();
    assert!(
        matches!(
            direct(&server).ticket(&target).await.unwrap(),
            Ticket::Busy(_)
        ),
        "the lost ticket was executed"
    );
}

#[tokio::test]
async fn a_store_delivered_twice_lands_once() {
    let server = RedisServer::start().await;
    with_scripts(&server).await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let (backend, target) = (through(&chaos), page("k"));
    let lease = backend.lead(&target).await;
    let captured = chaos.capture(sha(STORE));
    backend.store(&target, &lease, "old").await;
    let store = captured.taken().await;
    assert_eq!(store.deliver().await, b"*1\r\n:0\r\n");
    assert_eq!(backend.served(&target).await.as_deref(), Some("old"));

    backend.clear(&["k"]).await;
    assert_eq!(store.deliver().await, b"*1\r\n:0\r\n");
    assert_eq!(backend.served(&target).await, None);

    backend.fill(&target, "new").await;
    assert_eq!(store.deliver().await, b"*1\r\n:0\r\n");
    assert_eq!(backend.served(&target).await.as_deref(), Some("new"));

    let next = {
        backend.clear(&["k"]).await;
        backend.lead(&target).await
    };
    assert_eq!(store.deliver().await, b"*1\r\n:0\r\n");
    assert_eq!(
        backend.store(&target, &next, "newest").await,
        Stored::Landed(None),
        "a replay does not spend the lease of another"
    );
}

#[tokio::test]
async fn a_store_held_up_by_the_network_until_after_a_clear_does_not_land() {
    let server = RedisServer::start().await;
    with_scripts(&server).await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let (slow, other, target) = (through(&chaos), direct(&server), page("k"));
    let lease = slow.lead(&target).await;
    let mut held = chaos.hold(sha(STORE));
    let storing = tokio::spawn({
        let (slow, target) = (slow.clone(), target.clone());
        async move { slow.store(&target, &lease, "old").await }
    });
    held.arrived().await;
    other.clear(&["k"]).await;
    held.release();
    assert_eq!(storing.await.unwrap(), Stored::Cleared);
    assert_eq!(other.served(&target).await, None);
}

#[tokio::test]
async fn a_store_whose_answer_is_lost_may_have_landed_and_is_right() {
    let server = RedisServer::start().await;
    with_scripts(&server).await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let (backend, target) = (through(&chaos), page("k"));
    let lease = backend.lead(&target).await;
    chaos.lose_reply_of(sha(STORE), Loss::Cut);
    backend
        .try_store(&target, &lease, "body")
        .await
        .unwrap_err();
    assert_eq!(
        backend.served_when_back(&target).await.as_deref(),
        Some("body")
    );
}

#[tokio::test]
async fn a_clear_whose_answer_is_lost_is_an_error_and_its_repetition_is_harmless() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let (backend, other, target) = (through(&chaos), direct(&server), page("k"));
    backend.fill(&target, "old").await;
    chaos.lose_reply_of("DEL", Loss::Cut);
    backend.try_clear(&["k"]).await.unwrap_err();
    assert_eq!(other.served(&target).await, None, "it was executed");
    other.fill(&target, "new").await;
    eventually("the repeated clear to be acknowledged", async || {
        backend.try_clear(&["k"]).await.ok()
    })
    .await;
    assert_eq!(
        other.served(&target).await,
        None,
        "a fill too much is lost, and nothing else"
    );
    other.fill(&target, "newest").await;
    assert_eq!(backend.served(&target).await.as_deref(), Some("newest"));
}

#[tokio::test]
async fn a_clear_that_never_arrives_is_an_error() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let (backend, target) = (through(&chaos), page("k"));
    backend.fill(&target, "old").await;
    let mut held = chaos.hold("DEL");
    let clearing = tokio::spawn({
        let backend = backend.clone();
        async move { backend.try_clear(&["k"]).await }
    });
    held.arrived().await;
    chaos.cut();
    clearing.await.unwrap().unwrap_err();
    drop(held);
    assert_eq!(
        direct(&server).served(&target).await.as_deref(),
        Some("old")
    );
}
