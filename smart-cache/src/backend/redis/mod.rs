//! Entries and tokens in Redis: one multiplexed connection, hits by one MGET, everything that
//! must be atomic by a script.
//!
//! The only module that imports the Redis client. `link.rs` keeps the connection, `names.rs`
//! names the keys, `scripts.rs` holds the scripts, `caretaker.rs` announces, advises and sweeps.

mod caretaker;
mod identity;
mod link;
mod lookup;
mod names;
mod scripts;
mod tracking;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::{ConnectionInfo, ScriptInvocation, Value};

use self::link::{Link, Up};
use self::lookup::Batches;
use self::names::Names;
use super::{Backend, BoxFuture, Filling, Lease, Lookup, Stored, Ticket};
use crate::error::{BackendError, ConfigError};
use crate::local::Freshness;
use crate::protocol::{Digest, Nonce, Target};

/// A minted token that no store has made permanent lives this long: a scan of random ids must
/// not fill Redis with tokens of 404s.
const UNUSED_TOKEN_LIFE: Duration = Duration::from_secs(3600);
/// How a [`RedisBackend`] behaves; [`RedisOptions::default`] is what the environment gives when
/// nothing is set.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RedisOptions {
    /// Prefix of every name.
    pub namespace: String,
    /// Entries of two versions never mix; tokens are shared by all.
    pub version: String,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// How long a lease lasts without being renewed.
    pub lease: Duration,
    /// An answer whose newest token is younger than this is stored with this time to live.
    pub settle: Duration,
    /// Most entries under one key.
    pub max_variants: u32,
    /// Time between two looks at the server's identity.
    pub heartbeat: Duration,
    /// Replaces the identity where INFO is forbidden.
    pub server_id: Option<String>,
    /// Whether a second connection hears of every change, for a local tier in front.
    pub tracking: bool,
    /// How long a local tier may go on when that connection is silent.
    pub staleness: Duration,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            namespace: "cache".to_owned(),
            version: "0".to_owned(),
            timeout: Duration::from_millis(250),
            lease: Duration::from_secs(10),
            settle: Duration::from_secs(2),
            max_variants: 10_000,
            heartbeat: Duration::from_millis(250),
            server_id: None,
            tracking: true,
            staleness: Duration::from_secs(1),
        }
    }
}

/// Entries and tokens in Redis (or Valkey).
pub struct RedisBackend {
    core: Arc<Core>,
}

/// What a batch of lookups needs, however long the backend's handle lives.
#[derive(Debug)]
struct Core {
    shared: Arc<Shared>,
    link: Link,
    batches: Batches,
}

impl std::fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisBackend")
            .field("shared", &self.core.shared)
            .field("link", &self.core.link)
            .finish_non_exhaustive()
    }
}

/// What the caretaker needs besides a connection.
struct Shared {
    names: Names,
    options: RedisOptions,
    address: String,
    /// Holds the password, so it is not in `Debug`.
    info: ConnectionInfo,
    /// What is heard of changes, where anybody listens.
    freshness: Option<Arc<Freshness>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("address", &self.address)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl RedisBackend {
    /// Prepares a backend for the server at `url`; connects on first use.
    ///
    /// # Errors
    /// When the URL cannot be understood, or needs a feature that is not compiled in.
    pub fn new(url: &str, options: RedisOptions) -> Result<Self, ConfigError> {
        Self::connect_to(crate::config::connection_info("url", url)?, options)
    }

    pub(crate) fn connect_to(
        info: ConnectionInfo,
        options: RedisOptions,
    ) -> Result<Self, ConfigError> {
        #[cfg(feature = "tls")]
        if matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) {
            install_tls_provider();
        }
        let address = info.addr().to_string();
        let client = redis::Client::open(info.clone()).map_err(|error| ConfigError::Invalid {
            name: "SMART_REDIS_URL".to_owned(),
            value: address.clone(),
            allowed: error.to_string(),
        })?;
        let settings = link::Settings {
            timeout: options.timeout,
            heartbeat: options.heartbeat,
            server_id: options.server_id.clone(),
        };
        let shared = Arc::new(Shared {
            names: Names::new(&options.namespace, &options.version),
            freshness: options.tracking.then(Arc::default),
            options,
            address,
            info,
        });
        let caretaker = {
            let shared = Arc::clone(&shared);
            Box::new(move |up| -> BoxFuture<'static, ()> {
                let shared = Arc::clone(&shared);
                Box::pin(async move {
                    tokio::join!(
                        caretaker::run(Arc::clone(&shared), Arc::clone(&up)),
                        tracking::run(shared, up)
                    );
                })
            })
        };
        let core = Core {
            shared,
            link: Link::new(client, settings, caretaker),
            batches: Batches::default(),
        };

