//! What the roads tell of themselves while they go: spans for traces, durations for metrics.
//!
//! Spans are of level DEBUG and of the target `smart_cache`, so that an ordinary log at INFO pays
//! one comparison for each. A request's span `cache` carries the key's template, the result and
//! its detail; below it stand `lookup`, `turn` (ticket and waiting), the handler's own spans, and
//! `store`, which ends after the answer has left. Durations are taken only with the feature
//! `metrics`; counts are those of `stats.rs`, which `metrics.rs` publishes.

use std::time::Duration;

use tracing::Span;
use tracing::field::Empty;

use crate::backend::Stored;
use crate::cache::SmartCache;
use crate::protocol::clear::Wish;
use crate::stats::HandlerCounts;

#[cfg(feature = "metrics")]
mod metrics;

#[cfg(feature = "metrics")]
pub(crate) use self::metrics::Durations;
#[cfg(feature = "metrics")]
pub use self::metrics::{Kind, METRICS, Metric};

/// The span of one request's way through the cache.
pub(crate) fn request(counts: &HandlerCounts) -> Span {
    tracing::debug_span!(
        target: "smart_cache",
        "cache",
        key = &*counts.key,
        result = Empty,
        detail = Empty
    )
}

/// Whether anybody listens to the spans of requests.
pub(crate) fn is_traced() -> bool {
    tracing::enabled!(target: "smart_cache", tracing::Level::DEBUG)
}

/// The span of a question to the backend.
pub(crate) fn lookup(request: &Span) -> Span {
    if request.is_disabled() {
        return Span::none();
    }
    tracing::debug_span!(target: "smart_cache", parent: request, "lookup", outcome = Empty)
}

/// The span of a ticket, and of waiting for whoever has it.
pub(crate) fn turn(request: &Span) -> Span {
    if request.is_disabled() {
        return Span::none();
    }
    tracing::debug_span!(target: "smart_cache", parent: request, "turn", outcome = Empty)
}

/// The span of a store; it belongs to the request although it outlives it.
pub(crate) fn store(request: &Span) -> Span {
    if request.is_disabled() {
        return Span::none();
    }
    tracing::debug_span!(target: "smart_cache", parent: request, "store", outcome = Empty)
}

/// The span of a clear; in the trace of the write when it is sent from there.
pub(crate) fn clear(wish: &Wish) -> Span {
    tracing::debug_span!(target: "smart_cache", "clear", keys = %wish, outcome = Empty)
}

/// The word for what became of a clear.
pub(crate) const fn clear_word(is_acknowledged: bool) -> &'static str {
    if is_acknowledged {
        "acknowledged"
    } else {
        "failed"
    }
}

/// The word for what became of a store.
pub(crate) const fn store_word(outcome: Option<Stored>) -> &'static str {
    match outcome {
        Some(Stored::Landed(_)) => "stored",
        Some(Stored::Cleared) => "cleared",
        Some(Stored::LeaseLost) => "lease-lost",
        Some(Stored::YoungTag) => "young-tag",
        None => "failed",
    }
}

/// A duration that is measured for the metrics; nothing at all without them.
#[must_use]
pub(crate) struct Timer {
    #[cfg(feature = "metrics")]
    began: std::time::Instant,
}

/// What durations are taken of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Timed {
    Lookup,
    Turn,
    Store,
    Clear,
}

impl Timer {
    pub(crate) fn start() -> Self {
        Self {
            #[cfg(feature = "metrics")]
            began: std::time::Instant::now(),
        }
    }

    /// Tells the span, and the metrics, how it ended.
    pub(crate) fn stop(self, span: &Span, cache: &SmartCache, what: Timed, outcome: &'static str) {
        span.record("outcome", outcome);
        #[cfg(feature = "metrics")]
        metrics::took(cache, what, outcome, self.began.elapsed());
        #[cfg(not(feature = "metrics"))]
        let _ = (cache, what);
    }
}

/// Tells the span of a lookup, and the metrics, how it ended. Its duration is taken in any case, for
/// the counters.
pub(crate) fn looked_up(span: &Span, cache: &SmartCache, outcome: &'static str, took: Duration) {
    span.record("outcome", outcome);
    #[cfg(feature = "metrics")]
    metrics::took(cache, Timed::Lookup, outcome, took);
    #[cfg(not(feature = "metrics"))]
    let _ = (cache, took);
}
