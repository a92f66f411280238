//! A server of somebody else as a child of the test: started, awaited, stopped.
//!
//! What the private PostgreSQL, MariaDB, memcached and Prometheus have in common. Tests run as root in containers and
//! as a plain user at home; servers that refuse to be root are given the account that their
//! package made.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::wait::DEADLINE;

/// How long a server may take to stop by itself before it is killed.
const LONGEST_FAREWELL: Duration = Duration::from_secs(5);

/// A running server, stopped and waited for when this drops.
#[derive(Debug)]
pub(super) struct Daemon {
    process: Child,
    log: PathBuf,
    /// What asks it to stop; it is killed when it does not.
    farewell: Signal,
}

/// Why a server that was just started is not there.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Somebody took the port between our choice and the server's bind.
    PortTaken,
    /// Anything else: the log says what.
    Other(String),
}

impl Daemon {
    /// Starts `command`, which writes to `log`, and waits until `is_ready` says so.
    pub(super) async fn start(
        mut command: Command,
        log: &Path,
        farewell: Signal,
        mut is_ready: impl AsyncFnMut(&str) -> bool,
    ) -> Result<Self, Refusal> {
        let file = File::create(log).expect("the temporary folder is writable");
        let again = file.try_clone().expect("a file has two handles");
        let process = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(again)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot run {command:?} (tests/run installs it): {error}")
            });
        let mut daemon = Self {
            process,
            log: log.to_owned(),
            farewell,
        };
        let start = Instant::now();
        loop {
            let ended = daemon.process.try_wait().expect("our own child");
            let log = daemon.log();
            if ended.is_some() {
                let taken = ["address already in use", "address in use"];
                let said = log.to_ascii_lowercase();
                return Err(if taken.iter().any(|words| said.contains(words)) {
                    Refusal::PortTaken
                } else {
                    Refusal::Other(log)
                });
            }
            if is_ready(&log).await {
                return Ok(daemon);
            }
            if start.elapsed() > DEADLINE {
                return Err(Refusal::Other(format!(
                    "no answer within {DEADLINE:?}\n{log}"
                )));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What it has said since its start.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends a signal to it and to every process that it has started.
    pub(super) fn signal_all(&self, signal: Signal) {
        for pid in self.all() {
            // One that has just ended hears nothing.
            let _ = kill_process(pid, signal);
        }
    }

    /// Its process and those that it has started.
    fn all(&self) -> impl Iterator<Item = Pid> {
        let pid = self.pid().as_raw_nonzero();
        let path = format!("/proc/{pid}/task/{pid}/children");
        let children = std::fs::read_to_string(path).expect("Linux tells of children");
        let children: Vec<Pid> = children
            .split_whitespace()
            .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
            .collect();
        std::iter::once(self.pid()).chain(children)
    }

    /// Stops it and every process that it has started, as a hung machine would; returns once each of their threads
    /// stands still, for they stop one after the other and any of them may still answer.
    pub(super) fn freeze_all(&self) {
        self.signal_all(Signal::STOP);
        let start = Instant::now();
        while !self.all().all(stands_still) {
            assert!(start.elapsed() < LONGEST_FAREWELL, "it does not stop");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Its process.
    pub(super) fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }
}

/// Whether every thread of a process is stopped, or it has ended.
fn stands_still(pid: Pid) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
    let threads = threads.into_iter().flatten().filter_map(Result::ok);
    threads.into_iter().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The state stands behind the program's name, which may hold anything.
        let state = stat.rsplit_once(") ").map_or("", |(_, behind)| behind);
        stat.is_empty() || state.starts_with(['T', 'Z', 'X'])
    })
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill_process(self.pid(), self.farewell);
        // A frozen one hears nothing before it goes on.
        let _ = kill_process(self.pid(), Signal::CONT);
        let start = Instant::now();
        while start.elapsed() < LONGEST_FAREWELL {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that was free a moment ago: the kernel does not hand it out again soon.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port");
    listener.local_addr().expect("it is bound").port()
}

/// The user and group ids of a server's account, when this process is root and may become it.
pub(super) fn account(name: &str) -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = accounts.lines().find(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(':'))
    })?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// A command that runs as `account`, if there is one.
pub(super) fn command_as(program: impl Into<PathBuf>, account: Option<(u32, u32)>) -> Command {
    use std::os::unix::process::CommandExt as _;

    let mut command = Command::new(program.into());
    if let Some((user, group)) = account {
        command.uid(user).gid(group);
    }
    command
}
