//! An answer that was expired: shown once more while one request of the fleet makes the next.
//!
//! The one that refreshes takes its ticket like any miss, so nothing of before the wish, and
//! nothing of before a clear, is ever stored. It waits for nobody: where another one is at it, the
//! old answer is all that is needed.

use std::future::Future;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::response::Response;
use tracing::{Instrument as _, Span};

use crate::asked::Asked;
use crate::backend::{BoxFuture, Stale};
use crate::cache::SmartCache;
use crate::clock::Moment;
use crate::entry::Entry;
use crate::fill::{Outcome, try_fill};
use crate::http::cache_status::Status;
use crate::protocol::turn::{Lead, Taking, Turn};
use crate::run::Run;
use crate::serve::Request;
use crate::stats::{Counted, HandlerCounts};

/// What a request shows that found an expired answer.
pub(crate) async fn show(
    cache: &Counted<'_>,
    asked: &Request<'_>,
    entry: &Entry,
    stale: Stale,
    run: Run<impl Future<Output = Response>>,
) -> Response {
    let old = shown(cache, asked.asked, entry);
    // A HEAD makes nothing anew, for its answer would not be stored.
    if asked.asked.is_head {
        return old;
    }
    let refresh = Refresh {
        cache: cache.cache.clone(),
        counts: Arc::clone(cache.counts),
        span: cache.span.clone(),
        asked: asked.asked.clone(),
        target: Arc::clone(&asked.target),
        stale,
    };
    if cache
        .inner
        .flights
        .is_open(refresh.target.id, refresh.stale.digest)
    {
        return old;
    }
    match run.detach() {
        Ok(run) => {
            tokio::spawn(refresh.in_background(run).in_current_span());
            old
        }
        // It cannot go on without its request, so this one request waits for it.
        Err(run) => match refresh.turn().await {
            Some(lead) => refresh.in_foreground(lead, run.future, old).await,
            None => old,
        },
    }
}

fn shown(cache: &Counted<'_>, asked: &Asked, entry: &Entry) -> Response {
    let now = Moment::now();
    cache.counts.hit(entry.took(), now);
    cache.counts.stale();
    cache.span.record("result", "hit");
    cache.span.record("detail", "expired");
    let mut response = entry.to_response(&asked.wants, asked.is_head, now);
    if cache.inner.config.status_header {
        Status::Stale.replace_hit(response.headers_mut());
    }
    response
}

/// The making of a new answer; owns what it needs, for its request may be over.
#[derive(Debug, Clone)]
struct Refresh {
    cache: SmartCache,
    counts: Arc<HandlerCounts>,
    span: Span,
    asked: Asked,
    target: Arc<crate::protocol::Target>,
    stale: Stale,
}

impl Refresh {
    fn counted(&self) -> Counted<'_> {
        Counted {
            cache: &self.cache,
            counts: &self.counts,
            span: self.span.clone(),
        }
    }

    fn request(&self) -> Request<'_> {
        Request {
            asked: &self.asked,
            target: Arc::clone(&self.target),
        }
    }

    /// The right to run the handler, if nobody else has it.
    async fn turn(&self) -> Option<Lead> {
        let limits = self.cache.limits(Instant::now());
        let taking = Taking {
            backend: &self.cache.inner.backend,
            flights: &self.cache.inner.flights,
            tickets: &self.cache.inner.tickets,
            target: &self.target,
            digest: Some(self.stale.digest),
            dynamic: &self.stale.dynamic,
            patience: limits.patience,
            timeout: limits.timeout,
            deadline: Instant::now(),
        };
        match taking.take().await {
            Turn::Lead(lead) => Some(lead),
            _ => None,
        }
    }

    async fn in_background(self, run: BoxFuture<'static, Response>) {
        let Some(lead) = self.turn().await else {
            return;
        };
        let this = self.clone();
        // In a task of its own, so that a panic of the handler is an outcome and not the end.
        let running = async move {
            let outcome = try_fill(&this.counted(), &this.request(), lead, run).await;
            outcome.failure()
        };
        let failure = tokio::spawn(running.in_current_span())
            .await
            .unwrap_or(Some(Failure::Handler));
        self.ended(failure).await;
    }

    async fn in_foreground(
        self,
        lead: Lead,
        handler: impl Future<Output = Response>,
        old: Response,
    ) -> Response {
        let outcome = try_fill(&self.counted(), &self.request(), lead, handler).await;
        let failure = outcome.failure();
        if self.ended(failure).await {
            old
        } else {
            outcome.finish(&self.counted())
        }
    }

    /// Settles what becomes of the old answer; whether it stays although the refresh failed.
    async fn ended(&self, failure: Option<Failure>) -> bool {
        let has_failed = matches!(failure, Some(Failure::Handler));
        self.counts.refresh(has_failed);
        if failure.is_none() {
            return false;
        }
        let age = SystemTime::now()
            .duration_since(self.stale.since)
            .unwrap_or_default();
        let stays = has_failed && self.asked.stale_if_error.is_some_and(|limit| age <= limit);
        if stays {
            tracing::warn!(key = %self.target.key, expired = ?age, "a refresh failed: the last good answer stays");
            return true;
        }
        // Now there is no telling what the old answer is worth, so the handler is asked each time.
        if let Err(why) = self.cache.inner.backend.discard(&self.target).await {
            tracing::debug!(cause = %why, "an expired answer could not be removed");
        }
        false
    }
}

/// Why a refresh made nothing that could be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// A 5xx, or a panic.
    Handler,
    /// An answer that may not be stored: the old one no longer is what the handler says.
    Uncacheable,
}

impl Outcome {
    fn failure(&self) -> Option<Failure> {
        match self {
            Self::Stored(..) => None,
            Self::Refused(_, response) if response.status().is_server_error() => {
                Some(Failure::Handler)
            }
            Self::Refused(..) => Some(Failure::Uncacheable),
        }
    }
}
