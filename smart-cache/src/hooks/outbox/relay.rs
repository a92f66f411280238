//! The relay: reads the outbox, clears, and removes what was acknowledged.
//!
//! Invariant: a row is removed only after the backend has acknowledged the clear of its keys.
//! Whatever fails or ends in between, the row is there for the next pass, of this relay or another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::sqlx::Pool;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::durable::{OutboxDatabase, OutboxError};
use crate::backend::BoxFuture;
use crate::cache::SmartCache;

/// Pauses after failures grow from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Another relay holds the outbox: look again after this.
const BUSY: Duration = Duration::from_millis(50);
/// Somebody waits for rows that are not due: look again after this.
const SOON: Duration = Duration::from_millis(20);
/// Keys of one clear command: large enough to be one round trip for most writes, small enough
/// that the server answers others in between.
#[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres"))]
pub(super) const MOST_KEYS: usize = 1_000;

/// What one look at the outbox has led to.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Rows were cleared and removed; there may be more.
    Delivered,
    /// There was nothing to do.
    Empty,
    /// There are rows that are left to the process that wrote them, for a moment yet.
    Waiting,
    /// Another relay is at work.
    Busy,
}

/// Where a relay reads from.
#[doc(hidden)]
pub trait Source: Send + 'static {
    /// Clears the oldest rows and removes them.
    fn deliver<'a>(&'a mut self, cache: &'a SmartCache)
    -> BoxFuture<'a, Result<Pass, OutboxError>>;

    /// Waits until there may be something to deliver: it was heard of, or it is time to look.
    fn changed<'a>(&'a mut self, asked: &'a Notify) -> BoxFuture<'a, ()>;
}

/// A relay at work; dropping it stops it. What it has not delivered stays in the outbox.
#[derive(Debug)]
#[must_use = "dropping it stops the relay"]
pub struct Relay {
    task: JoinHandle<()>,
    shared: Arc<Shared>,
    /// The number of the last question that was answered by an empty outbox.
    answered: watch::Receiver<u64>,
}

#[derive(Debug, Default)]
struct Shared {
    asked: AtomicU64,
    wake: Notify,
}

/// Starts a relay: a task that clears what the outbox holds, as long as the returned handle lives.
///
/// Any number of processes may run one; one of them is at work at a time, and another takes over
/// when it dies. It hears of new rows within a few milliseconds on PostgreSQL (`LISTEN`) and about
/// fifty on SQLite (it asks whether the file has changed; sooner for writes of this process's
/// connections that have [`wake_on_write`](super::wake_on_write)), and looks by itself besides.
/// While the database or the backend does not answer it keeps trying; everything that has been
/// committed meanwhile is delivered then.
///
/// It takes a connection of its own beside the pool: on PostgreSQL to listen, on SQLite to look.
///
/// # Example
/// ```
/// # #[cfg(feature = "sqlx-sqlite")]
/// # async fn example(pool: sqlx::SqlitePool) -> Result<(), Box<dyn std::error::Error>> {
/// let cache = smart_cache::start().await?;
/// let relay = smart_cache::hooks::outbox::relay(&cache, &pool);
/// // ... serve; then, in a test or before a page that must show its own write:
/// relay.caught_up().await;
/// # Ok(())
/// # }
/// ```
///
/// # Pitfalls
/// A SQLite database in memory (`:memory:`) is one connection's alone, so no relay can see it.
pub fn relay<DB: OutboxDatabase>(cache: &SmartCache, pool: &Pool<DB>) -> Relay {
    let shared = Arc::<Shared>::default();
    let (tell, answered) = watch::channel(0);
    let task = tokio::spawn(run(
        cache.clone(),
        DB::source(pool.clone()),
        Arc::clone(&shared),
        tell,
    ));
    Relay {
        task,
        shared,
        answered,
    }
}

impl Relay {
    /// Returns once everything that was committed before this call has been cleared, by this relay
    /// or another. Waits as long as the database or the backend does not answer.
    pub async fn caught_up(&self) {
        let number = self.shared.asked.fetch_add(1, Ordering::AcqRel) + 1;
        self.shared.wake.notify_one();
        let mut answered = self.answered.clone();
        // An error means that the task has ended with its runtime.
        let _ = answered.wait_for(|done| *done >= number).await;
    }

    /// Stops it and waits until it has stopped.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    cache: SmartCache,
    mut source: impl Source,
    shared: Arc<Shared>,
    answered: watch::Sender<u64>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let asked = shared.asked.load(Ordering::Acquire);
        match source.deliver(&cache).await {
            Ok(Pass::Delivered) => pause = FIRST_PAUSE,
            Ok(Pass::Empty) => {
                pause = FIRST_PAUSE;
                answered.send_replace(asked);
                source.changed(&shared.wake).await;
            }
            Ok(Pass::Waiting) => {
                pause = FIRST_PAUSE;
                if asked > *answered.borrow() {
                    tokio::time::sleep(SOON).await;
                } else {
                    source.changed(&shared.wake).await;
                }
            }
            Ok(Pass::Busy) => {
                let _ = tokio::time::timeout(BUSY, shared.wake.notified()).await;
            }
            Err(why) => {
                tracing::warn!(cause = %why, again_in = ?pause, "the outbox was not delivered");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Clears keys in their order, each at its first place, at most [`MOST_KEYS`] in one command; done
/// when all were acknowledged.
#[cfg(any(feature = "sqlx-sqlite", feature = "sqlx-postgres"))]
pub(super) async fn clear(cache: &SmartCache, mut keys: Vec<String>) -> Result<(), OutboxError> {
    let mut seen = std::collections::HashSet::new();
    // A row without a key that somebody wrote by hand must not hold up all others.
    keys.retain(|key| !key.is_empty() && seen.insert(key.clone()));
    for part in keys.chunks(MOST_KEYS) {
        cache.clear_now(part.to_vec()).await?;
    }
    Ok(())
}
