//! Counters that an operator can read: one relaxed addition each, never a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::policy::Bypass;

mod handlers;

pub use handlers::HandlerStats;
pub(crate) use handlers::{Counted, HandlerCounts, HandlerTable, Origin};

/// The counters of one cache.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Everything that belongs to one handler.
    pub(crate) handlers: HandlerTable,
    /// Of the low-level API.
    pub(crate) values: crate::kv::ValueCounters,
    lookups: AtomicU64,
    lookup_micros: AtomicU64,
    corrupt: AtomicU64,
    clears: AtomicU64,
    failed_clears: AtomicU64,
    expires: AtomicU64,
    failed_expires: AtomicU64,
}

/// What a cache has done since it was built; a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Requests answered from the cache.
    pub hits: u64,
    /// Those of them that the local tier answered, without a round trip.
    pub local_hits: u64,
    /// Requests whose handler ran to fill an entry.
    pub misses: u64,
    /// Requests that were given the answer of another one's handler.
    pub collapsed: u64,
    /// Requests answered with something that was expired, while it was made anew; counted in
    /// `hits` too.
    pub stale: u64,
    /// Handlers that ran to make an expired answer anew.
    pub refreshes: u64,
    /// Those of them that failed: a 5xx, a panic.
    pub failed_refreshes: u64,
    /// Requests that neither used nor filled the cache, by reason; only reasons that occurred.
    pub bypasses: Vec<(Bypass, u64)>,
    /// The handler time that hits did not spend.
    pub handler_time_saved: Duration,
    /// Answers that were stored.
    pub stored: u64,
    /// Their bytes, heads included.
    pub stored_bytes: u64,
    /// Stores refused because a key or tag was cleared while the handler ran.
    pub refused_cleared: u64,
    /// Stores refused because the lease had passed on.
    pub refused_lease: u64,
    /// Stores refused because a tag that the handler found was too new.
    pub refused_young: u64,
    /// Stores that the backend did not acknowledge.
    pub failed_stores: u64,
    /// Questions to the backend that it answered.
    pub lookups: u64,
    /// The time that these took together.
    pub lookup_time: Duration,
    /// Hits whose handler was run again and said the same.
    pub audits_same: u64,
    /// Those where it said something else although nothing was cleared: something is wrong with
    /// the program, and the log says with which key.
    pub audits_different: u64,
    /// Those that told nothing: cleared meanwhile, or the handler failed.
    pub audits_unknown: u64,
    /// Stored entries that could not be read.
    pub corrupt: u64,
    /// Acknowledged clears.
    pub clears: u64,
    /// Clears that were not acknowledged at once.
    pub failed_clears: u64,
    /// Soft clears ([`SmartCache::expire`](crate::SmartCache::expire)) among the acknowledged ones.
    pub expires: u64,
    /// Soft clears among those that were not acknowledged at once.
    pub failed_expires: u64,
    /// Clears that are still being repeated.
    pub pending_clears: usize,
    /// Handlers that are filling an entry now.
    pub flights: usize,
    /// Whether the backend answers at the moment.
    pub available: bool,
    /// The local tier, if there is one.
    pub local: Option<LocalStats>,
    /// The low-level API.
    pub values: crate::kv::ValueStats,
}

/// The local tier at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalStats {
    /// Whether it may answer: its connection is live and has proved itself lately.
    pub live: bool,
    /// Entries that it holds, those included that are no longer served.
    pub entries: usize,
    /// Their bytes, by weight.
    pub bytes: u64,
    /// Entries that left for want of room since the start.
    pub evictions: u64,
    /// How long ago its connection last proved that every push had arrived: zero where nothing
    /// needs one, `None` while there is no connection.
    pub lag: Option<Duration>,
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

impl Counters {
    pub(crate) fn lookup(&self, took: Duration) {
        add(&self.lookups, 1);
        add(&self.lookup_micros, took.as_micros() as u64);
    }

    pub(crate) fn corrupt(&self) {
        add(&self.corrupt, 1);
    }

    pub(crate) fn clear(&self, is_soft: bool, acknowledged: bool) {
        let (all, soft) = if acknowledged {
            (&self.clears, &self.expires)
        } else {
            (&self.failed_clears, &self.failed_expires)
        };
        add(all, 1);
        add(soft, u64::from(is_soft));
    }

    /// Every handler that was asked.
    pub(crate) fn of_handlers(&self) -> Vec<HandlerStats> {
        self.handlers.snapshot()
    }

    pub(crate) fn snapshot(
        &self,
        pending_clears: usize,
        flights: usize,
        available: bool,
        local: Option<LocalStats>,
    ) -> Stats {
        let mut all = HandlerStats::default();
        for handler in self.handlers.snapshot() {
            all.merge(&handler);
        }
        all.bypasses.sort_by_key(|(bypass, _)| *bypass as u8);
        Stats {
            hits: all.hits,
            local_hits: all.local_hits,
            misses: all.misses,
            collapsed: all.collapsed,
            stale: all.stale,
            refreshes: all.refreshes,
            failed_refreshes: all.failed_refreshes,
            bypasses: all.bypasses,
            handler_time_saved: all.handler_time_saved,
            stored: all.stored,
            stored_bytes: all.stored_bytes,
            refused_cleared: all.refused_cleared,
            refused_lease: all.refused_lease,
            refused_young: all.refused_young,
            failed_stores: all.failed_stores,
            audits_same: all.audits_same,
            audits_different: all.audits_different,
            audits_unknown: all.audits_unknown,
            lookups: read(&self.lookups),
            lookup_time: Duration::from_micros(read(&self.lookup_micros)),
            corrupt: read(&self.corrupt),
            clears: read(&self.clears),
            failed_clears: read(&self.failed_clears),
            expires: read(&self.expires),
            failed_expires: read(&self.failed_expires),
            pending_clears,
            flights,
            available,
            local,
            values: self.values.snapshot(),
        }
    }
}
