//! Frees what a clear of some keys has left behind, at once; the sweep finds the rest.

use std::time::{Duration, SystemTime};

use redis::ScriptInvocation;

use super::lookup::DIGESTS;
use super::reply::{bytes, integer};
use super::sweep::Walk;
use super::up::Up;
use super::{Shared, scripts};
use crate::backend::Reclaimed;
use crate::codec::{self, Head};
use crate::entry::EntryId;
use crate::error::BackendError;

/// Enough of an entry to hold the digests and nearly every head.
pub(super) const HEAD_BYTES: usize = 512;
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
            if let Some(lived) = reap(shared, up, id, &index).await? {
                freed.add(lived);
            }
        }
    }
    Ok(())
}

/// Unlinks one entry of this build if its tokens are no longer those of its digests; then, how long it
/// had lived, as far as that can be told.
async fn reap(
    shared: &Shared,
    up: &Up,
    id: EntryId,
    index: &str,
) -> Result<Option<Duration>, BackendError> {
    let entry = shared.names.entry(id);
    let start = match read_start(up, &entry, HEAD_BYTES).await {
        Ok(start) if is_cut(&start) => read_long(up, &entry).await?,
        Ok(start) => start,
        // Something of another type stands in our place: not ours to remove.
        Err(BackendError::Refused(_)) => return Ok(None),
        Err(why) => return Err(why),
    };
    if start.is_empty() {
        // Expired or evicted: only the index still knows it.
        let mut srem = redis::cmd("SREM");
        srem.arg(index).arg(id.hex());
        up.call(&srem, up.deadline()).await?;
        return Ok(None);
    }
    let Some((head, _)) = start.get(DIGESTS + 1..).and_then(Head::read) else {
        // Damaged: the next lookup finds that out and discards it.
        return Ok(None);
    };
    let call = reaping(shared, shared.names.version(), id, &head, &start[..DIGESTS]);
    let is_gone = integer(Some(&up.script(&call, up.deadline()).await?)) == Some(1);
    let created = codec::summary(&start[DIGESTS + 1..]).map(|summary| summary.created);
    let lived = created.and_then(|created| SystemTime::now().duration_since(created).ok());
    Ok(is_gone.then(|| lived.unwrap_or_default()))
}

/// The script that unlinks an entry unless it is alive, which it looks at once more.
pub(super) fn reaping<'a>(
    shared: &Shared,
    version: &str,
    id: EntryId,
    head: &Head,
    digests: &[u8],
) -> ScriptInvocation<'a> {
    let names = shared.names.of_version(version);
    let mut call = scripts::REAP.prepare_invoke();
    call.key(names.entry(id))
        .key(names.index(&head.key))
        .key(names.namespace_token())
        .key(names.token(&head.key));
    for tag in head.tags.iter().chain(&head.dynamic) {
        call.key(names.token(tag));
    }
    call.arg(id.hex()).arg(digests);
    call
}

/// Whether these first bytes of an entry end within its head: it has very long names.
pub(super) fn is_cut(start: &[u8]) -> bool {
    start.len() == HEAD_BYTES && Head::read(&start[DIGESTS + 1..]).is_none()
}

/// All of a head that [`is_cut`].
pub(super) async fn read_long(up: &Up, entry: &str) -> Result<bytes::Bytes, BackendError> {
    read_start(up, entry, LONGEST_HEAD).await
}

/// The first bytes of an entry.
async fn read_start(up: &Up, entry: &str, length: usize) -> Result<bytes::Bytes, BackendError> {
    let mut range = redis::cmd("GETRANGE");
    range.arg(entry).arg(0).arg(length - 1);
    bytes(Some(up.call(&range, up.deadline()).await?))
}
