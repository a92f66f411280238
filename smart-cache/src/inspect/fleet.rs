//! The processes that use a namespace: each leaves a small report of its numbers in the backend, and
//! whoever looks adds them up.
//!
//! A report is under 4 KB, written every five seconds over the connection that is there anyway, and
//! gone half a minute after its process. It is for people; nothing reads it to decide anything.
//!
//! Over 400 lines: a report, how it is written, read and added up, in one place that knows its
//! size.

use std::sync::{Arc, LazyLock, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{as_micros, as_millis_of_epoch, epoch_millis};
use crate::cache::{Inner, SmartCache};
use crate::error::BackendError;
use crate::stats::HandlerStats;

/// Time between two reports of one process, and from its start to the first.
const REPORT_EVERY: Duration = Duration::from_secs(5);
const FIRST_REPORT: Duration = Duration::from_secs(1);
/// A process that has not reported for this long is gone.
pub(crate) const GONE_AFTER: Duration = Duration::from_secs(30);
/// Begins every report: another number is another build's business.
const FORMAT: u8 = 3;
/// A report is no longer than this: the busiest handlers that fit are in it.
const MOST_BYTES: usize = 4096;
/// And so many of them at most.
const MOST_HANDLERS: usize = 64;
/// Routes and bypass reasons of one handler in a report.
const MOST_ROUTES: usize = 2;
const MOST_REASONS: usize = 8;

/// What one process has done since its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ProcessReport {
    /// Unique among the processes of the namespace.
    pub id: String,
    /// `application@host:pid`.
    pub process: String,
    /// Its build.
    pub version: String,
    /// When its cache was built.
    #[serde(rename = "started_ms", serialize_with = "as_millis_of_epoch")]
    pub started: SystemTime,
    /// When it reported this.
    #[serde(rename = "at_ms", serialize_with = "as_millis_of_epoch")]
    pub at: SystemTime,
    /// Whether it is the process that reads this.
    pub own: bool,
    /// All of its handlers together.
    pub total: Tally,
    /// Stored entries that it could not read.
    pub corrupt: u64,
    /// Acknowledged clears.
    pub clears: u64,
    /// Clears that were not acknowledged at once.
    pub failed_clears: u64,
    /// Clears that it is still repeating.
    pub pending_clears: u64,
    /// Handlers that are filling an entry now.
    pub flights: u64,
    /// Runs of handlers that made an expired answer anew.
    pub refreshes: u64,
    /// Those of them that failed.
    pub failed_refreshes: u64,
    /// Hits whose handler was run again (`SMART_REDIS_AUDIT`) and said the same.
    pub audits_same: u64,
    /// Those where it said something else although nothing was cleared.
    pub audits_different: u64,
    /// Whether the backend answers it.
    pub available: bool,
    /// Its local tier, if it has one.
    pub local: Option<LocalReport>,
    /// Questions to the backend, and the time that they took together.
    pub lookups: u64,
    /// See `lookups`.
    #[serde(rename = "lookup_us", serialize_with = "as_micros")]
    pub lookup_time: Duration,
    /// The busiest of its handlers.
    pub handlers: Vec<HandlerReport>,
}

/// A process's local tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LocalReport {
    /// Whether it may answer.
    pub live: bool,
    /// Entries that it holds.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Milliseconds since it has proved that it heard of every clear; `None` when it is not live.
    pub silent_ms: Option<u64>,
}

/// Counts of requests and what became of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Tally {
    /// Answered from the cache.
    pub hits: u64,
    /// Those of them that the local tier answered.
    pub local_hits: u64,
    /// Handlers that ran to fill an entry.
    pub misses: u64,
    /// Given the answer of another request's handler.
    pub collapsed: u64,
    /// Neither used nor filled the cache, by reason.
    pub bypasses: Vec<(String, u64)>,
    /// The handler time that hits did not spend, in microseconds.
    pub saved_us: u64,
    /// Answers stored.
    pub stored: u64,
    /// Their bytes.
    pub stored_bytes: u64,
    /// Stores that were refused: cleared meanwhile, lease lost, tag too young.
    pub refused: u64,
    /// Stores that were not acknowledged.
    pub failed_stores: u64,
}

