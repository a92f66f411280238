//! Where the server of a namespace is; asked at every attempt to connect.
//!
//! A namespace is one slot of a cluster, and one master is all that sentinels are asked for, so
//! there is always one server. What answers here is only a guess: `link.rs` reads from the server
//! itself who it is, and that it is a master, before anything is looked up there.
//!
//! Not the client library's own cluster and sentinel connections: they reconnect, redirect and
//! retry by themselves, so a command could reach a server whose identity nobody has read.

mod cluster;
mod sentinels;

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionInfo, Value};

use self::cluster::Cluster;
pub(super) use self::cluster::redirected;
use self::sentinels::Sentinels;
use super::dial::Dialer;
use crate::config::Address;
use crate::error::BackendError;

/// After the first answer the others have this long: the newest counts, not the fastest.
const GRACE: Duration = Duration::from_millis(50);

/// Where the server of a namespace is.
#[derive(Debug)]
pub(super) enum Locator {
    Fixed(Box<ConnectionInfo>),
    Cluster(Cluster),
    Sentinels(Box<Sentinels>),
}

impl Locator {
    /// `tag` is what the cluster tells slots by: the namespace.
    pub(super) fn new(address: Address, tag: &str) -> Self {
        match address {
            Address::Server(info) => Self::Fixed(Box::new(info)),
            Address::Cluster(seeds) => Self::Cluster(Cluster::new(seeds, tag)),
            Address::Sentinels(sentinels) => Self::Sentinels(Box::new(Sentinels::new(sentinels))),
        }
    }

    pub(super) fn is_fixed(&self) -> bool {
        matches!(self, Self::Fixed(_))
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// The servers that may be it, the likeliest first; at least one.
    pub(super) async fn candidates(
        &self,
        dialer: &Dialer,
        limit: Duration,
    ) -> Result<Vec<ConnectionInfo>, BackendError> {
        match self {
            Self::Fixed(info) => Ok(vec![(**info).clone()]),
            Self::Cluster(cluster) => cluster.owners(dialer, limit).await,
            Self::Sentinels(sentinels) => sentinels.masters(dialer, limit).await,
        }
    }

    /// What they say of the server of a living connection who know where it is. (A cluster needs no
    /// question: its nodes refuse what is not theirs.)
    pub(super) async fn superseded(
        &self,
        dialer: &Dialer,
        current: &ConnectionInfo,
        limit: Duration,
    ) -> Word {
        match self {
            Self::Sentinels(sentinels) => sentinels.superseded(dialer, current, limit).await,
            Self::Fixed(_) | Self::Cluster(_) => Word::Confirmed,
        }
    }
}

/// What is said of the server of a living connection.
#[derive(Debug)]
pub(super) enum Word {
    Confirmed,
    /// Another one has taken over: it is to be given up, for this reason.
    Superseded(BackendError),
    /// Nobody could be asked.
    None,
}

/// A connection for one question.
async fn connect(
    dialer: &Dialer,
    info: &ConnectionInfo,
    limit: Duration,
) -> Result<MultiplexedConnection, BackendError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(limit))
        .set_response_timeout(Some(limit));
    let connected = dialer.connect(info, &config).await;
    connected.map_err(|error| failed(info, &error))
}

/// The answers to some commands. Who asks for a password is answered with a remedy.
async fn ask(
    connection: &mut MultiplexedConnection,
    info: &ConnectionInfo,
    commands: &redis::Pipeline,
    remedy: &str,
) -> Result<Vec<Result<Value, BackendError>>, BackendError> {
    let answers = connection.send_packed_commands(commands, 0, commands.len());
    let answers = answers.await.map_err(|error| failed(info, &error))?;
    let refused = |value| match value {
        Value::ServerError(error) => {
            let (code, detail) = (error.code(), error.details().unwrap_or_default());
            let why = format!("{} says {code} {detail}", info.addr());
            let why = match code {
                "NOAUTH" => format!("{why} {remedy}"),
                _ => why,
            };
            Err(BackendError::Refused(why.trim_end().into()))
        }
        value => Ok(value),
    };
    Ok(answers.into_iter().map(refused).collect())
}

fn failed(info: &ConnectionInfo, error: &redis::RedisError) -> BackendError {
    let why = crate::config::redact(&error.to_string());
    BackendError::Disconnected(format!("{}: {why}", info.addr()).into())
}

/// What comes of questions that are asked at once, and the last failure among them.
async fn gather<T>(
    questions: impl Iterator<Item = impl Future<Output = Result<T, BackendError>>>,
) -> (Vec<T>, Option<BackendError>) {
    let mut open: FuturesUnordered<_> = questions.collect();
    let (mut answers, mut why) = (Vec::new(), None);
    let mut until: Option<Instant> = None;
    loop {
        let next = match until {
            None => open.next().await,
            Some(until) => tokio::time::timeout_at(until.into(), open.next())
                .await
                .unwrap_or(None),
        };
        match next {
            None => return (answers, why),
            Some(Err(error)) => why = Some(error),
            Some(Ok(answer)) => {
                answers.push(answer);
                until.get_or_insert_with(|| Instant::now() + GRACE);
            }
        }
    }
}

/// The text of a server's answer; empty for anything else.
fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::BulkString(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
        Some(Value::SimpleString(text)) => text.clone(),
        _ => String::new(),
    }
}
