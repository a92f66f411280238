//! A private redis-server that lives as long as its guard.
//!
//! Every server has a temporary folder and, besides the port that the code under test uses, a unix
//! socket there that belongs to the harness: whoever answers on it is certainly *this* server, so
//! two tests that were offered the same free port cannot mistake each other's.
//!
//! Over 400 lines: what one can do to a server are many short methods.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionAddr, IntoConnectionInfo as _, RedisConnectionInfo};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

use super::certificates::Certificates;
use super::daemon::free_port;
use super::redis_options::{Listen, RedisOptions};
use super::wait::{DEADLINE, eventually};

/// A real redis-server on a free port, killed and waited for when this drops.
///
/// # Example
///
/// ```no_run
/// # async fn example() {
/// use smart_cache_tests::harness::RedisServer;
///
/// let server = RedisServer::start().await;
/// let mut connection = server.connection().await;
/// let pong: String = redis::cmd("PING").query_async(&mut connection).await.unwrap();
/// assert_eq!(pong, "PONG");
/// # }
/// ```
#[derive(Debug)]
pub struct RedisServer {
    options: RedisOptions,
    certificates: Option<Certificates>,
    port: u16,
    /// Where the other nodes of its cluster reach it; 0 without a cluster.
    bus: u16,
    /// `None` after a [`kill`](Self::kill).
    process: Option<Child>,
    frozen: AtomicBool,
    /// Last, so that the process is gone before its files are.
    folder: TempDir,
}

/// Why a server that was just started is not there.
enum Refusal {
    /// Somebody took the port between our choice and the server's bind.
    PortTaken,
    /// Anything else: the log says what.
    Other(String),
}

impl RedisServer {
    /// A bare server: no password, no persistence, no limit.
    pub async fn start() -> Self {
        Self::options().start().await
    }

    /// Options for a server that is not bare.
    pub fn options() -> RedisOptions {
        RedisOptions::default()
    }

    pub(super) async fn launch(options: RedisOptions) -> Self {
        let folder = TempDir::with_prefix("redis-").expect("a temporary folder");
        let certificates = (options.listen == Listen::Tls).then(|| {
            let shared = options.certificates.clone();
            shared.unwrap_or_else(|| Certificates::make(folder.path()))
        });
        let mut server = Self {
            options,
            certificates,
            port: 0,
            bus: 0,
            process: None,
            frozen: AtomicBool::new(false),
            folder,
        };
        loop {
            if server.options.listen != Listen::UnixOnly {
                server.port = free_port();
            }
            if server.options.cluster {
                server.bus = free_port();
            }
            match server.run().await {
                Ok(()) => return server,
                Err(Refusal::PortTaken) => {}
                Err(Refusal::Other(why)) => panic!("redis-server did not start: {why}"),
            }
        }
    }

