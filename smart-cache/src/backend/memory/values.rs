//! Plain values in the memory of this process, under the lock of the entries.
//!
//! Bounded by bytes, beside the entries: what does not fit any more goes, which is a miss. What
//! has expired goes when it is met, and by the same pressure.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::state::State;
use crate::backend::{
    BoxFuture, Counted, Expiry, NamePage, Ttl, ValueStore, matches_glob, value_key,
};
use crate::error::BackendError;
use crate::local::Freshness;
use crate::protocol::token_name;

/// What a value costs besides its bytes: map slots, allocations, list links.
const OVERHEAD: u64 = 160;

/// The values of one memory backend.
#[derive(Debug)]
pub(super) struct Values {
    kept: quick_cache::unsync::Cache<Arc<str>, Kept, Weights>,
    capacity: u64,
}

#[derive(Debug, Clone)]
struct Kept {
    bytes: Bytes,
    expires: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Weights;

impl quick_cache::Weighter<Arc<str>, Kept> for Weights {
    fn weight(&self, name: &Arc<str>, kept: &Kept) -> u64 {
        weight(name, &kept.bytes)
    }
}

fn weight(name: &str, bytes: &[u8]) -> u64 {
    OVERHEAD + name.len() as u64 + bytes.len() as u64
}

impl Values {
    pub(super) fn new(capacity: u64) -> Self {
        let items = usize::try_from(capacity / 512)
            .unwrap_or(usize::MAX)
            .clamp(16, 1 << 16);
        Self {
            kept: quick_cache::unsync::Cache::with_weighter(items, capacity, Weights),
            capacity,
        }
    }

    /// A value that has not expired; one that has is removed.
    fn get(&mut self, name: &str, now: Instant) -> Option<&Kept> {
        let is_over = |kept: &Kept| kept.expires.is_some_and(|expires| expires <= now);
        if self.kept.peek(name).is_some_and(is_over) {
            self.kept.remove(name);
        }
        self.kept.get(name)
    }

    pub(super) fn contains(&mut self, name: &str, now: Instant) -> bool {
        self.get(name, now).is_some()
    }

    /// Whether there was room: a value that is larger than everything is never kept.
    pub(super) fn set(&mut self, name: &str, bytes: &[u8], expires: Option<Instant>) -> bool {
        if weight(name, bytes) > self.capacity {
            self.kept.remove(name);
            return false;
        }
        // Of a larger buffer only this part is meant to stay.
        let bytes = Bytes::copy_from_slice(bytes);
        self.kept.insert(name.into(), Kept { bytes, expires });
        self.kept.peek(name).is_some()
    }

    pub(super) fn too_large(&self, bytes: u64) -> BackendError {
        BackendError::TooLarge {
            bytes,
            limit: self.capacity.saturating_sub(OVERHEAD),
        }
    }

    fn remove(&mut self, name: &str, now: Instant) -> Option<Kept> {
        self.get(name, now)?;
        self.kept.remove(name).map(|(_, kept)| kept)
    }
}

/// The moment at which something goes; never, where it is too far away to be told.
pub(super) fn end(expiry: Expiry, now: Instant) -> Option<Instant> {
    expiry.and_then(|expiry| now.checked_add(expiry))
}

/// The values as a store of their own.
#[derive(Debug)]
pub(super) struct MemoryValues {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) freshness: Arc<Freshness>,
}

impl MemoryValues {
    /// Nothing in here waits, so nobody waits for this lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Ends whatever is being computed for a name.
    fn outlaw(&self, state: &mut State, name: &str) {
        let key = value_key(name);
        if state.tokens.remove(key.as_str()).is_some() {
            self.freshness.changed(&token_name(&key));
        }
    }

    fn count(&self, name: &str, delta: i64) -> Counted {
        let state = &mut *self.lock();
        let Some(kept) = state.values.get(name, Instant::now()).cloned() else {
            return Counted::Missing;
        };
        let Some(number) = whole_number(&kept.bytes) else {
            return Counted::NotAnInteger;
        };
        let Some(sum) = number.checked_add(delta) else {
            return Counted::Overflow;
        };
        state
            .values
            .set(name, sum.to_string().as_bytes(), kept.expires);
        Counted::Now(sum)
    }
}