        Ok(Self {
            core: Arc::new(core),
        })
    }

    fn names(&self) -> &Names {
        &self.core.shared.names
    }

    /// The names of the tokens of `target`: the namespace's, the key's, the tags'.
    fn static_tokens(&self, target: &Target) -> impl Iterator<Item = String> {
        std::iter::once(self.names().namespace_token())
            .chain(target.names().map(|name| self.names().token(name)))
    }

    /// A connection for work that no request waits for.
    async fn up(&self) -> Result<(Arc<Up>, Instant), BackendError> {
        let deadline = Instant::now() + self.core.shared.options.timeout;
        Ok((self.core.link.up(deadline).await?, deadline))
    }

    async fn take_ticket(
        &self,
        target: &Target,
        dynamic: &[Arc<str>],
        deadline: Instant,
    ) -> Result<Ticket, BackendError> {
        let up = self.core.link.up(deadline).await?;
        let mut id = up.id();
        let mut may_adopt = true;
        loop {
            let nonce = nonce()?;
            let mut call = scripts::TICKET.prepare_invoke();
            call.key(self.names().entry(target.id))
                .key(self.names().lease(target.id))
                .key(self.names().clock());
            let mut statics = 0;
            for name in self.static_tokens(target) {
                call.key(name);
                statics += 1;
            }
            for tag in dynamic {
                call.key(self.names().token(tag));
            }
            call.arg(&*id)
                .arg(nonce.as_bytes())
                .arg(millis(self.core.shared.options.lease))
                .arg(statics)
                .arg(millis(UNUSED_TOKEN_LIFE));
            let mut answer = array(up.script(&call, deadline).await?)?.into_iter();
            let kind = bytes(answer.next())?;
            match &kind[..] {
                b"L" => {
                    let (digest, value) = (bytes(answer.next())?, bytes(answer.next())?);
                    return Ok(Ticket::Lead(Lease {
                        digest: as_digest(&digest)?,
                        value,
                    }));
                }
                b"B" => return Ok(Ticket::Busy(as_digest(&bytes(answer.next())?)?)),
                b"H" => {
                    let stored = bytes(answer.next())?;
                    return Ok(Ticket::Filled(stored.slice(1.min(stored.len())..).into()));
                }
                b"U" | b"M" => return Ok(Ticket::Held),
                b"I" if may_adopt => {
                    may_adopt = false;
                    let token = bytes(answer.next())?;
                    id = link::reread_identity(
                        &up,
                        self.core.shared.options.server_id.as_deref(),
                        deadline,
                    )
                    .await?;
                    if !belongs_to(&token, &id) {
                        tracing::info!(id = %id, "another incarnation of the server: the namespace starts cold");
                        self.adopt(&up, &token, &id, deadline).await?;
                    }
                }
                // Two clients that keep seeing two ids would adopt from each other for ever.
                b"I" => {
                    return Err(BackendError::Refused(
                        "the namespace token carries another server's identity again and again: two servers behind one address, or SMART_REDIS_SERVER_ID set for one process only?".into(),
                    ));
                }
                other => {
                    return Err(BackendError::Protocol(
                        String::from_utf8_lossy(other).into(),
                    ));
                }
            }
        }
    }

    async fn adopt(
        &self,
        up: &Up,
        token: &[u8],
        id: &str,
        deadline: Instant,
    ) -> Result<(), BackendError> {
        let mut call = scripts::ADOPT.prepare_invoke();
        call.key(self.names().namespace_token())
            .key(self.names().clock());
        call.arg(token).arg(id).arg(nonce()?.as_bytes());
        up.script(&call, deadline).await.map(drop)
    }

    async fn put(
        &self,
        target: &Target,
        lease: &Lease,
        filling: Filling<'_>,
    ) -> Result<Stored, BackendError> {
        let (up, deadline) = self.up().await?;
        let options = &self.core.shared.options;
        let mut call: ScriptInvocation<'_> = scripts::STORE.prepare_invoke();
        call.key(self.names().entry(target.id))
            .key(self.names().lease(target.id))
            .key(self.names().clock())
            .key(self.names().index(&target.key));
        let mut statics = 0;
        for name in self.static_tokens(target) {
            call.key(name);
            statics += 1;
        }
        for tag in filling.dynamic {
            call.key(self.names().token(tag));
        }
        call.arg(&lease.value[..])
            .arg(lease.digest.as_bytes())
            .arg(filling.payload);
        // A time to live below a millisecond would read as "for ever".
        call.arg(filling.ttl.map_or(0, |ttl| millis(ttl).max(1)))
            .arg(millis(options.settle))
            .arg(statics);
        call.arg(nonce()?.as_bytes())
            .arg(millis(UNUSED_TOKEN_LIFE))
            .arg(target.id.hex())
            .arg(options.max_variants);
        let answer = array(up.script(&call, deadline).await?)?;
        match (integer(answer.first()), &answer[..]) {
            (Some(1), [_, ttl, victim]) => {
                if let Some(victim) = crate::entry::EntryId::parse(&String::from_utf8_lossy(
                    &bytes(Some(victim.clone()))?,
                )) {
                    let mut unlink = redis::cmd("UNLINK");
                    unlink.arg(self.names().entry(victim));
                    up.call(&unlink, up.deadline()).await?;
                }
                let ttl = integer(Some(ttl)).filter(|ttl| *ttl > 0);
                Ok(Stored::Landed(
                    ttl.map(|ttl| Duration::from_millis(ttl as u64)),
                ))
            }
            (Some(0), _) => Ok(Stored::LeaseLost),
            (Some(-1), _) => Ok(Stored::Cleared),
            (Some(-2), _) => Ok(Stored::YoungTag),
            _ => Err(BackendError::Protocol(format!("{answer:?}").into())),
        }
    }

    /// Runs a script over the lease alone; whether it still was ours.
    async fn on_lease(
        &self,
        target: &Target,
        call: &mut ScriptInvocation<'_>,
    ) -> Result<bool, BackendError> {
        let (up, deadline) = self.up().await?;
        call.key(self.names().lease(target.id));
        Ok(integer(Some(&up.script(call, deadline).await?)) == Some(1))
    }

    /// Deletes tokens in one command, never in a transaction: at the memory limit Redis refuses
    /// a transaction and takes a plain DEL.
    async fn delete_tokens(&self, names: impl Iterator<Item = String>) -> Result<(), BackendError> {
        let (up, deadline) = self.up().await?;
        let mut del = redis::cmd("DEL");
        for name in names {
            del.arg(name);
        }
        up.call(&del, deadline).await.map(drop)
    }
}

