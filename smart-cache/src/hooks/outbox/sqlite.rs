//! The outbox in SQLite: one row for each key, looked at when the file has changed, one relay at a
//! time by a lease.

use std::time::{Duration, Instant};

use ::sqlx::sqlite::{Sqlite, SqliteConnection, SqlitePool};
use ::sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tokio::sync::Notify;

use super::durable::{OutboxDatabase, OutboxError, Row, Status, durable_connections};
use super::relay::{self, MOST_KEYS, Pass, Source};
use super::statements::sqlite as statements;
use super::triggers::Triggers;
use crate::backend::BoxFuture;
use crate::cache::SmartCache;

/// How often a relay asks whether the file has changed: a look at memory that processes share.
const POLL: Duration = Duration::from_millis(50);
/// A write of this process was heard of before its commit: look this often, for so long.
const SOON: Duration = Duration::from_millis(2);
const SOON_FOR: Duration = Duration::from_millis(100);
/// A relay that died is succeeded after this.
const LEASE: Duration = Duration::from_secs(2);

/// Wakes the relays of this process.
static WRITTEN: Notify = Notify::const_new();

/// Makes this connection wake the relays of its process when it writes to the outbox, also by a
/// trigger; without it they find out within about fifty milliseconds. For a pool's
/// `after_connect`. It takes the connection's update hook.
///
/// # Errors
/// When the connection has failed.
///
/// # Example
/// ```
/// use smart_cache::hooks::outbox::wake_on_write;
///
/// let pool = sqlx::sqlite::SqlitePoolOptions::new()
///     .after_connect(|connection, _| Box::pin(wake_on_write(connection)));
/// ```
pub async fn wake_on_write(connection: &mut SqliteConnection) -> Result<(), ::sqlx::Error> {
    let mut handle = connection.lock_handle().await?;
    handle.set_update_hook(|change| {
        if change.table == "smart_cache_outbox" {
            WRITTEN.notify_waiters();
        }
    });
    Ok(())
}

durable_connections!(Sqlite, SqliteConnection);

impl OutboxDatabase for Sqlite {
    type Source = SqliteSource;

    fn source(pool: SqlitePool) -> SqliteSource {
        let nonce = crate::protocol::Nonce::fresh();
        // Without randomness two relays might share a lease: both would clear, which is harmless.
        let holder = nonce.map_or_else(
            |_| std::process::id().to_string(),
            |nonce| crate::protocol::hex(nonce.as_bytes()),
        );
        SqliteSource {
            pool,
            holder,
            own: None,
            seen: None,
            look_at: None,
        }
    }

