//! Where plain values live: names to bytes, each with a time to live.
//!
//! The low-level API stands on this trait, and responses can be cached on anything that has it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::BoxFuture;
use crate::error::BackendError;

/// When a value goes by itself; `None` is never. Whoever calls a store has turned zero and
/// negative times into a removal already.
pub type Expiry = Option<Duration>;

/// How long a value has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ttl {
    /// There is no such value.
    Missing,
    /// It stays until it is removed.
    Never,
    /// It goes after this.
    After(Duration),
}

/// What became of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Counted {
    /// Its new value.
    Now(i64),
    /// There is no such counter.
    Missing,
    /// What is stored there is not a whole number.
    NotAnInteger,
    /// The sum does not fit into 64 bits; nothing was changed.
    Overflow,
}

/// A plain value that was computed under a lease.
#[derive(Debug, Clone, Copy)]
pub struct NewValue<'a> {
    /// Its name, as its [`ValueStore`] takes it.
    pub name: &'a str,
    /// The value as stored.
    pub bytes: &'a [u8],
    /// When it goes by itself.
    pub expiry: Expiry,
}

/// What became of a computed value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is stored.
    Stored,
    /// Somebody has set another one meanwhile, which stays.
    Present,
    /// It was removed or cleared meanwhile, or the lease had passed on: nothing is stored.
    Refused,
}

/// The key whose token stands for a value while it is computed. Whoever sets, removes or moves the
/// value deletes that token *before*, so that what was computed from older data cannot land.
#[must_use]
pub fn value_key(name: &str) -> String {
    format!("={name}")
}

/// One step of a walk over names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamePage {
    /// Some of the names; a name may come twice in one walk.
    pub names: Vec<String>,
    /// Where the walk goes on; `None` at its end.
    pub next: Option<String>,
}

/// Where plain values live. One store belongs to one namespace: it puts its own prefix in front of
/// every name and never touches what is outside of it.
///
/// Names are any non-empty text, up to 10 KB and more; a store that has a shorter limit hashes
/// what is longer. Counters are kept as decimal text, so that [`increment`](Self::increment) is
/// the server's own: digits with an optional minus, without leading zeros. Every method is one
/// round trip unless it says otherwise, and ends within the store's timeout.
///
/// A store that a backend gives out ([`Backend::values`](super::Backend::values)) deletes the
/// token of the [`value_key`] of each name in front of `set_many`, `delete_many` and `rename`.
pub trait ValueStore: std::fmt::Debug + Send + Sync + 'static {
    /// The values under these names, in their order. Atomicity across names is not promised.
    ///
    /// # Errors
    /// When the store does not answer or refuses.
    fn get_many<'a>(
        &'a self,
        names: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, BackendError>>;

    /// Stores values, whatever was there, and returns the positions of those that it could not
    /// keep.
    ///
    /// # Errors
    /// When the store does not answer or refuses altogether.
    fn set_many<'a>(
        &'a self,
        values: &'a [(String, Bytes)],
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<Vec<usize>, BackendError>>;

    /// Stores a value where there is none; whether it did. Atomic.
    ///
    /// # Errors
    /// When the store does not answer or refuses; the value may have been stored all the same.
    fn add<'a>(
        &'a self,
        name: &'a str,
        value: Bytes,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>>;

    /// Gives a value a new time to live; whether there is one. Atomic: a value that is removed
    /// meanwhile does not come back.
    ///
    /// # Errors
    /// When the store does not answer or refuses.
    fn touch<'a>(
        &'a self,
        name: &'a str,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>>;

    /// Removes values; how many of them were there.
    ///
    /// # Errors
    /// When it was not acknowledged; it may have taken effect.
    fn delete_many<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<u64, BackendError>>;

    /// Adds to a counter and keeps its time to live. Atomic, also against a removal.
    ///
    /// # Errors
    /// When it was not acknowledged; it may have taken effect.
    fn increment<'a>(
        &'a self,
        name: &'a str,
        delta: i64,
    ) -> BoxFuture<'a, Result<Counted, BackendError>>;

    /// Moves a value with its time to live to another name, whatever was there; whether there was
    /// one to move.
    ///
    /// # Errors
    /// When it was not acknowledged; it may have taken effect.
    fn rename<'a>(
        &'a self,
        from: &'a str,
        to: &'a str,
    ) -> BoxFuture<'a, Result<bool, BackendError>>;

    /// Puts another value in the place of one that is still the same, for what that has left of its
    /// time, or removes it where there is no other; whether it was still the same.
    ///
    /// Atomic in every store of this crate that responses can be cached on. As it stands here, for
    /// stores that cannot compare, it looks and then writes: what somebody sets in between is lost.
    ///
    /// # Errors
    /// When it was not acknowledged; it may have taken effect.
    fn exchange<'a>(
        &'a self,
        name: &'a str,
        old: &'a Bytes,
        new: Option<&'a Bytes>,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            let names = [name.to_owned()];
            let found = self.get_many(&names).await?;
            if found.first().and_then(Option::as_ref) != Some(old) {
                return Ok(false);
            }
            let Some(new) = new else {
                return Ok(self.delete_many(&names).await? > 0);
            };
            let expiry = match self.ttl(name).await? {
                Ttl::Missing => return Ok(false),
                Ttl::Never => None,
                Ttl::After(left) => Some(left),
            };
            let values = [(name.to_owned(), new.clone())];
            Ok(self.set_many(&values, expiry).await?.is_empty())
        })
    }

    /// How long a value has left.
    ///
    /// # Errors
    /// When the store does not answer, or cannot tell ([`BackendError::Unsupported`]).
    fn ttl<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Ttl, BackendError>>;

    /// One step of a walk over all names that match a glob
    /// ([`matches_glob`](super::matches_glob) says how it is read); begins with `None`. What is
    /// there during the whole walk is found; what comes or goes meanwhile may be.
    ///
    /// # Errors
    /// When the store does not answer, or cannot list ([`BackendError::Unsupported`]).
    fn names<'a>(
        &'a self,
        glob: &'a str,
        from: Option<String>,
    ) -> BoxFuture<'a, Result<NamePage, BackendError>>;

    /// Removes every value of this namespace and nothing else. May take many round trips.
    ///
    /// # Errors
    /// When it was not acknowledged; part of it may have taken effect.
    fn clear(&self) -> BoxFuture<'_, Result<(), BackendError>>;

    /// Ends connections; the next call makes new ones.
    fn close(&self) -> BoxFuture<'_, ()>;

    /// What must be in front of tokens that this store keeps, so that a restart from old data
    /// makes them all invalid: the start of the server or of the machine; empty where nothing can
    /// bring old data back. It is asked at each ticket and lookup of a response, so it answers
    /// without a round trip of its own.
    ///
    /// # Errors
    /// When it is not known yet because the store does not answer.
    fn incarnation(&self) -> BoxFuture<'_, Result<String, BackendError>>;

    /// A second handle on the same values for callers that block their runtime's thread, where a
    /// connection of that runtime could not move; `None` when this one is tied to no runtime.
    fn blocking_twin(&self) -> Option<Arc<dyn ValueStore>> {
        None
    }

    /// The longest value that can be kept, in bytes, if there is a limit.
    fn longest_value(&self) -> Option<u64> {
        None
    }

    /// What the store is, for logs and pages; never a secret.
    fn describe(&self) -> String;
}
