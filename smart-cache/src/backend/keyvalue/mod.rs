//! Responses on any [`ValueStore`]: the protocol without scripts and without a server's clock.
//!
//! Each step is one of get_many, add, set, delete, touch, and steps of two processes mix freely.
//! That is safe because an entry proves by its digest that the tokens of its ticket are those of
//! now (`docs/protocol.md`): a store that lands late, or between two reads, is never served.
//!
//! Invariants
//! - A token is minted by `add`, with a nonce of its own, and then read back: whoever's token is
//!   there counts. An `add` is never sent twice, and after any error there is no ticket.
//! - The tokens of an entry are those of its ticket, also those of tags that the handler found:
//!   the ticket reads them from the list that the dead entry left.
//! - The namespace's token begins with the store's incarnation.
//! - Leases, the index and the announcement of builds save work; they decide nothing.
//!
//! Two things differ from Redis. How old a token is, which decides whether an answer settles, is
//! told by the clocks of the processes, so theirs have to agree to much less than the settle time.
//! And nobody tells of changes, so there is no local tier in front.
//!
//! Over 400 lines: one backend, whose parts call each other for every step.

mod breaker;
mod entry;
mod index;
mod names;
mod retire;
mod sweep;
mod ticket;
mod tokens;
mod values;
mod write;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::breaker::Breaker;
use self::names::Names;
use super::{
    Added, Backend, BoxFuture, Filling, Lease, Lookup, NewValue, Reclaimed, Stored, Ticket,
    ValueStore,
};
use crate::config;
use crate::entry::EntryId;
use crate::error::{BackendError, ConfigError};
use crate::protocol::Target;
use crate::together::Together;

/// How a [`KeyValueBackend`] behaves; [`KeyValueOptions::default`] is what the environment gives
/// when nothing is set.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct KeyValueOptions {
    /// Entries of two versions never mix; tokens are shared by all.
    pub version: String,
    /// Longest wait for one step that no request waits for; a request brings its own deadline.
    pub timeout: Duration,
    /// How long a lease lasts without being renewed.
    pub lease: Duration,
    /// An answer whose newest token is younger than this is stored with this time to live.
    pub settle: Duration,
    /// About how many entries are kept under one key; the oldest go first.
    pub max_variants: u32,
}

impl Default for KeyValueOptions {
    fn default() -> Self {
        Self {
            version: "0".to_owned(),
            timeout: Duration::from_millis(250),
            lease: Duration::from_secs(10),
            settle: Duration::from_secs(2),
            max_variants: 10_000,
        }
    }
}

/// Entries and tokens in a [`ValueStore`].
///
/// The store should be one of its own: its [`clear`](ValueStore::clear) removes the tokens too,
/// which makes every response cold. The plain values of the low-level API are kept beside the
/// entries, or in a store of their own ([`with_values`](Self::with_values)).
///
/// # Example
/// ```
/// use std::sync::Arc;
/// use smart_cache::backend::{KeyValueBackend, KeyValueOptions, ValueStore};
///
/// fn responses_on(store: Arc<dyn ValueStore>) -> Result<KeyValueBackend, smart_cache::ConfigError> {
///     KeyValueBackend::new(store, KeyValueOptions::default())
/// }
/// ```
#[derive(Debug, Clone)]
pub struct KeyValueBackend {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn ValueStore>,
    /// Where plain values are, when not beside the entries.
    values: Option<Arc<dyn ValueStore>>,
    names: Names,
    options: KeyValueOptions,
    breaker: Breaker,
    announcer: sweep::Announcer,
    lookups: Arc<Together<EntryId, Result<Lookup, BackendError>>>,
}

