//! Everything that can go wrong, in three lanes: the servers, the links, the processes.
//!
//! Each lane has its own sequence of faults from the seed, so that how long one takes changes nothing
//! for the others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smart_cache_tests::harness::{Direction, Loss, Random};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::nodes::Node;
use super::report::Report;
use super::stage::{Servers, Stage, calm};
use super::{STALENESS, micros};

/// After a role change that kept connections: a heartbeat of the data connection and one of the
/// tracking connection, each of a quarter of L, and what a command may take at each.
const EXCEPTED: Duration = Duration::from_millis(1500);

/// What happens to the servers.
#[derive(Clone, Copy, Debug)]
enum OnServer {
    /// The snapshot that a later restart will load.
    Save,
    KillAndRestart,
    Lag,
    FailOver,
    /// A role change that keeps the connections, on to the data of the replica and back.
    RoleChange,
    Freeze,
    FlushAll,
    Evict,
    /// Memory pressure: anything may go at any moment.
    Pressure,
    OutOfMemory,
    KillClients,
    KillTracking,
    ForgetScripts,
}

/// What happens between one process and Redis.
#[derive(Clone, Copy, Debug)]
enum OnLink {
    Cut,
    CutTracking,
    Freeze,
    FreezeReplies,
    FreezeTracking,
    Slow,
    Refuse,
    LoseReply,
    Duplicate,
    Hold,
}

/// What happens to one process.
#[derive(Clone, Copy, Debug)]
enum OnProcess {
    Kill,
    Deploy,
    Freeze,
}

const ON_SERVER: &[OnServer] = &[
    OnServer::Save,
    OnServer::Save,
    OnServer::KillAndRestart,
    OnServer::Lag,
    OnServer::FailOver,
    OnServer::RoleChange,
    OnServer::Freeze,
    OnServer::Freeze,
    OnServer::FlushAll,
    OnServer::Evict,
    OnServer::Evict,
    OnServer::Pressure,
    OnServer::OutOfMemory,
    OnServer::KillClients,
    OnServer::KillTracking,
    OnServer::ForgetScripts,
];
const ON_LINK: &[OnLink] = &[
    OnLink::Cut,
    OnLink::CutTracking,
    OnLink::Freeze,
    OnLink::FreezeReplies,
    OnLink::FreezeTracking,
    OnLink::Slow,
    OnLink::Refuse,
    OnLink::LoseReply,
    OnLink::LoseReply,
    OnLink::Duplicate,
    OnLink::Duplicate,
    OnLink::Hold,
];
const ON_PROCESS: &[OnProcess] = &[
    OnProcess::Kill,
    OnProcess::Kill,
    OnProcess::Deploy,
    OnProcess::Freeze,
];

/// The lanes that run.
pub(crate) struct Lanes(Vec<JoinHandle<()>>);

impl Lanes {
    pub(crate) fn start(
        stage: &Arc<Stage>,
        seed: u64,
        pause: Duration,
        end: Instant,
        report: &Arc<Report>,
    ) -> Self {
        let lane = |number: u64| Lane {
            stage: Arc::clone(stage),
            report: Arc::clone(report),
            random: Random::seeded(seed ^ (number << 40)),
            pause,
            end,
        };
        let runtime = tokio::runtime::Handle::current();
        let servers = lane(1);
        Self(vec![
            // A thread of its own: redis-cli is waited for without any way to do something else.
            tokio::task::spawn_blocking(move || runtime.block_on(servers.servers())),
            tokio::spawn(lane(2).links()),
            // Two at once, on links of their own choice.
            tokio::spawn(lane(3).links()),
            tokio::spawn(lane(4).processes()),
        ])
    }

    /// Waits for their end; whether one of them broke.
    pub(crate) async fn ended(self) -> bool {
        let mut broke = false;
        for lane in self.0 {
            broke |= lane.await.is_err();
        }
        broke
    }
}

struct Lane {
    stage: Arc<Stage>,
    report: Arc<Report>,
    random: Random,
    pause: Duration,
    end: Instant,
}

