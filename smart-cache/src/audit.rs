//! Is what hits serve still what handlers say? A share of hits finds out.
//!
//! The hit's answer goes out as ever; then, in a task of its own, the handler is run once more and
//! its answer is compared with the stored one. A difference counts only if nothing was cleared
//! meanwhile, and still was not a while later: a write commits before it clears. What remains is a
//! write that forgets a clear, or a handler whose answer depends on something that is not in its
//! key. It is told in the log with both digests, counted, and the key is cleared, so that no node
//! goes on serving it.
//!
//! Not here: which hits there are. Nothing is audited whose handler cannot outlive its request,
//! and never more than a few at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};

use crate::asked::Asked;
use crate::backend::{BoxFuture, Lookup, Payload};
use crate::body::{Buffered, buffer};
use crate::cache::SmartCache;
use crate::codec;
use crate::protocol::Target;
use crate::protocol::scope::Scope;
use crate::run::Run;
use crate::stats::{Counted, HandlerCounts};

/// Audits at once in one cache: a slow handler must not be run by every tenth hit.
pub(crate) const MOST_AT_ONCE: usize = 4;
/// A clear may follow its commit by this, at least.
const SHORTEST_GRACE: Duration = Duration::from_millis(500);
/// What tells representations apart besides status and body. Dates, ids of requests and the like
/// differ at each run and say nothing.
const COMPARED: [header::HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::LOCATION,
    header::LINK,
];

/// How an audit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The handler says what is stored.
    Same,
    /// It says something else, and nothing was cleared.
    Different,
    /// Cleared, expired or evicted meanwhile; or the handler failed.
    Unknown,
}

/// Runs the handler of a hit once more, if this hit is one of the share.
pub(crate) fn consider<F>(cache: &Counted<'_>, asked: &Asked, run: Run<F>) {
    let share = cache.inner.config.audit;
    // A HEAD's handler may have left the body out.
    if share <= 0.0 || !asked.audit || asked.is_head || !is_chosen(share) {
        return;
    }
    let Ok(permit) = Arc::clone(&cache.inner.audits).try_acquire_owned() else {
        return;
    };
    let (Ok(run), Ok(runtime)) = (run.detach(), tokio::runtime::Handle::try_current()) else {
        return;
    };
    let audit = Audit {
        cache: cache.cache.clone(),
        counts: Arc::clone(cache.counts),
        target: asked.target(),
        asked: asked.clone(),
    };
    runtime.spawn(async move {
        audit.run(run).await;
        drop(permit);
    });
}

/// Whether this hit is one of the share. By chance, since a counter would meet the same handlers
/// again and again where requests come in a rhythm.
fn is_chosen(share: f64) -> bool {
    let mut random = [0; 4];
    // Without randomness nothing is audited.
    getrandom::fill(&mut random).is_ok() && is_below(share, u32::from_le_bytes(random))
}

/// Of all numbers, those that make up the share.
fn is_below(share: f64, number: u32) -> bool {
    const NUMBERS: f64 = 4_294_967_296.0;
    f64::from(number) < share * NUMBERS
}

struct Audit {
    cache: SmartCache,
    counts: Arc<HandlerCounts>,
    asked: Asked,
    target: Arc<Target>,
}

/// What is compared.
struct Said {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Said {
    fn is(&self, other: &Self) -> bool {
        let all = |headers: &HeaderMap, name: &header::HeaderName| {
            headers.get_all(name).iter().cloned().collect::<Vec<_>>()
        };
        self.status == other.status
            && self.body == other.body
            && COMPARED
                .iter()
                .all(|name| all(&self.headers, name) == all(&other.headers, name))
    }
}

impl Audit {
    async fn run(self, run: BoxFuture<'static, Response>) {
        // Counted when it ends without a verdict too: the handler may panic, which ends this task.
        let mut counted = CountedOnce {
            counts: Arc::clone(&self.counts),
            verdict: Verdict::Unknown,
        };
        counted.verdict = self.judge(run).await;
        drop(counted);
    }

