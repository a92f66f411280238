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
//! own runtime.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisError, Value};
use tokio::sync::{Notify, watch};

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
    supervised: AtomicBool,
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

/// A connection whose server is known.
pub(crate) struct Up {
    connection: MultiplexedConnection,
    /// First 16 hex digits of the hash of run id and replication id.
    id: RwLock<Arc<str>>,
    /// Milliseconds after `born` of the newest answer.
    last_answer: AtomicU64,
    born: Instant,
    timeout: Duration,
    /// Set, with a notification, when the connection is found dead.
    dead: Arc<Dead>,
}

#[derive(Default)]
struct Dead {
    why: RwLock<Option<BackendError>>,
    noticed: Notify,
}

impl Link {
    pub(crate) fn new(client: redis::Client, settings: Settings, caretaker: Caretaker) -> Self {
        let shared = Shared {
            client,
            settings,
            caretaker,
            state: watch::Sender::new(State::Connecting),
            supervised: AtomicBool::new(false),
            wake: Notify::new(),
            closed: AtomicBool::new(false),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The connection, waiting for one that is just being made, but not beyond `deadline`.
    pub(crate) async fn up(&self, deadline: Instant) -> Result<Arc<Up>, BackendError> {
        if let Some(settled) = self.now() {
            return settled;
        }
        Shared::supervise_once(&self.shared);
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
            State::Up(up) => Some(Ok(Arc::clone(up))),
            State::Down(why) => Some(Err(why.clone())),
            State::Connecting => None,
        }
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

impl fmt::Debug for Up {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Up")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

impl Up {
    /// The identity of the server, as read last on this connection.
    pub(crate) fn id(&self) -> Arc<str> {
        Arc::clone(
            &self
                .id
                .read()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }

    /// Sends one command and waits for its answer until `deadline`.
    pub(crate) async fn call(
        &self,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Value, BackendError> {
        let mut connection = self.connection.clone();
        self.answer(connection.send_packed_command(command), deadline)
            .await
    }

    /// The longest that a command without a request's deadline may take.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Runs a script by its hash, and by its text where the server has forgotten it.
    pub(crate) async fn script(
        &self,
        script: &redis::ScriptInvocation<'_>,
        deadline: Instant,
    ) -> Result<Value, BackendError> {
        let mut connection = self.connection.clone();
        self.answer(script.invoke_async(&mut connection), deadline)
            .await
    }

    async fn answer(
        &self,
        answer: impl Future<Output = Result<Value, RedisError>>,
        deadline: Instant,
    ) -> Result<Value, BackendError> {
        let sent = Instant::now();
        match tokio::time::timeout_at(deadline.into(), answer).await {
            Ok(Ok(Value::ServerError(error))) => {
                self.heard();
                Err(self.refused(error.code(), error.details().unwrap_or_default()))
            }
            Ok(Ok(value)) => {
                self.heard();
                Ok(value)
            }
            Ok(Err(error)) => Err(self.failed(&error)),
            Err(_) => {
                let waited = sent.elapsed();
                let silent_since =
                    self.born + Duration::from_millis(self.last_answer.load(Ordering::Relaxed));
                // Others were answered meanwhile: this one was slow, the server is not dead. A
                // deadline that was nearly used up before says nothing either.
                if silent_since < sent && waited >= self.timeout / 2 {
                    self.give_up(BackendError::Timeout(waited));
                }
                Err(BackendError::Timeout(waited))
            }
        }
    }

    fn heard(&self) {
        self.last_answer
            .store(self.born.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// An error that the client reports: of the connection, or the server's own words.
    fn failed(&self, error: &RedisError) -> BackendError {
        if error.is_unrecoverable_error() || error.is_io_error() {
            let why = BackendError::Disconnected(error.to_string().into());
            self.give_up(why.clone());
            return why;
        }
        self.heard();
        match error.code() {
            Some(code) => self.refused(code, error.detail().unwrap_or_default()),
            None => BackendError::Protocol(error.to_string().into()),
        }
    }

    fn refused(&self, code: &str, detail: &str) -> BackendError {
        let why = BackendError::Refused(format!("{code} {detail}").trim_end().into());
        // Another role than at the handshake: tokens are never read from a replica.
        if matches!(code, "READONLY" | "MASTERDOWN" | "LOADING") {
            self.give_up(why.clone());
        }
        why
    }

    /// Tells the supervisor that this connection is of no more use.
    fn give_up(&self, why: BackendError) {
        self.dead
            .why
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get_or_insert(why);
        self.dead.noticed.notify_one();
    }

    fn cause_of_death(&self) -> Option<BackendError> {
        self.dead
            .why
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }
}

/// Marks the link unsupervised when the supervisor ends, whatever ends it.
struct Supervision(Arc<Shared>);

impl Drop for Supervision {
    fn drop(&mut self) {
        self.0.state.send_replace(State::Connecting);
        self.0.supervised.store(false, Ordering::Release);
    }
}

impl Shared {
    fn supervise_once(shared: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if !shared.supervised.swap(true, Ordering::AcqRel) {
            let supervision = Supervision(Arc::clone(shared));
            runtime.spawn(async move { supervision.0.supervise().await });
        }
    }

    async fn supervise(&self) {
        let mut pause = FIRST_PAUSE;
        while !self.closed.load(Ordering::Acquire) {
            match self.connect().await {
                Ok(up) => {
                    pause = FIRST_PAUSE;
                    tracing::info!(server = %self.address(), id = %up.id(), "connected");
                    let up = Arc::new(up);
                    self.state.send_replace(State::Up(Arc::clone(&up)));
                    let why = tokio::select! {
                        why = self.watch(&up) => why,
                        () = (self.caretaker)(Arc::clone(&up)) => self.watch(&up).await,
                    };
                    let Some(why) = why else { return };
                    tracing::warn!(server = %self.address(), cause = %why, "connection lost; handlers answer until it is back");
                    // A closed connection is usually back at once and worth a short wait; a
                    // silent server is not.
                    let next = match why {
                        BackendError::Disconnected(_) => State::Connecting,
                        _ => State::Down(why),
                    };
                    self.state.send_replace(next);
                }
                Err(why) => {
                    let first = matches!(*self.state.borrow(), State::Connecting);
                    if first {
                        tracing::error!(server = %self.address(), cause = %why, "cache not active: handlers answer; trying again");
                    }
                    self.state.send_replace(State::Down(why));
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
        let limit = SHORTEST_HANDSHAKE.max(self.settings.timeout * 2);
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
            let up = Up {
                connection,
                id: RwLock::new("".into()),
                last_answer: AtomicU64::new(0),
                born: Instant::now(),
                timeout: self.settings.timeout,
                dead: Arc::new(Dead::default()),
            };
            self.identify(&up, Instant::now() + limit).await?;
            Ok(up)
        };
        match tokio::time::timeout(limit, handshake).await {
            Ok(result) => result,
            Err(_) => Err(BackendError::Timeout(limit)),
        }
    }

    /// Watches a connection until it is given up; `None` when the link was dropped.
    async fn watch(&self, up: &Up) -> Option<BackendError> {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.settings.heartbeat) => {}
                () = up.dead.noticed.notified() => {}
                () = self.wake.notified() => {}
            }
            if self.closed.load(Ordering::Acquire) {
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
        let id = read_identity(up, self.settings.server_id.as_deref(), deadline).await?;
        *up.id
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = id.into();
        Ok(())
    }

    fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }
}

/// Reads the identity again, on demand of a ticket.
pub(crate) async fn reread_identity(
    up: &Up,
    fixed: Option<&str>,
    deadline: Instant,
) -> Result<Arc<str>, BackendError> {
    let id: Arc<str> = read_identity(up, fixed, deadline).await?.into();
    *up.id
        .write()
        .unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::clone(&id);
    Ok(id)
}

async fn read_identity(
    up: &Up,
    fixed: Option<&str>,
    deadline: Instant,
) -> Result<String, BackendError> {
    // Two commands, since several sections in one INFO need Redis 7; both go out at once.
    let (server, replication) = (info("server"), info("replication"));
    let (server, replication) =
        tokio::join!(up.call(&server, deadline), up.call(&replication, deadline));
    identity(server, replication, fixed)
}

/// The identity of the server behind another connection.
pub(super) async fn identity_of(
    connection: &mut MultiplexedConnection,
    fixed: Option<&str>,
) -> Result<String, BackendError> {
    let failed = |error: RedisError| match error.code() {
        Some(code) => {
            BackendError::Refused(format!("{code} {}", error.detail().unwrap_or_default()).into())
        }
        None => BackendError::Disconnected(error.to_string().into()),
    };
    let server = connection
        .send_packed_command(&info("server"))
        .await
        .map_err(failed);
    let replication = connection
        .send_packed_command(&info("replication"))
        .await
        .map_err(failed);
    identity(server, replication, fixed)
}

fn info(section: &str) -> Cmd {
    let mut info = redis::cmd("INFO");
    info.arg(section);
    info
}

/// First 16 hex digits of the hash of run and history: another restart and another master are
/// another identity.
fn identity(
    server: Result<Value, BackendError>,
    replication: Result<Value, BackendError>,
    fixed: Option<&str>,
) -> Result<String, BackendError> {
    let (server, replication) = match (server, replication) {
        (Ok(server), Ok(replication)) => (text(&server)?, text(&replication)?),
        (Err(BackendError::Refused(why)), _) | (_, Err(BackendError::Refused(why))) => {
            return match fixed {
                Some(fixed) => Ok(fixed.to_owned()),
                None => Err(BackendError::Refused(
                    format!("INFO is forbidden ({why}): allow it with ACL SETUSER <user> +info, or set SMART_REDIS_SERVER_ID to something that changes when the server restarts or fails over").into(),
                )),
            };
        }
        (Err(why), _) | (_, Err(why)) => return Err(why),
    };
    if field(&replication, "role").is_some_and(|role| role != "master") {
        return Err(BackendError::Refused(
            "READONLY this server is a replica: give the address of the master".into(),
        ));
    }
    if let Some(fixed) = fixed {
        return Ok(fixed.to_owned());
    }
    let run_id = field(&server, "run_id").unwrap_or_default();
    let history = field(&replication, "master_replid").unwrap_or_default();
    if run_id.is_empty() {
        return Err(BackendError::Protocol(
            "INFO server tells no run_id; set SMART_REDIS_SERVER_ID".into(),
        ));
    }
    let mut sha = sha1_smol::Sha1::new();
    sha.update(run_id.as_bytes());
    sha.update(history.as_bytes());
    let mut id = sha.digest().to_string();
    id.truncate(16);
    Ok(id)
}

/// One line of an INFO section.
pub(crate) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

pub(crate) fn text(value: &Value) -> Result<String, BackendError> {
    match value {
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(text.clone()),
        other => Err(BackendError::Protocol(format!("{other:?}").into())),
    }
}

/// Half to all of a pause, so that a fleet does not come back in step.
fn jittered(pause: Duration) -> Duration {
    let mut random = [0; 1];
    // Without randomness the pause is only less spread.
    let _ = getrandom::fill(&mut random);
    pause / 2 + pause.mul_f64(f64::from(random[0]) / 512.0)
}
