//! Writes that a task has open: which keys they will clear, and what this task must not do with
//! the cache meanwhile.
//!
//! While a transaction is open its task sees rows that nobody else sees. What it would store is
//! not committed, and what it would be served is of before its own write; so for the keys of its
//! open writes a task neither serves nor stores. Other tasks go on: for them nothing has changed
//! yet.
//!
//! A write belongs to the task that opened it, or to the thread where no task runs
//! (`block_on`). Whoever hands the work to another task carries the write there.
//!
//! Not here: when a write ends and what is cleared then; see `hooks/collector.rs`.

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use crate::cache::SmartCache;
use crate::protocol::Target;
use crate::protocol::clear::Wish;

tokio::task_local! {
    /// Carried here from the task that opened it.
    static CARRIED: Arc<OpenWrite>;
}

/// How many writes are open in the process: while none is, nothing below takes a lock.
static OPEN: AtomicUsize = AtomicUsize::new(0);
/// Tasks with open writes; in shards, since every request looks while any write is open.
static SHARDS: LazyLock<Shards> = LazyLock::new(Shards::default);
const SHARD_COUNT: usize = 16;

type Writes = HashMap<Place, Vec<Arc<OpenWrite>>>;

#[derive(Default)]
struct Shards {
    hasher: RandomState,
    shards: [Mutex<Writes>; SHARD_COUNT],
}

impl Shards {
    fn of(&self, place: Place) -> MutexGuard<'_, Writes> {
        let at = self.hasher.hash_one(place) as usize % SHARD_COUNT;
        lock(&self.shards[at])
    }
}

/// Nothing panics under these locks but an allocation, and each step leaves them consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What runs a piece of code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Task(tokio::task::Id),
    Thread(ThreadId),
}

impl Place {
    pub(crate) fn here() -> Self {
        tokio::task::try_id().map_or_else(|| Self::Thread(std::thread::current().id()), Self::Task)
    }
}

/// One open transaction.
#[derive(Debug)]
pub(crate) struct OpenWrite {
    place: Place,
    /// `None`: the default cache, which need not exist yet.
    cache: Option<SmartCache>,
    gathered: Mutex<Gathered>,
}

#[derive(Debug)]
struct Gathered {
    /// The keys of the transaction, then those of each open savepoint; empty once it has ended.
    levels: Vec<BTreeSet<String>>,
    /// Clears that were called for before the end, and are due after it, however it ends: they may
    /// be about another write.
    early: Vec<(SmartCache, Wish)>,
    /// Holds that end with the write, however it ends.
    held: Vec<(SmartCache, Wish)>,
}

/// What is to be cleared when a write has ended.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// The keys that it gathered; for its own cache.
    pub(crate) keys: Vec<String>,
    /// What was called for too early.
    pub(crate) early: Vec<(SmartCache, Wish)>,
    /// Holds that are over.
    pub(crate) held: Vec<(SmartCache, Wish)>,
}

impl OpenWrite {
    /// Opens a write of the running task.
    pub(crate) fn begin(cache: Option<SmartCache>) -> Arc<Self> {
        let write = Arc::new(Self {
            place: Place::here(),
            cache,
            gathered: Mutex::new(Gathered {
                levels: vec![BTreeSet::new()],
                early: Vec::new(),
                held: Vec::new(),
            }),
        });
        SHARDS
            .of(write.place)
            .entry(write.place)
            .or_default()
            .push(Arc::clone(&write));
        OPEN.fetch_add(1, Ordering::Release);
        write
    }

    pub(crate) fn cache(&self) -> Option<&SmartCache> {
        self.cache.as_ref()
    }

    /// Adds keys, to the innermost savepoint; `false` when the write has ended.
    pub(crate) fn add(&self, keys: impl IntoIterator<Item = String>) -> bool {
        let mut gathered = lock(&self.gathered);
        let Some(level) = gathered.levels.last_mut() else {
            return false;
        };
        level.extend(keys.into_iter().filter(|key| !key.is_empty()));
        true
    }

    /// Notes a hold that begins, before anybody may have heard of it; `false` when the write has
    /// ended.
    pub(crate) fn hold(&self, cache: &SmartCache, keys: &[String], writer: &str) -> bool {
        let mut gathered = lock(&self.gathered);
        let open = !gathered.levels.is_empty();
        if open {
            let held = Wish::Held {
                keys: keys.to_vec(),
                writer: writer.into(),
            };
            gathered.held.push((cache.clone(), held));
        }
        open
    }

    /// Opens a savepoint; its depth, by which it is ended.
    pub(crate) fn savepoint(&self) -> usize {
        let mut gathered = lock(&self.gathered);
        gathered.levels.push(BTreeSet::new());
        gathered.levels.len() - 1
    }

