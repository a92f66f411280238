//! The road of a request: lookup, and on a miss a turn, the handler, the policy, the store.
//!
//! Whatever fails on the way, the handler's answer is what the client gets, and the handler runs
//! at most once.

use std::future::Future;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::response::{IntoResponse, Response};

use crate::asked::Asked;
use crate::backend::{Filling, Lookup, Payload, Stored};
use crate::body::{Buffered, buffer};
use crate::cache::{Limits, SmartCache};
use crate::codec::{self, Head};
use crate::config::BackendKind;
use crate::entry::Entry;
use crate::http::cache_status::Status;
use crate::http::hop_by_hop;
use crate::policy::{self, Bypass};
use crate::protocol::Digest;
use crate::protocol::flight::Leader;
use crate::protocol::lease::HeldLease;
use crate::protocol::scope::Scope;
use crate::protocol::turn::{Lead, Taking, Turn};

/// Sent back to the lookup this often, a request runs its handler instead.
const MOST_LOOKUPS: usize = 4;

/// Answers one request.
pub(crate) async fn serve<T: IntoResponse>(
    cache: &SmartCache,
    asked: Result<Asked<'_>, Bypass>,
    handler: impl Future<Output = T>,
) -> Response {
    let asked = match asked {
        Ok(asked) => asked,
        Err(bypass) => return alone(cache, bypass, handler).await,
    };
    let mut limits = cache.limits();
    for _ in 0..MOST_LOOKUPS {
        let missed = match find(cache, &asked, limits.patience).await {
            Found::Entry(entry) => return hit(cache, &entry),
            Found::Nothing(missed) => missed,
            Found::Refused(bypass) => return alone(cache, bypass, handler).await,
        };
        if asked.is_head {
            return alone(cache, Bypass::Head, handler).await;
        }
        match turn(cache, &asked, &missed, limits).await {
            Turn::Lead(lead) => return fill(cache, &asked, lead, handler).await,
            Turn::Shared(entry) => return share(cache, &entry),
            Turn::Alone(bypass) => return alone(cache, bypass, handler).await,
            Turn::Filled(payload) if distrusted(cache, &asked, &payload) => {
                return alone(cache, Bypass::PendingClear, handler).await;
            }
            Turn::Filled(payload) => match payload.entry(asked.target.id) {
                Some(entry) => return hit(cache, &entry),
                None => discard(cache, &asked).await,
            },
            Turn::LookAgain => {}
        }
        limits.patience = Instant::now() + limits.timeout;
    }
    alone(cache, Bypass::Wait, handler).await
}

/// What the backend has for a request.
enum Found {
    Entry(Arc<Entry>),
    Nothing(Missed),
    Refused(Bypass),
}

/// What a miss leaves for the ticket.
struct Missed {
    digest: Option<Digest>,
    dynamic: Vec<Arc<str>>,
}

async fn find(cache: &SmartCache, asked: &Asked<'_>, patience: Instant) -> Found {
    if cache.inner.pending.len() > 0 {
        cache.inner.pending.retry(&cache.inner.backend);
        if cache.inner.pending.distrusts(&asked.target, &[]) {
            return Found::Refused(Bypass::PendingClear);
        }
    }
    match cache.inner.backend.lookup(&asked.target, patience).await {
        Ok(Lookup::Hit(payload)) => {
            if distrusted(cache, asked, &payload) {
                return Found::Refused(Bypass::PendingClear);
            }
            match payload.entry(asked.target.id) {
                Some(entry) => Found::Entry(entry),
                None => {
                    discard(cache, asked).await;
                    Found::Nothing(Missed {
                        digest: None,
                        dynamic: Vec::new(),
                    })
                }
            }
        }
        Ok(Lookup::Miss { digest, dynamic }) => Found::Nothing(Missed { digest, dynamic }),
        Ok(Lookup::Held) if cache.inner.config.backend == BackendKind::Off => {
            Found::Refused(Bypass::Off)
        }
        Ok(Lookup::Held) => Found::Refused(Bypass::Held),
        Err(why) => {
            tracing::debug!(key = %asked.target.key, cause = %why, "no lookup: the handler runs");
            Found::Refused(Bypass::Unavailable)
        }
    }
}

/// Whether a stored answer depends on something whose clear has not been acknowledged.
fn distrusted(cache: &SmartCache, asked: &Asked<'_>, payload: &Payload) -> bool {
    let pending = &cache.inner.pending;
    pending.len() > 0 && pending.distrusts(&asked.target, &payload.dynamic())
}

async fn turn(cache: &SmartCache, asked: &Asked<'_>, missed: &Missed, limits: Limits) -> Turn {
    let taking = Taking {
        backend: &cache.inner.backend,
        flights: &cache.inner.flights,
        target: &asked.target,
        digest: missed.digest,
        dynamic: &missed.dynamic,
        patience: limits.patience,
        timeout: limits.timeout,
        deadline: limits.wait,
    };
    taking.take().await
}

