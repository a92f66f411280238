//! Readers on a replica that lags: what they fill after a clear is old, and heals by settle.

use std::time::Duration;

use smart_cache::hooks::sqlx::begin_for;
use smart_cache_tests::harness::{RedisServer, SqliteFile};
use sqlx::Executor as _;

use super::{Products, catalogue, kept, shown, shows};
use crate::road::{memory, redis_at};

#[tokio::test]
async fn what_a_lagging_replica_gave_heals_after_settle() {
    let server = RedisServer::start().await;
    for builder in [memory(), redis_at(&server.url())] {
        let (_primary, writes) = SqliteFile::of_products().await;
        let (replica, reads) = SqliteFile::of_products().await;
        // Longer than the replica lags.
        let cache = builder
            .settle(Duration::from_millis(600))
            .build()
            .await
            .unwrap();
        let app = catalogue(&cache, Products::Sqlite(reads));
        let mut tx = begin_for(&cache, &writes).await.unwrap();
        tx.execute("UPDATE products SET name = 'new' WHERE id = 1")
            .await
            .unwrap();
        tx.clear("product:1");
        tx.commit().await.unwrap();
        kept(&app, 1).await;
        assert_eq!(
            shown(&app, 1).await.0,
            "old",
            "read after the clear, and old"
        );
        replica.shell("UPDATE products SET name = 'new' WHERE id = 1");
        shows(&app, 1, "new").await;
    }
}

/// The control: a settle of zero trusts that readers see every commit.
#[tokio::test]
async fn without_settle_a_lagging_replica_leaves_an_old_page_for_ever() {
    let cache = memory().build().await.unwrap();
    let (_primary, writes) = SqliteFile::of_products().await;
    let (replica, reads) = SqliteFile::of_products().await;
    let app = catalogue(&cache, Products::Sqlite(reads));
    let mut tx = begin_for(&cache, &writes).await.unwrap();
    tx.execute("UPDATE products SET name = 'new' WHERE id = 1")
        .await
        .unwrap();
    tx.clear("product:1");
    tx.commit().await.unwrap();
    kept(&app, 1).await;
    replica.shell("UPDATE products SET name = 'new' WHERE id = 1");
    assert_eq!(shown(&app, 1).await, ("old".to_owned(), true));
}
