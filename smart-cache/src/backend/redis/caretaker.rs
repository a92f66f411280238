//! What runs beside a connection: announces this build, says what is wrong with the server, and
//! sweeps what clears have left behind.
//!
//! Nothing here decides validity. The sweep reads heads and lets a small script compare and
//! unlink; one process of a namespace sweeps at a time, and slowly.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redis::Value;

use super::identity::{field, text};
use super::lookup::DIGESTS;
use super::reply::{array, bytes, integer, nonce};
use super::up::Up;
use super::{Shared, scripts};
use crate::codec::Head;
use crate::entry::EntryId;
use crate::error::BackendError;

/// A build announces itself this often.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(3600);
/// Entries of a build that nobody has announced for this long are removed.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Time from the start, and from one sweep, to the next.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// Names of one SCAN step, and the pause behind it: the server stays free for requests.
const STEP: usize = 200;
const STEP_PAUSE: Duration = Duration::from_millis(10);
/// Enough of an entry to hold the digests and nearly every head.
const HEAD_BYTES: usize = 4096;
/// A thousand tags of a kilobyte each.
const LONGEST_HEAD: usize = 1 << 20;

/// Runs for as long as the connection lives.
pub(super) async fn run(shared: Arc<Shared>, up: Arc<Up>) {
    advise(&shared, &up).await;
    let mut announced: Option<Instant> = None;
    loop {
        if announced.is_none_or(|at| at.elapsed() >= ANNOUNCE_EVERY) {
            match announce(&shared, &up).await {
                Ok(()) => announced = Some(Instant::now()),
                Err(why) => {
                    tracing::debug!(cause = %why, "this build could not be announced; trying again later");
                }
            }
        }
        tokio::time::sleep(SWEEP_EVERY).await;
        let swept = match claim_sweep(&shared, &up).await {
            Ok(true) => sweep(&shared, &up).await,
            Ok(false) => continue,
            Err(why) => Err(why),
        };
        match swept {
            Ok(removed) => tracing::debug!(removed, "swept"),
            Err(why) => tracing::debug!(cause = %why, "the sweep stopped; it begins anew later"),
        }
    }
}

/// Says in the log what an operator should change. Whatever cannot be read is passed over.
async fn advise(shared: &Shared, up: &Up) {
    let mut memory = redis::cmd("INFO");
    memory.arg("memory");
    if let Ok(info) = up
        .call(&memory, up.deadline())
        .await
        .and_then(|value| text(&value))
    {
        let policy = field(&info, "maxmemory_policy").unwrap_or("unknown");
        let limited = field(&info, "maxmemory").is_some_and(|bytes| bytes != "0");
        match (limited, policy) {
            (false, _) => {
                tracing::info!(server = %shared.address, "Redis has no maxmemory: entries live until they are cleared, so set maxmemory and maxmemory-policy allkeys-lru (or allkeys-lfu) to bound it");
            }
            (true, "noeviction") => {
                tracing::warn!(server = %shared.address, "maxmemory-policy is noeviction: when Redis is full nothing more is stored (clears still work); allkeys-lru lets old entries go instead");
            }
            (true, policy) if policy.starts_with("volatile") => {
                tracing::warn!(server = %shared.address, policy, "entries have no expiry, so a volatile-* policy cannot evict them: use allkeys-lru or allkeys-lfu");
            }
            _ => {}
        }
    }
    let mut builds = redis::cmd("HGETALL");
    builds.arg(shared.names.builds());
    if let Ok(value) = up.call(&builds, up.deadline()).await {
        let own = application();
        for (version, build) in builds_of(value) {
            if build.application != own && build.is_recent() {
                tracing::warn!(
                    namespace = %shared.options.namespace, other = %build.application, %version, own = %own,
                    "another application uses this namespace: a clear of one is a clear of both; give each its own SMART_REDIS_NAMESPACE"
                );
            }
        }
    }
}

/// One line of the builds' table: when it was announced last, and by which program.
struct Build {
    announced: u64,
    application: String,
}

impl Build {
    fn is_recent(&self) -> bool {
        self.announced + FORGOTTEN_AFTER.as_secs() > now()
    }
}

fn builds_of(value: Value) -> HashMap<String, Build> {
    let flat: Vec<Value> = match value {
        Value::Array(values) => values,
        Value::Map(pairs) => pairs
            .into_iter()
            .flat_map(|(name, value)| [name, value])
            .collect(),
        _ => Vec::new(),
    };
    flat.chunks_exact(2)
        .filter_map(|pair| {
            let (version, line) = (text(&pair[0]).ok()?, text(&pair[1]).ok()?);
            let (announced, application) = line.split_once(' ')?;
            Some((
                version,
                Build {
                    announced: announced.parse().ok()?,
                    application: application.to_owned(),
                },
            ))
        })
        .collect()
}

