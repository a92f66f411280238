//! The last ten minutes: what the fleet did, sampled while the page is mounted.
//!
//! Rates come from the difference of two reports of one process, over the time between them as that
//! process has measured it; so a report that comes late bends no curve.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use serde::Serialize;
use tokio::sync::watch;

use super::gather::{self, Overview};
use crate::cache::SmartCache;
use crate::inspect::ProcessReport;

/// Time between two samples while somebody looks, and while nobody does.
const BUSY: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(10);
/// Somebody looked within this time.
const LOOKED: Duration = Duration::from_secs(60);
/// How far back the plots go.
pub(super) const SPAN: Duration = Duration::from_secs(600);

/// What the fleet did between two samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Sample {
    #[serde(
        rename = "at_ms",
        serialize_with = "crate::inspect::as_millis_of_epoch"
    )]
    pub(super) at: SystemTime,
    pub(super) requests_per_second: f64,
    /// `None` without a request that could have been a hit.
    pub(super) hit_ratio: Option<f64>,
    /// Mean time of a question to the backend, in microseconds; `None` without one.
    pub(super) lookup_us: Option<f64>,
}

/// An overview with what led to it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Seen {
    #[serde(flatten)]
    pub(super) overview: Overview,
    pub(super) samples: Vec<Sample>,
}

/// Samples for as long as it lives.
pub(super) struct Watch {
    cache: SmartCache,
    rates: Mutex<Rates>,
    newest: watch::Sender<Option<Arc<Seen>>>,
    /// Milliseconds after `born` of the last visit.
    looked: AtomicU64,
    born: Instant,
    is_sampling: AtomicBool,
}

#[derive(Default)]
struct Rates {
    samples: VecDeque<Sample>,
    /// The newest report of each process, and its rates.
    processes: HashMap<String, (ProcessReport, Rate)>,
}

/// What one process did, for each second.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    requests: f64,
    hits: f64,
    cacheable: f64,
    lookups: f64,
    lookup_us: f64,
}

impl Watch {
    pub(super) fn new(cache: SmartCache) -> Arc<Self> {
        Arc::new(Self {
            cache,
            rates: Mutex::default(),
            newest: watch::Sender::new(None),
            looked: AtomicU64::new(0),
            born: Instant::now(),
            is_sampling: AtomicBool::new(false),
        })
    }

    /// Begins to sample, where there is a runtime and unless that is under way.
    pub(super) fn keep_sampling(self: &Arc<Self>) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && !self.is_sampling.swap(true, Ordering::AcqRel)
        {
            let sampling = Sampling(Arc::downgrade(self));
            runtime.spawn(sampling.run());
        }
    }

    /// Notes that somebody looks.
    fn look(self: &Arc<Self>) {
        let now = self.born.elapsed().as_millis() as u64;
        self.looked.store(now, Ordering::Relaxed);
        self.keep_sampling();
    }

    /// What is true now, with the samples of before.
    pub(super) async fn now(self: &Arc<Self>) -> Arc<Seen> {
        self.look();
        self.sample().await
    }

    /// What will be true from now on.
    pub(super) fn subscribe(self: &Arc<Self>) -> watch::Receiver<Option<Arc<Seen>>> {
        self.look();
        self.newest.subscribe()
    }

    async fn sample(&self) -> Arc<Seen> {
        let overview = gather::overview(&self.cache).await;
        let samples = {
            let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
            rates.take(&overview.fleet);
            rates.samples.iter().copied().collect()
        };
        let seen = Arc::new(Seen { overview, samples });
        self.newest.send_replace(Some(Arc::clone(&seen)));
        seen
    }

    fn pause(&self) -> Duration {
        let looked = Duration::from_millis(self.looked.load(Ordering::Relaxed));
        if self.born.elapsed().saturating_sub(looked) < LOOKED {
            BUSY
        } else {
            IDLE
        }
    }
}

/// The task that samples; marks its end, so that a visit on another runtime begins anew.
struct Sampling(Weak<Watch>);

