//! Every backend keeps the promises of the protocol, through the crate's own `Backend`.
//!
//! `conformance` is one suite that each backend passes; `schedules` enacts what can only happen to
//! a server: restarts, failovers, lost and doubled messages.

mod conformance;
mod lookups;
mod migration;
mod schedules;
mod stage;
