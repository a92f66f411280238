//! Clears that survive a crash: rows of the database, written in the transaction of the change,
//! delivered by a relay.
//!
//! The table `smart_cache_outbox` holds keys that are to be cleared. [`clear_in`] writes them with
//! the application's own change; triggers ([`Triggers`]) write them for every change, whoever makes
//! it. The commit makes them durable, and a relay in any process clears them: at least once, the
//! oldest first, and removes them only after the backend has acknowledged the clear. So a process
//! that is killed anywhere between its commit and its clear loses nothing.
//!
//! One outbox serves one cache: rows are removed once one relay has cleared them. Processes with a
//! cache in their own memory each need to hear of each clear, which takes Redis.

#[cfg(any(
    feature = "sqlx-sqlite",
    feature = "sqlx-postgres",
    feature = "sqlx-mysql"
))]
mod durable;
#[cfg(feature = "sqlx-postgres")]
mod postgres;
#[cfg(any(
    feature = "sqlx-sqlite",
    feature = "sqlx-postgres",
    feature = "sqlx-mysql"
))]
mod relay;
#[cfg(feature = "sqlx-sqlite")]
mod sqlite;
mod statements;
mod template;
mod triggers;

#[cfg(any(
    feature = "sqlx-sqlite",
    feature = "sqlx-postgres",
    feature = "sqlx-mysql"
))]
pub(super) use durable::GRACE;
#[cfg(any(
    feature = "sqlx-sqlite",
    feature = "sqlx-postgres",
    feature = "sqlx-mysql"
))]
pub use durable::{Durable, OutboxDatabase, OutboxError, Row, Status, clear_in, create, status};
#[cfg(any(
    feature = "sqlx-sqlite",
    feature = "sqlx-postgres",
    feature = "sqlx-mysql"
))]
pub use relay::{Relay, relay};
#[cfg(feature = "sqlx-sqlite")]
pub use sqlite::wake_on_write;
pub use template::TemplateError;
pub use triggers::{Dialect, Triggers, triggers_sql};
#[cfg(any(
    feature = "sqlx-sqlite",
    feature = "sqlx-postgres",
    feature = "sqlx-mysql"
))]
pub use triggers::{install_triggers, remove_triggers};
