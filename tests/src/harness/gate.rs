//! A gate that a handler under test waits at, so that the test decides what happens meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Semaphore;

use super::wait::within;

/// Stops a handler in the middle and counts how often it ran.
///
/// The handler calls [`pass`](Self::pass); the test waits until it has [`begun`](Self::begun), does
/// something (clears the key, kills the server), and lets it go on with [`open`](Self::open).
/// Clones are the same gate.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use smart_cache_tests::harness::Gate;
///
/// let gate = Gate::new();
/// let handler = tokio::spawn({
///     let gate = gate.clone();
///     async move { gate.pass().await; "answer" }
/// });
/// gate.begun().await;
/// assert!(!handler.is_finished());
/// gate.open();
/// assert_eq!(handler.await.unwrap(), "answer");
/// assert_eq!(gate.runs(), 1);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Gate {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// One permit for each handler that arrived and that the test has not yet heard of.
    arrivals: Semaphore,
    /// One permit for each handler that may go on. Closed means that all may.
    ways: Semaphore,
    runs: AtomicU64,
}

impl Gate {
    /// A closed gate: every handler waits for its own [`open`](Self::open).
    #[must_use]
    pub fn new() -> Self {
        let state = State {
            arrivals: Semaphore::new(0),
            ways: Semaphore::new(0),
            runs: AtomicU64::new(0),
        };
        Self {
            state: Arc::new(state),
        }
    }

    /// A gate that holds nobody up and only counts.
    #[must_use]
    pub fn opened() -> Self {
        let gate = Self::new();
        gate.open_for_all();
        gate
    }

    /// For the handler: says that it has begun, then waits until it may go on.
    ///
    /// Returns the number of this run, the first being 1.
    pub async fn pass(&self) -> u64 {
        let run = self.state.runs.fetch_add(1, Ordering::SeqCst) + 1;
        self.state.arrivals.add_permits(1);
        if let Ok(way) = self.state.ways.acquire().await {
            way.forget();
        }
        run
    }

    /// For the test: waits until one more handler has begun.
    ///
    /// # Panics
    ///
    /// When none arrives before the harness's deadline.
    pub async fn begun(&self) {
        if let Ok(arrival) = within("a handler to begin", self.state.arrivals.acquire()).await {
            arrival.forget();
        }
    }

    /// For the test: lets one handler go on, the one waiting now or the next to come.
    pub fn open(&self) {
        self.state.ways.add_permits(1);
    }

    /// For the test: lets every handler go on, now and later.
    pub fn open_for_all(&self) {
        self.state.ways.close();
    }

    /// How many times a handler has begun.
    #[must_use]
    pub fn runs(&self) -> u64 {
        self.state.runs.load(Ordering::SeqCst)
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}
