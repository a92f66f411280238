//! Writes through SeaORM and diesel: which pages they clear, and when.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step is a failed test, and its line says which"
)]

mod diesel;
mod diesel_async;
mod groups;
mod sea_orm;
mod stage;
