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
//!
//! Over 400 lines, since finding a server, greeting it, watching it and giving it up are one life.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::{AsyncConnectionConfig, ConnectionInfo};
use tokio::sync::{Notify, watch};

use super::asking::is_on_its_way;
use super::dial::Dialer;
use super::identity::Fixed;
use super::lately::Lately;
use super::locate::{Locator, Word, redirected};
use super::up::Up;
use crate::backend::BoxFuture;
use crate::error::BackendError;

/// Pauses between attempts grow from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A handshake may take longer than a request is willing to wait.
const SHORTEST_HANDSHAKE: Duration = Duration::from_secs(1);
/// Servers that one attempt tries, where they have to be found: who knows them may lag behind.
const MOST_TRIED: u32 = 5;
/// Who knows where the server is, is asked again at every heartbeat of this number.
const BEATS_A_QUESTION: u32 = 4;

/// What runs beside every connection, for as long as it lives.
pub(crate) type Caretaker = Box<dyn Fn(Arc<Up>) -> BoxFuture<'static, ()> + Send + Sync>;

/// What is said to a server before anything is looked up there.
pub(crate) type Greeting =
    Box<dyn Fn(Arc<Up>) -> BoxFuture<'static, Result<(), BackendError>> + Send + Sync>;

/// The handle that a backend holds; dropping it ends the supervisor.
pub(crate) struct Link {
    shared: Arc<Shared>,
}

struct Shared {
    settings: Settings,
    greeting: Greeting,
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
    /// Set once a fixed address has turned out to be that of one node of a cluster.
    is_node: AtomicBool,
}

