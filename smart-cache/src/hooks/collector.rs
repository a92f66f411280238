//! Clears bound to a commit: gathered while a transaction is open, sent once it has committed.
//!
//! Over 400 lines, more than half of them documentation: one handle with all that can end it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::SmartCache;
use crate::error::{BackendError, ClearError};
use crate::key::IntoKeys;
use crate::protocol::clear::Wish;
use crate::protocol::open::{self, Due, OpenWrite};
use crate::protocol::scope::current_cache;
use crate::protocol::{Nonce, hex};

/// Gathers the keys that a transaction changes, and clears them after its commit.
///
/// It differs from calling [`clear_cache`](crate::clear_cache) in the handler in three ways. A
/// clear cannot come before the commit, when it would let old rows be cached again. A rollback
/// clears nothing. And a request that is cancelled, or panics, while the commit is on its way
/// still clears: the database may have done it.
///
/// While it is open, the task that opened it neither serves nor stores answers of the gathered
/// keys (the reason is `transaction`): it sees rows that nobody else sees. A
/// [`clear_cache`](crate::clear_cache) of that task is put off until the end, with a warning in
/// the log. Dropping a collector is a rollback.
///
/// It knows no database. The wrappers of this module use it; with any other library, call it
/// around your own transaction.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use smart_cache::SmartCache;
/// use smart_cache::hooks::Collector;
///
/// # let cache = SmartCache::in_memory();
/// # async fn commit() -> Result<(), std::io::Error> { Ok(()) }
/// let collector = Collector::of(&cache);
/// // ... begin, and write the rows; then for each of them:
/// collector.add(["product:7", "products"]);
/// // One clear, however many rows; also when COMMIT fails, for then nobody knows.
/// let committed = collector.commit(commit()).await?;
/// assert!(committed.cleared.is_ok());
/// assert_eq!(cache.stats().clears, 1);
/// # Ok(())
/// # }
/// ```
///
/// # Pitfalls
/// A process that is killed between its commit and the clear clears nothing: that takes the outbox
/// or a hold. The collector belongs to the task that opened it: what another task does is
/// part of it only inside [`Collector::carry`]. Two writers in one task (`join!`) share what
/// [`clear_after_commit`] gathers: give each a task of its own.
#[derive(Debug)]
#[must_use = "dropping it is a rollback: nothing is cleared"]
pub struct Collector {
    write: Arc<OpenWrite>,
    /// Whether the commit may have happened, so that the end of this clears.
    armed: bool,
}

/// What a commit has led to.
#[derive(Debug)]
pub struct Committed<T = ()> {
    /// What the commit returned.
    pub value: T,
    /// Whether the backend has acknowledged the clear. If not, it is repeated in the background
    /// and this process distrusts the keys, so most callers go on.
    pub cleared: Result<(), ClearError>,
}

impl Collector {
    /// Opens a collector of the running task, for the cache of the annotated handler that is
    /// running, else for the default one.
    pub fn open() -> Self {
        Self::with(current_cache())
    }

    /// Opens a collector of the running task for this cache.
    pub fn of(cache: &SmartCache) -> Self {
        Self::with(Some(cache.clone()))
    }

    fn with(cache: Option<SmartCache>) -> Self {
        Self {
            write: OpenWrite::begin(cache),
            armed: false,
        }
    }

    /// Adds keys and tags that are to be cleared after the commit; the same one twice is once.
    pub fn add(&self, keys: impl IntoKeys) {
        self.write.add(keys.into_keys());
    }

