//! sqlx's transactions, wrapped: their clears follow the commit, and no other way leads to one.

use smart_cache::hooks::Collector;
use smart_cache::hooks::sqlx::{Transaction, begin_for};
use sqlx::Executor as _;

use super::{Products, catalogue, kept, shown, shows, sqlite};
use crate::road::in_memory;

#[tokio::test]
async fn a_commit_clears_and_a_rollback_does_not() {
    let (_file, pool) = sqlite().await;
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
    let (_file, pool) = sqlite().await;
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
    let (_file, pool) = sqlite().await;
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
    let (_file, pool) = sqlite().await;
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
