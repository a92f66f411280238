//! Clears that follow the database: bound to a commit, durable, or made by the database itself.
//!
//! A clear by hand can be forgotten, can come before the commit (and the old row is cached again),
//! and is lost with a process that dies between the two. [`Collector`] binds clears to the commit,
//! [`CacheKeys`](trait@CacheKeys) says which keys a row has.

mod collector;
#[cfg(feature = "diesel")]
pub mod diesel;
#[cfg(feature = "diesel-async")]
pub mod diesel_async;
#[cfg(any(feature = "diesel", feature = "sea-orm"))]
mod level;
mod model;
pub mod outbox;
#[cfg(feature = "sea-orm")]
pub mod sea_orm;
#[cfg(any(
    feature = "sqlx-sqlite",
    feature = "sqlx-postgres",
    feature = "sqlx-mysql"
))]
pub mod sqlx;

pub use collector::{
    Collector, Committed, Savepoint, clear_after_commit, clear_after_commit_blocking,
};
pub use model::{CacheKeys, changed};
pub use smart_cache_macros::CacheKeys;
