//! Plain values in a table of a SQL database: SQLite, PostgreSQL, MySQL or MariaDB.
//!
//! The database of an application that has no Redis. Every call is a statement of its own on
//! connections of its own, outside of the application's transactions: a clear that a rollback took
//! back would be none. What expires does so by the clock of the database.
//!
//! Invariants
//! - A row that is cleared is deleted, also one that has expired: a clock that steps back must not
//!   bring it to life again.
//! - An `add` is sent again only when the database has said that it rolled it back.
//! - Only the primary is asked: a connection to a replica or a read-only server is refused.
//! - A connection from before the latest restart of the server is never used again, so the
//!   incarnation is that of the server that answers. Nor is one to a file of SQLite that does not
//!   stand in its place any more.
//!
//! `dialect` knows the statements, `driver` sends them, `connect` makes connections.
//!
//! Over 400 lines: the trait has many methods, and each is one statement.

mod calls;
mod connect;
mod dialect;
mod driver;
mod options;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::OnceCell;

use self::connect::{Connecting, Life};
use self::dialect::Dialect;
use self::driver::{Arg, Cell, Driver};
pub use self::options::SqlOptions;
use super::{BoxFuture, Counted, Expiry, NamePage, Ttl, ValueStore};
use crate::error::{BackendError, ConfigError};

/// Rows of one statement: databases limit the number of parameters.
const AT_ONCE: usize = 200;
/// Rows that one statement of a purge or a clear deletes, so that none holds its locks for long.
const DELETED_AT_ONCE: i64 = 2_000;
/// Names of one step of a walk.
const PAGE: i64 = 500;
/// How often a statement is sent again that the database rolled back to end a deadlock.
const DEADLOCKS: usize = 8;
/// A value this long may take one second more than the timeout to be sent.
const BYTES_A_SECOND: u64 = 20 << 20;

/// Plain values in the table `smart_cache_values`, which it creates.
///
/// | database | its URL | feature | survives a restart of the server |
/// |---|---|---|---|
/// | SQLite | `sqlite:/path/of/a/file.db` | `sql-sqlite` | yes; responses not one of the machine |
/// | PostgreSQL | `postgres://user:password@host/database` | `sql-postgres` | values do, responses not; a crash loses both (the table is unlogged) |
/// | MySQL, MariaDB | `mysql://user:password@host/database` | `sql-mysql` | values do, responses not |
///
/// Round trips: one for each method, but two for `add` over an expired value and three for
/// `delete_many` on MySQL, and four for `rename`, which is a transaction. `set_many` and
/// `delete_many` take one for each 200 names. An `increment` that finds nothing to count asks once
/// more why.
///
/// # Example
/// ```
/// use smart_cache::backend::{SqlOptions, SqlStore};
///
/// # fn example() -> Result<(), smart_cache::ConfigError> {
/// let store = SqlStore::new("sqlite:/var/lib/shop/cache.db", SqlOptions::default())?;
/// # Ok(())
/// # }
/// ```
///
/// # Pitfalls
/// A backup that is restored into a running server, or under a file that nobody has open, brings
/// old values back and nothing tells: call `clear_all` after it. The database must be one server:
/// behind a proxy that spreads statements over several of them, each has its own incarnation.
#[derive(Debug)]
pub struct SqlStore {
    connecting: Connecting,
    options: SqlOptions,
    /// `None` before the first call and after [`close`](ValueStore::close).
    opened: Mutex<Option<Arc<Opened>>>,
}

/// Connections, and what is known of the server behind them.
#[derive(Debug)]
struct Opened {
    driver: Arc<dyn Driver>,
    life: Arc<Life>,
    /// Which file it is, where it is one.
    file: Option<u64>,
    table: OnceCell<()>,
    purged: Mutex<Instant>,
}

impl SqlStore {
    /// A store in the database of this URL; nothing is sent yet.
    ///
    /// # Errors
    /// When the URL names no database, or one whose feature is not compiled in.
    pub fn new(url: &str, options: SqlOptions) -> Result<Self, ConfigError> {
        Ok(Self {
            connecting: Connecting::parse(url)?,
            options,
            opened: Mutex::new(None),
        })
    }

    fn dialect(&self) -> Dialect {
        self.connecting.dialect()
    }

    fn namespace(&self) -> Arg {
        Arg::Bytes(self.options.namespace.clone().into_bytes())
    }

