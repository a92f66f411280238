//! Nothing but tests: what the compiler says of mistakes (`ui.rs`), and fixtures for it.
