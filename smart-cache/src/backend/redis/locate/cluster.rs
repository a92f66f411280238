//! The node of a cluster that owns the slot of a namespace.
//!
//! Several nodes are asked at once, and of what they say the newest counts: a node that was cut off
//! or frozen for a while may still take itself for the owner. When nobody says right, the node that
//! was taken for the owner does: it answers with MOVED.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::{ConnectionInfo, Value};

use super::{ask, connect, gather, text};
use crate::backend::redis::dial::{Dialer, at, host_of};
use crate::backend::redis::identity::field;
use crate::backend::redis::reply::integer;
use crate::error::BackendError;

/// What helps when a node asks for a password.
const REMEDY: &str =
    "Set SMART_REDIS_PASSWORD, and SMART_REDIS_USERNAME if it is not the default user's";
/// Nodes that are asked at once.
const MOST_ASKED: usize = 8;
const SLOTS: u16 = 16_384;

/// The nodes of a cluster, as far as they are known.
#[derive(Debug)]
pub(in crate::backend::redis) struct Cluster {
    seeds: Vec<Seed>,
    slot: u16,
    /// Masters as of the newest answer: the seeds may be gone one day.
    known: Mutex<Vec<(String, u16)>>,
}

/// A node that was configured; holds the password, so it is not in `Debug`.
struct Seed(ConnectionInfo);

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.addr().fmt(f)
    }
}

/// What one node says.
struct View {
    /// The greatest number of a change that it has heard of.
    epoch: u64,
    /// Whether it takes the cluster for whole.
    is_well: bool,
    owner: Option<(String, u16)>,
    masters: Vec<(String, u16)>,
}

impl Cluster {
    pub(super) fn new(seeds: Vec<ConnectionInfo>, tag: &str) -> Self {
        Self {
            seeds: seeds.into_iter().map(Seed).collect(),
            slot: slot(tag.as_bytes()),
            known: Mutex::default(),
        }
    }

    /// Whoever is said to own the slot, by the newest answer first.
    pub(super) async fn owners(
        &self,
        dialer: &Dialer,
        limit: Duration,
    ) -> Result<Vec<ConnectionInfo>, BackendError> {
        let nodes = self.nodes();
        let asked = nodes.iter().map(|node| self.view(dialer, node, limit));
        let (mut views, why) = gather(asked).await;
        views.sort_by_key(|view| std::cmp::Reverse((view.is_well, view.epoch)));
        let Some(newest) = views.first() else {
            let why = why.unwrap_or_else(|| BackendError::Disconnected("no node".into()));
            return Err(why);
        };
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone_from(&newest.masters);
        let mut owners: Vec<ConnectionInfo> = Vec::new();
        for (host, port) in views.iter().filter_map(|view| view.owner.as_ref()) {
            let owner = at(&self.seeds[0].0, host, *port);
            if owners.iter().all(|known| known.addr() != owner.addr()) {
                owners.push(owner);
            }
        }
        if owners.is_empty() {
            let why = format!(
                "CLUSTERDOWN no node of the cluster serves slot {}, that of the namespace: `redis-cli --cluster check` tells what is missing",
                self.slot
            );
            return Err(BackendError::Refused(why.into()));
        }
        Ok(owners)
    }

