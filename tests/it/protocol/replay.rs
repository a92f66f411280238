//! Schedules 5 and 6: what the network delivers late, twice, or without an answer.

use redis::aio::MultiplexedConnection;
use smart_cache_tests::harness::{Chaos, Loss, RedisServer, namespace};

use super::client::{Client, Page, Stored, Ticket, Time, nonce, server_id};

async fn through(chaos: &Chaos) -> MultiplexedConnection {
    let client = redis::Client::open(chaos.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// A client whose connection goes through `chaos`, and one that is directly connected.
async fn near_and_far(server: &RedisServer, chaos: &Chaos) -> (Client, Client, Page) {
    let mut connection = through(chaos).await;
    let id = server_id(&mut connection).await;
    let far = Client::on(connection, &namespace(), id, Time::Server);
    let near = far.another(server).await;
    (near, far, Page::new("page", &[]))
}

#[tokio::test]
async fn a_ticket_that_is_executed_twice_does_not_revive_what_was_cleared_between() {
    let server = RedisServer::start().await;
    // The clock stands still: only the stamp can tell the two tokens apart.
    let mut client = Client::with_test_time(&server).await;
    let (page, nonce) = (Page::new("page", &[]), nonce());
    let token = client.token("page");

    let first = client.ticket_with(&page, &nonce).await.granted();
    let minted = client.value(&token).await;
    assert_eq!(
        client.store(&page, &first, "old").await,
        Stored::Yes { ttl: 0 }
    );
    client.clear(&["page"]).await;

    let again = client.ticket_with(&page, &nonce).await.granted();
    assert_ne!(client.value(&token).await, minted);
    assert_eq!(client.served(&page).await, None);
    assert_eq!(client.store(&page, &first, "old").await, Stored::LeaseLost);
    assert_eq!(
        client.store(&page, &again, "new").await,
        Stored::Yes { ttl: 0 }
    );
}

#[tokio::test]
async fn a_ticket_that_is_executed_twice_is_granted_its_own_lease_again() {
    let server = RedisServer::start().await;
    let (mut client, page, nonce) = (Client::of(&server).await, Page::new("page", &[]), nonce());
    let mut other = client.another(&server).await;
    client.ticket_with(&page, &nonce).await.granted();
    let again = client.ticket_with(&page, &nonce).await.granted();
    assert_eq!(other.ticket(&page).await, Ticket::Busy);
    assert_eq!(
        client.store(&page, &again, "good").await,
        Stored::Yes { ttl: 0 }
    );
}

#[tokio::test]
async fn a_ticket_that_arrives_twice_around_anothers_store_hands_out_that_store() {
    let server = RedisServer::start().await;
    let (mut client, page, nonce) = (Client::of(&server).await, Page::new("page", &[]), nonce());
    let first = client.ticket_with(&page, &nonce).await.granted();
    let lease = client.lease(&page);
    client.lose(&lease).await;
    assert_eq!(client.fill(&page, "others").await, Stored::Yes { ttl: 0 });
    assert_eq!(
        client.ticket_with(&page, &nonce).await,
        Ticket::Filled("others".to_owned())
    );
    assert_eq!(client.store(&page, &first, "mine").await, Stored::LeaseLost);
}

#[tokio::test]
async fn a_store_that_is_delivered_twice_stores_once() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let (mut near, mut far, page) = near_and_far(&server, &chaos).await;
    let store = chaos.capture("the old body");
    let grant = far.ticket(&page).await.granted();
    assert_eq!(
        far.store(&page, &grant, "the old body").await,
        Stored::Yes { ttl: 0 }
    );
    let store = store.taken().await;

    assert_eq!(store.deliver().await, b"*1\r\n:0\r\n");
    assert_eq!(near.served(&page).await.as_deref(), Some("the old body"));

    near.clear(&["page"]).await;
    assert_eq!(store.deliver().await, b"*1\r\n:0\r\n");
    assert_eq!(near.served(&page).await, None);

    assert_eq!(
        near.fill(&page, "the new body").await,
        Stored::Yes { ttl: 0 }
    );
    assert_eq!(store.deliver().await, b"*1\r\n:0\r\n");
    assert_eq!(near.served(&page).await.as_deref(), Some("the new body"));
}

#[tokio::test]
async fn a_store_that_is_on_its_way_during_a_clear_is_refused() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let (mut near, mut far, page) = near_and_far(&server, &chaos).await;
    let grant = far.ticket(&page).await.granted();
    let mut held = chaos.hold("the old body");
    let storing = {
        let (mut far, page) = (far.clone(), page.clone());
        tokio::spawn(async move { far.store(&page, &grant, "the old body").await })
    };
    held.arrived().await;
    near.clear(&["page"]).await;
    held.release();
    assert_eq!(storing.await.unwrap(), Stored::Cleared);
    assert_eq!(near.served(&page).await, None);
}

#[tokio::test]
async fn a_store_whose_reply_is_lost_is_either_good_or_gone() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let (mut near, mut far, page) = near_and_far(&server, &chaos).await;
    // So that the script is known, and its only command is the one whose reply gets lost.
    assert_eq!(
        near.fill(&Page::new("other", &[]), "x").await,
        Stored::Yes { ttl: 0 }
    );
    let grant = far.ticket(&page).await.granted();
    chaos.lose_reply_of("the body", Loss::Cut);
    assert!(far.try_store(&page, &grant, &[], "the body").await.is_err());
    assert_eq!(near.served(&page).await.as_deref(), Some("the body"));
    near.clear(&["page"]).await;
    assert_eq!(near.served(&page).await, None);
}

#[tokio::test]
async fn a_clear_whose_reply_is_lost_may_be_sent_again_after_a_new_fill() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let (mut near, mut far, page) = near_and_far(&server, &chaos).await;
    assert_eq!(near.fill(&page, "old").await, Stored::Yes { ttl: 0 });

    chaos.lose_reply_of("DEL", Loss::Cut);
    let token = far.token("page");
    assert!(far.run::<()>(redis::Cmd::del(&token)).await.is_err());
    assert_eq!(
        near.served(&page).await,
        None,
        "it was executed all the same"
    );

    assert_eq!(near.fill(&page, "new").await, Stored::Yes { ttl: 0 });
    far.connection = through(&chaos).await;
    far.clear(&["page"]).await;
    assert_eq!(
        near.served(&page).await,
        None,
        "one fill too many, and nothing worse"
    );
    assert_eq!(near.fill(&page, "new").await, Stored::Yes { ttl: 0 });
}
