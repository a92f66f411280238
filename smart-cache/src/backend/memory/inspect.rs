//! Lists what this process keeps; each page under one short lock.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::MemoryBackend;
use super::state::{Judgement, Kept, State, Token};
use crate::backend::{BoxFuture, is_glob, matches_glob};
use crate::codec;
use crate::entry::EntryId;
use crate::error::BackendError;
use crate::inspect::clears::MOST_KEPT;
use crate::inspect::{
    EntryLine, EntryPage, EntryState, EntryView, Facts, Inspect, KeyLine, KeyPage, TokenState,
    TokenView,
};

/// Stands for the build: memory never holds another one's entries.
const VERSION: &str = "memory";
/// Keys that one page looks at: the lock is held meanwhile.
const MOST_LOOKED_AT: usize = 10_000;

impl Inspect for MemoryBackend {
    fn keys<'a>(
        &'a self,
        glob: &'a str,
        from: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, Result<KeyPage, BackendError>> {
        Box::pin(async move { Ok(self.lock().key_page(glob, from, most)) })
    }

    fn entries<'a>(
        &'a self,
        key: &'a str,
        from: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, Result<EntryPage, BackendError>> {
        Box::pin(async move {
            let from = match from {
                Some(id) => Bound::Excluded(EntryId::parse(id).ok_or_else(|| not_ours(id))?),
                None => Bound::Unbounded,
            };
            let (now, state) = (Instant::now(), self.lock());
            let none = BTreeSet::new();
            let ids = state.index.get(key).unwrap_or(&none);
            let mut rest = ids.range((from, Bound::Unbounded));
            let page: Vec<EntryId> = rest.by_ref().take(most.max(1)).copied().collect();
            let next = rest.next().and(page.last()).map(EntryId::hex);
            let kept = |id: &EntryId| Some((*id, state.entries.get(id)?));
            let line = |(id, kept): (EntryId, &Arc<Kept>)| self.line(&state, id, kept, now);
            Ok(EntryPage {
                entries: page.iter().filter_map(kept).map(line).collect(),
                next,
            })
        })
    }

    fn entry<'a>(
        &'a self,
        _: &'a str,
        id: EntryId,
    ) -> BoxFuture<'a, Result<Option<EntryView>, BackendError>> {
        Box::pin(async move {
            let (now, state) = (Instant::now(), self.lock());
            let Some(kept) = state.entries.get(&id) else {
                return Ok(None);
            };
            let answer = codec::decode(id, &kept.payload);
            let headers = answer.iter().flat_map(|answer| &answer.headers);
            let text =
                |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            Ok(Some(EntryView {
                line: self.line(&state, id, kept, now),
                key: kept.key.to_string(),
                tokens: state.token_views(kept, now),
                headers: headers
                    .map(|(name, value)| (name.to_string(), text(value)))
                    .collect(),
                body: answer.map(|answer| answer.body).unwrap_or_default(),
            }))
        })
    }

    fn version(&self) -> &str {
        VERSION
    }

    fn facts(&self) -> BoxFuture<'_, Result<Facts, BackendError>> {
        Box::pin(async move {
            let began = Instant::now();
            let state = self.lock();
            Ok(Facts {
                kind: "memory",
                version: VERSION.to_owned(),
                used_memory: Some(state.entries.weight() + state.tokens.weight()),
                max_memory: Some(self.capacity),
                eviction: Some("least recently used".to_owned()),
                names: Some((state.entries.len() + state.tokens.len()) as u64),
                namespace_token: Some(TokenState::Valid),
                round_trip: began.elapsed(),
                ..Facts::default()
            })
        })
    }

    fn report<'a>(&'a self, _: &'a str, _: Vec<u8>) -> BoxFuture<'a, Result<(), BackendError>> {
        // No other process could read it.
        Box::pin(async { Ok(()) })
    }

    fn reports(&self) -> BoxFuture<'_, Result<Vec<Bytes>, BackendError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn note(&self, notes: Vec<Vec<u8>>) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async move {
            let journal = &mut self.lock().notes;
            journal.extend(notes.into_iter().map(Bytes::from));
            let excess = journal.len().saturating_sub(MOST_KEPT);
            journal.drain(..excess);
            Ok(())
        })
    }

    fn notes(&self) -> BoxFuture<'_, Result<Vec<Bytes>, BackendError>> {
        Box::pin(async move { Ok(self.lock().notes.iter().rev().cloned().collect()) })
    }
}