/// The TLS library must be told which cryptography to use, or it panics at the first handshake; a
/// program that has told it already keeps its choice.
#[cfg(feature = "tls")]
fn install_tls_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that somebody else was faster, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

impl Backend for RedisBackend {
    fn lookup<'a>(
        &'a self,
        target: &'a Target,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Lookup, BackendError>> {
        Box::pin(lookup::look_up(&self.core, target, deadline))
    }

    fn ticket<'a>(
        &'a self,
        target: &'a Target,
        dynamic: &'a [Arc<str>],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Ticket, BackendError>> {
        Box::pin(self.take_ticket(target, dynamic, deadline))
    }

    fn store<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
        filling: Filling<'a>,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(self.put(target, lease, filling))
    }

    fn renew<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            let mut call = scripts::RENEW.prepare_invoke();
            call.arg(&lease.value[..])
                .arg(millis(self.core.shared.options.lease));
            self.on_lease(target, &mut call).await
        })
    }

    fn release<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            let mut call = scripts::RELEASE.prepare_invoke();
            call.arg(&lease.value[..]);
            self.on_lease(target, &mut call).await.map(drop)
        })
    }

    fn discard<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            let (up, deadline) = self.up().await?;
            let mut unlink = redis::cmd("UNLINK");
            unlink.arg(self.names().entry(target.id));
            up.call(&unlink, deadline).await.map(drop)
        })
    }

    fn clear<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            if keys.is_empty() {
                return Ok(());
            }
            self.delete_tokens(keys.iter().map(|key| self.names().token(key)))
                .await
        })
    }

    fn clear_all(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(self.delete_tokens(std::iter::once(self.names().namespace_token())))
    }

    fn reclaim(&self, keys: Vec<String>) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let Ok((up, _)) = self.up().await else { return };
            for key in keys {
                if let Err(why) = caretaker::reclaim(&self.core.shared, &up, &key).await {
                    tracing::debug!(%key, cause = %why, "reclaiming stopped; the sweep goes on with it");
                    return;
                }
            }
        })
    }

    fn lease(&self) -> Duration {
        self.core.shared.options.lease
    }

    fn open(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async move {
            // A start may wait for a whole handshake; requests never do.
            let patience = Duration::from_secs(1).max(self.core.shared.options.timeout * 2);
            self.core.link.up(Instant::now() + patience).await.map(drop)
        })
    }

    fn first_of_version(&self) -> BoxFuture<'_, Result<bool, BackendError>> {
        Box::pin(async move {
            let (up, deadline) = self.up().await?;
            caretaker::is_first_of_version(&self.core.shared, &up, deadline).await
        })
    }

    fn freshness(&self) -> Option<&Arc<Freshness>> {
        self.core.shared.freshness.as_ref()
    }

    fn blocking_twin(&self) -> Option<Arc<dyn Backend>> {
        let options = RedisOptions {
            tracking: false,
            ..self.core.shared.options.clone()
        };
        let twin = Self::connect_to(self.core.shared.info.clone(), options);
        twin.ok().map(|twin| Arc::new(twin) as Arc<dyn Backend>)
    }

    fn describe(&self) -> String {
        format!(
            "redis at {}, namespace {:?}",
            self.core.shared.address, self.core.shared.options.namespace
        )
    }

    fn is_available(&self) -> bool {
        self.core.link.is_up()
    }
}

