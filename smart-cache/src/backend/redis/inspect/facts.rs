//! The namespace and its server, in a handful of commands. What the server refuses to tell is
//! left out: INFO may be forbidden.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redis::Value;

use super::answers;
use crate::backend::redis::RedisBackend;
use crate::backend::redis::caretaker::builds;
use crate::backend::redis::identity::{field, text};
use crate::backend::redis::partitions::record;
use crate::backend::redis::reply::integer;
use crate::error::BackendError;
use crate::inspect::{Build, Facts, Swept, TokenState};

pub(super) async fn read(backend: &RedisBackend) -> Result<Facts, BackendError> {
    let (up, _) = backend.up().await?;
    let names = backend.names();
    let began = Instant::now();
    // Its own round trip, so that what is measured is one of the cheapest commands.
    up.call(&redis::cmd("PING"), up.deadline()).await?;
    let round_trip = began.elapsed();
    let mut asked = redis::pipe();
    for section in ["server", "memory", "stats"] {
        asked.cmd("INFO").arg(section);
    }
    asked.cmd("DBSIZE").cmd("TIME");
    asked.cmd("GET").arg(names.clock());
    asked.cmd("GET").arg(names.namespace_token());
    asked.cmd("GET").arg(names.swept());
    let mut answers = answers(&up, &asked).await?.into_iter();
    let mut info = || {
        let section = answers.next().unwrap_or(Value::Nil);
        text(&section).unwrap_or_default()
    };
    let (server, memory, stats) = (info(), info(), info());
    let number = |section: &str, name| field(section, name).and_then(|text| text.parse().ok());
    let (dbsize, time, clock) = (answers.next(), answers.next(), answers.next());
    let (namespace, swept) = (answers.next(), answers.next());
    let noted = record::read(&backend.core.shared, &up, up.deadline()).await?;
    let known = builds(&backend.core.shared, &up).await?;
    let mut known: Vec<Build> = known
        .into_iter()
        .map(|(version, build)| Build {
            version,
            recent: build.is_recent(),
            announced: UNIX_EPOCH + Duration::from_secs(build.announced.min(u64::MAX / 4)),
            application: build.application,
        })
        .collect();
    known.sort_by_key(|build| std::cmp::Reverse(build.announced));
    Ok(Facts {
        kind: "redis",
        namespace: backend.core.shared.options.namespace.clone(),
        version: names.version().to_owned(),
        server_id: Some(up.id().to_string()),
        server_version: field(&server, "valkey_version")
            .map(|version| format!("Valkey {version}"))
            .or_else(|| field(&server, "redis_version").map(|version| format!("Redis {version}"))),
        uptime: number(&server, "uptime_in_seconds").map(Duration::from_secs),
        used_memory: number(&memory, "used_memory"),
        max_memory: number(&memory, "maxmemory"),
        eviction: field(&memory, "maxmemory_policy").map(str::to_owned),
        evicted: number(&stats, "evicted_keys"),
        names: integer(dbsize.as_ref()).map(i64::unsigned_abs),
        namespace_token: Some(TokenState::read(namespace.as_ref())),
        server_ahead_us: micros(time.as_ref())
            .zip(i64::try_from(epoch_micros()).ok())
            .and_then(|(server, own)| server.checked_sub(own)),
        clock_ahead_us: ahead(time.as_ref(), clock),
        builds: known,
        partitions: noted.numbers(),
        swept: swept.and_then(|swept| swept_of(&swept)),
        round_trip,
    })
}

/// The namespace's clock minus the server's.
fn ahead(time: Option<&Value>, clock: Option<Value>) -> Option<i64> {
    let clock: i64 = text(&clock?).ok()?.parse().ok()?;
    clock.checked_sub(micros(time)?)
}

/// The answer to TIME, in microseconds since the epoch.
fn micros(time: Option<&Value>) -> Option<i64> {
    let Some(Value::Array(time)) = time else {
        return None;
    };
    let mut time = time.iter().map(|part| text(part).ok()?.parse::<i64>().ok());
    time.next()??
        .checked_mul(1_000_000)?
        .checked_add(time.next()??)
}

fn epoch_micros() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros())
}

/// `<seconds> <entries>`, as the sweep notes it.
fn swept_of(value: &Value) -> Option<Swept> {
    let line = text(value).ok()?;
    let (at, removed) = line.split_once(' ')?;
    Some(Swept {
        at: UNIX_EPOCH.checked_add(Duration::from_secs(at.parse().ok()?))?,
        removed: removed.parse().ok()?,
    })
}
