//! A namespace spread over several slots, for what is more than one server should have.
//!
//! Every partition is a [`RedisBackend`] of its own, with its own connections, tokens, clock, tracking and
//! sweep; the first one has the namespace's plain name, the others a number behind it (`{pages}`,
//! `{pages#1}`, ..). An entry is in the partition of its id, a value in that of its name. A clear goes to
//! all at once and is acknowledged when all have done it. How processes that were told different numbers
//! get on is in `record.rs`.

mod beyond;
mod inspect;
mod proof;
pub(super) mod record;
mod values;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

pub(super) use self::beyond::Place;
pub(super) use self::proof::keep;
use self::proof::{Part, Parts};
use self::values::PartitionedValues;
use super::{RedisBackend, RedisOptions};
use crate::backend::{
    Added, Backend, BoxFuture, Filling, Lease, Lookup, NewValue, Reclaimed, Stored, Ticket,
    ValueStore,
};
use crate::config::{Address, PARTITIONS};
use crate::error::{BackendError, ConfigError};
use crate::inspect::Inspect;
use crate::local::Freshness;
use crate::protocol::Target;

/// Entries and tokens in several slots of Redis; see [`RedisBackend`] for one.
#[derive(Debug)]
pub struct PartitionedBackend {
    parts: Arc<Parts>,
    freshness: Option<Arc<Freshness>>,
}

impl PartitionedBackend {
    /// Prepares a backend for a namespace in this many partitions, from 1 to 256; connects on first use.
    ///
    /// # Errors
    /// When the URL cannot be understood, needs a feature that is not compiled in, or the number is
    /// another one.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "taken as `RedisBackend::new` takes them"
    )]
    pub fn new(url: &str, partitions: u32, options: RedisOptions) -> Result<Self, ConfigError> {
        Self::connect_to(&crate::config::address("url", url)?, partitions, &options)
    }

    pub(crate) fn connect_to(
        address: &Address,
        partitions: u32,
        options: &RedisOptions,
    ) -> Result<Self, ConfigError> {
        if !PARTITIONS.contains(&partitions) {
            return Err(ConfigError::Invalid {
                name: "partitions".to_owned(),
                value: partitions.to_string(),
                allowed: "from 1 to 256".to_owned(),
            });
        }
        let part = |number| -> Result<Part, ConfigError> {
            let place = Place::new(number, partitions);
            let backend = RedisBackend::at(address.clone(), options.clone(), place)?;
            Ok(Part::new(number, backend))
        };
        let all: Vec<Part> = (0..partitions).map(part).collect::<Result<_, _>>()?;
        let parts = Arc::new(Parts::new(all));
        parts.first().place().introduce(&parts);
        let heard = options.tracking.then(|| {
            let each = parts.all.iter();
            let each = each.filter_map(|part| part.backend.core.shared.freshness.clone());
            Arc::new(Freshness::in_front_of(each))
        });
        Ok(Self {
            parts,
            freshness: heard,
        })
    }

    /// The partition of an entry, if every clear reaches it.
    fn of(&self, target: &Target) -> Result<&RedisBackend, BackendError> {
        let part = &self.parts.all[self.parts.number_of(target)];
        if part.is_proved() {
            return Ok(&part.backend);
        }
        Err(BackendError::Disconnected(
            "the number of partitions is not noted yet: the first partition does not answer".into(),
        ))
    }

    /// The same, waiting for that until `deadline`.
    async fn soon(
        &self,
        target: &Target,
        deadline: Instant,
    ) -> Result<&RedisBackend, BackendError> {
        // The number is noted over the first connection of the first partition.
        self.parts.first().core.link.up(deadline).await?;
        let proved = self.parts.until(|| self.of(target).is_ok());
        // Too late is told by what follows.
        let _ = tokio::time::timeout_at(deadline.into(), proved).await;
        self.of(target)
    }

    async fn all<'a>(
        &'a self,
        ask: impl Fn(&'a RedisBackend) -> BoxFuture<'a, Result<(), BackendError>>,
    ) -> Result<(), BackendError> {
        // All of them, also when one fails: each may do what it can.
        let asked = self.parts.all.iter().map(|part| ask(&part.backend));
        join_all(asked).await.into_iter().collect()
    }
}

