//! Who the server is: another restart and another history of replication are another identity.
//!
//! A restart from an old snapshot and a replica that takes over while it lags behind both hold
//! tokens of entries that were cleared meanwhile; the namespace token carries the identity, so
//! neither is believed.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError, Value};

use crate::error::BackendError;

/// Hex digits of an identity.
const DIGITS: usize = 16;

/// An identity that was configured, since INFO is forbidden.
#[derive(Debug, Clone)]
pub(super) struct Fixed {
    pub(super) id: String,
    pub(super) servers: Servers,
}

/// Which servers an identity is configured for. Where there are several, one that takes over must not
/// be taken for the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Servers {
    One,
    /// The nodes of a cluster, told apart by the names that they have there.
    Nodes,
    /// Those that sentinels name, told apart by their addresses.
    Places,
}

impl Fixed {
    async fn at<F>(&self, ask: impl Fn(Cmd) -> F, place: &str) -> Result<String, BackendError>
    where
        F: Future<Output = Result<Value, BackendError>>,
    {
        match self.servers {
            Servers::One => Ok(self.id.clone()),
            Servers::Places => Ok(hashed(&[&self.id, place])),
            Servers::Nodes => {
                let mut name = redis::cmd("CLUSTER");
                name.arg("MYID");
                match ask(name).await {
                    Ok(name) => Ok(hashed(&[&self.id, &text(&name)?])),
                    Err(BackendError::Refused(_)) => Ok(hashed(&[&self.id, place])),
                    Err(why) => Err(why),
                }
            }
        }
    }
}

/// The identity of what these make together.
fn hashed(parts: &[&str]) -> String {
    let mut sha = sha1_smol::Sha1::new();
    for part in parts {
        sha.update(part.as_bytes());
    }
    let mut id = sha.digest().to_string();
    id.truncate(DIGITS);
    id
}

/// Reads the identity over a connection to `place`, and refuses a replica: tokens are never read from
/// one. `fixed` replaces it where INFO is forbidden.
pub(super) async fn read<F>(
    ask: impl Fn(Cmd) -> F,
    fixed: Option<&Fixed>,
    place: &str,
) -> Result<String, BackendError>
where
    F: Future<Output = Result<Value, BackendError>>,
{
    // Two commands, since several sections in one INFO need Redis 7; both go out at once.
    let answers = tokio::join!(ask(info("server")), ask(info("replication")));
    let (server, replication) = match answers {
        (Ok(server), Ok(replication)) => (text(&server)?, text(&replication)?),
        (Err(BackendError::Refused(why)), _) | (_, Err(BackendError::Refused(why))) => {
            return without_info(ask, fixed, place, &why).await;
        }
        (Err(why), _) | (_, Err(why)) => return Err(why),
    };
    if field(&replication, "role").is_some_and(|role| role != "master") {
        return Err(replica());
    }
    if let Some(fixed) = fixed {
        return fixed.at(ask, place).await;
    }
    let run = field(&server, "run_id").unwrap_or_default();
    if run.is_empty() {
        return Err(BackendError::Protocol(
            "INFO server tells no run_id; set SMART_REDIS_SERVER_ID".into(),
        ));
    }
    let history = field(&replication, "master_replid").unwrap_or_default();
    Ok(hashed(&[run, history]))
}

/// The same over a connection beside that of the data.
pub(super) async fn read_beside(
    connection: &MultiplexedConnection,
    fixed: Option<&Fixed>,
    place: &str,
) -> Result<String, BackendError> {
    let refused = |code: &str, detail: Option<&str>| {
        let why = format!("{code} {}", detail.unwrap_or_default());
        Err(BackendError::Refused(why.trim_end().into()))
    };
    let ask = |command: Cmd| {
        let mut connection = connection.clone();
        async move {
            match connection.send_packed_command(&command).await {
                Ok(Value::ServerError(error)) => refused(error.code(), error.details()),
                Ok(value) => Ok(value),
                Err(error) => match error.code() {
                    Some(code) => refused(code, error.detail()),
                    None => Err(broken(&error)),
                },
            }
        }
    };
    read(ask, fixed, place).await
}

/// What has happened to a connection.
pub(super) fn broken(error: &RedisError) -> BackendError {
    BackendError::Disconnected(crate::config::redact(&error.to_string()).into())
}

/// What can be had where INFO is refused: the configured identity, if the server is no replica.
async fn without_info<F>(
    ask: impl Fn(Cmd) -> F,
    fixed: Option<&Fixed>,
    place: &str,
    why: &str,
) -> Result<String, BackendError>
where
    F: Future<Output = Result<Value, BackendError>>,
{
    if why.starts_with("NOAUTH") {
        let remedy =
            "Set SMART_REDIS_PASSWORD, and SMART_REDIS_USERNAME if it is not the default user's";
        return Err(BackendError::Refused(format!("{why} {remedy}").into()));
    }
    let Some(fixed) = fixed else {
        let remedy = "allow it with ACL SETUSER <user> +info, or set SMART_REDIS_SERVER_ID to something that changes when the server restarts or fails over";
        return Err(BackendError::Refused(
            format!("INFO is forbidden ({why}): {remedy}").into(),
        ));
    };
    match ask(redis::cmd("ROLE")).await {
        Ok(Value::Array(role)) => match role.first().map(text) {
            Some(Ok(role)) if role != "master" => Err(replica()),
            _ => fixed.at(ask, place).await,
        },
        // A user who may not ask that either is believed.
        Ok(_) | Err(BackendError::Refused(_)) => fixed.at(ask, place).await,
        Err(why) => Err(why),
    }
}

fn info(section: &str) -> Cmd {
    let mut info = redis::cmd("INFO");
    info.arg(section);
    info
}

fn replica() -> BackendError {
    BackendError::Refused(
        "READONLY this server is a replica: give the address of the master".into(),
    )
}

/// One line of an INFO section.
pub(super) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

pub(super) fn text(value: &Value) -> Result<String, BackendError> {
    match value {
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(text.clone()),
        other => Err(BackendError::Protocol(format!("{other:?}").into())),
    }
}
