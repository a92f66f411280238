//! The road of a request: lookup, and on a miss a turn, the handler, the policy, the store.
//!
//! Whatever fails on the way, the handler's answer is what the client gets, and the handler runs
//! at most once.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use axum::response::Response;
use tracing::Instrument as _;

use crate::asked::Asked;
use crate::audit;
use crate::backend::{Lookup, Payload, Stale};
use crate::cache::{Limits, SmartCache};
use crate::clock::Moment;
use crate::context::Shown;
use crate::entry::Entry;
use crate::error::BackendError;
use crate::fill::fill;
use crate::http::cache_status::{self, Status};
use crate::key::Form;
use crate::local::{Held, LocalTier};
use crate::observe::{self, Timed, Timer};
use crate::policy::Bypass;
use crate::protocol::open;
use crate::protocol::scope::Scope;
use crate::protocol::turn::{Taking, Turn};
use crate::protocol::{Digest, Target};
use crate::refresh;
use crate::registry::Site;
use crate::run::Run;
use crate::stats::Counted;

/// Sent back to the lookup this often, a request runs its handler instead.
const MOST_LOOKUPS: usize = 4;

/// The answer of this process's memory, on a road of its own without a step that could wait; for
/// hits that nobody wants to hear more of than their count.
pub(crate) fn at_hand(
    cache: &SmartCache,
    site: &'static Site,
    form: &Form,
    shown: &Shown,
) -> Option<Response> {
    let tier = cache.inner.local.as_ref().filter(|_| site.local)?;
    let config = &cache.inner.config;
    let is_audited = config.audit > 0.0 && site.audit;
    if config.status_key || is_audited || observe::is_traced() {
        return None;
    }
    let now = Moment::now();
    let held = local(cache, tier, form, now)?;
    let counts = cache.inner.counters.handlers.of(&site.into());
    counts.local_hit(held.entry.took(), now);
    Some(held.entry.to_response(&shown.wants, shown.is_head, now))
}

/// Answers one request.
pub(crate) async fn serve(
    cache: &Counted<'_>,
    asked: Result<&Asked, Bypass>,
    run: Run<impl Future<Output = Response>>,
) -> Response {
    let mut response = road(cache, asked, run).await;
    if let (Ok(asked), true) = (asked, cache.inner.config.status_key) {
        let key = asked.form.names().0.unwrap_or_default();
        cache_status::add_key(response.headers_mut(), key);
    }
    response
}

/// The road as far as a hit goes. All that comes behind it is boxed: a hit would carry its size.
async fn road(
    cache: &Counted<'_>,
    asked: Result<&Asked, Bypass>,
    run: Run<impl Future<Output = Response>>,
) -> Response {
    let asked = match asked {
        Ok(asked) => asked,
        Err(bypass) => return alone(cache, bypass, run.future).await,
    };
    let began = Instant::now();
    if let Some(response) = local_hit(cache, asked, began.into()) {
        audit::consider(cache, asked, run);
        return response;
    }
    let asked = Request {
        target: asked.target(),
        asked,
    };
    let limits = cache.limits(began);
    match find(cache, &asked, began, limits.patience).await {
        Found::Entry(entry, now) => {
            let response = hit(cache, asked.asked, &entry, now);
            audit::consider(cache, asked.asked, run);
            response
        }
        found => Box::pin(beyond(cache, &asked, found, limits, run)).await,
    }
}

/// The road of a request that is no hit, from what its lookup has found.
async fn beyond(
    cache: &Counted<'_>,
    asked: &Request<'_>,
    mut found: Found,
    mut limits: Limits,
    run: Run<impl Future<Output = Response>>,
) -> Response {
    for lookups in 1..=MOST_LOOKUPS {
        let missed = match found {
            Found::Entry(entry, now) => {
                let response = hit(cache, asked.asked, &entry, now);
                audit::consider(cache, asked.asked, run);
                return response;
            }
            Found::Expired(entry, stale) => {
                return Box::pin(refresh::show(cache, asked, &entry, stale, run)).await;
            }
            Found::Nothing(missed) => missed,
            Found::Refused(bypass) => return alone(cache, bypass, run.future).await,
        };
        if asked.asked.is_head {
            return alone(cache, Bypass::Head, run.future).await;
        }
        match Box::pin(turn(cache, asked, &missed, limits)).await {
            Turn::Lead(lead) => return Box::pin(fill(cache, asked, lead, run.future)).await,
            Turn::Shared(entry) => return share(cache, asked.asked, &entry),
            Turn::Alone(bypass) => return alone(cache, bypass, run.future).await,
            Turn::Filled(payload) => {
                if let Some(bypass) = distrusted(cache, asked, &payload) {
                    return alone(cache, bypass, run.future).await;
                }
                let now = Moment::now();
                match cache.entry(&payload, asked.target.id, now) {
                    Some(entry) => return hit(cache, asked.asked, &entry, now),
                    None => discard(cache, asked).await,
                }
            }
            Turn::LookAgain => {}
        }
        if lookups == MOST_LOOKUPS {
            break;
        }
        let began = Instant::now();
        limits.patience = began + limits.timeout;
        found = find(cache, asked, began, limits.patience).await;
    }
    alone(cache, Bypass::Wait, run.future).await
}

