//! Entries and tokens in the memory of this process: the same protocol, no server.
//!
//! One lock over one state makes every step atomic, as a script is in Redis. Bounded by bytes:
//! entries and tokens are evicted under pressure, which is always a miss and never a stale hit.
//! Nothing survives the process, so there is no identity and no rollback to guard against.
//!
//! Over 400 lines: the trait has many methods, and each is one step under the lock.

mod holds;
mod inspect;
mod state;
mod values;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quick_cache::DefaultHashBuilder;

use self::state::{Gone, Granted, Judgement, Kept, State, Token, UNUSED_TOKEN_LIFE, Weights};
use self::values::{MemoryValues, Values, end};
use super::{
    Added, Backend, BoxFuture, Filling, Lease, Lookup, NewValue, Reclaimed, Stale, Stored, Ticket,
    ValueStore,
};
use crate::error::BackendError;
use crate::inspect::Inspect;
use crate::local::{Freshness, Sample};
use crate::protocol::{Nonce, Target, token_name};

/// Leases are given back, unless a runtime ended in between; past this many the expired go.
const FORGOTTEN_LEASES: usize = 4096;

/// Entries and tokens in the memory of this process.
#[derive(Debug)]
pub struct MemoryBackend {
    state: Arc<Mutex<State>>,
    /// Every change is made here, so every change is heard.
    freshness: Arc<Freshness>,
    capacity: u64,
    lease: Duration,
    settle: Duration,
    max_variants: usize,
}

impl MemoryBackend {
    /// Keeps at most about `capacity` bytes of entries, and an eighth of it in tokens besides.
    #[must_use]
    pub fn new(capacity: u64, lease: Duration, settle: Duration, max_variants: u32) -> Self {
        let items = usize::try_from(capacity / 2048)
            .unwrap_or(usize::MAX)
            .clamp(16, 1 << 20);
        let token_capacity = (capacity / 8).max(64 << 10);
        let token_items = usize::try_from(token_capacity / 256)
            .unwrap_or(usize::MAX)
            .clamp(16, 1 << 20);
        let state = State {
            entries: quick_cache::unsync::Cache::with(
                items,
                capacity,
                Weights,
                DefaultHashBuilder::default(),
                Gone,
            ),
            tokens: quick_cache::unsync::Cache::with_weighter(token_items, token_capacity, Weights),
            namespace: Token {
                nonce: Arc::from(*b"first"),
                stamp: 0,
                minted: Instant::now(),
                origin: None,
                expires: None,
            },
            index: BTreeMap::new(),
            freed: HashMap::new(),
            notes: VecDeque::new(),
            leases: HashMap::new(),
            holds: holds::Holds::default(),
            clock: 0,
            values: Values::new(capacity),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            freshness: Arc::new(Freshness::always()),
            capacity,
            lease,
            settle,
            max_variants: max_variants as usize,
        }
    }

