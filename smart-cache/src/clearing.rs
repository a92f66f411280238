//! The road of a clear: local counters, the command, and what becomes of a wish that was not
//! acknowledged.
//!
//! Invariant: a wish that was uttered is acknowledged, or it is pending. Nothing drops it: not a
//! cancelled caller, not a runtime that ends while the command is on its way.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tracing::{Instrument as _, Span};

use crate::backend::Backend;
use crate::cache::SmartCache;
use crate::error::{BackendError, ClearError};
use crate::inspect::clears::Draft;
use crate::inspect::fleet::process_name;
use crate::key::IntoKeys;
use crate::observe::{self, Timed, Timer};
use crate::protocol::clear::Wish;
use crate::protocol::open;

/// Keys of one clear whose entries are freed at once; the sweep frees the others.
const MOST_RECLAIMED: usize = 1_000;

impl SmartCache {
    /// Makes every answer that was cached under these keys or tags gone, on every node.
    ///
    /// Returns after the backend has acknowledged it: from then on no lookup anywhere returns an
    /// answer whose handler started before, and copies in other processes' memory end when they
    /// hear of it: one network hop later, and within `SMART_REDIS_LOCAL_STALENESS` at worst. One round trip for any number of keys and entries;
    /// idempotent. Dropping the returned future does not stop the clear.
    ///
    /// # Errors
    /// [`ClearError::Unacknowledged`] when the backend did not answer or refused. This process
    /// then distrusts the keys at once and repeats the clear until it lands; other processes may
    /// serve the old answers until then. [`ClearError::EmptyKey`] when a key is empty: nothing
    /// is cleared then.
    ///
    /// # Example
    /// ```
    /// # async fn example(cache: smart_cache::SmartCache) -> Result<(), smart_cache::ClearError> {
    /// cache.clear(format!("product:{}", 7)).await?;
    /// cache.clear(["products", "category:3"]).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Pitfalls
    /// Clear after the commit: what is cleared before may be filled again from the old rows (and
    /// is then healed only after `SMART_REDIS_SETTLE`). A key is exact: no prefixes, no globs;
    /// what must fall together shares a tag. Redis does nothing else while it deletes, so give it some
    /// thousands of keys in one call and not a million: what takes longer than `SMART_REDIS_TIMEOUT` is an
    /// `Err`, though it lands.
    pub async fn clear(&self, keys: impl IntoKeys) -> Result<(), ClearError> {
        let wish = self.wish(keys.into_keys(), Wish::Keys)?;
        if open::defer(self, &wish) {
            return Ok(());
        }
        self.clear_detached(wish).await
    }

    /// A soft clear: the old answers are shown until the new ones are there. The next request for
    /// each of them is given the old one at once and makes the new one in the background, one
    /// request of the whole fleet at a time.
    ///
    /// It differs from [`SmartCache::clear`] in that alone: what a handler computed before is
    /// never stored after, and a clear makes the old answer gone at any time. One round trip for
    /// each thousand keys. A handler that borrows, is generic or has a receiver cannot go on
    /// without its request: there the one that refreshes waits for the new answer. Where the
    /// backend cannot tell soft from hard (anything but Redis and memory), this is a clear.
    ///
    /// # Errors
    /// As [`SmartCache::clear`]; what was not acknowledged is repeated as a clear, since nobody
    /// knows how old the answers are by then.
    ///
    /// # Example
    /// ```
    /// # async fn example(cache: smart_cache::SmartCache) -> Result<(), smart_cache::ClearError> {
    /// cache.expire("front-page").await?; // nobody waits for the front page
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Pitfalls
    /// Not for what must be seen at once, such as a price or a permission: the next visitor still
    /// sees the old answer, however old. With settle on, the new answer stays for
    /// `SMART_REDIS_SETTLE` only, and the request behind it waits for its handler. A refresh that
    /// fails (5xx, panic) makes the old answer gone, unless the handler says `stale_if_error`.
    pub async fn expire(&self, keys: impl IntoKeys) -> Result<(), ClearError> {
        let wish = self.wish(keys.into_keys(), Wish::Expired)?;
        if open::defer(self, &wish) {
            return Ok(());
        }
        self.clear_detached(wish).await
    }

