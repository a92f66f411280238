//! A connection whose server is known: commands with a deadline, and what their failures mean.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ConnectionInfo, Pipeline, RedisError, Value};
use tokio::sync::{Notify, Semaphore};

use super::identity::{self, Fixed};
use crate::error::BackendError;

/// A connection whose server is known.
pub(crate) struct Up {
    connection: MultiplexedConnection,
    /// Where it leads; other connections to the same server are made by it. Holds the password.
    info: ConnectionInfo,
    /// First 16 hex digits of the hash of run id and replication id.
    id: RwLock<Arc<str>>,
    /// Milliseconds after `born` of the newest answer.
    last_answer: AtomicU64,
    born: Instant,
    timeout: Duration,
    /// Set, with a notification, when the connection is found dead.
    dead: Dead,
    /// Connections to nodes that a slot is moving to, by their addresses.
    elsewhere: Mutex<HashMap<String, MultiplexedConnection>>,
    /// Connections to the same server that one clear at a time has for itself; see `replicas.rs`.
    apart: Mutex<Vec<MultiplexedConnection>>,
    few: Semaphore,
}

/// Connections that are had apart at once.
const MOST_APART: usize = 4;

#[derive(Default)]
struct Dead {
    /// Whether there is a reason; read by every command.
    is_known: AtomicBool,
    why: RwLock<Option<BackendError>>,
    noticed: Notify,
}

impl fmt::Debug for Up {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Up")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

impl Up {
    /// Not identified yet.
    pub(super) fn new(
        connection: MultiplexedConnection,
        info: ConnectionInfo,
        timeout: Duration,
    ) -> Self {
        Self {
            connection,
            info,
            id: RwLock::new("".into()),
            last_answer: AtomicU64::new(0),
            born: Instant::now(),
            timeout,
            dead: Dead::default(),
            elsewhere: Mutex::default(),
            apart: Mutex::default(),
            few: Semaphore::new(MOST_APART),
        }
    }

    /// Reads who the server is, and remembers it; `fixed` replaces it where INFO is forbidden.
    pub(super) async fn identify(
        &self,
        fixed: Option<&Fixed>,
        deadline: Instant,
    ) -> Result<Arc<str>, BackendError> {
        let ask = |command: Cmd| async move { self.call(&command, deadline).await };
        let place = self.info.addr().to_string();
        let id: Arc<str> = identity::read(ask, fixed, &place).await?.into();
        *self.id.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&id);
        Ok(id)
    }

    /// Where it leads.
    pub(super) fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    /// A connection to another node, made before.
    pub(super) fn elsewhere(&self, name: &str) -> Option<MultiplexedConnection> {
        let kept = self
            .elsewhere
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        kept.get(name).cloned()
    }

    /// Keeps a connection to another node; `None` forgets it.
    pub(super) fn keep_elsewhere(&self, name: String, connection: Option<MultiplexedConnection>) {
        let mut kept = self
            .elsewhere
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match connection {
            Some(connection) => drop(kept.insert(name, connection)),
            None => drop(kept.remove(&name)),
        }
    }

    /// How many clears may have a connection for themselves.
    pub(super) fn few(&self) -> &Semaphore {
        &self.few
    }

    /// A connection that nobody has at the moment.
    pub(super) fn take_apart(&self) -> Option<MultiplexedConnection> {
        self.apart
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
    }

    /// Keeps a connection for the next one who needs it.
    pub(super) fn keep_apart(&self, connection: MultiplexedConnection) {
        self.apart
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
    }

    /// Resolves when a command has found this connection dead.
    pub(super) async fn found_dead(&self) {
        self.dead.noticed.notified().await;
    }

    /// The identity of the server, as read last on this connection.
    pub(crate) fn id(&self) -> Arc<str> {
        Arc::clone(&self.id.read().unwrap_or_else(PoisonError::into_inner))
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

    /// Sends several commands at once; one of them may be refused while others are not.
    pub(super) async fn pipeline(
        &self,
        commands: &Pipeline,
        deadline: Instant,
    ) -> Result<Vec<Result<Value, BackendError>>, BackendError> {
        let mut connection = self.connection.clone();
        let count = commands.len();
        let answers = self
            .answers(
                connection.send_packed_commands(commands, 0, count),
                deadline,
            )
            .await?;
        Ok(answers
            .into_iter()
            .map(|value| self.unless_refused(value))
            .collect())
    }

    async fn answer(
        &self,
        answer: impl Future<Output = Result<Value, RedisError>>,
        deadline: Instant,
    ) -> Result<Value, BackendError> {
        let value = self.answers(answer, deadline).await?;
        self.unless_refused(value)
    }

    /// An answer that came on another connection to the same server.
    pub(super) fn judged(&self, value: Value) -> Result<Value, BackendError> {
        self.unless_refused(value)
    }

    fn unless_refused(&self, value: Value) -> Result<Value, BackendError> {
        match value {
            Value::ServerError(error) => {
                Err(self.refused(error.code(), error.details().unwrap_or_default()))
            }
            value => Ok(value),
        }
    }

    async fn answers<T>(
        &self,
        answer: impl Future<Output = Result<T, RedisError>>,
        deadline: Instant,
    ) -> Result<T, BackendError> {
        let sent = Instant::now();
        match tokio::time::timeout_at(deadline.into(), answer).await {
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

    pub(super) fn refused(&self, code: &str, detail: &str) -> BackendError {
        let why = BackendError::Refused(format!("{code} {detail}").trim_end().into());
        // Another role than at the handshake (tokens are never read from a replica), or another owner
        // of the slot.
        if matches!(
            code,
            "READONLY" | "MASTERDOWN" | "LOADING" | "MOVED" | "CLUSTERDOWN"
        ) {
            self.give_up(why.clone());
        }
        why
    }

    /// Tells the supervisor that this connection is of no more use.
    fn give_up(&self, why: BackendError) {
        self.dead
            .why
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(why);
        self.dead.is_known.store(true, Ordering::Release);
        self.dead.noticed.notify_one();
    }

    pub(super) fn cause_of_death(&self) -> Option<BackendError> {
        if !self.dead.is_known.load(Ordering::Acquire) {
            return None;
        }
        self.dead
            .why
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
