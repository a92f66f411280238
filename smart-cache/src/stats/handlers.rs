//! The counters of each cached handler: what one request adds to, and what an operator reads.
//!
//! A request finds its counters without a lock: a table of slots that are filled once and never
//! emptied, indexed by a number that tells handlers apart. The counters of the whole cache are the
//! sums of these, so that a hit adds in one place only.
//!
//! Over 400 lines, since each counter is named where it is counted, read, documented and added up.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use super::{add, read};
use tracing::Span;

use crate::asked::Asked;
use crate::audit::Verdict;
use crate::backend::Stored;
use crate::cache::SmartCache;
use crate::clock::Moment;
use crate::policy::Bypass;
use crate::registry::Site;

/// Room for handlers that no attribute announces: layers.
const UNANNOUNCED: usize = 128;
/// Past this many occupied slots a handler counts among the others.
const MOST_PROBES: usize = 64;

/// Routes of one handler that are remembered.
const MOST_ROUTES: usize = 8;

/// On whose account a request is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// Tells handlers apart. Two numbers for one handler are added up when they are read.
    number: u64,
    module: &'a str,
    name: &'a str,
    place: (&'a str, u32),
    key: &'a str,
}

impl From<&'static Site> for Origin<'static> {
    fn from(site: &'static Site) -> Self {
        Self {
            number: std::ptr::from_ref(site) as usize as u64,
            module: site.module,
            name: site.name,
            place: (site.file, site.line),
            key: site.key,
        }
    }
}

impl<'a> Origin<'a> {
    /// Of a layer, which is known by the place where it was made and the key it was made with.
    pub(crate) fn layer(key: &'a str, place: &'static Location<'static>) -> Self {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        (key, place.file(), place.line(), place.column()).hash(&mut hasher);
        Self {
            number: hasher.finish(),
            module: "",
            name: "layer",
            place: (place.file(), place.line()),
            key,
        }
    }

    /// Of handlers for which there is no room in the table.
    const fn others() -> Self {
        Self {
            number: 0,
            module: "",
            name: "others",
            place: ("", 0),
            key: "(others)",
        }
    }
}

/// A cache, and on whose account it is asked.
#[derive(Debug)]
pub(crate) struct Counted<'a> {
    pub(crate) cache: &'a SmartCache,
    pub(crate) counts: &'a Arc<HandlerCounts>,
    /// Of the request, for the trace.
    pub(crate) span: Span,
}

impl<'a> Counted<'a> {
    pub(crate) fn new<'o>(cache: &'a SmartCache, origin: impl Into<Origin<'o>>) -> Self {
        let counts = cache.inner.counters.handlers.of(&origin.into());
        Self {
            cache,
            counts,
            span: crate::observe::request(counts),
        }
    }
}

impl Deref for Counted<'_> {
    type Target = SmartCache;

    fn deref(&self) -> &SmartCache {
        self.cache
    }
}

/// What happened to the requests of one handler.
#[derive(Debug)]
pub(crate) struct HandlerCounts {
    number: u64,
    module: Box<str>,
    name: Box<str>,
    place: (Box<str>, u32),
    pub(crate) key: Arc<str>,
    seen: Mutex<SeenAt>,
    /// The newest [`Moment`], in microseconds; 0: never.
    asked: AtomicU64,
    /// Those that the local tier did not answer: a hit adds to one of the two.
    far_hits: AtomicU64,
    local_hits: AtomicU64,
    misses: AtomicU64,
    collapsed: AtomicU64,
    stale: AtomicU64,
    refreshes: AtomicU64,
    failed_refreshes: AtomicU64,
    bypasses: [AtomicU64; Bypass::COUNT],
    micros_saved: AtomicU64,
    stored: AtomicU64,
    stored_bytes: AtomicU64,
    refused_cleared: AtomicU64,
    refused_lease: AtomicU64,
    refused_young: AtomicU64,
    failed_stores: AtomicU64,
    audits: [AtomicU64; 3],
}

/// Where a handler was asked.
#[derive(Debug, Default)]
struct SeenAt {
    /// The newest last.
    routes: Vec<Box<str>>,
    /// Of the newest request without a route: these are any number, so one stands for all.
    path: Option<Box<str>>,
}

impl SeenAt {
    fn route(&mut self, route: &str) {
        if self.routes.iter().any(|known| **known == *route) {
            return;
        }
        if self.routes.len() >= MOST_ROUTES {
            self.routes.remove(0);
        }
        self.routes.push(route.into());
    }

    fn all(&self) -> Vec<String> {
        let all = self.routes.iter().chain(&self.path);
        all.map(|seen| String::from(&**seen)).collect()
    }
}