    fn create(connection: &mut SqliteConnection) -> BoxFuture<'_, Result<(), ::sqlx::Error>> {
        Box::pin(async move {
            for statement in [statements::OUTBOX, statements::RELAY] {
                ::sqlx::raw_sql(statement).execute(&mut *connection).await?;
            }
            Ok(())
        })
    }

    fn write<'a>(
        connection: &'a mut SqliteConnection,
        keys: &'a [String],
        grace: Duration,
    ) -> BoxFuture<'a, Result<Vec<Row>, ::sqlx::Error>> {
        Box::pin(async move {
            let mut rows = Vec::with_capacity(keys.len());
            for key in keys {
                let row = ::sqlx::query(statements::WRITE)
                    .bind(key)
                    .bind(millis(grace))
                    .fetch_one(&mut *connection)
                    .await?;
                rows.push(Row {
                    id: row.try_get(0)?,
                    version: row.try_get(1)?,
                });
            }
            WRITTEN.notify_waiters();
            Ok(rows)
        })
    }

    fn forget<'a>(
        pool: &'a SqlitePool,
        rows: &'a [Row],
    ) -> BoxFuture<'a, Result<(), ::sqlx::Error>> {
        Box::pin(async move {
            let mut connection = pool.acquire().await?;
            forget(&mut connection, rows).await
        })
    }

    fn status(pool: &SqlitePool) -> BoxFuture<'_, Result<Status, ::sqlx::Error>> {
        Box::pin(async move {
            let row = ::sqlx::query(statements::STATUS).fetch_one(pool).await?;
            let oldest: Option<i64> = row.try_get(1)?;
            Ok(Status {
                pending: row.try_get::<i64, _>(0)?.unsigned_abs(),
                oldest: oldest.map(|ms| Duration::from_millis(ms.max(0).unsigned_abs())),
            })
        })
    }

    fn install<'a>(
        connection: &'a mut SqliteConnection,
        triggers: &'a Triggers,
    ) -> BoxFuture<'a, Result<(), OutboxError>> {
        Box::pin(async move {
            let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
            let triggers = &with_unique_columns(&mut tx, triggers).await?;
            let there: Vec<(String, String)> = ::sqlx::query_as(
                "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?1",
            )
            .bind(&triggers.table)
            .fetch_all(&mut *tx)
            .await?;
            let wanted = statements::triggers(triggers);
            let mut statements = vec![statements::OUTBOX.to_owned(), statements::RELAY.to_owned()];
            if !wanted.iter().all(|trigger| there.contains(trigger)) {
                statements = statements::install(triggers);
            }
            for statement in statements {
                // Every name and literal in it is quoted; lookups are the program's own code.
                ::sqlx::raw_sql(AssertSqlSafe(statement))
                    .execute(&mut *tx)
                    .await?;
            }
            Ok(tx.commit().await?)
        })
    }

    fn remove<'a>(
        connection: &'a mut SqliteConnection,
        triggers: &'a Triggers,
    ) -> BoxFuture<'a, Result<(), OutboxError>> {
        Box::pin(async move {
            for statement in statements::remove(triggers) {
                ::sqlx::raw_sql(AssertSqlSafe(statement))
                    .execute(&mut *connection)
                    .await?;
            }
            Ok(())
        })
    }
}

