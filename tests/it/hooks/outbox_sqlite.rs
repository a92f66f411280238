//! The outbox in SQLite: written with the change, delivered after its commit, whoever committed.
//!
//! Over 400 lines, since it is one list of short tests over one table.

use std::time::{Duration, Instant};

use smart_cache::SmartCache;
use smart_cache::hooks::outbox::{
    self, OutboxError, Relay, Triggers, clear_in, install_triggers, relay, remove_triggers,
};
use smart_cache::hooks::sqlx::begin_for;
use smart_cache_tests::harness::{Chaos, RedisServer, SqliteFile, eventually};
use sqlx::Executor as _;

use super::{Products, catalogue, kept, shown, shows};
use crate::road::{in_memory, redis_at};

fn products() -> Triggers {
    Triggers::on(
        "products",
        ["product:{id}", "category:{category_id}", "products"],
    )
    .unwrap()
}

async fn pending(pool: &sqlx::SqlitePool) -> Vec<String> {
    sqlx::query_scalar("SELECT key FROM smart_cache_outbox ORDER BY key")
        .fetch_all(pool)
        .await
        .unwrap()
}

/// Groups of keys, each as large as one clear may be; the names descend.
pub(super) fn descending() -> [Vec<String>; 3] {
    ["zebra", "mouse", "aphid"].map(|group| {
        (0..1_000)
            .map(|number| format!("{group}:{number}"))
            .collect()
    })
}

/// Starts a relay, and sees that it clears group by group as they were written.
pub(super) async fn cleared_in_order(start: impl FnOnce(&SmartCache) -> Relay) {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let cache = redis_at(&chaos.url()).build().await.unwrap();
    let clears = ["zebra:0", "mouse:0", "aphid:0"].map(|key| chaos.hold(key));
    let relay = start(&cache);
    for (before, mut clear) in clears.into_iter().enumerate() {
        clear.arrived().await;
        assert_eq!(cache.stats().clears, before as u64);
        clear.release();
    }
    relay.caught_up().await;
    assert_eq!(cache.stats().clears, 3);
}