/// The tokens of one entry.
enum Tokens<'a> {
    Whole(Vec<&'a [u8]>),
    Missing,
    Held,
}

impl<'a> Tokens<'a> {
    /// A held token outweighs a missing one: held keys are neither served nor stored.
    fn read(replies: impl Iterator<Item = &'a Value>) -> Self {
        let mut whole: Option<Vec<&[u8]>> = Some(Vec::with_capacity(4));
        for reply in replies {
            match reply {
                Value::BulkString(token) if token == b"!" => return Tokens::Held,
                Value::BulkString(token) => {
                    if let Some(tokens) = &mut whole {
                        tokens.push(token);
                    }
                }
                _ => whole = None,
            }
        }
        whole.map_or(Tokens::Missing, Tokens::Whole)
    }
}

fn digest(tokens: &[&[u8]]) -> Digest {
    Digest::of(tokens.iter().copied())
}

/// Whether a namespace token was minted by this incarnation of the server. The colon counts:
/// one id may begin like another.
fn belongs_to(token: &[u8], id: &str) -> bool {
    token
        .strip_prefix(id.as_bytes())
        .is_some_and(|rest| rest.first() == Some(&b':'))
}

fn nonce() -> Result<Nonce, BackendError> {
    Nonce::fresh().map_err(|error| BackendError::Protocol(format!("no randomness: {error}").into()))
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

fn array(value: Value) -> Result<Vec<Value>, BackendError> {
    match value {
        Value::Array(values) => Ok(values),
        other => Err(BackendError::Protocol(format!("{other:?}").into())),
    }
}

fn bytes(value: Option<Value>) -> Result<Bytes, BackendError> {
    match value {
        Some(Value::BulkString(bytes)) => Ok(bytes.into()),
        Some(Value::SimpleString(text)) => Ok(text.into_bytes().into()),
        other => Err(BackendError::Protocol(format!("{other:?}").into())),
    }
}

fn integer(value: Option<&Value>) -> Option<i64> {
    match value {
        Some(Value::Int(number)) => Some(*number),
        _ => None,
    }
}

fn as_digest(bytes: &[u8]) -> Result<Digest, BackendError> {
    Digest::from_bytes(bytes)
        .ok_or_else(|| BackendError::Protocol("a digest of another length".into()))
}