impl Backend for PartitionedBackend {
    fn lookup<'a>(
        &'a self,
        target: &'a Target,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Lookup, BackendError>> {
        match self.of(target) {
            Ok(part) => part.lookup(target, deadline),
            Err(_) => Box::pin(async move {
                let part = self.soon(target, deadline).await?;
                part.lookup(target, deadline).await
            }),
        }
    }

    fn ticket<'a>(
        &'a self,
        target: &'a Target,
        dynamic: &'a [Arc<str>],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Ticket, BackendError>> {
        match self.of(target) {
            Ok(part) => part.ticket(target, dynamic, deadline),
            Err(_) => Box::pin(async move {
                let part = self.soon(target, deadline).await?;
                part.ticket(target, dynamic, deadline).await
            }),
        }
    }

    fn store<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
        filling: Filling<'a>,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        match self.of(target) {
            Ok(part) => part.store(target, lease, filling),
            Err(why) => Box::pin(async { Err(why) }),
        }
    }

    fn values(&self) -> Option<Arc<dyn ValueStore>> {
        Some(Arc::new(PartitionedValues::new(Arc::clone(&self.parts))))
    }

    fn add_value<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
        value: NewValue<'a>,
    ) -> BoxFuture<'a, Result<Added, BackendError>> {
        match self.of(target) {
            Ok(part) => part.add_value(target, lease, value),
            Err(why) => Box::pin(async { Err(why) }),
        }
    }

    fn renew<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        match self.of(target) {
            Ok(part) => part.renew(target, lease),
            Err(why) => Box::pin(async { Err(why) }),
        }
    }

    fn release<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        match self.of(target) {
            Ok(part) => part.release(target, lease),
            Err(why) => Box::pin(async { Err(why) }),
        }
    }

    fn discard<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), BackendError>> {
        match self.of(target) {
            Ok(part) => part.discard(target),
            Err(why) => Box::pin(async { Err(why) }),
        }
    }

    fn clear<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(self.all(move |part| part.clear(keys)))
    }

    fn expire<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(self.all(move |part| part.expire(keys)))
    }

    fn clear_all(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(self.all(Backend::clear_all))
    }

    fn hold<'a>(
        &'a self,
        keys: &'a [String],
        writer: &'a str,
        longest: Duration,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(self.all(move |part| part.hold(keys, writer, longest)))
    }

    fn unhold<'a>(
        &'a self,
        keys: &'a [String],
        writer: &'a str,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(self.all(move |part| part.unhold(keys, writer)))
    }

    fn reclaim(&self, keys: Vec<String>) -> BoxFuture<'_, Reclaimed> {
        Box::pin(async move {
            let each = self.parts.backends().map(|part| part.reclaim(keys.clone()));
            let mut sum = Reclaimed::default();
            for freed in join_all(each).await {
                sum.entries += freed.entries;
                sum.lived = sum.lived.saturating_add(freed.lived);
                sum.longest = sum.longest.max(freed.longest);
            }
            sum
        })
    }

    fn sweep(&self) -> BoxFuture<'_, Result<u64, BackendError>> {
        Box::pin(async {
            let each = self.parts.backends().map(Backend::sweep);
            join_all(each).await.into_iter().sum()
        })
    }

    fn lease(&self) -> Duration {
        self.parts.first().lease()
    }

    fn open(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async {
            self.all(Backend::open).await?;
            // A start may wait for the record too; requests never do.
            let proved = self.parts.until(|| self.is_proved());
            let _ = tokio::time::timeout(Duration::from_secs(1), proved).await;
            Ok(())
        })
    }

    fn first_of_version(&self) -> BoxFuture<'_, Result<bool, BackendError>> {
        self.parts.first().first_of_version()
    }

    fn freshness(&self) -> Option<&Arc<Freshness>> {
        self.freshness.as_ref()
    }

    fn inspect(&self) -> Option<&dyn Inspect> {
        Some(self)
    }

    fn blocking_twin(&self) -> Option<Arc<dyn Backend>> {
        let shared = &self.parts.first().core.shared;
        let options = RedisOptions {
            tracking: false,
            ..shared.options.clone()
        };
        let twin = Self::connect_to(&shared.address, shared.place.own, &options);
        twin.ok().map(|twin| Arc::new(twin) as Arc<dyn Backend>)
    }

    fn describe(&self) -> String {
        let count = self.parts.all.len();
        format!("{} in {count} partitions", self.parts.first().describe())
    }

    fn is_available(&self) -> bool {
        self.parts.backends().all(Backend::is_available) && self.is_proved()
    }
}

impl PartitionedBackend {
    fn is_proved(&self) -> bool {
        self.parts.all.iter().all(Part::is_proved)
    }
}
