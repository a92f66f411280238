//! A private MariaDB that lives as long as its guard.
//!
//! A fresh data folder takes one to two seconds, so tests over it are few and large.

use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use super::daemon::{Daemon, Refusal, account, command_as, free_port};
use super::namespace::namespace;

/// The account that the package makes: the server refuses to be root.
const ACCOUNT: &str = "mysql";
/// What keeps a server that lives for seconds small and quick.
const SETTINGS: [&str; 7] = [
    "--skip-networking=OFF",
    "--skip-log-bin",
    "--skip-name-resolve",
    "--performance-schema=OFF",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-log-file-size=8M",
    "--innodb-buffer-pool-size=32M",
];

/// A real MariaDB on a free port, with a user `root` who needs no password.
///
/// # Example
///
/// ```no_run
/// # async fn example() {
/// use smart_cache_tests::harness::MariaDbServer;
///
/// let server = MariaDbServer::start().await;
/// let url = server.database();
/// # }
/// ```
#[derive(Debug)]
pub struct MariaDbServer {
    port: u16,
    /// `None` after a [`crash`](Self::crash).
    daemon: Option<Daemon>,
    /// Last, so that the process is gone before its files are.
    folder: TempDir,
}

impl MariaDbServer {
    /// An empty server of its own.
    ///
    /// # Panics
    ///
    /// When MariaDB is not installed or does not start; the message holds its log.
    pub async fn start() -> Self {
        let folder = TempDir::with_prefix("mariadb-").expect("a temporary folder");
        if let Some((user, group)) = account(ACCOUNT) {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group))
                .expect("root may give its own folder away");
        }
        let mut server = Self {
            port: 0,
            daemon: None,
            folder,
        };
        server.make_data();
        loop {
            server.port = free_port();
            match server.run().await {
                Ok(()) => return server,
                Err(Refusal::PortTaken) => {}
                Err(Refusal::Other(why)) => panic!("MariaDB did not start: {why}"),
            }
        }
    }

    fn make_data(&self) {
        let made = command_as("mariadb-install-db", account(ACCOUNT))
            .current_dir(self.folder.path())
            .arg("--no-defaults")
            .arg(format!("--datadir={}/data", self.folder.path().display()))
            .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
            .arg("--innodb-log-file-size=8M")
            .output()
            .unwrap_or_else(|error| {
                panic!("cannot run mariadb-install-db (tests/run installs it): {error}")
            });
        assert!(
            made.status.success(),
            "mariadb-install-db: {}",
            String::from_utf8_lossy(&made.stderr)
        );
    }

    async fn run(&mut self) -> Result<(), Refusal> {
        let folder = self.folder.path().display().to_string();
        let mut command = command_as("/usr/sbin/mariadbd", account(ACCOUNT));
        command
            .current_dir(self.folder.path())
            .arg("--no-defaults")
            .arg(format!("--datadir={folder}/data"))
            .arg(format!("--socket={folder}/mariadb.sock"))
            .arg(format!("--pid-file={folder}/mariadb.pid"))
            .arg("--bind-address=127.0.0.1")
            .arg(format!("--port={}", self.port))
            .args(SETTINGS);
        let log = self.folder.path().join("mariadb.log");
        // It has nothing to save that a test would read after its end.
        let daemon = Daemon::start(command, &log, Signal::KILL, async |log| {
            log.contains("ready for connections")
        });
        self.daemon = Some(daemon.await?);
        Ok(())
    }

    /// A URL of a fresh, empty database that nobody else uses.
    ///
    /// # Panics
    ///
    /// When the server does not answer.
    #[must_use]
    pub fn database(&self) -> String {
        let name = namespace().replace('-', "_");
        self.sql(&format!("create database {name}"));
        format!("mysql://root@127.0.0.1:{}/{name}", self.port)
    }

    /// Runs statements through the command line client, which blocks the thread; rows as lines,
    /// columns apart by tabs.
    ///
    /// # Panics
    ///
    /// When a statement fails.
    pub fn sql(&self, statements: &str) -> String {
        let output = Command::new("mariadb")
            .arg("--no-defaults")
            .arg(format!(
                "--socket={}/mariadb.sock",
                self.folder.path().display()
            ))
            .args(["-u", "root", "-N", "-B", "-e", statements])
            .output()
            .unwrap_or_else(|error| panic!("cannot run mariadb: {error}"));
        assert!(
            output.status.success(),
            "{statements}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Stops the server as a hung machine would: connections stay, answers do not come.
    ///
    /// # Panics
    ///
    /// When it was crashed before.
    pub fn freeze(&self) {
        let daemon = self.daemon.as_ref().expect("the server was crashed");
        daemon.freeze_all();
    }

    /// Lets a frozen server go on.
    ///
    /// # Panics
    ///
    /// When it was crashed before.
    pub fn thaw(&self) {
        let daemon = self.daemon.as_ref().expect("the server was crashed");
        daemon.signal_all(Signal::CONT);
    }

    /// Kills the server: what was committed is there after a [`restart`](Self::restart).
    pub fn crash(&mut self) {
        self.daemon = None;
    }

    /// Starts it again on the same port and files; crashes it first if it runs.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub async fn restart(&mut self) {
        self.crash();
        if let Err(why) = self.run().await {
            panic!("MariaDB did not start again: {why:?}");
        }
    }
}
