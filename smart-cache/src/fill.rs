//! A miss, once it is this request's turn: the handler, the policy, the store.
//!
//! The answer leaves first; it is stored by a task of its own.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::response::Response;
use bytes::Bytes;
use http::response::Parts;
use tracing::{Instrument as _, Span};

use crate::asked::Asked;
use crate::backend::{Filling, Stored};
use crate::body::{Buffered, buffer};
use crate::cache::SmartCache;
use crate::codec::{self, Head};
use crate::encode;
use crate::entry::{Answer, Entry};
use crate::http::cache_status::Status;
use crate::http::encoding::Encodings;
use crate::http::hop_by_hop;
use crate::observe::{self, Timed, Timer};
use crate::policy::{self, Bypass};
use crate::protocol::flight::Leader;
use crate::protocol::lease::HeldLease;
use crate::protocol::open;
use crate::protocol::scope::Scope;
use crate::protocol::turn::Lead;
use crate::protocol::{MAX_TAGS, Target};
use crate::registry;
use crate::respond::{self, Offer};
use crate::serve::{Request, finish};
use crate::stats::{Counted, HandlerCounts};

/// Runs the handler for everybody who waits.
pub(crate) async fn fill(
    cache: &Counted<'_>,
    asked: &Request<'_>,
    lead: Lead,
    handler: impl Future<Output = Response>,
) -> Response {
    try_fill(cache, asked, lead, handler).await.finish(cache)
}

/// What a handler's run came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The answer is on its way to the backend.
    Stored(Status, Response),
    /// The answer is for its own request alone: followers run their own handlers.
    Refused(Bypass, Response),
}

impl Outcome {
    pub(crate) fn finish(self, cache: &Counted<'_>) -> Response {
        match self {
            Self::Stored(status, response) => {
                cache.counts.miss();
                cache.span.record("result", "miss");
                finish(cache, response, status)
            }
            Self::Refused(bypass, response) => finish(cache, response, Status::Bypass(bypass)),
        }
    }
}

/// [`fill`], for whoever wants to know what came of it.
pub(crate) async fn try_fill(
    cache: &Counted<'_>,
    asked: &Request<'_>,
    lead: Lead,
    handler: impl Future<Output = Response>,
) -> Outcome {
    cache.counts.seen_at(asked.asked);
    let (started, scope) = (Instant::now(), Scope::listening(cache));
    // Making the response and reading its body are the handler's work too: what they say that
    // they depend on is heard.
    let judged = scope
        .hear(async { judge(handler.await, asked.asked).await })
        .instrument(cache.span.clone())
        .await;
    let found = scope.found(&asked.target);
    let Kept {
        mut parts,
        body,
        ttl,
    } = match judged {
        Ok(kept) if asked.target.tags.len() + found.len() <= MAX_TAGS => kept,
        Ok(Kept { parts, body, .. }) => {
            lead.uncacheable();
            return Outcome::Refused(Bypass::Tags, Response::from_parts(parts, body.into()));
        }
        Err((bypass, response)) => {
            if bypass == Bypass::Vary {
                registry::advise_vary(
                    asked.asked.answerer,
                    response.headers(),
                    &asked.asked.rules.vary,
                );
            }
            lead.uncacheable();
            return Outcome::Refused(bypass, response);
        }
    };
    // Only this task sees what its open transactions have written.
    if open::distrusts(cache, &asked.target, &found) {
        let response = Response::from_parts(parts, body.into());
        lead.uncacheable();
        return Outcome::Refused(Bypass::Transaction, response);
    }
    let rules = &asked.asked.rules;
    let encodings = respond::complete(parts.status, &mut parts.headers, &body, rules);
    let (mut headers, created) = (parts.headers.clone(), SystemTime::now());
    hop_by_hop::strip(&mut headers);
    let answer = Answer {
        status: parts.status,
        headers,
        body: body.clone(),
        encoded: Vec::new(),
        created,
        took: started.elapsed(),
    };
    // A tag that was found may turn out to be too new, so only declared ones can be promised.
    let status = if found.is_empty() {
        Status::Stored
    } else {
        Status::Missed
    };
    let request = asked.asked.form.in_words();
    let filled = Filled {
        cache: cache.cache.clone(),
        counts: Arc::clone(cache.counts),
        span: observe::store(&cache.span),
        target: Arc::clone(&asked.target),
        head: Head {
            key: Arc::clone(&asked.target.key),
            tags: asked.target.tags.clone(),
            dynamic: found,
        },
        answer,
        encodings,
        max_body: rules.max_body,
        ttl,
        request,
    };
    filled.land(lead);
    let offer = Offer {
        status: parts.status,
        headers: &parts.headers,
        body: &body,
        created,
        // A HEAD never fills.
        is_head: false,
    };
    let response = respond::narrow(&asked.asked.wants, offer)
        .unwrap_or_else(|| Response::from_parts(parts, body.into()));
    Outcome::Stored(status, response)
}

