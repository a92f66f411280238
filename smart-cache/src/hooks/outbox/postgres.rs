//! The outbox in PostgreSQL: rows of keys, NOTIFY, one relay at a time by an advisory lock.

use std::time::Duration;

use ::sqlx::postgres::{PgConnection, PgListener, PgPool, PgPoolOptions, Postgres};
use ::sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::durable::{OutboxDatabase, OutboxError, Row, Status, durable_connections};
use super::relay::{self, Pass, Source};
use super::statements::postgres as statements;
use super::triggers::Triggers;
use crate::backend::BoxFuture;
use crate::cache::SmartCache;

/// A relay that heard nothing looks by itself this often.
const POLL: Duration = Duration::from_millis(500);
/// A lost connection for listening is made again after this.
const RECONNECT: Duration = Duration::from_secs(1);
const CHANNEL: &str = "smart_cache_outbox";

durable_connections!(Postgres, PgConnection);

impl OutboxDatabase for Postgres {
    type Source = PostgresSource;

    fn source(pool: PgPool) -> PostgresSource {
        PostgresSource::new(pool)
    }

    fn create(connection: &mut PgConnection) -> BoxFuture<'_, Result<(), ::sqlx::Error>> {
        Box::pin(async move {
            let mut tx = connection.begin().await?;
            for statement in [statements::LOCK, statements::OUTBOX] {
                ::sqlx::raw_sql(statement).execute(&mut *tx).await?;
            }
            tx.commit().await
        })
    }

    fn write<'a>(
        connection: &'a mut PgConnection,
        keys: &'a [String],
        grace: Duration,
    ) -> BoxFuture<'a, Result<Vec<Row>, ::sqlx::Error>> {
        Box::pin(async move {
            let insert = "INSERT INTO smart_cache_outbox (keys, due)
                VALUES ($1, clock_timestamp() + $2 * interval '1 millisecond') RETURNING id";
            let row = ::sqlx::query(insert)
                .bind(keys)
                .bind(grace.as_millis() as f64)
                .fetch_one(&mut *connection)
                .await?;
            if grace.is_zero() {
                ::sqlx::query("SELECT pg_notify($1, '')")
                    .bind(CHANNEL)
                    .execute(connection)
                    .await?;
            }
            let id = row.try_get(0)?;
            Ok(vec![Row { id, version: 0 }])
        })
    }

    fn forget<'a>(pool: &'a PgPool, rows: &'a [Row]) -> BoxFuture<'a, Result<(), ::sqlx::Error>> {
        Box::pin(async move {
            let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
            ::sqlx::query("DELETE FROM smart_cache_outbox WHERE id = ANY($1)")
                .bind(ids)
                .execute(pool)
                .await?;
            Ok(())
        })
    }

    fn status(pool: &PgPool) -> BoxFuture<'_, Result<Status, ::sqlx::Error>> {
        Box::pin(async move {
            let look = "SELECT count(*),
                extract(epoch FROM clock_timestamp() - min(written))::float8 FROM smart_cache_outbox";
            let row = ::sqlx::query(look).fetch_one(pool).await?;
            let oldest: Option<f64> = row.try_get(1)?;
            Ok(Status {
                pending: row.try_get::<i64, _>(0)?.unsigned_abs(),
                oldest: oldest.map(|seconds| Duration::from_secs_f64(seconds.max(0.0))),
            })
        })
    }

    fn install<'a>(
        connection: &'a mut PgConnection,
        triggers: &'a Triggers,
    ) -> BoxFuture<'a, Result<(), OutboxError>> {
        Box::pin(async move {
            let mut tx = connection.begin().await?;
            ::sqlx::raw_sql(statements::LOCK).execute(&mut *tx).await?;
            let there: Option<String> =
                ::sqlx::query_scalar("SELECT obj_description(to_regprocedure($1), 'pg_proc')")
                    .bind(format!("{}()", statements::function_name(triggers)))
                    .fetch_one(&mut *tx)
                    .await?;
            if there.as_deref() != Some(&statements::fingerprint(triggers)) {
                for statement in statements::install(triggers) {
                    // Every name and literal in it is quoted; lookups are the program's own code.
                    ::sqlx::raw_sql(AssertSqlSafe(statement))
                        .execute(&mut *tx)
                        .await?;
                }
            }
            Ok(tx.commit().await?)
        })
    }

    fn remove<'a>(
        connection: &'a mut PgConnection,
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

/// A relay's view of the outbox.
#[doc(hidden)]
#[derive(Debug)]
pub struct PostgresSource {
    pool: PgPool,
    heard: std::sync::Arc<Notify>,
    listening: JoinHandle<()>,
}

impl PostgresSource {
    fn new(pool: PgPool) -> Self {
        let heard = std::sync::Arc::<Notify>::default();
        // Its own connection: one that listens never comes back to the pool.
        let own = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with((*pool.connect_options()).clone());
        let listening = tokio::spawn(listen(own, std::sync::Arc::clone(&heard)));
        Self {
            pool,
            heard,
            listening,
        }
    }
}

impl Drop for PostgresSource {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Pokes the relay at each notification, and whenever some may have been missed.
async fn listen(pool: PgPool, heard: std::sync::Arc<Notify>) {
    loop {
        let listening = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(CHANNEL).await?;
            heard.notify_one();
            loop {
                // `None` is a connection that was lost and made again.
                let _ = listener.try_recv().await?;
                heard.notify_one();
            }
        };
        let ended: Result<std::convert::Infallible, ::sqlx::Error> = listening.await;
        let Err(why) = ended;
        tracing::debug!(cause = %why, "not listening to the outbox: it is looked at instead");
        tokio::time::sleep(RECONNECT).await;
    }
}

impl Source for PostgresSource {
    fn deliver<'a>(
        &'a mut self,
        cache: &'a SmartCache,
    ) -> BoxFuture<'a, Result<Pass, OutboxError>> {
        Box::pin(async move {
            let mut tx = self.pool.begin().await?;
            // Gone with this transaction, or with its connection when the process dies.
            let lock = "SELECT pg_try_advisory_xact_lock(
                hashtextextended('smart_cache_outbox:' || current_schema(), 0))";
            let mine: bool = ::sqlx::query_scalar(lock).fetch_one(&mut *tx).await?;
            if !mine {
                return Ok(Pass::Busy);
            }
            // Rows hold up to a thousand keys each. However many are not due, none that is waits
            // for them.
            let look = "SELECT id, keys FROM smart_cache_outbox WHERE due <= clock_timestamp()
                ORDER BY id LIMIT 100";
            let rows = ::sqlx::query(look).fetch_all(&mut *tx).await?;
            if rows.is_empty() {
                let others = "SELECT EXISTS (SELECT FROM smart_cache_outbox)";
                let waiting: bool = ::sqlx::query_scalar(others).fetch_one(&mut *tx).await?;
                return Ok(if waiting { Pass::Waiting } else { Pass::Empty });
            }
            let (mut ids, mut keys) = (Vec::new(), Vec::new());
            for row in rows {
                ids.push(row.try_get::<i64, _>(0)?);
                // NULL is no key; only a hand could have written it.
                keys.extend(
                    row.try_get::<Vec<Option<String>>, _>(1)?
                        .into_iter()
                        .flatten(),
                );
            }
            relay::clear(cache, keys).await?;
            ::sqlx::query("DELETE FROM smart_cache_outbox WHERE id = ANY($1)")
                .bind(ids)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            Ok(Pass::Delivered)
        })
    }

    fn changed<'a>(&'a mut self, asked: &'a Notify) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            tokio::select! {
                () = self.heard.notified() => {}
                () = asked.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        })
    }
}