/// Runs the handler for everybody who waits, and stores its answer once it is on its way.
async fn fill<T: IntoResponse>(
    cache: &SmartCache,
    asked: &Asked<'_>,
    lead: Lead,
    handler: impl Future<Output = T>,
) -> Response {
    let (started, scope) = (Instant::now(), Scope::default());
    let (parts, body) = scope.hear(handler).await.into_response().into_parts();
    let refused = |bypass, lead: Lead, response| {
        lead.uncacheable();
        finish(cache, response, Status::Bypass(bypass))
    };
    let storable = policy::response(parts.status, &parts.headers, asked.rules).and_then(|()| {
        if parts.extensions.is_empty() {
            Ok(())
        } else {
            Err(Bypass::Extensions)
        }
    });
    if let Err(bypass) = storable {
        return refused(bypass, lead, Response::from_parts(parts, body));
    }
    let body = match buffer(body, asked.rules).await {
        Buffered::Whole(body) => body,
        Buffered::Refused(bypass, body) => {
            return refused(bypass, lead, Response::from_parts(parts, body));
        }
    };
    let dynamic = scope.found(&asked.target);
    if asked.target.tags.len() + dynamic.len() > crate::protocol::MAX_TAGS {
        return refused(Bypass::Tags, lead, Response::from_parts(parts, body.into()));
    }
    let mut headers = parts.headers.clone();
    hop_by_hop::strip(&mut headers);
    let entry = Arc::new(Entry::new(
        parts.status,
        headers,
        body.clone(),
        started.elapsed(),
    ));
    let (lease, mut seat) = lead.into_parts();
    if let Some(seat) = seat.take_if(|_| dynamic.is_empty()) {
        seat.answer(&entry);
    }
    if let Some(lease) = lease {
        let head = Head {
            key: Arc::clone(&asked.target.key),
            tags: asked.target.tags.clone(),
            dynamic,
        };
        tokio::spawn(store(
            cache.clone(),
            Arc::clone(&asked.target),
            head,
            entry,
            asked.ttl,
            lease,
            seat,
        ));
    }
    cache.inner.counters.miss();
    finish(
        cache,
        Response::from_parts(parts, body.into()),
        Status::Stored,
    )
}

/// The last step of a miss, after the answer has left.
async fn store(
    cache: SmartCache,
    target: Arc<crate::protocol::Target>,
    head: Head,
    entry: Arc<Entry>,
    ttl: Option<std::time::Duration>,
    lease: HeldLease,
    seat: Option<Leader>,
) {
    if cache.inner.pending.distrusts(&target, &head.dynamic) {
        return;
    }
    for tag in &head.dynamic {
        crate::registry::remember(tag);
    }
    if let Some(seat) = &seat {
        seat.close();
    }
    let payload = codec::encode(target.id, &head, &entry);
    let stored = lease
        .store(Filling {
            payload: &payload,
            ttl,
            dynamic: &head.dynamic,
        })
        .await;
    match &stored {
        Ok(outcome) => tracing::debug!(key = %target.key, ?outcome, bytes = payload.len(), "store"),
        Err(why) => tracing::debug!(key = %target.key, cause = %why, "store not acknowledged"),
    }
    let outcome = stored.ok();
    cache.inner.counters.store(outcome, payload.len());
    if let Some(seat) = seat {
        match outcome {
            Some(Stored::Landed(_)) => seat.answer(&entry),
            _ => seat.look_again(),
        }
    }
}

/// Removes an entry that cannot be read, so that a ticket does not hand it out again.
async fn discard(cache: &SmartCache, asked: &Asked<'_>) {
    cache.inner.counters.corrupt();
    tracing::warn!(key = %asked.target.key, id = ?asked.target.id, "a stored entry cannot be read: damaged, or another program's");
    if let Err(why) = cache.inner.backend.discard(&asked.target).await {
        tracing::debug!(cause = %why, "it could not be removed");
    }
}

fn hit(cache: &SmartCache, entry: &Entry) -> Response {
    cache.inner.counters.hit(entry.took);
    finish(cache, entry.to_response(SystemTime::now()), Status::Hit)
}

fn share(cache: &SmartCache, entry: &Entry) -> Response {
    cache.inner.counters.collapsed();
    finish(
        cache,
        entry.to_response(SystemTime::now()),
        Status::Collapsed,
    )
}

/// Runs the handler as if there were no cache.
async fn alone<T: IntoResponse>(
    cache: &SmartCache,
    bypass: Bypass,
    handler: impl Future<Output = T>,
) -> Response {
    finish(cache, handler.await.into_response(), Status::Bypass(bypass))
}

fn finish(cache: &SmartCache, mut response: Response, status: Status) -> Response {
    if let Status::Bypass(bypass) = status {
        cache.inner.counters.bypass(bypass);
    }
    if cache.inner.config.status_header {
        status.append_to(response.headers_mut());
    }
    response
}