    /// [`SmartCache::expire`] for code that cannot await; see [`SmartCache::clear_blocking`].
    ///
    /// # Errors
    /// As [`SmartCache::expire`].
    pub fn expire_blocking(&self, keys: impl IntoKeys) -> Result<(), ClearError> {
        let wish = self.wish(keys.into_keys(), Wish::Expired)?;
        if open::defer(self, &wish) {
            return Ok(());
        }
        self.block_on(wish)
    }

    /// Makes everything in this cache's namespace gone, on every node; nothing else in the same
    /// Redis is touched.
    ///
    /// # Errors
    /// As [`SmartCache::clear`].
    pub async fn clear_all(&self) -> Result<(), ClearError> {
        self.is_set_up()?;
        if open::defer(self, &Wish::All) {
            return Ok(());
        }
        self.clear_detached(Wish::All).await
    }

    /// [`SmartCache::clear`] for code that cannot await: it blocks the thread, at most for
    /// `SMART_REDIS_TIMEOUT` plus a handshake. It may be called anywhere, also on a runtime's
    /// thread.
    ///
    /// # Errors
    /// As [`SmartCache::clear`].
    pub fn clear_blocking(&self, keys: impl IntoKeys) -> Result<(), ClearError> {
        let wish = self.wish(keys.into_keys(), Wish::Keys)?;
        if open::defer(self, &wish) {
            return Ok(());
        }
        self.block_on(wish)
    }

    /// [`SmartCache::clear_all`] for code that cannot await.
    ///
    /// # Errors
    /// As [`SmartCache::clear`].
    pub fn clear_all_blocking(&self) -> Result<(), ClearError> {
        self.is_set_up()?;
        if open::defer(self, &Wish::All) {
            return Ok(());
        }
        self.block_on(Wish::All)
    }

    /// [`clear`](Self::clear) for what knows that the write is over, whatever else is open.
    pub(crate) async fn clear_now(&self, keys: Vec<String>) -> Result<(), ClearError> {
        self.clear_detached(self.wish(keys, Wish::Keys)?).await
    }

    /// Holds keys before a write; what this process has in memory of them is not served any more.
    pub(crate) async fn hold(
        &self,
        keys: &[String],
        writer: &str,
        longest: std::time::Duration,
    ) -> Result<(), ClearError> {
        self.is_set_up()?;
        let wish = Wish::Keys(keys.to_vec());
        self.distrust_local(&wish);
        let held = self.inner.backend.hold(keys, writer, longest).await;
        self.distrust_local(&wish);
        Ok(held?)
    }

    /// [`clear_now`](Self::clear_now) for code that cannot await.
    pub(crate) fn clear_now_blocking(&self, keys: Vec<String>) -> Result<(), ClearError> {
        self.block_on(self.wish(keys, Wish::Keys)?)
    }

    fn wish(
        &self,
        mut keys: Vec<String>,
        kind: fn(Vec<String>) -> Wish,
    ) -> Result<Wish, ClearError> {
        self.is_set_up()?;
        if keys.iter().any(String::is_empty) {
            return Err(ClearError::EmptyKey);
        }
        keys.sort_unstable();
        keys.dedup();
        crate::registry::advise(&keys);
        Ok(kind(keys))
    }

    /// Clears in a task of its own: a caller that is cancelled has committed all the same.
    pub(crate) async fn clear_detached(&self, wish: Wish) -> Result<(), ClearError> {
        let backend = Arc::clone(&self.inner.backend);
        self.clear_by(backend, wish).await
    }

    /// [`clear_detached`](Self::clear_detached) over another handle on the same entries.
    pub(crate) async fn clear_by(
        &self,
        backend: Arc<dyn Backend>,
        wish: Wish,
    ) -> Result<(), ClearError> {
        let uttered = Uttered::new(self, wish);
        let task = tokio::spawn(uttered.send(backend));
        task.await
            .unwrap_or_else(|stopped| Err(dropped(&stopped.to_string())))
    }

