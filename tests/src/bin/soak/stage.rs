//! Two Redis servers, one the other's replica; the processes; and what puts everything right again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use smart_cache_tests::harness::{Chaos, Direction, RedisServer};
use tempfile::TempDir;
use tokio::sync::Mutex as Turns;

use super::Broken;
use super::history::History;
use super::nodes::Node;
use super::report::Report;
use super::rows::Rows;

/// Everything that runs.
#[derive(Debug)]
pub(crate) struct Stage {
    /// The servers, for one fault at a time.
    pub(crate) servers: Turns<Servers>,
    /// Where the master listens, for whoever has no turn.
    master: Mutex<SocketAddr>,
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) rows: Rows,
    pub(crate) history: Mutex<History>,
    pub(crate) report: Arc<Report>,
    _folder: TempDir,
}

/// The two servers, and which of them is the master.
#[derive(Debug)]
pub(crate) struct Servers {
    both: [RedisServer; 2],
    master: usize,
    /// The other one hears of nothing that happens.
    pub(crate) lags: bool,
}

impl Servers {
    pub(crate) fn master(&self) -> &RedisServer {
        &self.both[self.master]
    }

    pub(crate) fn master_mut(&mut self) -> &mut RedisServer {
        &mut self.both[self.master]
    }

    pub(crate) fn replica(&self) -> &RedisServer {
        &self.both[1 - self.master]
    }

    /// The replica follows the master from now on.
    pub(crate) fn follow(&mut self) {
        let port = self.master().port().to_string();
        let _ = self.replica().cli(&["REPLICAOF", "127.0.0.1", &port]);
        self.lags = false;
    }

    /// The replica keeps what it has: its master is said to be where nobody listens.
    pub(crate) fn lag(&mut self) {
        let _ = self.replica().cli(&["REPLICAOF", "127.0.0.1", "1"]);
        self.lags = true;
    }

    /// The master is gone, and the other one takes its place with what it has.
    pub(crate) async fn fail_over(&mut self) {
        self.master_mut().kill();
        self.master = 1 - self.master;
        let _ = self.master().cli(&["REPLICAOF", "NO", "ONE"]);
        // Until it follows it is a server of its own, to which nobody is connected.
        self.both[1 - self.master].restart().await;
        self.follow();
    }
}

impl Stage {
    pub(crate) async fn set_up(
        processes: u64,
        broken: Option<Broken>,
        report: Arc<Report>,
    ) -> Arc<Self> {
        // Neither is born a replica, or it would be one again after each restart.
        let (master, replica) = (RedisServer::start().await, RedisServer::start().await);
        let mut servers = Servers {
            both: [master, replica],
            master: 0,
            lags: false,
        };
        servers.follow();
        let folder = TempDir::with_prefix("soak-").expect("a temporary folder");
        let path: PathBuf = folder.path().join("rows");
        let rows = Rows::create(&path);
        let address = servers.master().address();
        let mut nodes = Vec::new();
        for number in 0..processes {
            let chaos = Chaos::in_front_of(address).await;
            chaos.mark("TRACKING");
            let number = usize::try_from(number).unwrap_or(0);
            nodes.push(Node::start(number, chaos, path.clone(), broken).await);
        }
        Arc::new(Self {
            servers: Turns::new(servers),
            master: Mutex::new(address),
            nodes,
            rows,
            history: Mutex::default(),
            report,
            _folder: folder,
        })
    }

    pub(crate) fn history(&self) -> std::sync::MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the master listens.
    pub(crate) fn master(&self) -> SocketAddr {
        *self.master.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every process is sent to the master that there is now.
    pub(crate) fn redirect(&self, servers: &Servers) {
        let address = servers.master().address();
        *self.master.lock().unwrap_or_else(PoisonError::into_inner) = address;
        for node in &self.nodes {
            node.chaos.redirect(address);
        }
    }

    /// Ends every fault that is still on, and waits until nothing is pending.
    pub(crate) async fn heal(&self) {
        let servers = self.servers.lock().await;
        for (name, value) in [("maxmemory", "0"), ("maxmemory-policy", "noeviction")] {
            let _ = servers.master().cli(&["CONFIG", "SET", name, value]);
        }
        drop(servers);
        for node in &self.nodes {
            calm(&node.chaos);
            node.thaw();
        }
        self.report.event("all faults are over", None);
    }

    /// Ends all processes.
    pub(crate) async fn stop(&self) {
        for node in &self.nodes {
            node.stop();
        }
        // A server that is stopped cannot be killed politely, but it can be killed.
        tokio::task::yield_now().await;
    }
}

/// A link without any fault.
pub(crate) fn calm(chaos: &Chaos) {
    for direction in [Direction::Requests, Direction::Replies] {
        chaos.thaw(direction);
        chaos.thaw_marked(direction);
    }
    chaos.delay(Duration::ZERO);
    chaos.accept_connections();
    chaos.forget();
}

/// Asks again until it is so; how long that took, or `None` when it never was.
pub(crate) async fn eventually(
    limit: Duration,
    mut ask: impl AsyncFnMut() -> bool,
) -> Option<Duration> {
    let began = Instant::now();
    while began.elapsed() < limit {
        if ask().await {
            return Some(began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    None
}
