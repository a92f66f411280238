//! Schedule 11: Redis is full.

use redis::{Cmd, pipe};
use smart_cache_tests::harness::RedisServer;

use super::client::{Client, Page, Stored, Ticket, nonce};

/// A server that refuses to grow, a client, and a page that was stored while there was room.
async fn full_server() -> (RedisServer, Client, Page) {
    let server = RedisServer::options()
        .memory("6mb", "noeviction")
        .start()
        .await;
    let (mut client, page) = (Client::of(&server).await, Page::new("page", &["tag"]));
    assert_eq!(client.fill(&page, "good").await, Stored::Yes { ttl: 0 });
    fill_up(&mut client).await;
    (server, client, page)
}

/// Writes until Redis refuses, first big values and then small ones.
async fn fill_up(client: &mut Client) {
    for size in [100_000, 1_000, 10] {
        let filler = "x".repeat(size);
        for number in 0.. {
            if client
                .run::<()>(Cmd::set(format!("filler:{size}:{number}"), &filler))
                .await
                .is_err()
            {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_full_server_still_serves_and_clears() {
    let (_server, mut client, page) = full_server().await;
    assert_eq!(client.served(&page).await.as_deref(), Some("good"));
    client.clear(&["page"]).await;
    assert_eq!(client.served(&page).await, None);
}

#[tokio::test]
async fn a_full_server_clears_tags_and_the_namespace() {
    for cleared in ["tag", ""] {
        let (_server, mut client, page) = full_server().await;
        client.clear(&[cleared]).await;
        assert_eq!(
            client.served(&page).await,
            None,
            "after the clear of {cleared:?}"
        );
    }
}

#[tokio::test]
async fn a_full_server_refuses_a_clear_inside_a_transaction() {
    let (_server, mut client, page) = full_server().await;
    let mut transaction = pipe();
    transaction.atomic().del(client.token("page")).ignore();
    assert!(
        transaction
            .query_async::<()>(&mut client.connection)
            .await
            .is_err()
    );
    assert_eq!(
        client.served(&page).await.as_deref(),
        Some("good"),
        "nothing of it was executed"
    );
}

#[tokio::test]
async fn a_full_server_gives_no_ticket_and_leaves_nothing_behind() {
    let (_server, mut client, _) = full_server().await;
    let other = Page::new("other", &[]);
    assert!(client.try_ticket(&other, &nonce()).await.is_err());
    let token = client.token("other");
    assert_eq!(client.value(&token).await, None);
}

/// Redis lets a script write on once it has written, and STORE begins by deleting its lease: so a
/// full server takes the stores whose tickets it gave while there was room, and no more than those.
#[tokio::test]
async fn a_store_whose_server_became_full_lands_if_it_is_still_proved() {
    for cleared in [false, true] {
        let server = RedisServer::options()
            .memory("6mb", "noeviction")
            .start()
            .await;
        let (mut client, page) = (Client::of(&server).await, Page::new("page", &[]));
        let grant = client.ticket(&page).await.granted();
        fill_up(&mut client).await;
        if cleared {
            client.clear(&["page"]).await;
        }
        let stored = client
            .store(&page, &grant, "made while there was room")
            .await;
        assert_eq!(
            stored,
            if cleared {
                Stored::Cleared
            } else {
                Stored::Yes { ttl: 0 }
            }
        );
        assert_eq!(client.served(&page).await.is_some(), !cleared);
    }
}

#[tokio::test]
async fn eviction_of_anything_is_a_miss_or_a_hit_and_never_an_old_answer() {
    let server = RedisServer::options()
        .memory("6mb", "allkeys-random")
        .start()
        .await;
    let mut client = Client::of(&server).await;
    let pages: Vec<Page> = (0..20)
        .map(|n| Page::new(&format!("page:{n}"), &["all"]))
        .collect();
    let pressure = "x".repeat(60_000);
    let (mut hits, mut misses) = (0, 0);
    for row in 0..30 {
        for page in &pages {
            client
                .run::<()>(Cmd::set(format!("pressure:{row}:{}", page.id), &pressure))
                .await
                .unwrap();
            match client.served(page).await {
                Some(body) => {
                    assert_eq!(body, row.to_string(), "{} was cleared since", page.id);
                    hits += 1;
                }
                None => misses += 1,
            }
            if let Ok(Ticket::Granted(grant)) = client.try_ticket(page, &nonce()).await {
                let _ = client.try_store(page, &grant, &[], &row.to_string()).await;
            }
            if client
                .served(page)
                .await
                .is_some_and(|body| body == row.to_string())
            {
                hits += 1;
            }
        }
        client.clear(&["all"]).await;
    }
    let evicted: u64 = server.info("evicted_keys").await.parse().unwrap();
    assert!(
        evicted > 0 && hits > 0 && misses > 0,
        "{evicted} evicted, {hits} hits, {misses} misses"
    );
}
