//! A namespace spread over several slots, for what is more than one server should have.
//!
//! Every partition is a [`RedisBackend`] of its own, with its own connections, tokens, clock, tracking and
//! sweep; the first one has the namespace's plain name, the others a number behind it (`{pages}`,
//! `{pages#1}`, ..). An entry is in the partition of its id, a value in that of its name. A clear goes to
//! all at once and is acknowledged when all have done it. How processes that were told different numbers
//! get on is in `record.rs`.

mod inspect;
pub(super) mod record;
mod values;

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};
use tokio::sync::watch;

use self::record::Noted;
use self::values::PartitionedValues;
use super::up::Up;
use super::{RedisBackend, RedisOptions, Shared};
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

/// The partitions, in the order of their numbers.
#[derive(Debug)]
pub(super) struct Parts {
    all: Vec<Part>,
    /// Whether this process is making cold what clears may have missed.
    is_noting: AtomicBool,
    /// Told when a partition may be used.
    changes: watch::Sender<()>,
}

#[derive(Debug)]
struct Part {
    backend: RedisBackend,
    /// Whether every clear reaches this partition; see `record.rs`.
    proof: AtomicU8,
}

/// Nobody has looked yet.
const UNASKED: u8 = 0;
/// Clears may have missed it: it is to be made cold.
const DUE: u8 = 1;
/// Every clear reaches it.
const PROVED: u8 = 2;

/// What a backend knows of the partitions beside it.
#[derive(Debug)]
pub(super) struct Place {
    /// Its own number.
    pub(super) number: u32,
    /// How many there are in this process.
    pub(super) own: u32,
    /// All of them; of the first one alone.
    companions: OnceLock<Weak<Parts>>,
    /// Those of other processes, beyond our own, for clears alone; of the first one alone.
    beyond: Mutex<Vec<Arc<RedisBackend>>>,
}

impl Place {
    pub(super) fn new(number: u32, own: u32) -> Self {
        Self {
            number,
            own,
            companions: OnceLock::new(),
            beyond: Mutex::default(),
        }
    }

    /// The place of a backend that has no partitions beside it.
    pub(super) fn alone() -> Self {
        Self::new(0, 1)
    }
}

