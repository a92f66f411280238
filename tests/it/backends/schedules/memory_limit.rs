//! Schedule 11: Redis is full and evicts nothing.

use redis::cmd;
use smart_cache::backend::Stored;
use smart_cache_tests::harness::RedisServer;

use super::super::stage::{Subject, page, tagged};
use super::direct;

async fn limit(server: &RedisServer, bytes: &str) {
    let () = cmd("CONFIG")
        .arg("SET")
        .arg("maxmemory")
        .arg(bytes)
        .query_async(&mut server.connection().await)
        .await
        .unwrap();
}

/// One entry is there, one lease is held, and from now on nothing more fits.
async fn full() -> (RedisServer, Subject) {
    let server = RedisServer::options()
        .memory("0", "noeviction")
        .start()
        .await;
    let backend = direct(&server);
    backend.fill(&tagged("k", &["t"]), "there").await;
    (server, backend)
}

#[tokio::test]
async fn a_full_server_refuses_tickets_with_its_own_words() {
    let (server, backend) = full().await;
    limit(&server, "1").await;
    let why = backend.ticket(&page("new")).await.unwrap_err();
    assert!(why.to_string().contains("OOM"), "{why}");
    limit(&server, "0").await;
    backend.fill(&page("new"), "new").await;
}

/// Its script gives the lease back before it writes, so it may finish what it began: a full server
/// takes the stores whose tickets it gave while there was room, and no more than those.
#[tokio::test]
async fn a_store_whose_server_became_full_is_right_if_it_lands() {
    let (server, backend) = full().await;
    let (kept, cleared) = (page("kept"), page("cleared"));
    let leases = (backend.lead(&kept).await, backend.lead(&cleared).await);
    limit(&server, "1").await;
    backend.clear(&["cleared"]).await;
    assert_eq!(
        backend.store(&cleared, &leases.1, "old").await,
        Stored::Cleared
    );
    let stored = backend.try_store(&kept, &leases.0, "kept").await.is_ok();
    assert_eq!(backend.served(&cleared).await, None);
    assert_eq!(
        backend.served(&kept).await.as_deref(),
        stored.then_some("kept")
    );
}

#[tokio::test]
async fn a_full_server_still_serves_and_still_clears() {
    let (server, backend) = full().await;
    limit(&server, "1").await;
    let target = tagged("k", &["t"]);
    assert_eq!(backend.served(&target).await.as_deref(), Some("there"));
    backend.clear(&["t"]).await;
    assert_eq!(backend.served(&target).await, None);
    limit(&server, "0").await;
    assert_eq!(backend.served(&target).await, None);
    backend.fill(&target, "new").await;
    assert_eq!(backend.served(&target).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_full_server_clears_everything_and_recovers_with_memory() {
    let (server, backend) = full().await;
    let lease = backend.lead(&page("late")).await;
    limit(&server, "1").await;
    backend.0.clear_all().await.unwrap();
    limit(&server, "0").await;
    let target = tagged("k", &["t"]);
    assert_eq!(backend.served(&target).await, None);
    let stored = backend.store(&page("late"), &lease, "late").await;
    assert_eq!(stored, Stored::Cleared);
    backend.fill(&target, "new").await;
    assert_eq!(backend.served(&target).await.as_deref(), Some("new"));
}
