//! A private PostgreSQL that lives as long as its guard.
//!
//! A fresh cluster takes about half a second, so tests over it are few and large, and apart by
//! databases ([`PostgresServer::database`]) instead of by servers.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use super::daemon::{Daemon, Refusal, account, command_as, free_port};
use super::namespace::namespace;

/// The account that the package makes: the server refuses to be root.
const ACCOUNT: &str = "postgres";

/// A real PostgreSQL on a free port, with a superuser `postgres` who needs no password.
///
/// Nothing is forced to the disk, so it is fast and does not outlive a crash of the machine; a
/// crash of the server it does ([`crash`](Self::crash)).
///
/// # Example
///
/// ```no_run
/// # async fn example() {
/// use smart_cache_tests::harness::PostgresServer;
///
/// let server = PostgresServer::start().await;
/// assert_eq!(server.psql("select 1"), "1");
/// let url = server.database();
/// # }
/// ```
#[derive(Debug)]
pub struct PostgresServer {
    port: u16,
    /// `None` after a [`crash`](Self::crash).
    daemon: Option<Daemon>,
    /// Last, so that the process is gone before its files are.
    folder: TempDir,
}

impl PostgresServer {
    /// An empty cluster of its own.
    ///
    /// # Panics
    ///
    /// When PostgreSQL is not installed or does not start; the message holds its log.
    pub async fn start() -> Self {
        let folder = TempDir::with_prefix("postgres-").expect("a temporary folder");
        if let Some((user, group)) = account(ACCOUNT) {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group))
                .expect("root may give its own folder away");
        }
        let mut server = Self {
            port: 0,
            daemon: None,
            folder,
        };
        server.make_cluster();
        loop {
            server.port = free_port();
            match server.run().await {
                Ok(()) => return server,
                Err(Refusal::PortTaken) => {}
                Err(Refusal::Other(why)) => panic!("PostgreSQL did not start: {why}"),
            }
        }
    }

    fn make_cluster(&self) {
        let made = command_as(program("initdb"), account(ACCOUNT))
            .current_dir(self.folder.path())
            .arg("--pgdata=data")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8"])
            .args(["--no-locale", "--no-sync"])
            .output()
            .unwrap_or_else(|error| panic!("cannot run initdb (tests/run installs it): {error}"));
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
    }

    async fn run(&mut self) -> Result<(), Refusal> {
        let mut command = command_as(program("postgres"), account(ACCOUNT));
        command
            .current_dir(self.folder.path())
            .args(["-D", "data", "-h", "127.0.0.1", "-p"])
            .arg(self.port.to_string())
            .arg("-k")
            .arg(self.folder.path());
        for setting in [
            "fsync=off",
            "full_page_writes=off",
            "shared_buffers=16MB",
            "max_connections=100",
            "autovacuum=off",
        ] {
            command.args(["-c", setting]);
        }
        let log = self.folder.path().join("postgres.log");
        // SIGQUIT ends all its processes at once, as a crash would.
        let daemon = Daemon::start(command, &log, Signal::QUIT, async |log| {
            log.contains("database system is ready to accept connections")
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
        self.psql(&format!("create database {name}"));
        self.url_of(&name)
    }

    /// The URL of the database `postgres`, which everybody shares.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:port`, for a [`Chaos`](super::Chaos) in front of this server.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        std::net::SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Runs one statement in the database `postgres` through `psql`, which blocks the thread; rows
    /// as lines, columns joined by `|`.
    ///
    /// # Panics
    ///
    /// When the statement fails.
    pub fn psql(&self, statement: &str) -> String {
        self.psql_at("postgres", statement)
    }

    /// [`psql`](Self::psql) in the database of a URL, or of a name.
    ///
    /// # Panics
    ///
    /// When the statement fails.
    pub fn psql_at(&self, database: &str, statement: &str) -> String {
        let database = database.rsplit('/').next().unwrap_or(database);
        let output = Command::new(program("psql"))
            .arg("-h")
            .arg(self.folder.path())
            .arg("-p")
            .arg(self.port.to_string())
            .args(["-U", "postgres", "-d", database])
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-c",
                statement,
            ])
            .output()
            .unwrap_or_else(|error| panic!("cannot run psql: {error}"));
        assert!(
            output.status.success(),
            "{statement}: {}",
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

    /// Ends all of the server's processes at once: what was committed is there after a
    /// [`restart`](Self::restart), everything else is gone.
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
            panic!("PostgreSQL did not start again: {why:?}");
        }
    }

    /// What it logged since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemon.as_ref().map(Daemon::log).unwrap_or_default()
    }

    /// Its folder, with the unix socket.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// A program of PostgreSQL: Debian keeps them beside each version, others on the path.
fn program(name: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql");
    let newest = versions
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|folder| {
            let version = numbers(&folder.file_name().to_string_lossy());
            (version, folder.path().join("bin").join(name))
        })
        .filter(|(_, path)| path.is_file())
        .max();
    newest.map_or_else(|| PathBuf::from(name), |(_, path)| path)
}

/// A version as it is compared: as text, 9.6 would come after 15.
fn numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map(|part| part.parse().unwrap_or(0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let mut versions = ["15", "9.6", "9.10", "14", "none"];
        versions.sort_by_key(|version| numbers(version));
        assert_eq!(versions, ["none", "9.6", "9.10", "14", "15"]);
    }
}
