//! What an operator sees of a cache: its keys, their entries, the state of each, the server.
//!
//! Everything is read from the cache itself at the moment of the question, one bounded page at a
//! time, so a million keys cost no more than fifty. Nothing here decides validity: a state is
//! computed from the same tokens that a lookup compares.

mod checkup;
pub(crate) mod clears;
pub(crate) mod fleet;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Serialize, Serializer};

pub use self::clears::ClearNote;
pub use self::fleet::{HandlerReport, LocalReport, ProcessReport, Tally};
use crate::backend::BoxFuture;
pub use crate::backend::Reclaimed;
use crate::cache::SmartCache;
use crate::entry::EntryId;
use crate::error::BackendError;

pub use self::checkup::{Finding, Level};

/// What a backend can tell of what it keeps; [`Backend::inspect`](crate::backend::Backend::inspect)
/// gives it, where there is anything to tell.
///
/// # Example
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use smart_cache::SmartCache;
///
/// let cache = SmartCache::in_memory();
/// let page = cache.inspect()?.keys("product:*", None, 50).await?;
/// for line in page.keys {
///     println!("{} has {} entries", line.key, line.entries);
/// }
/// # Ok(())
/// # }
/// ```
pub trait Inspect: std::fmt::Debug + Send + Sync {
    /// Some of the keys that have entries and match a glob (`*`, `?`, `[a-z]`, `\` before a
    /// character that stands for itself), of all builds, in no order. Begins with `None`; goes on
    /// with [`KeyPage::next`]. About `most` keys; fewer when the search took its share of time,
    /// which is bounded (about half a second) and made of small steps.
    ///
    /// A key may come twice in one walk, and one that comes or goes meanwhile may be missed. A key of
    /// more than 512 bytes, which Redis knows by its hash, is found by its whole name and by `*`.
    ///
    /// # Errors
    /// When the backend does not answer, or `from` is not from a page of this search.
    fn keys<'a>(
        &'a self,
        glob: &'a str,
        from: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, Result<KeyPage, BackendError>>;

    /// Some of the entries under a key, of all builds; as [`Inspect::keys`] for the rest.
    ///
    /// # Errors
    /// When the backend does not answer, or `from` is not from a page of this key.
    fn entries<'a>(
        &'a self,
        key: &'a str,
        from: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, Result<EntryPage, BackendError>>;

    /// One entry with its tokens, headers and body; `None` when it is gone.
    ///
    /// # Errors
    /// When the backend does not answer.
    fn entry<'a>(
        &'a self,
        version: &'a str,
        id: EntryId,
    ) -> BoxFuture<'a, Result<Option<EntryView>, BackendError>>;

    /// The build whose entries this process stores.
    fn version(&self) -> &str;

    /// What is true of the namespace and its server now.
    ///
    /// # Errors
    /// When the backend does not answer. What it refuses to tell is left out instead.
    fn facts(&self) -> BoxFuture<'_, Result<Facts, BackendError>>;

    /// Keeps what a process reports of itself, for half a minute; see
    /// [`SmartCache::fleet`].
    ///
    /// # Errors
    /// When the backend does not answer.
    fn report<'a>(
        &'a self,
        process: &'a str,
        report: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), BackendError>>;

    /// What processes have reported within the last half minute.
    ///
    /// # Errors
    /// When the backend does not answer.
    fn reports(&self) -> BoxFuture<'_, Result<Vec<Bytes>, BackendError>>;

    /// Adds to the journal of clears, which keeps the newest 200; see
    /// [`SmartCache::recent_clears`].
    ///
    /// # Errors
    /// When the backend does not answer.
    fn note(&self, notes: Vec<Vec<u8>>) -> BoxFuture<'_, Result<(), BackendError>>;

    /// The journal of clears.
    ///
    /// # Errors
    /// When the backend does not answer.
    fn notes(&self) -> BoxFuture<'_, Result<Vec<Bytes>, BackendError>>;
}

