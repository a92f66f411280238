//! A process that writes to a database and clears, or clears what others wrote, until it is killed
//! or kills itself.
//!
//! `committer MODE DATABASE REDIS NAMESPACE PRODUCT [NAME]`
//!
//! - `loop`: renames the product again and again, each time with a row in the outbox; prints
//!   `committed` after each.
//! - `uncommitted`: writes the row and its keys, and dies before the commit.
//! - `between`: dies between the commit and the clear.
//! - `hold`: holds the keys, writes, commits, and dies before it clears.
//! - `rollback`: holds the keys, writes, and dies before the commit.
//! - `relay`: writes nothing; a relay delivers what others have written, until it is killed.

use std::error::Error;
use std::time::Duration;

use smart_cache::hooks::outbox::{OutboxDatabase, clear_in};
use smart_cache::hooks::sqlx::begin_for;
use smart_cache::hooks::{Collector, outbox};
use smart_cache::{BackendKind, SmartCache, StartFlush};
use sqlx::{Connection, Database, Executor, IntoArguments, Pool};

/// How long the modes `hold` and `rollback` hold: shorter than a test, longer than a write.
const HOLD: Duration = Duration::from_millis(1500);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [mode, database, redis, namespace, product, ..] = &arguments[..] else {
        return Err("committer MODE DATABASE REDIS NAMESPACE PRODUCT [NAME]".into());
    };
    let cache = SmartCache::builder()
        .url(redis)
        .backend(BackendKind::Redis)
        .namespace(namespace)
        .flush(StartFlush::Never)
        .timeout(Duration::from_secs(5))
        .build()
        .await?;
    let run = Run {
        mode: mode.clone(),
        cache,
        product: product.parse()?,
        name: arguments.get(5).cloned().unwrap_or_default(),
    };
    if database.starts_with("sqlite:") {
        run.on(sqlx::SqlitePool::connect(database).await?).await
    } else {
        run.on(sqlx::PgPool::connect(database).await?).await
    }
}

struct Run {
    mode: String,
    cache: SmartCache,
    product: i64,
    name: String,
}

impl Run {
    async fn on<DB>(self, pool: Pool<DB>) -> Result<(), Box<dyn Error>>
    where
        DB: OutboxDatabase,
        for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
        DB::Arguments: IntoArguments<DB>,
        for<'q> i64: sqlx::Encode<'q, DB> + sqlx::Type<DB>,
        for<'q> String: sqlx::Encode<'q, DB> + sqlx::Type<DB>,
        DB::Connection: outbox::Durable,
    {
        let keys = [format!("product:{}", self.product), "names".to_owned()];
        match &self.mode[..] {
            "loop" => {
                for round in 0.. {
                    let mut tx = begin_for(&self.cache, &pool).await?;
                    rename(&mut *tx, self.product, format!("round {round}")).await?;
                    clear_in(&mut tx, &keys).await?;
                    tx.commit().await?;
                    println!("committed");
                }
            }
            "uncommitted" => {
                let mut tx = begin_for(&self.cache, &pool).await?;
                rename(&mut *tx, self.product, self.name).await?;
                clear_in(&mut tx, &keys).await?;
                die();
            }
            "between" => {
                let collector = Collector::of(&self.cache);
                collector.add(&keys);
                let mut connection = pool.acquire().await?;
                let mut tx = connection.begin().await?;
                rename(&mut *tx, self.product, self.name).await?;
                clear_in(&mut *tx, &keys).await?;
                collector.commit(then_die(tx.commit())).await?;
            }
            "hold" | "rollback" => {
                let collector = Collector::of(&self.cache);
                collector.hold(&keys, HOLD).await?;
                let mut tx = pool.begin().await?;
                rename(&mut *tx, self.product, self.name).await?;
                println!("held");
                if self.mode == "rollback" {
                    die();
                }
                collector.commit(then_die(tx.commit())).await?;
            }
            "relay" => {
                let _relay = outbox::relay(&self.cache, &pool);
                std::future::pending::<()>().await;
            }
            other => return Err(format!("there is no mode {other:?}").into()),
        }
        Ok(())
    }
}

async fn rename<DB>(
    connection: &mut DB::Connection,
    product: i64,
    name: String,
) -> Result<(), sqlx::Error>
where
    DB: Database,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    for<'q> i64: sqlx::Encode<'q, DB> + sqlx::Type<DB>,
    for<'q> String: sqlx::Encode<'q, DB> + sqlx::Type<DB>,
{
    sqlx::query("UPDATE products SET name = $1 WHERE id = $2")
        .bind(name)
        .bind(product)
        .execute(connection)
        .await?;
    Ok(())
}

async fn then_die(
    commit: impl Future<Output = Result<(), sqlx::Error>>,
) -> Result<(), sqlx::Error> {
    commit.await?;
    die()
}

/// Ends as `kill -9` would: no destructor runs, nothing is flushed.
fn die() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    std::process::abort()
}