    /// Starts the process on the chosen port and waits until it answers.
    async fn run(&mut self) -> Result<(), Refusal> {
        let configuration = self
            .options
            .file(self.port, self.bus, self.certificates.as_ref());
        std::fs::write(self.folder.path().join("redis.conf"), configuration)
            .expect("the temporary folder is writable");
        // What a former life of this server logged must not be taken for this one's.
        let _ = std::fs::remove_file(self.log_path());
        let program = self.options.program.clone();
        let program = program.unwrap_or_else(|| "redis-server".into());
        let mut command = Command::new(program);
        command.arg("redis.conf");
        if self.options.sentinel {
            command.arg("--sentinel");
        }
        let process = command
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot run redis-server (tests/run installs it): {error}")
            });
        self.process = Some(process);
        self.ready().await
    }

    /// Waits for the first PONG. A server that is still loading its files answers with an error.
    async fn ready(&mut self) -> Result<(), Refusal> {
        let start = Instant::now();
        loop {
            let process = self.process.as_mut().expect("it was just started");
            if process.try_wait().expect("our own child").is_some() {
                self.process = None;
                let log = self.log();
                let taken = log.contains("Address already in use");
                return Err(if taken {
                    Refusal::PortTaken
                } else {
                    Refusal::Other(log)
                });
            }
            if self.answers().await {
                return Ok(());
            }
            if start.elapsed() > DEADLINE {
                return Err(Refusal::Other(format!(
                    "no answer within {DEADLINE:?}\n{}",
                    self.log()
                )));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn answers(&self) -> bool {
        let Ok(mut connection) = self.connect(0).await else {
            return false;
        };
        let pong: redis::RedisResult<String> =
            redis::cmd("PING").query_async(&mut connection).await;
        pong.is_ok()
    }

    async fn connect(&self, database: i64) -> redis::RedisResult<MultiplexedConnection> {
        let mut settings = RedisConnectionInfo::default().set_db(database);
        if let Some(password) = self.password() {
            settings = settings.set_password(password);
        }
        let info = ConnectionAddr::Unix(self.socket())
            .into_connection_info()?
            .set_redis_settings(settings);
        // The harness must outlast a server that a test has slowed down or frozen for a while.
        let patient = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(DEADLINE))
            .set_response_timeout(Some(DEADLINE));
        redis::Client::open(info)?
            .get_multiplexed_async_connection_with_config(&patient)
            .await
    }

    /// A connection of its own to database 0, over the unix socket.
    ///
    /// # Panics
    ///
    /// When the server does not answer.
    pub async fn connection(&self) -> MultiplexedConnection {
        self.connection_to(0).await
    }

    /// A connection of its own to any of the 64 databases.
    ///
    /// # Panics
    ///
    /// When the server does not answer.
    pub async fn connection_to(&self, database: i64) -> MultiplexedConnection {
        self.connect(database)
            .await
            .unwrap_or_else(|error| panic!("cannot reach the test's redis-server: {error}"))
    }

    /// Runs `redis-cli` with these arguments and returns what it printed, trimmed.
    ///
    /// It blocks the thread; for more than a few commands take a [`connection`](Self::connection).
    ///
    /// # Panics
    ///
    /// When `redis-cli` is missing. An error *of the server* is what it printed, for the test to see.
    #[must_use]
    pub fn cli(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        command.arg("-s").arg(self.socket());
        if let Some(password) = self.password() {
            command.env("REDISCLI_AUTH", password);
        }
        let output = command
            .args(arguments)
            .output()
            .unwrap_or_else(|error| panic!("cannot run redis-cli: {error}"));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// One field of INFO, as `info("run_id")`.
    ///
    /// # Panics
    ///
    /// When the server has no such field.
    pub async fn info(&self, field: &str) -> String {
        let mut connection = self.connection().await;
        let all: String = redis::cmd("INFO")
            .query_async(&mut connection)
            .await
            .expect("INFO is allowed");
        let found = all
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        found
            .unwrap_or_else(|| panic!("INFO has no field {field}"))
            .trim_end()
            .to_owned()
    }

    /// The port on 127.0.0.1; 0 for a server on a unix socket alone.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Where the other nodes of its cluster reach it.
    #[must_use]
    pub const fn bus(&self) -> u16 {
        self.bus
    }

    /// `127.0.0.1:port`, for a [`Chaos`](super::Chaos) in front of this server.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        std::net::SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// What a client is configured with: `redis://`, `rediss://` or `unix://`, password included.
    ///
    /// The password stands there as it is: give one that needs no escaping in a URL.
    #[must_use]
    pub fn url(&self) -> String {
        let user = self
            .password()
            .map(|password| format!(":{password}@"))
            .unwrap_or_default();
        match self.options.listen {
            Listen::Tcp => format!("redis://{user}127.0.0.1:{}", self.port),
            Listen::Tls => format!("rediss://{user}127.0.0.1:{}", self.port),
            Listen::UnixOnly => self.unix_url(),
        }
    }

    /// The server's unix socket as a URL; every server has one.
    #[must_use]
    pub fn unix_url(&self) -> String {
        let password = self
            .password()
            .map(|password| format!("?pass={password}"))
            .unwrap_or_default();
        format!("unix://{}{password}", self.socket().display())
    }

    /// The authority to trust and the certificates to show; `None` unless it speaks TLS.
    #[must_use]
    pub const fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// Whether it is there to be asked: neither killed nor frozen.
    pub(super) fn is_running(&self) -> bool {
        self.process.is_some() && !self.frozen.load(Ordering::SeqCst)
    }

    pub(super) fn password(&self) -> Option<&str> {
        self.options.password.as_deref()
    }

    /// Stops the process as a hung machine would (SIGSTOP): connections stay, answers do not come.
    ///
    /// Returns once it has stopped.
    ///
    /// # Panics
    ///
    /// When the server was killed before.
    pub fn freeze(&self) {
        self.frozen.store(true, Ordering::SeqCst);
        self.signal(Signal::STOP, WaitOptions::UNTRACED);
    }

    /// Lets a frozen server go on.
    ///
    /// # Panics
    ///
    /// When the server was killed before.
    pub fn thaw(&self) {
        self.frozen.store(false, Ordering::SeqCst);
        self.signal(Signal::CONT, WaitOptions::CONTINUED);
    }

    fn signal(&self, signal: Signal, until: WaitOptions) {
        let process = Pid::from_child(self.process.as_ref().expect("the server was killed"));
        kill_process(process, signal).expect("our own child may be signalled");
        // A signal is only on its way when `kill` returns; the test needs it to have arrived.
        waitpid(Some(process), until).expect("our own child can be waited for");
    }

    /// Kills the process with SIGKILL and waits for its end. What was saved stays in its folder.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        self.frozen.store(false, Ordering::SeqCst);
    }

    /// Starts it again on the same port with the files of its folder; kills it first if it runs.
    ///
    /// # Panics
    ///
    /// When it does not come up, or somebody else keeps its port until the deadline.
    pub async fn restart(&mut self) {
        self.kill();
        let start = Instant::now();
        while let Err(refusal) = self.run().await {
            match refusal {
                // Another process may borrow the port as a client's for a moment.
                Refusal::PortTaken => assert!(
                    start.elapsed() < DEADLINE,
                    "the server's port was taken by another process"
                ),
                Refusal::Other(why) => panic!("redis-server did not start again: {why}"),
            }
        }
    }

    /// Writes the snapshot that a later [`restart`](Self::restart) will load.
    ///
    /// # Panics
    ///
    /// When the server cannot save.
    pub async fn save(&self) {
        let mut connection = self.connection().await;
        let () = redis::cmd("SAVE")
            .query_async(&mut connection)
            .await
            .expect("the folder is writable");
    }

    /// For a replica: waits until it has everything that its master wrote before this call.
    pub async fn synced(&self, master: &Self) {
        let target: u64 = master
            .info("master_repl_offset")
            .await
            .parse()
            .expect("an offset is a number");
        eventually("the replica to catch up", async || {
            if self.info("role").await != "slave" || self.info("master_link_status").await != "up" {
                return None;
            }
            let reached: u64 = self.info("slave_repl_offset").await.parse().ok()?;
            (reached >= target).then_some(())
        })
        .await;
    }

    /// What this server logged since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The folder with its configuration, its socket and what it saved.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("redis.log")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}
