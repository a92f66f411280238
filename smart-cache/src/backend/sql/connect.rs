//! Connections: where to, how they are set up, and which life of the server they see.
//!
//! Each new connection asks the server when it began. When that has changed, connections from
//! before are not used any more: what they say of the server may be of its former life.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::{PoolConnectionMetadata, PoolOptions};
use sqlx::{Connection as _, Database, Pool};

use super::SqlOptions;
use super::dialect::Dialect;
use super::driver::Driver;
use crate::config::redact;
use crate::error::ConfigError;

/// What is known of the server behind the connections.
#[derive(Debug, Default)]
pub(super) struct Life {
    /// The incarnation, and when it was first seen.
    seen: Mutex<Option<(String, Instant)>>,
    /// The longest value that the server takes; 0 when it has not said.
    longest: AtomicU64,
}

impl Life {
    pub(super) fn text(&self) -> Option<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.as_ref().map(|(text, _)| text.clone())
    }

    pub(super) fn longest(&self) -> Option<u64> {
        Some(self.longest.load(Ordering::Relaxed)).filter(|longest| *longest > 0)
    }

    /// A new connection has asked.
    fn saw(&self, text: String) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match &*seen {
            Some((known, _)) if *known == text => {}
            known => {
                if known.is_some() {
                    tracing::info!("the database has restarted: responses from before it are cold");
                }
                *seen = Some((text, Instant::now()));
            }
        }
    }

    /// Whether a connection of this age has been opened in the present life.
    fn is_of_now(&self, age: Duration) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.as_ref().is_none_or(|(_, since)| {
            // The connection that saw it first was opened a moment before.
            since.elapsed() + OPENING >= age
        })
    }
}

/// A connection may have been opened this long before it has said what it sees.
const OPENING: Duration = Duration::from_millis(50);

/// Where the database is.
#[derive(Debug, Clone)]
pub(super) enum Connecting {
    #[cfg(feature = "sql-sqlite")]
    Sqlite(Box<sqlx::sqlite::SqliteConnectOptions>),
    #[cfg(feature = "sql-postgres")]
    Postgres(Box<sqlx::postgres::PgConnectOptions>),
    #[cfg(feature = "sql-mysql")]
    Mysql(Box<sqlx::mysql::MySqlConnectOptions>),
}