/// A handler in one process's report, or in the sum of all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HandlerReport {
    /// Module and name.
    pub handler: String,
    /// The template of its key.
    pub key: String,
    /// The routes that it was asked at; see [`HandlerStats::routes`]. Of other processes two.
    pub routes: Vec<String>,
    /// When it was asked last, in milliseconds since the epoch.
    pub asked_ms: Option<u64>,
    /// What became of its requests.
    pub total: Tally,
}

impl Tally {
    /// Requests of any kind.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.hits + self.misses + self.collapsed + self.bypassed()
    }

    /// Requests that neither used nor filled the cache.
    #[must_use]
    pub fn bypassed(&self) -> u64 {
        self.bypasses.iter().map(|(_, count)| count).sum()
    }

    /// Hits among the requests that could have been hits, from 0 to 1; `None` when there were none.
    #[must_use]
    pub fn hit_ratio(&self) -> Option<f64> {
        let all = self.hits + self.misses + self.collapsed;
        (all > 0).then(|| self.hits as f64 / all as f64)
    }

    /// Adds another one's counts.
    pub fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.local_hits += other.local_hits;
        self.misses += other.misses;
        self.collapsed += other.collapsed;
        for (reason, count) in &other.bypasses {
            match self.bypasses.iter_mut().find(|(own, _)| own == reason) {
                Some((_, own)) => *own += count,
                None => self.bypasses.push((reason.clone(), *count)),
            }
        }
        self.saved_us += other.saved_us;
        self.stored += other.stored;
        self.stored_bytes += other.stored_bytes;
        self.refused += other.refused;
        self.failed_stores += other.failed_stores;
    }
}

impl From<&HandlerStats> for Tally {
    fn from(stats: &HandlerStats) -> Self {
        let bypasses = stats.bypasses.iter();
        Self {
            hits: stats.hits,
            local_hits: stats.local_hits,
            misses: stats.misses,
            collapsed: stats.collapsed,
            bypasses: bypasses
                .map(|(bypass, count)| (bypass.as_str().to_owned(), *count))
                .collect(),
            saved_us: stats.handler_time_saved.as_micros() as u64,
            stored: stats.stored,
            stored_bytes: stats.stored_bytes,
            refused: stats.refused_cleared + stats.refused_lease + stats.refused_young,
            failed_stores: stats.failed_stores,
        }
    }
}

/// A report as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    id: String,
    process: String,
    version: String,
    started_ms: u64,
    at_ms: u64,
    total: Tally,
    corrupt: u64,
    clears: u64,
    failed_clears: u64,
    pending_clears: u64,
    flights: u64,
    refreshes: u64,
    failed_refreshes: u64,
    audits_same: u64,
    audits_different: u64,
    available: bool,
    local: Option<LocalReport>,
    lookups: u64,
    lookup_us: u64,
    handlers: Vec<KeptHandler>,
}

#[derive(Serialize, Deserialize)]
struct KeptHandler {
    handler: String,
    key: String,
    routes: Vec<String>,
    asked_ms: Option<u64>,
    hits: u64,
    local_hits: u64,
    misses: u64,
    collapsed: u64,
    bypasses: Vec<(String, u64)>,
    saved_us: u64,
    stored: u64,
    stored_bytes: u64,
    refused: u64,
    failed_stores: u64,
}