/// What a server would count with: digits with an optional minus, without leading zeros.
fn whole_number(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

impl ValueStore for MemoryValues {
    fn get_many<'a>(
        &'a self,
        names: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, BackendError>> {
        Box::pin(async move {
            let (state, now) = (&mut *self.lock(), Instant::now());
            let value = |name: &String| state.values.get(name, now).map(|kept| kept.bytes.clone());
            Ok(names.iter().map(value).collect())
        })
    }

    fn set_many<'a>(
        &'a self,
        values: &'a [(String, Bytes)],
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<Vec<usize>, BackendError>> {
        Box::pin(async move {
            let (state, expires) = (&mut *self.lock(), end(expiry, Instant::now()));
            let mut refused = Vec::new();
            for (at, (name, value)) in values.iter().enumerate() {
                self.outlaw(state, name);
                if !state.values.set(name, value, expires) {
                    refused.push(at);
                }
            }
            match values {
                [(_, only)] if !refused.is_empty() => {
                    Err(state.values.too_large(only.len() as u64))
                }
                _ => Ok(refused),
            }
        })
    }

    fn add<'a>(
        &'a self,
        name: &'a str,
        value: Bytes,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            let (state, now) = (&mut *self.lock(), Instant::now());
            if state.values.contains(name, now) {
                return Ok(false);
            }
            let length = value.len() as u64;
            if state.values.set(name, &value, end(expiry, now)) {
                Ok(true)
            } else {
                Err(state.values.too_large(length))
            }
        })
    }

    fn touch<'a>(
        &'a self,
        name: &'a str,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            let (state, now) = (&mut *self.lock(), Instant::now());
            let Some(kept) = state.values.get(name, now).cloned() else {
                return Ok(false);
            };
            Ok(state.values.set(name, &kept.bytes, end(expiry, now)))
        })
    }

    fn delete_many<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<u64, BackendError>> {
        Box::pin(async move {
            let (state, now) = (&mut *self.lock(), Instant::now());
            let mut removed = 0;
            for name in names {
                self.outlaw(state, name);
                removed += u64::from(state.values.remove(name, now).is_some());
            }
            Ok(removed)
        })
    }

    fn increment<'a>(
        &'a self,
        name: &'a str,
        delta: i64,
    ) -> BoxFuture<'a, Result<Counted, BackendError>> {
        Box::pin(async move { Ok(self.count(name, delta)) })
    }

    fn rename<'a>(
        &'a self,
        from: &'a str,
        to: &'a str,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            let state = &mut *self.lock();
            self.outlaw(state, from);
            self.outlaw(state, to);
            let Some(kept) = state.values.remove(from, Instant::now()) else {
                return Ok(false);
            };
            Ok(state.values.set(to, &kept.bytes, kept.expires))
        })
    }

    fn ttl<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Ttl, BackendError>> {
        Box::pin(async move {
            let (state, now) = (&mut *self.lock(), Instant::now());
            Ok(match state.values.get(name, now).map(|kept| kept.expires) {
                None => Ttl::Missing,
                Some(None) => Ttl::Never,
                Some(Some(expires)) => Ttl::After(
                    expires
                        .saturating_duration_since(now)
                        .max(Duration::from_nanos(1)),
                ),
            })
        })
    }

    fn names<'a>(
        &'a self,
        glob: &'a str,
        _: Option<String>,
    ) -> BoxFuture<'a, Result<NamePage, BackendError>> {
        Box::pin(async move {
            let (state, now) = (&mut *self.lock(), Instant::now());
            let alive = |kept: &Kept| kept.expires.is_none_or(|expires| expires > now);
            let names = state
                .values
                .kept
                .iter()
                .filter(|(name, kept)| alive(kept) && matches_glob(glob, name))
                .map(|(name, _)| name.to_string());
            Ok(NamePage {
                names: names.collect(),
                next: None,
            })
        })
    }

    fn clear(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async move {
            self.lock().values.kept.clear();
            Ok(())
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn incarnation(&self) -> BoxFuture<'_, Result<String, BackendError>> {
        // What is lost with the process cannot come back.
        Box::pin(async { Ok(String::new()) })
    }

    fn longest_value(&self) -> Option<u64> {
        Some(self.lock().values.capacity.saturating_sub(OVERHEAD))
    }

    fn describe(&self) -> String {
        "values in the memory of this process".to_owned()
    }
}
