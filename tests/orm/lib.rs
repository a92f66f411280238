//! Nothing: the tests of this crate are in `main.rs`, and Cargo wants a target beside them.