impl SmartCache {
    /// What this cache keeps, for pages and tools.
    ///
    /// # Errors
    /// [`BackendError::Unsupported`] where the backend keeps nothing, or cannot list it.
    pub fn inspect(&self) -> Result<&dyn Inspect, BackendError> {
        self.inner.backend.inspect().ok_or_else(|| {
            let what = format!(
                "{} cannot list what it keeps; redis and memory can",
                self.describe()
            );
            BackendError::Unsupported(what.into())
        })
    }
}

/// Some of the keys.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct KeyPage {
    /// Unique in this page, in no order.
    pub keys: Vec<KeyLine>,
    /// Where the walk goes on; `None` at its end.
    pub next: Option<String>,
    /// How many names the search has looked at for this page.
    pub looked_at: u64,
    /// How many names there are, if that is known: a search for something rare looks at all.
    pub names: Option<u64>,
}

/// A key that has entries.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct KeyLine {
    /// What one clears.
    pub key: String,
    /// The build whose entries these are.
    pub version: String,
    /// Whether that is the build of this process.
    pub own: bool,
    /// Entries under it, those included that are dead and not reclaimed yet.
    pub entries: u64,
    /// Whether the key itself is valid.
    pub token: TokenState,
}

/// Whether a token is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum TokenState {
    /// It is: what was stored with it is current.
    Valid,
    /// It was cleared, evicted, or has expired: whatever depends on it is dead.
    Missing,
    /// An open write holds it: neither served nor stored.
    Held,
}

/// Some of the entries under a key.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct EntryPage {
    /// In no order.
    pub entries: Vec<EntryLine>,
    /// Where the walk goes on; `None` at its end.
    pub next: Option<String>,
}

/// What would become of a request that asked for an entry now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum EntryState {
    /// It is served.
    Current,
    /// It is served, and kept for a moment only: a key or tag was cleared, or used for the first
    /// time, just before its handler ran (`SMART_REDIS_SETTLE`).
    Settling,
    /// It was expired and not cleared: the next request is shown it once more, and makes it anew.
    Expired,
    /// It is not served: something that it depends on was cleared, or another life of the server
    /// has begun. It is reclaimed or overwritten.
    Dead,
    /// It is not served while an open write holds something that it depends on.
    Held,
    /// It cannot be read: damaged, or written in another format.
    Unreadable,
}

impl EntryState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Settling => "settling",
            Self::Expired => "expired",
            Self::Dead => "dead",
            Self::Held => "held",
            Self::Unreadable => "unreadable",
        }
    }
}

/// One entry in a list.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct EntryLine {
    /// Its name.
    #[serde(serialize_with = "as_hex")]
    pub id: EntryId,
    /// The build that stored it.
    pub version: String,
    /// What would become of a request for it.
    pub state: EntryState,
    /// Its size as it is stored, everything included.
    pub bytes: u64,
    /// How long it has to live; `None` is for ever.
    #[serde(rename = "ttl_ms", serialize_with = "as_some_millis")]
    pub ttl: Option<Duration>,
    /// Of the response.
    pub status: Option<u16>,
    /// What was asked: path and what else tells it from other entries of its key, in words.
    pub request: String,
    /// When the handler had answered, by the clock of the process that ran it.
    #[serde(rename = "created_ms", serialize_with = "as_epoch_millis")]
    pub created: Option<SystemTime>,
    /// How long the handler took: what each hit saves.
    #[serde(rename = "took_us", serialize_with = "as_micros")]
    pub took: Duration,
}

/// One entry in full.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct EntryView {
    /// What the list says of it.
    #[serde(flatten)]
    pub line: EntryLine,
    /// The key that it is under.
    pub key: String,
    /// What it depends on: the namespace (an empty name), the key, the declared tags, then those
    /// that its handler had found.
    pub tokens: Vec<TokenView>,
    /// The stored headers, in their order; bytes that are no text are replaced.
    pub headers: Vec<(String, String)>,
    /// The stored body.
    #[serde(skip)]
    pub body: Bytes,
}

