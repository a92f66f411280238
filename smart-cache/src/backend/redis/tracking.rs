//! The connection that hears of every change: RESP3, BCAST tracking of the tokens.
//!
//! It lives as long as the data connection and must speak to the same server. Never with NOLOOP:
//! in one turn of the server's loop it loses another client's DEL when this process mints the
//! token again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind, Value};
use tokio::sync::Notify;

use super::Shared;
use super::identity;
use super::up::Up;
use crate::local::Freshness;

/// Pauses between attempts.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Ends the generation, whatever ends the connection.
struct Hearing(Arc<Freshness>);

impl Drop for Hearing {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Why the local tier rests.
enum Ended {
    /// The server cannot push: trying again would change nothing.
    Unsupported(String),
    Lost(String),
}

/// Runs beside a data connection, for as long as that lives.
pub(super) async fn run(shared: Arc<Shared>, up: Arc<Up>) {
    let Some(freshness) = shared.freshness.clone() else {
        return;
    };
    let mut pause = PAUSE;
    loop {
        let began = Instant::now();
        match hear(&shared, &up, &freshness).await {
            Ended::Unsupported(why) => {
                tracing::warn!(server = %shared.address, cause = %why, "local tier off: the server cannot push invalidations (RESP3 tracking); every hit is a round trip");
                return;
            }
            Ended::Lost(why) => {
                tracing::debug!(server = %shared.address, cause = %why, "tracking connection lost; hits come from Redis until it is back");
            }
        }
        if began.elapsed() > LONGEST_PAUSE {
            pause = PAUSE;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn hear(shared: &Shared, up: &Up, freshness: &Arc<Freshness>) -> Ended {
    let staleness = shared.options.staleness;
    let limit = staleness.max(Duration::from_secs(1));
    let broken = Arc::new(Notify::new());
    let (mut connection, hearing) =
        match tokio::time::timeout(limit, connect(shared, up, freshness, &broken)).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(ended)) => return ended,
            Err(_) => return Ended::Lost("no answer to the handshake".to_owned()),
        };
    // The same server, or its pushes would tell of other tokens than the lookups read.
    let place = up.info().addr().to_string();
    let read = identity::read_beside(&connection, shared.fixed.as_ref(), &place);
    match tokio::time::timeout(limit, read).await {
        Ok(Ok(id)) if *id == *up.id() => {}
        Ok(Ok(_)) => {
            return Ended::Lost("another server than that of the data connection".to_owned());
        }
        Ok(Err(why)) => return Ended::Lost(why.to_string()),
        Err(_) => return Ended::Lost("no answer to the handshake".to_owned()),
    }
    let own_id = up.id();
    let asked = Instant::now();
    let mut tracking = redis::cmd("CLIENT");
    tracking
        .arg("TRACKING")
        .arg("ON")
        .arg("BCAST")
        .arg("PREFIX")
        .arg(shared.names.token_prefix());
    match tokio::time::timeout(limit, connection.send_packed_command(&tracking)).await {
        Ok(Ok(Value::Okay)) => {}
        Ok(Ok(Value::ServerError(error))) if is_final(Some(error.code())) => {
            return Ended::Unsupported(error.to_string());
        }
        Ok(Err(error)) if is_final(error.code()) => return Ended::Unsupported(error.to_string()),
        Ok(other) => return Ended::Lost(format!("{other:?}")),
        Err(_) => return Ended::Lost("no answer to CLIENT TRACKING".to_owned()),
    }
    freshness.begin(asked, staleness);
    tracing::debug!(server = %shared.address, "local tier live");
    let keeping = keep(&mut connection, up, &own_id, freshness, staleness);
    // Who finds the connection broken need not wait for the next heartbeat to find out.
    let why = tokio::select! {
        why = keeping => why,
        () = broken.notified() => "the connection broke".to_owned(),
    };
    drop(hearing);
    Ended::Lost(why)
}

/// Proves at every heartbeat that all pushes have arrived.
async fn keep(
    connection: &mut MultiplexedConnection,
    up: &Up,
    id: &str,
    freshness: &Freshness,
    staleness: Duration,
) -> String {
    loop {
        tokio::time::sleep(staleness / 4).await;
        let sent = Instant::now();
        let ping = redis::cmd("PING");
        match tokio::time::timeout(staleness, connection.send_packed_command(&ping)).await {
            // Answers and pushes come in order, so what was pushed before the answer was heard.
            Ok(Ok(Value::SimpleString(_) | Value::BulkString(_))) => {
                freshness.heartbeat(sent, staleness);
            }
            Ok(Ok(other)) => return format!("{other:?}"),
            Ok(Err(error)) => return error.to_string(),
            Err(_) => return "no answer to PING".to_owned(),
        }
        if *up.id() != *id {
            return "the server has become another".to_owned();
        }
    }
}

async fn connect(
    shared: &Shared,
    up: &Up,
    freshness: &Arc<Freshness>,
    broken: &Arc<Notify>,
) -> Result<(MultiplexedConnection, Hearing), Ended> {
    let info = up.info().clone();
    let settings = info
        .redis_settings()
        .clone()
        .set_protocol(ProtocolVersion::RESP3);
    let info = info.set_redis_settings(settings);
    let prefix = shared.names.token_prefix();
    let hearing = Hearing(Arc::clone(freshness));
    let (heard, broken) = (Arc::clone(freshness), Arc::clone(broken));
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
        .set_push_sender(
            move |push: PushInfo| -> Result<(), std::convert::Infallible> {
                on_push(&heard, &prefix, &push);
                if push.kind == PushKind::Disconnection {
                    broken.notify_one();
                }
                Ok(())
            },
        );
    match shared.dialer.connect(&info, &config).await {
        Ok(connection) => Ok((connection, hearing)),
        Err(error)
            if error.kind() == redis::ErrorKind::RESP3NotSupported || is_final(error.code()) =>
        {
            Err(Ended::Unsupported(error.to_string()))
        }
        Err(error) => Err(Ended::Lost(crate::config::redact(&error.to_string()))),
    }
}

/// Whether the server will say the same the next time: it does not know the command, or the user
/// may not use it. A password that is wrong or a script that keeps it busy may be over soon.
fn is_final(code: Option<&str>) -> bool {
    matches!(code, Some("ERR" | "NOPERM" | "NOPROTO"))
}

/// Called in the order in which things arrive on the connection.
fn on_push(freshness: &Freshness, prefix: &str, push: &PushInfo) {
    match push.kind {
        PushKind::Disconnection => freshness.end(),
        PushKind::Invalidate => match push.data.first() {
            Some(Value::Array(names)) => {
                for name in names {
                    match name {
                        Value::BulkString(name) => {
                            let name = name
                                .strip_prefix(prefix.as_bytes())
                                .map(std::str::from_utf8);
                            match name {
                                Some(Ok(name)) => freshness.changed(name),
                                // A name that is none of ours, or that we cannot read.
                                _ => freshness.flushed(),
                            }
                        }
                        _ => freshness.flushed(),
                    }
                }
            }
            // FLUSHALL, FLUSHDB, or something that we do not understand.
            _ => freshness.flushed(),
        },
        _ => {}
    }
}
