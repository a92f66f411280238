//! Models and transactions of SeaORM: which pages a write clears, and when.
//!
//! Over 400 lines: one set of entities, and everything that their library does with them.

use futures_util::FutureExt as _;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, Database, DatabaseConnection,
    DbErr, EntityTrait, IntoActiveModel as _, ModelTrait, QueryFilter, SqlxSqliteConnector,
    TransactionError, TransactionTrait as _,
};
use smart_cache::hooks::outbox::{self, Triggers, install_triggers};
use smart_cache::hooks::sea_orm::{begin, begin_for, transaction};
use smart_cache_tests::harness::{PostgresServer, SqliteFile, eventually};
use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;

use crate::groups::Shop;
use crate::stage::{HIT, Products, every_kind, in_memory};

const OPEN: &str = "smart-cache; fwd=bypass; detail=transaction";

#[expect(unreachable_pub, reason = "SeaORM derives public items beside these")]
mod product {
    use sea_orm::entity::prelude::*;
    use smart_cache::hooks::CacheKeys;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, CacheKeys)]
    #[sea_orm(table_name = "products")]
    #[cache_keys("product:{id}", "category:{category_id}")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub name: String,
        pub category_id: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    smart_cache::sea_orm_hooks!(ActiveModel);
}

fn moved(id: i64, category_id: i64) -> product::ActiveModel {
    product::ActiveModel {
        id: Set(id),
        category_id: Set(category_id),
        ..Default::default()
    }
}

fn fresh(id: i64, category_id: i64) -> product::ActiveModel {
    product::ActiveModel {
        name: Set("fresh".to_owned()),
        ..moved(id, category_id)
    }
}

async fn on_sqlite(
    cache: &smart_cache::SmartCache,
) -> (SqliteFile, SqlitePool, DatabaseConnection, Shop) {
    let (file, pool) = SqliteFile::of_products().await;
    let db = SqlxSqliteConnector::from_sqlx_sqlite_pool(pool.clone());
    let shop = Shop::new(cache, Products::Sqlite(pool.clone()));
    shop.warm().await;
    (file, pool, db, shop)
}

#[tokio::test]
async fn a_model_that_moves_to_another_group_clears_both_after_the_commit() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let (_file, _, db, shop) = on_sqlite(&cache).await;
        let tx = begin_for(&cache, &db).await.unwrap();
        moved(1, 2).update(&*tx).await.unwrap();
        assert_eq!(shop.cleared().await, [""; 0], "not committed yet");
        for page in ["product/1", "category/1", "category/2"] {
            assert_eq!(shop.page_here(page).await.1, OPEN, "{page}");
        }
        tx.commit().await.unwrap().cleared.unwrap();
        assert_eq!(
            shop.cleared().await,
            ["product/1", "category/1", "category/2"]
        );
        assert_eq!(shop.page("category/2").await.0, "1");
        assert_eq!(cache.stats().clears, 1);
    }
}

#[tokio::test]
async fn a_model_whose_transaction_is_rolled_back_clears_nothing() {
    let cache = in_memory().await;
    let (_file, _, db, shop) = on_sqlite(&cache).await;
    let tx = begin_for(&cache, &db).await.unwrap();
    moved(1, 2).update(&*tx).await.unwrap();
    tx.rollback().await.unwrap();
    let tx = begin_for(&cache, &db).await.unwrap();
    moved(1, 2).delete(&*tx).await.unwrap();
    drop(tx);
    shop.handle(async move {
        let failed = transaction(&db, async |tx| {
            moved(1, 2).update(&**tx).await?;
            Err::<(), _>(DbErr::Custom("no".to_owned()))
        });
        assert!(matches!(
            failed.await,
            Err(TransactionError::Transaction(DbErr::Custom(_)))
        ));
    })
    .await;
    assert_eq!(shop.cleared().await, [""; 0]);
    assert_eq!(cache.stats().clears, 1, "the handler's own");
}

#[tokio::test]
async fn a_savepoint_that_is_rolled_back_takes_its_models_with_it() {
    let cache = in_memory().await;
    let (_file, _, db, shop) = on_sqlite(&cache).await;
    let tx = begin_for(&cache, &db).await.unwrap();
    let dropped = tx.begin().await.unwrap();
    moved(1, 2).update(&*dropped).await.unwrap();
    dropped.rollback().await.unwrap();
    // A function that was handed a transaction may begin its own.
    let inner = begin(&*tx).await.unwrap();
    moved(2, 2).update(&*inner).await.unwrap();
    inner.commit().await.unwrap();
    assert_eq!(shop.cleared().await, [""; 0], "not committed yet");
    tx.commit().await.unwrap();
    assert_eq!(
        shop.cleared().await,
        ["product/2", "category/0", "category/2"]
    );
}

