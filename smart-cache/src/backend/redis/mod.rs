//! Entries and tokens in Redis: one multiplexed connection, hits by one MGET, everything that
//! must be atomic by a script.
//!
//! The only module that imports the Redis client. `link.rs` keeps the connection, `names.rs`
//! names the keys, `scripts.rs` holds the scripts, `caretaker.rs` announces, advises and sweeps.
//!
//! Over 400 lines: the trait has many methods, and here each of them is led to its file.

mod asking;
mod caretaker;
mod clear;
mod dial;
mod hold;
mod identity;
mod inspect;
mod lately;
mod link;
mod locate;
mod lookup;
mod names;
mod options;
mod partitions;
mod reclaim;
mod replicas;
mod reply;
mod scripts;
mod sweep;
mod takeover;
mod ticket;
#[cfg(feature = "tls")]
mod tls;
mod tracking;
mod up;
mod values;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::dial::Dialer;
use self::identity::{Fixed, Servers};
use self::lately::Lately;
use self::link::Link;
use self::locate::Locator;
use self::lookup::Batches;
use self::names::Names;
pub use self::options::{RedisOptions, TlsFiles};
pub use self::partitions::PartitionedBackend;
use self::partitions::Place;
use self::reply::millis;
use self::up::Up;
use super::{
    Added, Backend, BoxFuture, Filling, Lease, Lookup, NewValue, Reclaimed, Stored, Ticket,
    ValueStore,
};
use crate::config::Address;
use crate::error::{BackendError, ConfigError};
use crate::inspect::Inspect;
use crate::local::Freshness;
use crate::protocol::Target;

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
    /// As it was given; holds the password, and shows it to nobody.
    address: Address,
    dialer: Dialer,
    /// Replaces the server's identity where INFO is forbidden.
    fixed: Option<Fixed>,
    /// Which partition of the namespace this is.
    place: Place,
    /// What was cleared lately, for a server that takes over.
    lately: Arc<Lately>,
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
    /// Prepares a backend for the server at `url`, which may also name nodes of a cluster or sentinels;
    /// connects on first use.
    ///
    /// # Errors
    /// When the URL cannot be understood, or needs a feature that is not compiled in.
    pub fn new(url: &str, options: RedisOptions) -> Result<Self, ConfigError> {
        Self::connect_to(crate::config::address("url", url)?, options)
    }

    pub(crate) fn connect_to(address: Address, options: RedisOptions) -> Result<Self, ConfigError> {
        Self::at(address, options, Place::alone())
    }

    /// One partition of a namespace, or all of it.
    fn at(address: Address, options: RedisOptions, place: Place) -> Result<Self, ConfigError> {
        options.check(&address)?;
        let tag = Names::tag_of_partition(&options.namespace, place.number);
        let names = Names::new(&tag, &options.version);
        let servers = match address {
            Address::Server(_) => Servers::One,
            Address::Cluster(_) => Servers::Nodes,
            Address::Sentinels(_) => Servers::Places,
        };
        let fixed = options.server_id.clone().map(|id| Fixed { id, servers });
        let dialer = Dialer::new(options.tls.clone());
        let lately = Arc::<Lately>::default();
        let settings = link::Settings {
            address: address.to_string(),
            locator: Locator::new(address.clone(), &tag),
            dialer: dialer.clone(),
            lately: Arc::clone(&lately),
            timeout: options.timeout,
            heartbeat: options.heartbeat,
            fixed: fixed.clone(),
            probe: names.namespace_token(),
        };
        let shared = Arc::new(Shared {
            names,
            freshness: options
                .tracking
                .then(|| Arc::new(Freshness::of_partition(place.number))),
            place,
            lately,
            options,
            address,
            dialer,
            fixed,
        });
        let greeting = {
            let shared = Arc::clone(&shared);
            Box::new(move |up| -> BoxFuture<'static, Result<(), BackendError>> {
                Box::pin(takeover::greet(Arc::clone(&shared), up))
            })
        };
        let caretaker = {
            let shared = Arc::clone(&shared);
            Box::new(move |up| -> BoxFuture<'static, ()> {
                let shared = Arc::clone(&shared);
                Box::pin(async move {
                    tokio::join!(
                        caretaker::run(Arc::clone(&shared), Arc::clone(&up)),
                        partitions::keep(Arc::clone(&shared), Arc::clone(&up)),
                        tracking::run(shared, up)
                    );
                })
            })
        };
        let core = Core {
            shared,
            link: Link::new(settings, greeting, caretaker),
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

    fn values(&self) -> Option<Arc<dyn ValueStore>> {
        Some(Arc::new(values::RedisValues::new(Arc::clone(&self.core))))
    }

    fn add_value<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
        value: NewValue<'a>,
    ) -> BoxFuture<'a, Result<Added, BackendError>> {
        Box::pin(self.add_computed(target, lease, value))
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
            let here = self.delete_tokens(keys.iter().map(|key| self.names().token(key)));
            let there = |part: Arc<Self>| -> BoxFuture<'static, _> {
                let keys = keys.to_vec();
                Box::pin(async move { part.clear(&keys).await })
            };
            self.and_beyond(here, there).await?;
            self.core.shared.lately.cleared(keys);
            Ok(())
        })
    }

    fn expire<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), BackendError>> {
        let there = |part: Arc<Self>| -> BoxFuture<'static, _> {
            let keys = keys.to_vec();
            Box::pin(async move { part.expire(&keys).await })
        };
        Box::pin(async move {
            self.and_beyond(self.expire_tokens(keys), there).await?;
            self.core.shared.lately.cleared(keys);
            Ok(())
        })
    }

    fn clear_all(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        let there = |part: Arc<Self>| -> BoxFuture<'static, _> {
            Box::pin(async move { part.clear_all().await })
        };
        Box::pin(async move {
            self.and_beyond(self.delete_namespace_token(), there)
                .await?;
            self.core.shared.lately.cleared_all();
            Ok(())
        })
    }

    fn hold<'a>(
        &'a self,
        keys: &'a [String],
        writer: &'a str,
        longest: Duration,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        let there = move |part: Arc<Self>| -> BoxFuture<'static, _> {
            let (keys, writer) = (keys.to_vec(), writer.to_owned());
            Box::pin(async move { part.hold(&keys, &writer, longest).await })
        };
        Box::pin(self.and_beyond(self.begin_hold(keys, writer, longest), there))
    }

    fn unhold<'a>(
        &'a self,
        keys: &'a [String],
        writer: &'a str,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        let there = |part: Arc<Self>| -> BoxFuture<'static, _> {
            let (keys, writer) = (keys.to_vec(), writer.to_owned());
            Box::pin(async move { part.unhold(&keys, &writer).await })
        };
        Box::pin(async move {
            self.and_beyond(self.end_hold(keys, writer), there).await?;
            self.core.shared.lately.cleared(keys);
            Ok(())
        })
    }

    fn reclaim(&self, keys: Vec<String>) -> BoxFuture<'_, Reclaimed> {
        Box::pin(async move {
            let mut freed = Reclaimed::default();
            let Ok((up, _)) = self.up().await else {
                return freed;
            };
            for key in keys {
                if let Err(why) = reclaim::reclaim(&self.core.shared, &up, &key, &mut freed).await {
                    tracing::debug!(%key, cause = %why, "reclaiming stopped; the sweep goes on with it");
                    break;
                }
            }
            freed
        })
    }

    fn sweep(&self) -> BoxFuture<'_, Result<u64, BackendError>> {
        Box::pin(async move {
            let (up, _) = self.up().await?;
            let turn = sweep::Turn::take(&self.core.shared, &up).await?;
            sweep::sweep(&self.core.shared, &up, turn).await
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

    fn inspect(&self) -> Option<&dyn Inspect> {
        Some(self)
    }

    fn blocking_twin(&self) -> Option<Arc<dyn Backend>> {
        let options = RedisOptions {
            tracking: false,
            ..self.core.shared.options.clone()
        };
        let twin = Self::connect_to(self.core.shared.address.clone(), options);
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