impl HandlerCounts {
    fn new(of: &Origin<'_>) -> Self {
        Self {
            number: of.number,
            module: of.module.into(),
            name: of.name.into(),
            place: (of.place.0.into(), of.place.1),
            key: of.key.into(),
            seen: Mutex::default(),
            asked: AtomicU64::new(0),
            far_hits: AtomicU64::new(0),
            local_hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            collapsed: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            refreshes: AtomicU64::new(0),
            failed_refreshes: AtomicU64::new(0),
            bypasses: std::array::from_fn(|_| AtomicU64::new(0)),
            micros_saved: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            stored_bytes: AtomicU64::new(0),
            refused_cleared: AtomicU64::new(0),
            refused_lease: AtomicU64::new(0),
            refused_young: AtomicU64::new(0),
            failed_stores: AtomicU64::new(0),
            audits: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    fn asked(&self, now: Moment) {
        // Most requests come within the millisecond of another: no write then.
        let newest = read(&self.asked);
        if newest == 0 || newest + 1000 <= now.micros() {
            self.asked.store(now.micros().max(1), Ordering::Relaxed);
        }
    }

    /// A hit that took a round trip.
    pub(crate) fn hit(&self, saved: Duration, now: Moment) {
        add(&self.far_hits, 1);
        add(&self.micros_saved, saved.as_micros() as u64);
        self.asked(now);
    }

    /// A hit of the local tier.
    pub(crate) fn local_hit(&self, saved: Duration, now: Moment) {
        add(&self.local_hits, 1);
        add(&self.micros_saved, saved.as_micros() as u64);
        self.asked(now);
    }

    pub(crate) fn miss(&self) {
        add(&self.misses, 1);
        self.asked(Moment::now());
    }

    /// Remembers where it was asked: only a miss has the time.
    pub(crate) fn seen_at(&self, asked: &Asked) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match &asked.route {
            Some(route) => seen.route(route.as_str()),
            None => {
                let request = asked.form.in_words();
                let path = request.split(['?', ' ']).next().unwrap_or_default();
                seen.path = Some(path.into());
            }
        }
    }

    pub(crate) fn collapsed(&self, now: Moment) {
        add(&self.collapsed, 1);
        self.asked(now);
    }

    pub(crate) fn stale(&self) {
        add(&self.stale, 1);
    }

    pub(crate) fn refresh(&self, failed: bool) {
        add(&self.refreshes, 1);
        add(&self.failed_refreshes, u64::from(failed));
    }

    pub(crate) fn bypass(&self, bypass: Bypass) {
        add(&self.bypasses[bypass as usize], 1);
        self.asked(Moment::now());
    }

    pub(crate) fn store(&self, outcome: Option<Stored>, bytes: usize) {
        match outcome {
            Some(Stored::Landed(_)) => {
                add(&self.stored, 1);
                add(&self.stored_bytes, bytes as u64);
            }
            Some(Stored::Cleared) => add(&self.refused_cleared, 1),
            Some(Stored::LeaseLost) => add(&self.refused_lease, 1),
            Some(Stored::YoungTag) => add(&self.refused_young, 1),
            None => add(&self.failed_stores, 1),
        }
    }

    pub(crate) fn audit(&self, verdict: Verdict) {
        add(&self.audits[verdict as usize], 1);
    }

    fn snapshot(&self) -> HandlerStats {
        let bypasses = Bypass::ALL
            .iter()
            .map(|bypass| (*bypass, read(&self.bypasses[*bypass as usize])));
        HandlerStats {
            module: self.module.to_string(),
            name: self.name.to_string(),
            place: (self.place.0.to_string(), self.place.1),
            key: self.key.to_string(),
            routes: self
                .seen
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .all(),
            hits: read(&self.far_hits) + read(&self.local_hits),
            local_hits: read(&self.local_hits),
            misses: read(&self.misses),
            collapsed: read(&self.collapsed),
            stale: read(&self.stale),
            refreshes: read(&self.refreshes),
            failed_refreshes: read(&self.failed_refreshes),
            bypasses: bypasses.filter(|(_, count)| *count > 0).collect(),
            handler_time_saved: Duration::from_micros(read(&self.micros_saved)),
            stored: read(&self.stored),
            stored_bytes: read(&self.stored_bytes),
            refused_cleared: read(&self.refused_cleared),
            refused_lease: read(&self.refused_lease),
            refused_young: read(&self.refused_young),
            failed_stores: read(&self.failed_stores),
            audits_same: read(&self.audits[Verdict::Same as usize]),
            audits_different: read(&self.audits[Verdict::Different as usize]),
            audits_unknown: read(&self.audits[Verdict::Unknown as usize]),
            last_asked: Some(read(&self.asked))
                .filter(|asked| *asked > 0)
                .and_then(|asked| {
                    let ago = Moment::now().micros().saturating_sub(asked);
                    SystemTime::now().checked_sub(Duration::from_micros(ago))
                }),
        }
    }
}

/// What one cached handler has done since the cache was built; a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlerStats {
    /// Its module; empty for a layer.
    pub module: String,
    /// Its name.
    pub name: String,
    /// Where it stands: file and line.
    pub place: (String, u32),
    /// The template of its key.
    pub key: String,
    /// The routes whose requests have missed, as the router names them: `/product/{id}`; the newest
    /// eight. Where no route was found (a fallback), the path of the newest request.
    pub routes: Vec<String>,
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
    /// Runs of the handler that made an expired answer anew.
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
    /// Hits whose handler was run again (`SMART_REDIS_AUDIT`) and said the same.
    pub audits_same: u64,
    /// Those where it said something else although nothing was cleared; see the log.
    pub audits_different: u64,
    /// Those that told nothing: cleared meanwhile, or the handler failed.
    pub audits_unknown: u64,
    /// When it was asked last, to the millisecond.
    pub last_asked: Option<SystemTime>,
}

