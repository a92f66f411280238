//! What processes tell each other's operators: reports of their numbers, and the journal of clears.

use bytes::Bytes;
use redis::Value;

use super::answers;
use crate::backend::redis::RedisBackend;
use crate::backend::redis::reply::{array, bytes, millis};
use crate::error::BackendError;
use crate::inspect::clears::MOST_KEPT;
use crate::inspect::fleet::GONE_AFTER;

/// The names of processes that are gone are forgotten when nobody reports for this many seconds.
const FORGOTTEN_AFTER: u64 = 24 * 3600;
/// Processes that are shown; a larger fleet is looked at by its metrics.
const MOST_PROCESSES: usize = 1000;

pub(super) async fn put(
    backend: &RedisBackend,
    process: &str,
    report: Vec<u8>,
) -> Result<(), BackendError> {
    let (up, _) = backend.up().await?;
    let names = backend.names();
    let mut put = redis::pipe();
    put.cmd("SET")
        .arg(names.report(process))
        .arg(report)
        .arg("PX")
        .arg(millis(GONE_AFTER));
    put.cmd("SADD").arg(names.processes()).arg(process);
    put.cmd("EXPIRE")
        .arg(names.processes())
        .arg(FORGOTTEN_AFTER);
    answers(&up, &put).await.map(drop)
}

pub(super) async fn all(backend: &RedisBackend) -> Result<Vec<Bytes>, BackendError> {
    let (up, _) = backend.up().await?;
    let names = backend.names();
    let mut members = redis::cmd("SRANDMEMBER");
    members.arg(names.processes()).arg(MOST_PROCESSES);
    let processes: Vec<Bytes> = array(up.call(&members, up.deadline()).await?)?
        .into_iter()
        .map(|process| bytes(Some(process)))
        .collect::<Result<_, _>>()?;
    if processes.is_empty() {
        return Ok(Vec::new());
    }
    let mut mget = redis::cmd("MGET");
    for process in &processes {
        mget.arg(names.report(&String::from_utf8_lossy(process)));
    }
    let reports = array(up.call(&mget, up.deadline()).await?)?;
    let mut gone = redis::cmd("SREM");
    gone.arg(names.processes());
    let mut found = Vec::with_capacity(reports.len());
    let mut are_gone = false;
    for (process, report) in processes.into_iter().zip(reports) {
        if let Value::BulkString(report) = report {
            found.push(report.into());
        } else {
            gone.arg(&process[..]);
            are_gone = true;
        }
    }
    if are_gone {
        up.call(&gone, up.deadline()).await?;
    }
    Ok(found)
}

pub(super) async fn note(backend: &RedisBackend, notes: Vec<Vec<u8>>) -> Result<(), BackendError> {
    let (up, _) = backend.up().await?;
    let journal = backend.names().clears();
    let mut put = redis::pipe();
    put.cmd("LPUSH").arg(&journal).arg(notes);
    put.cmd("LTRIM").arg(&journal).arg(0).arg(MOST_KEPT - 1);
    answers(&up, &put).await.map(drop)
}

pub(super) async fn notes(backend: &RedisBackend) -> Result<Vec<Bytes>, BackendError> {
    let (up, _) = backend.up().await?;
    let mut range = redis::cmd("LRANGE");
    range.arg(backend.names().clears()).arg(0).arg(-1);
    array(up.call(&range, up.deadline()).await?)?
        .into_iter()
        .map(|note| bytes(Some(note)))
        .collect()
}
