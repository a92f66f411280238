//! The processes: started, killed, stopped for a while, deployed with another build.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use smart_cache_tests::harness::{Chaos, Program};

use super::Broken;
use super::history::Life;
use super::micros;

/// The builds that are deployed one after the other.
pub(crate) const BUILDS: [&str; 2] = ["blue", "green"];

/// One place where a process runs, and its own way to Redis.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) number: usize,
    pub(crate) chaos: Chaos,
    rows: PathBuf,
    broken: Option<Broken>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None` while it is down.
    running: Option<Running>,
    /// Which life of this place it is.
    life: u64,
    build: usize,
    /// When it was last down, by the clock of all.
    down: (u64, u64),
}

#[derive(Debug)]
struct Running {
    program: Program,
    address: SocketAddr,
}

/// Where to ask, and what has to be true of the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) life: Life,
    pub(crate) build: &'static str,
}

impl Node {
    /// Starts the first process of this place.
    pub(crate) async fn start(
        number: usize,
        chaos: Chaos,
        rows: PathBuf,
        broken: Option<Broken>,
    ) -> Arc<Self> {
        let node = Arc::new(Self {
            number,
            chaos,
            rows,
            broken,
            state: Mutex::new(State {
                running: None,
                life: 0,
                // Both builds are out from the beginning.
                build: number % BUILDS.len(),
                down: (0, u64::MAX),
            }),
        });
        node.launch().await;
        node
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn launch(&self) {
        let own = std::env::current_exe().expect("a running program is a file");
        let (number, url) = (self.number.to_string(), self.chaos.url());
        let rows = self.rows.display().to_string();
        let build = BUILDS[self.state().build];
        let mut arguments = vec![
            "--node", &number, "--url", &url, "--rows", &rows, "--build", build,
        ];
        if let Some(broken) = self.broken {
            arguments.extend(["--broken", broken.word()]);
        }
        let mut program = Program::start(own, &arguments, &[]);
        let address = program.line_with("listening on ").await;
        let address = address.parse().expect("an address");
        let mut state = self.state();
        state.life += 1;
        state.down.1 = micros();
        state.running = Some(Running { program, address });
    }

    /// Where it is, if it is up.
    pub(crate) fn place(&self) -> Option<Place> {
        let state = self.state();
        let running = state.running.as_ref()?;
        Some(Place {
            address: running.address,
            life: Life {
                node: self.number,
                number: state.life,
            },
            build: BUILDS[state.build],
        })
    }

    /// Whether the process of that life has been killed since.
    pub(crate) fn has_died(&self, life: Life) -> bool {
        let state = self.state();
        state.life != life.number || state.running.is_none()
    }

    /// kill -9, and a new process; of the other build, if it is a deployment.
    pub(crate) async fn replace(&self, deploys: bool) {
        {
            let mut state = self.state();
            state.down = (micros(), u64::MAX);
            // Dropping it kills it.
            let running = state.running.take();
            drop(running);
            if deploys {
                state.build = (state.build + 1) % BUILDS.len();
            }
        }
        self.launch().await;
    }

    fn signal(&self, signal: Signal) {
        let state = self.state();
        if let Some(running) = &state.running
            && let Some(process) = i32::try_from(running.program.id())
                .ok()
                .and_then(Pid::from_raw)
        {
            // It may have been killed this very moment.
            let _ = kill_process(process, signal);
        }
    }

    /// Stops it where it stands.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Memory of its process, in KiB.
    pub(crate) fn resident(&self) -> Option<u64> {
        let id = self.state().running.as_ref()?.program.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    }

    /// Ends it.
    pub(crate) fn stop(&self) {
        self.state().running = None;
    }
}