#[tokio::test]
async fn a_transaction_in_a_closure_clears_in_the_handlers_own_cache() {
    let cache = in_memory().await;
    let (_file, _, db, shop) = on_sqlite(&cache).await;
    shop.handle(async move {
        let committed = transaction(&db, async |tx| {
            fresh(9, 2).insert(&**tx).await?;
            tx.clear("product:2");
            Ok::<_, DbErr>(9)
        });
        let committed = committed.await.unwrap();
        assert_eq!(committed.value, 9);
        committed.cleared.unwrap();
    })
    .await;
    assert_eq!(shop.cleared().await, ["product/2", "category/2"]);
}

#[tokio::test]
async fn a_statement_that_is_its_own_commit_clears_at_once() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let (_file, _, db, shop) = on_sqlite(&cache).await;
        let own = db.clone();
        shop.handle(async move { drop(moved(1, 2).update(&own).await.unwrap()) })
            .await;
        assert_eq!(
            shop.cleared().await,
            ["product/1", "category/1", "category/2"]
        );
        shop.warm().await;
        let own = db.clone();
        // Nothing but the primary key is known of it.
        let known = product::ActiveModel {
            id: Set(2),
            ..Default::default()
        };
        shop.handle(async move {
            let deleted = known.delete(&own).await.unwrap();
            assert_eq!(deleted.rows_affected, 1);
        })
        .await;
        assert_eq!(shop.cleared().await, ["product/2", "category/0"]);
        shop.warm().await;
        shop.handle(async move {
            let saved = fresh(0, 1).into_active_model();
            let unsaved = product::ActiveModel {
                id: sea_orm::ActiveValue::NotSet,
                ..saved
            };
            let saved = unsaved.save(&db).await.unwrap();
            let found = product::Entity::find_by_id(saved.id.unwrap());
            found
                .one(&db)
                .await
                .unwrap()
                .unwrap()
                .delete(&db)
                .await
                .unwrap();
        })
        .await;
        assert_eq!(shop.cleared().await, ["category/1"]);
    }
}

#[tokio::test]
async fn a_statement_of_its_own_beside_an_open_transaction_does_not_wait_for_it() {
    let cache = in_memory().await;
    let (_file, pool, db, shop) = on_sqlite(&cache).await;
    let other = shop.clone();
    shop.handle(async move {
        // It has written nothing, so SQLite lets others write.
        let tx = begin(&db).await.unwrap();
        tx.clear("product:2");
        moved(1, 2).update(&db).await.unwrap();
        assert_eq!(
            other.cleared().await,
            ["product/1", "category/1", "category/2"]
        );
        tx.rollback().await.unwrap();
    })
    .await;
    assert_eq!(shop.page("product/2").await.1, HIT);
    drop(pool);
}

#[tokio::test]
async fn a_request_that_is_cancelled_while_it_commits_still_clears() {
    let cache = in_memory().await;
    let (_file, _, db, shop) = on_sqlite(&cache).await;
    let tx = begin_for(&cache, &db).await.unwrap();
    moved(1, 2).update(&*tx).await.unwrap();
    let mut committing = Box::pin(tx.commit());
    assert!((&mut committing).now_or_never().is_none());
    drop(committing);
    for page in ["product/1", "category/1", "category/2"] {
        shop.gone(page).await;
    }
}

#[tokio::test]
async fn a_transaction_that_clears_nothing_itself_clears_too_early_rather_than_never() {
    let cache = in_memory().await;
    let (_file, _, db, shop) = on_sqlite(&cache).await;
    let pages = shop.clone();
    shop.handle(async move {
        let tx = db.begin().await.unwrap();
        moved(1, 2).update(&tx).await.unwrap();
        assert_eq!(
            pages.cleared().await,
            ["product/1", "category/1", "category/2"]
        );
        tx.commit().await.unwrap();
    })
    .await;
}

/// Every write of SeaORM that calls no hook; each concerns the product 1 or its category.
const UNSEEN: [&str; 10] = [
    "update_many",
    "insert_many",
    "insert_many, without returning",
    "insert",
    "insert, without returning",
    "update",
    "update, without returning",
    "delete",
    "delete_many",
    "raw SQL",
];