impl KeyValueBackend {
    /// Keeps entries and tokens in `store`; nothing is sent yet.
    ///
    /// # Errors
    /// When the version cannot be part of a name.
    pub fn new(store: Arc<dyn ValueStore>, options: KeyValueOptions) -> Result<Self, ConfigError> {
        config::check_version(&options.version).map_err(|allowed| ConfigError::Invalid {
            name: "version".to_owned(),
            value: options.version.clone(),
            allowed: allowed.to_owned(),
        })?;
        let shared = Shared {
            names: Names::new(&options.version),
            values: None,
            store,
            options,
            breaker: Breaker::default(),
            announcer: sweep::Announcer::default(),
            lookups: Arc::default(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }
}

impl KeyValueBackend {
    /// Keeps the plain values of the low-level API in a store of their own instead of beside the
    /// entries, so that either can be cleared in one step where names cannot be listed.
    #[must_use]
    pub fn with_values(self, values: Arc<dyn ValueStore>) -> Self {
        let shared = Shared {
            store: Arc::clone(&self.shared.store),
            values: Some(values),
            names: Names::new(&self.shared.options.version),
            options: self.shared.options.clone(),
            breaker: Breaker::default(),
            announcer: sweep::Announcer::default(),
            lookups: Arc::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }
}

impl Shared {
    /// The same over other connections; `None` where that is not needed.
    fn twin(&self) -> Option<Self> {
        let values = match &self.values {
            Some(values) => Some(values.blocking_twin()?),
            None => None,
        };
        Some(Self {
            store: self.store.blocking_twin()?,
            values,
            names: Names::new(&self.options.version),
            options: self.options.clone(),
            breaker: Breaker::default(),
            announcer: sweep::Announcer::default(),
            lookups: Arc::default(),
        })
    }

    /// A deadline that only ends what the stores' own timeouts should have ended.
    fn patient(&self) -> Instant {
        Instant::now() + self.options.timeout * 4 + Duration::from_secs(10)
    }

    /// A deadline for work that no request waits for.
    fn soon(&self) -> Instant {
        Instant::now() + self.options.timeout
    }

    /// One call of the store, given up at the deadline; what it did tells the breaker.
    async fn call<T>(
        &self,
        deadline: Instant,
        call: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        let began = Instant::now();
        let answer = match tokio::time::timeout_at(deadline.into(), call).await {
            Ok(answer) => answer,
            Err(_) => Err(BackendError::Timeout(
                deadline.saturating_duration_since(began),
            )),
        };
        self.breaker.report(answer.as_ref().err());
        answer
    }

    async fn get_many(
        &self,
        names: &[String],
        deadline: Instant,
    ) -> Result<Vec<Option<Bytes>>, BackendError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let values = self.call(deadline, self.store.get_many(names)).await?;
        if values.len() == names.len() {
            Ok(values)
        } else {
            Err(BackendError::Protocol(
                format!("{} values for {} names", values.len(), names.len()).into(),
            ))
        }
    }

    async fn get(&self, name: String, deadline: Instant) -> Result<Option<Bytes>, BackendError> {
        let values = self.get_many(&[name], deadline).await?;
        Ok(values.into_iter().next().flatten())
    }

    async fn delete(&self, names: &[String], deadline: Instant) -> Result<u64, BackendError> {
        self.call(deadline, self.store.delete_many(names)).await
    }
}

impl Backend for KeyValueBackend {
    fn lookup<'a>(
        &'a self,
        target: &'a Target,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Lookup, BackendError>> {
        Box::pin(async move {
            self.shared.breaker.admit()?;
            self.announce();
            let (shared, id, target) = (Arc::clone(&self.shared), target.id, target.clone());
            let look = move || async move { shared.look_up(&target, deadline).await };
            let found = self.shared.lookups.ask(id, look).await;
            found.unwrap_or_else(|| Err(BackendError::ended()))
        })
    }

    fn ticket<'a>(
        &'a self,
        target: &'a Target,
        dynamic: &'a [Arc<str>],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Ticket, BackendError>> {
        Box::pin(async move {
            self.shared.breaker.admit()?;
            self.shared.take_ticket(target, dynamic, deadline).await
        })
    }

    fn store<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
        filling: Filling<'a>,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(async move { self.shared.put(target, lease, &filling).await })
    }

    fn values(&self) -> Option<Arc<dyn ValueStore>> {
        Some(Arc::new(values::Values::new(Arc::clone(&self.shared))))
    }

    fn add_value<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
        value: NewValue<'a>,
    ) -> BoxFuture<'a, Result<Added, BackendError>> {
        Box::pin(async move { self.shared.add_computed(target, lease, &value).await })
    }

    fn renew<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            let shared = &self.shared;
            if !shared.holds(target, lease).await? {
                return Ok(false);
            }
            let name = shared.names.lease(target.id);
            let expiry = Some(shared.options.lease);
            shared
                .call(shared.soon(), shared.store.touch(&name, expiry))
                .await
        })
    }

    fn release<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move { self.shared.spend(target, lease).await.map(drop) })
    }

    fn discard<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            let names = [
                self.shared.names.entry(target.id),
                self.shared.names.place(target.id),
            ];
            self.shared
                .delete(&names, self.shared.soon())
                .await
                .map(drop)
        })
    }

    fn clear<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            if keys.is_empty() {
                return Ok(());
            }
            let names: Vec<_> = keys
                .iter()
                .map(|key| self.shared.names.token(key))
                .collect();
            self.shared
                .delete(&names, self.shared.soon())
                .await
                .map(drop)
        })
    }

    fn clear_all(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async move {
            let names = [self.shared.names.namespace_token()];
            self.shared
                .delete(&names, self.shared.soon())
                .await
                .map(drop)
        })
    }

    fn reclaim(&self, keys: Vec<String>) -> BoxFuture<'_, Reclaimed> {
        Box::pin(async move {
            let mut freed = Reclaimed::default();
            for key in keys {
                if let Err(why) = self.shared.reclaim(&key, &mut freed).await {
                    tracing::debug!(%key, cause = %why, "reclaiming stopped; the sweep goes on with it");
                    break;
                }
            }
            freed
        })
    }

    fn sweep(&self) -> BoxFuture<'_, Result<u64, BackendError>> {
        Box::pin(async move { self.shared.sweep().await })
    }

    fn lease(&self) -> Duration {
        self.shared.options.lease
    }

    fn open(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async move {
            // A start may wait for a whole handshake; requests never do.
            let patience = Duration::from_secs(1).max(self.shared.options.timeout * 2);
            let names = [self.shared.names.namespace_token()];
            let asked = self
                .shared
                .get_many(&names, Instant::now() + patience)
                .await;
            match asked {
                Ok(_) => {
                    self.announce();
                    Ok(())
                }
                Err(why) => {
                    tracing::warn!(store = %self.describe(), cause = %why, "the store does not answer; handlers run until it does");
                    Err(why)
                }
            }
        })
    }

    fn first_of_version(&self) -> BoxFuture<'_, Result<bool, BackendError>> {
        Box::pin(async move {
            let (name, seen) = (
                self.shared.names.first_of_version(),
                Bytes::from_static(b"1"),
            );
            let claim = self.shared.store.add(&name, seen, None);
            self.shared.call(self.shared.soon(), claim).await
        })
    }

    fn blocking_twin(&self) -> Option<Arc<dyn Backend>> {
        let shared = Arc::new(self.shared.twin()?);
        Some(Arc::new(Self { shared }))
    }

    fn describe(&self) -> String {
        self.shared.store.describe()
    }

    fn is_available(&self) -> bool {
        self.shared.breaker.is_closed()
    }
}
