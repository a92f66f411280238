//! Lists what the namespace holds: by SCAN and SSCAN in small steps, never by KEYS, and never more
//! than a page of it in memory.
//!
//! Over 400 lines: the trait has many views, and each is a walk of its own.

mod facts;
mod judge;
mod reports;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::Value;

use self::judge::{Judge, Start};
use super::caretaker::builds;
use super::reply::{array, bytes, integer};
use super::up::Up;
use super::{RedisBackend, lookup::DIGESTS};
use crate::backend::{BoxFuture, is_glob, matches_glob};
use crate::codec::{self, Head};
use crate::entry::EntryId;
use crate::error::BackendError;
use crate::inspect::{
    EntryLine, EntryPage, EntryState, EntryView, Facts, Inspect, KeyLine, KeyPage, TokenState,
};

/// Names of one SCAN step: the first ones, so that a page of a dense namespace is not much longer
/// than asked for, and the most, when little is found.
const FIRST_STEP: usize = 100;
const LARGEST_STEP: usize = 5000;
/// A page of a search ends after this, also when it has found little.
const LONGEST_SEARCH: Duration = Duration::from_millis(400);
/// Enough of an entry for its head, its headers, and what was asked.
const USUAL_START: usize = 4 << 10;
/// A thousand tags and hundreds of headers.
const LONGEST_START: usize = 1 << 20;
/// What one look at an entry reads of it: the body of a larger one is shown in part.
const LONGEST_ENTRY: usize = 16 << 20;
/// Most entries of one page: their beginnings are in memory at once.
const MOST_ENTRIES: usize = 1000;

impl Inspect for RedisBackend {
    fn keys<'a>(
        &'a self,
        glob: &'a str,
        from: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, Result<KeyPage, BackendError>> {
        Box::pin(async move {
            let (up, _) = self.up().await?;
            // A key without glob characters needs no search.
            if from.is_none() && !is_glob(glob) {
                let names = self.index_names(&up, glob).await?;
                let keys = self.key_lines(&up, names).await?;
                return Ok(KeyPage {
                    looked_at: keys.len() as u64,
                    keys,
                    ..KeyPage::default()
                });
            }
            self.search(&up, glob, from.unwrap_or("0"), most).await
        })
    }

    fn entries<'a>(
        &'a self,
        key: &'a str,
        from: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, Result<EntryPage, BackendError>> {
        Box::pin(async move {
            let (up, _) = self.up().await?;
            let versions = self.versions(&up).await?;
            // Where the walk is: a build, and a place in its index.
            let (version, cursor) = match from {
                Some(from) => from.split_once(' ').ok_or_else(|| not_ours(from))?,
                None => (self.names().version(), "0"),
            };
            let names = self.names().of_version(version);
            let mut sscan = redis::cmd("SSCAN");
            sscan
                .arg(names.index(key))
                .arg(cursor)
                .arg("COUNT")
                .arg(most.clamp(1, MOST_ENTRIES));
            let (next, members) = step(up.call(&sscan, up.deadline()).await?)?;
            let ids: Vec<EntryId> = members
                .iter()
                .take(MOST_ENTRIES)
                .filter_map(|id| EntryId::parse(std::str::from_utf8(id).ok()?))
                .collect();
            let entries = self.entry_lines(&up, version, &ids).await?;
            let next = if next == "0" {
                let at = versions.iter().position(|known| known == version);
                let behind = versions.get(at.map_or(versions.len(), |at| at + 1));
                behind.map(|version| format!("{version} 0"))
            } else {
                Some(format!("{version} {next}"))
            };
            Ok(EntryPage { entries, next })
        })
    }

    fn entry<'a>(
        &'a self,
        version: &'a str,
        id: EntryId,
    ) -> BoxFuture<'a, Result<Option<EntryView>, BackendError>> {
        Box::pin(async move {
            let (up, _) = self.up().await?;
            let Some(start) = self.starts(&up, version, &[id], LONGEST_ENTRY).await?.pop() else {
                return Ok(None);
            };
            let judge = Judge::of(self, &up, std::slice::from_ref(&start)).await?;
            Ok(Some(view(version, id, &start, &judge)))
        })
    }

    fn version(&self) -> &str {
        self.names().version()
    }

    fn facts(&self) -> BoxFuture<'_, Result<Facts, BackendError>> {
        Box::pin(facts::read(self))
    }

    fn report<'a>(
        &'a self,
        process: &'a str,
        report: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(reports::put(self, process, report))
    }

    fn reports(&self) -> BoxFuture<'_, Result<Vec<Bytes>, BackendError>> {
        Box::pin(reports::all(self))
    }

    fn note(&self, notes: Vec<Vec<u8>>) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(reports::note(self, notes))
    }

    fn notes(&self) -> BoxFuture<'_, Result<Vec<Bytes>, BackendError>> {
        Box::pin(reports::notes(self))
    }
}