    async fn judge(&self, run: BoxFuture<'static, Response>) -> Verdict {
        let Some(before) = self.look_up().await else {
            return Verdict::Unknown;
        };
        let Some(stored) = codec::decode(self.target.id, &before) else {
            return Verdict::Unknown;
        };
        let stored = Said {
            status: stored.status,
            headers: stored.headers,
            body: stored.body,
        };
        let response = Scope::silent(&self.cache).hear(run).await;
        let (parts, body) = response.into_parts();
        // What the handler answers while its database is down says nothing of the entry.
        if parts.status.is_server_error() {
            return Verdict::Unknown;
        }
        let Buffered::Whole(body) = buffer(body, &self.asked.rules).await else {
            return Verdict::Unknown;
        };
        let now = Said {
            status: parts.status,
            headers: parts.headers,
            body,
        };
        if stored.is(&now) {
            return Verdict::Same;
        }
        // A write that has committed is about to clear.
        tokio::time::sleep(self.cache.inner.config.settle.max(SHORTEST_GRACE)).await;
        // The tokens are random and never come back, so the same entry, current before and after,
        // was current in between.
        match self.look_up().await {
            Some(after) if after[..] == before[..] => {}
            _ => return Verdict::Unknown,
        }
        self.report(&stored, &now).await;
        Verdict::Different
    }

    /// The entry as the backend has it, if it is current.
    async fn look_up(&self) -> Option<Payload> {
        let patience = Instant::now() + self.cache.inner.config.timeout;
        match self
            .cache
            .inner
            .backend
            .lookup(&self.target, patience)
            .await
        {
            Ok(Lookup::Hit(payload)) => Some(payload),
            _ => None,
        }
    }

    async fn report(&self, stored: &Said, now: &Said) {
        let digest = |said: &Said| blake3::hash(&said.body).to_hex();
        tracing::error!(
            key = %self.target.key,
            id = ?self.target.id,
            answerer = %self.asked.answerer,
            stored_status = stored.status.as_u16(),
            stored_body = %digest(stored),
            status = now.status.as_u16(),
            body = %digest(now),
            "AUDIT: the stored answer is not what its handler says, and nothing was cleared: a write forgets a clear, or the answer depends on something that is not in its key. The key is cleared now; a handler that is never the same twice opts out with `audit = false`"
        );
        // Other nodes may hold it in their own memory, which hears of clears alone.
        if let Err(why) = self.cache.clear(&*self.target.key).await {
            tracing::warn!(key = %self.target.key, cause = %why, "the audited key is cleared as soon as the backend answers");
        }
    }
}

struct CountedOnce {
    counts: Arc<HandlerCounts>,
    verdict: Verdict,
}

impl Drop for CountedOnce {
    fn drop(&mut self) {
        self.counts.audit(self.verdict);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of a million numbers (the binary one), spread evenly, belong to the share.
    fn chosen(share: f64) -> usize {
        let numbers = (0..=u32::MAX).step_by(4096);
        numbers.filter(|number| is_below(share, *number)).count()
    }

    #[test]
    fn a_share_of_the_hits_is_chosen_and_no_more() {
        assert_eq!(chosen(0.0), 0);
        assert_eq!(chosen(0.001), 1_049);
        assert_eq!(chosen(0.25), 1 << 18);
        assert_eq!(chosen(1.0), 1 << 20);
    }

    #[test]
    fn none_is_none_and_all_are_all() {
        for number in [0, 1, u32::MAX / 2, u32::MAX - 1, u32::MAX] {
            assert!(!is_below(0.0, number), "{number}");
            assert!(is_below(1.0, number), "{number}");
        }
        // One in a thousand: 4 294 967 of 4 294 967 296 numbers.
        assert!(is_below(0.001, 4_294_967));
        assert!(!is_below(0.001, 4_294_968));
        // Shares too small for any number but the first still have that one.
        assert!(is_below(f64::MIN_POSITIVE, 0) && !is_below(f64::MIN_POSITIVE, 1));
    }

    #[test]
    fn chance_itself_gives_about_the_share() {
        let hits = 20_000;
        let chosen = (0..hits).filter(|_| is_chosen(0.1)).count();
        // Two thousand, give or take nine times what is usual: never by chance.
        assert!((1_600..=2_400).contains(&chosen), "{chosen}");
        assert!((0..hits).all(|_| !is_chosen(0.0)));
        assert!((0..hits).all(|_| is_chosen(1.0)));
    }
}