impl Sampling {
    async fn run(self) {
        loop {
            let Some(watch) = self.0.upgrade() else {
                return;
            };
            watch.sample().await;
            let pause = watch.pause();
            drop(watch);
            tokio::time::sleep(pause).await;
        }
    }
}

impl Drop for Sampling {
    fn drop(&mut self) {
        if let Some(watch) = self.0.upgrade() {
            watch.is_sampling.store(false, Ordering::Release);
        }
    }
}

impl Rates {
    fn take(&mut self, fleet: &[ProcessReport]) {
        self.processes
            .retain(|id, _| fleet.iter().any(|process| process.id == *id));
        for report in fleet {
            match self.processes.get_mut(&report.id) {
                Some((before, rate)) => {
                    if let Some(new) = Rate::between(before, report) {
                        *rate = new;
                        *before = report.clone();
                    }
                }
                None => {
                    let first = (report.clone(), Rate::default());
                    self.processes.insert(report.id.clone(), first);
                }
            }
        }
        let now = SystemTime::now();
        let is_old = |sample: &Sample| {
            now.duration_since(sample.at)
                .is_ok_and(|since| since > SPAN)
        };
        while self.samples.front().is_some_and(is_old) {
            self.samples.pop_front();
        }
        // A visit between two samples adds none of its own.
        let newest = self.samples.back().map(|sample| sample.at);
        let is_early = newest
            .and_then(|at| now.duration_since(at).ok())
            .is_some_and(|since| since < BUSY / 2);
        if !is_early {
            self.samples.push_back(self.sum(now));
        }
    }

    fn sum(&self, at: SystemTime) -> Sample {
        let sum = |part: fn(&Rate) -> f64| {
            self.processes
                .values()
                .map(|(_, rate)| part(rate))
                .sum::<f64>()
        };
        let (hits, cacheable) = (sum(|rate| rate.hits), sum(|rate| rate.cacheable));
        let (lookups, lookup_us) = (sum(|rate| rate.lookups), sum(|rate| rate.lookup_us));
        Sample {
            at,
            requests_per_second: sum(|rate| rate.requests),
            hit_ratio: (cacheable > 0.0).then(|| hits / cacheable),
            lookup_us: (lookups > 0.0).then(|| lookup_us / lookups),
        }
    }
}

impl Rate {
    /// `None` when the second report is not clearly later.
    fn between(before: &ProcessReport, after: &ProcessReport) -> Option<Self> {
        let passed = after.at.duration_since(before.at).ok()?.as_secs_f64();
        if passed < 0.5 {
            return None;
        }
        let rate =
            |of: fn(&ProcessReport) -> u64| of(after).saturating_sub(of(before)) as f64 / passed;
        Some(Self {
            requests: rate(|report| report.total.requests()),
            hits: rate(|report| report.total.hits),
            cacheable: rate(|report| {
                report.total.hits + report.total.misses + report.total.collapsed
            }),
            lookups: rate(|report| report.lookups),
            lookup_us: rate(|report| report.lookup_time.as_micros() as u64),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_time_between_two_reports() {
        let mut rates = Rates::default();
        let mut report = SmartCache::in_memory().report();
        rates.take(std::slice::from_ref(&report));
        assert_eq!(rates.samples[0].requests_per_second, 0.0);
        assert_eq!(rates.samples[0].hit_ratio, None);
        report.at += Duration::from_secs(5);
        report.total.hits += 30;
        report.total.misses += 10;
        report.total.bypasses.push(("head".to_owned(), 10));
        report.lookups += 20;
        report.lookup_time += Duration::from_micros(2_000);
        rates.take(std::slice::from_ref(&report));
        let sample = rates.sum(SystemTime::now());
        assert_eq!(sample.requests_per_second, 10.0);
        assert_eq!(sample.hit_ratio, Some(0.75));
        assert_eq!(sample.lookup_us, Some(100.0));
        rates.take(std::slice::from_ref(&report));
        let again = rates.sum(sample.at);
        assert_eq!(again, sample, "an old report changes nothing");
        rates.take(&[]);
        assert_eq!(
            rates.sum(SystemTime::now()).requests_per_second,
            0.0,
            "a process that has gone does nothing"
        );
    }
}
