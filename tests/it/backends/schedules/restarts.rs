//! Schedule 7: the server comes back with the data of yesterday, or another takes its place.
//!
//! Each accident is also enacted with an identity that does not change, as where a careless
//! operator sets `SMART_REDIS_SERVER_ID`: there it *must* serve what was cleared, which proves that
//! the accident is real and that the identity alone prevents it.

use smart_cache::backend::RedisOptions;
use smart_cache_tests::harness::{Chaos, RedisServer, eventually};

use super::super::stage::{Subject, options, page};
use super::NAMESPACE;

/// Whether the backend learns who the server is, or is told something that is always the same.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Identity {
    Read,
    Fixed,
}

impl Identity {
    fn options(self) -> RedisOptions {
        let mut options = options(NAMESPACE);
        if self == Self::Fixed {
            options.server_id = Some("always".to_owned());
        }
        options
    }
}

async fn check_cleared_stays_cleared(backend: &Subject, identity: Identity) {
    let served = backend.served_when_back(&page("cleared")).await;
    match identity {
        Identity::Fixed => assert_eq!(served.as_deref(), Some("old"), "the danger is real"),
        Identity::Read => {
            assert_eq!(served, None);
            backend.fill(&page("cleared"), "new").await;
            assert_eq!(
                backend.served(&page("cleared")).await.as_deref(),
                Some("new")
            );
        }
    }
}

async fn check_restart_on_an_old_dump(identity: Identity) {
    let mut server = RedisServer::start().await;
    let backend = Subject::at(&server.url(), identity.options());
    backend.fill(&page("cleared"), "old").await;
    server.save().await;
    backend.clear(&["cleared"]).await;
    assert_eq!(backend.served(&page("cleared")).await, None);
    server.kill();
    server.restart().await;
    check_cleared_stays_cleared(&backend, identity).await;
}

#[tokio::test]
async fn a_restart_on_an_old_dump_revives_nothing() {
    check_restart_on_an_old_dump(Identity::Read).await;
}

#[tokio::test]
async fn a_restart_on_an_old_dump_would_revive_it_without_an_identity() {
    check_restart_on_an_old_dump(Identity::Fixed).await;
}

#[tokio::test]
async fn a_store_from_before_a_restart_does_not_land_after_it() {
    let mut server = RedisServer::start().await;
    let backend = Subject::at(&server.url(), options(NAMESPACE));
    let target = page("k");
    let lease = backend.lead(&target).await;
    server.save().await;
    backend.clear(&["k"]).await;
    server.kill();
    server.restart().await;
    assert_eq!(backend.served_when_back(&target).await, None);
    // The dump brought lease and tokens back, so the store itself may land: it is never served.
    let _ = backend.try_store(&target, &lease, "old").await;
    assert_eq!(backend.served(&target).await, None);
    backend.0.clear_all().await.unwrap();
    backend.fill(&target, "new").await;
    assert_eq!(backend.served(&target).await.as_deref(), Some("new"));
}

async fn check_promotion_of_a_lagging_replica(identity: Identity) {
    let mut master = RedisServer::start().await;
    let replica = RedisServer::options().replica_of(&master).start().await;
    let chaos = Chaos::in_front_of(master.address()).await;
    let backend = Subject::at(&chaos.url(), identity.options());
    backend.fill(&page("cleared"), "old").await;
    replica.synced(&master).await;
    stop_replication(&replica).await;
    backend.clear(&["cleared"]).await;
    master.kill();
    assert_eq!(replica.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    chaos.redirect(replica.address());
    check_cleared_stays_cleared(&backend, identity).await;
}

#[tokio::test]
async fn the_promotion_of_a_lagging_replica_revives_nothing() {
    check_promotion_of_a_lagging_replica(Identity::Read).await;
}

#[tokio::test]
async fn the_promotion_of_a_lagging_replica_would_revive_it_without_an_identity() {
    check_promotion_of_a_lagging_replica(Identity::Fixed).await;
}

/// From here on the replica hears nothing: its master is said to be where nobody listens.
async fn stop_replication(replica: &RedisServer) {
    assert_eq!(replica.cli(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    eventually("the link to be down", async || {
        (replica.info("master_link_status").await == "down").then_some(())
    })
    .await;
}

/// The server takes over another's old data and is promoted again, and no connection breaks.
async fn check_role_change_that_keeps_connections(identity: Identity) {
    let server = RedisServer::start().await;
    let lagging = RedisServer::options().replica_of(&server).start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let mut options = identity.options();
    // Long enough that only the heartbeat after the change can have noticed it.
    options.heartbeat = std::time::Duration::from_millis(50);
    let backend = Subject::at(&chaos.url(), options);
    backend.fill(&page("cleared"), "old").await;
    lagging.synced(&server).await;
    assert_eq!(lagging.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    backend.clear(&["cleared"]).await;

    let port = lagging.port().to_string();
    assert_eq!(server.cli(&["REPLICAOF", "127.0.0.1", &port]), "OK");
    server.synced(&lagging).await;
    assert_eq!(server.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    if identity == Identity::Read {
        // What may be served is bounded by one heartbeat; after it, nothing ever again.
        eventually("the heartbeat to notice", async || {
            let served = backend.served_when_back(&page("cleared")).await;
            served.is_none().then_some(())
        })
        .await;
        for _ in 0..50 {
            assert_eq!(backend.served_when_back(&page("cleared")).await, None);
        }
    }
    check_cleared_stays_cleared(&backend, identity).await;
}

#[tokio::test]
async fn a_role_change_that_keeps_connections_revives_nothing_beyond_a_heartbeat() {
    check_role_change_that_keeps_connections(Identity::Read).await;
}

#[tokio::test]
async fn a_role_change_that_keeps_connections_would_revive_it_without_an_identity() {
    check_role_change_that_keeps_connections(Identity::Fixed).await;
}

#[tokio::test]
async fn a_replica_is_never_read_from() {
    let master = RedisServer::start().await;
    let filler = Subject::at(&master.url(), options(NAMESPACE));
    filler.fill(&page("k"), "body").await;
    let replica = RedisServer::options().replica_of(&master).start().await;
    replica.synced(&master).await;
    let backend = Subject::at(&replica.url(), options(NAMESPACE));
    let why = backend.lookup(&page("k")).await.unwrap_err();
    assert!(why.to_string().contains("replica"), "{why}");
}
