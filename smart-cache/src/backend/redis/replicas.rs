//! Clears that count only when enough replicas have them (`SMART_REDIS_MIN_REPLICAS`).
//!
//! A master that is cut off from the others goes on acknowledging, and what it acknowledges is lost with
//! it. WAIT tells how many replicas have what was written *on its own connection*, and blocks that
//! connection meanwhile; so a clear and its WAIT go out together on one that nobody else uses.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisError, ScriptInvocation, Value};
use tokio::sync::SemaphorePermit;

use super::Shared;
use super::identity::{self, broken};
use super::reply::{integer, millis};
use super::up::Up;
use crate::error::BackendError;

/// Runs a command; its answer counts only when enough replicas have what it did.
pub(super) async fn call(
    shared: &Shared,
    up: &Arc<Up>,
    command: &Cmd,
    deadline: Instant,
) -> Result<Value, BackendError> {
    if shared.options.min_replicas == 0 {
        return up.call(command, deadline).await;
    }
    let work = async {
        let mut apart = Apart::take(shared, up).await?;
        let mut both = redis::pipe();
        both.add_command(command.clone())
            .add_command(wait(shared.options.min_replicas, deadline));
        let answers = apart.connection.send_packed_commands(&both, 0, 2).await;
        let mut answers = answers.map_err(|error| broken(&error))?.into_iter();
        let answer = up.judged(answers.next().unwrap_or(Value::Nil))?;
        let reached = up.judged(answers.next().unwrap_or(Value::Nil))?;
        apart.give_back();
        enough(shared, &reached).map(|()| answer)
    };
    before(deadline, shared, work).await
}

/// The same for a script.
pub(super) async fn script(
    shared: &Shared,
    up: &Arc<Up>,
    script: &ScriptInvocation<'_>,
    deadline: Instant,
) -> Result<Value, BackendError> {
    if shared.options.min_replicas == 0 {
        return up.script(script, deadline).await;
    }
    let work = async {
        let mut apart = Apart::take(shared, up).await?;
        let answer: Result<Value, RedisError> = script.invoke_async(&mut apart.connection).await;
        let answer = answer.map_err(|error| match error.code() {
            Some(code) => up.refused(code, error.detail().unwrap_or_default()),
            None => broken(&error),
        })?;
        let answer = up.judged(answer)?;
        let wait = wait(shared.options.min_replicas, deadline);
        let reached = apart.connection.send_packed_command(&wait).await;
        let reached = up.judged(reached.map_err(|error| broken(&error))?)?;
        apart.give_back();
        enough(shared, &reached).map(|()| answer)
    };
    before(deadline, shared, work).await
}

async fn before<T>(
    deadline: Instant,
    shared: &Shared,
    work: impl Future<Output = Result<T, BackendError>>,
) -> Result<T, BackendError> {
    let late = |_| BackendError::Timeout(shared.options.timeout);
    tokio::time::timeout_at(deadline.into(), work)
        .await
        .map_err(late)?
}

/// Asks for so many replicas. The server gives up a little before we do, so that what it says is heard.
pub(super) fn wait(replicas: u32, deadline: Instant) -> Cmd {
    let left = deadline.saturating_duration_since(Instant::now());
    let mut wait = redis::cmd("WAIT");
    // Zero would be for ever.
    wait.arg(replicas).arg(millis(left.mul_f64(0.8)).max(1));
    wait
}

/// Whether an answer to WAIT is enough.
pub(super) fn enough(shared: &Shared, reached: &Value) -> Result<(), BackendError> {
    let (wanted, reached) = (shared.options.min_replicas, integer(Some(reached)));
    if reached.is_some_and(|reached| reached >= i64::from(wanted)) {
        return Ok(());
    }
    let why = format!(
        "NOREPLICAS {} of {wanted} replicas have it in time (SMART_REDIS_MIN_REPLICAS): are they connected?",
        reached.unwrap_or(0)
    );
    Err(BackendError::Refused(why.into()))
}

/// A connection that one clear has for itself.
struct Apart<'a> {
    connection: MultiplexedConnection,
    up: &'a Up,
    _one_of_few: SemaphorePermit<'a>,
}

impl<'a> Apart<'a> {
    async fn take(shared: &Shared, up: &'a Up) -> Result<Self, BackendError> {
        let permit = up.few().acquire().await;
        let permit = permit.map_err(|_| BackendError::ended())?;
        let connection = match up.take_apart() {
            Some(connection) => connection,
            None => open(shared, up).await?,
        };
        Ok(Self {
            connection,
            up,
            _one_of_few: permit,
        })
    }

    /// For the next clear. One that is in the middle of something is dropped instead.
    fn give_back(self) {
        self.up.keep_apart(self.connection);
    }
}

/// Connects to the server of `up`, and makes sure that it is the same one.
async fn open(shared: &Shared, up: &Up) -> Result<MultiplexedConnection, BackendError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_secs(1).max(shared.options.timeout)))
        .set_response_timeout(None);
    let connected = shared.dialer.connect(up.info(), &config).await;
    let connection = connected.map_err(|error| broken(&error))?;
    let place = up.info().addr().to_string();
    let id = identity::read_beside(&connection, shared.fixed.as_ref(), &place).await?;
    if *id != *up.id() {
        let why = "another server answers at the same address";
        return Err(BackendError::Disconnected(why.into()));
    }
    Ok(connection)
}