impl Connecting {
    /// Reads a URL; the scheme says which database.
    pub(super) fn parse(url: &str) -> Result<Self, ConfigError> {
        let refuse = |allowed: &str| ConfigError::Invalid {
            name: "url".to_owned(),
            value: redact(url),
            allowed: allowed.to_owned(),
        };
        let lacks = |feature| ConfigError::Feature {
            name: "url".to_owned(),
            feature,
        };
        match url.split_once(':').map(|(scheme, _)| scheme) {
            #[cfg(feature = "sql-sqlite")]
            Some("sqlite") => {
                let allowed =
                    "sqlite:/path/of/a/file.db; what is in memory alone is the memory backend's";
                let options: sqlx::sqlite::SqliteConnectOptions =
                    url.parse().map_err(|_| refuse(allowed))?;
                if url.contains(":memory:")
                    || url.contains("mode=memory")
                    || options.get_filename().as_os_str().is_empty()
                {
                    return Err(refuse(allowed));
                }
                Ok(Self::Sqlite(Box::new(options)))
            }
            #[cfg(feature = "sql-postgres")]
            Some("postgres" | "postgresql") => url
                .parse()
                .map(|options| Self::Postgres(Box::new(options)))
                .map_err(|_| refuse("postgres://user:password@host[:port]/database")),
            #[cfg(feature = "sql-mysql")]
            Some("mysql" | "mariadb") => url
                .parse()
                .map(|options| Self::Mysql(Box::new(options)))
                .map_err(|_| refuse("mysql://user:password@host[:port]/database")),
            #[cfg(not(feature = "sql-sqlite"))]
            Some("sqlite") => Err(lacks("sql-sqlite")),
            #[cfg(not(feature = "sql-postgres"))]
            Some("postgres" | "postgresql") => Err(lacks("sql-postgres")),
            #[cfg(not(feature = "sql-mysql"))]
            Some("mysql" | "mariadb") => Err(lacks("sql-mysql")),
            _ => {
                // Not every choice of features lacks one.
                let _ = lacks;
                Err(refuse("sqlite:…, postgres://… or mysql://…"))
            }
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        match self {
            #[cfg(feature = "sql-sqlite")]
            Self::Sqlite(_) => Dialect::Sqlite,
            #[cfg(feature = "sql-postgres")]
            Self::Postgres(_) => Dialect::Postgres,
            #[cfg(feature = "sql-mysql")]
            Self::Mysql(_) => Dialect::Mysql,
        }
    }

    /// Which file stands in the place of a database that is one; `None` when none does.
    pub(super) fn file(&self) -> Option<u64> {
        match self {
            #[cfg(feature = "sql-sqlite")]
            Self::Sqlite(options) => inode(options.get_filename()),
            #[cfg(feature = "sql-postgres")]
            Self::Postgres(_) => None,
            #[cfg(feature = "sql-mysql")]
            Self::Mysql(_) => None,
        }
    }

    /// In words, without credentials.
    pub(super) fn describe(&self) -> String {
        match self {
            #[cfg(feature = "sql-sqlite")]
            Self::Sqlite(options) => format!("sqlite at {}", options.get_filename().display()),
            #[cfg(feature = "sql-postgres")]
            Self::Postgres(options) => format!(
                "postgres at {}:{}/{}",
                options.get_host(),
                options.get_port(),
                options.get_database().unwrap_or_default()
            ),
            #[cfg(feature = "sql-mysql")]
            Self::Mysql(options) => format!(
                "mysql at {}:{}/{}",
                options.get_host(),
                options.get_port(),
                options.get_database().unwrap_or_default()
            ),
        }
    }

    /// A pool that connects when it is first used.
    pub(super) fn open(
        &self,
        options: &SqlOptions,
    ) -> Result<(Arc<dyn Driver>, Arc<Life>), sqlx::Error> {
        let life = Arc::new(Life::default());
        let driver: Arc<dyn Driver> = match self {
            #[cfg(feature = "sql-sqlite")]
            Self::Sqlite(to) => Arc::new(sqlite(to, options, &life)?),
            #[cfg(feature = "sql-postgres")]
            Self::Postgres(to) => Arc::new(postgres(to, options, &life)),
            #[cfg(feature = "sql-mysql")]
            Self::Mysql(to) => Arc::new(mysql(to, options, &life)),
        };
        Ok((driver, life))
    }
}

/// What all pools have in common.
fn pool<D: Database>(options: &SqlOptions, connections: u32, life: &Arc<Life>) -> PoolOptions<D> {
    let life = Arc::clone(life);
    PoolOptions::new()
        .max_connections(connections.max(1))
        .acquire_timeout(options.timeout.max(Duration::from_secs(1)))
        .test_before_acquire(false)
        .before_acquire(
            move |connection: &mut D::Connection, seen: PoolConnectionMetadata| {
                let is_of_now = life.is_of_now(seen.age);
                Box::pin(async move {
                    // One that has been idle for long may have been cut by somebody in between.
                    let is_fresh = seen.idle_for < Duration::from_secs(30);
                    Ok(is_of_now && (is_fresh || connection.ping().await.is_ok()))
                })
            },
        )
}

/// One connection: SQLite has one writer at a time anyway, and waiting in line is fairer than
/// being told that the file is busy.
#[cfg(feature = "sql-sqlite")]
fn sqlite(
    to: &sqlx::sqlite::SqliteConnectOptions,
    options: &SqlOptions,
    life: &Arc<Life>,
) -> Result<Pool<sqlx::Sqlite>, sqlx::Error> {
    use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};

    let path = to.get_filename().to_owned();
    make_private(&path).map_err(sqlx::Error::Io)?;
    // A crash of the machine may take the last commits back, clears too: then it is another boot,
    // and every response is cold.
    let to = to
        .clone()
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        // It gives up before the call does: the one connection would go on waiting, and reads, which
        // another process's transaction does not keep out, would stand in line behind it.
        .busy_timeout(options.timeout * 3 / 4);
    let life_of = Arc::clone(life);
    Ok(pool(options, 1, life)
        .after_connect(move |_, _| {
            let (life, path) = (Arc::clone(&life_of), path.clone());
            Box::pin(async move {
                life.saw(format!(
                    "{}-{}",
                    crate::backend::boot::boot_id(),
                    inode(&path).unwrap_or_default()
                ));
                Ok(())
            })
        })
        .connect_lazy_with(to))
}

