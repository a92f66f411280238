//! Waiting for something to be observed, never for time to pass.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

/// How long anything in a test may take before the harness calls it a hang.
///
/// Generous, because a loaded machine is not a failure; it is never waited out by a passing test.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How often a condition is looked at that cannot announce itself.
const GLANCE: Duration = Duration::from_millis(5);

/// The future's output, or a panic that names what was awaited once [`DEADLINE`] is over.
///
/// # Panics
///
/// When the deadline passes.
pub async fn within<F: Future>(what: impl Display, future: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("gave up after {DEADLINE:?} waiting for {what}"),
    }
}

/// Asks again and again until the answer is `Some`, and returns what it holds.
///
/// For conditions of other processes (a server that loads, a replica that syncs), which can only be
/// asked. Inside this process prefer [`Gate`](super::Gate) or a channel.
///
/// # Panics
///
/// When [`DEADLINE`] passes.
pub async fn eventually<T>(what: impl Display, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "gave up after {DEADLINE:?} waiting for {what}"
        );
        tokio::time::sleep(GLANCE).await;
    }
}