impl ProcessReport {
    fn encode(&self) -> Vec<u8> {
        let mut busiest: Vec<&HandlerReport> = self.handlers.iter().collect();
        busiest.sort_by_key(|handler| std::cmp::Reverse(handler.total.requests()));
        let mut kept = Kept {
            id: self.id.clone(),
            process: self.process.clone(),
            version: self.version.clone(),
            started_ms: epoch_millis(self.started),
            at_ms: epoch_millis(self.at),
            total: self.total.clone(),
            corrupt: self.corrupt,
            clears: self.clears,
            failed_clears: self.failed_clears,
            pending_clears: self.pending_clears,
            flights: self.flights,
            refreshes: self.refreshes,
            failed_refreshes: self.failed_refreshes,
            audits_same: self.audits_same,
            audits_different: self.audits_different,
            available: self.available,
            local: self.local,
            lookups: self.lookups,
            lookup_us: self.lookup_time.as_micros() as u64,
            handlers: Vec::new(),
        };
        // Serialising plain data into a vector cannot fail; an empty report would be skipped.
        let room = MOST_BYTES
            .saturating_sub(postcard::to_allocvec(&kept).map_or(0, |bytes| bytes.len()) + 2);
        let mut taken = 0;
        kept.handlers = busiest
            .into_iter()
            .take(MOST_HANDLERS)
            .map(KeptHandler::of)
            .take_while(|handler| {
                taken += postcard::to_allocvec(handler).map_or(room, |bytes| bytes.len());
                taken <= room
            })
            .collect();
        postcard::to_extend(&kept, vec![FORMAT]).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let kept: Kept = postcard::from_bytes(bytes.strip_prefix(&[FORMAT])?).ok()?;
        let time = |millis| UNIX_EPOCH.checked_add(Duration::from_millis(millis));
        Some(Self {
            id: kept.id,
            process: kept.process,
            version: kept.version,
            started: time(kept.started_ms)?,
            at: time(kept.at_ms)?,
            own: false,
            total: kept.total,
            corrupt: kept.corrupt,
            clears: kept.clears,
            failed_clears: kept.failed_clears,
            pending_clears: kept.pending_clears,
            flights: kept.flights,
            refreshes: kept.refreshes,
            failed_refreshes: kept.failed_refreshes,
            audits_same: kept.audits_same,
            audits_different: kept.audits_different,
            available: kept.available,
            local: kept.local,
            lookups: kept.lookups,
            lookup_time: Duration::from_micros(kept.lookup_us),
            handlers: kept.handlers.into_iter().map(KeptHandler::read).collect(),
        })
    }
}

impl KeptHandler {
    fn of(report: &HandlerReport) -> Self {
        let total = &report.total;
        let mut bypasses = total.bypasses.clone();
        bypasses.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        // The rest of them is told as well, though not for what reason.
        if bypasses.len() > MOST_REASONS {
            let rest = bypasses.drain(MOST_REASONS - 1..).map(|(_, count)| count);
            let rest = rest.sum();
            bypasses.push(("other".to_owned(), rest));
        }
        Self {
            handler: report.handler.clone(),
            key: report.key.clone(),
            routes: report.routes.iter().take(MOST_ROUTES).cloned().collect(),
            asked_ms: report.asked_ms,
            hits: total.hits,
            local_hits: total.local_hits,
            misses: total.misses,
            collapsed: total.collapsed,
            bypasses,
            saved_us: total.saved_us,
            stored: total.stored,
            stored_bytes: total.stored_bytes,
            refused: total.refused,
            failed_stores: total.failed_stores,
        }
    }

    fn read(self) -> HandlerReport {
        HandlerReport {
            handler: self.handler,
            key: self.key,
            routes: self.routes,
            asked_ms: self.asked_ms,
            total: Tally {
                hits: self.hits,
                local_hits: self.local_hits,
                misses: self.misses,
                collapsed: self.collapsed,
                bypasses: self.bypasses,
                saved_us: self.saved_us,
                stored: self.stored,
                stored_bytes: self.stored_bytes,
                refused: self.refused,
                failed_stores: self.failed_stores,
            },
        }
    }
}

/// The handlers that this build knows, with nothing counted.
#[cfg(feature = "admin")]
pub(crate) fn known_handlers() -> Vec<HandlerReport> {
    let cached = crate::registry::registry().cached;
    let report = |handler: crate::registry::CachedHandler| HandlerReport {
        handler: format!("{}::{}", handler.module, handler.name),
        key: handler.key.to_owned(),
        ..HandlerReport::default()
    };
    cached.into_iter().map(report).collect()
}