impl RedisBackend {
    /// The builds that may have entries, this one first.
    async fn versions(&self, up: &Up) -> Result<Vec<String>, BackendError> {
        let own = self.names().version().to_owned();
        let known = builds(&self.core.shared, up).await?;
        let mut others: Vec<String> = known.into_keys().filter(|known| *known != own).collect();
        others.sort_unstable();
        others.insert(0, own);
        Ok(others)
    }

    /// The indexes of one key, as (build, name of the key).
    async fn index_names(&self, up: &Up, key: &str) -> Result<Vec<(String, String)>, BackendError> {
        let name = crate::protocol::token_name(key).into_owned();
        let versions = self.versions(up).await?;
        Ok(versions
            .into_iter()
            .map(|version| (version, name.clone()))
            .collect())
    }

    async fn search(
        &self,
        up: &Up,
        glob: &str,
        from: &str,
        most: usize,
    ) -> Result<KeyPage, BackendError> {
        let cursor_ok = !from.is_empty() && from.bytes().all(|digit| digit.is_ascii_digit());
        if !cursor_ok {
            return Err(not_ours(from));
        }
        // The build stands between, so the server's match is only a sieve.
        let pattern = self.names().pattern_of("n:*:", glob);
        let began = Instant::now();
        let (mut cursor, mut size, mut looked_at) = (from.to_owned(), FIRST_STEP, 0);
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let next = loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&cursor)
                .arg("MATCH")
                .arg(&pattern)
                .arg("COUNT")
                .arg(size);
            let (next, names) = step(up.call(&scan, up.deadline()).await?)?;
            looked_at += size as u64;
            let before = found.len();
            for name in names {
                let Some((version, key)) = self.names().split("n:", &name) else {
                    continue;
                };
                let Ok(key) = std::str::from_utf8(key) else {
                    continue;
                };
                // Long keys go by their hash: which key it is shows only when it is read.
                if key.starts_with('#') || matches_glob(glob, key) {
                    let line = (version.to_owned(), key.to_owned());
                    if seen.insert(line.clone()) {
                        found.push(line);
                    }
                }
            }
            if next == "0" {
                break None;
            }
            cursor = next;
            if found.len() >= most || began.elapsed() > LONGEST_SEARCH {
                break Some(cursor);
            }
            if found.len() - before < size / 8 {
                size = (size * 2).min(LARGEST_STEP);
            }
        };
        let mut keys = self.key_lines(up, found).await?;
        keys.retain(|line| matches_glob(glob, &line.key));
        let names = integer(Some(&up.call(&redis::cmd("DBSIZE"), up.deadline()).await?));
        Ok(KeyPage {
            keys,
            next,
            looked_at,
            names: names.and_then(|names| u64::try_from(names).ok()),
        })
    }

    /// Lines of those that have entries.
    pub(super) async fn key_lines(
        &self,
        up: &Up,
        found: Vec<(String, String)>,
    ) -> Result<Vec<KeyLine>, BackendError> {
        let mut asked = redis::pipe();
        for (version, name) in &found {
            asked
                .cmd("SCARD")
                .arg(self.names().of_version(version).named_index(name));
            asked.cmd("GET").arg(self.names().named_token(name));
        }
        let answers = answers(up, &asked).await?;
        let mut lines = Vec::with_capacity(found.len());
        for ((version, name), answer) in found.into_iter().zip(answers.chunks_exact(2)) {
            // Something of another type in its place, or nothing.
            let Some(entries) = integer(answer.first()).filter(|entries| *entries > 0) else {
                continue;
            };
            let Some(key) = self.key_of(up, &version, &name).await? else {
                continue;
            };
            lines.push(KeyLine {
                key,
                own: version == self.names().version(),
                version,
                entries: entries.unsigned_abs(),
                token: TokenState::read(answer.get(1)),
            });
        }
        Ok(lines)
    }

    /// The key that has this name: the same, except for long keys, whose entries know it.
    async fn key_of(
        &self,
        up: &Up,
        version: &str,
        name: &str,
    ) -> Result<Option<String>, BackendError> {
        let Some(hash) = name.strip_prefix('#') else {
            return Ok(Some(name.to_owned()));
        };
        if hash.starts_with('#') {
            return Ok(Some(hash.to_owned()));
        }
        let mut any = redis::cmd("SRANDMEMBER");
        any.arg(self.names().of_version(version).named_index(name));
        let Value::BulkString(id) = up.call(&any, up.deadline()).await? else {
            return Ok(None);
        };
        let Some(id) = std::str::from_utf8(&id).ok().and_then(EntryId::parse) else {
            return Ok(None);
        };
        let start = self.starts(up, version, &[id], LONGEST_START).await?.pop();
        let head = start.and_then(|start| start.head);
        Ok(head.map(|head| head.key.to_string()))
    }

    /// The beginnings of entries; those that are gone are left out.
    async fn starts(
        &self,
        up: &Up,
        version: &str,
        ids: &[EntryId],
        length: usize,
    ) -> Result<Vec<Start>, BackendError> {
        let names = self.names().of_version(version);
        let mut asked = redis::pipe();
        for id in ids {
            let entry = names.entry(*id);
            asked.cmd("GETRANGE").arg(&entry).arg(0).arg(length - 1);
            asked.cmd("STRLEN").arg(&entry);
            asked.cmd("PTTL").arg(&entry);
        }
        let answers = answers(up, &asked).await?;
        let mut starts = Vec::with_capacity(ids.len());
        let mut answers = answers.into_iter();
        for id in ids {
            let (start, length, ttl) = (answers.next(), answers.next(), answers.next());
            let start = bytes(start).unwrap_or_default();
            if start.is_empty() {
                continue;
            }
            starts.push(Start::new(*id, start, length.as_ref(), ttl.as_ref()));
        }
        Ok(starts)
    }

    async fn entry_lines(
        &self,
        up: &Up,
        version: &str,
        ids: &[EntryId],
    ) -> Result<Vec<EntryLine>, BackendError> {
        let mut starts = self.starts(up, version, ids, USUAL_START).await?;
        for start in &mut starts {
            let is_cut = start.bytes.len() == USUAL_START;
            if is_cut && codec::summary(&start.bytes[DIGESTS + 1..]).is_none() {
                let mut longer = self.starts(up, version, &[start.id], LONGEST_START).await?;
                if let Some(longer) = longer.pop() {
                    *start = longer;
                }
            }
        }
        let judge = Judge::of(self, up, &starts).await?;
        Ok(starts
            .iter()
            .map(|start| line(version, start, &judge))
            .collect())
    }
}