impl PartitionedBackend {
    /// Prepares a backend for a namespace in this many partitions, from 1 to 256; connects on first use.
    ///
    /// # Errors
    /// When the URL cannot be understood, needs a feature that is not compiled in, or the number is
    /// another one.
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
            Ok(Part {
                backend: RedisBackend::at(address.clone(), options.clone(), place)?,
                proof: AtomicU8::new(if number == 0 { PROVED } else { UNASKED }),
            })
        };
        let parts = Arc::new(Parts {
            all: (0..partitions).map(part).collect::<Result<_, _>>()?,
            is_noting: AtomicBool::new(false),
            changes: watch::Sender::new(()),
        });
        // Nobody else has set it: it was made a moment ago.
        let _ = parts.first().place().companions.set(Arc::downgrade(&parts));
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
        if part.proof.load(Ordering::Acquire) == PROVED {
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
        let mut changes = self.parts.changes.subscribe();
        // The number is noted over the first connection of the first partition.
        self.parts.first().core.link.up(deadline).await?;
        let proved = changes.wait_for(|()| self.of(target).is_ok());
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

impl Parts {
    pub(super) fn first(&self) -> &RedisBackend {
        &self.all[0].backend
    }

    fn backends(&self) -> impl Iterator<Item = &RedisBackend> {
        self.all.iter().map(|part| &part.backend)
    }

    /// A value that is computed must share a partition with the value that it becomes, so what lies under
    /// the key of a value goes by that.
    fn number_of(&self, target: &Target) -> usize {
        if target.key.starts_with('=') {
            return self.number_of_key(&target.key);
        }
        self.number(target.id.as_bytes())
    }

    fn number_of_key(&self, key: &str) -> usize {
        self.number(blake3::hash(key.as_bytes()).as_bytes())
    }

    /// By the first bytes of a hash, the same in every build.
    fn number(&self, hash: &[u8]) -> usize {
        let mut first = [0; 8];
        for (to, from) in first.iter_mut().zip(hash) {
            *to = *from;
        }
        (u64::from_le_bytes(first) % self.all.len() as u64) as usize
    }

    /// Notes the number of partitions where it is not, and makes cold what clears may have missed.
    async fn prove(&self, shared: &Shared, up: &Arc<Up>) -> Result<(), BackendError> {
        let own = shared.place.own;
        let noted = record::read(shared, up, up.deadline()).await?;
        let is_noted = noted.is_proved(own);
        if !is_noted && !shared.options.announce {
            // A tool that looks in notes nothing, and so it stores nothing either.
            return Ok(());
        }
        let goes_on = self.is_noting.swap(!is_noted, Ordering::AcqRel) && noted.is_new(own);
        let mut reached = own;
        if !is_noted && !goes_on {
            record::note_new(shared, up, own).await?;
            tell(shared, &noted);
            reached = noted.reached();
        }
        let mut all = true;
        for (number, part) in self.all.iter().enumerate().skip(1) {
            if number >= reached as usize {
                part.proof.store(DUE, Ordering::Release);
            }
            match part.proof.load(Ordering::Acquire) {
                PROVED => {}
                UNASKED => part.proof.store(PROVED, Ordering::Release),
                _ => match part.backend.delete_namespace_token().await {
                    Ok(()) => part.proof.store(PROVED, Ordering::Release),
                    Err(why) => {
                        tracing::debug!(partition = number, cause = %why, "not cold yet, so not used");
                        all = false;
                    }
                },
            }
        }
        self.changes.send_replace(());
        if all && !is_noted {
            record::note_proved(shared, up, own).await?;
        }
        Ok(())
    }
}

fn tell(shared: &Shared, noted: &Noted) {
    let own = shared.place.own;
    match &noted.numbers()[..] {
        [] => {
            tracing::info!(partitions = own, namespace = %shared.options.namespace, "the namespace is spread over partitions")
        }
        others => {
            tracing::warn!(partitions = own, ?others, namespace = %shared.options.namespace, "the namespace was, or is, spread over other numbers of partitions too: clears reach all of them, entries are not shared. When no process with another number is left, DEL the record to spare clears the way")
        }
    }
}

/// Runs beside the connection of the first partition.
pub(super) async fn keep(shared: Arc<Shared>, up: Arc<Up>) {
    let Some(parts) = shared.place.companions.get() else {
        return;
    };
    loop {
        let Some(parts) = parts.upgrade() else {
            return;
        };
        if let Err(why) = parts.prove(&shared, &up).await {
            tracing::debug!(cause = %why, "the number of partitions could not be noted");
        }
        drop(parts);
        tokio::time::sleep(shared.options.heartbeat).await;
    }
}

impl RedisBackend {
    fn place(&self) -> &Place {
        &self.core.shared.place
    }

    /// Does something here, and then in the partitions that other processes have beyond our own. Only the
    /// first partition looks beyond.
    pub(super) async fn and_beyond(
        &self,
        here: impl Future<Output = Result<(), BackendError>>,
        there: impl Fn(Arc<Self>) -> BoxFuture<'static, Result<(), BackendError>>,
    ) -> Result<(), BackendError> {
        if self.place().number > 0 {
            return here.await;
        }
        let (done, noted) = tokio::join!(here, self.noted());
        done?;
        let beyond = self.beyond(noted?.reach())?;
        try_join_all(beyond.into_iter().map(there)).await.map(drop)
    }

    async fn noted(&self) -> Result<Noted, BackendError> {
        let (up, deadline) = self.up().await?;
        record::read(&self.core.shared, &up, deadline).await
    }

    /// The partitions beyond our own, up to this number.
    pub(super) fn beyond(&self, reach: u32) -> Result<Vec<Arc<Self>>, BackendError> {
        let place = self.place();
        let count = reach.saturating_sub(place.own) as usize;
        if count == 0 {
            return Ok(Vec::new());
        }
        let shared = &self.core.shared;
        let mut beyond = place.beyond.lock().unwrap_or_else(PoisonError::into_inner);
        while beyond.len() < count {
            let options = RedisOptions {
                tracking: false,
                announce: false,
                ..shared.options.clone()
            };
            let number = place.own + beyond.len() as u32;
            let place = Place::new(number, reach);
            let made = Self::at(shared.address.clone(), options, place);
            let made = made.map_err(|why| BackendError::Disconnected(why.to_string().into()))?;
            beyond.push(Arc::new(made));
        }
        Ok(beyond[..count].to_vec())
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
            let until = Instant::now() + Duration::from_secs(1);
            while !self.is_proved() && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
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
        let mut parts = self.parts.all.iter();
        parts.all(|part| part.proof.load(Ordering::Acquire) == PROVED)
    }
}
