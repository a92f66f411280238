//! Entries and tokens in the memory of this process: the same protocol, no server.
//!
//! One lock over one state makes every step atomic, as a script is in Redis. Bounded by bytes:
//! entries and tokens are evicted under pressure, which is always a miss and never a stale hit.
//! Nothing survives the process, so there is no identity and no rollback to guard against.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quick_cache::{DefaultHashBuilder, Lifecycle};

use super::{Backend, BoxFuture, Filling, Lease, Lookup, Payload, Stored, Ticket};
use crate::entry::EntryId;
use crate::error::BackendError;
use crate::local::{Freshness, Sample};
use crate::protocol::{Digest, Nonce, Target, token_name};

/// A minted token that no store has made permanent lives this long.
const UNUSED_TOKEN_LIFE: Duration = Duration::from_secs(3600);
/// What an entry or token costs besides its bytes: map slots, allocations, list links.
const OVERHEAD: u64 = 200;

/// Leases are given back, unless a runtime ended in between; past this many the expired go.
const FORGOTTEN_LEASES: usize = 4096;

/// Entries and tokens in the memory of this process.
#[derive(Debug)]
pub struct MemoryBackend {
    state: Mutex<State>,
    /// Every change is made here, so every change is heard.
    freshness: Arc<Freshness>,
    capacity: u64,
    lease: Duration,
    settle: Duration,
    max_variants: usize,
}

#[derive(Debug)]
struct State {
    entries: quick_cache::unsync::Cache<EntryId, Arc<Kept>, Weights, DefaultHashBuilder, Gone>,
    tokens: quick_cache::unsync::Cache<Arc<str>, Token, Weights>,
    /// The namespace's own token, which nothing evicts.
    namespace: Token,
    /// Entry ids under a key; bounds the variants and finds what a clear can free.
    index: HashMap<Arc<str>, HashSet<EntryId>>,
    leases: HashMap<EntryId, Granted>,
    /// Stamps are unique and never go back; a counter is all the clock that one process needs.
    clock: u64,
}

#[derive(Debug, Clone)]
struct Token {
    nonce: Arc<[u8]>,
    stamp: u64,
    minted: Instant,
    expires: Option<Instant>,
}

#[derive(Debug)]
struct Kept {
    key: Arc<str>,
    digest: Digest,
    /// The second digest, with the tags it is over.
    dynamic: Option<(Digest, Vec<Arc<str>>)>,
    payload: Payload,
    expires: Option<Instant>,
}

#[derive(Debug)]
struct Granted {
    value: Bytes,
    digest: Digest,
    /// The clock as of the ticket: a tag found later must not be younger.
    stamp: u64,
    began: Instant,
    expires: Instant,
}

#[derive(Debug, Clone)]
struct Weights;

impl quick_cache::Weighter<EntryId, Arc<Kept>> for Weights {
    fn weight(&self, _: &EntryId, kept: &Arc<Kept>) -> u64 {
        OVERHEAD + kept.key.len() as u64 + kept.payload.len() as u64
    }
}

impl quick_cache::Weighter<Arc<str>, Token> for Weights {
    fn weight(&self, name: &Arc<str>, _: &Token) -> u64 {
        OVERHEAD + name.len() as u64
    }
}

/// Collects what was evicted, so that the index forgets it too.
#[derive(Debug, Clone)]
struct Gone;

impl Lifecycle<EntryId, Arc<Kept>> for Gone {
    type RequestState = Vec<(EntryId, Arc<Kept>)>;

    fn on_evict(&self, state: &mut Self::RequestState, id: EntryId, kept: Arc<Kept>) {
        state.push((id, kept));
    }
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
                expires: None,
            },
            index: HashMap::new(),
            leases: HashMap::new(),
            clock: 0,
        };
        Self {
            state: Mutex::new(state),
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
        let mut young = false;
        for tag in filling.dynamic {
            young |= state
                .token(tag, now)
                .is_none_or(|token| token.stamp > stamp);
            state.mint_if_missing(tag, &nonce, now);
        }
        let second = state.digest(filling.dynamic.iter(), now, false);
        let (false, Some(second)) = (young, second) else {
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
            digest: lease.digest,
            dynamic: (!filling.dynamic.is_empty()).then(|| (second, filling.dynamic.to_vec())),
            payload: Bytes::copy_from_slice(filling.payload).into(),
            expires: ttl.map(|ttl| now + ttl),
        };
        state.insert(target.id, kept, self.max_variants);
        Ok(Stored::Landed(ttl))
    }
}

