//! The harness of smart-cache's tests: real servers, real sockets, real processes.
//!
//! Everything that the suites in `it/` need and that is not a test itself lives here, so that a test
//! reads as its story. Three rules hold for every part:
//!
//! - **Guards stop what they started.** A server, a proxy or a process ends when its guard drops,
//!   also when the test panics.
//! - **No waiting by the clock.** Readiness is observed (a PING is answered, a line is printed, a
//!   command went by); a deadline only turns a hang into a failure that says what was awaited.
//! - **A harness that fails panics.** It is only ever used by tests, so a message at the place of
//!   the mistake is worth more than an error that each test would have to unwrap.

pub mod harness;