/// A request that the local tier had no answer for.
pub(crate) struct Request<'a> {
    pub(crate) asked: &'a Asked,
    pub(crate) target: Arc<Target>,
}

/// The answer of this process's memory, if it is proved current.
fn local(cache: &SmartCache, tier: &LocalTier, form: &Form, now: Moment) -> Option<Arc<Held>> {
    // While a clear is pending or a write is open, keys are distrusted: the full road finds out.
    if cache.inner.pending.len() > 0 || open::any_here() {
        return None;
    }
    tier.get(form.local(), now)
}

fn local_hit(cache: &Counted<'_>, asked: &Asked, now: Moment) -> Option<Response> {
    let tier = cache.inner.local.as_ref().filter(|_| asked.local)?;
    let held = local(cache, tier, &asked.form, now)?;
    cache.counts.local_hit(held.entry.took(), now);
    cache.span.record("result", "hit");
    cache.span.record("detail", "local");
    Some(held.entry.to_response(&asked.wants, asked.is_head, now))
}

/// What the backend has for a request.
enum Found {
    Entry(Arc<Entry>, Moment),
    Expired(Arc<Entry>, Stale),
    Nothing(Missed),
    Refused(Bypass),
}

/// What a miss leaves for the ticket.
struct Missed {
    digest: Option<Digest>,
    dynamic: Vec<Arc<str>>,
}

async fn find(
    cache: &Counted<'_>,
    asked: &Request<'_>,
    began: Instant,
    patience: Instant,
) -> Found {
    if cache.inner.pending.len() > 0 {
        cache.inner.pending.retry(&cache.inner.backend);
        if cache.inner.pending.distrusts(&asked.target, &[]) {
            return Found::Refused(Bypass::PendingClear);
        }
    }
    if open::distrusts(cache, &asked.target, &[]) {
        return Found::Refused(Bypass::Transaction);
    }
    let (found, now) = look_up(cache, asked, began, patience).await;
    match found {
        Ok(Lookup::Hit(payload)) => {
            if let Some(bypass) = distrusted(cache, asked, &payload) {
                return Found::Refused(bypass);
            }
            match cache.entry(&payload, asked.target.id, now) {
                Some(entry) => {
                    keep_locally(cache, asked, &payload, &entry);
                    Found::Entry(entry, now)
                }
                None => {
                    discard(cache, asked).await;
                    Found::Nothing(Missed {
                        digest: None,
                        dynamic: Vec::new(),
                    })
                }
            }
        }
        Ok(Lookup::Stale(stale)) => {
            if let Some(bypass) = distrusted(cache, asked, &stale.payload) {
                return Found::Refused(bypass);
            }
            match cache.entry(&stale.payload, asked.target.id, now) {
                Some(entry) => Found::Expired(entry, stale),
                None => Found::Nothing(Missed {
                    digest: Some(stale.digest),
                    dynamic: stale.dynamic,
                }),
            }
        }
        Ok(Lookup::Miss { digest, dynamic }) => Found::Nothing(Missed { digest, dynamic }),
        Ok(Lookup::Off) => Found::Refused(Bypass::Off),
        Ok(Lookup::Held) => Found::Refused(Bypass::Held),
        Err(why) => {
            tracing::debug!(key = %asked.target.key, cause = %why, "no lookup: the handler runs");
            Found::Refused(Bypass::Unavailable)
        }
    }
}

