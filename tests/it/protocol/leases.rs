//! Schedule 4: who may fill an entry, and what becomes of those who may no longer.

use smart_cache_tests::harness::RedisServer;

use super::client::{Client, Page, Stored, Ticket};

async fn two_clients(server: &RedisServer) -> (Client, Client, Page) {
    let first = Client::of(server).await;
    let second = first.another(server).await;
    (first, second, Page::new("page", &["tag"]))
}

/// What Redis does when a lease's time is up.
async fn expire_lease(client: &mut Client, page: &Page) {
    let lease = client.lease(page);
    client.lose(&lease).await;
}

#[tokio::test]
async fn only_one_of_two_readers_is_granted_the_lease() {
    let server = RedisServer::start().await;
    let (mut first, mut second, page) = two_clients(&server).await;
    let grant = first.ticket(&page).await.granted();
    assert_eq!(second.ticket(&page).await, Ticket::Busy);
    assert_eq!(
        first.store(&page, &grant, "good").await,
        Stored::Yes { ttl: 0 }
    );
    assert_eq!(
        second.ticket(&page).await,
        Ticket::Filled("good".to_owned())
    );
}

#[tokio::test]
async fn a_ticket_without_a_lease_runs_and_stores_nothing() {
    let server = RedisServer::start().await;
    let (mut client, _, page) = two_clients(&server).await;
    client.settings.lease_ms = 0;
    assert_eq!(client.ticket(&page).await, Ticket::Run);
}

#[tokio::test]
async fn a_clear_frees_the_lease_for_those_who_come_after_it() {
    let server = RedisServer::start().await;
    let (mut first, mut second, page) = two_clients(&server).await;
    let old = first.ticket(&page).await.granted();
    second.clear(&["page"]).await;
    // It must not wait for an answer that can no longer be stored.
    let new = second.ticket(&page).await.granted();
    assert_eq!(
        second.store(&page, &new, "new").await,
        Stored::Yes { ttl: 0 }
    );
    assert_eq!(first.store(&page, &old, "old").await, Stored::LeaseLost);
    assert_eq!(first.served(&page).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn after_the_lease_expired_the_second_holder_stores_first() {
    let server = RedisServer::start().await;
    let (mut first, mut second, page) = two_clients(&server).await;
    let lost = first.ticket(&page).await.granted();
    expire_lease(&mut first, &page).await;
    let held = second.ticket(&page).await.granted();
    assert_eq!(
        second.store(&page, &held, "second").await,
        Stored::Yes { ttl: 0 }
    );
    assert_eq!(first.store(&page, &lost, "first").await, Stored::LeaseLost);
    assert_eq!(first.served(&page).await.as_deref(), Some("second"));
}

#[tokio::test]
async fn after_the_lease_expired_the_first_holder_stores_first() {
    let server = RedisServer::start().await;
    let (mut first, mut second, page) = two_clients(&server).await;
    let lost = first.ticket(&page).await.granted();
    expire_lease(&mut first, &page).await;
    let held = second.ticket(&page).await.granted();
    assert_eq!(first.store(&page, &lost, "first").await, Stored::LeaseLost);
    assert_eq!(
        second.store(&page, &held, "second").await,
        Stored::Yes { ttl: 0 }
    );
    assert_eq!(first.served(&page).await.as_deref(), Some("second"));
}

#[tokio::test]
async fn renew_keeps_one_holder() {
    let server = RedisServer::start().await;
    let (mut first, mut second, page) = two_clients(&server).await;
    let lost = first.ticket(&page).await.granted();
    assert!(first.renew(&page, &lost).await);
    assert_eq!(second.ticket(&page).await, Ticket::Busy);

    expire_lease(&mut first, &page).await;
    assert!(
        !first.renew(&page, &lost).await,
        "an expired lease is not revived"
    );
    let held = second.ticket(&page).await.granted();
    assert!(
        !first.renew(&page, &lost).await,
        "another's lease is not prolonged"
    );
    assert!(second.renew(&page, &held).await);
    assert_eq!(first.ticket(&page).await, Ticket::Busy);
}

#[tokio::test]
async fn renew_sets_the_time_that_is_left() {
    let server = RedisServer::start().await;
    let (mut client, _, page) = two_clients(&server).await;
    client.settings.lease_ms = 1_000_000;
    let grant = client.ticket(&page).await.granted();
    let lease = client.lease(&page);
    client.settings.lease_ms = 9_000_000;
    assert!(client.renew(&page, &grant).await);
    assert!(client.ttl(&lease).await > 1_000_000);
}

#[tokio::test]
async fn release_frees_ones_own_lease_and_no_others() {
    let server = RedisServer::start().await;
    let (mut first, mut second, page) = two_clients(&server).await;
    let lost = first.ticket(&page).await.granted();
    expire_lease(&mut first, &page).await;
    let held = second.ticket(&page).await.granted();
    assert!(!first.release(&page, &lost).await);
    assert_eq!(first.ticket(&page).await, Ticket::Busy);
    assert!(second.release(&page, &held).await);
    assert!(matches!(first.ticket(&page).await, Ticket::Granted(_)));
}

#[tokio::test]
async fn a_released_lease_can_store_no_more() {
    let server = RedisServer::start().await;
    let (mut client, _, page) = two_clients(&server).await;
    let grant = client.ticket(&page).await.granted();
    assert!(client.release(&page, &grant).await);
    assert_eq!(client.store(&page, &grant, "late").await, Stored::LeaseLost);
    assert_eq!(client.served(&page).await, None);
}

#[tokio::test]
async fn the_variants_of_a_key_are_bounded() {
    let server = RedisServer::start().await;
    let (mut client, _, page) = two_clients(&server).await;
    client.settings.variants = 3;
    let variants: Vec<Page> = (0..10)
        .map(|n| Page {
            id: format!("page/get/{n}"),
            ..page.clone()
        })
        .collect();
    for variant in &variants {
        assert_eq!(client.fill(variant, "good").await, Stored::Yes { ttl: 0 });
        // Filling one that is indexed already costs no other one its place.
        assert_eq!(client.served(variant).await.as_deref(), Some("good"));
    }
    let index = format!("{}n:v1:page", client.token("").trim_end_matches("t:"));
    let indexed: usize = client.run(redis::Cmd::scard(index)).await.unwrap();
    assert_eq!(indexed, 3);
}
