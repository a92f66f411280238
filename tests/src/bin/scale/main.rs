//! How far one Redis goes: many keys, many tags, many clears against many processes.
//!
//! ```text
//! scale keys  [--entries N] [--body BYTES] [--lookups N]
//! scale tags  [--tags N] [--at-once N]
//! scale fleet [--processes N] [--clearers N] [--rate CLEARS] [--seconds S] [--working N] [--reads R]
//!             [--probes N] [--probe-rate R] [--poll-us US] [--entries N] [--listeners N]
//! ```
//!
//! Each starts a private redis-server and prints a table; `docs/scale.md` keeps the tables of one
//! machine. `keys` (default 1 000 000) compares a namespace of a thousand entries with one of N.
//! `tags` (default 100 000) has one entry depend on ever other tags, and looks at what they leave.
//! `fleet` starts processes with a local tier each and clears from others at a rate; it reads the cost
//! in CPU and in bytes, and how late each process stops serving what was cleared. It exits with 1 when
//! that was later than L. `--listeners 1000` adds connections that are told of every clear and do nothing
//! with it: what Redis has to do for a thousand processes can be seen without a thousand processes.

mod clearer;
mod fleet;
mod keys;
mod listener;
mod measure;
mod node;
mod shared;
mod tags;

use std::process::ExitCode;

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("keys") => keys::run().await,
        Some("tags") => tags::run().await,
        Some("fleet") => fleet::run().await,
        Some("--node") => node::run().await,
        Some("--clearer") => clearer::run().await,
        _ => {
            eprintln!(
                "scale keys | tags | fleet; what each takes stands at the top of its main.rs"
            );
            ExitCode::FAILURE
        }
    }
}
