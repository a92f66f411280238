//! What would become of a request for an entry: its digests against the tokens of now.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use redis::Value;

use crate::backend::redis::RedisBackend;
use crate::backend::redis::lookup::{DIGESTS, NO_DYNAMIC, Origins};
use crate::backend::redis::reply::{Tokens, array, belongs_to, digest, integer};
use crate::backend::redis::up::Up;
use crate::codec::{Head, Summary};
use crate::entry::EntryId;
use crate::error::BackendError;
use crate::inspect::{EntryState, TokenState, TokenView, epoch_millis};

/// The first bytes of a stored entry.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) id: EntryId,
    pub(super) bytes: Bytes,
    /// Of the whole entry.
    pub(super) length: u64,
    pub(super) ttl: Option<Duration>,
    pub(super) head: Option<Head>,
}

impl Start {
    pub(super) fn new(
        id: EntryId,
        bytes: Bytes,
        length: Option<&Value>,
        ttl: Option<&Value>,
    ) -> Self {
        let head = bytes
            .get(DIGESTS + 1..)
            .and_then(|payload| Some(Head::read(payload)?.0));
        let ttl = integer(ttl).and_then(|ttl| u64::try_from(ttl).ok());
        Self {
            id,
            length: integer(length).map_or(bytes.len() as u64, i64::unsigned_abs),
            bytes,
            ttl: ttl.map(Duration::from_millis),
            head,
        }
    }

    /// Head and record, as far as they were read.
    pub(super) fn payload(&self) -> Option<&[u8]> {
        self.bytes.get(DIGESTS + 1..)
    }
}

/// The tokens of now, of everything that some entries depend on.
#[derive(Debug)]
pub(super) struct Judge {
    namespace: Value,
    tokens: HashMap<Arc<str>, Value>,
    server: Arc<str>,
    settle: Duration,
}

impl Judge {
    pub(super) async fn of(
        backend: &RedisBackend,
        up: &Up,
        starts: &[Start],
    ) -> Result<Self, BackendError> {
        let heads = starts.iter().filter_map(|start| start.head.as_ref());
        let mut names: Vec<Arc<str>> = heads.flat_map(names_of).cloned().collect();
        names.sort_unstable();
        names.dedup();
        let mut mget = redis::cmd("MGET");
        mget.arg(backend.names().namespace_token());
        for name in &names {
            mget.arg(backend.names().token(name));
        }
        let mut tokens = array(up.call(&mget, up.deadline()).await?)?.into_iter();
        Ok(Self {
            namespace: tokens.next().unwrap_or(Value::Nil),
            tokens: names.into_iter().zip(tokens).collect(),
            server: up.id(),
            settle: backend.core.shared.options.settle,
        })
    }

    fn token(&self, name: &Arc<str>) -> &Value {
        self.tokens.get(name).unwrap_or(&Value::Nil)
    }

    pub(super) fn state(&self, start: &Start, summary: &Summary) -> EntryState {
        let Some(head) = &start.head else {
            return EntryState::Unreadable;
        };
        let statics = || {
            let names = std::iter::once(&head.key).chain(&head.tags);
            std::iter::once(&self.namespace).chain(names.map(|name| self.token(name)))
        };
        let found = || head.dynamic.iter().map(|name| self.token(name));
        let (first, second) = (&start.bytes[..40], &start.bytes[40..80]);
        let mut origins = Origins::default();
        let tokens = match Tokens::read(statics()) {
            Tokens::Held => return EntryState::Held,
            Tokens::Missing => return EntryState::Dead,
            Tokens::Whole(tokens) => tokens,
        };
        if !belongs_to(tokens[0], &self.server) {
            return EntryState::Dead;
        }
        let mut is_current = digest(&tokens).as_bytes() == first;
        origins.extend(&tokens);
        if second != NO_DYNAMIC {
            match Tokens::read(found()) {
                Tokens::Held => return EntryState::Held,
                Tokens::Missing => return EntryState::Dead,
                Tokens::Whole(tokens) => {
                    is_current &= digest(&tokens).as_bytes() == second;
                    origins.extend(&tokens);
                }
            }
        }
        if !is_current {
            return match origins.spare(&start.bytes) {
                Some(_) => EntryState::Expired,
                None => EntryState::Dead,
            };
        }
        // An entry that settles lives no longer than that, and its handler began while its newest
        // token was as young.
        let newest = statics().chain(found()).filter_map(stamp).max();
        let began = epoch_millis(summary.created).saturating_sub(summary.took.as_millis() as u64);
        let settle = self.settle.as_millis() as u64;
        let is_young = newest.is_some_and(|newest| began.saturating_sub(newest / 1000) <= settle);
        match start.ttl {
            Some(ttl) if is_young && ttl <= self.settle => EntryState::Settling,
            _ => EntryState::Current,
        }
    }

    /// Everything that an entry depends on.
    pub(super) fn tokens(&self, start: &Start) -> Vec<TokenView> {
        let view = |name: &str, found: bool, token: &Value| TokenView {
            name: name.to_owned(),
            found,
            state: TokenState::read(Some(token)),
            minted: minted(token),
        };
        let mut views = vec![view("", false, &self.namespace)];
        if let Some(head) = &start.head {
            let statics = std::iter::once(&head.key).chain(&head.tags);
            views.extend(statics.map(|name| view(name, false, self.token(name))));
            let found = head.dynamic.iter();
            views.extend(found.map(|name| view(name, true, self.token(name))));
        }
        views
    }
}

fn names_of(head: &Head) -> impl Iterator<Item = &Arc<str>> {
    std::iter::once(&head.key)
        .chain(&head.tags)
        .chain(&head.dynamic)
}

/// When a token was minted: microseconds of the server's clock behind its last colon.
fn stamp(token: &Value) -> Option<u64> {
    let Value::BulkString(token) = token else {
        return None;
    };
    // One that was expired has its origin behind the stamp.
    let token = token.split(|byte| *byte == b'~').next()?;
    let digits = token.rsplit(|byte| *byte == b':').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// When a token was minted, as a time.
fn minted(token: &Value) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_micros(stamp(token)?))
}