    /// Holds keys *before* they are written: from now until the end of this transaction nobody
    /// serves or stores them (the reason is `held`), and at the end, whatever it is, they are
    /// cleared. One round trip before the write, one at the end.
    ///
    /// This is what needs no table of the database: a process that is killed between its commit
    /// and its clear leaves keys that are held, and they are missing, not stale, once `longest` is
    /// over. Give more than the transaction may take: when it outlasts the hold, only the clear at
    /// its end protects it.
    ///
    /// # Errors
    /// When the backend did not acknowledge ([`ClearError::Unacknowledged`]), or has no holds: write
    /// without, or roll back.
    ///
    /// # Example
    /// ```
    /// # async fn example(cache: smart_cache::SmartCache) -> Result<(), Box<dyn std::error::Error>> {
    /// # async fn commit() -> Result<(), std::io::Error> { Ok(()) }
    /// use std::time::Duration;
    /// use smart_cache::hooks::Collector;
    ///
    /// let collector = Collector::of(&cache);
    /// collector.hold("product:7", Duration::from_secs(30)).await?;
    /// // ... begin, write the row; then:
    /// collector.commit(commit()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Pitfalls
    /// A plain clear of a held key by another process ends the hold early on Redis (a `DEL` takes
    /// the mark). What is filled until the release is outlawed by it; only when the writer dies as
    /// well is that left to `SMART_REDIS_SETTLE`.
    pub async fn hold(&self, keys: impl IntoKeys, longest: Duration) -> Result<(), ClearError> {
        let mut keys = keys.into_keys();
        if keys.iter().any(String::is_empty) {
            return Err(ClearError::EmptyKey);
        }
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return Ok(());
        }
        let cache = crate::start::or_default(self.write.cache().cloned()).await;
        let nonce = Nonce::fresh()
            .map_err(|why| BackendError::Protocol(format!("no randomness: {why}").into()))?;
        let writer = hex(nonce.as_bytes());
        // Noted first: a hold whose answer is lost must end too.
        if !self.write.hold(&cache, &keys, &writer) {
            return Ok(());
        }
        cache.hold(&keys, &writer, longest).await
    }

    /// Opens a savepoint: what is added while it is open is dropped when it is rolled back, alone.
    /// Savepoints nest, and end in the reverse of their order.
    pub fn savepoint(&self) -> Savepoint {
        Savepoint {
            depth: Some(self.write.savepoint()),
            write: Arc::clone(&self.write),
        }
    }

    /// Runs a future as part of this transaction in whatever task polls it.
    ///
    /// # Example
    /// ```
    /// # async fn example(collector: &smart_cache::hooks::Collector) {
    /// # async fn write() {}
    /// let _ = tokio::spawn(collector.carry(async { write().await })).await;
    /// # }
    /// ```
    pub fn carry<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        self.write.carry(future)
    }

    /// The commit is about to be sent: from here on the end of this collector clears, whatever
    /// that end is, for the database may have committed. For wrappers of libraries that commit by
    /// themselves.
    pub fn arm(&mut self) {
        self.armed = true;
    }

    /// Commits by this future, then clears everything that was gathered in one round trip.
    ///
    /// It clears also when the future fails (nobody knows then whether the database has
    /// committed), is dropped or panics.
    ///
    /// # Errors
    /// What the future returned. A clear that was not acknowledged is no error of the commit: see
    /// [`Committed::cleared`].
    pub async fn commit<T, E>(
        mut self,
        commit: impl Future<Output = Result<T, E>>,
    ) -> Result<Committed<T>, E> {
        self.arm();
        let outcome = commit.await;
        let cleared = self.clear().await;
        outcome.map(|value| Committed { value, cleared })
    }

    /// [`Collector::commit`] for code that cannot await; blocks the thread for the clear.
    ///
    /// # Errors
    /// What the function returned.
    pub fn commit_blocking<T, E>(
        mut self,
        commit: impl FnOnce() -> Result<T, E>,
    ) -> Result<Committed<T>, E> {
        self.arm();
        let outcome = commit();
        let cleared = self.clear_blocking();
        outcome.map(|value| Committed { value, cleared })
    }

    /// The transaction has committed: clears what was gathered. Dropping the returned future does
    /// not stop the clear.
    ///
    /// # Errors
    /// As [`SmartCache::clear`].
    pub fn clear(mut self) -> impl Future<Output = Result<(), ClearError>> + Send {
        self.arm();
        async move {
            let owed = self.end();
            let clearing = tokio::spawn(owed.pay());
            clearing.await.unwrap_or_else(|stopped| {
                Err(BackendError::Disconnected(stopped.to_string().into()).into())
            })
        }
    }

    /// [`Collector::clear`] for code that cannot await; blocks the thread.
    ///
    /// # Errors
    /// As [`SmartCache::clear_blocking`].
    pub fn clear_blocking(mut self) -> Result<(), ClearError> {
        self.arm();
        self.end().pay_blocking()
    }

    /// The transaction was rolled back: what was gathered is dropped.
    pub fn discard(mut self) {
        // Armed by a wrapper that has found out since that nothing was committed.
        self.armed = false;
    }

    /// Ends the write; what it owes.
    fn end(&mut self) -> Owed {
        let Due {
            mut keys,
            mut early,
            held,
        } = self.write.end();
        if !self.armed {
            keys.clear();
        }
        // The end of a hold clears its keys; a plain clear would take other writers' marks.
        for (_, hold) in &held {
            if let Wish::Held { keys: held, .. } = hold {
                keys.retain(|key| !held.contains(key));
            }
        }
        early.extend(held);
        Owed {
            cache: self.write.cache().cloned(),
            keys,
            early,
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let owed = self.end();
        if owed.is_empty() {
            return;
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(owed.pay())),
            // A failure is logged where it is remembered.
            Err(_) => drop(std::thread::spawn(move || owed.pay_blocking())),
        }
    }
}