/// Adds every set of columns by which a REPLACE could find a row to remove.
async fn with_unique_columns(
    connection: &mut SqliteConnection,
    triggers: &Triggers,
) -> Result<Triggers, ::sqlx::Error> {
    let mut triggers = triggers.clone();
    let key: Vec<String> =
        ::sqlx::query_scalar("SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk")
            .bind(&triggers.table)
            .fetch_all(&mut *connection)
            .await?;
    let mut sets = vec![key];
    // A primary key that is the rowid itself has no index; the others are among these.
    let indexes: Vec<String> =
        ::sqlx::query_scalar("SELECT name FROM pragma_index_list(?1) WHERE \"unique\"")
            .bind(&triggers.table)
            .fetch_all(&mut *connection)
            .await?;
    for index in indexes {
        let columns: Vec<Option<String>> =
            ::sqlx::query_scalar("SELECT name FROM pragma_index_info(?1) ORDER BY seqno")
                .bind(index)
                .fetch_all(&mut *connection)
                .await?;
        // An index over an expression has no name for it.
        sets.extend(columns.into_iter().collect::<Option<Vec<_>>>());
    }
    for set in sets {
        if !set.is_empty() && !triggers.unique.contains(&set) {
            triggers.unique.push(set);
        }
    }
    Ok(triggers)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Removes these rows, except those that have been written again since.
async fn forget(connection: &mut SqliteConnection, rows: &[Row]) -> Result<(), ::sqlx::Error> {
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    for row in rows {
        ::sqlx::query("DELETE FROM smart_cache_outbox WHERE id = ?1 AND version = ?2")
            .bind(row.id)
            .bind(row.version)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await
}

/// A relay's view of the outbox.
#[doc(hidden)]
#[derive(Debug)]
pub struct SqliteSource {
    pool: SqlitePool,
    /// What the lease is held by.
    holder: String,
    /// `data_version` tells one connection of the others' commits, so it must stay the same.
    own: Option<SqliteConnection>,
    /// The version at the last look.
    seen: Option<i64>,
    /// When rows become due that were not at the last look.
    look_at: Option<Instant>,
}

impl SqliteSource {
    async fn connection(&mut self) -> Result<&mut SqliteConnection, ::sqlx::Error> {
        if self.own.is_none() {
            let options = self.pool.connect_options();
            self.own = Some(SqliteConnection::connect_with(&options).await?);
            self.seen = None;
        }
        self.own.as_mut().ok_or(::sqlx::Error::PoolClosed)
    }

    async fn pass(&mut self, cache: &SmartCache) -> Result<Pass, OutboxError> {
        let connection = self.connection().await?;
        let version: i64 = ::sqlx::query_scalar("PRAGMA data_version")
            .fetch_one(&mut *connection)
            .await?;
        // Before the rows are read, so a commit in between is another look.
        let rows = look(connection).await?;
        // However many are not due, none that is waits for them: they are asked for apart.
        let waiting = rows.is_empty()
            && ::sqlx::query_scalar::<_, bool>(statements::ANY)
                .fetch_one(&mut *connection)
                .await?;
        self.seen = Some(version);
        self.look_at = waiting.then(|| Instant::now() + super::GRACE);
        if rows.is_empty() {
            return Ok(if waiting { Pass::Waiting } else { Pass::Empty });
        }
        let holder = self.holder.clone();
        let connection = self.connection().await?;
        let mine = ::sqlx::query(statements::TAKE_LEASE)
            .bind(holder)
            .bind(millis(LEASE))
            .fetch_optional(&mut *connection)
            .await?;
        if mine.is_none() {
            return Ok(Pass::Busy);
        }
        // Another relay may have delivered them before it let go.
        let rows = look(connection).await?;
        let (rows, keys): (Vec<Row>, Vec<String>) = rows.into_iter().unzip();
        relay::clear(cache, keys).await?;
        forget(connection, &rows).await?;
        Ok(Pass::Delivered)
    }
}

/// The oldest rows that are due.
async fn look(connection: &mut SqliteConnection) -> Result<Vec<(Row, String)>, ::sqlx::Error> {
    let found = ::sqlx::query(statements::LOOK)
        .bind(MOST_KEYS as i64)
        .fetch_all(connection)
        .await?;
    let mut rows = Vec::with_capacity(found.len());
    for row in found {
        let version = Row {
            id: row.try_get(0)?,
            version: row.try_get(1)?,
        };
        rows.push((version, row.try_get(2)?));
    }
    Ok(rows)
}

impl Source for SqliteSource {
    fn deliver<'a>(
        &'a mut self,
        cache: &'a SmartCache,
    ) -> BoxFuture<'a, Result<Pass, OutboxError>> {
        Box::pin(async move {
            let passed = self.pass(cache).await;
            if passed.is_err() {
                // The file may have been replaced, or the connection may be broken.
                self.own = None;
            }
            passed
        })
    }

    fn changed<'a>(&'a mut self, asked: &'a Notify) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut soon_until: Option<Instant> = None;
            loop {
                let now = Instant::now();
                let soon = soon_until.is_some_and(|until| now < until);
                tokio::select! {
                    () = asked.notified() => return,
                    () = WRITTEN.notified() => soon_until = Some(now + SOON_FOR),
                    () = tokio::time::sleep(if soon { SOON } else { POLL }) => {}
                }
                if self.look_at.is_some_and(|at| Instant::now() >= at) {
                    return;
                }
                let seen = self.seen;
                let Ok(connection) = self.connection().await else {
                    return;
                };
                let version = ::sqlx::query_scalar::<_, i64>("PRAGMA data_version")
                    .fetch_one(connection)
                    .await;
                if version.ok() != seen {
                    return;
                }
            }
        })
    }
}
