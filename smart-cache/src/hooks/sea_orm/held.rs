//! What a row's keys were before a statement that stands alone, until its hook afterwards asks.
//!
//! SeaORM's hook after a write sees the new row only, and can be handed nothing by the one before
//! it. In a transaction the old keys go straight to its collector. A statement that is its own
//! commit has none, and clearing before it would be too early, so they wait here.
//!
//! A write that fails, or that is cancelled, has no hook afterwards. It may have happened, so what
//! nobody asked for in time is cleared.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cache::SmartCache;
use crate::protocol::open::Place;

/// Longer than a statement takes.
pub(super) const LONGEST_STATEMENT: Duration = Duration::from_secs(10);

/// One row that the running task is about to change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Row {
    place: Place,
    entity: &'static str,
    primary_key: String,
}

struct Held {
    cache: Option<SmartCache>,
    keys: Vec<String>,
    /// Clears in the end; nothing does where no runtime is.
    watch: Option<tokio::task::AbortHandle>,
}

static HELD: LazyLock<Mutex<HashMap<Row, Held>>> = LazyLock::new(Mutex::default);

fn held() -> MutexGuard<'static, HashMap<Row, Held>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Row {
    pub(super) fn new<E>(primary_key: &impl std::fmt::Debug) -> Self {
        Self {
            place: Place::here(),
            entity: std::any::type_name::<E>(),
            primary_key: format!("{primary_key:?}"),
        }
    }

    /// Holds the keys until they are taken, or cleared because nobody does for so long.
    pub(super) fn hold(self, cache: Option<SmartCache>, mut keys: Vec<String>, longest: Duration) {
        // The same row twice: two statements of one task, or one that failed before.
        keys.extend(self.take());
        let watch = tokio::runtime::Handle::try_current().ok().map(|runtime| {
            let row = self.clone();
            let watch = runtime.spawn(async move {
                tokio::time::sleep(longest).await;
                row.give_up().await;
            });
            watch.abort_handle()
        });
        held().insert(self, Held { cache, keys, watch });
    }

    /// The keys that are held, if any.
    pub(super) fn take(&self) -> Vec<String> {
        let Some(row) = held().remove(self) else {
            return Vec::new();
        };
        if let Some(watch) = row.watch {
            watch.abort();
        }
        row.keys
    }

    async fn give_up(self) {
        let Some(row) = held().remove(&self) else {
            return;
        };
        let cache = crate::start::or_default(row.cache).await;
        // A failure is logged where it is remembered.
        let _ = cache.clear_now(row.keys).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> (SmartCache, Row) {
        (SmartCache::in_memory(), Row::new::<Row>(&7))
    }

    fn keys() -> Vec<String> {
        vec!["product:7".to_owned()]
    }

    #[tokio::test]
    async fn what_is_taken_is_handed_over_once_and_not_cleared() {
        let (cache, row) = row();
        row.clone()
            .hold(Some(cache.clone()), keys(), LONGEST_STATEMENT);
        assert_eq!(row.take(), keys());
        assert_eq!(row.take(), [""; 0]);
        assert_eq!(cache.stats().clears, 0);
    }

    #[tokio::test]
    async fn what_nobody_asks_for_in_time_is_cleared() {
        let (cache, row) = row();
        row.clone()
            .hold(Some(cache.clone()), keys(), Duration::ZERO);
        let cleared = async {
            while cache.stats().clears == 0 {
                tokio::task::yield_now().await;
            }
        };
        let cleared = tokio::time::timeout(LONGEST_STATEMENT, cleared).await;
        assert_eq!((cleared, row.take()), (Ok(()), Vec::new()));
    }
}
