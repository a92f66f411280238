#![doc = include_str!("../../docs/diesel.md")]

use std::ops::{Deref, DerefMut};

use ::diesel::connection::{Connection, TransactionManager};
use ::diesel::result::Error;

use super::Committed;
use super::level::Level;
use crate::cache::SmartCache;
use crate::key::IntoKeys;

/// Runs a function in a transaction: commits and then clears when it returns `Ok`, rolls back and
/// clears nothing when it returns `Err`. The clears go to the default cache. On a connection that
/// has a transaction open it opens a savepoint.
///
/// It blocks the thread for the clear as for the statements: `SMART_REDIS_TIMEOUT` at most.
///
/// # Errors
/// What the function returned, and what `BEGIN` and `COMMIT` did. After a `COMMIT` that failed it
/// has cleared all the same, for nobody knows whether the database has committed.
pub fn transaction<C, T, E>(
    conn: &mut C,
    work: impl FnOnce(Transaction<'_, C>) -> Result<T, E>,
) -> Result<Committed<T>, E>
where
    C: Connection,
    E: From<Error>,
{
    run(None, conn, work)
}

/// [`transaction`] whose clears go to this cache.
///
/// # Errors
/// As [`transaction`].
pub fn transaction_for<C, T, E>(
    cache: &SmartCache,
    conn: &mut C,
    work: impl FnOnce(Transaction<'_, C>) -> Result<T, E>,
) -> Result<Committed<T>, E>
where
    C: Connection,
    E: From<Error>,
{
    run(Some(cache), conn, work)
}

fn run<C, T, E>(
    cache: Option<&SmartCache>,
    conn: &mut C,
    work: impl FnOnce(Transaction<'_, C>) -> Result<T, E>,
) -> Result<Committed<T>, E>
where
    C: Connection,
    E: From<Error>,
{
    let status = C::TransactionManager::transaction_manager_status_mut(conn);
    let level = if status.transaction_depth()?.is_some() {
        Level::inside(cache)
    } else {
        Level::begin(cache)
    };
    bound(level, conn, work)
}

fn bound<C, T, E>(
    level: Level,
    conn: &mut C,
    work: impl FnOnce(Transaction<'_, C>) -> Result<T, E>,
) -> Result<Committed<T>, E>
where
    C: Connection,
    E: From<Error>,
{
    C::TransactionManager::begin_transaction(conn)?;
    let outcome = work(Transaction {
        conn: &mut *conn,
        level: &level,
    });
    match outcome {
        Ok(value) => {
            let commit = || C::TransactionManager::commit_transaction(conn);
            let Committed { cleared, .. } = level.commit_blocking(commit)?;
            Ok(Committed { value, cleared })
        }
        Err(why) => match C::TransactionManager::rollback_transaction(conn) {
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

impl<C: Connection> Transaction<'_, C> {
    /// Adds keys and tags that are to be cleared after the commit. Costs nothing until then.
    pub fn clear(&self, keys: impl IntoKeys) {
        self.level.add(keys);
    }

    /// Runs a function in a savepoint: when it returns `Err`, what it wrote and its own keys are
    /// gone, and nothing else.
    ///
    /// # Errors
    /// What the function returned, and what `SAVEPOINT` and `RELEASE` did.
    pub fn savepoint<T, E: From<Error>>(
        &mut self,
        work: impl FnOnce(Transaction<'_, C>) -> Result<T, E>,
    ) -> Result<T, E> {
        bound(self.level.savepoint(), self.conn, work).map(|released| released.value)
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
