//! The database: one SQLite file, its schema, and the pool of connections to it.

use std::path::Path;
use std::time::Duration;

use smart_cache::hooks::outbox::wake_on_write;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::seed;

/// The shop's database; a clone is another handle to the same pool.
#[derive(Clone, Debug)]
pub(crate) struct Db {
    pool: SqlitePool,
}

impl Db {
    /// Opens the file, creates what is missing, and fills an empty shop with `products`.
    ///
    /// # Errors
    /// The file cannot be opened, is no SQLite database, or cannot be written to.
    pub(crate) async fn open(path: &Path, products: u32) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            // Readers go on while a writer commits.
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            // A second process that starts at the same moment waits here for the first to
            // have filled the shop.
            .busy_timeout(Duration::from_secs(15))
            .foreign_keys(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(8)
            // A write tells the relay of this process at once.
            .after_connect(|connection, _| Box::pin(wake_on_write(connection)))
            .connect_with(options)
            .await?;

        let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::raw_sql(include_str!("schema.sql"))
            .execute(&mut *transaction)
            .await?;
        seed::fill_if_empty(&mut transaction, products).await?;
        transaction.commit().await?;
        Ok(Self { pool })
    }

    pub(crate) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// Waits for the connections to come home, then closes them; the write-ahead log is
    /// folded into the file by the last one.
    pub(crate) async fn close(self) {
        self.pool.close().await;
    }
}