impl State {
    /// A token that is there and has not expired.
    fn token(&self, name: &str, now: Instant) -> Option<&Token> {
        self.tokens
            .get(name)
            .filter(|token| token.expires.is_none_or(|expires| expires > now))
    }

    fn mint_if_missing(&mut self, name: &Arc<str>, nonce: &Nonce, now: Instant) {
        if self.token(name, now).is_none() {
            self.clock += 1;
            let expires = Some(now + UNUSED_TOKEN_LIFE);
            let token = Token {
                nonce: Arc::from(nonce.as_bytes()),
                stamp: self.clock,
                minted: now,
                expires,
            };
            self.tokens.insert(Arc::clone(name), token);
        }
    }

    /// A store depends on the token now, so it must not expire before what it guards.
    fn keep_token(&mut self, name: &str, until: Option<Instant>) {
        if let Some(mut token) = self.tokens.get_mut(name) {
            token.expires = match (token.expires, until) {
                (Some(expires), Some(until)) => Some(expires.max(until)),
                _ => None,
            };
        }
    }

    /// The digest of the tokens now; `None` when one is missing.
    fn digest<'a>(
        &self,
        names: impl Iterator<Item = &'a Arc<str>>,
        now: Instant,
        with_namespace: bool,
    ) -> Option<Digest> {
        let mut tokens: Vec<Vec<u8>> = Vec::new();
        let stamped = |token: &Token| [&token.nonce[..], &token.stamp.to_le_bytes()[..]].concat();
        if with_namespace {
            tokens.push(stamped(&self.namespace));
        }
        for name in names {
            tokens.push(stamped(self.token(name, now)?));
        }
        Some(Digest::of(tokens.iter().map(Vec::as_slice)))
    }

    /// The entry, if it proves that it is current.
    fn current(&self, target: &Target, digest: Option<Digest>, now: Instant) -> Option<&Arc<Kept>> {
        let kept = self.entries.get(&target.id)?;
        let alive = kept.expires.is_none_or(|expires| expires > now) && digest == Some(kept.digest);
        let found = kept
            .dynamic
            .as_ref()
            .is_none_or(|(second, tags)| self.digest(tags.iter(), now, false) == Some(*second));
        (alive && found).then_some(kept)
    }

    fn insert(&mut self, id: EntryId, kept: Kept, max_variants: usize) {
        let ids = self.index.entry(Arc::clone(&kept.key)).or_default();
        if !ids.contains(&id) && ids.len() >= max_variants {
            let victim = ids.iter().next().copied();
            if let Some(victim) = victim {
                ids.remove(&victim);
                self.entries.remove(&victim);
            }
        }
        self.index
            .entry(Arc::clone(&kept.key))
            .or_default()
            .insert(id);
        let mut evicted = Vec::new();
        self.entries
            .insert_with_lifecycle(id, Arc::new(kept), &mut evicted);
        for (id, kept) in evicted {
            self.forget(&kept.key, id);
        }
    }

    fn forget(&mut self, key: &Arc<str>, id: EntryId) {
        if let Some(ids) = self.index.get_mut(key) {
            ids.remove(&id);
            if ids.is_empty() {
                self.index.remove(key);
            }
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
            let dead = state
                .entries
                .get(&target.id)
                .and_then(|kept| kept.dynamic.as_ref());
            Ok(Lookup::Miss {
                digest,
                dynamic: dead.map(|(_, tags)| tags.clone()).unwrap_or_default(),
            })
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
            let mut state = self.lock();
            for key in keys {
                state.tokens.remove(key.as_str());
                for id in state.index.remove(key.as_str()).unwrap_or_default() {
                    state.entries.remove(&id);
                }
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
                expires: None,
            };
            state.entries.clear();
            state.index.clear();
            Ok(())
        })
    }

    fn reclaim(&self, _: Vec<String>) -> BoxFuture<'_, ()> {
        // A clear has freed the entries under its key already; those under a tag go by pressure.
        Box::pin(async {})
    }

    fn freshness(&self) -> Option<&Arc<Freshness>> {
        Some(&self.freshness)
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
