//! Why a cleared answer can never be served (the design's reasons are in `docs/protocol.md`).
//!
//! The namespace and every key own one random token in the backend. A request that misses takes
//! a ticket, the tokens of everything that its answer will depend on, *before* its handler
//! starts; the entry carries their digest and is served only while the tokens are the same.
//! A clear deletes the token. Nothing else decides validity: no clocks, no member sets.

pub(crate) mod clear;
pub(crate) mod flight;
pub(crate) mod lease;
pub(crate) mod open;
pub(crate) mod scope;
mod token;
pub(crate) mod turn;

pub use token::{Digest, Target};
pub(crate) use token::{Digesting, MAX_TAGS, Nonce, expired_at, hex, origin, push_hex, token_name};