/// A token that an entry depends on.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct TokenView {
    /// The key or tag; empty for the namespace.
    pub name: String,
    /// Whether its handler had found it, instead of its attribute declaring it.
    pub found: bool,
    /// Whether it is there.
    pub state: TokenState,
    /// When it was minted, by the server's clock: the last clear or first use.
    #[serde(rename = "minted_ms", serialize_with = "as_epoch_millis")]
    pub minted: Option<SystemTime>,
}

/// What is true of a namespace and its server.
#[derive(Debug, Clone, Default, Serialize)]
#[non_exhaustive]
pub struct Facts {
    /// `redis` or `memory`.
    pub kind: &'static str,
    /// Prefix of everything; empty where there is none.
    pub namespace: String,
    /// The build of this process.
    pub version: String,
    /// Which life of which server answers; a restart is another one.
    pub server_id: Option<String>,
    /// As the server tells it.
    pub server_version: Option<String>,
    /// Since the server's start.
    #[serde(rename = "uptime_s", serialize_with = "as_some_seconds")]
    pub uptime: Option<Duration>,
    /// Bytes of everything that the server keeps, other namespaces included.
    pub used_memory: Option<u64>,
    /// Its limit; zero or `None`: none.
    pub max_memory: Option<u64>,
    /// What it does at the limit (`maxmemory-policy`).
    pub eviction: Option<String>,
    /// How many names it has evicted since its start.
    pub evicted: Option<u64>,
    /// Names in the database, other namespaces included.
    pub names: Option<u64>,
    /// Whether the namespace has a token: without one nothing is served until the next miss.
    pub namespace_token: Option<TokenState>,
    /// How far the server's clock is ahead of this process's, in microseconds; as exact as half a
    /// round trip.
    pub server_ahead_us: Option<i64>,
    /// How far the namespace's clock is ahead of the server's, in microseconds; past a minute the
    /// namespace begins a new life.
    pub clock_ahead_us: Option<i64>,
    /// Builds that have announced themselves.
    pub builds: Vec<Build>,
    /// Over how many partitions processes spread the namespace, or did once; empty where nobody has.
    pub partitions: Vec<u32>,
    /// The last sweep that anybody finished.
    pub swept: Option<Swept>,
    /// How long the question for this took.
    #[serde(rename = "round_trip_us", serialize_with = "as_micros")]
    pub round_trip: Duration,
}

/// A build of an application that uses the namespace.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Build {
    /// Its version.
    pub version: String,
    /// The program's name.
    pub application: String,
    /// When one of its processes announced it last.
    #[serde(rename = "announced_ms", serialize_with = "as_millis_of_epoch")]
    pub announced: SystemTime,
    /// Whether that was within a day; the entries of others are swept.
    pub recent: bool,
}

/// A finished sweep.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Swept {
    /// When.
    #[serde(rename = "at_ms", serialize_with = "as_millis_of_epoch")]
    pub at: SystemTime,
    /// Entries that it removed.
    pub removed: u64,
}

fn as_hex<S: Serializer>(id: &EntryId, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&id.hex())
}

fn as_some_millis<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_millis() as u64).serialize(to)
}

fn as_some_seconds<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs()).serialize(to)
}

pub(crate) fn as_micros<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(time.as_micros() as u64)
}

fn as_epoch_millis<S: Serializer>(at: &Option<SystemTime>, to: S) -> Result<S::Ok, S::Error> {
    at.map(epoch_millis).serialize(to)
}

pub(crate) fn as_millis_of_epoch<S: Serializer>(at: &SystemTime, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(epoch_millis(*at))
}

/// A time before the epoch counts as the epoch.
pub(crate) fn epoch_millis(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
