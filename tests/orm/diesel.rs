//! Blocking transactions of diesel: which pages a write clears, and when.

use diesel::prelude::*;
use diesel::result::Error;
use smart_cache::SmartCache;
use smart_cache::hooks::{
    CacheKeys, Collector, changed, clear_after_commit_blocking, diesel as blocking,
};
use smart_cache_tests::harness::SqliteFile;

use crate::groups::Shop;
use crate::stage::{Products, every_kind, in_memory};

diesel::table! {
    products (id) {
        id -> BigInt,
        name -> Text,
        category_id -> BigInt,
    }
}

#[derive(Clone, Queryable, Selectable, Identifiable, AsChangeset, CacheKeys)]
#[diesel(table_name = products)]
#[cache_keys("product:{id}", "category:{category_id}")]
pub(super) struct Product {
    id: i64,
    name: String,
    category_id: i64,
}

pub(super) type Outcome<T> = Result<T, Error>;

/// Writes a row as it is, and says what it was and has become.
fn write(conn: &mut SqliteConnection, id: i64, category_id: i64) -> Outcome<Vec<String>> {
    let old: Product = products::table.find(id).first(conn)?;
    let new = Product {
        category_id,
        ..old.clone()
    };
    diesel::update(&new).set(&new).execute(conn)?;
    Ok(changed(&old, &new))
}

/// Runs a function over a connection of diesel's own, on a thread that may block.
async fn blocking<T: Send + 'static>(
    file: &SqliteFile,
    work: impl FnOnce(&mut SqliteConnection) -> T + Send + 'static,
) -> T {
    let path = file.path().to_str().unwrap().to_owned();
    let blocked = move || work(&mut SqliteConnection::establish(&path).unwrap());
    tokio::task::spawn_blocking(blocked).await.unwrap()
}

async fn on_sqlite(cache: &SmartCache) -> (SqliteFile, Shop) {
    let (file, pool) = SqliteFile::of_products().await;
    let shop = Shop::new(cache, Products::Sqlite(pool));
    shop.warm().await;
    (file, shop)
}

#[tokio::test]
async fn a_blocking_transaction_clears_both_groups_after_its_commit() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let (file, shop) = on_sqlite(&cache).await;
        let (own, pages) = (cache.clone(), shop.clone());
        let written = blocking(&file, move |conn| {
            blocking::transaction_for(&own, conn, |mut tx| {
                let keys = write(&mut tx, 1, 2)?;
                tx.clear(keys);
                let seen = tokio::runtime::Handle::current().block_on(pages.cleared());
                assert_eq!(seen, [""; 0], "not committed yet");
                Ok::<_, Error>(7)
            })
        });
        let written = written.await.unwrap();
        assert_eq!(written.value, 7);
        written.cleared.unwrap();
        assert_eq!(
            shop.cleared().await,
            ["product/1", "category/1", "category/2"]
        );
        assert_eq!(cache.stats().clears, 1);
    }
}

#[tokio::test]
async fn a_blocking_transaction_that_is_rolled_back_or_panics_clears_nothing() {
    let cache = in_memory().await;
    let (file, shop) = on_sqlite(&cache).await;
    let own = cache.clone();
    let failed = blocking(&file, move |conn| {
        blocking::transaction_for(&own, conn, |mut tx| {
            let keys = write(&mut tx, 1, 2)?;
            tx.clear(keys);
            Err::<(), _>(Error::RollbackTransaction)
        })
    });
    assert!(matches!(failed.await, Err(Error::RollbackTransaction)));
    let own = cache.clone();
    let panicked = blocking(&file, move |conn| {
        let writing = std::panic::AssertUnwindSafe(|| {
            blocking::transaction_for(&own, conn, |tx| -> Outcome<()> {
                tx.clear("product:1");
                panic!("before the commit")
            })
        });
        std::panic::catch_unwind(writing).is_err()
    });
    assert!(panicked.await);
    assert_eq!(shop.cleared().await, [""; 0]);
    assert_eq!(cache.stats().clears, 0);
}

#[tokio::test]
async fn a_blocking_savepoint_that_is_rolled_back_takes_its_keys_with_it() {
    let cache = in_memory().await;
    let (file, shop) = on_sqlite(&cache).await;
    let own = cache.clone();
    let written = blocking(&file, move |conn| {
        blocking::transaction_for(&own, conn, |mut tx| {
            let dropped = tx.savepoint(|mut inner| {
                let keys = write(&mut inner, 1, 2)?;
                inner.clear(keys);
                Err::<(), _>(Error::RollbackTransaction)
            });
            assert!(dropped.is_err());
            // A function that was handed the connection may begin its own.
            let nested = blocking::transaction_for(&own, &mut *tx, |mut inner| {
                let keys = write(&mut inner, 2, 2)?;
                inner.clear(keys);
                Ok::<_, Error>(())
            })?;
            assert!(nested.cleared.is_ok());
            assert_eq!(own.stats().clears, 0, "the outer one is not committed yet");
            Ok::<_, Error>(())
        })
    });
    written.await.unwrap();
    assert_eq!(
        shop.cleared().await,
        ["product/2", "category/0", "category/2"]
    );
}

#[tokio::test]
async fn a_commit_of_diesels_that_fails_clears_all_the_same() {
    let cache = in_memory().await;
    let (file, shop) = on_sqlite(&cache).await;
    file.shell("CREATE TABLE parents (id INTEGER PRIMARY KEY); CREATE TABLE children (parent INTEGER REFERENCES parents DEFERRABLE INITIALLY DEFERRED)");
    let own = cache.clone();
    let failed = blocking(&file, move |conn| {
        use diesel::connection::SimpleConnection as _;

        conn.batch_execute("PRAGMA foreign_keys = on").unwrap();
        blocking::transaction_for(&own, conn, |mut tx| {
            tx.batch_execute("INSERT INTO children VALUES (1)")?;
            tx.clear("product:1");
            Ok::<_, Error>(())
        })
    });
    assert!(failed.await.is_err(), "the constraint is checked by COMMIT");
    assert_eq!(shop.cleared().await, ["product/1"]);
}

#[tokio::test]
async fn a_transaction_of_diesels_own_kind_is_bound_by_hand() {
    let cache = in_memory().await;
    let (file, shop) = on_sqlite(&cache).await;
    let own = cache.clone();
    let written = blocking(&file, move |conn| {
        Collector::of(&own).commit_blocking(|| {
            conn.immediate_transaction(|conn| {
                let keys = write(conn, 1, 2)?;
                assert!(clear_after_commit_blocking(keys).is_ok());
                assert_eq!(own.stats().clears, 0);
                Ok::<_, Error>(())
            })
        })
    });
    written.await.unwrap().cleared.unwrap();
    assert_eq!(
        shop.cleared().await,
        ["product/1", "category/1", "category/2"]
    );
}
