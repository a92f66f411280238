//! Schedule 13: a writer marks what it is about to change, so that its death leaves nothing stale.

use smart_cache_tests::harness::RedisServer;

use super::client::{Client, Page, Stored, Ticket};

const LONG: u64 = 1_000_000;

async fn client_and_page(server: &RedisServer) -> (Client, Page) {
    let (mut client, page) = (Client::of(server).await, Page::new("page", &["tag"]));
    assert_eq!(client.fill(&page, "old").await, Stored::Yes { ttl: 0 });
    (client, page)
}

#[tokio::test]
async fn a_held_key_is_neither_served_nor_filled() {
    let server = RedisServer::start().await;
    let (mut client, page) = client_and_page(&server).await;
    for held in ["page", "tag"] {
        client.hold(held, "a", LONG).await;
        assert_eq!(client.served(&page).await, None);
        assert_eq!(client.ticket(&page).await, Ticket::Held);
        client.unhold(held, "a").await;
        assert_eq!(
            client.served(&page).await,
            None,
            "what was filled before the write stays cleared"
        );
        assert_eq!(client.fill(&page, "new").await, Stored::Yes { ttl: 0 });
    }
}

#[tokio::test]
async fn a_hold_during_the_handler_discards_the_answer() {
    let server = RedisServer::start().await;
    let (mut client, page) = client_and_page(&server).await;
    client.clear(&["page"]).await;
    let grant = client.ticket(&page).await.granted();
    client.hold("page", "a", LONG).await;
    assert_eq!(client.store(&page, &grant, "old").await, Stored::Cleared);
    client.unhold("page", "a").await;
    assert_eq!(client.served(&page).await, None);
}

#[tokio::test]
async fn the_hold_of_a_dead_writer_ends_by_itself() {
    let server = RedisServer::start().await;
    let (mut client, page) = client_and_page(&server).await;
    client.hold("page", "a", LONG).await;
    let token = client.token("page");
    let left = client.ttl(&token).await;
    assert!((1..=1_000_000).contains(&left), "{left} ms");
    client.expire_holds("page").await;
    assert_eq!(client.served(&page).await, None);
    assert_eq!(client.fill(&page, "new").await, Stored::Yes { ttl: 0 });
}

#[tokio::test]
async fn a_second_hold_never_shortens_the_first() {
    let server = RedisServer::start().await;
    let (mut client, _) = client_and_page(&server).await;
    client.hold("page", "a", LONG).await;
    client.hold("page", "b", 1_000).await;
    let token = client.token("page");
    assert!(client.ttl(&token).await > 1_000);
}

#[tokio::test]
async fn unhold_while_another_write_is_open_keeps_the_key_held() {
    let server = RedisServer::start().await;
    let (mut client, page) = client_and_page(&server).await;
    client.hold("page", "a", LONG).await;
    client.hold("page", "b", LONG).await;
    client.unhold("page", "a").await;
    assert_eq!(client.ticket(&page).await, Ticket::Held);
    // The same writer again changes nothing.
    client.unhold("page", "a").await;
    assert_eq!(client.ticket(&page).await, Ticket::Held);
    client.unhold("page", "b").await;
    assert_eq!(client.fill(&page, "new").await, Stored::Yes { ttl: 0 });
}

#[tokio::test]
async fn unhold_leaves_the_key_held_as_long_as_the_others_asked_for() {
    let server = RedisServer::start().await;
    let (mut client, _) = client_and_page(&server).await;
    client.hold("page", "a", LONG).await;
    client.hold("page", "b", 5_000).await;
    client.unhold("page", "a").await;
    let token = client.token("page");
    let left = client.ttl(&token).await;
    assert!((1..=5_000).contains(&left), "{left} ms");
}

#[tokio::test]
async fn two_holds_and_a_plain_clear_between_and_one_writer_dies() {
    let server = RedisServer::start().await;
    let (mut client, page) = client_and_page(&server).await;
    client.hold("page", "a", LONG).await;
    client.hold("page", "b", LONG).await;
    client.clear(&["page"]).await;
    // The clear took the mark away, so a reader fills with the row from before both commits.
    assert_eq!(client.fill(&page, "old").await, Stored::Yes { ttl: 0 });
    client.unhold("page", "a").await;
    assert_eq!(
        client.served(&page).await,
        None,
        "the release outlaws it and marks the key again"
    );
    assert_eq!(client.ticket(&page).await, Ticket::Held);
    // The second writer commits and dies.
    client.expire_holds("page").await;
    assert_eq!(client.served(&page).await, None);
    assert_eq!(client.fill(&page, "new").await, Stored::Yes { ttl: 0 });
}

#[tokio::test]
async fn a_plain_clear_ends_a_hold_early_and_the_release_still_outlaws_what_came_in() {
    let server = RedisServer::start().await;
    let (mut client, page) = client_and_page(&server).await;
    client.hold("page", "a", LONG).await;
    client.clear(&["page"]).await;
    assert_eq!(client.fill(&page, "old").await, Stored::Yes { ttl: 0 });
    client.unhold("page", "a").await;
    assert_eq!(client.served(&page).await, None);
}

/// The one schedule that a hold does not cover: its mark was cleared by another, and its writer
/// dies before it can release. What remains is settle, counted from that clear.
#[tokio::test]
async fn a_plain_clear_during_a_hold_whose_writer_dies_is_left_to_settle() {
    let server = RedisServer::start().await;
    let (mut client, page) = client_and_page(&server).await;
    client.settings.settle_ms = 60_000;
    client.hold("page", "a", LONG).await;
    client.clear(&["page"]).await;
    assert_eq!(client.fill(&page, "old").await, Stored::Yes { ttl: 60_000 });
    client.expire_holds("page").await;
    let hit = client.lookup(&page).await.unwrap();
    assert!(!hit.for_ever);
}
