//! The clock of a namespace, and what depends on how old a token is.

use smart_cache_tests::harness::RedisServer;

use super::client::{Client, NOON, Page, Stored, Ticket};

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3_600 * SECOND;

async fn client_and_page(server: &RedisServer) -> (Client, Page) {
    (
        Client::with_test_time(server).await,
        Page::new("page", &["tag"]),
    )
}

#[tokio::test]
async fn an_answer_stored_soon_after_a_clear_lives_for_settle() {
    let server = RedisServer::start().await;
    let (mut client, page) = client_and_page(&server).await;
    client.settings.settle_ms = 2_000;
    assert_eq!(
        client.fill(&page, "first").await,
        Stored::Yes { ttl: 2_000 }
    );
    let (entry, token) = (client.entry(&page), client.token("page"));
    assert!((1..=2_000).contains(&client.ttl(&entry).await));
    assert!(
        client.ttl(&token).await > 0,
        "an entry that settles makes no token permanent"
    );

    client.lose(&entry).await;
    // Each of the three tokens has a stamp of its own.
    client.set_time(NOON + 2 * SECOND + 2).await;
    assert_eq!(client.fill(&page, "second").await, Stored::Yes { ttl: 0 });
    assert_eq!(client.ttl(&entry).await, -1);
    assert_eq!(
        client.ttl(&token).await,
        -1,
        "it must live as long as the entry"
    );
}

#[tokio::test]
async fn the_youngest_of_all_tokens_decides_about_settle() {
    let server = RedisServer::start().await;
    let (mut client, page) = client_and_page(&server).await;
    client.settings.settle_ms = 2_000;
    assert_eq!(
        client.fill(&page, "first").await,
        Stored::Yes { ttl: 2_000 }
    );
    client.set_time(NOON + HOUR).await;
    client.clear(&["tag"]).await;
    let entry = client.entry(&page);
    client.lose(&entry).await;
    assert_eq!(
        client.fill(&page, "second").await,
        Stored::Yes { ttl: 2_000 }
    );
}

#[tokio::test]
async fn settle_is_counted_to_the_ticket_and_not_to_the_store() {
    let server = RedisServer::start().await;
    let (mut client, page) = client_and_page(&server).await;
    client.settings.settle_ms = 2_000;
    let grant = client.ticket(&page).await.granted();
    // A slow handler read its rows at the beginning; that it took long makes them no safer.
    client.set_time(NOON + HOUR).await;
    assert_eq!(
        client.store(&page, &grant, "slow").await,
        Stored::Yes { ttl: 2_000 }
    );
}

#[tokio::test]
async fn a_token_that_no_entry_uses_goes_by_itself() {
    let server = RedisServer::start().await;
    let (mut client, page) = client_and_page(&server).await;
    let _ = client.ticket(&page).await.granted();
    let (namespace, token) = (client.token(""), client.token("page"));
    assert!((1..=3_600_000).contains(&client.ttl(&token).await));
    assert_eq!(client.ttl(&namespace).await, -1);
}

#[tokio::test]
async fn stamps_grow_while_time_stands_still() {
    let server = RedisServer::start().await;
    let (mut client, page) = client_and_page(&server).await;
    let (token, mut last) = (client.token("page"), 0);
    for _ in 0..5 {
        let _ = client.ticket(&page).await.granted();
        let minted = client.value(&token).await.unwrap();
        let stamp: u64 = minted.rsplit(':').next().unwrap().parse().unwrap();
        assert!(stamp > last && stamp >= NOON);
        last = stamp;
        client.clear(&["page"]).await;
    }
}

#[tokio::test]
async fn a_small_step_back_of_time_keeps_the_namespace_warm() {
    let server = RedisServer::start().await;
    let (mut client, page) = client_and_page(&server).await;
    assert_eq!(client.fill(&page, "good").await, Stored::Yes { ttl: 0 });
    client.set_time(NOON - 10 * SECOND).await;
    assert_eq!(
        client.ticket(&page).await,
        Ticket::Filled("good".to_owned())
    );
}

#[tokio::test]
async fn a_clock_more_than_a_minute_ahead_begins_a_new_life() {
    let server = RedisServer::start().await;
    let (mut client, page) = client_and_page(&server).await;
    assert_eq!(client.fill(&page, "old life").await, Stored::Yes { ttl: 0 });
    let before = client.value(&client.token("")).await;
    client.set_time(NOON - HOUR).await;
    assert_eq!(client.fill(&page, "new life").await, Stored::Yes { ttl: 0 });
    assert_ne!(client.value(&client.token("")).await, before);
    assert_eq!(client.served(&page).await.as_deref(), Some("new life"));
}

#[tokio::test]
async fn a_lost_clock_begins_a_new_life() {
    let server = RedisServer::start().await;
    let (mut client, page) = client_and_page(&server).await;
    let grant = client.ticket(&page).await.granted();
    let (clock, namespace) = (client.clock(), client.token(""));
    let before = client.value(&namespace).await;
    client.lose(&clock).await;
    let other = Page::new("other", &[]);
    assert_eq!(client.fill(&other, "good").await, Stored::Yes { ttl: 0 });
    assert_ne!(client.value(&namespace).await, before);
    assert_eq!(
        client.store(&page, &grant, "old life").await,
        Stored::Cleared
    );
}

#[tokio::test]
async fn a_token_from_before_the_new_life_counts_as_missing() {
    let server = RedisServer::start().await;
    let (mut client, page) = client_and_page(&server).await;
    assert_eq!(client.fill(&page, "old").await, Stored::Yes { ttl: 0 });
    let token = client.token("page");
    let before = client.value(&token).await;
    client.set_time(NOON - HOUR).await;
    let _ = client.ticket(&page).await.granted();
    assert_ne!(
        client.value(&token).await,
        before,
        "its stamp is from a future that will come again"
    );
}

#[tokio::test]
async fn one_servers_id_is_not_the_beginning_of_anothers() {
    let server = RedisServer::start().await;
    let (mut client, page) = client_and_page(&server).await;
    assert_eq!(client.fill(&page, "good").await, Stored::Yes { ttl: 0 });
    client.server_id.pop();
    assert_eq!(client.served(&page).await, None);
    assert!(matches!(client.ticket(&page).await, Ticket::Foreign(_)));
}
