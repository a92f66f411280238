//! Schedule 12: tags that are known only once the handler has run.

use smart_cache_tests::harness::RedisServer;

use super::client::{Client, NOON, Page, Stored, Ticket};

const STORED: Stored = Stored::Yes { ttl: 0 };

fn list() -> Page {
    Page::new("list", &["lists"])
}

/// A client of a namespace in which the tag is in use, so that its token is an old one.
async fn with_used_tag(server: &RedisServer, tag: &str) -> Client {
    let mut client = Client::of(server).await;
    use_tag(&mut client, tag).await;
    client
}

async fn use_tag(client: &mut Client, tag: &str) {
    assert_eq!(client.fill(&Page::new(tag, &[]), "x").await, STORED);
}

#[tokio::test]
async fn a_tag_in_use_is_accepted_at_once() {
    let server = RedisServer::start().await;
    let (mut client, page) = (with_used_tag(&server, "product:7").await, list());
    let grant = client.ticket(&page).await.granted();
    assert_eq!(
        client
            .store_with(&page, &grant, &["product:7"], "good")
            .await,
        STORED
    );
    assert_eq!(client.served(&page).await.as_deref(), Some("good"));
}

#[tokio::test]
async fn a_tag_never_seen_is_refused_once_in_its_life() {
    let server = RedisServer::start().await;
    let (mut client, page) = (Client::of(&server).await, list());
    let grant = client.ticket(&page).await.granted();
    assert_eq!(
        client
            .store_with(&page, &grant, &["product:7"], "good")
            .await,
        Stored::TooYoung
    );
    for _ in 0..3 {
        let grant = client.ticket(&page).await.granted();
        assert_eq!(
            client
                .store_with(&page, &grant, &["product:7"], "good")
                .await,
            STORED
        );
        assert_eq!(client.served(&page).await.as_deref(), Some("good"));
        client.clear(&["product:7"]).await;
        assert_eq!(client.served(&page).await, None);
    }
}

#[tokio::test]
async fn a_tag_cleared_before_the_ticket_is_refused_and_then_accepted() {
    let server = RedisServer::start().await;
    let (mut client, page) = (with_used_tag(&server, "product:7").await, list());
    client.clear(&["product:7"]).await;
    let grant = client.ticket(&page).await.granted();
    assert_eq!(
        client
            .store_with(&page, &grant, &["product:7"], "good")
            .await,
        Stored::TooYoung
    );
    let grant = client.ticket(&page).await.granted();
    assert_eq!(
        client
            .store_with(&page, &grant, &["product:7"], "good")
            .await,
        STORED
    );
}

#[tokio::test]
async fn a_tag_cleared_during_the_handler_discards_the_answer() {
    let server = RedisServer::start().await;
    let (mut client, page) = (with_used_tag(&server, "product:7").await, list());
    let grant = client.ticket(&page).await.granted();
    client.clear(&["product:7"]).await;
    assert_eq!(
        client
            .store_with(&page, &grant, &["product:7"], "old")
            .await,
        Stored::TooYoung
    );
    assert_eq!(client.served(&page).await, None);
}

#[tokio::test]
async fn a_tag_cleared_during_the_handler_and_minted_by_another_reader_discards_the_answer() {
    let server = RedisServer::start().await;
    let (mut client, page) = (with_used_tag(&server, "product:7").await, list());
    let grant = client.ticket(&page).await.granted();
    client.clear(&["product:7"]).await;
    use_tag(&mut client, "product:7").await;
    assert_eq!(
        client
            .store_with(&page, &grant, &["product:7"], "old")
            .await,
        Stored::TooYoung
    );
    assert_eq!(client.served(&page).await, None);
}

#[tokio::test]
async fn a_tag_cleared_after_the_store_takes_the_entry_along() {
    let server = RedisServer::start().await;
    let (mut client, page) = (with_used_tag(&server, "product:7").await, list());
    let grant = client.ticket(&page).await.granted();
    assert_eq!(
        client
            .store_with(&page, &grant, &["product:7"], "old")
            .await,
        STORED
    );
    client.clear(&["product:7"]).await;
    assert_eq!(client.served(&page).await, None);
    // Also when another reader has minted the token again.
    use_tag(&mut client, "product:7").await;
    assert_eq!(client.served(&page).await, None);
}

#[tokio::test]
async fn a_ticket_never_hands_out_an_entry_whose_dynamic_tag_was_cleared() {
    let server = RedisServer::start().await;
    let (mut client, page) = (with_used_tag(&server, "product:7").await, list());
    let grant = client.ticket(&page).await.granted();
    assert_eq!(
        client
            .store_with(&page, &grant, &["product:7"], "old")
            .await,
        STORED
    );
    assert_eq!(client.ticket(&page).await, Ticket::Filled("old".to_owned()));
    client.clear(&["product:7"]).await;
    use_tag(&mut client, "product:7").await;
    // All static tokens are as they were, and nothing has to be minted: only the second digest differs.
    assert!(matches!(client.ticket(&page).await, Ticket::Granted(_)));
}

#[tokio::test]
async fn a_tag_evicted_during_the_handler_discards_the_answer() {
    let server = RedisServer::start().await;
    let (mut client, page) = (with_used_tag(&server, "product:7").await, list());
    let token = client.token("product:7");
    let grant = client.ticket(&page).await.granted();
    client.lose(&token).await;
    assert_eq!(
        client
            .store_with(&page, &grant, &["product:7"], "old")
            .await,
        Stored::TooYoung
    );
    assert!(
        client.value(&token).await.is_some(),
        "it was minted, for the next fill"
    );
}