fn line(version: &str, start: &Start, judge: &Judge) -> EntryLine {
    let summary = start.payload().and_then(codec::summary);
    let state = match &summary {
        Some(summary) => judge.state(start, summary),
        None => EntryState::Unreadable,
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
        id: start.id,
        version: version.to_owned(),
        state,
        bytes: start.length,
        ttl: start.ttl,
        status,
        request,
        created,
        took,
    }
}

fn view(version: &str, id: EntryId, start: &Start, judge: &Judge) -> EntryView {
    let mut line = line(version, start, judge);
    let payload = start
        .payload()
        .map_or_else(Bytes::new, |payload| start.bytes.slice_ref(payload));
    let answer = codec::decode(id, &payload);
    let is_whole = start.bytes.len() as u64 == start.length;
    if answer.is_none() && is_whole {
        line.state = EntryState::Unreadable;
    }
    let headers = answer.iter().flat_map(|answer| &answer.headers);
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    EntryView {
        key: start
            .head
            .as_ref()
            .map(|head: &Head| head.key.to_string())
            .unwrap_or_default(),
        tokens: judge.tokens(start),
        headers: headers
            .map(|(name, value)| (name.to_string(), text(value)))
            .collect(),
        body: answer.map(|answer| answer.body).unwrap_or_default(),
        line,
    }
}

/// Sends several commands at once; what is refused is nothing.
async fn answers(up: &Up, asked: &redis::Pipeline) -> Result<Vec<Value>, BackendError> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let answers = up.pipeline(asked, up.deadline()).await?;
    Ok(answers
        .into_iter()
        .map(|answer| answer.unwrap_or(Value::Nil))
        .collect())
}

/// The next cursor and what one step of a walk has found.
fn step(reply: Value) -> Result<(String, Vec<Bytes>), BackendError> {
    let mut reply = array(reply)?.into_iter();
    let cursor = String::from_utf8_lossy(&bytes(reply.next())?).into_owned();
    let found = array(reply.next().unwrap_or(Value::Array(Vec::new())))?;
    let found: Result<_, _> = found.into_iter().map(|value| bytes(Some(value))).collect();
    Ok((cursor, found?))
}

fn not_ours(from: &str) -> BackendError {
    BackendError::Protocol(format!("{from:?} is no place in this walk: begin it anew").into())
}

impl TokenState {
    /// What an answer of GET or MGET says of a token.
    fn read(answer: Option<&Value>) -> Self {
        match answer {
            Some(Value::BulkString(token)) if token == b"!" => Self::Held,
            Some(Value::BulkString(_)) => Self::Valid,
            _ => Self::Missing,
        }
    }
}
