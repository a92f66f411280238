//! What the overview tells, from the cache and from its fleet.

use std::time::Duration;

use serde::Serialize;

use crate::cache::SmartCache;
use crate::inspect::{Facts, HandlerReport, ProcessReport, Tally};

/// Everything that the overview shows but the plots.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Overview {
    /// What the cache is, in words.
    pub(super) backend: String,
    /// Whether the backend answers this process.
    pub(super) available: bool,
    /// Of the whole fleet, since each process's start.
    pub(super) total: Tally,
    pub(super) hit_ratio: Option<f64>,
    pub(super) clears: u64,
    pub(super) pending_clears: u64,
    pub(super) corrupt: u64,
    pub(super) facts: Option<Facts>,
    pub(super) fleet: Vec<ProcessReport>,
    /// Why something of this is missing.
    pub(super) trouble: Option<String>,
}

/// Asks the backend; what does not answer is left out, and said so.
pub(super) async fn overview(cache: &SmartCache) -> Overview {
    let facts = async {
        match cache.inspect() {
            Ok(inspect) => inspect.facts().await,
            Err(why) => Err(why),
        }
    };
    let (facts, fleet) = tokio::join!(facts, cache.fleet());
    let trouble = facts.as_ref().err().or(fleet.as_ref().err());
    let trouble = trouble.map(ToString::to_string);
    let fleet = fleet.unwrap_or_else(|_| vec![cache.report()]);
    let mut total = Tally::default();
    for process in &fleet {
        total.add(&process.total);
    }
    Overview {
        backend: cache.describe(),
        available: cache.stats().available,
        hit_ratio: total.hit_ratio(),
        total,
        clears: fleet.iter().map(|process| process.clears).sum(),
        pending_clears: fleet.iter().map(|process| process.pending_clears).sum(),
        corrupt: fleet.iter().map(|process| process.corrupt).sum(),
        facts: facts.ok(),
        fleet,
        trouble,
    }
}

/// Every handler that this program has or that any process was asked for, the busiest first.
pub(super) async fn handlers(cache: &SmartCache) -> Vec<HandlerReport> {
    let fleet = cache.fleet().await;
    let fleet = fleet.unwrap_or_else(|_| vec![cache.report()]);
    let known = crate::inspect::fleet::known_handlers();
    HandlerReport::merged(
        known,
        fleet.into_iter().flat_map(|process| process.handlers),
    )
}

/// The mean of so many parts of a whole.
pub(super) fn mean(whole: Duration, parts: u64) -> Option<Duration> {
    let parts = u32::try_from(parts).unwrap_or(u32::MAX);
    (parts > 0).then(|| whole / parts)
}
