//! The integration tests: one program, one module for each subject.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step is a failed test, and its line says which"
)]

mod admin;
mod backends;
mod documents;
mod engines;
mod faults;
mod harness;
mod hooks;
mod http;
mod inspect;
mod layer;
mod local;
mod model;
mod operations;
mod protocol;
mod proxy;
pub(crate) mod road;
mod safety;
mod scale;
mod shapes;
mod soak;
mod start;
mod stores;
mod values;