async fn unseen(what: &str, db: &impl ConnectionTrait) {
    use product::{Column, Entity};

    let many = [fresh(11, 1), fresh(12, 1)];
    let outcome = match what {
        "update_many" => {
            let update = Entity::update_many().col_expr(Column::Name, Expr::value("many"));
            update.filter(Column::Id.eq(1)).exec(db).await.map(drop)
        }
        "insert_many" => Entity::insert_many(many).exec(db).await.map(drop),
        "insert_many, without returning" => {
            let insert = Entity::insert_many([fresh(15, 1)]);
            insert.exec_without_returning(db).await.map(drop)
        }
        "insert" => Entity::insert(fresh(13, 1)).exec(db).await.map(drop),
        "insert, without returning" => {
            let insert = Entity::insert(fresh(14, 1));
            insert.exec_without_returning(db).await.map(drop)
        }
        "update" => Entity::update(moved(14, 1)).exec(db).await.map(drop),
        "update, without returning" => {
            let update = Entity::update(moved(14, 1));
            update.exec_without_returning(db).await.map(drop)
        }
        "delete" => Entity::delete_by_id(13).exec(db).await.map(drop),
        "delete_many" => {
            let delete = Entity::delete_many().filter(Column::Id.gt(10));
            delete.exec(db).await.map(drop)
        }
        _ => {
            let raw = "UPDATE products SET name = 'raw' WHERE id = 1";
            db.execute_unprepared(raw).await.map(drop)
        }
    };
    outcome.unwrap_or_else(|why| panic!("{what}: {why}"));
}

#[tokio::test]
async fn writes_that_no_hook_sees_clear_nothing_until_triggers_see_each_of_them() {
    let cache = in_memory().await;
    let (_file, pool, db, shop) = on_sqlite(&cache).await;
    let tx = begin_for(&cache, &db).await.unwrap();
    for what in UNSEEN {
        unseen(what, &*tx).await;
    }
    tx.commit().await.unwrap();
    assert_eq!(shop.cleared().await, [""; 0]);

    let keys = ["product:{id}", "category:{category_id}"];
    let triggers = Triggers::on("products", keys).unwrap();
    install_triggers(&mut *pool.acquire().await.unwrap(), &triggers)
        .await
        .unwrap();
    cache.clear_all().await.unwrap();
    let relay = outbox::relay(&cache, &pool);
    for what in UNSEEN {
        shop.warm().await;
        unseen(what, &db).await;
        shop.gone("category/1").await;
    }
    drop(relay);
}

/// SeaORM calls the hook before it, which knows what the row will be, and not the one after it.
#[tokio::test]
async fn an_update_without_returning_clears_both_groups_after_the_commit() {
    let cache = in_memory().await;
    let (_file, _, db, shop) = on_sqlite(&cache).await;
    let tx = begin_for(&cache, &db).await.unwrap();
    moved(1, 2).update_without_returning(&*tx).await.unwrap();
    assert_eq!(shop.cleared().await, [""; 0], "not committed yet");
    tx.commit().await.unwrap();
    assert_eq!(
        shop.cleared().await,
        ["product/1", "category/1", "category/2"]
    );
    // What a trigger of the database makes of the row, no hook can foresee.
    db.execute_unprepared(
        "CREATE TRIGGER moves AFTER UPDATE OF name ON products BEGIN
         UPDATE products SET category_id = 0 WHERE id = new.id; END",
    )
    .await
    .unwrap();
    shop.warm().await;
    let tx = begin_for(&cache, &db).await.unwrap();
    let renamed = product::ActiveModel {
        id: Set(1),
        name: Set("renamed".to_owned()),
        ..Default::default()
    };
    renamed.update_without_returning(&*tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(shop.cleared().await, ["product/1", "category/2"]);
}

#[tokio::test]
async fn two_transactions_that_move_one_row_clear_every_group_it_was_in() {
    let server = PostgresServer::start().await;
    let url = server.database();
    server.psql_at(
        &url,
        "CREATE TABLE products (id bigserial PRIMARY KEY, name text NOT NULL, category_id bigint NOT NULL);
         INSERT INTO products (name, category_id) VALUES ('old', 1), ('old', 0)",
    );
    let cache = in_memory().await;
    let shop = Shop::new(
        &cache,
        Products::Postgres(PgPool::connect(&url).await.unwrap()),
    );
    shop.warm().await;
    let db = Database::connect(&url).await.unwrap();
    let first = begin_for(&cache, &db).await.unwrap();
    moved(1, 2).update(&*first).await.unwrap();
    let second = {
        let (cache, db) = (cache.clone(), db.clone());
        tokio::spawn(async move {
            let tx = begin_for(&cache, &db).await.unwrap();
            // Waits for the first, whose group it could not see before.
            moved(1, 0).update(&*tx).await.unwrap();
            tx
        })
    };
    eventually("the second waits for the first", async || {
        let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
        (server.psql(waiting) == "1").then_some(())
    })
    .await;
    first.commit().await.unwrap().cleared.unwrap();
    let second = second.await.unwrap();
    assert_eq!(
        shop.cleared().await,
        ["product/1", "category/1", "category/2"]
    );
    shop.warm().await;
    assert_eq!(shop.page("category/2").await.0, "1");
    second.commit().await.unwrap().cleared.unwrap();
    assert_eq!(
        shop.cleared().await,
        ["product/1", "category/0", "category/2"]
    );
    assert_eq!(shop.page("category/2").await.0, "0");
}
