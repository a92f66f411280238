//! The protocol under a model checker: processes, a network and accidents around the model's server.
//!
//! `world` is everything there is in one state and what can happen next; `node` is a process on the
//! road of a request, `tier` its memory, `writer` who changes the row and clears; `setup` says how
//! much of what may happen in one check. `sound` are the checks that must find nothing, `flawed`
//! those that must; `keyvalue` is the version on stores without scripts.
//!
//! Each check of `sound` is exhausted: all states that its budgets allow are seen. Only `everything_at_once` is a
//! sample; `SMART_MODEL_SECONDS=3600 cargo test -p smart-cache-model everything_at_once` takes a greater one.

mod flawed;
mod keyvalue;
mod node;
mod setup;
mod sound;
mod tier;
mod world;
mod writer;
