//! A private master with replicas, and sentinels that watch it.

use std::time::{Duration, Instant};

use super::redis_options::RedisOptions;
use super::redis_server::RedisServer;
use super::wait::{DEADLINE, eventually};

/// The name under which the sentinels know the master.
const MASTER: &str = "the-master";

/// A master, its replicas and its sentinels, gone with this guard.
#[derive(Debug)]
pub struct Sentinels {
    sentinels: Vec<RedisServer>,
    /// The master of the start, then its replicas.
    servers: Vec<RedisServer>,
}

impl Sentinels {
    /// Three sentinels, a master and `replicas`, of which one takes over when the master has been
    /// silent for this long.
    pub async fn start(replicas: usize, silence: Duration) -> Self {
        Self::with(replicas, silence, &RedisOptions::default(), None).await
    }

    /// The same with servers that have options of their own, and sentinels with a password.
    ///
    /// # Panics
    ///
    /// When they do not find each other.
    pub async fn with(
        replicas: usize,
        silence: Duration,
        server: &RedisOptions,
        password: Option<&str>,
    ) -> Self {
        let mut servers = vec![server.clone().start().await];
        for _ in 0..replicas {
            let replica = server.clone().replica_of(&servers[0]);
            // Whoever of them is the master one day, the others must be let in.
            servers.push(replica.start().await);
        }
        for replica in &servers[1..] {
            replica.synced(&servers[0]).await;
        }
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(sentinel(&servers[0], 2, silence, password).await);
        }
        let all = Self { sentinels, servers };
        for sentinel in &all.sentinels {
            eventually("the sentinels to find each other", async || {
                let told = sentinel.cli(&["SENTINEL", "MASTER", MASTER]);
                let told: Vec<&str> = told.lines().collect();
                let field = |name| told.chunks_exact(2).find(|pair| pair[0] == name);
                let known = field("num-other-sentinels")?[1] == "2";
                let known = known && field("num-slaves")?[1] == replicas.to_string();
                known.then_some(())
            })
            .await;
        }
        all
    }

    /// What a client is configured with.
    #[must_use]
    pub fn url(&self) -> String {
        Self::url_of(&self.sentinels.iter().collect::<Vec<_>>())
    }

    /// What a client of these sentinels alone is configured with.
    #[must_use]
    pub fn url_of(sentinels: &[&RedisServer]) -> String {
        let places: Vec<_> = sentinels
            .iter()
            .map(|sentinel| sentinel.address().to_string())
            .collect();
        format!("redis+sentinel://{}/{MASTER}", places.join(","))
    }

    /// One of the sentinels.
    #[must_use]
    pub fn sentinel(&self, at: usize) -> &RedisServer {
        &self.sentinels[at]
    }

    /// The same, to kill and start again.
    pub fn sentinel_mut(&mut self, at: usize) -> &mut RedisServer {
        &mut self.sentinels[at]
    }

    /// A server: the master of the start is number 0.
    #[must_use]
    pub fn server(&self, at: usize) -> &RedisServer {
        &self.servers[at]
    }

    /// The same, to kill and start again.
    pub fn server_mut(&mut self, at: usize) -> &mut RedisServer {
        &mut self.servers[at]
    }

    /// The server that all sentinels name; `None` while they do not agree.
    #[must_use]
    pub fn master(&self) -> Option<usize> {
        let mut named: Vec<String> = self
            .sentinels
            .iter()
            .map(|sentinel| sentinel.cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]))
            .collect();
        named.dedup();
        let [named] = &named[..] else {
            return None;
        };
        let port: u16 = named.lines().nth(1)?.parse().ok()?;
        self.servers.iter().position(|server| server.port() == port)
    }

    /// Waits until all sentinels name another master than this one.
    ///
    /// # Panics
    ///
    /// When they do not. They are given longer than others: a sentinel whose clock has jumped, as on a
    /// machine that stood still for two seconds, does nothing for half a minute.
    pub async fn master_other_than(&self, at: usize) -> usize {
        let start = Instant::now();
        loop {
            if let Some(master) = self.master().filter(|master| *master != at) {
                return master;
            }
            assert!(
                start.elapsed() < DEADLINE * 5 / 2,
                "the sentinels do not agree on another master: {}",
                self.sentinels[0].log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Cuts a server off from its replicas and from the sentinels: they have no password that it takes
    /// any more. Connections of others stay.
    ///
    /// # Panics
    ///
    /// When the server does not do as it is told.
    pub async fn cut_off(&self, at: usize) {
        let server = &self.servers[at];
        // Over one connection, which is let in already.
        let mut raw = server.connection().await;
        let () = redis::cmd("CONFIG")
            .arg("SET")
            .arg("requirepass")
            .arg("nobody knows it")
            .query_async(&mut raw)
            .await
            .expect("CONFIG SET");
        let clients: String = redis::cmd("CLIENT")
            .arg("LIST")
            .query_async(&mut raw)
            .await
            .expect("CLIENT LIST");
        for client in clients.lines() {
            let field = |name| client.split(' ').find_map(|field| field.strip_prefix(name));
            let is_sentinel = field("name=").is_some_and(|name| name.starts_with("sentinel-"));
            let is_replica = field("flags=").is_some_and(|flags| flags.contains('S'));
            if is_sentinel || is_replica {
                let id = field("id=").expect("every client has an id");
                let _: redis::Value = redis::cmd("CLIENT")
                    .arg("KILL")
                    .arg("ID")
                    .arg(id)
                    .query_async(&mut raw)
                    .await
                    .expect("CLIENT KILL");
            }
        }
    }

    /// Lets everybody in again.
    pub fn let_in(&self, at: usize) {
        let server = &self.servers[at];
        let _ = server.cli(&[
            "-a",
            "nobody knows it",
            "--no-auth-warning",
            "CONFIG",
            "SET",
            "requirepass",
            "",
        ]);
    }

    /// Has the sentinels promote a replica although the master is well.
    ///
    /// # Panics
    ///
    /// When they refuse.
    pub async fn fail_over(&self) {
        eventually("a failover to begin", async || {
            let answer = self.sentinels[0].cli(&["SENTINEL", "FAILOVER", MASTER]);
            assert!(
                answer == "OK" || answer.starts_with("INPROG") || answer.starts_with("NOGOODSLAVE"),
                "{answer}"
            );
            (answer == "OK").then_some(())
        })
        .await;
    }

    /// A sentinel that nobody else has heard of, which watches something else under the same name, and
    /// claims to know of more failovers than the others.
    pub async fn liar(named: std::net::SocketAddr) -> RedisServer {
        let line = format!("monitor {MASTER} {} {} 1", named.ip(), named.port());
        RedisServer::options()
            .sentinel()
            .option("sentinel", &line)
            .option("sentinel", &format!("config-epoch {MASTER} 99"))
            .option(
                "sentinel",
                &format!("down-after-milliseconds {MASTER} 600000"),
            )
            .start()
            .await
    }
}

async fn sentinel(
    master: &RedisServer,
    quorum: u32,
    silence: Duration,
    password: Option<&str>,
) -> RedisServer {
    let line = format!("monitor {MASTER} 127.0.0.1 {} {quorum}", master.port());
    let mut options = RedisServer::options();
    if let Some(password) = password {
        options = options
            .password(password)
            .option("sentinel", &format!("sentinel-pass {password}"));
    }
    let mut options = options
        .sentinel()
        .option("sentinel", &line)
        .option(
            "sentinel",
            &format!("down-after-milliseconds {MASTER} {}", silence.as_millis()),
        )
        .option("sentinel", &format!("failover-timeout {MASTER} 3000"));
    if let Some(password) = master.password() {
        options = options.option("sentinel", &format!("auth-pass {MASTER} {password}"));
    }
    options.start().await
}