    /// A panic under this lock can only be one of an allocation; the state is consistent then,
    /// since every step changes it in an order that is safe to stop in.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn sample<'a>(&self, names: impl Iterator<Item = &'a Arc<str>>) -> Sample {
        let names: Vec<_> = names.map(|name| token_name(name)).collect();
        self.freshness.sample(names.iter().map(|name| &**name))
    }

    fn take_ticket(&self, target: &Target, dynamic: &[Arc<str>]) -> Result<Ticket, BackendError> {
        let nonce = Nonce::fresh()
            .map_err(|error| BackendError::Protocol(format!("no randomness: {error}").into()))?;
        let now = Instant::now();
        let state = &mut *self.lock();
        if state.holds.any(target.names().chain(dynamic), now) {
            return Ok(Ticket::Held);
        }
        for name in target.names().chain(dynamic) {
            state.mint_if_missing(name, &nonce, now);
        }
        let Some(digest) = state.digest(target.names(), now, true) else {
            // Minted a moment ago and evicted at once: the memory is far too small for tokens.
            return Ok(Ticket::Held);
        };
        if let Some(kept) = state.current(target, Some(digest), now) {
            return Ok(Ticket::Filled(kept.payload.clone()));
        }
        if state
            .leases
            .get(&target.id)
            .is_some_and(|held| held.digest == digest && held.expires > now)
        {
            return Ok(Ticket::Busy(digest));
        }
        if state.leases.len() >= FORGOTTEN_LEASES {
            state.leases.retain(|_, held| held.expires > now);
        }
        let value = Bytes::copy_from_slice(nonce.as_bytes());
        let granted = Granted {
            value: value.clone(),
            digest,
            stamp: state.clock,
            began: now,
            expires: now + self.lease,
        };
        state.leases.insert(target.id, granted);
        Ok(Ticket::Lead(Lease { digest, value }))
    }

    /// Removes the tokens of these keys, and what is stored under them.
    fn outlaw(&self, state: &mut State, keys: &[String]) {
        for key in keys {
            state.tokens.remove(key.as_str());
            self.freshness.changed(&token_name(key));
            let mut freed = Reclaimed::default();
            for id in state.index.remove(key.as_str()).unwrap_or_default() {
                if let Some((_, kept)) = state.entries.remove(&id) {
                    freed.add(kept.stored.elapsed());
                }
            }
            state.note_freed(key, freed);
        }
    }

    fn put(
        &self,
        target: &Target,
        lease: &Lease,
        filling: &Filling<'_>,
    ) -> Result<Stored, BackendError> {
        let nonce = Nonce::fresh()
            .map_err(|error| BackendError::Protocol(format!("no randomness: {error}").into()))?;
        let now = Instant::now();
        let state = &mut *self.lock();
        let Some(granted) = state
            .leases
            .get(&target.id)
            .filter(|held| held.value == lease.value && held.expires > now)
        else {
            return Ok(Stored::LeaseLost);
        };
        let (stamp, began) = (granted.stamp, granted.began);
        state.leases.remove(&target.id);
        if state.digest(target.names(), now, true) != Some(lease.digest) {
            return Ok(Stored::Cleared);
        }
        if state.holds.any(filling.dynamic.iter(), now) {
            return Ok(Stored::YoungTag);
        }
        let mut young = false;
        for tag in filling.dynamic {
            young |= state
                .token(tag, now)
                .is_none_or(|token| token.stamp > stamp);
            state.mint_if_missing(tag, &nonce, now);
        }
        let second = state.digest(filling.dynamic.iter(), now, false);
        let origins = state.origins(target.names().chain(filling.dynamic), now);
        let (false, Some(second), Some((origins, _))) = (young, second, origins) else {
            return Ok(Stored::YoungTag);
        };
        let names = || target.names().chain(filling.dynamic);
        let newest = names()
            .filter_map(|name| state.token(name, now))
            .map(|token| token.minted)
            .chain([state.namespace.minted])
            .max();
        let settling =
            newest.is_some_and(|minted| began.saturating_duration_since(minted) < self.settle);
        let ttl = match (settling, filling.ttl) {
            (true, Some(ttl)) => Some(ttl.min(self.settle)),
            (true, None) => Some(self.settle),
            (false, ttl) => ttl,
        };
        if !settling {
            for name in names() {
                state.keep_token(name, ttl.map(|ttl| now + ttl + UNUSED_TOKEN_LIFE));
            }
        }
        let kept = Kept {
            key: Arc::clone(&target.key),
            tags: target.tags.clone(),
            digest: lease.digest,
            origins,
            dynamic: (!filling.dynamic.is_empty()).then(|| (second, filling.dynamic.to_vec())),
            payload: Bytes::copy_from_slice(filling.payload).into(),
            expires: ttl.map(|ttl| now + ttl),
            stored: now,
        };
        state.insert(target.id, kept, self.max_variants);
        Ok(Stored::Landed(ttl))
    }
}

impl MemoryBackend {
    fn add_computed(
        &self,
        target: &Target,
        lease: &Lease,
        value: &NewValue<'_>,
    ) -> Result<Added, BackendError> {
        let now = Instant::now();
        let state = &mut *self.lock();
        let is_held = |held: &Granted| held.value == lease.value && held.expires > now;
        if !state.leases.get(&target.id).is_some_and(is_held) {
            return Ok(Added::Refused);
        }
        state.leases.remove(&target.id);
        if state.digest(target.names(), now, true) != Some(lease.digest) {
            return Ok(Added::Refused);
        }
        if state.values.contains(value.name, now) {
            return Ok(Added::Present);
        }
        if state
            .values
            .set(value.name, value.bytes, end(value.expiry, now))
        {
            Ok(Added::Stored)
        } else {
            Err(state.values.too_large(value.bytes.len() as u64))
        }
    }
}

