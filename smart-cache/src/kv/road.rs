//! The road of a value that is computed: memory, store, a turn, the computation, the store.
//!
//! It is the road of a request (`serve.rs`, `fill.rs`) for values: the same tickets, flights and
//! leases, so the same promise: what was computed before a clear is never stored after it. A value
//! without tags ends as a plain one, under the lease that its ticket granted; any other is an
//! entry under tokens, whose body is the encoded value.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::timeout::Life;
use super::{CacheError, OnError, Opened, Timeout, VALUES, encoding};
use crate::backend::{Expiry, Lookup, value_key};
use crate::clock::Moment;
use crate::entry::{Answer, EntryId};
use crate::error::BackendError;
use crate::protocol::scope::Scope;
use crate::protocol::turn::{Lead, Taking, Turn};
use crate::protocol::{Digest, MAX_TAGS, Target, open};
use crate::together::Together;
use storing::Storing;

mod storing;

/// Sent back to the lookup this often, a caller computes for itself.
const MOST_LOOKUPS: usize = 4;

/// Reads of plain values that callers can join, by the value's name.
pub(crate) type Reads = Together<String, Result<Option<Bytes>, BackendError>>;

/// One value to be found or computed.
pub(super) struct Job<'a> {
    opened: &'a Opened,
    /// As the user gave it.
    key: String,
    name: String,
    /// Tells functions of one key apart; empty for `get_or_set`.
    identity: Vec<u8>,
    /// Sorted; those of the user, its own key among them if there are any.
    tags: Vec<Arc<str>>,
    life: Life,
}

/// What there is.
enum Found {
    /// A plain value.
    Plain(Bytes),
    /// The body of an entry.
    Computed(Bytes),
    Nothing(Missed),
    /// Nobody is asked: compute, and store nothing.
    Unasked,
}

/// What a miss leaves for the ticket.
#[derive(Default)]
struct Missed {
    digest: Option<Digest>,
    dynamic: Vec<Arc<str>>,
}

impl<'a> Job<'a> {
    pub(super) fn new(opened: &'a Opened, key: &str, name: String, timeout: Timeout) -> Self {
        Self {
            key: key.to_owned(),
            life: opened.life(timeout),
            opened,
            name,
            identity: Vec::new(),
            tags: Vec::new(),
        }
    }