/// How the link behaves.
#[derive(Debug)]
pub(crate) struct Settings {
    /// As it was given, in words.
    pub(super) address: String,
    /// Where the server is.
    pub(super) locator: Locator,
    pub(super) dialer: Dialer,
    pub(super) lately: Arc<Lately>,
    /// Longest wait for one answer.
    pub(crate) timeout: Duration,
    /// Time between two looks at the server's identity.
    pub(crate) heartbeat: Duration,
    /// Replaces the identity where INFO is forbidden.
    pub(super) fixed: Option<Fixed>,
    /// A name of the namespace, which only the owner of its slot answers for.
    pub(super) probe: String,
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
    pub(crate) fn new(settings: Settings, greeting: Greeting, caretaker: Caretaker) -> Self {
        let shared = Shared {
            settings,
            greeting,
            caretaker,
            state: watch::Sender::new(State::Connecting),
            supervisor: AtomicU64::new(0),
            supervisors: AtomicU64::new(0),
            alive: AtomicU64::new(0),
            born: Instant::now(),
            wake: Notify::new(),
            closed: AtomicBool::new(false),
            is_node: AtomicBool::new(false),
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
        let longest = self.handshake_limit() * 3 + self.settings.heartbeat * 2 + LONGEST_PAUSE;
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
                    tracing::info!(server = %up.info().addr(), id = %up.id(), "connected");
                    if self.settings.fixed.is_some() {
                        tracing::info!(
                            "the server is known by SMART_REDIS_SERVER_ID instead of its own word: change it whenever a server has restarted from old data"
                        );
                    }
                    self.tell(number, State::Up(Arc::clone(&up)));
                    let why = tokio::select! {
                        why = self.watch(&up, number) => why,
                        () = (self.caretaker)(Arc::clone(&up)) => self.watch(&up, number).await,
                    };
                    let Some(why) = why else { return };
                    tracing::warn!(server = %up.info().addr(), cause = %why, "connection lost; handlers answer until it is back");
                    // A closed connection is usually back at once and worth a short wait, and so is
                    // a slot whose new owner is known; a silent server is not.
                    let next = match &why {
                        BackendError::Disconnected(_) => State::Connecting,
                        BackendError::Refused(moved) if moved.starts_with("MOVED ") => {
                            let is_node = self.settings.locator.is_fixed();
                            self.is_node.fetch_or(is_node, Ordering::Relaxed);
                            State::Connecting
                        }
                        _ => State::Down(why),
                    };
                    self.tell(number, next);
                }
                Err(why) => {
                    let first = matches!(*self.state.borrow(), State::Connecting);
                    if first {
                        tracing::error!(server = %self.settings.address, cause = %why, "cache not active: handlers answer; trying again");
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

    /// Finds the server, connects and shakes hands: nothing is looked up before its identity is
    /// known.
    async fn connect(&self) -> Result<Arc<Up>, BackendError> {
        let Settings {
            locator, dialer, ..
        } = &self.settings;
        let limit = self.handshake_limit();
        let found = match tokio::time::timeout(limit, locator.candidates(dialer, limit)).await {
            Ok(found) => found?,
            Err(_) => return Err(BackendError::Timeout(limit)),
        };
        let mut untried: VecDeque<_> = found.into();
        let mut failure = BackendError::Disconnected("no server is known".into());
        for _ in 0..MOST_TRIED {
            let Some(info) = untried.pop_front() else {
                break;
            };
            self.sign_of_life();
            failure = match tokio::time::timeout(limit, self.shake_hands(&info)).await {
                Ok(Ok(up)) => return Ok(up),
                Ok(Err(why)) => why,
                Err(_) => BackendError::Timeout(limit),
            };
            if let BackendError::Refused(why) = &failure
                && why.starts_with("MOVED ")
            {
                if locator.is_fixed() {
                    let remedy = "this server is a node of a cluster: give SMART_REDIS_URL=redis+cluster://host:port,... instead";
                    failure = BackendError::Refused(format!("{why}; {remedy}").into());
                } else if let Some(owner) = redirected(why, &info) {
                    untried.push_front(owner);
                }
            }
            if !untried.is_empty() {
                tracing::debug!(server = %info.addr(), cause = %failure, "not this one");
            }
        }
        Err(failure)
    }

    async fn shake_hands(&self, info: &ConnectionInfo) -> Result<Arc<Up>, BackendError> {
        // Our own deadline stands on every command; the client's would only be a second timer.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.handshake_limit()))
            .set_response_timeout(None);
        let connection = self.settings.dialer.connect(info, &config).await;
        let connection = connection.map_err(|error| {
            BackendError::Disconnected(crate::config::redact(&error.to_string()).into())
        })?;
        let up = Up::new(connection, info.clone(), self.settings.timeout);
        // As long as a request would wait: a server that is slower than that would be found
        // dead by the next one, and the one after the next handshake, and so on.
        self.identify(&up, up.deadline()).await?;
        let up = Arc::new(up);
        (self.greeting)(Arc::clone(&up)).await?;
        Ok(up)
    }

    fn handshake_limit(&self) -> Duration {
        SHORTEST_HANDSHAKE.max(self.settings.timeout * 2)
    }

    /// Watches a connection until it is given up; `None` when the link was dropped, or another
    /// supervisor has taken over.
    async fn watch(&self, up: &Up, number: u64) -> Option<BackendError> {
        let mut beats: u32 = 0;
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
            beats = beats.wrapping_add(1);
            if beats.is_multiple_of(BEATS_A_QUESTION) {
                let Settings {
                    locator, dialer, ..
                } = &self.settings;
                tokio::select! {
                    word = locator.superseded(dialer, up.info(), self.settings.timeout) => {
                        self.settings.lately.confirmed(!matches!(word, Word::None));
                        if let Word::Superseded(why) = word {
                            return Some(why);
                        }
                    }
                    () = up.found_dead() => return up.cause_of_death(),
                }
            }
        }
    }

    /// Reads who the server is (another restart and another history are another identity), and
    /// whether the slot is still its own.
    async fn identify(&self, up: &Up, deadline: Instant) -> Result<(), BackendError> {
        let known = up.identify(self.settings.fixed.as_ref(), deadline);
        let is_node = || self.is_node.load(Ordering::Relaxed);
        if !self.settings.locator.is_cluster() && !is_node() {
            return known.await.map(drop);
        }
        let mut exists = redis::cmd("EXISTS");
        exists.arg(&self.settings.probe);
        match tokio::join!(known, up.call(&exists, deadline)) {
            // While its slot moves, the name may be on its way already.
            (Ok(_), Err(BackendError::Refused(why))) if is_on_its_way(&why) => Ok(()),
            (known, probed) => known.and(probed.map(drop)),
        }
    }
}

/// Half to all of a pause, so that a fleet does not come back in step.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0; 1];
    // Without randomness the pause is only less spread.
    let _ = getrandom::fill(&mut random);
    pause / 2 + pause.mul_f64(f64::from(random[0]) / 512.0)
}
