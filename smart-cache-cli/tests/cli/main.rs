//! The real program against a real Redis that a real application has filled.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step is a failed test, and its line says which"
)]

mod codes;
mod commands;
mod place;
#[cfg(unix)]
mod screen;
#[cfg(unix)]
mod terminal;
mod world;
