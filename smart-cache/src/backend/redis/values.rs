//! Plain values in Redis, over the connection of the entries.
//!
//! A value that `get_or_set` is computing is guarded by the token of its name: whoever sets,
//! removes or moves a value deletes that token in front of it, in the same pipeline, so that what
//! was computed from older data finds it gone and is not stored ([`RedisBackend::add_computed`]).
//!
//! Over 400 lines: a short method for each of the trait's, and names that are on two nodes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::{Cmd, Pipeline, Value};

use super::asking::{self, is_on_its_way};
use super::names::Names;
use super::reply::{array, bytes, integer, millis};
use super::up::Up;
use super::{Core, RedisBackend, scripts};
use crate::backend::{
    Added, BoxFuture, Counted, Expiry, Lease, NamePage, NewValue, Ttl, ValueStore, value_key,
};
use crate::error::BackendError;
use crate::protocol::Target;

/// Names looked at by one step of a walk.
const STEP: usize = 500;
/// A value this long may take one second more than the timeout to be sent.
const BYTES_A_SECOND: u64 = 20 << 20;

/// The values of one namespace; shares the connection of its backend.
#[derive(Debug)]
pub(in crate::backend::redis) struct RedisValues {
    core: Arc<Core>,
}

impl RedisValues {
    pub(in crate::backend::redis) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    fn names(&self) -> &Names {
        &self.core.shared.names
    }

    async fn up(&self) -> Result<(Arc<Up>, Instant), BackendError> {
        self.up_for(0).await
    }

    /// A connection, and a deadline for sending this many bytes.
    async fn up_for(&self, bytes: usize) -> Result<(Arc<Up>, Instant), BackendError> {
        let up = self
            .core
            .link
            .up(Instant::now() + self.core.shared.options.timeout)
            .await?;
        let sending = Duration::from_millis(bytes as u64 * 1000 / BYTES_A_SECOND);
        let deadline = up.deadline() + sending;
        Ok((up, deadline))
    }

    /// Sends a command that names one key to wherever that is, also when its slot is moving or has
    /// just moved.
    async fn call(&self, command: &Cmd, bytes: usize) -> Result<Value, BackendError> {
        let last = Instant::now() + self.core.shared.options.timeout;
        loop {
            let (up, deadline) = self.up_for(bytes).await?;
            match asking::call(&self.core.shared, &up, command, deadline).await {
                // Nothing was done, so it is safe to ask the new owner.
                Err(BackendError::Refused(why))
                    if why.starts_with("MOVED ") && Instant::now() < last => {}
                answer => return answer,
            }
        }
    }

    /// Begins a pipeline with the end of whatever is being computed for these names.
    fn outlaw<'a>(&self, names: impl Iterator<Item = &'a str>) -> Pipeline {
        let mut pipeline = Pipeline::with_capacity(2);
        let del = pipeline.cmd("DEL");
        for name in names {
            del.arg(self.names().token(&value_key(name)));
        }
        pipeline
    }

    /// Sends a pipeline; the first answer is that of the tokens, which must have been deleted.
    async fn send(
        &self,
        pipeline: &Pipeline,
        bytes: usize,
    ) -> Result<Vec<Result<Value, BackendError>>, BackendError> {
        let (up, deadline) = self.up_for(bytes).await?;
        let mut answers = up.pipeline(pipeline, deadline).await?;
        if answers.len() != pipeline.len() {
            return Err(BackendError::Protocol("an answer is missing".into()));
        }
        let is_moving = |answer: &Result<Value, BackendError>| matches!(answer, Err(BackendError::Refused(why)) if is_on_its_way(why));
        if answers.iter().any(is_moving) {
            // All over again, in their order: the tokens first.
            answers.clear();
            for command in pipeline.cmd_iter() {
                let answer = asking::each(&self.core.shared, &up, command, deadline).await;
                answers.push(answer);
            }
        }
        answers.remove(0)?;
        Ok(answers)
    }

    async fn set_all(
        &self,
        values: &[(String, Bytes)],
        expiry: Expiry,
    ) -> Result<Vec<usize>, BackendError> {
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = self.outlaw(values.iter().map(|(name, _)| name.as_str()));
        for (name, value) in values {
            let set = pipeline
                .cmd("SET")
                .arg(self.names().value(name))
                .arg(&value[..]);
            if let Some(expiry) = expiry {
                set.arg("PX").arg(at_least_one(expiry));
            }
        }
        let bytes = values.iter().map(|(_, value)| value.len()).sum();
        let answers = self.send(&pipeline, bytes).await?;
        let mut refused = Vec::new();
        let mut why = None;
        for (at, answer) in answers.into_iter().enumerate() {
            if let Err(error) = answer {
                refused.push(at);
                why = Some(error);
            }
        }
        match why {
            // Nothing was kept, and the server said why.
            Some(why) if refused.len() == values.len() => Err(why),
            _ => Ok(refused),
        }
    }

    async fn move_value(&self, from: &str, to: &str) -> Result<bool, BackendError> {
        let mut pipeline = self.outlaw([from, to].into_iter());
        pipeline
            .cmd("RENAME")
            .arg(self.names().value(from))
            .arg(self.names().value(to));
        match self.send(&pipeline, 0).await?.pop() {
            Some(Err(BackendError::Refused(why))) if why.contains("no such key") => Ok(false),
            Some(answer) => answer.map(|_| true),
            None => Err(BackendError::Protocol("an answer is missing".into())),
        }
    }

    /// Walks the names and unlinks what each step finds.
    async fn clear_all(&self) -> Result<(), BackendError> {
        let mut cursor = b"0".to_vec();
        loop {
            let (up, deadline) = self.up().await?;
            let (found, next) = self.step(&up, &cursor, "*", deadline).await?;
            if !found.is_empty() {
                let mut unlink = redis::cmd("UNLINK");
                unlink.arg(&found);
                asking::each(&self.core.shared, &up, &unlink, up.deadline()).await?;
            }
            if next == b"0" {
                return self.is_at_rest().await;
            }
            cursor = next;
        }
    }

    /// Nothing that was walked may have been on its way to another node meanwhile: a name that is
    /// nowhere tells, for only an owner who gives nothing away answers for it.
    async fn is_at_rest(&self) -> Result<(), BackendError> {
        let (up, deadline) = self.up().await?;
        let mut exists = redis::cmd("EXISTS");
        exists.arg(self.names().nothing());
        match up.call(&exists, deadline).await {
            Err(BackendError::Refused(why)) if is_on_its_way(&why) => Err(BackendError::Refused(
                format!("{why}: the slot of the namespace is moving; repeat it when it has").into(),
            )),
            answer => answer.map(drop),
        }
    }

    /// One step of a walk: names as Redis has them, and the next cursor.
    async fn step(
        &self,
        up: &Up,
        cursor: &[u8],
        glob: &str,
        deadline: Instant,
    ) -> Result<(Vec<Vec<u8>>, Vec<u8>), BackendError> {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor)
            .arg("MATCH")
            .arg(self.names().values_like(glob))
            .arg("COUNT")
            .arg(STEP);
        let mut reply = array(up.call(&scan, deadline).await?)?.into_iter();
        let next = bytes(reply.next())?.to_vec();
        let found = array(reply.next().unwrap_or(Value::Array(Vec::new())))?;
        let found = found
            .into_iter()
            .map(|name| Ok(bytes(Some(name))?.to_vec()))
            .collect::<Result<_, BackendError>>()?;
        Ok((found, next))
    }
}

