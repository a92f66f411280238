//! The one connection of a backend: made, watched, given up and made again here.
//!
//! A supervisor task connects, reads the server's identity before the connection is used for
//! anything, and then asks for it again at every heartbeat: a role change can keep connections
//! alive. While there is no connection every command fails at once; that is the breaker. It
//! opens when the server is silent for one deadline (a slow answer while others arrive does not
//! count) and closes when a handshake succeeds.
//!
//! The supervisor lives on the runtime of the request that first needed it. When that runtime
//! ends (each test has its own, in many test programs), the next request starts it again on its
//! own runtime. A runtime that is there and stands still (nobody drives it, or its only thread is
//! blocked) is treated alike: who finds the link down and its supervisor silent takes over.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::AsyncConnectionConfig;
use tokio::sync::{Notify, watch};

use super::up::Up;
use crate::backend::BoxFuture;
use crate::error::BackendError;

/// Pauses between attempts grow from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A handshake may take longer than a request is willing to wait.
const SHORTEST_HANDSHAKE: Duration = Duration::from_secs(1);

/// What runs beside every connection, for as long as it lives.
pub(crate) type Caretaker = Box<dyn Fn(Arc<Up>) -> BoxFuture<'static, ()> + Send + Sync>;

/// The handle that a backend holds; dropping it ends the supervisor.
pub(crate) struct Link {
    shared: Arc<Shared>,
}

struct Shared {
    client: redis::Client,
    settings: Settings,
    caretaker: Caretaker,
    state: watch::Sender<State>,
    /// The number of the supervisor in charge; 0 for none.
    supervisor: AtomicU64,
    supervisors: AtomicU64,
    /// Milliseconds after `born` of the supervisor's newest sign of life.
    alive: AtomicU64,
    born: Instant,
    /// Wakes the supervisor: a command has found the connection dead, or the link was dropped.
    wake: Notify,
    closed: AtomicBool,
}

/// How the link behaves.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Longest wait for one answer.
    pub(crate) timeout: Duration,
    /// Time between two looks at the server's identity.
    pub(crate) heartbeat: Duration,
    /// Replaces the identity where INFO is forbidden.
    pub(crate) server_id: Option<String>,
}

#[derive(Clone)]
enum State {
    /// The first attempt is under way, or the connection was closed a moment ago: worth a wait.
    Connecting,
    Up(Arc<Up>),
    /// The breaker is open.
    Down(BackendError),
}

impl Link {
    pub(crate) fn new(client: redis::Client, settings: Settings, caretaker: Caretaker) -> Self {
        let shared = Shared {
            client,
            settings,
            caretaker,
            state: watch::Sender::new(State::Connecting),
            supervisor: AtomicU64::new(0),
            supervisors: AtomicU64::new(0),
            alive: AtomicU64::new(0),
            born: Instant::now(),
            wake: Notify::new(),
            closed: AtomicBool::new(false),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The connection, waiting for one that is just being made, but not beyond `deadline`.
    pub(crate) async fn up(&self, deadline: Instant) -> Result<Arc<Up>, BackendError> {
        let now = self.now();
        if let Some(Ok(up)) = now {
            return Ok(up);
        }
        Shared::supervise_once(&self.shared);
        if let Some(down) = now {
            return down;
        }
        let mut states = self.shared.state.subscribe();
        let settled = states.wait_for(|state| !matches!(state, State::Connecting));
        match tokio::time::timeout_at(deadline.into(), settled).await {
            Ok(_) => self
                .now()
                .unwrap_or_else(|| Err(BackendError::Disconnected("connecting".into()))),
            Err(_) => Err(BackendError::Disconnected("connecting".into())),
        }
    }

    /// What is known without waiting; `None` while a connection is being made.
    fn now(&self) -> Option<Result<Arc<Up>, BackendError>> {
        match &*self.shared.state.borrow() {
            // The supervisor will say so too, but it may be slow to wake up.
            State::Up(up) => Some(up.cause_of_death().map_or_else(|| Ok(Arc::clone(up)), Err)),
            State::Down(why) => Some(Err(why.clone())),
            State::Connecting => None,
        }
    }

    /// Ends the connection and its supervisor; who needs a connection next starts both again.
    pub(crate) fn close(&self) {
        self.shared.supervisor.store(0, Ordering::Release);
        self.shared.state.send_replace(State::Connecting);
        self.shared.wake.notify_one();
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.now(), Some(Ok(_)))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.wake.notify_one();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("up", &self.is_up())
            .finish_non_exhaustive()
    }
}

/// Marks the link unsupervised when the supervisor ends, whatever ends it.
struct Supervision {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Supervision {
    fn drop(&mut self) {
        self.shared.tell(self.number, State::Connecting);
        let _ = self.shared.supervisor.compare_exchange(
            self.number,
            0,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
    }
}

impl Shared {
    fn supervise_once(shared: &Arc<Self>) {
        let before = shared.supervisor.load(Ordering::Acquire);
        if before != 0 && !shared.stands_still() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let number = shared.supervisors.fetch_add(1, Ordering::Relaxed) + 1;
        let in_charge =
            shared
                .supervisor
                .compare_exchange(before, number, Ordering::AcqRel, Ordering::Acquire);
        if in_charge.is_ok() {
            shared.sign_of_life();
            shared.state.send_replace(State::Connecting);
            let supervision = Supervision {
                shared: Arc::clone(shared),
                number,
            };
            runtime.spawn(async move { supervision.shared.supervise(number).await });
        }
    }

