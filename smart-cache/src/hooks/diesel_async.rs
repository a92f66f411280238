//! Transactions of diesel-async whose clears follow the commit: [`hooks::diesel`](super::diesel)
//! for code that awaits.
//!
//! # Example
//! ```
//! use diesel::prelude::*;
//! use diesel_async::{AsyncConnection, RunQueryDsl};
//! use smart_cache::hooks::diesel_async::transaction;
//!
//! # async fn example<C>(conn: &mut C) -> QueryResult<()>
//! # where
//! #     C: AsyncConnection<Backend = diesel::pg::Pg>,
//! # {
//! let written = transaction(conn, async |mut tx| {
//!     diesel::sql_query("UPDATE products SET price = 1 WHERE id = 7").execute(&mut *tx).await?;
//!     tx.clear("product:7");
//!     Ok::<_, diesel::result::Error>(())
//! })
//! .await?;
//! assert!(written.cleared.is_ok());
//! # Ok(())
//! # }
//! ```
//!
//! # Pitfalls
//! A request that is cancelled before the commit leaves diesel-async's connection inside its
//! transaction. Pools throw such a connection away; one of your own must be dropped.

use std::future::Future;
use std::ops::{Deref, DerefMut};

use ::diesel::result::Error;
use ::diesel_async::{AsyncConnection, TransactionManager};

use super::Committed;
use super::level::Level;
use crate::cache::SmartCache;
use crate::key::IntoKeys;

/// An async closure over a transaction, the future of which may be sent to another thread.
///
/// Closures implement it by themselves. It exists because the compiler has no way yet to ask for
/// the latter.
pub trait Work<A, R>: AsyncFnOnce(A) -> R + FnOnce(A) -> <Self as Work<A, R>>::Running {
    /// What it does, once called.
    type Running: Future<Output = R>;
}

impl<F, A, R, Running> Work<A, R> for F
where
    F: AsyncFnOnce(A) -> R + FnOnce(A) -> Running,
    Running: Future<Output = R>,
{
    type Running = Running;
}

/// Runs a function in a transaction: commits and then clears when it returns `Ok`, rolls back and
/// clears nothing when it returns `Err`. The clears go to the cache of the annotated handler that
/// is running, else to the default one. On a connection that has a transaction open it opens a
/// savepoint.
///
/// # Errors
/// What the function returned, and what `BEGIN` and `COMMIT` did. After a `COMMIT` that failed it
/// has cleared all the same, for nobody knows whether the database has committed.
pub fn transaction<'a, 'c, C, T, E, F>(
    conn: &'c mut C,
    work: F,
) -> impl Future<Output = Result<Committed<T>, E>> + Send + 'c
where
    C: AsyncConnection,
    for<'t> F: AsyncFnOnce(Transaction<'t, C>) -> Result<T, E>
        + Work<Transaction<'t, C>, Result<T, E>, Running: Send>
        + Send
        + 'a,
    T: Send + 'a,
    E: From<Error> + Send + 'a,
    'a: 'c,
{
    run(None, conn, work)
}

/// [`transaction`] whose clears go to this cache.
///
/// # Errors
/// As [`transaction`].
pub fn transaction_for<'a, 'c, C, T, E, F>(
    cache: &SmartCache,
    conn: &'c mut C,
    work: F,
) -> impl Future<Output = Result<Committed<T>, E>> + Send + 'c
where
    C: AsyncConnection,
    for<'t> F: AsyncFnOnce(Transaction<'t, C>) -> Result<T, E>
        + Work<Transaction<'t, C>, Result<T, E>, Running: Send>
        + Send
        + 'a,
    T: Send + 'a,
    E: From<Error> + Send + 'a,
    'a: 'c,
{
    run(Some(cache.clone()), conn, work)
}

async fn run<'a, 'c, C, T, E, F>(
    cache: Option<SmartCache>,
    conn: &'c mut C,
    work: F,
) -> Result<Committed<T>, E>
where
    C: AsyncConnection,
    for<'t> F: AsyncFnOnce(Transaction<'t, C>) -> Result<T, E>
        + Work<Transaction<'t, C>, Result<T, E>, Running: Send>
        + Send
        + 'a,
    T: Send + 'a,
    E: From<Error> + Send + 'a,
    'a: 'c,
{
    let status = C::TransactionManager::transaction_manager_status_mut(conn);
    let level = if status.transaction_depth()?.is_some() {
        Level::inside(cache.as_ref())
    } else {
        Level::begin(cache.as_ref())
    };
    bound(level, conn, work).await
}

async fn bound<'a, 'c, C, T, E, F>(
    level: Level,
    conn: &'c mut C,
    work: F,
) -> Result<Committed<T>, E>
where
    C: AsyncConnection,
    for<'t> F: AsyncFnOnce(Transaction<'t, C>) -> Result<T, E>
        + Work<Transaction<'t, C>, Result<T, E>, Running: Send>
        + Send
        + 'a,
    T: Send + 'a,
    E: From<Error> + Send + 'a,
    'a: 'c,
{
    C::TransactionManager::begin_transaction(conn).await?;
    let outcome = work(Transaction {
        conn: &mut *conn,
        level: &level,
    })
    .await;
    match outcome {
        Ok(value) => {
            let commit = C::TransactionManager::commit_transaction(conn);
            let Committed { cleared, .. } = level.commit(commit).await?;
            Ok(Committed { value, cleared })
        }
        Err(why) => match C::TransactionManager::rollback_transaction(conn).await {
            // What broke the connection is what the caller wants to know.
            Ok(()) | Err(Error::BrokenTransactionManager) => Err(why),
            Err(rollback) => Err(rollback.into()),
        },
    }
}

/// The open transaction, or a savepoint in it. It derefs to the connection: `execute(&mut *tx)`.
#[derive(Debug)]
pub struct Transaction<'t, C> {
    conn: &'t mut C,
    level: &'t Level,
}

impl<C: AsyncConnection> Transaction<'_, C> {
    /// Adds keys and tags that are to be cleared after the commit. Costs nothing until then.
    pub fn clear(&self, keys: impl IntoKeys) {
        self.level.add(keys);
    }

    /// Runs a function in a savepoint: when it returns `Err`, what it wrote and its own keys are
    /// gone, and nothing else.
    ///
    /// # Errors
    /// What the function returned, and what `SAVEPOINT` and `RELEASE` did.
    pub fn savepoint<'a, 's, T, E, F>(
        &'s mut self,
        work: F,
    ) -> impl Future<Output = Result<T, E>> + Send + 's
    where
        for<'t> F: AsyncFnOnce(Transaction<'t, C>) -> Result<T, E>
            + Work<Transaction<'t, C>, Result<T, E>, Running: Send>
            + Send
            + 'a,
        T: Send + 'a,
        E: From<Error> + Send + 'a,
        'a: 's,
    {
        let level = self.level.savepoint();
        let conn = &mut *self.conn;
        async move {
            bound(level, conn, work)
                .await
                .map(|released| released.value)
        }
    }
}

impl<C> Deref for Transaction<'_, C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.conn
    }
}

impl<C> DerefMut for Transaction<'_, C> {
    fn deref_mut(&mut self) -> &mut C {
        self.conn
    }
}