/// What may be stored, its body in one piece.
struct Kept {
    parts: Parts,
    body: Bytes,
    /// `None`: until it is cleared.
    ttl: Option<Duration>,
}

/// A response whose body is in one piece and which may be stored; else why not, and the response
/// as it was.
async fn judge(response: Response, asked: &Asked) -> Result<Kept, (Bypass, Response)> {
    let ((parts, body), rules) = (response.into_parts(), &asked.rules);
    let now = SystemTime::now();
    let mut allowed = policy::response(parts.status, &parts.headers, rules, &asked.form.headers())
        .and_then(|()| policy::lifetime(parts.status, &parts.headers, rules, asked.ttl, now));
    if !parts.extensions.is_empty() {
        allowed = allowed.and(Err(Bypass::Extensions));
    }
    let ttl = match allowed {
        Ok(ttl) => ttl,
        Err(bypass) => return Err((bypass, Response::from_parts(parts, body))),
    };
    match buffer(body, rules).await {
        Buffered::Whole(body) => Ok(Kept { parts, body, ttl }),
        Buffered::Refused(bypass, body) => Err((bypass, Response::from_parts(parts, body))),
    }
}

/// An answer that is on its way to the client and not stored yet.
struct Filled {
    cache: SmartCache,
    counts: Arc<HandlerCounts>,
    /// Of the store, which the trace of the request shows.
    span: Span,
    target: Arc<Target>,
    head: Head,
    answer: Answer,
    /// In which encodings its body is kept too, and how long all bodies may be together.
    encodings: Encodings,
    max_body: u64,
    ttl: Option<Duration>,
    /// What was asked, in words.
    request: String,
}

impl Filled {
    /// Tells those who followed, and has the answer stored.
    fn land(self, lead: Lead) {
        let (lease, mut seat) = lead.into_parts();
        // What depends on tags that were found counts only once it is stored.
        if let Some(seat) = seat.take_if(|_| self.head.dynamic.is_empty()) {
            if seat.is_followed() {
                seat.answer(&self.entry());
            } else {
                seat.look_again();
            }
        }
        if let Some(lease) = lease {
            tokio::spawn(self.store(lease, seat));
        }
    }

    fn entry(&self) -> Arc<Entry> {
        Arc::new(Entry::new(
            self.answer.clone(),
            self.cache.inner.config.status_header,
        ))
    }

    async fn store(mut self, lease: HeldLease, seat: Option<Leader>) {
        self.answer.encoded = encode::bodies(&self.answer, self.encodings, self.max_body).await;
        let Self {
            cache,
            counts,
            span,
            target,
            head,
            ..
        } = &self;
        if cache.inner.pending.distrusts(target, &head.dynamic) {
            return;
        }
        for tag in &head.dynamic {
            registry::remember(tag);
        }
        if let Some(seat) = &seat {
            seat.close();
        }
        let payload = codec::encode(target.id, head, &self.answer, &self.request);
        let Some(payload) = codec::seal(target.id, payload, cache.inner.keyring.as_ref()) else {
            tracing::warn!(key = %target.key, "no randomness to seal an answer with: it is not stored");
            if let Some(seat) = seat {
                seat.look_again();
            }
            return;
        };
        let filling = Filling {
            payload: &payload,
            ttl: self.ttl,
            dynamic: &head.dynamic,
        };
        let timer = Timer::start();
        let stored = lease.store(filling).instrument(span.clone()).await;
        match &stored {
            Ok(outcome) => {
                tracing::debug!(key = %target.key, ?outcome, bytes = payload.len(), "store");
            }
            Err(why) => tracing::debug!(key = %target.key, cause = %why, "store not acknowledged"),
        };
        let outcome = stored.ok();
        timer.stop(span, cache, Timed::Store, observe::store_word(outcome));
        counts.store(outcome, payload.len());
        match (seat, outcome) {
            (Some(seat), Some(Stored::Landed(_))) => seat.answer(&self.entry()),
            (Some(seat), _) => seat.look_again(),
            (None, _) => {}
        }
    }
}
