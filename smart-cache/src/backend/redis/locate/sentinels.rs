//! The master that sentinels name.
//!
//! All of them are asked, and the one that has heard of the newest failover counts first. What it
//! says is only a guess all the same: one that lags behind, or lies, names a replica, or nobody, or a
//! master of the past, and then the next one counts.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{ConnectionInfo, Value};

use super::{Word, ask, connect, gather, text};
use crate::backend::redis::dial::{Dialer, at};
use crate::config;
use crate::error::BackendError;

/// What helps when a sentinel asks for a password.
const REMEDY: &str = "Set SMART_REDIS_SENTINEL_PASSWORD, and SMART_REDIS_SENTINEL_USERNAME if it is not the default user's";

/// The sentinels of one master.
pub(in crate::backend::redis) struct Sentinels {
    config: config::Sentinels,
    /// Kept, for they are asked again and again.
    connections: Mutex<HashMap<String, MultiplexedConnection>>,
}

impl std::fmt::Debug for Sentinels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sentinels")
            .field("master", &self.config.master)
            .finish_non_exhaustive()
    }
}

/// What one sentinel says.
struct View {
    /// The number of the newest failover that it has heard of.
    epoch: u64,
    host: String,
    port: u16,
}

impl Sentinels {
    pub(super) fn new(config: config::Sentinels) -> Self {
        Self {
            config,
            connections: Mutex::default(),
        }
    }

    /// Whoever is said to be the master: by the newest word first, then by the most.
    pub(super) async fn masters(
        &self,
        dialer: &Dialer,
        limit: Duration,
    ) -> Result<Vec<ConnectionInfo>, BackendError> {
        let seeds = self.config.seeds.iter();
        let (views, why) = gather(seeds.map(|seed| self.view(dialer, seed, limit))).await;
        let mut masters: Vec<(u64, usize, ConnectionInfo)> = Vec::new();
        for view in views {
            let master = at(&self.config.server, &view.host, view.port);
            let known = masters.iter_mut();
            match known
                .into_iter()
                .find(|known| known.2.addr() == master.addr())
            {
                Some(known) => *known = (known.0.max(view.epoch), known.1 + 1, known.2.clone()),
                None => masters.push((view.epoch, 1, master)),
            }
        }
        masters.sort_by_key(|(epoch, votes, _)| std::cmp::Reverse((*epoch, *votes)));
        if masters.is_empty() {
            return Err(why.unwrap_or_else(|| BackendError::Disconnected("no sentinel".into())));
        }
        Ok(masters.into_iter().map(|(_, _, master)| master).collect())
    }

    /// Whether the sentinels name another master that really is one.
    pub(super) async fn superseded(
        &self,
        dialer: &Dialer,
        current: &ConnectionInfo,
        limit: Duration,
    ) -> Word {
        let Ok(masters) = self.masters(dialer, limit).await else {
            return Word::None;
        };
        for named in masters {
            if named.addr() == current.addr() {
                return Word::Confirmed;
            }
            if is_master(dialer, &named, limit).await {
                let why = format!("the sentinels name another master: {}", named.addr());
                return Word::Superseded(BackendError::Disconnected(why.into()));
            }
        }
        Word::None
    }

    async fn view(
        &self,
        dialer: &Dialer,
        seed: &ConnectionInfo,
        limit: Duration,
    ) -> Result<View, BackendError> {
        let name = seed.addr().to_string();
        let mut connection = match self.kept(&name) {
            Some(connection) => connection,
            None => connect(dialer, seed, limit).await?,
        };
        let mut asked = redis::pipe();
        asked
            .cmd("SENTINEL")
            .arg("GET-MASTER-ADDR-BY-NAME")
            .arg(&self.config.master);
        asked.cmd("SENTINEL").arg("MASTER").arg(&self.config.master);
        let mut answers = ask(&mut connection, seed, &asked, REMEDY)
            .await?
            .into_iter();
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, connection);
        let Some(Value::Array(master)) = answers.next().transpose()? else {
            let why = format!(
                "{} knows no master named {:?}: SENTINEL MASTERS lists those that it watches",
                seed.addr(),
                self.config.master
            );
            return Err(BackendError::Refused(why.into()));
        };
        let port = text(master.get(1)).parse();
        let (host, Ok(port)) = (text(master.first()), port) else {
            let why = format!("{} names no port", seed.addr());
            return Err(BackendError::Protocol(why.into()));
        };
        // Whom a sentinel tells no more than the place is believed too, and last.
        let more = answers.next().and_then(Result::ok);
        Ok(View {
            epoch: epoch_of(more.as_ref()).unwrap_or(0),
            host,
            port,
        })
    }

    /// A connection of before. One that broke meanwhile fails at once, and is forgotten here.
    fn kept(&self, name: &str) -> Option<MultiplexedConnection> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name)
    }
}

/// Whether a server takes itself for a master.
async fn is_master(dialer: &Dialer, info: &ConnectionInfo, limit: Duration) -> bool {
    let Ok(mut connection) = connect(dialer, info, limit).await else {
        return false;
    };
    let mut asked = redis::pipe();
    asked.cmd("ROLE");
    asked.cmd("INFO").arg("replication");
    let Ok(answers) = ask(&mut connection, info, &asked, "").await else {
        return false;
    };
    // One of the two may be forbidden.
    answers.iter().flatten().any(|answer| match answer {
        Value::Array(role) => text(role.first()) == "master",
        info => text(Some(info)).contains("role:master"),
    })
}

/// `config-epoch` of what SENTINEL MASTER tells, a list of names and values.
fn epoch_of(told: Option<&Value>) -> Option<u64> {
    let value = match told? {
        Value::Array(list) => list
            .chunks_exact(2)
            .find(|pair| text(pair.first()) == "config-epoch")?
            .get(1)?,
        Value::Map(pairs) => {
            &pairs
                .iter()
                .find(|(name, _)| text(Some(name)) == "config-epoch")?
                .1
        }
        _ => return None,
    };
    text(Some(value)).parse().ok()
}
