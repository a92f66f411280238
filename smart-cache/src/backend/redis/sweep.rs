//! Frees what clears, expiry and forgotten builds have left behind.
//!
//! Decides nothing: it reads heads, and a small script compares and unlinks.

use std::time::{Duration, SystemTime};

use redis::Value;

use super::caretaker::{Build, builds, now};
use super::lookup::DIGESTS;
use super::reply::{array, bytes, integer};
use super::up::Up;
use super::{Shared, scripts};
use crate::backend::Reclaimed;
use crate::codec::{self, Head};
use crate::entry::EntryId;
use crate::error::BackendError;

/// Names of one SCAN step, and the pause behind it: the server stays free for requests.
const STEP: usize = 200;
const STEP_PAUSE: Duration = Duration::from_millis(10);
/// Enough of an entry to hold the digests and nearly every head.
const HEAD_BYTES: usize = 512;
/// A thousand tags of a kilobyte each.
const LONGEST_HEAD: usize = 1 << 20;

/// Frees the entries under a key that was cleared.
pub(super) async fn reclaim(
    shared: &Shared,
    up: &Up,
    key: &str,
    freed: &mut Reclaimed,
) -> Result<(), BackendError> {
    let index = shared.names.index(key);
    let mut members = Walk::members(index.as_bytes());
    while let Some(ids) = members.step(up).await? {
        for id in ids {
            let Some(id) = EntryId::parse(&String::from_utf8_lossy(&id)) else {
                continue;
            };
            let lived = reap(shared, up, shared.names.version(), id, &index).await?;
            if let Some(lived) = lived {
                freed.add(lived);
            }
        }
    }
    Ok(())
}

/// Walks the namespace once; how many entries it removed.
pub(super) async fn sweep(shared: &Shared, up: &Up) -> Result<u64, BackendError> {
    let builds = builds(shared, up).await?;
    let mut removed = 0;
    // A table without this very build has been evicted, and says nothing of the others either.
    let is_whole = builds.contains_key(shared.names.version());
    let is_live = |version: &str| {
        let is_own = version == shared.names.version();
        is_own || !is_whole || builds.get(version).is_some_and(Build::is_recent)
    };
    let mut entries = Walk::names(shared.names.pattern("e:"));
    while let Some(names) = entries.step(up).await? {
        for name in names {
            let Some((version, id)) = shared.names.split("e:", &name) else {
                continue;
            };
            let Some(id) = std::str::from_utf8(id).ok().and_then(EntryId::parse) else {
                continue;
            };
            let gone = if is_live(version) {
                reap(shared, up, version, id, "").await?.is_some()
            } else {
                unlink(up, &name).await?
            };
            removed += u64::from(gone);
        }
    }
    let mut indexes = Walk::names(shared.names.pattern("n:"));
    while let Some(names) = indexes.step(up).await? {
        for name in names {
            let Some((version, _)) = shared.names.split("n:", &name) else {
                continue;
            };
            if is_live(version) {
                forget_expired(shared, up, version, &name).await?;
            } else {
                unlink(up, &name).await?;
            }
        }
    }
    for (version, _) in builds.iter().filter(|(_, build)| !build.is_recent()) {
        let mut hdel = redis::cmd("HDEL");
        hdel.arg(shared.names.builds()).arg(version);
        up.call(&hdel, up.deadline()).await?;
        let first = shared.names.of_version(version).first_of_version();
        unlink(up, first.as_bytes()).await?;
    }
    let mut note = redis::cmd("SET");
    note.arg(shared.names.swept())
        .arg(format!("{} {removed}", now()));
    up.call(&note, up.deadline()).await?;
    Ok(removed)
}