impl HandlerReport {
    /// Whether both are of one handler.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.handler, &self.key) == (&other.handler, &other.key)
    }

    /// Adds what another process tells of the same handler.
    pub fn add(&mut self, other: Self) {
        self.total.add(&other.total);
        self.asked_ms = self.asked_ms.max(other.asked_ms);
        for route in other.routes {
            if !self.routes.contains(&route) {
                self.routes.push(route);
            }
        }
    }

    /// The handlers of all these processes, each once, the busiest first.
    #[must_use]
    pub fn of_all(processes: impl IntoIterator<Item = ProcessReport>) -> Vec<Self> {
        let reports = processes.into_iter().flat_map(|process| process.handlers);
        Self::merged(Vec::new(), reports)
    }

    pub(crate) fn merged(mut all: Vec<Self>, more: impl Iterator<Item = Self>) -> Vec<Self> {
        for report in more {
            match all.iter_mut().find(|known| known.is_same(&report)) {
                Some(known) => known.add(report),
                None => all.push(report),
            }
        }
        all.sort_by_key(|handler| std::cmp::Reverse(handler.total.requests()));
        all
    }
}

impl From<&HandlerStats> for HandlerReport {
    fn from(stats: &HandlerStats) -> Self {
        let name = match &*stats.module {
            "" => stats.name.clone(),
            module => format!("{module}::{}", stats.name),
        };
        Self {
            handler: name,
            key: stats.key.clone(),
            routes: stats.routes.clone(),
            asked_ms: stats.last_asked.map(epoch_millis),
            total: stats.into(),
        }
    }
}

/// The name of this process among others: `application@host:pid`.
pub(crate) fn process_name() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| {
        let application = std::env::current_exe()
            .ok()
            .and_then(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
            .unwrap_or_else(|| "unknown".to_owned());
        let host = std::env::var("HOSTNAME")
            .or_else(|_| std::fs::read_to_string("/proc/sys/kernel/hostname"))
            .unwrap_or_default();
        let host: String = host.trim().chars().take(64).collect();
        format!("{application}@{host}:{}", std::process::id())
    });
    &NAME
}

impl SmartCache {
    /// What this process would report now.
    pub(crate) fn report(&self) -> ProcessReport {
        let (stats, handlers) = (self.stats(), self.handler_stats());
        let mut total = Tally::default();
        let handlers: Vec<HandlerReport> = handlers.iter().map(HandlerReport::from).collect();
        for handler in &handlers {
            total.add(&handler.total);
        }
        ProcessReport {
            id: self.inner.identity.clone(),
            process: process_name().to_owned(),
            version: self
                .inner
                .backend
                .inspect()
                .map(|inspect| inspect.version().to_owned())
                .unwrap_or_default(),
            started: self.inner.started,
            at: SystemTime::now(),
            own: true,
            total,
            corrupt: stats.corrupt,
            clears: stats.clears,
            failed_clears: stats.failed_clears,
            pending_clears: stats.pending_clears as u64,
            flights: stats.flights as u64,
            refreshes: stats.refreshes,
            failed_refreshes: stats.failed_refreshes,
            audits_same: stats.audits_same,
            audits_different: stats.audits_different,
            available: stats.available,
            local: stats.local.map(|local| LocalReport {
                live: local.live,
                entries: local.entries as u64,
                bytes: local.bytes,
                silent_ms: local.lag.map(|lag| lag.as_millis() as u64),
            }),
            lookups: stats.lookups,
            lookup_time: stats.lookup_time,
            handlers,
        }
    }

    /// The processes that use this cache's namespace: this one as it is now, then the others as they
    /// have reported within the last half minute, the longest running first.
    ///
    /// # Errors
    /// When the backend does not answer. Where it keeps no reports, this process is the only one.
    pub async fn fleet(&self) -> Result<Vec<ProcessReport>, BackendError> {
        let mut fleet = vec![self.report()];
        if let Some(inspect) = self.inner.backend.inspect() {
            let reports = inspect.reports().await?;
            let mut others: Vec<ProcessReport> = reports
                .iter()
                .filter_map(|report| ProcessReport::decode(report))
                .filter(|report| report.id != self.inner.identity)
                .collect();
            others.sort_by_key(|report| report.started);
            fleet.extend(others);
        }
        Ok(fleet)
    }