    /// The savepoint's keys, and those of what is inside it, are the surrounding write's.
    pub(crate) fn release(&self, depth: usize) {
        let mut gathered = lock(&self.gathered);
        if depth < gathered.levels.len() {
            let inner: Vec<_> = gathered.levels.drain(depth..).flatten().collect();
            if let Some(outer) = gathered.levels.last_mut() {
                outer.extend(inner);
            }
        }
    }

    /// What was written since the savepoint was not.
    pub(crate) fn roll_back(&self, depth: usize) {
        lock(&self.gathered).levels.truncate(depth.max(1));
    }

    /// The write has ended: nothing is added any more, and its task may use the cache again.
    pub(crate) fn end(&self) -> Due {
        let mut gathered = lock(&self.gathered);
        if gathered.levels.is_empty() {
            return Due::default();
        }
        let keys: BTreeSet<String> = std::mem::take(&mut gathered.levels)
            .into_iter()
            .flatten()
            .collect();
        let early = std::mem::take(&mut gathered.early);
        let held = std::mem::take(&mut gathered.held);
        drop(gathered);
        self.leave();
        Due {
            keys: keys.into_iter().collect(),
            early,
            held,
        }
    }

    fn leave(&self) {
        let mut writes = SHARDS.of(self.place);
        if let Some(here) = writes.get_mut(&self.place) {
            here.retain(|write| !std::ptr::eq(&**write, self));
            if here.is_empty() {
                writes.remove(&self.place);
            }
        }
        OPEN.fetch_sub(1, Ordering::Release);
    }

    /// Runs a future, in whatever task, as part of this write.
    pub(crate) fn carry<F: Future>(
        self: &Arc<Self>,
        future: F,
    ) -> impl Future<Output = F::Output> + use<F> {
        CARRIED.scope(Arc::clone(self), future)
    }

    fn concerns(&self, cache: &SmartCache) -> bool {
        self.cache
            .as_ref()
            .is_none_or(|own| Arc::ptr_eq(&own.inner, &cache.inner))
    }

    /// Whether it writes something of that name.
    fn writes<'n, N: Iterator<Item = &'n str>>(
        &self,
        cache: &SmartCache,
        names: impl Fn() -> N,
    ) -> bool {
        let gathered = lock(&self.gathered);
        let own = self.concerns(cache)
            && gathered
                .levels
                .iter()
                .any(|level| names().any(|name| level.contains(name)));
        own || gathered
            .early
            .iter()
            .chain(&gathered.held)
            .any(|(other, wish)| {
                Arc::ptr_eq(&other.inner, &cache.inner)
                    && match wish {
                        Wish::All => true,
                        Wish::Keys(keys) | Wish::Expired(keys) | Wish::Held { keys, .. } => {
                            names().any(|name| keys.iter().any(|key| key == name))
                        }
                    }
            })
    }
}

/// Whether any write is open in this process.
pub(crate) fn any() -> bool {
    OPEN.load(Ordering::Acquire) > 0
}

/// Whether the running code is part of an open write.
pub(crate) fn any_here() -> bool {
    any() && !all_here().is_empty()
}

/// The innermost open write that the running code is part of.
#[cfg(any(feature = "diesel", feature = "sea-orm"))]
pub(crate) fn innermost() -> Option<Arc<OpenWrite>> {
    all_here().into_iter().next()
}

/// Every open write that the running code is part of, the innermost first.
fn all_here() -> Vec<Arc<OpenWrite>> {
    if !any() {
        return Vec::new();
    }
    let carried = CARRIED.try_with(Arc::clone).ok();
    let place = Place::here();
    let own = SHARDS.of(place).get(&place).cloned().unwrap_or_default();
    carried.into_iter().chain(own.into_iter().rev()).collect()
}

/// Whether the running task has an open write of something that an answer depends on.
pub(crate) fn distrusts(cache: &SmartCache, target: &Target, dynamic: &[Arc<str>]) -> bool {
    let names = || target.names().chain(dynamic).map(|name| &**name);
    all_here().iter().any(|write| write.writes(cache, names))
}

/// Whether the running task has an open write of what this key stands for.
pub(crate) fn writes(cache: &SmartCache, key: &str) -> bool {
    let name = || std::iter::once(key);
    all_here().iter().any(|write| write.writes(cache, name))
}

/// Adds keys to the innermost open write; gives them back when none is open.
pub(crate) fn add(keys: Vec<String>) -> Result<(), Vec<String>> {
    for write in all_here() {
        if write.add(keys.iter().cloned()) {
            return Ok(());
        }
    }
    Err(keys)
}

/// Puts a clear off until the innermost open write has ended; `false` when none is open.
pub(crate) fn defer(cache: &SmartCache, wish: &Wish) -> bool {
    for write in all_here() {
        let mut gathered = lock(&write.gathered);
        if !gathered.levels.is_empty() {
            gathered.early.push((cache.clone(), wish.clone()));
            tracing::warn!(%wish, "a clear was called inside an open transaction, which is too early: it is put off until the transaction has ended. Add the keys to the transaction's collector instead");
            return true;
        }
    }
    false
}
