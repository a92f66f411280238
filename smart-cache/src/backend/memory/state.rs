//! What the memory backend keeps, and the steps that change it; each under the backend's lock.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use quick_cache::{DefaultHashBuilder, Lifecycle};

use super::holds::Holds;
use super::values::Values;
use crate::backend::{Payload, Reclaimed};
use crate::entry::EntryId;
use crate::protocol::{Digest, Nonce, Target};

/// A minted token that no store has made permanent lives this long.
pub(super) const UNUSED_TOKEN_LIFE: Duration = Duration::from_secs(3600);
/// Keys whose freed entries are remembered until somebody asks.
const MOST_FREED: usize = 1_000;
/// What an entry or token costs besides its bytes: map slots, allocations, list links.
const OVERHEAD: u64 = 200;

#[derive(Debug)]
pub(super) struct State {
    pub(super) entries:
        quick_cache::unsync::Cache<EntryId, Arc<Kept>, Weights, DefaultHashBuilder, Gone>,
    pub(super) tokens: quick_cache::unsync::Cache<Arc<str>, Token, Weights>,
    /// The namespace's own token, which nothing evicts.
    pub(super) namespace: Token,
    /// Entry ids under a key; bounds the variants and finds what a clear can free. In order, so
    /// that a page of it can be shown without a look at the rest.
    pub(super) index: BTreeMap<Arc<str>, BTreeSet<EntryId>>,
    /// What clears have freed, until somebody asks; of some keys only.
    pub(super) freed: HashMap<String, Reclaimed>,
    /// The journal of clears, newest last.
    pub(super) notes: VecDeque<Bytes>,
    pub(super) leases: HashMap<EntryId, Granted>,
    /// Keys that open writes are about to change.
    pub(super) holds: Holds,
    /// Stamps are unique and never go back; a counter is all the clock that one process needs.
    pub(super) clock: u64,
    /// The plain values beside the entries.
    pub(super) values: Values,
}

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) nonce: Arc<[u8]>,
    pub(super) stamp: u64,
    pub(super) minted: Instant,
    /// Nonce and stamp as of the last clear, and when it was expired since.
    pub(super) origin: Option<Origin>,
    pub(super) expires: Option<Instant>,
}

/// What a token was before it was expired.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    nonce: Arc<[u8]>,
    stamp: u64,
    since: SystemTime,
}

/// What tokens say of an entry that they do not vouch for.
pub(super) enum Judgement {
    /// A clear has outlawed it.
    Cleared,
    /// It was only expired, and when.
    Expired(SystemTime),
}

#[derive(Debug)]
pub(super) struct Kept {
    pub(super) key: Arc<str>,
    pub(super) tags: Vec<Arc<str>>,
    pub(super) digest: Digest,
    /// Over the origins of all its tokens.
    pub(super) origins: Digest,
    /// The second digest, with the tags it is over.
    pub(super) dynamic: Option<(Digest, Vec<Arc<str>>)>,
    pub(super) payload: Payload,
    pub(super) expires: Option<Instant>,
    pub(super) stored: Instant,
}

#[derive(Debug)]
pub(super) struct Granted {
    pub(super) value: Bytes,
    pub(super) digest: Digest,
    /// The clock as of the ticket: a tag found later must not be younger.
    pub(super) stamp: u64,
    pub(super) began: Instant,
    pub(super) expires: Instant,
}

#[derive(Debug, Clone)]
pub(super) struct Weights;

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
pub(super) struct Gone;

impl Lifecycle<EntryId, Arc<Kept>> for Gone {
    type RequestState = Vec<(EntryId, Arc<Kept>)>;

    fn on_evict(&self, state: &mut Self::RequestState, id: EntryId, kept: Arc<Kept>) {
        state.push((id, kept));
    }
}

impl Kept {
    /// Everything that it depends on: the key, its tags, those that its handler had found.
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        let found = self.dynamic.iter().flat_map(|(_, tags)| tags);
        std::iter::once(&self.key).chain(&self.tags).chain(found)
    }
}

/// A token as it goes into a digest.
fn stamped(nonce: &[u8], stamp: u64) -> Vec<u8> {
    [nonce, &stamp.to_le_bytes()].concat()
}

impl State {
    /// A token that is there and has not expired.
    pub(super) fn token(&self, name: &str, now: Instant) -> Option<&Token> {
        self.tokens
            .get(name)
            .filter(|token| token.expires.is_none_or(|expires| expires > now))
    }

    pub(super) fn mint_if_missing(&mut self, name: &Arc<str>, nonce: &Nonce, now: Instant) {
        if self.token(name, now).is_none() {
            self.clock += 1;
            let expires = Some(now + UNUSED_TOKEN_LIFE);
            let token = Token {
                nonce: Arc::from(nonce.as_bytes()),
                stamp: self.clock,
                minted: now,
                origin: None,
                expires,
            };
            self.tokens.insert(Arc::clone(name), token);
        }
    }

    /// Makes what is stored under a token old, but not gone.
    pub(super) fn expire_token(&mut self, name: &str, nonce: &Nonce, now: Instant) {
        if self.token(name, now).is_none() {
            return;
        }
        self.clock += 1;
        let stamp = self.clock;
        if let Some(mut token) = self.tokens.get_mut(name) {
            let origin = token.origin.take().unwrap_or_else(|| Origin {
                nonce: Arc::clone(&token.nonce),
                stamp: token.stamp,
                since: SystemTime::UNIX_EPOCH,
            });
            token.origin = Some(Origin {
                since: SystemTime::now(),
                ..origin
            });
            token.nonce = Arc::from(nonce.as_bytes());
            (token.stamp, token.minted) = (stamp, now);
        }
    }

