//! Schedules 1 to 3: an answer that was made before a clear never enters.

use redis::cmd;
use smart_cache_tests::harness::RedisServer;

use super::client::{Client, Page, Stored};

fn product() -> Page {
    Page::new("product:7", &["products", "shop"])
}

/// Ticket, handler, a clear of `cleared` meanwhile, store.
async fn a_clear_during_the_handler_of(cleared: &str) {
    let server = RedisServer::start().await;
    let (mut reader, page) = (Client::of(&server).await, product());
    let mut writer = reader.another(&server).await;

    let grant = reader.ticket(&page).await.granted();
    writer.clear(&[cleared]).await;
    assert_eq!(reader.store(&page, &grant, "old").await, Stored::Cleared);
    assert_eq!(reader.served(&page).await, None);

    assert_eq!(reader.fill(&page, "new").await, Stored::Yes { ttl: 0 });
    assert_eq!(writer.served(&page).await.as_deref(), Some("new"));
}

#[tokio::test]
async fn clear_of_the_key_during_the_handler_discards_the_answer() {
    a_clear_during_the_handler_of("product:7").await;
}

#[tokio::test]
async fn clear_of_a_tag_during_the_handler_discards_the_answer() {
    a_clear_during_the_handler_of("shop").await;
}

#[tokio::test]
async fn clear_of_the_namespace_during_the_handler_discards_the_answer() {
    a_clear_during_the_handler_of("").await;
}

#[tokio::test]
async fn clear_of_another_key_during_the_handler_disturbs_nobody() {
    let server = RedisServer::start().await;
    let (mut client, page) = (Client::of(&server).await, product());
    let grant = client.ticket(&page).await.granted();
    // A prefix of the key, and a pattern that would match it, are other keys.
    client.clear(&["product", "product:*", "product:70"]).await;
    assert_eq!(
        client.store(&page, &grant, "good").await,
        Stored::Yes { ttl: 0 }
    );
    client.clear(&["product", "product:*", "product:70"]).await;
    assert_eq!(client.served(&page).await.as_deref(), Some("good"));
}

#[tokio::test]
async fn a_clear_of_many_keys_takes_each_of_them() {
    let server = RedisServer::start().await;
    let mut client = Client::of(&server).await;
    let pages = ["a", "b", "c"].map(|key| Page::new(key, &[]));
    for page in &pages {
        assert_eq!(client.fill(page, "good").await, Stored::Yes { ttl: 0 });
    }
    client.clear(&["a", "c"]).await;
    assert_eq!(client.served(&pages[0]).await, None);
    assert_eq!(client.served(&pages[1]).await.as_deref(), Some("good"));
    assert_eq!(client.served(&pages[2]).await, None);
}

#[tokio::test]
async fn a_token_that_was_evicted_and_minted_again_refuses_the_first_reader() {
    let server = RedisServer::start().await;
    let (mut first, page) = (Client::of(&server).await, product());
    let mut second = first.another(&server).await;
    for name in ["product:7", "shop", ""] {
        let old = first.ticket(&page).await.granted();
        let token = first.token(name);
        first.lose(&token).await;
        let new = second.ticket(&page).await.granted();
        assert_ne!(old.digest, new.digest);
        assert_eq!(first.store(&page, &old, "old").await, Stored::LeaseLost);
        assert_eq!(
            second.store(&page, &new, "new").await,
            Stored::Yes { ttl: 0 }
        );
        assert_eq!(first.served(&page).await.as_deref(), Some("new"));
        first.clear(&["product:7"]).await;
    }
}

#[tokio::test]
async fn a_lost_lease_does_not_open_the_way_for_a_cleared_answer() {
    let server = RedisServer::start().await;
    let (mut client, page) = (Client::of(&server).await, product());
    let grant = client.ticket(&page).await.granted();
    client.clear(&["product:7"]).await;
    // Somebody puts the very lease back: the tokens alone must refuse the store.
    let lease = client.lease(&page);
    client
        .run::<()>(redis::Cmd::set(lease, &grant.lease))
        .await
        .unwrap();
    assert_eq!(client.store(&page, &grant, "old").await, Stored::Cleared);
    assert_eq!(client.served(&page).await, None);
}

#[tokio::test]
async fn a_flush_between_ticket_and_store_refuses_the_store() {
    let server = RedisServer::start().await;
    let (mut client, page) = (Client::of(&server).await, product());
    let grant = client.ticket(&page).await.granted();
    client.run::<()>(cmd("FLUSHALL")).await.unwrap();
    assert_eq!(client.store(&page, &grant, "old").await, Stored::LeaseLost);
    assert_eq!(client.served(&page).await, None);
    assert_eq!(client.fill(&page, "new").await, Stored::Yes { ttl: 0 });
}

#[tokio::test]
async fn a_flush_between_store_and_lookup_is_a_miss() {
    let server = RedisServer::start().await;
    let (mut client, page) = (Client::of(&server).await, product());
    assert_eq!(client.fill(&page, "good").await, Stored::Yes { ttl: 0 });
    client.run::<()>(cmd("FLUSHALL")).await.unwrap();
    assert_eq!(client.served(&page).await, None);
    assert_eq!(client.fill(&page, "good").await, Stored::Yes { ttl: 0 });
    assert_eq!(client.served(&page).await.as_deref(), Some("good"));
}

#[tokio::test]
async fn every_token_that_is_evicted_after_the_store_is_a_miss() {
    let server = RedisServer::start().await;
    let (mut client, page) = (Client::of(&server).await, product());
    for name in ["", "product:7", "products", "shop"] {
        assert_eq!(client.fill(&page, "good").await, Stored::Yes { ttl: 0 });
        let token = client.token(name);
        client.lose(&token).await;
        assert_eq!(
            client.served(&page).await,
            None,
            "without the token of {name:?}"
        );
    }
}

#[tokio::test]
async fn a_token_that_is_nonsense_counts_as_missing() {
    let server = RedisServer::start().await;
    let (mut client, page) = (Client::of(&server).await, product());
    let token = client.token("shop");
    for nonsense in ["", "nonsense", ":xyz:1", ":abc:", "abc:abc:-1"] {
        client
            .run::<()>(redis::Cmd::set(&token, nonsense))
            .await
            .unwrap();
        assert_eq!(
            client.fill(&page, "good").await,
            Stored::Yes { ttl: 0 },
            "{nonsense:?}"
        );
        assert_eq!(client.served(&page).await.as_deref(), Some("good"));
        client.clear(&["shop"]).await;
    }
    client
        .run::<()>(redis::Cmd::lpush(&token, "a list"))
        .await
        .unwrap();
    assert_eq!(client.served(&page).await, None);
    assert_eq!(
        client.fill(&page, "good").await,
        Stored::Yes { ttl: 0 },
        "a list"
    );
    assert_eq!(client.served(&page).await.as_deref(), Some("good"));
}

#[tokio::test]
async fn what_nobody_can_read_in_the_entrys_place_is_overwritten() {
    let server = RedisServer::start().await;
    let (mut client, page) = (Client::of(&server).await, product());
    let (entry, lease) = (client.entry(&page), client.lease(&page));
    client
        .run::<()>(redis::Cmd::lpush(&entry, "a list"))
        .await
        .unwrap();
    client
        .run::<()>(redis::Cmd::lpush(&lease, "a list"))
        .await
        .unwrap();
    assert_eq!(client.served(&page).await, None);
    // The reading half of the crate's lookup treats it as nothing, and so does the next fill.
    assert_eq!(client.fill(&page, "good").await, Stored::Yes { ttl: 0 });
    assert_eq!(client.served(&page).await.as_deref(), Some("good"));
}