    /// Some nodes to ask: those that were configured, and those that are known since.
    fn nodes(&self) -> Vec<ConnectionInfo> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let template = &self.seeds[0].0;
        let known = known.iter().map(|(host, port)| at(template, host, *port));
        let mut nodes: Vec<ConnectionInfo> = Vec::new();
        for node in self.seeds.iter().map(|seed| seed.0.clone()).chain(known) {
            if nodes.iter().all(|other| other.addr() != node.addr()) {
                nodes.push(node);
            }
        }
        // With many, others each time: the first ones may all be gone.
        if nodes.len() > MOST_ASKED {
            let mut random = [0; 2];
            let _ = getrandom::fill(&mut random);
            let by = usize::from(u16::from_le_bytes(random)) % nodes.len();
            nodes.rotate_left(by);
            nodes.truncate(MOST_ASKED);
        }
        nodes
    }

    async fn view(
        &self,
        dialer: &Dialer,
        node: &ConnectionInfo,
        limit: Duration,
    ) -> Result<View, BackendError> {
        let mut connection = connect(dialer, node, limit).await?;
        let mut asked = redis::pipe();
        asked.cmd("CLUSTER").arg("SLOTS");
        asked.cmd("CLUSTER").arg("INFO");
        let mut answers = ask(&mut connection, node, &asked, REMEDY)
            .await?
            .into_iter();
        let Some(Value::Array(ranges)) = answers.next().transpose()? else {
            let why = format!("{} knows no slots", node.addr());
            return Err(BackendError::Protocol(why.into()));
        };
        // Who may not ask for the state of the cluster is believed as it is.
        let info = text(answers.next().and_then(Result::ok).as_ref());
        let (mut owner, mut masters) = (None, Vec::new());
        for range in &ranges {
            let Some((first, last, master)) = range_of(range, host_of(node)) else {
                continue;
            };
            if (first..=last).contains(&i64::from(self.slot)) {
                owner = Some(master.clone());
            }
            if !masters.contains(&master) {
                masters.push(master);
            }
        }
        let epoch = field(&info, "cluster_current_epoch").and_then(|epoch| epoch.parse().ok());
        Ok(View {
            epoch: epoch.unwrap_or(0),
            is_well: field(&info, "cluster_state").is_none_or(|state| state == "ok"),
            owner,
            masters,
        })
    }
}

/// First and last slot of a range, and its master. A node that does not know its own name leaves it
/// out: then it is the one that was asked.
fn range_of(range: &Value, asked: &str) -> Option<(i64, i64, (String, u16))> {
    let Value::Array(range) = range else {
        return None;
    };
    let [first, last, Value::Array(master), ..] = &range[..] else {
        return None;
    };
    let host = match text(master.first()) {
        host if matches!(host.as_str(), "" | "?") => asked.to_owned(),
        host => host,
    };
    let port = u16::try_from(integer(master.get(1))?).ok()?;
    Some((integer(Some(first))?, integer(Some(last))?, (host, port)))
}

/// The server that `MOVED <slot> <host>:<port>` or `ASK ..` names; without a host it is another port of
/// the one that said so.
pub(in crate::backend::redis) fn redirected(
    text: &str,
    from: &ConnectionInfo,
) -> Option<ConnectionInfo> {
    let place = text.split(' ').nth(2)?;
    let (host, port) = place.rsplit_once(':')?;
    let host = match host.trim_matches(['[', ']']) {
        "" | "?" => host_of(from),
        host => host,
    };
    Some(at(from, host, port.parse().ok()?))
}

/// The slot of everything whose hash tag this is.
fn slot(tag: &[u8]) -> u16 {
    // CRC-16/XMODEM, once for a backend: no table is worth its lines.
    let mut crc: u16 = 0;
    for byte in tag {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            let carries = crc & 0x8000 != 0;
            crc <<= 1;
            if carries {
                crc ^= 0x1021;
            }
        }
    }
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use redis::IntoConnectionInfo as _;

    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(slot(b"123456789"), 0x31c3 % SLOTS);
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b""), 0);
    }

    #[test]
    fn a_redirection_names_a_host_or_another_port_of_the_same() {
        let from = "redis://u:p@a:1".into_connection_info().unwrap();
        let place = |text| redirected(text, &from).map(|info| info.addr().to_string());
        assert_eq!(place("MOVED 5 b:2").as_deref(), Some("b:2"));
        assert_eq!(place("ASK 5 :2").as_deref(), Some("a:2"));
        assert_eq!(place("MOVED 5 ?:2").as_deref(), Some("a:2"));
        assert_eq!(place("MOVED 5 ::1:2").as_deref(), Some("::1:2"));
        assert_eq!(place("MOVED 5"), None);
        assert_eq!(place("MOVED 5 b:x"), None);
    }
}
