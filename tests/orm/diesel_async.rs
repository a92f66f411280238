//! Transactions of diesel-async: which pages a write clears, and when.

use diesel::prelude::*;
use diesel::result::Error;
use diesel_async::{AsyncConnection as _, AsyncPgConnection, RunQueryDsl};
use smart_cache::hooks::changed;
use smart_cache::hooks::diesel_async::{transaction, transaction_for};
use smart_cache_tests::harness::{PostgresServer, eventually};
use sqlx::postgres::PgPool;

use crate::diesel::{Outcome, Product, products};
use crate::groups::Shop;
use crate::stage::{Products, every_kind, in_memory};

/// A row of PostgreSQL, moved; RETURNING gives the new one.
async fn moved(conn: &mut AsyncPgConnection, id: i64, to: i64) -> Outcome<Vec<String>> {
    let row = products::table.find(id);
    let old: Product = row.for_update().first(conn).await?;
    let new: Product = diesel::update(row)
        .set(products::category_id.eq(to))
        .returning(Product::as_returning())
        .get_result(conn)
        .await?;
    Ok(changed(&old, &new))
}

/// A database with two products; its URL.
fn table(server: &PostgresServer) -> String {
    let url = server.database();
    server.psql_at(
        &url,
        "CREATE TABLE products (id bigserial PRIMARY KEY, name text NOT NULL, category_id bigint NOT NULL);
         INSERT INTO products (name, category_id) VALUES ('old', 1), ('old', 0)",
    );
    url
}

#[tokio::test]
async fn an_async_transaction_clears_as_a_blocking_one_does() {
    let server = PostgresServer::start().await;
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let url = table(&server);
        let pool = PgPool::connect(&url).await.unwrap();
        let shop = Shop::new(&cache, Products::Postgres(pool));
        shop.warm().await;
        // In a task, for a handler's future must be one that can be sent.
        let (own, pages) = (cache.clone(), shop.clone());
        let mut conn = AsyncPgConnection::establish(&url).await.unwrap();
        let writing = tokio::spawn(async move {
            let failed = transaction_for(&own, &mut conn, async |mut tx| {
                let keys = moved(&mut tx, 1, 2).await?;
                tx.clear(keys);
                Err::<(), _>(Error::RollbackTransaction)
            });
            assert!(failed.await.is_err());
            assert_eq!(pages.cleared().await, [""; 0], "rolled back");
            let written = transaction_for(&own, &mut conn, async |mut tx| {
                let keys = moved(&mut tx, 1, 2).await?;
                tx.clear(keys);
                let dropped = tx.savepoint(async |mut inner| {
                    let keys = moved(&mut inner, 2, 1).await?;
                    inner.clear(keys);
                    Err::<(), _>(Error::RollbackTransaction)
                });
                assert!(dropped.await.is_err());
                let nested = transaction(&mut *tx, async |inner| {
                    inner.clear("unrelated");
                    Ok::<_, Error>(())
                });
                nested.await?;
                assert_eq!(pages.cleared().await, [""; 0], "not committed yet");
                Ok::<_, Error>(7)
            });
            let written = written.await.unwrap();
            written.cleared.unwrap();
            written.value
        });
        assert_eq!(writing.await.unwrap(), 7);
        assert_eq!(
            shop.cleared().await,
            ["product/1", "category/1", "category/2"]
        );
        assert_eq!(shop.page("category/2").await.0, "1");
        assert_eq!(cache.stats().clears, 1);
    }
}

#[tokio::test]
async fn an_async_transaction_that_is_cancelled_while_it_commits_still_clears() {
    let server = PostgresServer::start().await;
    let url = table(&server);
    // COMMIT waits for a lock that somebody else has.
    server.psql_at(
        &url,
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER wait AFTER UPDATE ON products
         DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()",
    );
    let pool = PgPool::connect(&url).await.unwrap();
    let mut locking = pool.acquire().await.unwrap();
    sqlx::query("SELECT pg_advisory_lock(7)")
        .execute(&mut *locking)
        .await
        .unwrap();
    let cache = in_memory().await;
    let shop = Shop::new(&cache, Products::Postgres(pool));
    shop.warm().await;
    let mut conn = AsyncPgConnection::establish(&url).await.unwrap();
    let writing = transaction_for(&cache, &mut conn, async |mut tx| {
        let keys = moved(&mut tx, 2, 2).await?;
        tx.clear(keys);
        Ok::<_, Error>(())
    });
    let begun = eventually("the commit has begun", async || {
        let waiting = "select count(*) from pg_stat_activity where wait_event = 'advisory'";
        (server.psql(waiting) == "1").then_some(())
    });
    tokio::select! {
        _ = writing => panic!("the commit does not wait"),
        () = begun => {}
    }
    for page in ["product/2", "category/0", "category/2"] {
        shop.gone(page).await;
    }
}
