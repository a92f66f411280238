//! Where entries and tokens live.
//!
//! A backend keeps the promises of the protocol by itself: it alone compares digests, mints
//! tokens and decides whether a store may land. The roads above it only ask.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

pub use crate::codec::Payload;
use crate::error::BackendError;
use crate::inspect::Inspect;
pub use crate::local::{Freshness, Sample};
use crate::protocol::{Digest, Target};

#[cfg(any(feature = "sql-sqlite", all(feature = "file", unix)))]
mod boot;
#[cfg(all(feature = "file", unix))]
mod file;
mod glob;
mod keyvalue;
#[cfg(feature = "memcached")]
mod memcached;
pub(crate) mod memory;
pub(crate) mod off;
pub(crate) mod redis;
#[cfg(any(
    feature = "sql-sqlite",
    feature = "sql-postgres",
    feature = "sql-mysql"
))]
mod sql;
pub(crate) mod stores;
mod used;
mod values;

#[cfg(all(feature = "file", unix))]
pub use file::{FileOptions, FileStore};
pub(crate) use glob::is_glob;
pub use glob::matches_glob;
pub use keyvalue::{KeyValueBackend, KeyValueOptions};
#[cfg(feature = "memcached")]
pub use memcached::{MemcachedOptions, MemcachedStore};
pub use memory::MemoryBackend;
pub use redis::{PartitionedBackend, RedisBackend, RedisOptions, TlsFiles};
#[cfg(any(
    feature = "sql-sqlite",
    feature = "sql-postgres",
    feature = "sql-mysql"
))]
pub use sql::{SqlOptions, SqlStore};
pub use values::{Added, Counted, Expiry, NamePage, NewValue, Ttl, ValueStore, value_key};

/// A future of a backend; boxed, so that backends can be chosen at run time.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a lookup found.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// The entry's head and record; the tokens are those of its digest.
    Hit(Payload),
    /// No clear has outlawed the entry, but one of its tokens was expired: it may be shown once
    /// more while its answer is made anew.
    Stale(Stale),
    /// No entry that proves that it is current.
    Miss {
        /// The digest of the static tokens now; `None` when one of them is missing.
        digest: Option<Digest>,
        /// The tags that a dead entry had found, for the ticket to mint.
        dynamic: Vec<Arc<str>>,
    },
    /// A write holds the key or a tag: neither serve nor store.
    Held,
    /// Nothing is kept here at all.
    Off,
}

/// An entry that was expired and not cleared.
#[derive(Debug, Clone)]
pub struct Stale {
    /// Its head and record.
    pub payload: Payload,
    /// The digest of the static tokens now.
    pub digest: Digest,
    /// The tags that its handler had found.
    pub dynamic: Vec<Arc<str>>,
    /// When it was expired last, by the clock of the backend.
    pub since: SystemTime,
}

/// What a request that missed may do.
#[derive(Debug)]
pub enum Ticket {
    /// Somebody filled the entry meanwhile: its head and record.
    Filled(Payload),
    /// Run the handler and store its answer under this lease.
    Lead(Lease),
    /// Another process is filling the entry.
    Busy(Digest),
    /// A write holds the key or a tag: run, do not store.
    Held,
}

/// The right to fill one entry, granted with the tokens as they were.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The digest of the static tokens.
    pub digest: Digest,
    /// What the backend recognises the lease by; opaque to everybody else.
    pub value: Bytes,
}

/// What became of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It landed; with a time to live when the answer settles or the handler asked for one.
    Landed(Option<Duration>),
    /// The lease had passed to somebody else, or this is a second delivery.
    LeaseLost,
    /// A token has changed since the ticket: the answer may be of before a clear.
    Cleared,
    /// A tag that was found by the handler has a token younger than the ticket.
    YoungTag,
}