    fn sign_of_life(&self) {
        self.alive
            .store(self.born.elapsed().as_millis() as u64, Ordering::Release);
    }

    /// Whether the supervisor in charge has been silent for longer than anything it does can take.
    fn stands_still(&self) -> bool {
        let longest = self.handshake_limit() * 2 + self.settings.heartbeat * 2 + LONGEST_PAUSE;
        let alive = Duration::from_millis(self.alive.load(Ordering::Acquire));
        self.born.elapsed().saturating_sub(alive) > longest
    }

    fn is_in_charge(&self, number: u64) -> bool {
        self.supervisor.load(Ordering::Acquire) == number && !self.closed.load(Ordering::Acquire)
    }

    /// Says how the link is, unless another supervisor has taken over.
    fn tell(&self, number: u64, new: State) {
        self.state.send_if_modified(|state| {
            let tells = self.supervisor.load(Ordering::Acquire) == number;
            if tells {
                *state = new;
            }
            tells
        });
    }

    async fn supervise(&self, number: u64) {
        let mut pause = FIRST_PAUSE;
        while self.is_in_charge(number) {
            self.sign_of_life();
            match self.connect().await {
                Ok(up) => {
                    pause = FIRST_PAUSE;
                    tracing::info!(server = %self.address(), id = %up.id(), "connected");
                    let up = Arc::new(up);
                    self.tell(number, State::Up(Arc::clone(&up)));
                    let why = tokio::select! {
                        why = self.watch(&up, number) => why,
                        () = (self.caretaker)(Arc::clone(&up)) => self.watch(&up, number).await,
                    };
                    let Some(why) = why else { return };
                    tracing::warn!(server = %self.address(), cause = %why, "connection lost; handlers answer until it is back");
                    // A closed connection is usually back at once and worth a short wait; a
                    // silent server is not.
                    let next = match why {
                        BackendError::Disconnected(_) => State::Connecting,
                        _ => State::Down(why),
                    };
                    self.tell(number, next);
                }
                Err(why) => {
                    let first = matches!(*self.state.borrow(), State::Connecting);
                    if first {
                        tracing::error!(server = %self.address(), cause = %why, "cache not active: handlers answer; trying again");
                    }
                    self.tell(number, State::Down(why));
                    tokio::select! {
                        () = tokio::time::sleep(jittered(pause)) => {}
                        () = self.wake.notified() => {}
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Connects and shakes hands: nothing is looked up before the server's identity is known.
    async fn connect(&self) -> Result<Up, BackendError> {
        let limit = self.handshake_limit();
        // Our own deadline stands on every command; the client's would only be a second timer.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(None);
        let handshake = async {
            let connection = self
                .client
                .get_multiplexed_async_connection_with_config(&config)
                .await
                .map_err(|error| {
                    BackendError::Disconnected(crate::config::redact(&error.to_string()).into())
                })?;
            let up = Up::new(connection, self.settings.timeout);
            // As long as a request would wait: a server that is slower than that would be found
            // dead by the next one, and the one after the next handshake, and so on.
            self.identify(&up, up.deadline()).await?;
            Ok(up)
        };
        match tokio::time::timeout(limit, handshake).await {
            Ok(result) => result,
            Err(_) => Err(BackendError::Timeout(limit)),
        }
    }

    fn handshake_limit(&self) -> Duration {
        SHORTEST_HANDSHAKE.max(self.settings.timeout * 2)
    }

    /// Watches a connection until it is given up; `None` when the link was dropped, or another
    /// supervisor has taken over.
    async fn watch(&self, up: &Up, number: u64) -> Option<BackendError> {
        loop {
            self.sign_of_life();
            tokio::select! {
                () = tokio::time::sleep(self.settings.heartbeat) => {}
                () = up.found_dead() => {}
                () = self.wake.notified() => {}
            }
            if !self.is_in_charge(number) {
                return None;
            }
            if let Some(why) = up.cause_of_death() {
                return Some(why);
            }
            if let Err(why) = self.identify(up, up.deadline()).await {
                return Some(why);
            }
        }
    }

    /// Reads who the server is: another restart and another history are another identity.
    async fn identify(&self, up: &Up, deadline: Instant) -> Result<(), BackendError> {
        up.identify(self.settings.server_id.as_deref(), deadline)
            .await
            .map(drop)
    }

    fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }
}

/// Half to all of a pause, so that a fleet does not come back in step.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0; 1];
    // Without randomness the pause is only less spread.
    let _ = getrandom::fill(&mut random);
    pause / 2 + pause.mul_f64(f64::from(random[0]) / 512.0)
}