/// Which file stands at a path: another one may have been moved there.
#[cfg(all(feature = "sql-sqlite", unix))]
fn inode(path: &std::path::Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;

    Some(std::fs::metadata(path).ok()?.ino())
}

#[cfg(all(feature = "sql-sqlite", not(unix)))]
fn inode(_: &std::path::Path) -> Option<u64> {
    None
}

/// Makes the file, if there is none, for nobody but its owner: responses are in it.
#[cfg(feature = "sql-sqlite")]
fn make_private(path: &std::path::Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(why) if why.kind() != std::io::ErrorKind::AlreadyExists => Err(why),
        _ => Ok(()),
    }
}

#[cfg(feature = "sql-postgres")]
fn postgres(
    to: &sqlx::postgres::PgConnectOptions,
    options: &SqlOptions,
    life: &Arc<Life>,
) -> Pool<sqlx::Postgres> {
    let life_of = Arc::clone(life);
    pool(options, options.connections, life)
        .after_connect(move |connection, _| {
            let life = Arc::clone(&life_of);
            Box::pin(async move {
                let (replica, began): (bool, i64) = sqlx::query_as(
                    "SELECT pg_is_in_recovery(), \
                     CAST(EXTRACT(EPOCH FROM pg_postmaster_start_time()) * 1000000 AS BIGINT)",
                )
                .fetch_one(connection)
                .await?;
                if replica {
                    return Err(is_replica());
                }
                life.saw(format!("pg{began}"));
                Ok(())
            })
        })
        .connect_lazy_with(to.clone().application_name("smart-cache"))
}

/// MySQL does not tell when it began. A table of the MEMORY engine is empty after each start, so
/// the first who asks writes a number there that nobody else has; a replica has another name.
#[cfg(feature = "sql-mysql")]
fn mysql(
    to: &sqlx::mysql::MySqlConnectOptions,
    options: &SqlOptions,
    life: &Arc<Life>,
) -> Pool<sqlx::MySql> {
    let life_of = Arc::clone(life);
    pool(options, options.connections, life)
        .after_connect(move |connection, _| {
            let life = Arc::clone(&life_of);
            Box::pin(async move {
                sqlx::query("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
                    .execute(&mut *connection)
                    .await?;
                let (read_only, server, packet): (i64, Vec<u8>, i64) = sqlx::query_as(
                    "SELECT CAST(@@global.read_only AS SIGNED), \
                     CAST(CONCAT(@@hostname, '-', @@port, '-', @@server_id) AS BINARY), \
                     CAST(@@max_allowed_packet AS SIGNED)",
                )
                .fetch_one(&mut *connection)
                .await?;
                if read_only != 0 {
                    return Err(is_replica());
                }
                sqlx::query(
                    "CREATE TABLE IF NOT EXISTS smart_cache_life \
                     (one INT PRIMARY KEY, id BIGINT NOT NULL) ENGINE=MEMORY",
                )
                .execute(&mut *connection)
                .await?;
                let mut random = [0; 8];
                getrandom::fill(&mut random).map_err(|why| sqlx::Error::Io(why.into()))?;
                sqlx::query("INSERT IGNORE INTO smart_cache_life (one, id) VALUES (1, ?)")
                    .bind(i64::from_le_bytes(random))
                    .execute(&mut *connection)
                    .await?;
                let (id,): (i64,) = sqlx::query_as("SELECT id FROM smart_cache_life WHERE one = 1")
                    .fetch_one(&mut *connection)
                    .await?;
                // Name, namespace and the statement itself are in the packet too.
                let longest = packet.unsigned_abs().saturating_sub(64 << 10);
                life.longest.store(longest, Ordering::Relaxed);
                life.saw(format!("my{}-{id}", String::from_utf8_lossy(&server)));
                Ok(())
            })
        })
        .connect_lazy_with(to.clone())
}

/// Tokens of a replica may be of before a clear.
#[cfg(any(feature = "sql-postgres", feature = "sql-mysql"))]
fn is_replica() -> sqlx::Error {
    sqlx::Error::Configuration(
        "this server is a replica or read-only: give the address of the primary".into(),
    )
}