impl ValueStore for RedisValues {
    fn get_many<'a>(
        &'a self,
        names: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, BackendError>> {
        Box::pin(async move {
            if names.is_empty() {
                return Ok(Vec::new());
            }
            // MGET answers nil for what is of another type.
            let mut mget = redis::cmd("MGET");
            for name in names {
                mget.arg(self.names().value(name));
            }
            let (up, deadline) = self.up().await?;
            let found = match up.call(&mget, deadline).await {
                Err(BackendError::Refused(why)) if is_on_its_way(&why) => {
                    let each = names.iter().map(|name| {
                        let mut get = redis::cmd("GET");
                        get.arg(self.names().value(name));
                        let up = &up;
                        async move {
                            match asking::call(&self.core.shared, up, &get, deadline).await {
                                // Of another type, which MGET passes over.
                                Err(BackendError::Refused(why)) if why.starts_with("WRONGTYPE") => {
                                    Ok(Value::Nil)
                                }
                                found => found,
                            }
                        }
                    });
                    futures_util::future::try_join_all(each).await?
                }
                found => array(found?)?,
            };
            if found.len() != names.len() {
                return Err(BackendError::Protocol("an answer is missing".into()));
            }
            let value = |found| match found {
                Value::BulkString(bytes) => Some(Bytes::from(bytes)),
                _ => None,
            };
            Ok(found.into_iter().map(value).collect())
        })
    }

    fn set_many<'a>(
        &'a self,
        values: &'a [(String, Bytes)],
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<Vec<usize>, BackendError>> {
        Box::pin(self.set_all(values, expiry))
    }

