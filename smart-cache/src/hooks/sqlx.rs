//! Transactions of sqlx whose clears follow the commit.
//!
//! # Example
//! ```
//! # #[cfg(feature = "sqlx-sqlite")]
//! # async fn example(pool: sqlx::SqlitePool) -> Result<(), sqlx::Error> {
//! use smart_cache::hooks::sqlx::begin;
//!
//! let mut tx = begin(&pool).await?;
//! sqlx::query("UPDATE products SET name = 'Lamp' WHERE id = 7").execute(&mut *tx).await?;
//! tx.clear(["product:7", "products"]);
//! tx.commit().await?; // commits, then clears; a rollback would clear nothing
//! # Ok(())
//! # }
//! ```

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use ::sqlx::{Database, Error, Pool};

use super::outbox::{OutboxDatabase, OutboxError, Row};
use super::{Collector, Committed, Savepoint};
use crate::backend::BoxFuture;
use crate::cache::SmartCache;
use crate::key::IntoKeys;

/// Begins a transaction whose clears go to the cache of the annotated handler that is running,
/// else to the default one.
///
/// # Errors
/// As `Pool::begin`.
pub async fn begin<DB: Database>(pool: &Pool<DB>) -> Result<Transaction<'static, DB>, Error> {
    begin_with(pool, Collector::open()).await
}

/// Begins a transaction whose clears go to this cache.
///
/// # Errors
/// As `Pool::begin`.
pub async fn begin_for<DB: Database>(
    cache: &SmartCache,
    pool: &Pool<DB>,
) -> Result<Transaction<'static, DB>, Error> {
    begin_with(pool, Collector::of(cache)).await
}

async fn begin_with<DB: Database>(
    pool: &Pool<DB>,
    collector: Collector,
) -> Result<Transaction<'static, DB>, Error> {
    let mut transaction = Transaction::new(pool.begin().await?, collector);
    transaction.pool = Some(pool.clone());
    Ok(transaction)
}

/// A transaction, or a savepoint in one, that clears after its commit. It derefs to the
/// connection, as sqlx's own does: `execute(&mut *tx)`.
///
/// Dropping it rolls back, and clears nothing.
#[must_use = "dropping it rolls back"]
pub struct Transaction<'c, DB: Database> {
    inner: ::sqlx::Transaction<'c, DB>,
    end: End,
    /// Where the outbox's rows are removed once their clear has been made; `None` leaves that to
    /// the relay.
    pool: Option<Pool<DB>>,
    durable: Durable<DB>,
}

/// The rows of the outbox that this transaction has written, and what removes them.
struct Durable<DB: Database> {
    rows: Arc<Mutex<Vec<Row>>>,
    forget: Option<Forget<DB>>,
}

type Forget<DB> = fn(Pool<DB>, Vec<Row>) -> BoxFuture<'static, ()>;

/// What follows the end of this level.
#[derive(Debug)]
enum End {
    Commit(Collector),
    Release(Savepoint),
}

impl<DB: Database> std::fmt::Debug for Transaction<'_, DB> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction")
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}

impl<'c, DB: Database> Transaction<'c, DB> {
    /// Binds a transaction that was begun otherwise (`begin_with("BEGIN IMMEDIATE")`, on one
    /// connection) to a collector.
    pub fn new(inner: ::sqlx::Transaction<'c, DB>, collector: Collector) -> Self {
        Self {
            inner,
            end: End::Commit(collector),
            pool: None,
            durable: Durable {
                rows: Arc::default(),
                forget: None,
            },
        }
    }

    /// Adds keys and tags that are to be cleared after the commit. Costs nothing until then.
    ///
    /// A process that is killed between the commit and the clear clears nothing: see
    /// [`clear_in`](super::outbox::clear_in).
    pub fn clear(&self, keys: impl IntoKeys) {
        match &self.end {
            End::Commit(collector) => collector.add(keys),
            End::Release(savepoint) => savepoint.add(keys),
        }
    }

    /// Opens a savepoint: a transaction inside this one. Its commit clears nothing yet, its
    /// rollback forgets its own keys alone.
    ///
    /// # Errors
    /// As sqlx's `Acquire::begin`.
    pub async fn begin(&mut self) -> Result<Transaction<'_, DB>, Error> {
        let savepoint = match &self.end {
            End::Commit(collector) => collector.savepoint(),
            End::Release(savepoint) => savepoint.savepoint(),
        };
        let inner = ::sqlx::Acquire::begin(&mut self.inner).await?;
        Ok(Transaction {
            inner,
            end: End::Release(savepoint),
            pool: None,
            durable: Durable {
                rows: Arc::clone(&self.durable.rows),
                forget: None,
            },
        })
    }

    /// Commits, then clears what was gathered: one clear, however many keys. It clears also when
    /// the commit's outcome is unknown: it failed, or this future was dropped.
    ///
    /// # Errors
    /// As sqlx's `Transaction::commit`. A clear that was not acknowledged is no error of the
    /// commit: see [`Committed::cleared`].
    pub async fn commit(self) -> Result<Committed, Error> {
        let Self {
            inner,
            end,
            pool,
            durable,
        } = self;
        let collector = match end {
            End::Commit(collector) => collector,
            End::Release(savepoint) => {
                inner.commit().await?;
                savepoint.release();
                return Ok(Committed {
                    value: (),
                    cleared: Ok(()),
                });
            }
        };
        let committed = collector.commit(inner.commit()).await?;
        let rows = std::mem::take(&mut *lock(&durable.rows));
        if let (Ok(()), Some(forget), Some(pool), false) =
            (&committed.cleared, durable.forget, pool, rows.is_empty())
        {
            // Nobody waits for it: a row that stays is delivered by the relay, once more.
            tokio::spawn(forget(pool, rows));
        }
        Ok(committed)
    }

    /// Rolls back; what was gathered since this level began is forgotten.
    ///
    /// # Errors
    /// As sqlx's `Transaction::rollback`.
    pub async fn rollback(self) -> Result<(), Error> {
        self.inner.rollback().await
    }
}

impl<DB: OutboxDatabase> Transaction<'_, DB> {
    /// See [`clear_in`](super::outbox::clear_in).
    pub(super) async fn clear_durably(&mut self, keys: Vec<String>) -> Result<(), OutboxError> {
        let rows = DB::write(&mut self.inner, &keys, super::outbox::GRACE).await?;
        lock(&self.durable.rows).extend(rows);
        self.durable.forget = Some(forget::<DB>);
        self.clear(keys);
        Ok(())
    }
}

fn forget<DB: OutboxDatabase>(pool: Pool<DB>, rows: Vec<Row>) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        if let Err(why) = DB::forget(&pool, &rows).await {
            tracing::debug!(cause = %why, "rows of the outbox stay for the relay");
        }
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<DB: Database> Deref for Transaction<'_, DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

impl<DB: Database> DerefMut for Transaction<'_, DB> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.inner
    }
}
