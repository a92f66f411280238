//! The invalidation protocol as a model: what the server keeps, and what each script does to it.
//!
//! Line by line the scripts of `smart-cache/src/backend/redis/*.lua`, over numbers so small that a
//! checker can look at every order of everything that can happen. `checks/` puts processes, a
//! network and accidents around it; `tests/it/protocol/model.rs` compares it with the scripts
//! themselves on a real server, so that the two cannot drift apart unseen.
//!
//! What is abstracted
//! - A digest is the list of tokens that it is made of, so it has no collisions.
//! - Nonces are small numbers, and fresh ones are really fresh.
//! - One key, two tags that a handler may find, two builds of one application.
//! - A life that runs out (of an unused token, a lease, an entry) is an eviction, which can happen
//!   at any moment; only a settling entry has a time of its own.
//!
//! Not here: the index of a key's entries, the sweep and its `reap`, plain values. They decide
//! nothing about what is valid; what they remove could be evicted at any time.

mod flaw;
mod server;
mod token;

pub use flaw::Flaw;
pub use server::{
    AdoptCall, BUILDS, Data, Entry, FAR, Found, Lease, Server, Settings, StoreAnswer, StoreCall,
    TicketAnswer, TicketCall, Verdict,
};
pub use token::{
    Digest, KEY, Mark, NAMES, NAMESPACE, Nonce, Number, Origin, Second, Set, TAGS, Token, tag,
};