/// What a clear has freed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Reclaimed {
    /// How many entries.
    pub entries: u64,
    /// How long they had lived, together.
    #[serde(rename = "lived_us", serialize_with = "crate::inspect::as_micros")]
    pub lived: Duration,
    /// How long the oldest of them had lived.
    #[serde(rename = "longest_us", serialize_with = "crate::inspect::as_micros")]
    pub longest: Duration,
}

impl Reclaimed {
    /// Counts one more entry.
    pub fn add(&mut self, lived: Duration) {
        self.entries += 1;
        self.lived = self.lived.saturating_add(lived);
        self.longest = self.longest.max(lived);
    }

    /// How long they had lived on average.
    #[must_use]
    pub fn mean(&self) -> Duration {
        let count = u32::try_from(self.entries.max(1)).unwrap_or(u32::MAX);
        self.lived / count
    }
}

/// An answer to be stored.
#[derive(Debug)]
pub struct Filling<'a> {
    /// Head and record.
    pub payload: &'a [u8],
    /// `None`: until cleared.
    pub ttl: Option<Duration>,
    /// Tags found by the handler: sorted, unique, none of them static.
    pub dynamic: &'a [Arc<str>],
}

/// Where entries and tokens live. Every method is one round trip unless it says otherwise.
///
/// The contract, which one conformance suite checks on each backend:
/// - `lookup` is a hit only if the digests of the entry equal those of the tokens now.
/// - `ticket` reads or mints the tokens before it answers; at most one lease for an entry and a
///   digest at a time, except that a lease may expire.
/// - `store` lands only under the lease that was granted and while the tokens are the same.
/// - `clear` is acknowledged only when every ticket taken before it is outlawed.
/// - Losing anything at any time makes entries miss, never reappear.
pub trait Backend: std::fmt::Debug + Send + Sync + 'static {
    /// Reads the entry and the tokens that it depends on; a second round trip when the entry
    /// lists tags that the handler found.
    ///
    /// # Errors
    /// When the backend does not answer before `deadline`, or refuses.
    fn lookup<'a>(
        &'a self,
        target: &'a Target,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Lookup, BackendError>>;

    /// Takes a ticket: the tokens of everything that the answer will depend on, before the
    /// handler starts.
    ///
    /// # Errors
    /// When the backend does not answer before `deadline`, or refuses (out of memory).
    fn ticket<'a>(
        &'a self,
        target: &'a Target,
        dynamic: &'a [Arc<str>],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Ticket, BackendError>>;

    /// Stores an answer. Idempotent.
    ///
    /// # Errors
    /// When the backend does not answer in time; the store may have landed all the same.
    fn store<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
        filling: Filling<'a>,
    ) -> BoxFuture<'a, Result<Stored, BackendError>>;

    /// The plain values beside the entries, over the same connection; `None` where there is no
    /// place for them.
    fn values(&self) -> Option<Arc<dyn ValueStore>> {
        None
    }

    /// Stores a plain value that was computed under this lease, where there is none. It lands only
    /// while the lease is held and the tokens are those of the ticket: who sets or removes the
    /// value meanwhile deletes the token of its [`value_key`]. The lease is used up. Atomic.
    ///
    /// # Errors
    /// [`BackendError::Unsupported`] where it cannot be done; else when the backend does not
    /// answer in time, and then the value may have landed all the same.
    fn add_value<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
        value: NewValue<'a>,
    ) -> BoxFuture<'a, Result<Added, BackendError>> {
        let _ = (target, lease, value);
        Box::pin(async {
            Err(BackendError::Unsupported(
                "it cannot add a value under a lease".into(),
            ))
        })
    }

    /// Prolongs a lease while its handler runs; `false` when it was lost.
    ///
    /// # Errors
    /// When the backend does not answer in time.
    fn renew<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
    ) -> BoxFuture<'a, Result<bool, BackendError>>;

    /// Gives a lease back that will not be used.
    ///
    /// # Errors
    /// When the backend does not answer in time; the lease then expires by itself.
    fn release<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
    ) -> BoxFuture<'a, Result<(), BackendError>>;

    /// Removes an entry that cannot be read, so that a ticket does not hand it out again.
    ///
    /// # Errors
    /// When it was not acknowledged; the entry is then met again.
    fn discard<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), BackendError>>;

    /// Outlaws every ticket and entry of these keys and tags.
    ///
    /// # Errors
    /// When it was not acknowledged; it may have taken effect.
    fn clear<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), BackendError>>;

    /// Outlaws every ticket of these keys and tags, and makes their entries [`Lookup::Stale`]
    /// until they are filled again or cleared. A backend that cannot tell the two apart clears,
    /// which is more than was asked for and never less.
    ///
    /// # Errors
    /// When it was not acknowledged; it may have taken effect.
    fn expire<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), BackendError>> {
        self.clear(keys)
    }

    /// Outlaws every ticket and entry of the namespace.
    ///
    /// # Errors
    /// When it was not acknowledged; it may have taken effect.
    fn clear_all(&self) -> BoxFuture<'_, Result<(), BackendError>>;

    /// Marks keys and tags that a write is about to change: until [`unhold`](Self::unhold), or
    /// `longest` from now, nothing of them is served or stored, and every ticket taken before is
    /// outlawed. `writer` is unique; several writers may hold one key.
    ///
    /// # Errors
    /// [`BackendError::Unsupported`] where there is no way; otherwise when it was not
    /// acknowledged, and may have taken effect.
    fn hold<'a>(
        &'a self,
        keys: &'a [String],
        writer: &'a str,
        longest: Duration,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        let _ = (keys, writer, longest);
        Box::pin(async {
            Err(BackendError::Unsupported(
                "this backend knows no holds".into(),
            ))
        })
    }

    /// Ends the hold of this writer, and outlaws every ticket and entry of the keys. Those that
    /// another writer holds stay held.
    ///
    /// # Errors
    /// As [`hold`](Self::hold).
    fn unhold<'a>(
        &'a self,
        keys: &'a [String],
        writer: &'a str,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        let _ = (keys, writer);
        Box::pin(async {
            Err(BackendError::Unsupported(
                "this backend knows no holds".into(),
            ))
        })
    }

    /// Frees what a clear of these keys has left behind, and tells how much that was. Best effort;
    /// decides nothing.
    fn reclaim(&self, keys: Vec<String>) -> BoxFuture<'_, Reclaimed>;

    /// Walks everything once and removes what no token vouches for any more, and what builds that
    /// nobody has announced for a day have left; how many entries went. Many round trips, paced:
    /// minutes for a million entries. Redis sweeps by itself; this is for an operator who cannot
    /// wait. Decides nothing.
    ///
    /// # Errors
    /// When the backend stops answering; what was removed until then is gone.
    fn sweep(&self) -> BoxFuture<'_, Result<u64, BackendError>>;

    /// How long a lease lasts without being renewed.
    fn lease(&self) -> Duration;

    /// Gets ready: connects, looks for trouble and says it in the log. Whatever fails here is
    /// tried again later.
    fn open(&self) -> BoxFuture<'_, Result<(), BackendError>>;

    /// Whether this build is new to the namespace; for the flush of each version.
    ///
    /// # Errors
    /// When the backend does not answer in time.
    fn first_of_version(&self) -> BoxFuture<'_, Result<bool, BackendError>>;

    /// What this backend hears of changes; `None` where a local tier in front of it could not be
    /// kept honest.
    fn freshness(&self) -> Option<&Arc<Freshness>> {
        None
    }

    /// A second handle on the same entries for callers that block their runtime's thread, where
    /// a connection of that runtime could not move; `None` when this one never waits.
    fn blocking_twin(&self) -> Option<Arc<dyn Backend>> {
        None
    }

    /// What can be listed of what it keeps; `None` where nothing can.
    fn inspect(&self) -> Option<&dyn Inspect> {
        None
    }

    /// What the backend is, for logs and pages; never a secret.
    fn describe(&self) -> String;

    /// Whether it is answering at the moment.
    fn is_available(&self) -> bool;
}
