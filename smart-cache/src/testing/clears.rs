//! Whether a write clears what it must, and whether a page is cached at all: one line each.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::response::Response;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::Instant;

use super::status;
use crate::key::IntoKeys;
use crate::protocol::clear::Wish;

/// How long a clear or a store may come after the answer: a relay delivers after the commit, and an
/// answer is stored after it has left.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(5);

/// Every acknowledged clear of the process; `None` is one of everything.
static HEARD: LazyLock<broadcast::Sender<Option<Arc<[String]>>>> =
    LazyLock::new(|| broadcast::Sender::new(1024));

/// Tells those who listen of a clear that was acknowledged.
pub(crate) fn heard(wish: &Wish) {
    if HEARD.receiver_count() > 0 {
        // An error means that nobody listens any more.
        let _ = HEARD.send(match wish {
            Wish::All => None,
            Wish::Keys(keys) | Wish::Expired(keys) | Wish::Held { keys, .. } => {
                Some(keys.as_slice().into())
            }
        });
    }
}

/// Asserts that a write clears these keys, by whatever way: `clear_cache`, an attribute, a
/// transaction's collector, or a trigger and a relay of this process. Returns what the write
/// returned.
///
/// It hears every clear of the process, of all caches; a write that clears more passes too.
///
/// # Panics
/// When one of them has not been cleared, and acknowledged, within three seconds after the write;
/// the message names it and what was cleared.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use smart_cache::{SmartCache, testing::assert_clears};
///
/// let cache = SmartCache::in_memory();
/// let rename = async { cache.clear(["product:7", "products"]).await };
/// assert_clears(rename, ["product:7"]).await.unwrap();
/// # }
/// ```
pub async fn assert_clears<T>(write: impl Future<Output = T>, keys: impl IntoKeys) -> T {
    let mut missing: BTreeSet<String> = keys.into_keys().into_iter().collect();
    let mut others = BTreeSet::new();
    let mut heard = HEARD.subscribe();
    let outcome = write.await;
    let deadline = Instant::now() + PATIENCE;
    while !missing.is_empty() {
        match tokio::time::timeout_at(deadline, heard.recv()).await {
            Ok(Ok(Some(keys))) => {
                for key in &*keys {
                    if !missing.remove(key) {
                        others.insert(key.clone());
                    }
                }
            }
            Ok(Ok(None)) => missing.clear(),
            Ok(Err(RecvError::Lagged(_))) => {}
            Ok(Err(RecvError::Closed)) | Err(_) => {
                panic!("the write has not cleared {missing:?}; it has cleared {others:?}")
            }
        }
    }
    outcome
}

/// Asserts that a page is cached: asked again and again, it is soon answered from the cache. Returns
/// that answer.
///
/// # Panics
/// When it is not within three seconds; the message says what the last answer was instead. Within
/// `SMART_REDIS_SETTLE` after a clear an answer is stored too, for a moment.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use axum::{Extension, Router, body::Body, routing::get};
/// use smart_cache::{SmartCache, smart_cache, testing::assert_cached};
/// use tower::ServiceExt as _;
///
/// #[smart_cache("home")]
/// async fn home() -> &'static str {
///     "welcome"
/// }
///
/// let app = Router::new().route("/", get(home)).layer(Extension(SmartCache::in_memory()));
/// let ask = || axum::http::Request::get("/").body(Body::empty()).unwrap();
/// assert_cached(async || app.clone().oneshot(ask()).await.unwrap()).await;
/// # }
/// ```
pub async fn assert_cached(ask: impl AsyncFn() -> Response) -> Response {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask().await;
        let seen = status(&answer);
        if seen.as_ref().is_some_and(|seen| seen.hit) {
            return answer;
        }
        assert!(
            Instant::now() < deadline,
            "the answer is never a hit: status {}, Cache-Status {:?}",
            answer.status(),
            seen
        );
        tokio::time::sleep(PAUSE).await;
    }
}
