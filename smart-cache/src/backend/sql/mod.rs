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
//!   incarnation is that of the server that answers.
//!
//! `dialect` knows the statements, `driver` sends them, `connect` makes connections.

mod connect;
mod dialect;
mod driver;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::OnceCell;

use self::connect::{Connecting, Life};
use self::dialect::Dialect;
use self::driver::{Arg, Cell, Column, Driver};
use super::{BoxFuture, Counted, Expiry, NamePage, Ttl, ValueStore, matches_glob};
use crate::error::{BackendError, ConfigError};

/// Rows of one statement: databases limit the number of parameters.
const AT_ONCE: usize = 200;
/// Rows that one statement of a purge or a clear deletes, so that none holds its locks for long.
const DELETED_AT_ONCE: i64 = 2_000;
/// Names of one step of a walk.
const PAGE: i64 = 500;
/// Time between two purges of one process.
const PURGE_EVERY: Duration = Duration::from_secs(60);
/// How often a statement is sent again that the database rolled back to end a deadlock.
const DEADLOCKS: usize = 8;
/// A value this long may take one second more than the timeout to be sent.
const BYTES_A_SECOND: u64 = 20 << 20;

/// How a [`SqlStore`] behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SqlOptions {
    /// Values of two namespaces share the table and nothing else.
    pub namespace: String,
    /// Longest wait for one call; a long value is given a second more for each 20 MiB.
    pub timeout: Duration,
    /// Most connections of this store; SQLite has one.
    pub connections: u32,
}