#[tokio::test]
async fn a_row_that_the_shell_changes_is_gone_from_the_cache_a_moment_later() {
    let server = RedisServer::start().await;
    for cache in [
        in_memory().await,
        redis_at(&server.url()).build().await.unwrap(),
    ] {
        let (file, pool) = SqliteFile::of_products().await;
        let app = catalogue(&cache, Products::Sqlite(pool.clone()));
        install_triggers(&mut *pool.acquire().await.unwrap(), &products())
            .await
            .unwrap();
        let _relay = relay(&cache, &pool);
        kept(&app, 1).await;
        file.shell("UPDATE products SET name = 'by the shell' WHERE id = 1");
        let written = Instant::now();
        shows(&app, 1, "by the shell").await;
        assert!(
            written.elapsed() < Duration::from_secs(1),
            "{:?}",
            written.elapsed()
        );
        eventually("an empty outbox", async || {
            (outbox::status(&pool).await.unwrap().pending == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn triggers_write_the_keys_of_old_and_new_rows_and_only_with_the_commit() {
    let (file, pool) = SqliteFile::of_products().await;
    let mut connection = pool.acquire().await.unwrap();
    install_triggers(&mut *connection, &products())
        .await
        .unwrap();
    for (statement, expected) in [
        (
            "UPDATE products SET category_id = 9 WHERE id = 1",
            &["category:1", "category:9", "product:1", "products"][..],
        ),
        (
            "UPDATE products SET id = 70 WHERE id = 2",
            &["category:0", "product:2", "product:70", "products"],
        ),
        (
            "INSERT INTO products VALUES (8, 'x', NULL, NULL)",
            &["product:8", "products"],
        ),
        (
            "DELETE FROM products WHERE id = 3",
            &["category:1", "product:3", "products"],
        ),
        // REPLACE removes a row without telling any trigger.
        (
            "REPLACE INTO products VALUES (4, 'x', 'm', 5)",
            &["category:0", "category:5", "product:4", "products"],
        ),
        (
            "INSERT OR REPLACE INTO products VALUES (11, 'x', 'm', 6)",
            &[
                "category:5",
                "category:6",
                "product:11",
                "product:4",
                "products",
            ],
        ),
        (
            "UPDATE OR REPLACE products SET id = 5 WHERE id = 11",
            &[
                "category:1",
                "category:6",
                "product:11",
                "product:5",
                "products",
            ],
        ),
        ("UPDATE products SET name = name WHERE id = 12345", &[]),
        ("BEGIN; UPDATE products SET name = 'y'; ROLLBACK", &[]),
    ] {
        file.shell(statement);
        assert_eq!(pending(&pool).await, expected, "{statement}");
        connection
            .execute("DELETE FROM smart_cache_outbox")
            .await
            .unwrap();
    }
    // Twice is once, and what is there already is left alone.
    install_triggers(&mut *connection, &products())
        .await
        .unwrap();
    remove_triggers(&mut *connection, &products())
        .await
        .unwrap();
    file.shell("DELETE FROM products");
    assert_eq!(pending(&pool).await, [""; 0]);
    let left = file.shell("SELECT count(*) FROM sqlite_master WHERE type = 'trigger'");
    assert_eq!(left, "0");
}

#[tokio::test]
async fn a_cascade_writes_the_keys_of_the_rows_that_it_changes() {
    let (file, pool) = SqliteFile::of_products().await;
    file.shell(
        "CREATE TABLE makers (id INTEGER PRIMARY KEY);
         CREATE TABLE models (id INTEGER PRIMARY KEY,
            maker INTEGER REFERENCES makers ON DELETE CASCADE ON UPDATE CASCADE);
         INSERT INTO makers VALUES (1), (2);
         INSERT INTO models VALUES (10, 1), (11, 1), (20, 2);",
    );
    let models = Triggers::on("models", ["model:{id}", "maker:{maker}"]).unwrap();
    install_triggers(&mut *pool.acquire().await.unwrap(), &models)
        .await
        .unwrap();
    for (statement, expected) in [
        (
            "DELETE FROM makers WHERE id = 1",
            &["maker:1", "model:10", "model:11"][..],
        ),
        (
            "UPDATE makers SET id = 3 WHERE id = 2",
            &["maker:2", "maker:3", "model:20"],
        ),
    ] {
        // Cascades are off unless a connection asks for them.
        file.shell(&format!("PRAGMA foreign_keys = on; {statement}"));
        assert_eq!(pending(&pool).await, expected, "{statement}");
        file.shell("DELETE FROM smart_cache_outbox");
    }
}

#[tokio::test]
async fn rows_are_cleared_in_the_order_in_which_they_were_written() {
    let (_file, pool) = SqliteFile::of_products().await;
    outbox::create(&pool).await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    for keys in descending() {
        clear_in(&mut tx, keys).await.unwrap();
    }
    tx.commit().await.unwrap();
    cleared_in_order(|cache| relay(cache, &pool)).await;
    assert_eq!(pending(&pool).await, [""; 0]);
}

#[tokio::test]
async fn many_rows_that_are_not_due_hold_up_none_that_is() {
    let (file, pool) = SqliteFile::of_products().await;
    let cache = in_memory().await;
    let app = catalogue(&cache, Products::Sqlite(pool.clone()));
    outbox::create(&pool).await.unwrap();
    kept(&app, 1).await;
    file.shell(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
         INSERT INTO smart_cache_outbox (key, due, written) SELECT 'later:' || i, 1 << 60, 0 FROM n;
         UPDATE products SET name = 'new' WHERE id = 1;
         INSERT INTO smart_cache_outbox (key, due, written) VALUES ('product:1', 0, 0);",
    );
    let _relay = relay(&cache, &pool);
    shows(&app, 1, "new").await;
    eventually("the others alone", async || {
        (outbox::status(&pool).await.unwrap().pending == 2_000).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_outer_conflict_clause_does_not_lose_a_key_that_is_pending() {
    let (file, pool) = SqliteFile::of_products().await;
    install_triggers(&mut *pool.acquire().await.unwrap(), &products())
        .await
        .unwrap();
    let version = "SELECT version FROM smart_cache_outbox WHERE key = 'products'";
    for (number, statement) in [
        "INSERT INTO products VALUES (20, 'x', NULL, 1)",
        "INSERT OR IGNORE INTO products VALUES (21, 'x', NULL, 1)",
        "UPDATE OR IGNORE products SET name = 'z' WHERE id = 1",
    ]
    .iter()
    .enumerate()
    {
        file.shell(statement);
        let seen: i64 = file.shell(version).parse().unwrap();
        assert!(seen >= number as i64, "{statement}: {seen}");
    }
    let before = file.shell(version);
    file.shell("REPLACE INTO products VALUES (20, 'x', NULL, 1)");
    assert_ne!(file.shell(version), before);
}

#[tokio::test]
async fn a_row_that_is_written_again_while_it_is_delivered_is_delivered_again() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let cache = redis_at(&chaos.url()).build().await.unwrap();
    let (file, pool) = SqliteFile::of_products().await;
    let app = catalogue(&cache, Products::Sqlite(pool.clone()));
    install_triggers(&mut *pool.acquire().await.unwrap(), &products())
        .await
        .unwrap();
    kept(&app, 1).await;
    let relay = relay(&cache, &pool);
    for round in 0..30 {
        let name = format!("name {round}");
        file.shell(&format!("UPDATE products SET name = '{name}' WHERE id = 1"));
        if round % 3 == 0 {
            relay.caught_up().await;
            assert_eq!(shown(&app, 1).await.0, name);
        }
    }
    relay.caught_up().await;
    assert_eq!(shown(&app, 1).await.0, "name 29");
    relay.stop().await;
}

#[tokio::test]
async fn clear_in_is_cleared_right_after_the_commit_and_its_row_removed() {
    let (_file, pool) = SqliteFile::of_products().await;
    let cache = in_memory().await;
    let app = catalogue(&cache, Products::Sqlite(pool.clone()));
    outbox::create(&pool).await.unwrap();
    kept(&app, 1).await;
    // No relay is at work.
    let mut tx = begin_for(&cache, &pool).await.unwrap();
    tx.execute("UPDATE products SET name = 'new' WHERE id = 1")
        .await
        .unwrap();
    clear_in(&mut tx, ["product:1", "product:1", "products"])
        .await
        .unwrap();
    assert!(matches!(
        clear_in(&mut tx, "").await,
        Err(OutboxError::EmptyKey)
    ));
    tx.commit().await.unwrap().cleared.unwrap();
    assert_eq!(shown(&app, 1).await, ("new".to_owned(), false));
    eventually("no row is left", async || {
        (outbox::status(&pool).await.unwrap().pending == 0).then_some(())
    })
    .await;
    let mut tx = begin_for(&cache, &pool).await.unwrap();
    clear_in(&mut tx, "product:1").await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(outbox::status(&pool).await.unwrap().pending, 0);
}

#[tokio::test]
async fn clear_in_of_a_plain_transaction_is_delivered_by_the_relay() {
    let (_file, pool) = SqliteFile::of_products().await;
    let cache = in_memory().await;
    let app = catalogue(&cache, Products::Sqlite(pool.clone()));
    outbox::create(&pool).await.unwrap();
    kept(&app, 1).await;
    let mut tx = pool.begin().await.unwrap();
    tx.execute("UPDATE products SET name = 'new' WHERE id = 1")
        .await
        .unwrap();
    clear_in(&mut tx, "product:1").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(shown(&app, 1).await, ("old".to_owned(), true));
    let status = outbox::status(&pool).await.unwrap();
    assert_eq!(status.pending, 1);
    assert!(status.oldest.is_some());
    let relay = relay(&cache, &pool);
    relay.caught_up().await;
    assert_eq!(shown(&app, 1).await.0, "new");
    assert_eq!(
        outbox::status(&pool).await.unwrap(),
        outbox::Status::default()
    );
}

#[tokio::test]
async fn twenty_thousand_rows_at_once_are_twenty_clears() {
    let (file, pool) = SqliteFile::of_products().await;
    let cache = in_memory().await;
    install_triggers(&mut *pool.acquire().await.unwrap(), &products())
        .await
        .unwrap();
    file.shell(
        "PRAGMA recursive_triggers = 0;
         DROP TRIGGER smart_cache_products_insert; DROP TRIGGER smart_cache_products_replace_insert;
         WITH RECURSIVE n (i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 20099)
         INSERT INTO products SELECT i, 'old', NULL, i % 10 FROM n;",
    );
    file.shell("UPDATE products SET name = 'new' WHERE id >= 100");
    assert_eq!(outbox::status(&pool).await.unwrap().pending, 20_011);
    let relay = relay(&cache, &pool);
    relay.caught_up().await;
    assert_eq!(outbox::status(&pool).await.unwrap().pending, 0);
    assert!(
        (20..=23).contains(&cache.stats().clears),
        "{}",
        cache.stats().clears
    );
}

#[tokio::test]
async fn a_row_that_a_hand_wrote_wrongly_does_not_hold_up_the_others() {
    let (file, pool) = SqliteFile::of_products().await;
    let cache = in_memory().await;
    let app = catalogue(&cache, Products::Sqlite(pool.clone()));
    outbox::create(&pool).await.unwrap();
    kept(&app, 1).await;
    file.shell("UPDATE products SET name = 'new' WHERE id = 1");
    file.shell(
        "INSERT INTO smart_cache_outbox (key, due, written) VALUES ('', 0, 0), ('product:1', 0, 0)",
    );
    let relay = relay(&cache, &pool);
    relay.caught_up().await;
    assert_eq!(shown(&app, 1).await.0, "new");
    assert_eq!(outbox::status(&pool).await.unwrap().pending, 0);
}

#[tokio::test]
async fn rows_stay_until_the_backend_has_acknowledged_their_clear() {
    let server = RedisServer::start().await;
    let chaos = Chaos::in_front_of(server.address()).await;
    let far = redis_at(&server.url()).build().await.unwrap();
    let cache = redis_at(&chaos.url())
        .timeout(Duration::from_millis(100))
        .build()
        .await
        .unwrap();
    let (file, pool) = SqliteFile::of_products().await;
    let app = catalogue(&far, Products::Sqlite(pool.clone()));
    install_triggers(&mut *pool.acquire().await.unwrap(), &products())
        .await
        .unwrap();
    kept(&app, 1).await;
    chaos.refuse_connections();
    chaos.cut();
    let relay = relay(&cache, &pool);
    file.shell("UPDATE products SET name = 'new' WHERE id = 1");
    eventually("a try that failed", async || {
        (cache.stats().failed_clears > 1).then_some(())
    })
    .await;
    assert_eq!(outbox::status(&pool).await.unwrap().pending, 3);
    chaos.accept_connections();
    relay.caught_up().await;
    assert_eq!(shown(&app, 1).await.0, "new");
}

#[tokio::test]
async fn several_relays_share_the_work_and_one_takes_over() {
    let server = RedisServer::start().await;
    let (file, pool) = SqliteFile::of_products().await;
    install_triggers(&mut *pool.acquire().await.unwrap(), &products())
        .await
        .unwrap();
    let mut caches = Vec::new();
    for _ in 0..3 {
        caches.push(redis_at(&server.url()).build().await.unwrap());
    }
    let mut relays: Vec<_> = caches.iter().map(|cache| relay(cache, &pool)).collect();
    let app = catalogue(&caches[0], Products::Sqlite(pool.clone()));
    for round in 0..10 {
        kept(&app, 1).await;
        let before: u64 = caches.iter().map(|cache| cache.stats().clears).sum();
        let name = format!("name {round}");
        file.shell(&format!("UPDATE products SET name = '{name}' WHERE id = 1"));
        shows(&app, 1, &name).await;
        for relay in &relays {
            relay.caught_up().await;
        }
        let clears: u64 = caches.iter().map(|cache| cache.stats().clears).sum();
        assert_eq!(clears - before, 1, "round {round}");
    }
    // The one that holds the lease stops without giving it back.
    relays.truncate(1);
    file.shell("UPDATE products SET name = 'last' WHERE id = 1");
    shows(&app, 1, "last").await;
}