    /// The value lives under tokens.
    pub(super) fn tagged<'t>(mut self, tags: impl Iterator<Item = &'t str>) -> Self {
        self.tags.extend(tags.map(Arc::from));
        self.tags.sort_unstable();
        self.tags.dedup();
        self
    }

    /// The value is one function's own.
    pub(super) fn identified(mut self, identity: Vec<u8>) -> Self {
        self.identity = identity;
        self
    }

    fn is_tagged(&self) -> bool {
        !self.tags.is_empty()
    }

    /// The entry, in a form that no two values share.
    fn target(&self) -> Target {
        let mut form = vec![b'='];
        let fields = [self.name.as_bytes(), &self.identity];
        let tags = self.tags.iter().map(|tag| tag.as_bytes());
        for field in fields.into_iter().chain(tags) {
            form.extend_from_slice(&(field.len() as u64).to_le_bytes());
            form.extend_from_slice(field);
        }
        let tags = self.tags.iter().cloned().chain([VALUES.into()]).collect();
        Target::from_parts(EntryId::of(&form), value_key(&self.name).into(), tags)
    }

    /// The value, found or computed. What a cache that fails comes to, where reads are to fail, is
    /// for `failed` to say: an error, or nothing, and then it is computed.
    pub(super) async fn run<T, E, W>(
        self,
        work: W,
        failed: impl FnOnce(CacheError) -> Option<E>,
    ) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        W: Future<Output = Result<T, E>>,
    {
        if self.is_tagged() {
            // What surrounds this value falls with it, however it is come by.
            let own = self.tags.iter().map(|tag| String::from(&**tag));
            crate::depends_on(own.chain([value_key(&self.name)]).collect::<Vec<_>>());
        }
        let Life::Until(expiry) = self.life else {
            return work.await;
        };
        let (smart, target) = (&self.opened.smart, Arc::new(self.target()));
        let mut limits = smart.limits(Instant::now());
        for _ in 0..MOST_LOOKUPS {
            let missed = match self.find(&target, limits.patience).await {
                Ok(Found::Plain(stored)) => match self.read_plain(stored) {
                    Some(value) => return Ok(value),
                    None => self.remove_undecodable().await,
                },
                Ok(Found::Computed(body)) => match self.read(&body) {
                    Some(value) => return Ok(value),
                    None => self.discard(&target).await,
                },
                Ok(Found::Nothing(missed)) => missed,
                Ok(Found::Unasked) => break,
                Err(why) => match failed(why) {
                    Some(why) => return Err(why),
                    None => break,
                },
            };
            let taking = Taking {
                backend: &self.opened.backend,
                flights: &smart.inner.flights,
                tickets: &smart.inner.tickets,
                target: &target,
                digest: missed.digest,
                dynamic: &missed.dynamic,
                patience: limits.patience,
                timeout: limits.timeout,
                deadline: limits.wait,
            };
            match taking.take().await {
                Turn::Lead(lead) => match self.set_meanwhile().await {
                    None => return self.fill(&target, lead, expiry, work).await,
                    Some(stored) => {
                        lead.look_again();
                        match self.read_plain(stored) {
                            Some(value) => return Ok(value),
                            None => drop(self.remove_undecodable().await),
                        }
                    }
                },
                Turn::Shared(entry) => match self.read(entry.body()) {
                    Some(value) => return Ok(value),
                    None => break,
                },
                Turn::Filled(payload) => {
                    let entry = smart.entry(&payload, target.id, Moment::now());
                    match entry.and_then(|entry| self.read(entry.body())) {
                        _ if self.distrusts(&target, &payload.dynamic()) => break,
                        Some(value) => return Ok(value),
                        None => drop(self.discard(&target).await),
                    }
                }
                Turn::LookAgain => {}
                Turn::Alone(_) => break,
            }
            limits.patience = Instant::now() + limits.timeout;
        }
        // As if there were no cache; a surrounding handler or value hears what it depends on.
        work.await
    }

    /// Looks in this process's memory, then among the plain values, then among the entries.
    async fn find(&self, target: &Arc<Target>, patience: Instant) -> Result<Found, CacheError> {
        let inner = &self.opened.smart.inner;
        if inner.pending.len() > 0 {
            inner.pending.retry(&inner.backend);
        }
        if self.distrusts(target, &[]) {
            return Ok(Found::Unasked);
        }
        let quiet = inner.pending.len() == 0 && !open::any();
        let tier = inner.local.as_ref().filter(|_| quiet);
        if let Some(held) = tier.and_then(|tier| tier.get(&memory_key(target), Moment::now())) {
            return Ok(Found::Computed(held.entry.body().clone()));
        }
        if !self.is_tagged() {
            match self.stored().await {
                Ok(Some(stored)) => return Ok(Found::Plain(stored)),
                Ok(None) => {}
                Err(why) => return self.unavailable(why),
            }
        }
        match self.opened.backend.lookup(target, patience).await {
            Ok(Lookup::Hit(payload)) => {
                if self.distrusts(target, &payload.dynamic()) {
                    return Ok(Found::Unasked);
                }
                let Some(entry) = self.opened.smart.entry(&payload, target.id, Moment::now())
                else {
                    return Ok(Found::Nothing(self.discard(target).await));
                };
                if let (Some(tier), Some(sample)) = (&inner.local, payload.sample()) {
                    tier.insert(memory_key(target).into(), &entry, Arc::clone(sample));
                }
                Ok(Found::Computed(entry.body().clone()))
            }
            // A value is not shown once more: who asks for it gets what is computed now.
            Ok(Lookup::Stale(stale)) => Ok(Found::Nothing(Missed {
                digest: Some(stale.digest),
                dynamic: stale.dynamic,
            })),
            Ok(Lookup::Miss { digest, dynamic }) => Ok(Found::Nothing(Missed { digest, dynamic })),
            Ok(Lookup::Off | Lookup::Held) => Ok(Found::Unasked),
            Err(why) => self.unavailable(why),
        }
    }

    /// Whether something that the value depends on is being cleared, or written by this task. A
    /// value without tags is none of its key's, and yet it is the row of that key that it was made of.
    fn distrusts(&self, target: &Target, found: &[Arc<str>]) -> bool {
        let smart = &self.opened.smart;
        smart.inner.pending.distrusts(target, found)
            || open::distrusts(smart, target, found)
            || !self.is_tagged() && open::writes(smart, &self.key)
    }

    /// The plain value: one read for all who ask at this moment.
    async fn stored(&self) -> Result<Option<Bytes>, BackendError> {
        let (store, name) = (Arc::clone(&self.opened.store), self.name.clone());
        let read = || async move {
            let found = store.get_many(&[name]).await;
            found.map(|found| found.into_iter().next().flatten())
        };
        let reads = &self.opened.smart.inner.reads;
        let stored = reads.ask(self.name.clone(), read).await;
        stored.unwrap_or_else(|| Err(BackendError::ended()))
    }

    /// The cache does not answer.
    fn unavailable(&self, why: BackendError) -> Result<Found, CacheError> {
        match self.opened.smart.inner.config.values.on_error {
            OnError::Fail => Err(why.into()),
            OnError::Miss => self.opened.or_miss(Err(why), Found::Unasked),
        }
    }

    /// A plain value, if it is one of this type.
    fn read_plain<T: DeserializeOwned>(&self, stored: Bytes) -> Option<T> {
        self.read(&self.opened.unseal(&self.key, stored)?)
    }

    /// A stored value, if it is one of this type; its found tags are the surrounding one's too.
    fn read<T: DeserializeOwned>(&self, body: &Bytes) -> Option<T> {
        let (found, encoded) = encoding::without_tags(body)?;
        let value = self.opened.decode(encoded);
        if value.is_some() {
            self.opened.counters().found(1, 0);
            if !found.is_empty() {
                crate::depends_on(found);
            }
        }
        value
    }

    /// The plain value that somebody has computed or set since this caller looked: the lease was
    /// granted after that one was given back, and a ticket knows of entries alone.
    async fn set_meanwhile(&self) -> Option<Bytes> {
        if self.is_tagged() {
            return None;
        }
        let names = std::slice::from_ref(&self.name);
        let found = self.opened.store.get_many(names).await.ok()?;
        found.into_iter().next().flatten()
    }

    /// A plain value that cannot be read would keep the new one from being stored.
    async fn remove_undecodable(&self) -> Missed {
        if let Err(why) = self.opened.remove(vec![self.name.clone()]).await {
            tracing::debug!(name = %self.name, cause = %why, "a value that cannot be read could not be removed");
        }
        Missed::default()
    }

    /// An entry that cannot be read would be handed out again by the ticket.
    async fn discard(&self, target: &Target) -> Missed {
        self.opened.counters().undecodable();
        if let Err(why) = self.opened.backend.discard(target).await {
            tracing::debug!(name = %self.name, cause = %why, "an entry that cannot be read could not be removed");
        }
        Missed::default()
    }

    /// Computes for everybody who waits.
    async fn fill<T, E, W>(
        &self,
        target: &Arc<Target>,
        lead: Lead,
        expiry: Expiry,
        work: W,
    ) -> Result<T, E>
    where
        T: Serialize + DeserializeOwned,
        W: Future<Output = Result<T, E>>,
    {
        let (started, scope) = (Instant::now(), Scope::listening(&self.opened.smart));
        let computed = scope.hear(work).await;
        let found = scope.found(target);
        if !found.is_empty() {
            crate::depends_on(
                found
                    .iter()
                    .map(|tag| String::from(&**tag))
                    .collect::<Vec<_>>(),
            );
        }
        self.opened.counters().found(0, 1);
        self.opened.counters().computed();
        let value = match computed {
            Ok(value) => value,
            Err(why) => {
                lead.uncacheable();
                return Err(why);
            }
        };
        let encoded = match encoding::encode(&value) {
            Ok(encoded) if target.tags.len() + found.len() <= MAX_TAGS => encoded,
            Ok(_) => {
                tracing::warn!(name = %self.name, "a computed value has too many tags to be stored");
                lead.uncacheable();
                return Ok(value);
            }
            Err(why) => {
                tracing::warn!(name = %self.name, cause = %why, "a computed value cannot be stored");
                lead.uncacheable();
                return Ok(value);
            }
        };
        if self.distrusts(target, &found) {
            lead.uncacheable();
            return Ok(value);
        }
        let storing = Storing {
            opened: self.opened.clone(),
            target: Arc::clone(target),
            key: self.key.clone(),
            name: self.name.clone(),
            is_plain: !self.is_tagged() && found.is_empty(),
            answer: answer(encoding::with_tags(&found, encoded), started.elapsed()),
            found,
            expiry,
        };
        // In a task of its own: a caller that is cancelled has computed all the same.
        let winner = tokio::spawn(storing.land(lead)).await.ok().flatten();
        let winner = winner.and_then(|stored| self.read_plain(stored));
        Ok(winner.unwrap_or(value))
    }
}

/// Names a value in the local tier: no request's form begins like this.
fn memory_key(target: &Target) -> Vec<u8> {
    [b"=", target.id.as_bytes().as_slice()].concat()
}

/// An encoded value as the body of an answer, which is what entries are made of.
fn answer(body: Bytes, took: Duration) -> Answer {
    Answer {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body,
        created: SystemTime::now(),
        took,
        encoded: Vec::new(),
    }
}
