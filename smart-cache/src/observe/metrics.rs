//! The metrics, through the `metrics` facade.
//!
//! Counts are published from the counters that are kept anyway, every two seconds and whenever
//! [`SmartCache::publish_metrics`] is called: a hit pays nothing for them, and a recorder that is
//! installed late misses nothing. Durations of what takes a round trip are recorded as they end.
//!
//! Labels are bounded: the namespace, the handler and the *template* of its key, and words from
//! short lists. Never a key.
//!
//! Over 400 lines, since each metric is named, described and published in one place.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use metrics::{Key, Label, Level, Metadata, Recorder, counter, gauge, with_recorder};

use super::Timed;
use crate::cache::{Inner, SmartCache};
use crate::stats::HandlerStats;

/// Counts are at most this old in a recorder that does not ask.
const PUBLISH_EVERY: Duration = Duration::from_secs(2);

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is what it is now.
    Gauge,
    /// It is distributed; in seconds.
    Histogram,
}

/// One metric, as documentation and dashboards need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels besides `namespace`.
    pub labels: &'static [&'static str],
    /// What it tells.
    pub description: &'static str,
}

const fn metric(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    description: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        labels,
        description,
    }
}

const REQUESTS: &str = "smart_cache_requests_total";
const SAVED: &str = "smart_cache_handler_microseconds_saved_total";
const STORES: &str = "smart_cache_stores_total";
const REFRESHES: &str = "smart_cache_refreshes_total";
const AUDITS: &str = "smart_cache_audits_total";
const STORED_BYTES: &str = "smart_cache_stored_bytes_total";
const CLEARS: &str = "smart_cache_clears_total";
const CORRUPT: &str = "smart_cache_corrupt_total";
const PENDING: &str = "smart_cache_pending_clears";
const FLIGHTS: &str = "smart_cache_flights";
const UP: &str = "smart_cache_backend_up";
const LOCAL_LIVE: &str = "smart_cache_local_live";
const LOCAL_ENTRIES: &str = "smart_cache_local_entries";
const LOCAL_BYTES: &str = "smart_cache_local_bytes";
const LOCAL_EVICTIONS: &str = "smart_cache_local_evictions_total";
const LAG: &str = "smart_cache_tracking_lag_seconds";
const LOOKUP: &str = "smart_cache_lookup_seconds";
const TURN: &str = "smart_cache_turn_seconds";
const STORE: &str = "smart_cache_store_seconds";
const CLEAR: &str = "smart_cache_clear_seconds";

/// Every metric that is recorded. Each carries the label `namespace`.
pub const METRICS: &[Metric] = &[
    metric(
        REQUESTS,
        Kind::Counter,
        &["handler", "key", "result", "detail"],
        "Requests by result (hit, miss, collapsed, bypass); the detail of a hit is local, backend or expired (shown while it is made anew), that of a bypass its reason",
    ),
    metric(
        SAVED,
        Kind::Counter,
        &["handler", "key"],
        "Handler time that hits did not spend, in microseconds",
    ),
    metric(
        STORES,
        Kind::Counter,
        &["handler", "key", "outcome"],
        "Stores by outcome: stored, cleared, lease-lost, young-tag, failed",
    ),
    metric(
        REFRESHES,
        Kind::Counter,
        &["handler", "key", "outcome"],
        "Runs of handlers that made an expired answer anew: answered, failed (a 5xx, a panic)",
    ),
    metric(
        AUDITS,
        Kind::Counter,
        &["handler", "key", "outcome"],
        "Hits whose handler was run again (SMART_REDIS_AUDIT) by outcome: same, different (although nothing was cleared), unknown",
    ),
    metric(
        STORED_BYTES,
        Kind::Counter,
        &["handler", "key"],
        "Bytes that were stored, heads included",
    ),
    metric(
        CLEARS,
        Kind::Counter,
        &["kind", "outcome"],
        "Clears by kind (clear, expire: a soft one) and outcome: acknowledged, failed",
    ),
    metric(
        CORRUPT,
        Kind::Counter,
        &[],
        "Stored entries that could not be read",
    ),
    metric(
        PENDING,
        Kind::Gauge,
        &[],
        "Clears that are still being repeated: other nodes may serve what they should remove",
    ),
    metric(
        FLIGHTS,
        Kind::Gauge,
        &[],
        "Handlers that are filling an entry",
    ),
    metric(
        UP,
        Kind::Gauge,
        &[],
        "1 while the backend answers, 0 while the breaker is open",
    ),
    metric(
        LOCAL_LIVE,
        Kind::Gauge,
        &[],
        "1 while the local tier may answer, 0 while its tracking link is silent",
    ),
    metric(LOCAL_ENTRIES, Kind::Gauge, &[], "Entries in the local tier"),
    metric(LOCAL_BYTES, Kind::Gauge, &[], "Their bytes, by weight"),
    metric(
        LOCAL_EVICTIONS,
        Kind::Counter,
        &[],
        "Entries that left the local tier for want of room",
    ),
    metric(
        LAG,
        Kind::Gauge,
        &[],
        "How long ago the tracking link last proved that every push had arrived",
    ),
    metric(
        LOOKUP,
        Kind::Histogram,
        &["outcome"],
        "Questions to the backend: hit, expired, miss, held, off, failed",
    ),
    metric(
        TURN,
        Kind::Histogram,
        &["outcome"],
        "Tickets, and waiting for whoever has one: lead, filled, shared, again, alone",
    ),
    metric(
        STORE,
        Kind::Histogram,
        &["outcome"],
        "Stores, after the answer has left: stored, cleared, lease-lost, young-tag, failed",
    ),
    metric(
        CLEAR,
        Kind::Histogram,
        &["outcome"],
        "Clears: acknowledged, failed",
    ),
];