impl Lane {
    /// Waits for the moment of the next fault; `false` when the run is over.
    async fn next(&mut self) -> bool {
        let pause = self.millis(self.pause.as_millis() as u64);
        tokio::time::sleep(pause).await;
        Instant::now() + Duration::from_secs(1) < self.end && !self.report.is_violated()
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.random.below(all.len() as u64) as usize]
    }

    fn millis(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.random.below(most.max(1)))
    }

    fn node(&mut self) -> Arc<Node> {
        let number = self.random.below(self.stage.nodes.len() as u64) as usize;
        Arc::clone(&self.stage.nodes[number])
    }

    async fn servers(mut self) {
        while self.next().await {
            let fault = self.pick(ON_SERVER);
            self.report.fault(&format!("{fault:?}"));
            let stage = Arc::clone(&self.stage);
            let mut servers = stage.servers.lock().await;
            self.on_server(fault, &mut servers).await;
            self.report.event(&format!("{fault:?} is over"), None);
        }
    }

    async fn on_server(&mut self, fault: OnServer, servers: &mut Servers) {
        let cli = |servers: &Servers, words: &[&str]| {
            let _ = servers.master().cli(words);
        };
        match fault {
            OnServer::Save => servers.master().save().await,
            OnServer::KillAndRestart => {
                servers.master_mut().kill();
                let down = self.millis(600);
                tokio::time::sleep(down).await;
                servers.master_mut().restart().await;
                servers.follow();
            }
            OnServer::Lag => servers.lag(),
            OnServer::FailOver => {
                servers.fail_over().await;
                self.stage.redirect(servers);
            }
            OnServer::RoleChange => self.change_role(servers).await,
            OnServer::Freeze => {
                servers.master().freeze();
                let frozen = self.millis(1500);
                tokio::time::sleep(frozen).await;
                servers.master().thaw();
            }
            OnServer::FlushAll => cli(servers, &["FLUSHALL"]),
            OnServer::Evict => {
                for _ in 0..1 + self.random.below(20) {
                    let script =
                        "local key = redis.call('RANDOMKEY') return key and redis.call('DEL', key)";
                    cli(servers, &["EVAL", script, "0"]);
                }
            }
            OnServer::Pressure => {
                let used = servers.master().info("used_memory").await;
                cli(
                    servers,
                    &["CONFIG", "SET", "maxmemory-policy", "allkeys-random"],
                );
                cli(servers, &["CONFIG", "SET", "maxmemory", &used]);
                let pressed = self.millis(1500);
                tokio::time::sleep(pressed).await;
                cli(servers, &["CONFIG", "SET", "maxmemory", "0"]);
            }
            OnServer::OutOfMemory => {
                cli(
                    servers,
                    &["CONFIG", "SET", "maxmemory-policy", "noeviction"],
                );
                cli(servers, &["CONFIG", "SET", "maxmemory", "1"]);
                let full = self.millis(1500);
                tokio::time::sleep(full).await;
                cli(servers, &["CONFIG", "SET", "maxmemory", "0"]);
            }
            OnServer::KillClients => cli(servers, &["CLIENT", "KILL", "TYPE", "normal"]),
            OnServer::KillTracking => {
                let clients = servers.master().cli(&["CLIENT", "LIST"]);
                let tracking = clients.lines().filter(|line| {
                    let mut fields = line.split(' ');
                    fields.any(|field| {
                        let flags = field.strip_prefix("flags=");
                        flags.is_some_and(|flags| flags.contains('t'))
                    })
                });
                let ids: Vec<&str> = tracking
                    .filter_map(|line| line.split(' ').next()?.strip_prefix("id="))
                    .collect();
                if !ids.is_empty() {
                    let id = ids[self.random.below(ids.len() as u64) as usize];
                    cli(servers, &["CLIENT", "KILL", "ID", id]);
                }
            }
            OnServer::ForgetScripts => cli(servers, &["SCRIPT", "FLUSH"]),
        }
    }

    /// The master takes over what the replica has, as it lags behind, and is the master again.
    async fn change_role(&mut self, servers: &mut Servers) {
        if !servers.lags {
            servers.lag();
            let lags = self.millis(300);
            tokio::time::sleep(lags).await;
        }
        let _ = servers.replica().cli(&["REPLICAOF", "NO", "ONE"]);
        let port = servers.replica().port().to_string();
        let from = micros();
        self.stage.history().except(from, u64::MAX);
        let _ = servers.master().cli(&["REPLICAOF", "127.0.0.1", &port]);
        servers.master().synced(servers.replica()).await;
        let _ = servers.master().cli(&["REPLICAOF", "NO", "ONE"]);
        let until = micros() + EXCEPTED.as_micros() as u64;
        self.stage.history().end_exception(from, until);
        servers.follow();
    }

    async fn links(mut self) {
        while self.next().await {
            let (fault, node) = (self.pick(ON_LINK), self.node());
            self.report.fault_at(&format!("{fault:?}"), node.number);
            self.on_link(fault, &node).await;
        }
    }

    async fn on_link(&mut self, fault: OnLink, node: &Arc<Node>) {
        let chaos = &node.chaos;
        let lasts = self.millis(1500);
        let needle: &[u8] = match self.random.below(4) {
            0 => b"DEL",
            1 => b"MGET",
            _ => b"EVALSHA",
        };
        match fault {
            OnLink::Cut => chaos.cut(),
            OnLink::CutTracking => chaos.cut_marked(),
            OnLink::Freeze => {
                chaos.freeze(Direction::Requests);
                chaos.freeze(Direction::Replies);
                tokio::time::sleep(lasts).await;
                chaos.thaw(Direction::Requests);
                chaos.thaw(Direction::Replies);
            }
            OnLink::FreezeReplies => {
                chaos.freeze(Direction::Replies);
                tokio::time::sleep(lasts).await;
                chaos.thaw(Direction::Replies);
            }
            OnLink::FreezeTracking => {
                chaos.freeze_marked(Direction::Replies);
                tokio::time::sleep(lasts).await;
                chaos.thaw_marked(Direction::Replies);
            }
            OnLink::Slow => {
                let by = self.millis(300);
                chaos.delay(by);
                tokio::time::sleep(lasts * 2).await;
                chaos.delay(Duration::ZERO);
            }
            OnLink::Refuse => {
                chaos.refuse_connections();
                chaos.cut();
                tokio::time::sleep(lasts).await;
                chaos.accept_connections();
            }
            OnLink::LoseReply => {
                let all = [Loss::Cut, Loss::Silence, Loss::Torn, Loss::Swallowed];
                let loss = self.pick(&all);
                chaos.lose_reply_of(needle, loss);
            }
            OnLink::Duplicate => {
                let captured = chaos.capture(needle);
                let (stage, after) = (Arc::clone(&self.stage), lasts * 2);
                let times = 1 + self.random.below(3);
                tokio::spawn(async move {
                    let taken = captured.taken_within(Duration::from_secs(5)).await;
                    let Some(message) = taken else { return };
                    tokio::time::sleep(after).await;
                    for _ in 0..times {
                        deliver(&stage, message.message()).await;
                    }
                });
            }
            OnLink::Hold => {
                let mut held = chaos.hold(needle);
                if held.arrived_within(Duration::from_secs(2)).await {
                    tokio::time::sleep(lasts).await;
                }
                held.release();
            }
        }
        if matches!(fault, OnLink::Cut | OnLink::Refuse) {
            calm(chaos);
        }
    }

    async fn processes(mut self) {
        while self.next().await {
            let (fault, node) = (self.pick(ON_PROCESS), self.node());
            self.report
                .fault_at(&format!("{fault:?}Process"), node.number);
            match fault {
                OnProcess::Kill => node.replace(false).await,
                OnProcess::Deploy => node.replace(true).await,
                OnProcess::Freeze => {
                    node.freeze();
                    let frozen = self.millis(1500);
                    tokio::time::sleep(frozen).await;
                    node.thaw();
                }
            }
        }
    }
}

/// Sends a message once more, on a connection of its own; nobody minds if that fails.
async fn deliver(stage: &Stage, message: &[u8]) {
    let exchange = async {
        let mut server = TcpStream::connect(stage.master()).await?;
        server.write_all(message).await?;
        // Some of the answer, so that it was executed before the connection closes.
        let mut answer = [0; 64];
        server.read(&mut answer).await
    };
    let _ = tokio::time::timeout(Duration::from_secs(2), exchange).await;
}

/// What the exception of a role change is measured by.
const _: () = assert!(EXCEPTED.as_millis() > STALENESS.as_millis());
