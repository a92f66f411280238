//! sqlx's transactions, wrapped: their clears follow the commit, and no other way leads to one.

use smart_cache::hooks::Collector;
use smart_cache::hooks::sqlx::{Transaction, begin_for};
use smart_cache_tests::harness::{MariaDbServer, SqliteFile};
use sqlx::Executor as _;
use sqlx::mysql::MySqlPool;

use super::{Products, catalogue, kept, shown, shows};
use crate::road::{every_kind, in_memory};

#[tokio::test]
async fn a_commit_clears_and_a_rollback_does_not() {
    let (_file, pool) = SqliteFile::of_products().await;
    let cache = in_memory().await;
    let app = catalogue(&cache, Products::Sqlite(pool.clone()));
    for id in 1..=3 {
        kept(&app, id).await;
    }
    let mut tx = begin_for(&cache, &pool).await.unwrap();
    tx.execute("UPDATE products SET name = 'new' WHERE id = 1")
        .await
        .unwrap();
    tx.clear("product:1");
    assert_eq!(
        shown(&app, 1).await,
        ("old".to_owned(), true),
        "not committed yet"
    );
    tx.commit().await.unwrap().cleared.unwrap();
    assert_eq!(shown(&app, 1).await, ("new".to_owned(), false));

    let mut tx = begin_for(&cache, &pool).await.unwrap();
    tx.execute("UPDATE products SET name = 'new' WHERE id = 2")
        .await
        .unwrap();
    tx.clear("product:2");
    tx.rollback().await.unwrap();
    let mut tx = begin_for(&cache, &pool).await.unwrap();
    tx.execute("UPDATE products SET name = 'new' WHERE id = 3")
        .await
        .unwrap();
    tx.clear("product:3");
    drop(tx);
    assert_eq!(shown(&app, 2).await, ("old".to_owned(), true));
    assert_eq!(shown(&app, 3).await, ("old".to_owned(), true));
    assert_eq!(cache.stats().clears, 1);
}

#[tokio::test]
async fn a_savepoint_that_is_rolled_back_takes_its_keys_with_it() {
    let (_file, pool) = SqliteFile::of_products().await;
    let cache = in_memory().await;
    let app = catalogue(&cache, Products::Sqlite(pool.clone()));
    for id in 1..=4 {
        kept(&app, id).await;
    }
    let mut tx = begin_for(&cache, &pool).await.unwrap();
    tx.execute("UPDATE products SET name = 'new' WHERE id = 1")
        .await
        .unwrap();
    tx.clear("product:1");
    let mut inner = tx.begin().await.unwrap();
    inner
        .execute("UPDATE products SET name = 'new' WHERE id = 2")
        .await
        .unwrap();
    inner.clear("product:2");
    let mut innermost = inner.begin().await.unwrap();
    innermost
        .execute("UPDATE products SET name = 'new' WHERE id = 3")
        .await
        .unwrap();
    innermost.clear("product:3");
    innermost.commit().await.unwrap();
    inner.commit().await.unwrap();
    let mut inner = tx.begin().await.unwrap();
    inner
        .execute("UPDATE products SET name = 'new' WHERE id = 4")
        .await
        .unwrap();
    inner.clear("product:4");
    inner.rollback().await.unwrap();
    assert_eq!(cache.stats().clears, 0, "a savepoint's commit is no commit");
    tx.commit().await.unwrap();
    for id in 1..=3 {
        assert_eq!(shown(&app, id).await, ("new".to_owned(), false), "{id}");
    }
    assert_eq!(shown(&app, 4).await, ("old".to_owned(), true));
}

#[tokio::test]
async fn a_transaction_that_was_begun_otherwise_is_bound_too() {
    let (_file, pool) = SqliteFile::of_products().await;
    let cache = in_memory().await;
    let app = catalogue(&cache, Products::Sqlite(pool.clone()));
    kept(&app, 1).await;
    let immediate = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let mut tx = Transaction::new(immediate, Collector::of(&cache));
    sqlx::query("UPDATE products SET name = 'new' WHERE id = 1")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.clear("product:1");
    tx.commit().await.unwrap();
    shows(&app, 1, "new").await;
}

