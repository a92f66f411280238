//! The shop as a process of its own, over a real Redis and beside other programs.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step is a failed test, and its line says which"
)]

mod monitoring;
mod operators;
#[cfg(feature = "otlp")]
mod otlp;
mod redis;
mod shell;
mod shop;
