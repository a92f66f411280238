//! The invalidation protocol on a real server, by its scripts alone.
//!
//! Nothing of the crate takes part: a small client here speaks the protocol with the very `.lua`
//! files that the crate ships. What holds here holds for any client that speaks it so; that the
//! crate does is shown elsewhere.
//!
//! - `table`: every order of readers, writers and accidents, against the ways of others that fail.
//! - `model`: the scripts do what the model of `tests/model` says, step by step.
//! - the rest: single schedules that once went wrong somewhere, each a test of its own.

mod client;
mod clock;
mod dynamic_tags;
mod holds;
mod leases;
mod memory;
mod model;
mod refusals;
mod replay;
mod restarts;
mod strategies;
mod table;
mod world;