/// Most outcomes of one kind of duration.
const MOST_OUTCOMES: usize = 6;

/// The keys of the durations of one cache, each made when it is first wanted: to put one together
/// costs more than to record a duration where nobody listens.
#[derive(Debug, Default)]
pub(crate) struct Durations([[OnceLock<Key>; MOST_OUTCOMES]; 4]);

impl Timed {
    const fn metric(self) -> &'static str {
        match self {
            Self::Lookup => LOOKUP,
            Self::Turn => TURN,
            Self::Store => STORE,
            Self::Clear => CLEAR,
        }
    }

    /// The words for how it ends.
    const fn outcomes(self) -> &'static [&'static str] {
        match self {
            Self::Lookup => &["hit", "expired", "miss", "held", "off", "failed"],
            Self::Turn => &["lead", "filled", "shared", "again", "alone"],
            Self::Store => &["stored", "cleared", "lease-lost", "young-tag", "failed"],
            Self::Clear => &["acknowledged", "failed"],
        }
    }
}

/// Records how long something took.
pub(super) fn took(cache: &SmartCache, what: Timed, outcome: &'static str, took: Duration) {
    static METADATA: Metadata<'_> =
        Metadata::new(module_path!(), Level::INFO, Some(module_path!()));
    let key = || {
        let outcome = Label::from_static_parts("outcome", outcome);
        Key::from_parts(what.metric(), vec![namespace(cache), outcome])
    };
    let at = what.outcomes().iter().position(|word| *word == outcome);
    let place = at.and_then(|at| cache.inner.durations.0[what as usize].get(at));
    let record = |key: &Key| {
        let histogram = |recorder: &dyn Recorder| recorder.register_histogram(key, &METADATA);
        with_recorder(histogram).record(took);
    };
    match place {
        Some(place) => record(place.get_or_init(key)),
        None => record(&key()),
    }
}

fn namespace(cache: &SmartCache) -> Label {
    Label::new("namespace", cache.inner.config.namespace.clone())
}

impl SmartCache {
    /// Hands all counts of this process to the recorder of the `metrics` facade, now.
    ///
    /// A cache that was built in a runtime does this every two seconds by itself. Call it in front
    /// of a scrape for numbers of this very moment, and for caches that were made without a
    /// runtime ([`SmartCache::in_memory`]). [`METRICS`](crate::observe::METRICS) lists what there
    /// is.
    ///
    /// # Example
    /// ```
    /// # struct PrometheusHandle;
    /// # impl PrometheusHandle { fn render(&self) -> String { String::new() } }
    /// use axum::extract::State;
    /// use smart_cache::SmartCache;
    ///
    /// async fn metrics(State((cache, prometheus)): State<(SmartCache, &PrometheusHandle)>) -> String {
    ///     cache.publish_metrics();
    ///     prometheus.render()
    /// }
    /// # drop(metrics(State((SmartCache::off(), &PrometheusHandle))));
    /// ```
    pub fn publish_metrics(&self) {
        describe();
        for ((handler, key), line) in by_labels(self.handler_stats()) {
            let own = [
                namespace(self),
                Label::new("handler", handler),
                Label::new("key", key),
            ];
            publish_handler(&own, &line);
        }
        publish_cache(self);
    }

    /// Publishes for as long as anybody holds the cache.
    pub(crate) fn publish_in_background(&self) {
        let cache = Arc::downgrade(&self.inner);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(publish(cache, PUBLISH_EVERY));
        }
    }
}

async fn publish(cache: Weak<Inner>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(inner) = cache.upgrade() else {
            return;
        };
        SmartCache { inner }.publish_metrics();
    }
}

/// Tells the recorder what each metric is: one that was installed meanwhile does not know.
fn describe() {
    for metric in METRICS {
        let (name, description) = (metric.name, metric.description);
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(name, description),
            Kind::Gauge => metrics::describe_gauge!(name, description),
            Kind::Histogram => {
                metrics::describe_histogram!(name, metrics::Unit::Seconds, description);
            }
        }
    }
}