    /// Clears in the background, where nobody can wait: a drop guard.
    pub(crate) fn clear_in_background(&self, keys: Vec<String>) {
        let Ok(wish) = self.wish(keys, Wish::Keys) else {
            return;
        };
        let uttered = Uttered::new(self, wish);
        // Without a runtime the wish is pending as soon as it is dropped here.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(uttered.send(Arc::clone(&self.inner.backend)));
        }
    }

    /// Runs a clear on the blocking runtime, over a connection that lives there: one of the
    /// caller's runtime could not move while its thread is blocked.
    pub(crate) fn block_on(&self, wish: Wish) -> Result<(), ClearError> {
        let uttered = Uttered::new(self, wish);
        let runtime = blocking_runtime()?;
        let twin = self.blocking_backend();
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        runtime.spawn(async move {
            let _ = tell.send(uttered.send(twin).await);
        });
        told.recv()
            .unwrap_or_else(|_| Err(dropped("the runtime for blocking clears has ended")))
    }

    /// A handle on the same entries whose connection lives on the blocking runtime.
    pub(crate) fn blocking_backend(&self) -> Arc<dyn Backend> {
        let twin = self.inner.blocking_twin.get_or_init(|| {
            let own = || Arc::clone(&self.inner.backend);
            self.inner.backend.blocking_twin().unwrap_or_else(own)
        });
        Arc::clone(twin)
    }

    /// This process knows of its own clear before anybody tells it. Before the command is sent
    /// and after its answer: what was looked up in between may be of before or after.
    pub(crate) fn distrust_local(&self, wish: &Wish) {
        if let Some(local) = &self.inner.local {
            wish.outdate(local.freshness());
        }
    }

    /// Frees what an acknowledged clear has left behind, and has it noted.
    fn reclaim(&self, wish: Wish, draft: Draft) {
        let (Wish::Keys(mut keys), Ok(permit)) =
            (wish, Arc::clone(&self.inner.reclaiming).try_acquire_owned())
        else {
            self.note_clear(draft);
            return;
        };
        keys.truncate(MOST_RECLAIMED);
        let cache = self.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let freed = cache.inner.backend.reclaim(keys).await;
                drop(permit);
                cache.note_clear(draft.freed(freed));
            });
        }
    }
}

/// A wish that is on its way; dropped before its outcome is known, it is pending.
struct Uttered {
    cache: SmartCache,
    /// Made where the wish is uttered, so that it stands in the trace of the write.
    span: Span,
    wish: Option<Wish>,
}

impl Uttered {
    fn new(cache: &SmartCache, wish: Wish) -> Self {
        Self {
            cache: cache.clone(),
            span: observe::clear(&wish),
            wish: Some(wish),
        }
    }

    async fn send(mut self, backend: Arc<dyn Backend>) -> Result<(), ClearError> {
        let Some(wish) = &self.wish else {
            return Ok(());
        };
        self.cache.distrust_local(wish);
        let (timer, began) = (Timer::start(), Instant::now());
        let outcome = wish.send(&*backend).instrument(self.span.clone()).await;
        let word = observe::clear_word(outcome.is_ok());
        timer.stop(&self.span, &self.cache, Timed::Clear, word);
        let draft = Draft::of(wish, process_name(), outcome.is_ok(), began.elapsed());
        self.cache.distrust_local(wish);
        let counters = &self.cache.inner.counters;
        counters.clear(wish.is_soft(), outcome.is_ok());
        match outcome {
            Ok(()) => {
                if let Some(wish) = self.wish.take() {
                    #[cfg(feature = "testing")]
                    crate::testing::clears::heard(&wish);
                    self.cache.reclaim(wish, draft);
                }
                Ok(())
            }
            Err(why) => {
                self.cache.note_clear(draft);
                tracing::error!(cause = %why, %wish, "a clear was not acknowledged: distrusting and repeating it");
                Err(why.into())
            }
        }
    }
}

impl Drop for Uttered {
    fn drop(&mut self) {
        if let Some(wish) = self.wish.take() {
            self.cache.distrust_local(&wish);
            self.cache
                .inner
                .pending
                .add(&wish, &self.cache.inner.backend);
        }
    }
}

fn dropped(why: &str) -> ClearError {
    BackendError::Disconnected(format!("the clear was interrupted: {why}").into()).into()
}

/// One runtime on a thread of its own, for callers that block.
pub(crate) fn blocking_runtime() -> Result<&'static tokio::runtime::Handle, BackendError> {
    static RUNTIME: OnceLock<Option<tokio::runtime::Handle>> = OnceLock::new();
    let handle = RUNTIME.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .ok()?;
        let handle = runtime.handle().clone();
        let thread = std::thread::Builder::new().name("smart-cache-blocking".to_owned());
        thread
            .spawn(move || runtime.block_on(std::future::pending::<()>()))
            .ok()?;
        Some(handle)
    });
    handle
        .as_ref()
        .ok_or_else(|| BackendError::Disconnected("no thread for blocking calls".into()))
}
