//! What runs beside a connection: announces this build, says what is wrong with the server, and
//! has it swept; one process of a namespace at a time. Nothing here decides validity.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redis::Value;

use super::Shared;
use super::identity::{field, text};
use super::sweep::{Turn, sweep};
use super::up::Up;
use crate::error::BackendError;

/// A build announces itself this often.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(3600);
/// Entries of a build that nobody has announced for this long are removed.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Time from the start, and from one sweep, to the next. Others find the turn taken while one lasts, and for
/// five minutes behind it.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// Runs for as long as the connection lives.
pub(super) async fn run(shared: Arc<Shared>, up: Arc<Up>) {
    if !shared.options.announce {
        return;
    }
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
        let swept = match Turn::if_free(&shared, &up).await {
            Ok(Some(turn)) => sweep(&shared, &up, turn).await,
            Ok(None) => continue,
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
    if let Ok(builds) = builds(shared, up).await {
        let own = application();
        for (version, build) in builds {
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
pub(super) struct Build {
    pub(super) announced: u64,
    pub(super) application: String,
}

impl Build {
    pub(super) fn is_recent(&self) -> bool {
        self.announced + FORGOTTEN_AFTER.as_secs() > now()
    }
}

/// Which builds have announced themselves.
pub(super) async fn builds(
    shared: &Shared,
    up: &Up,
) -> Result<HashMap<String, Build>, BackendError> {
    let mut builds = redis::cmd("HGETALL");
    builds.arg(shared.names.builds());
    Ok(builds_of(up.call(&builds, up.deadline()).await?))
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

/// The running program, as others see it in the namespace.
fn application() -> String {
    let path = std::env::current_exe().ok();
    let name = path
        .as_deref()
        .and_then(|path| path.file_stem())
        .map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "unknown".to_owned())
}

pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