/// Handlers that have the same labels are one line: two totals under one name would hide each
/// other.
fn by_labels(lines: Vec<HandlerStats>) -> BTreeMap<(String, String), HandlerStats> {
    let mut merged: BTreeMap<_, HandlerStats> = BTreeMap::new();
    for line in lines {
        let handler = if line.module.is_empty() {
            line.name.clone()
        } else {
            format!("{}::{}", line.module, line.name)
        };
        merged
            .entry((handler, line.key.clone()))
            .or_default()
            .merge(&line);
    }
    merged
}

fn with(own: &[Label], more: &[(&'static str, &'static str)]) -> Vec<Label> {
    let more = more
        .iter()
        .map(|(name, value)| Label::from_static_parts(name, value));
    own.iter().cloned().chain(more).collect()
}

fn publish_handler(own: &[Label], line: &HandlerStats) {
    let requests = |result, detail, count| {
        counter!(
            REQUESTS,
            with(own, &[("result", result), ("detail", detail)])
        )
        .absolute(count);
    };
    let backend_hits = line.hits.saturating_sub(line.local_hits + line.stale);
    requests("hit", "local", line.local_hits);
    requests("hit", "backend", backend_hits);
    requests("hit", "expired", line.stale);
    requests("miss", "", line.misses);
    requests("collapsed", "", line.collapsed);
    for (bypass, count) in &line.bypasses {
        requests("bypass", bypass.as_str(), *count);
    }
    let saved = u64::try_from(line.handler_time_saved.as_micros()).unwrap_or(u64::MAX);
    counter!(SAVED, own.to_vec()).absolute(saved);
    counter!(STORED_BYTES, own.to_vec()).absolute(line.stored_bytes);
    for (outcome, count) in [
        ("stored", line.stored),
        ("cleared", line.refused_cleared),
        ("lease-lost", line.refused_lease),
        ("young-tag", line.refused_young),
        ("failed", line.failed_stores),
    ] {
        counter!(STORES, with(own, &[("outcome", outcome)])).absolute(count);
    }
    let answered = line.refreshes.saturating_sub(line.failed_refreshes);
    for (outcome, count) in [("answered", answered), ("failed", line.failed_refreshes)] {
        counter!(REFRESHES, with(own, &[("outcome", outcome)])).absolute(count);
    }
    for (outcome, count) in [
        ("same", line.audits_same),
        ("different", line.audits_different),
        ("unknown", line.audits_unknown),
    ] {
        counter!(AUDITS, with(own, &[("outcome", outcome)])).absolute(count);
    }
}

fn publish_cache(cache: &SmartCache) {
    let own = [namespace(cache)];
    let stats = cache.stats();
    for (kind, outcome, count) in [
        (
            "clear",
            "acknowledged",
            stats.clears.saturating_sub(stats.expires),
        ),
        (
            "clear",
            "failed",
            stats.failed_clears.saturating_sub(stats.failed_expires),
        ),
        ("expire", "acknowledged", stats.expires),
        ("expire", "failed", stats.failed_expires),
    ] {
        let labels = with(&own, &[("kind", kind), ("outcome", outcome)]);
        counter!(CLEARS, labels).absolute(count);
    }
    counter!(CORRUPT, own.to_vec()).absolute(stats.corrupt);
    let set = |name: &'static str, value: f64| gauge!(name, own.to_vec()).set(value);
    set(PENDING, stats.pending_clears as f64);
    set(FLIGHTS, stats.flights as f64);
    set(UP, f64::from(u8::from(stats.available)));
    if let Some(local) = stats.local {
        set(LOCAL_LIVE, f64::from(u8::from(local.live)));
        set(LOCAL_ENTRIES, local.entries as f64);
        set(LOCAL_BYTES, local.bytes as f64);
        counter!(LOCAL_EVICTIONS, own.to_vec()).absolute(local.evictions);
        if let Some(lag) = local.lag {
            set(LAG, lag.as_secs_f64());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_a_place() {
        for what in [Timed::Lookup, Timed::Turn, Timed::Store, Timed::Clear] {
            assert!(what.outcomes().len() <= MOST_OUTCOMES);
            let metric = METRICS.iter().find(|metric| metric.name == what.metric());
            for outcome in what.outcomes() {
                let described = metric.is_some_and(|metric| metric.description.contains(outcome));
                assert!(described, "{what:?} {outcome}");
            }
        }
    }

    #[tokio::test]
    async fn nothing_is_published_for_a_cache_that_is_gone() {
        let cache = SmartCache::in_memory();
        let publishing = publish(Arc::downgrade(&cache.inner), Duration::from_millis(1));
        drop(cache);
        let ended = tokio::time::timeout(Duration::from_secs(10), publishing).await;
        assert!(ended.is_ok(), "the task goes with the cache");
    }
}
