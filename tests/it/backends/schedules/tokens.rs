//! Schedules 2 and 3: tokens vanish at any moment.

use redis::cmd;
use smart_cache::Target;
use smart_cache::backend::Stored;
use smart_cache_tests::harness::RedisServer;

use super::super::stage::{page, tagged, tags};
use super::{direct, evict, token};

/// The token is evicted while a handler runs; `other` depends on it too and mints it anew.
async fn check_eviction_during_the_handler(name: &str, other: Target) {
    let server = RedisServer::start().await;
    let (backend, target) = (direct(&server), tagged("k", &["t"]));
    let lease = backend.lead(&target).await;
    evict(&mut server.connection().await, &token(name)).await;
    let second = direct(&server);
    second.lead(&other).await;
    assert_eq!(backend.store(&target, &lease, "old").await, Stored::Cleared);
    assert_eq!(backend.served(&target).await, None);
    assert_eq!(second.served(&target).await, None);
    second.fill(&target, "new").await;
    assert_eq!(backend.served(&target).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_token_evicted_during_the_handler_and_minted_by_another_refuses_the_store() {
    check_eviction_during_the_handler("k", Target::new("k", &[], b"another")).await;
    check_eviction_during_the_handler("t", tagged("another", &["t"])).await;
    check_eviction_during_the_handler("", page("another")).await;
}

#[tokio::test]
async fn a_token_evicted_during_the_handler_and_not_minted_refuses_the_store() {
    for name in ["k", "t", ""] {
        let server = RedisServer::start().await;
        let (backend, target) = (direct(&server), tagged("k", &["t"]));
        let lease = backend.lead(&target).await;
        evict(&mut server.connection().await, &token(name)).await;
        assert_eq!(backend.store(&target, &lease, "old").await, Stored::Cleared);
        assert_eq!(backend.served(&target).await, None);
    }
}

#[tokio::test]
async fn an_evicted_token_kills_what_depended_on_it() {
    for name in ["k", "t", "", "d"] {
        let server = RedisServer::start().await;
        let (backend, target, found) = (direct(&server), tagged("k", &["t"]), tags(&["d"]));
        let lease = backend.lead_with(&target, &found).await;
        let stored = backend
            .store_with(&target, &lease, "old", None, &found)
            .await;
        assert_eq!(stored, Stored::Landed(None));
        assert_eq!(backend.served(&target).await.as_deref(), Some("old"));
        evict(&mut server.connection().await, &token(name)).await;
        assert_eq!(backend.served(&target).await, None, "without {name:?}");
        // Somebody mints it anew: still another token.
        backend.lead_with(&target, &found).await;
        assert_eq!(backend.served(&target).await, None, "with a new {name:?}");
    }
}

#[tokio::test]
async fn flushall_between_ticket_and_store_refuses_the_store() {
    let server = RedisServer::start().await;
    let (backend, target) = (direct(&server), tagged("k", &["t"]));
    let lease = backend.lead(&target).await;
    let mut raw = server.connection().await;
    let () = cmd("FLUSHALL").query_async(&mut raw).await.unwrap();
    assert_eq!(
        backend.store(&target, &lease, "old").await,
        Stored::LeaseLost
    );
    assert_eq!(backend.served(&target).await, None);
    backend.fill(&target, "new").await;
    assert_eq!(backend.served(&target).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn flushall_between_ticket_and_store_refuses_it_also_when_another_leads_by_then() {
    let server = RedisServer::start().await;
    let (backend, target) = (direct(&server), tagged("k", &["t"]));
    let lease = backend.lead(&target).await;
    let mut raw = server.connection().await;
    let () = cmd("FLUSHALL").query_async(&mut raw).await.unwrap();
    let new = backend.lead(&target).await;
    assert_eq!(
        backend.store(&target, &lease, "old").await,
        Stored::LeaseLost
    );
    assert_eq!(
        backend.store(&target, &new, "new").await,
        Stored::Landed(None)
    );
    assert_eq!(backend.served(&target).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn flushall_between_store_and_lookup_is_a_miss() {
    let server = RedisServer::start().await;
    let (backend, target) = (direct(&server), tagged("k", &["t"]));
    backend.fill(&target, "old").await;
    let mut raw = server.connection().await;
    let () = cmd("FLUSHALL").query_async(&mut raw).await.unwrap();
    assert_eq!(backend.served(&target).await, None);
    backend.fill(&target, "new").await;
    assert_eq!(backend.served(&target).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn an_evicted_clock_makes_the_namespace_cold_and_no_more() {
    let server = RedisServer::start().await;
    let (backend, target) = (direct(&server), tagged("k", &["t"]));
    backend.fill(&target, "old").await;
    evict(&mut server.connection().await, "{n}:clock").await;
    // A lookup reads no clock; the next ticket begins a new life.
    backend.lead(&page("other")).await;
    assert_eq!(backend.served(&target).await, None);
    backend.fill(&target, "new").await;
    assert_eq!(backend.served(&target).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn an_evicted_entry_or_lease_is_a_miss_and_can_be_filled() {
    let server = RedisServer::start().await;
    let (backend, target) = (direct(&server), page("k"));
    let mut raw = server.connection().await;
    for kind in ["e", "l"] {
        let lease = backend.lead(&target).await;
        if kind == "e" {
            backend.store(&target, &lease, "body").await;
        }
        let names: Vec<String> = cmd("KEYS")
            .arg(format!("{{n}}:{kind}:*"))
            .query_async(&mut raw)
            .await
            .unwrap();
        assert_eq!(names.len(), 1);
        evict(&mut raw, &names[0]).await;
        assert_eq!(backend.served(&target).await, None);
    }
    backend.fill(&target, "body").await;
    assert_eq!(backend.served(&target).await.as_deref(), Some("body"));
}