    fn add<'a>(
        &'a self,
        name: &'a str,
        value: Bytes,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            let mut set = redis::cmd("SET");
            set.arg(self.names().value(name)).arg(&value[..]).arg("NX");
            if let Some(expiry) = expiry {
                set.arg("PX").arg(at_least_one(expiry));
            }
            Ok(!matches!(self.call(&set, value.len()).await?, Value::Nil))
        })
    }

    fn touch<'a>(
        &'a self,
        name: &'a str,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            let name = self.names().value(name);
            let Some(expiry) = expiry else {
                // PERSIST says of what stays already what it says of what is not there.
                let mut pipeline = Pipeline::with_capacity(2);
                pipeline.cmd("PERSIST").arg(&name).cmd("EXISTS").arg(&name);
                let exists = self.send(&pipeline, 0).await?.pop().transpose()?;
                return Ok(integer(exists.as_ref()) == Some(1));
            };
            let mut pexpire = redis::cmd("PEXPIRE");
            pexpire.arg(&name).arg(at_least_one(expiry));
            Ok(integer(Some(&self.call(&pexpire, 0).await?)) == Some(1))
        })
    }

    fn delete_many<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<u64, BackendError>> {
        Box::pin(async move {
            if names.is_empty() {
                return Ok(0);
            }
            let mut pipeline = self.outlaw(names.iter().map(String::as_str));
            let del = pipeline.cmd("DEL");
            for name in names {
                del.arg(self.names().value(name));
            }
            let removed = self.send(&pipeline, 0).await?.pop().transpose()?;
            Ok(integer(removed.as_ref()).unwrap_or(0).unsigned_abs())
        })
    }

    fn increment<'a>(
        &'a self,
        name: &'a str,
        delta: i64,
    ) -> BoxFuture<'a, Result<Counted, BackendError>> {
        Box::pin(async move {
            let mut call = scripts::COUNT.prepare_invoke();
            call.key(self.names().value(name)).arg(delta);
            let (up, deadline) = self.up().await?;
            let answer = match up.script(&call, deadline).await {
                Err(BackendError::Refused(why)) if is_on_its_way(&why) => {
                    // The other node may not know the script.
                    let mut eval = redis::cmd("EVAL");
                    eval.arg(scripts::COUNT_TEXT)
                        .arg(1)
                        .arg(self.names().value(name))
                        .arg(delta);
                    self.call(&eval, 0).await?
                }
                answer => answer?,
            };
            let answer = bytes(array(answer)?.into_iter().next())?;
            match &answer[..] {
                b"M" => Ok(Counted::Missing),
                b"N" => Ok(Counted::NotAnInteger),
                b"O" => Ok(Counted::Overflow),
                sum => std::str::from_utf8(sum)
                    .ok()
                    .and_then(|sum| sum.parse().ok())
                    .map(Counted::Now)
                    .ok_or_else(|| BackendError::Protocol("a sum that is no number".into())),
            }
        })
    }

    fn rename<'a>(
        &'a self,
        from: &'a str,
        to: &'a str,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(self.move_value(from, to))
    }

    fn ttl<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Ttl, BackendError>> {
        Box::pin(async move {
            let mut pttl = redis::cmd("PTTL");
            pttl.arg(self.names().value(name));
            match integer(Some(&self.call(&pttl, 0).await?)) {
                Some(-2) => Ok(Ttl::Missing),
                Some(-1) => Ok(Ttl::Never),
                Some(left) => Ok(Ttl::After(Duration::from_millis(left.unsigned_abs()))),
                None => Err(BackendError::Protocol("a time that is no number".into())),
            }
        })
    }

    fn names<'a>(
        &'a self,
        glob: &'a str,
        from: Option<String>,
    ) -> BoxFuture<'a, Result<NamePage, BackendError>> {
        Box::pin(async move {
            let (up, deadline) = self.up().await?;
            let cursor = from.unwrap_or_else(|| "0".to_owned());
            let (found, next) = self.step(&up, cursor.as_bytes(), glob, deadline).await?;
            let name = |name: &Vec<u8>| self.names().of_value(name).map(str::to_owned);
            Ok(NamePage {
                names: found.iter().filter_map(name).collect(),
                next: (next != b"0").then(|| String::from_utf8_lossy(&next).into_owned()),
            })
        })
    }

    fn clear(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(self.clear_all())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.core.link.close() })
    }

    fn incarnation(&self) -> BoxFuture<'_, Result<String, BackendError>> {
        Box::pin(async move { Ok(self.up().await?.0.id().to_string()) })
    }

    fn longest_value(&self) -> Option<u64> {
        // `proto-max-bulk-len` of a server that was not told otherwise.
        Some(512 << 20)
    }

    fn describe(&self) -> String {
        format!(
            "values in redis at {}, namespace {:?}",
            self.core.shared.address, self.core.shared.options.namespace
        )
    }
}

impl RedisBackend {
    /// Stores a value under the lease of its computation, if nobody has set or removed it since.
    pub(super) async fn add_computed(
        &self,
        target: &Target,
        lease: &Lease,
        value: NewValue<'_>,
    ) -> Result<Added, BackendError> {
        let (up, deadline) = RedisValues::new(Arc::clone(&self.core))
            .up_for(value.bytes.len())
            .await?;
        let mut call = scripts::ADD_VALUE.prepare_invoke();
        call.key(self.names().value(value.name))
            .key(self.names().lease(target.id));
        for name in self.static_tokens(target) {
            call.key(name);
        }
        call.arg(&lease.value[..])
            .arg(lease.digest.as_bytes())
            .arg(value.bytes)
            .arg(value.expiry.map_or(0, at_least_one));
        match integer(Some(&up.script(&call, deadline).await?)) {
            Some(1) => Ok(Added::Stored),
            Some(2) => Ok(Added::Present),
            Some(0 | -1) => Ok(Added::Refused),
            _ => Err(BackendError::Protocol("an answer of another kind".into())),
        }
    }
}

/// A time to live below a millisecond would read as none at all.
fn at_least_one(expiry: Duration) -> u64 {
    millis(expiry).max(1)
}