/// A hook that clears inside the transaction lets a reader fill the old row again; the collector
/// puts the clear off, and nothing old is left.
#[tokio::test]
async fn a_clear_before_the_commit_leaves_nothing_old() {
    let (_file, pool) = SqliteFile::of_products().await;
    let cache = in_memory().await;
    let app = catalogue(&cache, Products::Sqlite(pool.clone()));
    kept(&app, 1).await;
    let mut tx = begin_for(&cache, &pool).await.unwrap();
    tx.execute("UPDATE products SET name = 'new' WHERE id = 1")
        .await
        .unwrap();
    cache.clear("product:1").await.unwrap();
    assert_eq!(shown(&app, 1).await.0, "old", "a reader in between");
    kept(&app, 1).await;
    tx.commit().await.unwrap();
    shows(&app, 1, "new").await;
}

/// MySQL has no outbox here, so that the wrapper is all there is: every way a transaction can end.
#[tokio::test]
async fn transactions_of_mariadb_clear_after_their_commit_and_never_without_it() {
    let server = MariaDbServer::start().await;
    let pool = MySqlPool::connect(&server.database()).await.unwrap();
    pool.execute(
        "CREATE TABLE products (id BIGINT PRIMARY KEY, name VARCHAR(40) NOT NULL, category_id BIGINT) ENGINE = InnoDB",
    )
    .await
    .unwrap();
    pool.execute(
        "INSERT INTO products VALUES (1, 'old', 1), (2, 'old', 0), (3, 'old', 1), (4, 'old', 0), (5, 'old', 1)",
    )
    .await
    .unwrap();
    let (caches, _server) = every_kind().await;
    for cache in caches {
        pool.execute("UPDATE products SET name = 'old'")
            .await
            .unwrap();
        let app = catalogue(&cache, Products::MySql(pool.clone()));
        for id in 1..=5 {
            kept(&app, id).await;
        }
        let rename = "UPDATE products SET name = 'new' WHERE id = ?";
        // A commit, with a savepoint that is kept and one that is not.
        let mut tx = begin_for(&cache, &pool).await.unwrap();
        sqlx::query(rename).bind(1).execute(&mut *tx).await.unwrap();
        tx.clear("product:1");
        let mut inner = tx.begin().await.unwrap();
        sqlx::query(rename)
            .bind(2)
            .execute(&mut *inner)
            .await
            .unwrap();
        inner.clear("product:2");
        inner.commit().await.unwrap();
        let mut inner = tx.begin().await.unwrap();
        sqlx::query(rename)
            .bind(3)
            .execute(&mut *inner)
            .await
            .unwrap();
        inner.clear("product:3");
        inner.rollback().await.unwrap();
        assert_eq!(
            shown(&app, 1).await,
            ("old".to_owned(), true),
            "not committed yet"
        );
        tx.commit().await.unwrap().cleared.unwrap();
        assert_eq!(cache.stats().clears, 1);
        for id in [1, 2] {
            assert_eq!(shown(&app, id).await, ("new".to_owned(), false), "{id}");
        }
        assert_eq!(shown(&app, 3).await, ("old".to_owned(), true));
        // A rollback, one by a dropped transaction, and one by the server's own refusal.
        let mut tx = begin_for(&cache, &pool).await.unwrap();
        sqlx::query(rename).bind(4).execute(&mut *tx).await.unwrap();
        tx.clear("product:4");
        tx.rollback().await.unwrap();
        let mut tx = begin_for(&cache, &pool).await.unwrap();
        sqlx::query(rename).bind(5).execute(&mut *tx).await.unwrap();
        tx.clear("product:5");
        tx.execute("INSERT INTO products VALUES (1, 'twice', 1)")
            .await
            .unwrap_err();
        drop(tx);
        for id in [4, 5] {
            assert_eq!(shown(&app, id).await, ("old".to_owned(), true), "{id}");
        }
        assert_eq!(cache.stats().clears, 1);
        // A clear that comes too early waits for the commit.
        let mut tx = begin_for(&cache, &pool).await.unwrap();
        sqlx::query(rename).bind(4).execute(&mut *tx).await.unwrap();
        cache.clear("product:4").await.unwrap();
        assert_eq!(shown(&app, 4).await, ("old".to_owned(), true));
        tx.commit().await.unwrap();
        shows(&app, 4, "new").await;
        // Killed in its commit, nobody knows what came of it.
        let mut tx = begin_for(&cache, &pool).await.unwrap();
        let (connection,): (u64,) = sqlx::query_as("SELECT CONNECTION_ID()")
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        tx.clear("product:5");
        server.sql(&format!("KILL {connection}"));
        tx.commit().await.unwrap_err();
        assert!(!shown(&app, 5).await.1, "cleared all the same");
    }
}