    /// Reports every few seconds for as long as this cache and its runtime live.
    pub(crate) fn keep_reporting(&self) {
        let reports = self.inner.backend.inspect().is_some();
        if let (true, Ok(runtime)) = (reports, tokio::runtime::Handle::try_current()) {
            runtime.spawn(keep_reporting(Arc::downgrade(&self.inner)));
        }
    }
}

async fn keep_reporting(inner: Weak<Inner>) {
    let mut pause = FIRST_REPORT;
    loop {
        tokio::time::sleep(std::mem::replace(&mut pause, REPORT_EVERY)).await;
        let Some(inner) = inner.upgrade() else { return };
        let cache = SmartCache { inner };
        let Some(inspect) = cache.inner.backend.inspect() else {
            return;
        };
        let report = cache.report();
        if let Err(why) = inspect.report(&report.id, report.encode()).await {
            tracing::trace!(cause = %why, "no report of this process; the next one is due soon");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn busy() -> ProcessReport {
        let mut report = SmartCache::in_memory().report();
        report.own = false;
        let whole = |time| UNIX_EPOCH + Duration::from_millis(epoch_millis(time));
        (report.at, report.started) = (whole(report.at), whole(report.started));
        report.total.bypasses = vec![("set-cookie".to_owned(), 7)];
        report.lookup_time = Duration::from_micros(report.lookups);
        (report.refreshes, report.failed_refreshes) = (9, 2);
        (report.audits_same, report.audits_different) = (40, 1);
        let handler = |n: u64| HandlerReport {
            handler: format!("shop::products::product_page_number_{n}"),
            key: "product:{id}".to_owned(),
            routes: vec!["/products/{id}".to_owned(); 3],
            asked_ms: Some(1_763_640_000_000),
            total: Tally {
                hits: 1_000_000_000 + n,
                local_hits: 900_000_000,
                misses: 10_000_000,
                stored: 10_000_000,
                stored_bytes: 1 << 40,
                saved_us: 1 << 50,
                bypasses: (0..20).map(|n| (format!("reason-{n}"), 20 - n)).collect(),
                refused: 3,
                ..Tally::default()
            },
        };
        report.handlers = (0..100).map(handler).collect();
        report
    }

    #[test]
    fn a_report_is_small_and_is_read_as_it_was_written() {
        let mut report = busy();
        let bytes = report.encode();
        assert!(bytes.len() <= MOST_BYTES, "{}", bytes.len());
        let back = ProcessReport::decode(&bytes).unwrap();
        report.handlers = back.handlers.clone();
        assert_eq!(back, report);
        assert!(back.handlers.len() > 10, "{}", back.handlers.len());
        let busiest = &back.handlers[0];
        assert_eq!(busiest.handler, "shop::products::product_page_number_99");
        assert_eq!(busiest.total.hits, 1_000_000_099);
        assert_eq!(busiest.routes.len(), MOST_ROUTES);
        assert_eq!(busiest.total.bypasses.len(), MOST_REASONS);
        assert_eq!(busiest.total.bypassed(), (1..=20).sum::<u64>());
        assert_eq!(ProcessReport::decode(&bytes[..40]), None);
        assert_eq!(ProcessReport::decode(b"\x09"), None);
    }

    #[test]
    fn one_handler_of_two_processes_is_one_line() {
        let mut one = busy();
        one.handlers.truncate(2);
        let mut other = one.clone();
        other.handlers[0].routes = vec!["/elsewhere".to_owned()];
        let all = HandlerReport::of_all([one, other]);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].total.hits, 2 * 1_000_000_001, "the busiest first");
        assert!(all[1].routes.contains(&"/elsewhere".to_owned()));
        assert_eq!(all[1].total.bypasses[0], ("reason-0".to_owned(), 40));
    }
}
