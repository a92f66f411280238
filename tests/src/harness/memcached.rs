//! A private memcached that lives as long as its guard.

use std::process::Command;

use rustix::process::{Signal, kill_process};
use tempfile::TempDir;

use super::daemon::{Daemon, Refusal, free_port};

/// A real memcached on a free port.
///
/// # Example
///
/// ```no_run
/// # async fn example() {
/// use smart_cache_tests::harness::MemcachedServer;
///
/// let server = MemcachedServer::start().await;
/// assert!(server.url().starts_with("memcached://127.0.0.1:"));
/// # }
/// ```
#[derive(Debug)]
pub struct MemcachedServer {
    port: u16,
    megabytes: u32,
    /// `None` after a [`kill`](Self::kill).
    daemon: Option<Daemon>,
    /// Last, so that the process is gone before its files are.
    folder: TempDir,
}

impl MemcachedServer {
    /// An empty server with room for everything that a test may store.
    ///
    /// # Panics
    ///
    /// When memcached is not installed or does not start.
    pub async fn start() -> Self {
        Self::with_memory(64).await
    }

    /// A server of so many megabytes, which evicts beyond them.
    ///
    /// # Panics
    ///
    /// When memcached is not installed or does not start.
    pub async fn with_memory(megabytes: u32) -> Self {
        let mut server = Self {
            port: 0,
            megabytes,
            daemon: None,
            folder: TempDir::with_prefix("memcached-").expect("a temporary folder"),
        };
        loop {
            server.port = free_port();
            match server.run().await {
                Ok(()) => return server,
                Err(Refusal::PortTaken) => {}
                Err(Refusal::Other(why)) => panic!("memcached did not start: {why}"),
            }
        }
    }

    async fn run(&mut self) -> Result<(), Refusal> {
        let mut command = Command::new("memcached");
        command
            .args([
                "-l",
                "127.0.0.1",
                "-U",
                "0",
                "-t",
                "2",
                "-u",
                "nobody",
                "-I",
                "4m",
                "-p",
            ])
            .arg(self.port.to_string())
            .arg("-m")
            .arg(self.megabytes.to_string());
        let log = self.folder.path().join("memcached.log");
        let port = self.port;
        // Asked to stop, it takes a second; it has nothing to save.
        let daemon = Daemon::start(command, &log, Signal::KILL, async |_| {
            tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .is_ok()
        });
        self.daemon = Some(daemon.await?);
        Ok(())
    }

    /// What a client is configured with.
    #[must_use]
    pub fn url(&self) -> String {
        format!("memcached://127.0.0.1:{}", self.port)
    }

    /// `127.0.0.1:port`.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        std::net::SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Stops the process as a hung machine would: connections stay, answers do not come.
    ///
    /// # Panics
    ///
    /// When the server was killed before.
    pub fn freeze(&self) {
        let daemon = self.daemon.as_ref().expect("the server was killed");
        daemon.freeze_all();
    }

    /// Lets a frozen server go on.
    ///
    /// # Panics
    ///
    /// When the server was killed before.
    pub fn thaw(&self) {
        let daemon = self.daemon.as_ref().expect("the server was killed");
        kill_process(daemon.pid(), Signal::CONT).expect("our own child may be signalled");
    }

    /// Ends the process; everything that it held is gone.
    pub fn kill(&mut self) {
        self.daemon = None;
    }

    /// Starts it again, empty, on the same port.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub async fn restart(&mut self) {
        self.kill();
        if let Err(why) = self.run().await {
            panic!("memcached did not start again: {why:?}");
        }
    }
}
