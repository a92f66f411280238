//! Is what was read a while ago still what the backend has? A sample and a few counters tell.
//!
//! Every invalidation that is heard bumps the counter of its token's name; whoever reads takes a
//! sample of the counters of all its tokens *before* the question is sent. The answer may be
//! used as long as the counters are those of the sample: a change that the answer does not show
//! yet was executed after the question was sent, so its push comes after the sample.
//!
//! What is not heard is bounded by time: the connection that pushes arrive on proves at every
//! heartbeat that it has delivered everything up to the moment the heartbeat was sent, and
//! nothing is served beyond L after that. Losing the connection ends the generation, and with it
//! every sample.
//!
//! Invariants
//! - Nothing is served without a live connection, or more than L after its last proof.
//! - A sample of one generation is never current in another.
//! - Names share counters: a bump may end more than it must, never less.
//!
//! A namespace in partitions hears of each over a connection of its own, so each partition has a
//! [`Freshness`], and one in front of them all judges a sample by that of its partition.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::sync::{AtomicU64, COUNTERS, Ordering, micros};

/// What is known to have changed.
#[derive(Debug)]
pub struct Freshness {
    /// Bumped when pushes begin to arrive, when they stop, and when everything was flushed.
    generation: AtomicU64,
    /// Microseconds until which what was heard is complete; 0: nothing is heard.
    heard_until: AtomicU64,
    counters: Box<[AtomicU64]>,
    /// Which partition this is of.
    number: u32,
    /// In front of partitions: theirs, by number. Then nothing is heard here itself.
    partitions: Box<[Arc<Self>]>,
}

/// What was known before a question was sent.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Of which partition.
    number: u32,
    generation: u64,
    counters: Box<[(u32, u64)]>,
}

impl Sample {
    /// Bytes on the heap.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        size_of_val(&*self.counters) as u64
    }
}

impl Default for Freshness {
    fn default() -> Self {
        Self::new()
    }
}

impl Freshness {
    /// Nothing is heard yet.
    #[must_use]
    pub fn new() -> Self {
        Self::of_partition(0)
    }

    /// Of one partition of a namespace.
    #[must_use]
    pub fn of_partition(number: u32) -> Self {
        Self {
            generation: AtomicU64::new(0),
            heard_until: AtomicU64::new(0),
            counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
            number,
            partitions: Box::default(),
        }
    }

    /// In front of partitions, which stand in the order of their numbers.
    #[must_use]
    pub fn in_front_of(partitions: impl Iterator<Item = Arc<Self>>) -> Self {
        Self {
            counters: Box::default(),
            partitions: partitions.collect(),
            ..Self::new()
        }
    }

    /// For a backend in this process: every change is heard because it is made here.
    #[must_use]
    pub fn always() -> Self {
        let freshness = Self::new();
        freshness.heard_until.store(u64::MAX, Ordering::SeqCst);
        freshness
    }

    /// What is known now of the namespace and of these keys and tags. Taken before the question
    /// is sent.
    pub fn sample<'a>(&self, names: impl Iterator<Item = &'a str>) -> Sample {
        let generation = self.generation.load(Ordering::SeqCst);
        let counters = names.map(|name| self.counter(name));
        Sample {
            number: self.number,
            generation,
            counters: counters.collect(),
        }
    }

    /// Adds tags that were found later, before *their* question is sent.
    pub fn extend<'a>(&self, sample: &mut Sample, names: impl Iterator<Item = &'a str>) {
        let mut counters = std::mem::take(&mut sample.counters).into_vec();
        counters.extend(names.map(|name| self.counter(name)));
        sample.counters = counters.into();
    }

    /// Whether an answer to a question sent after this sample is still what the backend has.
    pub fn is_current(&self, sample: &Sample, now: Instant) -> bool {
        self.is_current_at(sample, micros(now))
    }

    /// [`is_current`](Self::is_current), for a clock that was read already.
    pub(crate) fn is_current_at(&self, sample: &Sample, micros: u64) -> bool {
        if let Some(partition) = self.partitions.get(sample.number as usize) {
            return partition.is_current_at(sample, micros);
        }
        // In this order: a link that was lost and found again in between has bumped the
        // generation before it could be heard again.
        self.hears_at(micros)
            && self.generation.load(Ordering::SeqCst) == sample.generation
            && sample
                .counters
                .iter()
                .all(|(slot, count)| self.counters[*slot as usize].load(Ordering::SeqCst) == *count)
    }

    /// Whether pushes arrive, and are complete up to a moment less than L ago; in front of partitions,
    /// those of each.
    pub fn hears(&self, now: Instant) -> bool {
        self.hears_at(micros(now))
    }

    fn hears_at(&self, micros: u64) -> bool {
        if !self.partitions.is_empty() {
            return self
                .partitions
                .iter()
                .all(|partition| partition.hears_at(micros));
        }
        micros < self.heard_until.load(Ordering::SeqCst)
    }

    /// A key or tag has changed, or is about to be changed by this process.
    ///
    /// An empty name is the namespace's own token, on which everything depends: it ends the
    /// generation, so that it shares its counter with no key.
    pub fn changed(&self, name: &str) {
        if name.is_empty() {
            self.flushed();
        } else if !self.partitions.is_empty() {
            self.partitions
                .iter()
                .for_each(|partition| partition.changed(name));
        } else {
            self.counters[slot(name)].fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Everything has changed.
    pub fn flushed(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.partitions
            .iter()
            .for_each(|partition| partition.flushed());
    }

    /// Pushes arrive from now on; asked for at `since`, the server has confirmed it.
    pub fn begin(&self, since: Instant, staleness: Duration) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.heartbeat(since, staleness);
    }

    /// Everything up to `sent` has been heard.
    pub fn heartbeat(&self, sent: Instant, staleness: Duration) {
        let staleness = u64::try_from(staleness.as_micros()).unwrap_or(u64::MAX);
        self.heard_until
            .store(micros(sent).saturating_add(staleness), Ordering::SeqCst);
    }

    /// Pushes may be lost from now on.
    pub fn end(&self) {
        self.heard_until.store(0, Ordering::SeqCst);
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// How long ago it was proved last that everything had been heard; `None` while nothing is
    /// heard, zero where every change is made in this process. In front of partitions it is that of
    /// the one that lags most.
    pub fn lag(&self, now: Instant, staleness: Duration) -> Option<Duration> {
        if !self.partitions.is_empty() {
            let lags = self.partitions.iter();
            let lags: Option<Vec<_>> = lags.map(|part| part.lag(now, staleness)).collect();
            return lags?.into_iter().max();
        }
        match self.heard_until.load(Ordering::SeqCst) {
            0 => None,
            u64::MAX => Some(Duration::ZERO),
            until => {
                let staleness = u64::try_from(staleness.as_micros()).unwrap_or(u64::MAX);
                let proved = until.saturating_sub(staleness);
                Some(Duration::from_micros(micros(now).saturating_sub(proved)))
            }
        }
    }

    fn counter(&self, name: &str) -> (u32, u64) {
        let slot = slot(name);
        (slot as u32, self.counters[slot].load(Ordering::SeqCst))
    }
}

fn slot(name: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish() as usize % COUNTERS
}