/// Unlinks one entry if its tokens are no longer those of its digests; then, how long it had lived,
/// as far as that can be told.
async fn reap(
    shared: &Shared,
    up: &Up,
    version: &str,
    id: EntryId,
    index: &str,
) -> Result<Option<Duration>, BackendError> {
    let names = shared.names.of_version(version);
    let entry = names.entry(id);
    let start = match read_start(up, &entry, HEAD_BYTES).await {
        // A head with very long names.
        Ok(start) if start.len() == HEAD_BYTES && Head::read(&start[DIGESTS + 1..]).is_none() => {
            read_start(up, &entry, LONGEST_HEAD).await?
        }
        Ok(start) => start,
        // Something of another type stands in our place: not ours to remove.
        Err(BackendError::Refused(_)) => return Ok(None),
        Err(why) => return Err(why),
    };
    if start.is_empty() {
        // Expired or evicted: only the index still knows it.
        if !index.is_empty() {
            let mut srem = redis::cmd("SREM");
            srem.arg(index).arg(id.hex());
            up.call(&srem, up.deadline()).await?;
        }
        return Ok(None);
    }
    let Some((head, _)) = start.get(DIGESTS + 1..).and_then(Head::read) else {
        // Damaged: the next lookup finds that out and discards it.
        return Ok(None);
    };
    let mut call = scripts::REAP.prepare_invoke();
    call.key(&entry)
        .key(names.index(&head.key))
        .key(names.namespace_token())
        .key(names.token(&head.key));
    for tag in head.tags.iter().chain(&head.dynamic) {
        call.key(names.token(tag));
    }
    call.arg(id.hex()).arg(&start[..DIGESTS]);
    let is_gone = integer(Some(&up.script(&call, up.deadline()).await?)) == Some(1);
    let created = codec::summary(&start[DIGESTS + 1..]).map(|summary| summary.created);
    let lived = created.and_then(|created| SystemTime::now().duration_since(created).ok());
    Ok(is_gone.then(|| lived.unwrap_or_default()))
}

/// The first bytes of an entry.
async fn read_start(up: &Up, entry: &str, length: usize) -> Result<bytes::Bytes, BackendError> {
    let mut range = redis::cmd("GETRANGE");
    range.arg(entry).arg(0).arg(length - 1);
    bytes(Some(up.call(&range, up.deadline()).await?))
}

/// Removes ids from an index whose entries are gone.
async fn forget_expired(
    shared: &Shared,
    up: &Up,
    version: &str,
    index: &[u8],
) -> Result<(), BackendError> {
    let names = shared.names.of_version(version);
    let mut members = Walk::members(index);
    while let Some(ids) = members.step(up).await? {
        for id in ids {
            let Some(parsed) = EntryId::parse(&String::from_utf8_lossy(&id)) else {
                continue;
            };
            let mut exists = redis::cmd("EXISTS");
            exists.arg(names.entry(parsed));
            if integer(Some(&up.call(&exists, up.deadline()).await?)) == Some(0) {
                let mut srem = redis::cmd("SREM");
                srem.arg(index).arg(&id);
                up.call(&srem, up.deadline()).await?;
            }
        }
    }
    Ok(())
}

async fn unlink(up: &Up, name: &[u8]) -> Result<bool, BackendError> {
    let mut unlink = redis::cmd("UNLINK");
    unlink.arg(name);
    Ok(integer(Some(&up.call(&unlink, up.deadline()).await?)) == Some(1))
}

/// A walk over names or members that holds one step of them at a time.
struct Walk {
    what: Walked,
    cursor: Option<Vec<u8>>,
}

enum Walked {
    Names { pattern: String },
    Members { set: Vec<u8> },
}

impl Walk {
    fn names(pattern: String) -> Self {
        Self {
            what: Walked::Names { pattern },
            cursor: Some(b"0".to_vec()),
        }
    }

    fn members(set: &[u8]) -> Self {
        Self {
            what: Walked::Members { set: set.to_vec() },
            cursor: Some(b"0".to_vec()),
        }
    }

    /// The next names; `None` when all were seen. Pauses between steps.
    async fn step(&mut self, up: &Up) -> Result<Option<Vec<Vec<u8>>>, BackendError> {
        let Some(cursor) = self.cursor.take() else {
            return Ok(None);
        };
        let command = match &self.what {
            Walked::Names { pattern } => {
                let mut scan = redis::cmd("SCAN");
                scan.arg(&cursor)
                    .arg("MATCH")
                    .arg(pattern)
                    .arg("COUNT")
                    .arg(STEP);
                scan
            }
            Walked::Members { set } => {
                let mut sscan = redis::cmd("SSCAN");
                sscan.arg(set).arg(&cursor).arg("COUNT").arg(STEP);
                sscan
            }
        };
        if cursor != b"0" {
            tokio::time::sleep(STEP_PAUSE).await;
        }
        let mut reply = array(up.call(&command, up.deadline()).await?)?.into_iter();
        let next = bytes(reply.next())?.to_vec();
        let found = array(reply.next().unwrap_or(Value::Array(Vec::new())))?;
        self.cursor = (next != b"0").then_some(next);
        found
            .into_iter()
            .map(|value| Ok(bytes(Some(value))?.to_vec()))
            .collect::<Result<_, _>>()
            .map(Some)
    }
}