/// Clears that are due.
struct Owed {
    /// `None`: the default cache.
    cache: Option<SmartCache>,
    keys: Vec<String>,
    /// Clears that were called for too early, and holds that are over.
    early: Vec<(SmartCache, Wish)>,
}

impl Owed {
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.early.is_empty()
    }

    /// The clears that were called for too early join the others where they are for one cache.
    fn merge(&mut self, own: &SmartCache) {
        let keys = &mut self.keys;
        self.early.retain(|(cache, wish)| match wish {
            Wish::Keys(early) if Arc::ptr_eq(&cache.inner, &own.inner) => {
                keys.extend(early.iter().cloned());
                false
            }
            _ => true,
        });
    }

    async fn pay(mut self) -> Result<(), ClearError> {
        let mut outcome = Ok(());
        if !self.keys.is_empty() {
            let cache = crate::start::or_default(self.cache.take()).await;
            self.merge(&cache);
            outcome = cache.clear_now(self.keys).await;
        }
        for (cache, wish) in self.early {
            outcome = outcome.and(cache.clear_detached(wish).await);
        }
        outcome
    }

    fn pay_blocking(mut self) -> Result<(), ClearError> {
        let mut outcome = Ok(());
        if !self.keys.is_empty() {
            if let Some(own) = self.cache.take() {
                self.merge(&own);
                outcome = own.clear_now_blocking(self.keys);
            } else {
                let keys = self.keys;
                outcome = crate::start::blocking(move |cache| cache.clear_now_blocking(keys));
            }
        }
        for (cache, wish) in self.early {
            outcome = outcome.and(cache.block_on(wish));
        }
        outcome
    }
}

/// A savepoint of a [`Collector`]; dropping it is its rollback.
#[derive(Debug)]
#[must_use = "dropping it is its rollback: what was added since is forgotten"]
pub struct Savepoint {
    write: Arc<OpenWrite>,
    /// `None` once it has been released.
    depth: Option<usize>,
}

impl Savepoint {
    /// A savepoint of the write that the running task has open.
    #[cfg(any(feature = "diesel", feature = "sea-orm"))]
    pub(super) fn of_this_task() -> Option<Self> {
        open::innermost().map(|write| Self {
            depth: Some(write.savepoint()),
            write,
        })
    }

    /// Adds keys, to the innermost open savepoint.
    pub fn add(&self, keys: impl IntoKeys) {
        self.write.add(keys.into_keys());
    }

    /// A savepoint inside this one.
    pub fn savepoint(&self) -> Self {
        Self {
            depth: Some(self.write.savepoint()),
            write: Arc::clone(&self.write),
        }
    }

    /// What was added since it was opened belongs to the surrounding transaction from now on.
    pub fn release(mut self) {
        if let Some(depth) = self.depth.take() {
            self.write.release(depth);
        }
    }

    /// What was added since it was opened is forgotten.
    pub fn roll_back(self) {
        drop(self);
    }
}

impl Drop for Savepoint {
    fn drop(&mut self) {
        if let Some(depth) = self.depth.take() {
            self.write.roll_back(depth);
        }
    }
}

/// Clears these keys after the commit of the transaction whose [`Collector`] the running task has
/// open; at once when it has none. For the hooks of models, which do not know whether a
/// transaction surrounds them.
///
/// # Errors
/// As [`SmartCache::clear`]; a clear that is put off returns `Ok`.
///
/// # Example
/// ```
/// # async fn example() -> Result<(), smart_cache::ClearError> {
/// # struct Product { id: u64 }
/// async fn after_save(product: &Product) -> Result<(), smart_cache::ClearError> {
///     smart_cache::hooks::clear_after_commit(format!("product:{}", product.id)).await
/// }
/// # after_save(&Product { id: 7 }).await
/// # }
/// ```
#[must_use = "a clear happens when it is awaited, and its error says that other nodes may serve the old answer"]
pub fn clear_after_commit(
    keys: impl IntoKeys,
) -> impl Future<Output = Result<(), ClearError>> + Send {
    let (put_off, cache) = (open::add(keys.into_keys()), current_cache());
    async move {
        match put_off {
            Ok(()) => Ok(()),
            Err(keys) => crate::start::or_default(cache).await.clear(keys).await,
        }
    }
}

/// [`clear_after_commit`] for code that cannot await; blocks the thread when it clears at once.
///
/// # Errors
/// As [`clear_after_commit`].
#[must_use = "the error says that other nodes may serve the old answer"]
pub fn clear_after_commit_blocking(keys: impl IntoKeys) -> Result<(), ClearError> {
    match open::add(keys.into_keys()) {
        Ok(()) => Ok(()),
        Err(keys) => crate::start::clear_cache_blocking(keys),
    }
}