impl Backend for MemoryBackend {
    fn lookup<'a>(
        &'a self,
        target: &'a Target,
        _: Instant,
    ) -> BoxFuture<'a, Result<Lookup, BackendError>> {
        Box::pin(async move {
            let now = Instant::now();
            let sample = self.sample(target.names());
            let state = self.lock();
            if state.holds.any(target.names(), now) {
                return Ok(Lookup::Held);
            }
            let digest = state.digest(target.names(), now, true);
            if let Some(kept) = state.current(target, digest, now) {
                let mut sample = Some(sample).filter(|_| kept.expires.is_none());
                if let (Some(sample), Some((_, tags))) = (&mut sample, &kept.dynamic) {
                    // Under the lock nothing is cleared, so this is before the look at them too.
                    let names: Vec<_> = tags.iter().map(|tag| token_name(tag)).collect();
                    self.freshness
                        .extend(sample, names.iter().map(|name| &**name));
                }
                return Ok(Lookup::Hit(kept.payload.clone().sampled(sample)));
            }
            let dead = state.entries.get(&target.id);
            let dynamic = dead.and_then(|kept| kept.dynamic.as_ref());
            let dynamic = dynamic.map(|(_, tags)| tags.clone()).unwrap_or_default();
            if let (Some(kept), Some(digest)) = (dead, digest)
                && let Judgement::Expired(since) = state.judge(kept, now)
            {
                return Ok(Lookup::Stale(Stale {
                    payload: kept.payload.clone(),
                    digest,
                    dynamic,
                    since,
                }));
            }
            Ok(Lookup::Miss { digest, dynamic })
        })
    }

    fn ticket<'a>(
        &'a self,
        target: &'a Target,
        dynamic: &'a [Arc<str>],
        _: Instant,
    ) -> BoxFuture<'a, Result<Ticket, BackendError>> {
        Box::pin(async move { self.take_ticket(target, dynamic) })
    }

    fn store<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
        filling: Filling<'a>,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(async move { self.put(target, lease, &filling) })
    }

    fn values(&self) -> Option<Arc<dyn ValueStore>> {
        Some(Arc::new(MemoryValues {
            state: Arc::clone(&self.state),
            freshness: Arc::clone(&self.freshness),
        }))
    }

    fn add_value<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
        value: NewValue<'a>,
    ) -> BoxFuture<'a, Result<Added, BackendError>> {
        Box::pin(async move { self.add_computed(target, lease, &value) })
    }

    fn renew<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            let now = Instant::now();
            let mut state = self.lock();
            let held = state
                .leases
                .get_mut(&target.id)
                .filter(|held| held.value == lease.value && held.expires > now);
            Ok(held.map(|held| held.expires = now + self.lease).is_some())
        })
    }

    fn release<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            let mut state = self.lock();
            if state
                .leases
                .get(&target.id)
                .is_some_and(|held| held.value == lease.value)
            {
                state.leases.remove(&target.id);
            }
            Ok(())
        })
    }

    fn discard<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            let mut state = self.lock();
            state.entries.remove(&target.id);
            state.forget(&target.key, target.id);
            Ok(())
        })
    }

    fn clear<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            self.outlaw(&mut self.lock(), keys);
            Ok(())
        })
    }

    fn expire<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            let nonce = Nonce::fresh().map_err(|error| {
                BackendError::Protocol(format!("no randomness: {error}").into())
            })?;
            let (now, mut state) = (Instant::now(), self.lock());
            for key in keys {
                state.expire_token(key, &nonce, now);
                self.freshness.changed(&token_name(key));
            }
            Ok(())
        })
    }

    fn clear_all(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async move {
            let nonce = Nonce::fresh().map_err(|error| {
                BackendError::Protocol(format!("no randomness: {error}").into())
            })?;
            let mut state = self.lock();
            state.clock += 1;
            state.namespace = Token {
                nonce: Arc::from(nonce.as_bytes()),
                stamp: state.clock,
                minted: Instant::now(),
                origin: None,
                expires: None,
            };
            state.entries.clear();
            state.index.clear();
            self.freshness.flushed();
            Ok(())
        })
    }

    fn hold<'a>(
        &'a self,
        keys: &'a [String],
        writer: &'a str,
        longest: Duration,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            let now = Instant::now();
            let state = &mut *self.lock();
            state.holds.begin(keys, writer, now, longest);
            self.outlaw(state, keys);
            Ok(())
        })
    }

    fn unhold<'a>(
        &'a self,
        keys: &'a [String],
        writer: &'a str,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            let state = &mut *self.lock();
            state.holds.end(keys, writer, Instant::now());
            self.outlaw(state, keys);
            Ok(())
        })
    }

    fn reclaim(&self, keys: Vec<String>) -> BoxFuture<'_, Reclaimed> {
        // A clear has freed the entries under its key already; those under a tag go by pressure.
        Box::pin(async move { self.lock().take_freed(&keys) })
    }

    fn sweep(&self) -> BoxFuture<'_, Result<u64, BackendError>> {
        Box::pin(async move { Ok(self.lock().sweep(Instant::now())) })
    }

    fn freshness(&self) -> Option<&Arc<Freshness>> {
        Some(&self.freshness)
    }

    fn inspect(&self) -> Option<&dyn Inspect> {
        Some(self)
    }

    fn lease(&self) -> Duration {
        self.lease
    }

    fn open(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async { Ok(()) })
    }

    fn first_of_version(&self) -> BoxFuture<'_, Result<bool, BackendError>> {
        Box::pin(async { Ok(true) })
    }

    fn describe(&self) -> String {
        format!(
            "the memory of this process, at most {}",
            bytesize::ByteSize(self.capacity)
        )
    }

    fn is_available(&self) -> bool {
        true
    }
}
