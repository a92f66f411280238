//! What a private Redis server should be like.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::certificates::Certificates;
use super::redis_server::RedisServer;

/// Options of a [`RedisServer`], from none (a bare server without persistence) upwards.
///
/// # Example
///
/// ```no_run
/// # async fn example() {
/// use smart_cache_tests::harness::RedisServer;
///
/// let server = RedisServer::options().password("secret").memory("3mb", "noeviction").start().await;
/// assert_eq!(server.cli(&["PING"]), "PONG");
/// # }
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct RedisOptions {
    /// Lines of the configuration file beyond those that every server gets.
    lines: Vec<String>,
    pub(super) password: Option<String>,
    pub(super) listen: Listen,
    /// The program that is started; `redis-server` when there is none.
    pub(super) program: Option<PathBuf>,
    /// A node of a cluster, which listens on a second port for the others.
    pub(super) cluster: bool,
    pub(super) sentinel: bool,
    /// What it shows over TLS; made for it when there is none.
    pub(super) certificates: Option<Certificates>,
}

/// Where the server listens, besides the unix socket that the harness itself always uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Listen {
    #[default]
    Tcp,
    Tls,
    UnixOnly,
}

impl RedisOptions {
    /// The password of the default user.
    pub fn password(mut self, password: &str) -> Self {
        self.lines.push(format!("requirepass {}", quoted(password)));
        self.password = Some(password.to_owned());
        self
    }

    /// One more user, in the words of `ACL SETUSER`: `user("app on >secret ~* +@all -info")`.
    pub fn user(self, rules: &str) -> Self {
        self.line(format!("user {rules}"))
    }

    /// At most this much memory ("3mb"), and what happens beyond ("noeviction", "allkeys-lru").
    pub fn memory(self, limit: &str, policy: &str) -> Self {
        self.line(format!("maxmemory {limit}"))
            .line(format!("maxmemory-policy {policy}"))
    }

    /// Logs every write and reads it back after a restart.
    pub fn append_only(self) -> Self {
        self.line("appendonly yes".to_owned())
            .line("appendfsync always".to_owned())
    }

    /// A copy of another server; [`RedisServer::synced`] waits until it has caught up.
    pub fn replica_of(self, master: &RedisServer) -> Self {
        let replica = self.line(format!("replicaof 127.0.0.1 {}", master.port()));
        match master.password() {
            Some(password) => replica.line(format!("masterauth {}", quoted(password))),
            None => replica,
        }
    }

    /// Speaks TLS on its port; the certificates are [`RedisServer::certificates`]. Clients may show
    /// theirs but need not.
    pub fn tls(mut self) -> Self {
        self.listen = Listen::Tls;
        self.line("tls-auth-clients optional".to_owned())
    }

    /// Speaks TLS with certificates that others use too: the nodes of one cluster.
    pub fn tls_with(mut self, certificates: &Certificates) -> Self {
        self.certificates = Some(certificates.clone());
        self.tls()
    }

    /// Listens on no port at all, only on [`RedisServer::unix_url`].
    pub fn unix_only(mut self) -> Self {
        self.listen = Listen::UnixOnly;
        self
    }

    /// A node of a cluster; [`Cluster`](super::Cluster) starts a whole one.
    pub fn cluster(mut self) -> Self {
        self.cluster = true;
        self.line("cluster-enabled yes".to_owned())
    }

    /// Not a server but a sentinel; its options name what it watches.
    pub(super) fn sentinel(mut self) -> Self {
        self.sentinel = true;
        self
    }

    /// Another program than `redis-server` that understands the same options, such as Valkey's.
    pub fn program(mut self, path: PathBuf) -> Self {
        self.program = Some(path);
        self
    }

    /// Clients must show a certificate.
    pub fn asks_for_certificates(mut self) -> Self {
        self.listen = Listen::Tls;
        self.line("tls-auth-clients yes".to_owned())
    }

    /// Allows the DEBUG command, which is off by default since Redis 7.
    pub fn debug_commands(self) -> Self {
        self.option("enable-debug-command", "yes")
    }

    /// Any other line of `redis.conf`; the value stands there as it is given.
    pub fn option(self, name: &str, value: &str) -> Self {
        self.line(format!("{name} {value}"))
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Panics
    ///
    /// When `redis-server` is missing, refuses its options or does not answer in time; the message
    /// holds what it logged.
    pub async fn start(self) -> RedisServer {
        RedisServer::launch(self).await
    }

    fn line(mut self, line: String) -> Self {
        self.lines.push(line);
        self
    }

    /// The configuration file: what every server gets, then what was asked for, which wins.
    pub(super) fn file(&self, port: u16, bus: u16, certificates: Option<&Certificates>) -> String {
        let mut file = String::from(concat!(
            "bind 127.0.0.1\n",
            "unixsocket redis.sock\n",
            "logfile redis.log\n",
            "daemonize no\n",
            // Nothing is written unless a test says SAVE; then a restart finds it.
            "save \"\"\n",
            "stop-writes-on-bgsave-error no\n",
            // Each lane of an interleaving test has a database of its own.
            "databases 64\n",
            // A replica is sent its first copy at once instead of after five seconds.
            "repl-diskless-sync-delay 0\n",
        ));
        let (plain, tls) = match self.listen {
            Listen::Tcp => (port, 0),
            Listen::Tls => (0, port),
            Listen::UnixOnly => (0, 0),
        };
        write!(file, "port {plain}\ntls-port {tls}\n").expect("a String takes everything");
        if self.cluster {
            writeln!(file, "cluster-port {bus}").expect("a String takes everything");
        }
        if let Some(files) = certificates {
            let lines = [
                ("tls-ca-cert-file", &files.authority),
                ("tls-cert-file", &files.server),
                ("tls-key-file", &files.server_key),
            ];
            for (name, path) in lines {
                writeln!(file, "{name} {}", path.display()).expect("a String takes everything");
            }
        }
        for line in &self.lines {
            file.push_str(line);
            file.push('\n');
        }
        file
    }
}

/// A value as redis.conf reads it back whatever it holds.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}
