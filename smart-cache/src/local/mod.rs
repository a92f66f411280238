//! The local tier: hits from the memory of this process, in front of the backend.
//!
//! It never decides that something is current by itself: an entry enters with a sample that was
//! taken before its lookup was sent, and is served only while nothing that it depends on has
//! been heard of since. No placeholders, no removals: what is no longer served is overwritten
//! or evicted.

mod freshness;
/// What `freshness.rs` synchronises with; the model checker brings its own.
mod sync {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};

    pub(super) use crate::clock::micros;

    /// 1 MiB, in each process and for each partition. A clear ends whatever shares its counter, which is
    /// a round trip for nothing: an entry of two tokens meets a neighbour after 65 000 clears of others
    /// on average. With a fleet that clears 10 000 times a second that is six seconds; with an eighth of
    /// the counters it was less than one, and hardly anything was answered from memory
    /// (`tests/src/bin/scale`).
    pub(super) const COUNTERS: usize = 131_072;
}

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use quick_cache::Weighter;

pub use self::freshness::{Freshness, Sample};
use crate::clock::Moment;
use crate::entry::Entry;

/// What an entry costs besides its bytes and headers: map slots, allocations, the stored head.
/// Measured with `tests/src/bin/overhead.rs`.
const OVERHEAD: u64 = 360;
/// What a header line costs besides its bytes: its place in the map, an allocation each for a name
/// of its own and for the value.
const HEADER: u64 = 230;
/// The capacity is split evenly among locks, and an entry must fit into the share of one: twice the
/// longest body that is stored by default.
const ROOM_OF_A_LOCK: u64 = 4 << 20;
/// Guess for sizing the map; it grows by itself.
const USUAL_ENTRY: u64 = 4096;

/// Entries in the memory of this process.
#[derive(Debug)]
pub(crate) struct LocalTier {
    entries: quick_cache::sync::Cache<
        Box<[u8]>,
        Arc<Held>,
        Bytes,
        quick_cache::DefaultHashBuilder,
        Evictions,
    >,
    freshness: Arc<Freshness>,
    evictions: Evictions,
}

/// One entry with the proof that it was current.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) entry: Arc<Entry>,
    sample: Arc<Sample>,
}

#[derive(Debug, Clone)]
struct Bytes;

/// Counts what leaves for want of room.
#[derive(Debug, Clone, Default)]
struct Evictions(Arc<AtomicU64>);

impl quick_cache::Lifecycle<Box<[u8]>, Arc<Held>> for Evictions {
    /// What one insertion usually evicts; it is freed after the lock, more of it under the lock.
    type RequestState = [Option<(Box<[u8]>, Arc<Held>)>; 2];

    fn on_evict(&self, state: &mut Self::RequestState, form: Box<[u8]>, held: Arc<Held>) {
        self.0.fetch_add(1, Relaxed);
        if let Some(free) = state.iter_mut().find(|slot| slot.is_none()) {
            *free = Some((form, held));
        }
    }
}

impl Weighter<Box<[u8]>, Arc<Held>> for Bytes {
    fn weight(&self, form: &Box<[u8]>, held: &Arc<Held>) -> u64 {
        let headers = HEADER * held.entry.header_count() as u64;
        OVERHEAD + form.len() as u64 + held.entry.bytes() + headers + held.sample.bytes()
    }
}

impl LocalTier {
    /// Keeps about `capacity` bytes.
    pub(crate) fn new(capacity: u64, freshness: Arc<Freshness>) -> Self {
        let items = usize::try_from(capacity / USUAL_ENTRY)
            .unwrap_or(usize::MAX)
            .clamp(8, 1 << 16);
        let locks = capacity / ROOM_OF_A_LOCK;
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let options = quick_cache::OptionsBuilder::new()
            .estimated_items_capacity(items)
            .weight_capacity(capacity)
            .shards(
                usize::try_from(locks)
                    .unwrap_or(usize::MAX)
                    .clamp(1, processors * 4),
            )
            .build();
        let options = options.expect("both capacities are set");
        let evictions = Evictions::default();
        Self {
            entries: quick_cache::sync::Cache::with_options(
                options,
                Bytes,
                quick_cache::DefaultHashBuilder::default(),
                evictions.clone(),
            ),
            freshness,
            evictions,
        }
    }

    /// The entry of this name, if it is still proved current.
    pub(crate) fn get(&self, name: &[u8], now: Moment) -> Option<Arc<Held>> {
        let held = self.entries.get(name)?;
        self.freshness
            .is_current_at(&held.sample, now.micros())
            .then_some(held)
    }

    /// Takes an entry that a lookup found; `sample` is older than that lookup. What could not be
    /// served anyway would only take the room of something that can.
    pub(crate) fn insert(&self, form: Box<[u8]>, entry: &Arc<Entry>, sample: Arc<Sample>) {
        if !self.freshness.is_current(&sample, Instant::now()) {
            return;
        }
        self.entries.insert(
            form,
            Arc::new(Held {
                entry: Arc::clone(entry),
                sample,
            }),
        );
    }

    pub(crate) fn freshness(&self) -> &Arc<Freshness> {
        &self.freshness
    }

    pub(crate) fn evictions(&self) -> u64 {
        self.evictions.0.load(Relaxed)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.entries.weight()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_of_clears_of_others_leave_most_of_what_is_in_memory() {
        let freshness = Freshness::always();
        let samples: Vec<Sample> = (0..1_000)
            .map(|id| {
                let names = [format!("page:{id}"), format!("author:{id}")];
                freshness.sample(names.iter().map(String::as_str))
            })
            .collect();
        (0..10_000).for_each(|id| freshness.changed(&format!("item:{id}")));
        let current = samples.iter();
        let current = current.filter(|sample| freshness.is_current(sample, Instant::now()));
        let current = current.count();
        assert!(current > 800, "{current} of 1000");
    }
}