    /// The connections; the first call also makes the table.
    async fn opened(&self) -> Result<Arc<Opened>, sqlx::Error> {
        let opened = {
            let mut slot = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
            // A file that was removed or replaced lives on for those who have it open, and there
            // nobody hears of clears any more.
            let moved = slot.take_if(|opened| opened.file != self.connecting.file());
            if let Some(moved) = moved {
                tracing::warn!(store = %self.connecting.describe(), "the file was removed or replaced: responses from before are cold");
                tokio::spawn(async move { moved.driver.close().await });
            }
            match &*slot {
                Some(opened) => Arc::clone(opened),
                None => {
                    let (driver, life) = self.connecting.open(&self.options)?;
                    let opened = Arc::new(Opened {
                        driver,
                        life,
                        file: self.connecting.file(),
                        table: OnceCell::new(),
                        purged: Mutex::new(Instant::now()),
                    });
                    *slot = Some(Arc::clone(&opened));
                    opened
                }
            }
        };
        opened
            .table
            .get_or_try_init(|| self.make_table(&*opened.driver))
            .await?;
        Ok(opened)
    }

    async fn make_table(&self, driver: &dyn Driver) -> Result<(), sqlx::Error> {
        for statement in self.dialect().table() {
            if let Err(why) = driver.execute(statement.clone(), Vec::new()).await {
                // Another process was faster, or we may use the table and not make it.
                let probe = driver.execute(self.dialect().probe(), Vec::new()).await;
                if probe.is_err() {
                    return Err(why);
                }
            }
        }
        Ok(())
    }

    /// One call: within the timeout, with a second more for each 20 MiB, and again when the
    /// database rolled it back for a deadlock.
    async fn call<T, F>(
        &self,
        bytes: usize,
        mut call: impl FnMut(Arc<Opened>) -> F,
    ) -> Result<T, BackendError>
    where
        F: Future<Output = Result<T, sqlx::Error>>,
    {
        let sending = Duration::from_millis(bytes as u64 * 1000 / BYTES_A_SECOND);
        let patience = self.options.timeout + sending;
        let began = Instant::now();
        let work = async {
            let opened = self.opened().await?;
            let mut deadlocks = 0;
            loop {
                match call(Arc::clone(&opened)).await {
                    // What has waited for long would be waiting for long again.
                    Err(why)
                        if deadlocks < DEADLOCKS
                            && is_rolled_back(&why)
                            && began.elapsed() < patience / 2 =>
                    {
                        deadlocks += 1;
                    }
                    done => return done,
                }
            }
        };
        match tokio::time::timeout(patience, work).await {
            Ok(done) => done.map_err(|why| failure(&why)),
            Err(_) => Err(BackendError::Timeout(patience)),
        }
    }

    /// Deletes what has expired, in the background, once in a while.
    fn purge_at_times(&self) {
        let opened = self
            .opened
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(opened) = opened else { return };
        {
            let mut purged = opened.purged.lock().unwrap_or_else(PoisonError::into_inner);
            if purged.elapsed() < self.options.purge_every {
                return;
            }
            *purged = Instant::now();
        }
        let sql = self.dialect().purge(DELETED_AT_ONCE);
        tokio::spawn(async move {
            loop {
                match opened.driver.execute(sql.clone(), Vec::new()).await {
                    Ok(done) if done.rows < DELETED_AT_ONCE.unsigned_abs() => return,
                    Ok(_) => {}
                    Err(why) => {
                        tracing::debug!(cause = %why, "what has expired stays until the next purge");
                        return;
                    }
                }
            }
        });
    }

    /// Deletes what has expired, in every namespace of the table; how many rows. A store does so by
    /// itself while it is written to, every [`SqlOptions::purge_every`].
    ///
    /// # Errors
    /// When the database does not answer; what was deleted until then is gone.
    pub async fn purge(&self) -> Result<u64, BackendError> {
        let sql = self.dialect().purge(DELETED_AT_ONCE);
        let mut purged = 0;
        loop {
            let done = self.call(0, |opened| {
                let sql = sql.clone();
                async move { opened.driver.execute(sql, Vec::new()).await }
            });
            let rows = done.await?.rows;
            purged += rows;
            if rows < DELETED_AT_ONCE.unsigned_abs() {
                return Ok(purged);
            }
        }
    }
}

impl ValueStore for SqlStore {
    fn get_many<'a>(
        &'a self,
        names: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, BackendError>> {
        Box::pin(self.read(names))
    }

    fn set_many<'a>(
        &'a self,
        values: &'a [(String, Bytes)],
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<Vec<usize>, BackendError>> {
        Box::pin(self.write(values, expiry))
    }