/// One question to the backend, timed since the request set out (`began`), some microseconds before;
/// and when its answer was there.
async fn look_up(
    cache: &Counted<'_>,
    asked: &Request<'_>,
    began: Instant,
    patience: Instant,
) -> (Result<Lookup, BackendError>, Moment) {
    let span = observe::lookup(&cache.span);
    let lookup = cache.inner.backend.lookup(&asked.target, patience);
    let found = lookup.instrument(span.clone()).await;
    let now = Instant::now();
    let took = now.saturating_duration_since(began);
    if found.is_ok() {
        cache.inner.counters.lookup(took);
    }
    let outcome = match &found {
        Ok(Lookup::Hit(_)) => "hit",
        Ok(Lookup::Stale(_)) => "expired",
        Ok(Lookup::Miss { .. }) => "miss",
        Ok(Lookup::Held) => "held",
        Ok(Lookup::Off) => "off",
        Err(_) => "failed",
    };
    observe::looked_up(&span, cache, outcome, took);
    (found, now.into())
}

/// Takes an entry into the local tier, with what was known before its lookup was sent.
fn keep_locally(cache: &SmartCache, asked: &Request<'_>, payload: &Payload, entry: &Arc<Entry>) {
    if let (Some(tier), Some(sample), true) =
        (&cache.inner.local, payload.sample(), asked.asked.local)
    {
        tier.insert(asked.asked.form.local().into(), entry, Arc::clone(sample));
    }
}

/// Why a stored answer is not to be served, if it depends on something whose clear has not been
/// acknowledged, or that this task is writing.
fn distrusted(cache: &SmartCache, asked: &Request<'_>, payload: &Payload) -> Option<Bypass> {
    let pending = &cache.inner.pending;
    if pending.len() == 0 && !open::any() {
        return None;
    }
    let dynamic = payload.dynamic();
    if pending.distrusts(&asked.target, &dynamic) {
        Some(Bypass::PendingClear)
    } else {
        open::distrusts(cache, &asked.target, &dynamic).then_some(Bypass::Transaction)
    }
}

async fn turn(cache: &Counted<'_>, asked: &Request<'_>, missed: &Missed, limits: Limits) -> Turn {
    let (timer, span) = (Timer::start(), observe::turn(&cache.span));
    let taking = Taking {
        backend: &cache.inner.backend,
        flights: &cache.inner.flights,
        tickets: &cache.inner.tickets,
        target: &asked.target,
        digest: missed.digest,
        dynamic: &missed.dynamic,
        patience: limits.patience,
        timeout: limits.timeout,
        deadline: limits.wait,
    };
    let turn = taking.take().instrument(span.clone()).await;
    let outcome = match &turn {
        Turn::Lead(_) => "lead",
        Turn::Filled(_) => "filled",
        Turn::Shared(_) => "shared",
        Turn::LookAgain => "again",
        Turn::Alone(_) => "alone",
    };
    timer.stop(&span, cache, Timed::Turn, outcome);
    turn
}

/// Removes an entry that cannot be read, so that a ticket does not hand it out again.
async fn discard(cache: &SmartCache, asked: &Request<'_>) {
    cache.inner.counters.corrupt();
    tracing::warn!(key = %asked.target.key, id = ?asked.target.id, "a stored entry cannot be read: damaged, or another program's");
    if let Err(why) = cache.inner.backend.discard(&asked.target).await {
        tracing::debug!(cause = %why, "it could not be removed");
    }
}

fn hit(cache: &Counted<'_>, asked: &Asked, entry: &Entry, now: Moment) -> Response {
    cache.counts.hit(entry.took(), now);
    cache.span.record("result", "hit");
    entry.to_response(&asked.wants, asked.is_head, now)
}

fn share(cache: &Counted<'_>, asked: &Asked, entry: &Entry) -> Response {
    let now = Moment::now();
    cache.counts.collapsed(now);
    cache.span.record("result", "collapsed");
    let mut response = entry.to_response(&asked.wants, asked.is_head, now);
    if cache.inner.config.status_header {
        Status::Collapsed.replace_hit(response.headers_mut());
    }
    response
}

/// Runs the handler as if there were no cache.
async fn alone(
    cache: &Counted<'_>,
    bypass: Bypass,
    handler: impl Future<Output = Response>,
) -> Response {
    let response = Scope::silent(cache)
        .hear(handler)
        .instrument(cache.span.clone())
        .await;
    finish(cache, response, Status::Bypass(bypass))
}

/// The last step of every answer that is not a hit.
pub(crate) fn finish(cache: &Counted<'_>, mut response: Response, status: Status) -> Response {
    if let Status::Bypass(bypass) = status {
        cache.counts.bypass(bypass);
        cache.span.record("result", "bypass");
        cache.span.record("detail", bypass.as_str());
    }
    if cache.inner.config.status_header {
        status.append_to(response.headers_mut());
    }
    response
}