#[tokio::test]
async fn a_tag_held_by_a_writer_is_refused_and_stays_held() {
    let server = RedisServer::start().await;
    let (mut client, page) = (with_used_tag(&server, "product:7").await, list());
    let grant = client.ticket(&page).await.granted();
    client.hold("product:7", "a", 1_000_000).await;
    assert_eq!(
        client
            .store_with(&page, &grant, &["product:7"], "old")
            .await,
        Stored::TooYoung
    );
    let token = client.token("product:7");
    assert_eq!(client.value(&token).await.as_deref(), Some("!"));
}

#[tokio::test]
async fn the_ticket_mints_what_the_dead_entry_listed() {
    let server = RedisServer::start().await;
    let (mut client, page) = (with_used_tag(&server, "product:7").await, list());
    let grant = client.ticket(&page).await.granted();
    assert_eq!(
        client
            .store_with(&page, &grant, &["product:7"], "old")
            .await,
        STORED
    );
    client.clear(&["product:7"]).await;
    let grant = client.ticket(&page).await.granted();
    assert_eq!(
        client
            .store_with(&page, &grant, &["product:7"], "new")
            .await,
        STORED
    );
    assert_eq!(client.served(&page).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn a_clear_after_the_ticket_minted_the_tag_still_discards_the_answer() {
    let server = RedisServer::start().await;
    let (mut client, page) = (with_used_tag(&server, "product:7").await, list());
    let grant = client.ticket(&page).await.granted();
    assert_eq!(
        client
            .store_with(&page, &grant, &["product:7"], "old")
            .await,
        STORED
    );
    client.clear(&["product:7"]).await;
    let grant = client.ticket(&page).await.granted();
    client.clear(&["product:7"]).await;
    use_tag(&mut client, "product:7").await;
    assert_eq!(
        client
            .store_with(&page, &grant, &["product:7"], "older")
            .await,
        Stored::TooYoung
    );
}

#[tokio::test]
async fn a_tag_that_is_static_anyway_is_not_listed_twice() {
    let server = RedisServer::start().await;
    let (mut client, page) = (Client::of(&server).await, list());
    let grant = client.ticket(&page).await.granted();
    assert_eq!(
        client
            .store_with(&page, &grant, &["lists", "list"], "good")
            .await,
        STORED
    );
    assert_eq!(client.served(&page).await.as_deref(), Some("good"));
    client.clear(&["lists"]).await;
    assert_eq!(client.served(&page).await, None);
}

#[tokio::test]
async fn a_list_that_changes_between_fills_proves_its_new_members() {
    let server = RedisServer::start().await;
    let (mut client, page) = (with_used_tag(&server, "product:7").await, list());
    let grant = client.ticket(&page).await.granted();
    assert_eq!(
        client.store_with(&page, &grant, &["product:7"], "7").await,
        STORED
    );
    client.clear(&["list"]).await;

    let grant = client.ticket(&page).await.granted();
    assert_eq!(
        client
            .store_with(&page, &grant, &["product:7", "product:8"], "7 8")
            .await,
        Stored::TooYoung
    );
    let grant = client.ticket(&page).await.granted();
    assert_eq!(
        client
            .store_with(&page, &grant, &["product:7", "product:8"], "7 8")
            .await,
        STORED
    );
    assert_eq!(client.served(&page).await.as_deref(), Some("7 8"));
    client.clear(&["product:8"]).await;
    assert_eq!(client.served(&page).await, None);

    // A member that is gone from the list has no say any more.
    let grant = client.ticket(&page).await.granted();
    assert_eq!(
        client
            .store_with(&page, &grant, &["product:7"], "7 again")
            .await,
        STORED
    );
    client.clear(&["product:8"]).await;
    assert_eq!(client.served(&page).await.as_deref(), Some("7 again"));
}

#[tokio::test]
async fn while_the_clock_is_lost_no_store_mints() {
    let server = RedisServer::start().await;
    let (mut client, page) = (Client::of(&server).await, list());
    let grant = client.ticket(&page).await.granted();
    let (clock, token) = (client.clock(), client.token("product:7"));
    client.lose(&clock).await;
    assert_eq!(
        client
            .store_with(&page, &grant, &["product:7"], "old")
            .await,
        Stored::TooYoung
    );
    assert_eq!(client.value(&token).await, None);
    assert_eq!(client.value(&clock).await, None);
}

/// TIME steps back while a handler runs, its tag is cleared and minted again by another reader.
async fn time_steps_back_by(micros: u64, expected: Stored) {
    let server = RedisServer::start().await;
    let (mut client, page) = (Client::with_test_time(&server).await, list());
    use_tag(&mut client, "product:7").await;
    let grant = client.ticket(&page).await.granted();
    client.set_time(NOON - micros).await;
    client.clear(&["product:7"]).await;
    use_tag(&mut client, "product:7").await;
    assert_eq!(
        client
            .store_with(&page, &grant, &["product:7"], "old")
            .await,
        expected
    );
    assert_eq!(client.served(&page).await, None);
}

#[tokio::test]
async fn a_tag_cleared_while_time_steps_back_ten_seconds_discards_the_answer() {
    time_steps_back_by(10_000_000, Stored::TooYoung).await;
}

#[tokio::test]
async fn a_tag_cleared_while_time_steps_back_an_hour_discards_the_answer() {
    // The namespace begins a new life, so already its own token refuses the store.
    time_steps_back_by(3_600_000_000, Stored::Cleared).await;
}