impl Default for SqlOptions {
    fn default() -> Self {
        Self {
            namespace: "cache".to_owned(),
            timeout: Duration::from_millis(250),
            connections: 8,
        }
    }
}

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
            match &*slot {
                Some(opened) => Arc::clone(opened),
                None => {
                    let (driver, life) = self.connecting.open(&self.options)?;
                    let opened = Arc::new(Opened {
                        driver,
                        life,
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
        let work = async {
            let opened = self.opened().await?;
            let mut deadlocks = 0;
            loop {
                match call(Arc::clone(&opened)).await {
                    Err(why) if deadlocks < DEADLOCKS && is_rolled_back(&why) => deadlocks += 1,
                    done => return done,
                }
            }
        };
        match tokio::time::timeout(patience, work).await {
            Ok(done) => done.map_err(|why| failure(&why)),
            Err(_) => Err(BackendError::Timeout(patience)),
        }
    }

    /// Which rows the names are: their hashes, each once.
    fn ids(names: &[String]) -> Vec<Vec<u8>> {
        let mut ids: Vec<_> = names.iter().map(|name| id_of(name)).collect();
        // One order for all, so that two processes do not wait for each other's rows.
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn args(&self, ids: &[Vec<u8>]) -> Vec<Arg> {
        std::iter::once(self.namespace())
            .chain(ids.iter().cloned().map(Arg::Bytes))
            .collect()
    }

    /// The arguments of a statement about one name.
    fn one(&self, name: &str) -> Vec<Arg> {
        vec![self.namespace(), Arg::Bytes(id_of(name))]
    }

    async fn read(&self, names: &[String]) -> Result<Vec<Option<Bytes>>, BackendError> {
        const COLUMNS: [Column; 2] = [Column::Bytes, Column::Bytes];
        let mut found: BTreeMap<Vec<u8>, Bytes> = BTreeMap::new();
        for ids in Self::ids(names).chunks(AT_ONCE) {
            let sql = self.dialect().read(ids.len());
            let rows = self.call(0, |opened| {
                let (sql, args) = (sql.clone(), self.args(ids));
                async move { opened.driver.fetch(sql, args, &COLUMNS).await }
            });
            for row in rows.await? {
                if let [Cell::Bytes(id), Cell::Bytes(value)] = row.as_slice() {
                    found.insert(id.clone(), Bytes::copy_from_slice(value));
                }
            }
        }
        Ok(names
            .iter()
            .map(|name| found.get(&id_of(name)).cloned())
            .collect())
    }

    async fn write(
        &self,
        values: &[(String, Bytes)],
        expiry: Expiry,
    ) -> Result<Vec<usize>, BackendError> {
        let longest = self.longest_value().unwrap_or(u64::MAX);
        let mut refused = Vec::new();
        // Of a name that comes twice the last value counts; sorted for the locks' sake.
        let mut rows: BTreeMap<Vec<u8>, (&str, &Bytes)> = BTreeMap::new();
        for (at, (name, value)) in values.iter().enumerate() {
            if value.len() as u64 > longest {
                refused.push(at);
            } else {
                rows.insert(id_of(name), (name, value));
            }
        }
        if let ([(_, only)], [_]) = (values, refused.as_slice()) {
            return Err(too_large(only.len(), longest));
        }
        let rows: Vec<_> = rows.into_iter().collect();
        for rows in rows.chunks(AT_ONCE) {
            let sql = self.dialect().upsert(rows.len(), expiry.is_some());
            let bytes = rows.iter().map(|(_, (_, value))| value.len()).sum();
            let done = self.call(bytes, |opened| {
                let args = rows
                    .iter()
                    .flat_map(|(id, (name, value))| self.row(id, name, value, expiry))
                    .collect();
                let sql = sql.clone();
                async move { opened.driver.execute(sql, args).await }
            });
            done.await?;
        }
        self.purge_at_times();
        Ok(refused)
    }

    /// The arguments of one new row.
    fn row(&self, id: &[u8], name: &str, value: &[u8], expiry: Expiry) -> Vec<Arg> {
        let mut args = vec![
            self.namespace(),
            Arg::Bytes(id.to_vec()),
            Arg::Bytes(name.as_bytes().to_vec()),
            Arg::Bytes(value.to_vec()),
        ];
        args.extend(expiry.map(|after| Arg::Int(millis(after))));
        args
    }

    async fn insert(
        &self,
        name: &str,
        value: &Bytes,
        expiry: Expiry,
    ) -> Result<bool, BackendError> {
        if let Some(longest) = self.longest_value()
            && value.len() as u64 > longest
        {
            return Err(too_large(value.len(), longest));
        }
        let dialect = self.dialect();
        let added = self.call(value.len(), |opened| {
            let args = self.row(&id_of(name), name, value, expiry);
            let expired = self.one(name);
            async move {
                let insert = dialect.insert(expiry.is_some());
                let inserted = opened.driver.execute(insert.clone(), args.clone()).await;
                match inserted {
                    Ok(done) => Ok(done.rows > 0),
                    // Only where the statement itself cannot replace what has expired.
                    Err(why) if is_taken(&why) => {
                        let gone = opened.driver.execute(dialect.delete_expired(1), expired);
                        if gone.await?.rows == 0 {
                            return Ok(false);
                        }
                        match opened.driver.execute(insert, args).await {
                            Ok(done) => Ok(done.rows > 0),
                            Err(why) if is_taken(&why) => Ok(false),
                            Err(why) => Err(why),
                        }
                    }
                    Err(why) => Err(why),
                }
            }
        });
        let added = added.await?;
        self.purge_at_times();
        Ok(added)
    }

    async fn remove(&self, names: &[String]) -> Result<u64, BackendError> {
        let dialect = self.dialect();
        let mut removed = 0;
        for ids in Self::ids(names).chunks(AT_ONCE) {
            let gone = self.call(0, |opened| {
                let args = self.args(ids);
                async move {
                    if dialect.tells_what_it_deletes() {
                        let sql = dialect.delete(ids.len());
                        let rows = opened.driver.fetch(sql, args, &[Column::Int]).await?;
                        let lived = |row: &&Vec<Cell>| matches!(row[..], [Cell::Int(Some(1))]);
                        return Ok(rows.iter().filter(lived).count() as u64);
                    }
                    let expired = dialect.delete_expired(ids.len());
                    opened.driver.execute(expired, args.clone()).await?;
                    let done = opened
                        .driver
                        .execute(dialect.delete(ids.len()), args)
                        .await?;
                    Ok(done.rows)
                }
            });
            removed += gone.await?;
        }
        Ok(removed)
    }

    async fn count(&self, name: &str, delta: i64) -> Result<Counted, BackendError> {
        let dialect = self.dialect();
        for _ in 0..DEADLOCKS {
            let counted = self.call(0, |opened| {
                let (mut args, deltas) = (Vec::new(), dialect.deltas_of_increment());
                args.push(Arg::Int(delta));
                args.extend(self.one(name));
                args.extend((1..deltas).map(|_| Arg::Int(delta)));
                async move {
                    let sql = dialect.increment();
                    if dialect.returns_what_it_writes() {
                        let rows = opened.driver.fetch(sql, args, &[Column::Bytes]).await?;
                        return Ok(rows.first().and_then(|row| whole_number(row.first()?)));
                    }
                    let done = opened.driver.execute(sql, args).await?;
                    Ok((done.rows > 0).then_some(done.id.cast_signed()))
                }
            });
            if let Some(now) = counted.await? {
                return Ok(Counted::Now(now));
            }
            // Nothing was changed: look why.
            let value = self.read(&[name.to_owned()]).await?.pop().flatten();
            let Some(value) = value else {
                return Ok(Counted::Missing);
            };
            match whole_number(&Cell::Bytes(value.to_vec())) {
                None => return Ok(Counted::NotAnInteger),
                Some(number) if number.checked_add(delta).is_none() => {
                    return Ok(Counted::Overflow);
                }
                // It has changed between the two looks.
                Some(_) => {}
            }
        }
        Err(BackendError::Refused(
            "the counter changes all the time".into(),
        ))
    }

    async fn time_left(&self, name: &str) -> Result<Ttl, BackendError> {
        let sql = self.dialect().time_left();
        let rows = self.call(0, |opened| {
            let (sql, args) = (sql.clone(), self.one(name));
            async move { opened.driver.fetch(sql, args, &[Column::Int]).await }
        });
        Ok(match rows.await?.first().map(Vec::as_slice) {
            Some([Cell::Int(None)]) => Ttl::Never,
            Some([Cell::Int(Some(left))]) => {
                Ttl::After(Duration::from_millis(left.unsigned_abs().max(1)))
            }
            _ => Ttl::Missing,
        })
    }

    async fn page(&self, glob: &str, from: Option<String>) -> Result<NamePage, BackendError> {
        const COLUMNS: [Column; 2] = [Column::Bytes, Column::Bytes];
        let from = from.map(|from| unhex(&from)).unwrap_or_default();
        let sql = self.dialect().page(PAGE);
        let rows = self.call(0, |opened| {
            let (sql, args) = (
                sql.clone(),
                vec![self.namespace(), Arg::Bytes(from.clone())],
            );
            async move { opened.driver.fetch(sql, args, &COLUMNS).await }
        });
        let rows = rows.await?;
        let mut page = NamePage::default();
        for row in &rows {
            if let [Cell::Bytes(id), Cell::Bytes(name)] = row.as_slice() {
                let name = String::from_utf8_lossy(name).into_owned();
                page.names
                    .extend(Some(name).filter(|name| matches_glob(glob, name)));
                page.next = Some(crate::protocol::hex(id));
            }
        }
        if rows.len() < PAGE as usize {
            page.next = None;
        }
        Ok(page)
    }

    async fn empty(&self) -> Result<(), BackendError> {
        let sql = self.dialect().delete_some_of_namespace(DELETED_AT_ONCE);
        loop {
            let done = self.call(0, |opened| {
                let (sql, args) = (sql.clone(), vec![self.namespace()]);
                async move { opened.driver.execute(sql, args).await }
            });
            if done.await?.rows < DELETED_AT_ONCE.unsigned_abs() {
                return Ok(());
            }
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
            if purged.elapsed() < PURGE_EVERY {
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
    /// itself about once a minute while it is written to.
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
    let code = why.as_database_error().and_then(|error| error.code());
    matches!(
        code.as_deref(),
        Some("40001" | "40P01" | "5" | "6" | "261" | "517")
    )
}

/// Whether there is such a row already.
fn is_taken(why: &sqlx::Error) -> bool {
    why.as_database_error()
        .is_some_and(|error| error.is_unique_violation())
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