impl HandlerStats {
    /// Adds what another one has done: the same handler under another number, or all handlers.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.hits += other.hits;
        self.local_hits += other.local_hits;
        self.misses += other.misses;
        self.collapsed += other.collapsed;
        self.stale += other.stale;
        self.refreshes += other.refreshes;
        self.failed_refreshes += other.failed_refreshes;
        for (bypass, count) in &other.bypasses {
            match self.bypasses.iter_mut().find(|(own, _)| own == bypass) {
                Some((_, own)) => *own += count,
                None => self.bypasses.push((*bypass, *count)),
            }
        }
        self.handler_time_saved += other.handler_time_saved;
        self.stored += other.stored;
        self.stored_bytes += other.stored_bytes;
        self.refused_cleared += other.refused_cleared;
        self.refused_lease += other.refused_lease;
        self.refused_young += other.refused_young;
        self.failed_stores += other.failed_stores;
        self.audits_same += other.audits_same;
        self.audits_different += other.audits_different;
        self.audits_unknown += other.audits_unknown;
        self.last_asked = self.last_asked.max(other.last_asked);
        for route in &other.routes {
            if !self.routes.contains(route) {
                self.routes.push(route.clone());
            }
        }
    }
}

/// The counters of every handler that was asked.
#[derive(Debug)]
pub(crate) struct HandlerTable {
    slots: Box<[OnceLock<Arc<HandlerCounts>>]>,
    others: Arc<HandlerCounts>,
}

impl Default for HandlerTable {
    fn default() -> Self {
        // Half empty, so that a handler is nearly always found at once.
        let announced = crate::registry::announced();
        let slots = (2 * (announced + UNANNOUNCED)).next_power_of_two();
        Self {
            slots: std::iter::repeat_with(OnceLock::new).take(slots).collect(),
            others: Arc::new(HandlerCounts::new(&Origin::others())),
        }
    }
}

impl HandlerTable {
    pub(crate) fn of(&self, origin: &Origin<'_>) -> &Arc<HandlerCounts> {
        // Fibonacci hashing: addresses differ in their middle bits only.
        let mixed = origin.number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let first = (mixed >> 32) as usize;
        for probe in 0..MOST_PROBES {
            let slot = &self.slots[(first + probe) & (self.slots.len() - 1)];
            let counts = slot.get_or_init(|| Arc::new(HandlerCounts::new(origin)));
            if counts.number == origin.number {
                return counts;
            }
        }
        &self.others
    }

    /// Every handler that was asked, by module, name and line.
    pub(super) fn snapshot(&self) -> Vec<HandlerStats> {
        let asked = self.slots.iter().filter_map(OnceLock::get);
        let mut merged: BTreeMap<_, HandlerStats> = BTreeMap::new();
        for counts in asked.chain([&self.others]) {
            let stats = counts.snapshot();
            if stats.last_asked.is_none() {
                continue;
            }
            let name = (
                stats.module.clone(),
                stats.name.clone(),
                stats.place.clone(),
                stats.key.clone(),
            );
            match merged.get_mut(&name) {
                Some(own) => own.merge(&stats),
                None => drop(merged.insert(name, stats)),
            }
        }
        merged.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(number: u64, key: &str) -> Origin<'_> {
        Origin {
            number,
            module: "shop",
            name: "page",
            place: ("page.rs", 1),
            key,
        }
    }

    #[test]
    fn two_numbers_of_one_handler_are_one_line() {
        let table = HandlerTable::default();
        table.of(&origin(1, "a")).miss();
        table.of(&origin(2, "a")).miss();
        table.of(&origin(3, "b")).bypass(Bypass::Wait);
        let lines = table.snapshot();
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].key.as_str(), lines[0].misses), ("a", 2));
        assert_eq!(lines[1].bypasses, [(Bypass::Wait, 1)]);
    }

    #[test]
    fn more_handlers_than_there_is_room_for_count_together() {
        let table = HandlerTable::default();
        let count = 4 * table.slots.len() as u64;
        for number in 1..=count {
            table.of(&origin(number, &number.to_string())).miss();
        }
        let lines = table.snapshot();
        assert_eq!(lines.iter().map(|line| line.misses).sum::<u64>(), count);
        assert!(lines.iter().any(|line| line.key == "(others)"));
    }

    #[test]
    fn a_layer_is_found_again_by_its_place_and_key() {
        let here = Location::caller();
        let number = |key| Origin::layer(key, here).number;
        assert_eq!(number("a"), number("a"));
        assert_ne!(number("a"), number("b"));
    }
}
