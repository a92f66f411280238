//! Schedule 13: a writer marks what it is about to change, so that its death leaves nothing stale.

use smart_cache_tests::harness::RedisServer;

use super::client::{Client, NOON, Page, Stored, Ticket};

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
    assert_eq!(
        client.ticket(&page).await,
        Ticket::Held,
        "the clear took the mark, and the writes are open"
    );
    client.unhold("page", "a").await;
    assert_eq!(client.ticket(&page).await, Ticket::Held);
    // The second writer commits and dies.
    client.expire_holds("page").await;
    assert_eq!(client.served(&page).await, None);
    assert_eq!(client.fill(&page, "new").await, Stored::Yes { ttl: 0 });
}

#[tokio::test]
async fn a_plain_clear_does_not_end_a_hold_and_the_ticket_marks_the_key_again() {
    let server = RedisServer::start().await;
    let (mut client, page) = client_and_page(&server).await;
    for held in ["page", "tag"] {
        client.hold(held, "a", LONG).await;
        client.clear(&[held]).await;
        let token = client.token(held);
        assert_eq!(client.value(&token).await, None, "a clear is one DEL");
        assert_eq!(client.ticket(&page).await, Ticket::Held);
        assert_eq!(client.value(&token).await.as_deref(), Some("!"));
        let left = client.ttl(&token).await;
        assert!(
            (LONG as i64 - 60_000..=LONG as i64).contains(&left),
            "{left}"
        );
        client.unhold(held, "a").await;
        assert_eq!(client.fill(&page, "new").await, Stored::Yes { ttl: 0 });
    }
}

/// The mark can be evicted as well, and the namespace can begin a new life.
#[tokio::test]
async fn nothing_that_takes_the_mark_alone_ends_a_hold() {
    let server = RedisServer::start().await;
    let (mut client, page) = client_and_page(&server).await;
    client.hold("page", "a", LONG).await;
    let (token, clock) = (client.token("page"), client.clock());
    client.lose(&token).await;
    client.lose(&clock).await;
    assert_eq!(client.ticket(&page).await, Ticket::Held);
    client.clear(&["", "page"]).await;
    assert_eq!(client.ticket(&page).await, Ticket::Held);
    client.unhold("page", "a").await;
    assert_eq!(client.fill(&page, "new").await, Stored::Yes { ttl: 0 });
}

#[tokio::test]
async fn a_hold_that_is_over_keeps_nobody_from_minting() {
    let server = RedisServer::start().await;
    let mut client = Client::with_test_time(&server).await;
    let page = Page::new("page", &["tag"]);
    assert_eq!(client.fill(&page, "old").await, Stored::Yes { ttl: 0 });
    client.hold("page", "a", 5_000).await;
    client.clear(&["page"]).await;
    client.set_time(NOON + 4_999_000).await;
    assert_eq!(client.ticket(&page).await, Ticket::Held);
    client.clear(&["page"]).await;
    client.set_time(NOON + 5_000_000).await;
    assert_eq!(client.fill(&page, "new").await, Stored::Yes { ttl: 0 });
}

/// The writer commits and dies, and somebody clears the key meanwhile.
#[tokio::test]
async fn a_plain_clear_during_a_hold_whose_writer_dies_leaves_nothing() {
    let server = RedisServer::start().await;
    let (mut client, page) = client_and_page(&server).await;
    client.hold("page", "a", LONG).await;
    client.clear(&["page"]).await;
    assert_eq!(client.ticket(&page).await, Ticket::Held);
    client.expire_holds("page").await;
    assert_eq!(client.fill(&page, "new").await, Stored::Yes { ttl: 0 });
}

#[tokio::test]
async fn a_tag_that_is_found_while_a_write_holds_it_is_not_minted() {
    let server = RedisServer::start().await;
    let (mut client, page) = client_and_page(&server).await;
    client.clear(&["page"]).await;
    let grant = client.ticket(&page).await.granted();
    client.hold("found", "a", LONG).await;
    client.clear(&["found"]).await;
    let stored = client.store_with(&page, &grant, &["found"], "old").await;
    assert_eq!(stored, Stored::TooYoung);
    let token = client.token("found");
    assert_eq!(client.value(&token).await.as_deref(), Some("!"));
    // The next request knows of no list, and its store is refused as well.
    let grant = client.ticket(&page).await.granted();
    let stored = client.store_with(&page, &grant, &["found"], "old").await;
    assert_eq!(stored, Stored::TooYoung);
    client.unhold("found", "a").await;
    assert_eq!(client.value(&token).await, None);
}

#[tokio::test]
async fn something_else_in_the_place_of_the_holds_is_no_hold() {
    let server = RedisServer::start().await;
    let (mut client, page) = client_and_page(&server).await;
    let token = client.token("page");
    let foreign = token.replace("t:page", "h:page");
    client
        .run::<()>(redis::Cmd::set(&foreign, "text"))
        .await
        .unwrap();
    client.clear(&["page"]).await;
    assert_eq!(client.fill(&page, "new").await, Stored::Yes { ttl: 0 });
}
