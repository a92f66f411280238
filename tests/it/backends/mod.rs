//! Every backend keeps the promises of the protocol, through the crate's own `Backend`.
//!
//! `conformance` is one suite that each backend passes; `schedules` enacts what can only happen to
//! a server: restarts, failovers, lost and doubled messages; `keyvalue` enacts what can happen on
//! a store of plain values, where every step is its own.

mod conformance;
mod keyvalue;
mod lookups;
mod migration;
mod schedules;
mod stage;
