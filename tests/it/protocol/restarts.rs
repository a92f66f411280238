//! Schedule 7: Redis comes back with the data of yesterday.

use redis::cmd;
use smart_cache_tests::harness::{RedisServer, eventually};

use super::client::{Client, Page, Stored, Ticket, server_id};

/// The same process after it noticed that its connection broke: new connection, new handshake.
async fn reconnected(client: &Client, server: &RedisServer) -> Client {
    let mut client = client.another(server).await;
    client.server_id = server_id(&mut client.connection).await;
    client
}

/// The same process had it not asked who answers: what must never be built.
async fn careless(client: &Client, server: &RedisServer) -> Client {
    client.another(server).await
}

/// Fills the page the way that a client takes which is answered `I`.
async fn adopt_and_fill(client: &mut Client, page: &Page, body: &str) {
    let Ticket::Foreign(token) = client.ticket(page).await else {
        panic!("the namespace is another's")
    };
    assert!(client.adopt(&token).await);
    assert_eq!(client.fill(page, body).await, Stored::Yes { ttl: 0 });
    assert_eq!(client.served(page).await.as_deref(), Some(body));
}

#[tokio::test]
async fn a_restart_from_an_old_snapshot_does_not_revive_what_was_cleared() {
    let mut server = RedisServer::start().await;
    let (mut client, page) = (Client::of(&server).await, Page::new("page", &[]));
    assert_eq!(client.fill(&page, "old").await, Stored::Yes { ttl: 0 });
    server.save().await;
    client.clear(&["page"]).await;
    server.kill();
    server.restart().await;

    assert_eq!(
        careless(&client, &server)
            .await
            .served(&page)
            .await
            .as_deref(),
        Some("old"),
        "the danger is real"
    );
    let mut client = reconnected(&client, &server).await;
    assert_eq!(client.served(&page).await, None);
    adopt_and_fill(&mut client, &page, "new").await;
}

#[tokio::test]
async fn a_lagging_replica_that_is_promoted_does_not_revive_what_was_cleared() {
    let mut master = RedisServer::start().await;
    let replica = RedisServer::options().replica_of(&master).start().await;
    let (mut client, page) = (Client::of(&master).await, Page::new("page", &[]));
    assert_eq!(client.fill(&page, "old").await, Stored::Yes { ttl: 0 });
    replica.synced(&master).await;
    // From here on it hears nothing: its master is said to be where nobody listens.
    assert_eq!(replica.cli(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    eventually("the link to be down", async || {
        (replica.info("master_link_status").await == "down").then_some(())
    })
    .await;
    client.clear(&["page"]).await;
    master.kill();
    assert_eq!(replica.cli(&["REPLICAOF", "NO", "ONE"]), "OK");

    assert_eq!(
        careless(&client, &replica)
            .await
            .served(&page)
            .await
            .as_deref(),
        Some("old"),
        "the danger is real"
    );
    let mut client = reconnected(&client, &replica).await;
    assert_eq!(client.served(&page).await, None);
    adopt_and_fill(&mut client, &page, "new").await;
}

#[tokio::test]
async fn a_promotion_changes_the_id_on_a_connection_that_stays() {
    let master = RedisServer::start().await;
    let replica = RedisServer::options().replica_of(&master).start().await;
    replica.synced(&master).await;
    let mut connection = replica.connection().await;
    let before = server_id(&mut connection).await;
    cmd("REPLICAOF")
        .arg("NO")
        .arg("ONE")
        .query_async::<()>(&mut connection)
        .await
        .unwrap();
    assert_ne!(server_id(&mut connection).await, before);
}

#[tokio::test]
async fn adopt_does_nothing_once_another_has_adopted() {
    let server = RedisServer::start().await;
    let (mut first, page) = (Client::of(&server).await, Page::new("page", &[]));
    assert_eq!(first.fill(&page, "old").await, Stored::Yes { ttl: 0 });
    first.server_id = "another".to_owned();
    let mut second = first.another(&server).await;
    let Ticket::Foreign(seen) = second.ticket(&page).await else {
        panic!("the namespace is another's")
    };
    adopt_and_fill(&mut first, &page, "new").await;
    assert!(!second.adopt(&seen).await);
    assert_eq!(second.served(&page).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn two_connections_with_two_ids_never_serve_each_others_answers() {
    let server = RedisServer::start().await;
    let (mut first, page) = (Client::of(&server).await, Page::new("page", &[]));
    let mut second = first.another(&server).await;
    second.server_id = "another".to_owned();
    assert_eq!(first.fill(&page, "first").await, Stored::Yes { ttl: 0 });
    for round in 0..3 {
        assert_eq!(second.served(&page).await, None);
        adopt_and_fill(&mut second, &page, &format!("second {round}")).await;
        assert_eq!(first.served(&page).await, None);
        adopt_and_fill(&mut first, &page, &format!("first {round}")).await;
    }
}

#[tokio::test]
async fn a_restart_without_data_is_a_cold_start() {
    let mut server = RedisServer::start().await;
    let (mut client, page) = (Client::of(&server).await, Page::new("page", &[]));
    assert_eq!(client.fill(&page, "old").await, Stored::Yes { ttl: 0 });
    server.restart().await;
    let mut client = reconnected(&client, &server).await;
    assert_eq!(client.served(&page).await, None);
    assert_eq!(client.fill(&page, "new").await, Stored::Yes { ttl: 0 });
}

#[tokio::test]
async fn an_append_only_file_brings_back_the_clear_too() {
    let mut server = RedisServer::options().append_only().start().await;
    let (mut client, page) = (Client::of(&server).await, Page::new("page", &[]));
    assert_eq!(client.fill(&page, "old").await, Stored::Yes { ttl: 0 });
    client.clear(&["page"]).await;
    server.kill();
    server.restart().await;
    assert_eq!(careless(&client, &server).await.served(&page).await, None);
    assert_eq!(
        reconnected(&client, &server).await.served(&page).await,
        None
    );
}