async fn announce(shared: &Shared, up: &Up) -> Result<(), BackendError> {
    let mut hset = redis::cmd("HSET");
    hset.arg(shared.names.builds())
        .arg(shared.names.version())
        .arg(format!("{} {}", now(), application()));
    up.call(&hset, up.deadline()).await.map(drop)
}

/// Whether this is the first process of its build; marks that it has come. Not the builds' table:
/// the caretaker may have announced this very process there already.
pub(super) async fn is_first_of_version(
    shared: &Shared,
    up: &Up,
    deadline: Instant,
) -> Result<bool, BackendError> {
    let mut claim = redis::cmd("SET");
    claim
        .arg(shared.names.first_of_version())
        .arg(now())
        .arg("NX");
    Ok(!matches!(up.call(&claim, deadline).await?, Value::Nil))
}

/// Frees the entries under a key that was cleared.
pub(super) async fn reclaim(shared: &Shared, up: &Up, key: &str) -> Result<(), BackendError> {
    let index = shared.names.index(key);
    let mut members = Walk::members(index.as_bytes());
    while let Some(ids) = members.step(up).await? {
        for id in ids {
            let Some(id) = EntryId::parse(&String::from_utf8_lossy(&id)) else {
                continue;
            };
            reap(shared, up, shared.names.version(), id, &index).await?;
        }
    }
    Ok(())
}

/// Whether this process may sweep: one of a namespace does, and not twice in a short while.
async fn claim_sweep(shared: &Shared, up: &Up) -> Result<bool, BackendError> {
    let mut claim = redis::cmd("SET");
    claim
        .arg(shared.names.sweeper())
        .arg(nonce()?.as_bytes())
        .arg("NX")
        .arg("PX")
        .arg(SWEEP_EVERY.as_millis() as u64 / 2);
    Ok(!matches!(up.call(&claim, up.deadline()).await?, Value::Nil))
}

/// Walks the namespace once; how many entries it removed.
pub(super) async fn sweep(shared: &Shared, up: &Up) -> Result<u64, BackendError> {
    let mut builds = redis::cmd("HGETALL");
    builds.arg(shared.names.builds());
    let builds = builds_of(up.call(&builds, up.deadline()).await?);
    let mut removed = 0;
    let is_live = |version: &str| {
        version == shared.names.version() || builds.get(version).is_some_and(Build::is_recent)
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
                reap(shared, up, version, id, "").await?
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
    Ok(removed)
}

/// Unlinks one entry if its tokens are no longer those of its digests.
async fn reap(
    shared: &Shared,
    up: &Up,
    version: &str,
    id: EntryId,
    index: &str,
) -> Result<bool, BackendError> {
    let names = shared.names.of_version(version);
    let entry = names.entry(id);
    let start = match read_start(up, &entry, HEAD_BYTES).await {
        // A head with very long names.
        Ok(start) if start.len() == HEAD_BYTES && Head::read(&start[DIGESTS + 1..]).is_none() => {
            read_start(up, &entry, LONGEST_HEAD).await?
        }
        Ok(start) => start,
        // Something of another type stands in our place: not ours to remove.
        Err(BackendError::Refused(_)) => return Ok(false),
        Err(why) => return Err(why),
    };
    if start.is_empty() {
        // Expired or evicted: only the index still knows it.
        if !index.is_empty() {
            let mut srem = redis::cmd("SREM");
            srem.arg(index).arg(id.hex());
            up.call(&srem, up.deadline()).await?;
        }
        return Ok(false);
    }
    let Some((head, _)) = start.get(DIGESTS + 1..).and_then(Head::read) else {
        // Damaged: the next lookup finds that out and discards it.
        return Ok(false);
    };
    let mut call = scripts::REAP.prepare_invoke();
    call.key(&entry)
        .key(names.index(&head.key))
        .key(names.namespace_token())
        .key(names.token(&head.key));
    for tag in head.tags.iter().chain(&head.dynamic) {
        call.key(names.token(tag));
    }
    call.arg(2 + head.tags.len())
        .arg(id.hex())
        .arg(&start[..DIGESTS]);
    Ok(integer(Some(&up.script(&call, up.deadline()).await?)) == Some(1))
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

/// The running program, as others see it in the namespace.
fn application() -> String {
    let path = std::env::current_exe().ok();
    let name = path
        .as_deref()
        .and_then(|path| path.file_stem())
        .map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "unknown".to_owned())
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
