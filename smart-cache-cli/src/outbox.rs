//! `outbox status`: what waits in the database to be cleared.

use std::str::FromStr as _;
use std::time::Duration;

use serde_json::json;
use smart_cache::hooks::outbox::{Status, status};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use crate::Ended;
use crate::arguments::OutboxStatus;
use crate::failure::Failure;
use crate::output::{Output, duration};

/// Rows that wait longer than this have no relay, or one that cannot clear.
const TOO_OLD: Duration = Duration::from_secs(60);
/// Longest wait for the database.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) async fn run(asked: &OutboxStatus, out: &mut Output) -> Result<Ended, Failure> {
    let status = read(&asked.database).await?;
    let oldest = status.oldest;
    let is_stuck = oldest.is_some_and(|oldest| oldest > TOO_OLD);
    let document = json!({
        "pending": status.pending,
        "oldest_ms": oldest.map(|oldest| oldest.as_millis() as u64),
        "stuck": is_stuck,
    });
    out.print(&document, || match oldest {
        None => "nothing waits".to_owned(),
        Some(oldest) => {
            let waits = format!(
                "{}, the oldest for {}",
                // A row each: of one key on SQLite, of many on PostgreSQL.
                match status.pending {
                    1 => "1 clear waits".to_owned(),
                    many => format!("{many} clears wait"),
                },
                duration(oldest)
            );
            if is_stuck {
                format!("{waits}\n-> is a relay running (outbox::relay), and does it reach Redis?")
            } else {
                waits
            }
        }
    })?;
    Ok(if is_stuck { Ended::Badly } else { Ended::Well })
}

async fn read(url: &str) -> Result<Status, Failure> {
    let scheme = url.split(':').next().unwrap_or_default();
    let refused = |why: sqlx::Error| Failure::Database(why.to_string());
    let status = match scheme {
        "sqlite" => {
            // Looking must not make an empty database of a misspelled path.
            let options = SqliteConnectOptions::from_str(url).map_err(refused)?;
            let options = options.create_if_missing(false).read_only(true);
            let pool = SqlitePoolOptions::new()
                .max_connections(1)
                .acquire_timeout(PATIENCE)
                .connect_with(options);
            status(&pool.await.map_err(refused)?).await
        }
        "postgres" | "postgresql" => {
            let options = PgConnectOptions::from_str(url).map_err(refused)?;
            let pool = PgPoolOptions::new()
                .max_connections(1)
                .acquire_timeout(PATIENCE)
                .connect_with(options);
            status(&pool.await.map_err(refused)?).await
        }
        _ => return Err(Failure::DatabaseUrl),
    };
    status.map_err(|why| Failure::Database(why.to_string()))
}