    /// The digest over the origins of tokens, and when one of them was expired last.
    pub(super) fn origins<'a>(
        &self,
        names: impl Iterator<Item = &'a Arc<str>>,
        now: Instant,
    ) -> Option<(Digest, Option<SystemTime>)> {
        let (mut origins, mut since) = (
            vec![stamped(&self.namespace.nonce, self.namespace.stamp)],
            None,
        );
        for name in names {
            let token = self.token(name, now)?;
            origins.push(match &token.origin {
                Some(origin) => stamped(&origin.nonce, origin.stamp),
                None => stamped(&token.nonce, token.stamp),
            });
            since = since.max(token.origin.as_ref().map(|origin| origin.since));
        }
        Some((Digest::of(origins.iter().map(Vec::as_slice)), since))
    }

    /// What became of an entry that is not current.
    pub(super) fn judge(&self, kept: &Kept, now: Instant) -> Judgement {
        if kept.expires.is_some_and(|expires| expires <= now) {
            return Judgement::Cleared;
        }
        match self.origins(kept.names(), now) {
            Some((origins, Some(since))) if origins == kept.origins => Judgement::Expired(since),
            _ => Judgement::Cleared,
        }
    }

    /// A store depends on the token now, so it must not expire before what it guards.
    pub(super) fn keep_token(&mut self, name: &str, until: Option<Instant>) {
        if let Some(mut token) = self.tokens.get_mut(name) {
            token.expires = match (token.expires, until) {
                (Some(expires), Some(until)) => Some(expires.max(until)),
                _ => None,
            };
        }
    }

    /// The digest of the tokens now; `None` when one is missing.
    pub(super) fn digest<'a>(
        &self,
        names: impl Iterator<Item = &'a Arc<str>>,
        now: Instant,
        with_namespace: bool,
    ) -> Option<Digest> {
        let mut tokens: Vec<Vec<u8>> = Vec::new();
        if with_namespace {
            tokens.push(stamped(&self.namespace.nonce, self.namespace.stamp));
        }
        for name in names {
            let token = self.token(name, now)?;
            tokens.push(stamped(&token.nonce, token.stamp));
        }
        Some(Digest::of(tokens.iter().map(Vec::as_slice)))
    }

    /// The entry, if it proves that it is current.
    pub(super) fn current(
        &self,
        target: &Target,
        digest: Option<Digest>,
        now: Instant,
    ) -> Option<&Arc<Kept>> {
        let kept = self.entries.get(&target.id)?;
        let alive = kept.expires.is_none_or(|expires| expires > now) && digest == Some(kept.digest);
        let found = kept
            .dynamic
            .as_ref()
            .is_none_or(|(second, tags)| self.digest(tags.iter(), now, false) == Some(*second));
        (alive && found).then_some(kept)
    }

    /// Removes every entry that a clear has outlawed; how many there were.
    pub(super) fn sweep(&mut self, now: Instant) -> u64 {
        let dead: Vec<(EntryId, Arc<str>)> = self
            .entries
            .iter()
            .filter(|(_, kept)| {
                !self.is_current(kept, now) && matches!(self.judge(kept, now), Judgement::Cleared)
            })
            .map(|(id, kept)| (*id, Arc::clone(&kept.key)))
            .collect();
        for (id, key) in &dead {
            self.entries.remove(id);
            self.forget(key, *id);
        }
        dead.len() as u64
    }

    /// Whether the tokens that an entry was stored with are those of now.
    pub(super) fn is_current(&self, kept: &Kept, now: Instant) -> bool {
        let names = std::iter::once(&kept.key).chain(&kept.tags);
        let found = kept
            .dynamic
            .as_ref()
            .is_none_or(|(second, tags)| self.digest(tags.iter(), now, false) == Some(*second));
        kept.expires.is_none_or(|expires| expires > now)
            && self.digest(names, now, true) == Some(kept.digest)
            && found
    }

    pub(super) fn insert(&mut self, id: EntryId, kept: Kept, max_variants: usize) {
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
        // What this one has taken the place of is told too, and is still in the index.
        for (gone, kept) in evicted.into_iter().filter(|(gone, _)| *gone != id) {
            self.forget(&kept.key, gone);
        }
    }

    /// Remembers what a clear of a key has freed.
    pub(super) fn note_freed(&mut self, key: &str, freed: Reclaimed) {
        if self.freed.len() < MOST_FREED || self.freed.contains_key(key) {
            self.freed.insert(key.to_owned(), freed);
        }
    }

    /// What clears of these keys have freed since it was asked last.
    pub(super) fn take_freed(&mut self, keys: &[String]) -> Reclaimed {
        let mut all = Reclaimed::default();
        for freed in keys.iter().filter_map(|key| self.freed.remove(key)) {
            all.entries += freed.entries;
            all.lived = all.lived.saturating_add(freed.lived);
            all.longest = all.longest.max(freed.longest);
        }
        all
    }

    pub(super) fn forget(&mut self, key: &Arc<str>, id: EntryId) {
        if let Some(ids) = self.index.get_mut(key) {
            ids.remove(&id);
            if ids.is_empty() {
                self.index.remove(key);
            }
        }
    }
}