    fn add<'a>(
        &'a self,
        name: &'a str,
        value: Bytes,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move { self.insert(name, &value, expiry).await })
    }

    fn touch<'a>(
        &'a self,
        name: &'a str,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            let sql = self.dialect().touch(expiry.is_some());
            let done = self.call(0, |opened| {
                let mut args: Vec<_> = expiry
                    .map(|after| Arg::Int(millis(after)))
                    .into_iter()
                    .collect();
                args.extend(self.one(name));
                let sql = sql.clone();
                async move { opened.driver.execute(sql, args).await }
            });
            Ok(done.await?.rows > 0)
        })
    }

    fn delete_many<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<u64, BackendError>> {
        Box::pin(self.remove(names))
    }

    fn increment<'a>(
        &'a self,
        name: &'a str,
        delta: i64,
    ) -> BoxFuture<'a, Result<Counted, BackendError>> {
        Box::pin(self.count(name, delta))
    }

    fn rename<'a>(
        &'a self,
        from: &'a str,
        to: &'a str,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            let dialect = self.dialect();
            self.call(0, |opened| {
                let mut update = vec![Arg::Bytes(id_of(to)), Arg::Bytes(to.as_bytes().to_vec())];
                update.extend(self.one(from));
                let steps = [
                    (dialect.lock(), self.one(from)),
                    (dialect.delete_plainly(), self.one(to)),
                    (dialect.rename(), update),
                ];
                let is_same = from == to;
                async move { opened.driver.rename(steps, is_same).await }
            })
            .await
        })
    }

    fn exchange<'a>(
        &'a self,
        name: &'a str,
        old: &'a Bytes,
        new: Option<&'a Bytes>,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(self.compare_and_set(name, old, new))
    }

    fn ttl<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Ttl, BackendError>> {
        Box::pin(self.time_left(name))
    }

    fn names<'a>(
        &'a self,
        glob: &'a str,
        from: Option<String>,
    ) -> BoxFuture<'a, Result<NamePage, BackendError>> {
        Box::pin(self.page(glob, from))
    }

    fn clear(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(self.empty())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        let opened = self
            .opened
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        Box::pin(async move {
            if let Some(opened) = opened {
                opened.driver.close().await;
            }
        })
    }

    fn incarnation(&self) -> BoxFuture<'_, Result<String, BackendError>> {
        Box::pin(async move {
            self.call(0, |opened| async move {
                if let Some(life) = opened.life.text() {
                    return Ok(life);
                }
                // The first connection tells it.
                opened
                    .driver
                    .fetch("SELECT 1".to_owned(), Vec::new(), &[])
                    .await?;
                opened.life.text().ok_or(sqlx::Error::WorkerCrashed)
            })
            .await
        })
    }

    fn blocking_twin(&self) -> Option<Arc<dyn ValueStore>> {
        // A connection belongs to the runtime that opened it.
        Some(Arc::new(Self {
            connecting: self.connecting.clone(),
            options: self.options.clone(),
            opened: Mutex::new(None),
        }))
    }

    fn longest_value(&self) -> Option<u64> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let told = opened.as_ref().and_then(|opened| opened.life.longest());
        Some(told.unwrap_or_else(|| self.dialect().longest_value()))
    }

    fn describe(&self) -> String {
        format!(
            "{}, namespace {:?}",
            self.connecting.describe(),
            self.options.namespace
        )
    }
}

/// Names have any length, so their hash stands for them.
fn id_of(name: &str) -> Vec<u8> {
    blake3::hash(name.as_bytes()).as_bytes().to_vec()
}

/// Whole milliseconds, at least one; beyond what a column holds it is as good as never.
fn millis(after: Duration) -> i64 {
    i64::try_from(after.as_micros().div_ceil(1000))
        .map_or(i64::MAX / 4, |ms| ms.clamp(1, i64::MAX / 4))
}

/// What a database counts with: digits with an optional minus, without leading zeros.
fn whole_number(cell: &Cell) -> Option<i64> {
    let Cell::Bytes(bytes) = cell else {
        return None;
    };
    let text = std::str::from_utf8(bytes).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| text.get(2 * at..2 * at + 2);
    (0..text.len() / 2)
        .filter_map(|at| u8::from_str_radix(digit(at)?, 16).ok())
        .collect()
}

fn too_large(bytes: usize, limit: u64) -> BackendError {
    BackendError::TooLarge {
        bytes: bytes as u64,
        limit,
    }
}

/// Whether the database rolled a statement back to end a deadlock, or was busy and did nothing.
fn is_rolled_back(why: &sqlx::Error) -> bool {
    let code = why
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    matches!(
        code.as_deref(),
        Some("40001" | "40P01" | "5" | "6" | "261" | "517")
    )
}

/// Whether there is such a row already.
fn is_taken(why: &sqlx::Error) -> bool {
    why.as_database_error()
        .is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

/// What a failure means to those who asked. Messages of sqlx hold no password.
fn failure(why: &sqlx::Error) -> BackendError {
    match why {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => BackendError::Disconnected(why.to_string().into()),
        sqlx::Error::Database(_) | sqlx::Error::Configuration(_) => {
            BackendError::Refused(why.to_string().into())
        }
        _ => BackendError::Protocol(why.to_string().into()),
    }
}
