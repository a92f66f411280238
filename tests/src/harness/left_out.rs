//! What not every machine can have: Valkey's server, a network of a process's own.
//!
//! A test that passes and has shown nothing is worse than one that fails. So what is missing is a failure,
//! unless `SMART_TESTS_WITHOUT` (names, joined by commas) says that this machine cannot have it; `tests/run`
//! sets it where it could not get something, and says so at its end.

/// Takes the test for one that is left out.
///
/// # Panics
///
/// When nobody has said that this machine is without it.
#[track_caller]
pub fn left_out(what: &str) {
    let without = std::env::var("SMART_TESTS_WITHOUT").unwrap_or_default();
    assert!(
        without.split(',').any(|name| name == what),
        "this test needs {what}: tests/run gets it where it can; SMART_TESTS_WITHOUT={what} leaves out what needs it"
    );
    eprintln!("LEFT OUT: this machine is without {what}, so nothing is shown here");
}
