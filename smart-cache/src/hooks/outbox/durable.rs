//! What one database does for the outbox, and writing to it.

use std::time::Duration;

use ::sqlx::{Database, Pool};

use super::relay::Source;
use super::template::TemplateError;
use super::triggers::Triggers;
use crate::backend::BoxFuture;
use crate::error::ClearError;
use crate::hooks::sqlx::Transaction;
use crate::key::IntoKeys;

/// How long the relay leaves a row to the process that wrote it and clears right after its commit.
pub(in crate::hooks) const GRACE: Duration = Duration::from_millis(500);

/// A failure of the outbox.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// The database refused or did not answer; is the table there (`outbox::create`)?
    #[error("the outbox cannot be used: {0}")]
    Database(#[from] ::sqlx::Error),
    /// A relay could not clear; the rows stay, and are tried again.
    #[error("the rows of the outbox stay for the next try: {0}")]
    Clear(#[from] ClearError),
    /// An empty key; no handler can produce it.
    #[error("an empty key names nothing: pass the key that a handler caches under")]
    EmptyKey,
    /// What a trigger is to clear cannot be understood.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// A row of the outbox, and which version of it: a row that is written again while it is being
/// delivered must not be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub(super) id: i64,
    pub(super) version: i64,
}

/// What waits in the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Status {
    /// Rows whose clear has not been acknowledged yet.
    pub pending: u64,
    /// How long the oldest of them has waited; `None` when there is none.
    pub oldest: Option<Duration>,
}

/// A database that can keep an outbox: PostgreSQL and SQLite.
pub trait OutboxDatabase: Database {
    /// What relays read from.
    #[doc(hidden)]
    type Source: Source;

    #[doc(hidden)]
    fn source(pool: Pool<Self>) -> Self::Source;

    #[doc(hidden)]
    fn create(connection: &mut Self::Connection) -> BoxFuture<'_, Result<(), ::sqlx::Error>>;

    /// Writes keys; the relay takes them after `grace`, at once when it is zero.
    #[doc(hidden)]
    fn write<'a>(
        connection: &'a mut Self::Connection,
        keys: &'a [String],
        grace: Duration,
    ) -> BoxFuture<'a, Result<Vec<Row>, ::sqlx::Error>>;

    /// Removes rows that have been cleared.
    #[doc(hidden)]
    fn forget<'a>(
        pool: &'a Pool<Self>,
        rows: &'a [Row],
    ) -> BoxFuture<'a, Result<(), ::sqlx::Error>>;

    #[doc(hidden)]
    fn status(pool: &Pool<Self>) -> BoxFuture<'_, Result<Status, ::sqlx::Error>>;

    #[doc(hidden)]
    fn install<'a>(
        connection: &'a mut Self::Connection,
        triggers: &'a Triggers,
    ) -> BoxFuture<'a, Result<(), OutboxError>>;

    #[doc(hidden)]
    fn remove<'a>(
        connection: &'a mut Self::Connection,
        triggers: &'a Triggers,
    ) -> BoxFuture<'a, Result<(), OutboxError>>;
}

/// Creates the outbox where it is missing. Installing triggers does it too.
///
/// # Errors
/// When the database refuses: the role may not create tables, for instance.
pub async fn create<DB: OutboxDatabase>(pool: &Pool<DB>) -> Result<(), OutboxError> {
    let mut connection = pool.acquire().await?;
    Ok(DB::create(&mut connection).await?)
}

/// What waits in the outbox, for pages and alarms: rows that grow old mean that no relay is at
/// work, or that the backend does not answer.
///
/// # Errors
/// When the database does not answer, or has no outbox.
pub async fn status<DB: OutboxDatabase>(pool: &Pool<DB>) -> Result<Status, OutboxError> {
    Ok(DB::status(pool).await?)
}

/// Where the keys of a write can be made durable: a transaction of
/// [`hooks::sqlx`](crate::hooks::sqlx), or any connection of sqlx with an open transaction.
pub trait Durable: Send {
    #[doc(hidden)]
    fn write(&mut self, keys: Vec<String>) -> BoxFuture<'_, Result<(), OutboxError>>;
}

impl<DB: OutboxDatabase> Durable for Transaction<'_, DB> {
    fn write(&mut self, keys: Vec<String>) -> BoxFuture<'_, Result<(), OutboxError>> {
        Box::pin(self.clear_durably(keys))
    }
}

/// Clears keys for certain once the transaction commits: writes them to the outbox in this very
/// transaction.
///
/// In a transaction of [`hooks::sqlx`](crate::hooks::sqlx) the clear is made right after the
/// commit all the same, and the row removed; the relay has work only when that process died. In a
/// transaction of sqlx itself, or on one connection, the relay makes the clear, a moment after
/// the commit. A rollback takes the row with it. One more statement for each call.
///
/// # Errors
/// When the row cannot be written; the transaction should be rolled back then.
/// [`OutboxError::EmptyKey`] when a key is empty.
///
/// # Example
/// ```
/// # #[cfg(feature = "sqlx-sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> Result<(), Box<dyn std::error::Error>> {
/// use smart_cache::hooks::{outbox, sqlx::begin};
///
/// outbox::create(&pool).await?;
/// let _relay = outbox::relay(&smart_cache::start().await?, &pool);
///
/// let mut tx = begin(&pool).await?;
/// sqlx::query("UPDATE products SET name = 'Lamp' WHERE id = 7").execute(&mut *tx).await?;
/// outbox::clear_in(&mut tx, ["product:7", "products"]).await?;
/// tx.commit().await?;
/// # Ok(())
/// # }
/// ```
pub async fn clear_in(
    transaction: &mut impl Durable,
    keys: impl IntoKeys,
) -> Result<(), OutboxError> {
    let mut keys = keys.into_keys();
    if keys.iter().any(String::is_empty) {
        return Err(OutboxError::EmptyKey);
    }
    keys.sort_unstable();
    keys.dedup();
    if keys.is_empty() {
        return Ok(());
    }
    transaction.write(keys).await
}

/// `Durable` for a connection of sqlx and a transaction on one.
#[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres"))]
macro_rules! durable_connections {
    ($database:ty, $connection:ty) => {
        impl $crate::hooks::outbox::Durable for $connection {
            fn write(
                &mut self,
                keys: Vec<String>,
            ) -> $crate::backend::BoxFuture<'_, Result<(), $crate::hooks::outbox::OutboxError>>
            {
                Box::pin(async move {
                    let now = std::time::Duration::ZERO;
                    <$database as $crate::hooks::outbox::OutboxDatabase>::write(self, &keys, now)
                        .await?;
                    Ok(())
                })
            }
        }

        impl $crate::hooks::outbox::Durable for ::sqlx::Transaction<'_, $database> {
            fn write(
                &mut self,
                keys: Vec<String>,
            ) -> $crate::backend::BoxFuture<'_, Result<(), $crate::hooks::outbox::OutboxError>>
            {
                $crate::hooks::outbox::Durable::write(&mut **self, keys)
            }
        }
    };
}
#[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres"))]
pub(super) use durable_connections;
