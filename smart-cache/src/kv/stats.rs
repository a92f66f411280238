//! What the low-level API counts: one relaxed addition each.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of one cache's values.
#[derive(Debug, Default)]
pub(crate) struct ValueCounters {
    hits: AtomicU64,
    misses: AtomicU64,
    undecodable: AtomicU64,
    unavailable: AtomicU64,
    computed: AtomicU64,
}

/// What the low-level API of a cache has done in this process; a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ValueStats {
    /// Values that were found.
    pub hits: u64,
    /// Values that were not there, undecodable ones included.
    pub misses: u64,
    /// Values that were there and could not be read: of an older type, another program's, or sealed
    /// with a key that is not known.
    pub undecodable: u64,
    /// Reads that missed because the cache did not answer.
    pub unavailable: u64,
    /// Values that `get_or_set`, `#[smart_cached]` functions and fragments have computed.
    pub computed: u64,
}

impl ValueCounters {
    pub(super) fn found(&self, hits: usize, misses: usize) {
        self.hits.fetch_add(hits as u64, Ordering::Relaxed);
        self.misses.fetch_add(misses as u64, Ordering::Relaxed);
    }

    pub(super) fn undecodable(&self) {
        self.undecodable.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn unavailable(&self) {
        self.unavailable.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn computed(&self) {
        self.computed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn snapshot(&self) -> ValueStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ValueStats {
            hits: read(&self.hits),
            misses: read(&self.misses),
            undecodable: read(&self.undecodable),
            unavailable: read(&self.unavailable),
            computed: read(&self.computed),
        }
    }
}
