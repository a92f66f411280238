//! Single names while their slot moves from one node of a cluster to another, name by name.
//!
//! The source answers for a name that is still there, and for one that is not it answers ASK. Only
//! clears and plain values follow. Lookups and scripts do not: they read several names at once, which
//! are on two servers then, and a token that a failed migration has left on both would be found on the
//! other one after its clear. They are refused, the handlers run, and when the slot has moved the
//! namespace is cold, for another server has another identity.

use std::sync::Arc;
use std::time::Instant;

use redis::{AsyncConnectionConfig, Cmd, Value};

use super::locate::redirected;
use super::reply::integer;
use super::up::Up;
use super::{Shared, replicas};
use crate::error::BackendError;

/// Whether a refusal says that a name, or one of several, is on its way to another node.
pub(super) fn is_on_its_way(why: &str) -> bool {
    why.starts_with("ASK ") || why.starts_with("TRYAGAIN")
}

/// Sends a command that names one key to wherever this key is.
pub(super) async fn call(
    shared: &Shared,
    up: &Arc<Up>,
    command: &Cmd,
    deadline: Instant,
) -> Result<Value, BackendError> {
    follow(
        shared,
        up,
        up.call(command, deadline).await,
        command,
        deadline,
    )
    .await
}

/// The same for a command that may name several keys and nothing else (DEL, UNLINK): each is sought where
/// it is, and what they answer is added up.
pub(super) async fn each(
    shared: &Shared,
    up: &Arc<Up>,
    command: &Cmd,
    deadline: Instant,
) -> Result<Value, BackendError> {
    let answer = up.call(command, deadline).await;
    let words: Vec<&[u8]> = command.args_iter().filter_map(|arg| simple(&arg)).collect();
    let (verb, names) = match words.split_first() {
        Some((&b"DEL", names)) if names.len() > 1 => ("DEL", names),
        Some((&b"UNLINK", names)) if names.len() > 1 => ("UNLINK", names),
        _ => return follow(shared, up, answer, command, deadline).await,
    };
    match answer {
        Err(BackendError::Refused(why)) if is_on_its_way(&why) => {
            let mut sum = 0;
            for name in names {
                let mut one = redis::cmd(verb);
                one.arg(*name);
                sum += integer(Some(&call(shared, up, &one, deadline).await?)).unwrap_or(0);
            }
            Ok(Value::Int(sum))
        }
        answer => answer,
    }
}

fn simple<'a>(arg: &redis::Arg<&'a [u8]>) -> Option<&'a [u8]> {
    match arg {
        redis::Arg::Simple(word) => Some(word),
        _ => None,
    }
}

/// Goes on from the answer to such a command.
pub(super) async fn follow(
    shared: &Shared,
    up: &Arc<Up>,
    answer: Result<Value, BackendError>,
    command: &Cmd,
    deadline: Instant,
) -> Result<Value, BackendError> {
    match answer {
        Err(BackendError::Refused(why)) if why.starts_with("ASK ") => {
            in_time(shared, deadline, there(shared, up, &why, command, None)).await
        }
        answer => answer,
    }
}

/// [`follow`] for a clear, which counts only when enough replicas of the other node have it.
pub(super) async fn follow_clear(
    shared: &Shared,
    up: &Arc<Up>,
    answer: Result<Value, BackendError>,
    command: &Cmd,
    deadline: Instant,
) -> Result<Value, BackendError> {
    match answer {
        Err(BackendError::Refused(why))
            if why.starts_with("ASK ") && shared.options.min_replicas > 0 =>
        {
            let wait = replicas::wait(shared.options.min_replicas, deadline);
            in_time(
                shared,
                deadline,
                there(shared, up, &why, command, Some(wait)),
            )
            .await
        }
        answer => follow(shared, up, answer, command, deadline).await,
    }
}

async fn in_time(
    shared: &Shared,
    deadline: Instant,
    work: impl Future<Output = Result<Value, BackendError>>,
) -> Result<Value, BackendError> {
    let late = |_| BackendError::Timeout(shared.options.timeout);
    tokio::time::timeout_at(deadline.into(), work)
        .await
        .map_err(late)?
}

/// Follows `ASK <slot> <host>:<port>`, for this one command as the protocol wants it.
async fn there(
    shared: &Shared,
    up: &Up,
    ask: &str,
    command: &Cmd,
    wait: Option<Cmd>,
) -> Result<Value, BackendError> {
    let info = redirected(ask, up.info()).ok_or_else(|| BackendError::Refused(ask.into()))?;
    let failed = |error: redis::RedisError| {
        BackendError::Disconnected(crate::config::redact(&error.to_string()).into())
    };
    let name = info.addr().to_string();
    let mut connection = match up.elsewhere(&name) {
        Some(connection) => connection,
        None => {
            let config = AsyncConnectionConfig::new().set_response_timeout(None);
            shared
                .dialer
                .connect(&info, &config)
                .await
                .map_err(failed)?
        }
    };
    let mut both = redis::pipe();
    both.cmd("ASKING").add_command(command.clone());
    let waits = wait.is_some();
    if let Some(wait) = wait {
        both.add_command(wait);
    }
    let answers = connection.send_packed_commands(&both, 0, both.len()).await;
    up.keep_elsewhere(name, answers.is_ok().then_some(connection));
    let mut answers = answers.map_err(failed)?.into_iter().skip(1);
    let mut next = || match answers.next() {
        Some(Value::ServerError(error)) => {
            let why = format!("{} {}", error.code(), error.details().unwrap_or_default());
            Err(BackendError::Refused(why.trim_end().into()))
        }
        Some(value) => Ok(value),
        None => Err(BackendError::Protocol("an answer is missing".into())),
    };
    let answer = next()?;
    if waits {
        replicas::enough(shared, &next()?)?;
    }
    Ok(answer)
}