impl MemoryBackend {
    fn line(&self, state: &State, id: EntryId, kept: &Kept, now: Instant) -> EntryLine {
        let summary = codec::summary(&kept.payload);
        let entry_state = match &summary {
            None => EntryState::Unreadable,
            Some(_) if !state.is_current(kept, now) => match state.judge(kept, now) {
                Judgement::Expired(_) => EntryState::Expired,
                Judgement::Cleared => EntryState::Dead,
            },
            // What settles lives no longer than that.
            Some(_) if self.settles(state, kept, now) => EntryState::Settling,
            Some(_) => EntryState::Current,
        };
        let (status, request, created, took) = match summary {
            Some(summary) => (
                Some(summary.status),
                summary.request,
                Some(summary.created),
                summary.took,
            ),
            None => (None, String::new(), None, Duration::ZERO),
        };
        EntryLine {
            id,
            version: VERSION.to_owned(),
            state: entry_state,
            bytes: kept.payload.len() as u64,
            ttl: kept.expires.map(|end| end.saturating_duration_since(now)),
            status,
            request,
            created,
            took,
        }
    }

    fn settles(&self, state: &State, kept: &Kept, now: Instant) -> bool {
        let Some(left) = kept.expires.map(|end| end.saturating_duration_since(now)) else {
            return false;
        };
        let names = std::iter::once(&kept.key).chain(&kept.tags);
        let minted = names
            .filter_map(|name| state.token(name, now))
            .map(|token| token.minted)
            .chain([state.namespace.minted])
            .max();
        // It began while its newest token was as young, and has been there for less than that.
        left <= self.settle
            && minted.is_some_and(|at| now.saturating_duration_since(at) <= self.settle * 2)
    }
}

impl State {
    fn key_page(&self, glob: &str, from: Option<&str>, most: usize) -> KeyPage {
        let line = |key: &Arc<str>, entries: &BTreeSet<EntryId>| KeyLine {
            key: key.to_string(),
            version: VERSION.to_owned(),
            own: true,
            entries: entries.len() as u64,
            token: token_state(self.token(key, Instant::now())),
        };
        let names = Some(self.index.len() as u64);
        if from.is_none() && !is_glob(glob) {
            let found = self.index.get_key_value(glob);
            return KeyPage {
                keys: found.map(|(key, ids)| line(key, ids)).into_iter().collect(),
                next: None,
                looked_at: 1,
                names,
            };
        }
        let from = from.map_or(Bound::Unbounded, Bound::Excluded);
        let mut page = KeyPage {
            names,
            ..KeyPage::default()
        };
        for (key, ids) in self.index.range::<str, _>((from, Bound::Unbounded)) {
            if page.keys.len() >= most.max(1) || page.looked_at >= MOST_LOOKED_AT as u64 {
                // Where the next page begins: behind the last one that was looked at.
                return page;
            }
            page.looked_at += 1;
            page.next = Some(key.to_string());
            if matches_glob(glob, key) {
                page.keys.push(line(key, ids));
            }
        }
        page.next = None;
        page
    }

    fn token_views(&self, kept: &Kept, now: Instant) -> Vec<TokenView> {
        let view = |name: &str, found: bool, token: Option<&Token>| TokenView {
            name: name.to_owned(),
            found,
            state: token_state(token),
            minted: token.and_then(|token| SystemTime::now().checked_sub(now - token.minted)),
        };
        let mut views = vec![view("", false, Some(&self.namespace))];
        let statics = std::iter::once(&kept.key).chain(&kept.tags);
        views.extend(statics.map(|name| view(name, false, self.token(name, now))));
        let found = kept.dynamic.iter().flat_map(|(_, tags)| tags);
        views.extend(found.map(|name| view(name, true, self.token(name, now))));
        views
    }
}

fn token_state(token: Option<&Token>) -> TokenState {
    token.map_or(TokenState::Missing, |_| TokenState::Valid)
}

fn not_ours(from: &str) -> BackendError {
    BackendError::Protocol(format!("{from:?} is no place in this walk: begin it anew").into())
}
