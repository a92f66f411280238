//! Clears that follow the database: bound to a commit, durable, or made by the database itself.
//!
//! A clear by hand can be forgotten, can come before the commit (and the old row is cached again),
//! and is lost with a process that dies between the two. [`Collector`] binds clears to the commit.

mod collector;
pub mod outbox;
#[cfg(any(
    feature = "sqlx-sqlite",
    feature = "sqlx-postgres",
    feature = "sqlx-mysql"
))]
pub mod sqlx;

pub use collector::{
    Collector, Committed, Savepoint, clear_after_commit, clear_after_commit_blocking,
};
