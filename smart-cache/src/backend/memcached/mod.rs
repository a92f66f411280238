//! Plain values in one memcached.
//!
//! Everything that changes a value compares its CAS number, so an increment is atomic, keeps its
//! end and takes all 64 bits, which memcached's own counters (unsigned, wrapping, never below 0) do
//! not. Memcached counts whole seconds of its own; the exact end stands in front of the value.
//!
//! A namespace has a *generation*, a random word in each name: a clear replaces it, in one step and
//! for every process. Reads ask for it together with the value, writes look whether it is still the
//! same and are repeated when it is not.
//!
//! Invariants
//! - No command is sent again after a failure: nobody could tell whether it was executed.
//! - A generation is never used twice.
//!
//! The client is `async-memcached`: the only one for Tokio that is kept up, speaks the meta
//! protocol (CAS, add, time left) and closes a connection whose operation was given up half-way.
//!
//! Over 400 lines: the trait has many methods, and each is a compare-and-swap of its own.

mod change;
mod item;
mod options;
mod pool;
mod steps;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_memcached::{Client, Error, MetaProtocol as _, Status};
use bytes::Bytes;

use self::change::{Change, Changed};
use self::item::{Item, Names};
pub use self::options::MemcachedOptions;
use self::pool::Pool;
use super::{BoxFuture, Counted, Expiry, NamePage, Ttl, ValueStore};
use crate::config::redact;
use crate::error::{BackendError, ConfigError};

/// How often a step begins again because somebody else was faster.
const ATTEMPTS: usize = 1_000;
/// A value this long may take one second more than the timeout.
const BYTES_A_SECOND: u64 = 20 << 20;

/// Plain values in one memcached (1.6 or newer).
///
/// Round trips: one for `get_many`; two for `set_many` and `add`, which look at the generation
/// afterwards; three for `touch` and `increment`, and more when others change the same value; one
/// for each name and two more for `delete_many`; `rename` is not atomic. Names cannot be listed.
///
/// # Example
/// ```
/// use smart_cache::backend::{MemcachedOptions, MemcachedStore};
///
/// # fn example() -> Result<(), smart_cache::ConfigError> {
/// let store = MemcachedStore::new("memcached://127.0.0.1:11211", MemcachedOptions::default())?;
/// # Ok(())
/// # }
/// ```
///
/// # Pitfalls
/// One node, or a proxy that never ejects one: a node that comes back into a ring with values from
/// before a clear brings them back, and nothing tells. A server that is started from a saved memory
/// file (`-e`) is fine as long as the file is of its own last stop. The ends of values are told by
/// the clocks of the processes, which have to agree to about a second.
#[derive(Debug)]
pub struct MemcachedStore {
    address: String,
    options: MemcachedOptions,
    names: Names,
    pool: Pool,
    /// The generation as it was last seen.
    generation: Mutex<Option<Arc<str>>>,
}

impl MemcachedStore {
    /// A store on the server of this URL, `memcached://host[:port]` or `memcached:///path/of/socket`;
    /// nothing is sent yet.
    ///
    /// # Errors
    /// When the URL names no server.
    pub fn new(url: &str, options: MemcachedOptions) -> Result<Self, ConfigError> {
        let refuse = || ConfigError::Invalid {
            name: "url".to_owned(),
            value: redact(url),
            allowed: "memcached://host[:port] or memcached:///path/of/socket".to_owned(),
        };
        let rest = url
            .strip_prefix("memcached://")
            .or_else(|| url.strip_prefix("memcache://"))
            .ok_or_else(refuse)?;
        let address = if rest.starts_with('/') {
            format!("unix://{rest}")
        } else {
            let place = rest.trim_end_matches('/');
            let is_place = !place.is_empty()
                && place
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.:[]".contains(&b));
            if !is_place {
                return Err(refuse());
            }
            let port = if place.contains(':') { "" } else { ":11211" };
            format!("tcp://{place}{port}")
        };
        Ok(Self {
            names: Names::new(&options.namespace),
            pool: Pool::new(&address, options.connections),
            address,
            options,
            generation: Mutex::new(None),
        })
    }

    fn known(&self) -> Option<Arc<str>> {
        let known = self
            .generation
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    fn remember(&self, generation: &Arc<str>) {
        let mut known = self
            .generation
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *known = Some(Arc::clone(generation));
    }

    /// The generation of now; the first who asks makes it.
    async fn generation(&self, client: &mut Client) -> Result<Arc<str>, Error> {
        for _ in 0..ATTEMPTS {
            let name = self.names.generation();
            let found = client.meta_get(name, false, None, Some(&["v"])).await?;
            let found = found.and_then(|found| String::from_utf8(found.data?).ok());
            if let Some(found) = found.filter(|found| !found.is_empty()) {
                let generation = Arc::from(found);
                self.remember(&generation);
                return Ok(generation);
            }
            let fresh = fresh_generation()?;
            let add = client.meta_set(name, fresh.as_bytes(), false, None, Some(&["ME"]));
            match add.await {
                Ok(_) | Err(Error::Protocol(Status::NotStored)) => {}
                Err(why) => return Err(why),
            }
        }
        Err(Error::Protocol(Status::NotFound))
    }

    /// One call, within the timeout.
    async fn within<T>(
        &self,
        bytes: usize,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, BackendError> {
        let patience =
            self.options.timeout + Duration::from_millis(bytes as u64 * 1000 / BYTES_A_SECOND);
        match tokio::time::timeout(patience, work).await {
            Ok(done) => done.map_err(|why| self.failure(&why)),
            Err(_) => Err(BackendError::Timeout(patience)),
        }
    }

    /// A change under the generation of now. One that turns out to have been made under a former
    /// one has changed nothing that anybody sees, and is made again.
    async fn change(&self, bytes: usize, change: Change<'_>) -> Result<Changed, BackendError> {
        let work = async {
            let mut client = self.pool.take().await?;
            let done = self.change_over(&mut client, &change).await;
            self.pool.give_back(client, done.as_ref().err());
            done
        };
        self.within(bytes, work).await
    }

    async fn change_over(
        &self,
        client: &mut Client,
        change: &Change<'_>,
    ) -> Result<Changed, Error> {
        let mut generation = match self.known() {
            Some(known) => known,
            None => self.generation(client).await?,
        };
        loop {
            let done = self.change_once(client, &generation, change).await?;
            let now = self.generation(client).await?;
            if now == generation {
                return Ok(done);
            }
            generation = now;
        }
    }

    async fn change_once(
        &self,
        client: &mut Client,
        generation: &str,
        change: &Change<'_>,
    ) -> Result<Changed, Error> {
        match *change {
            Change::Set(values, end) => {
                self.set(client, generation, values, end).await?;
                Ok(Changed::Done(true))
            }
            Change::Insert(name, value, end) => {
                let inserted = self.insert(client, generation, name, value, end).await?;
                Ok(Changed::Done(inserted))
            }
            Change::Prolong(name, expiry) => {
                let prolonged = self.prolong(client, generation, name, expiry).await?;
                Ok(Changed::Done(prolonged))
            }
            Change::Count(name, delta) => {
                let counted = self.count(client, generation, name, delta).await?;
                Ok(Changed::Counted(counted))
            }
            Change::Remove(names) => {
                let removed = self.remove(client, generation, names).await?;
                Ok(Changed::Removed(removed))
            }
            Change::Exchange(name, old, new) => {
                let exchanged = self
                    .exchange_item(client, generation, name, old, new)
                    .await?;
                Ok(Changed::Done(exchanged))
            }
            Change::Move(from, to) => {
                let moved = self.move_item(client, generation, from, to).await?;
                Ok(Changed::Done(moved))
            }
        }
    }

    /// The items under these names, read on a connection of the pool.
    async fn read(&self, names: &[String]) -> Result<Vec<Option<Item>>, BackendError> {
        let work = async {
            let mut client = self.pool.take().await?;
            let done = self.items(&mut client, names).await;
            self.pool.give_back(client, done.as_ref().err());
            done
        };
        self.within(0, work).await
    }

    fn check(&self, value: &[u8]) -> Result<(), BackendError> {
        let (bytes, limit) = (value.len() as u64, self.options.longest_value);
        if bytes > limit {
            return Err(BackendError::TooLarge { bytes, limit });
        }
        Ok(())
    }

    fn failure(&self, why: &Error) -> BackendError {
        match why {
            Error::Connect(_) | Error::ConnectionClosed | Error::Io(_) => {
                BackendError::Disconnected(format!("memcached at {}: {why}", self.address).into())
            }
            Error::Protocol(Status::Error(_)) => BackendError::Refused(why.to_string().into()),
            Error::Protocol(_) | Error::ParseError(_) => {
                BackendError::Protocol(why.to_string().into())
            }
        }
    }
}

impl ValueStore for MemcachedStore {
    fn get_many<'a>(
        &'a self,
        names: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, BackendError>> {
        Box::pin(async move {
            let items = self.read(names).await?;
            let value = |item: Option<Item>| item.filter(Item::lives).map(|item| item.value);
            Ok(items.into_iter().map(value).collect())
        })
    }

    fn set_many<'a>(
        &'a self,
        values: &'a [(String, Bytes)],
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<Vec<usize>, BackendError>> {
        Box::pin(async move {
            if let [(_, only)] = values {
                self.check(only)?;
            }
            let (mut kept, mut refused, mut bytes) = (Vec::new(), Vec::new(), 0);
            for (at, pair) in values.iter().enumerate() {
                if self.check(&pair.1).is_ok() {
                    bytes += pair.1.len();
                    kept.push(pair);
                } else {
                    refused.push(at);
                }
            }
            let set = Change::Set(&kept, expiry.map(item::end_of));
            self.change(bytes, set).await?;
            Ok(refused)
        })
    }

    fn add<'a>(
        &'a self,
        name: &'a str,
        value: Bytes,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            self.check(&value)?;
            let insert = Change::Insert(name, &value, expiry.map(item::end_of));
            self.change(value.len(), insert).await?.done()
        })
    }

    fn touch<'a>(
        &'a self,
        name: &'a str,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move { self.change(0, Change::Prolong(name, expiry)).await?.done() })
    }

    fn delete_many<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<u64, BackendError>> {
        Box::pin(async move {
            match self.change(0, Change::Remove(names)).await? {
                Changed::Removed(removed) => Ok(removed),
                other => Err(other.unexpected()),
            }
        })
    }

    fn increment<'a>(
        &'a self,
        name: &'a str,
        delta: i64,
    ) -> BoxFuture<'a, Result<Counted, BackendError>> {
        Box::pin(async move {
            match self.change(0, Change::Count(name, delta)).await? {
                Changed::Counted(counted) => Ok(counted),
                other => Err(other.unexpected()),
            }
        })
    }

    fn rename<'a>(
        &'a self,
        from: &'a str,
        to: &'a str,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move { self.change(0, Change::Move(from, to)).await?.done() })
    }

    fn exchange<'a>(
        &'a self,
        name: &'a str,
        old: &'a Bytes,
        new: Option<&'a Bytes>,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            if let Some(new) = new {
                self.check(new)?;
            }
            let bytes = new.map_or(0, Bytes::len);
            let exchange = Change::Exchange(name, old, new.map(|new| &new[..]));
            self.change(bytes, exchange).await?.done()
        })
    }

    fn ttl<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Ttl, BackendError>> {
        Box::pin(async move {
            let mut items = self.read(&[name.to_owned()]).await?;
            Ok(items
                .pop()
                .flatten()
                .map_or(Ttl::Missing, |item| item.ttl()))
        })
    }

    fn names<'a>(
        &'a self,
        _: &'a str,
        _: Option<String>,
    ) -> BoxFuture<'a, Result<NamePage, BackendError>> {
        Box::pin(async { Err(BackendError::Unsupported("memcached lists no names".into())) })
    }

    fn clear(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async move {
            let work = async {
                let fresh = fresh_generation()?;
                let mut client = self.pool.take().await?;
                let name = self.names.generation();
                let set = client.meta_set(name, fresh.as_bytes(), false, None, None);
                let done = set.await;
                self.pool.give_back(client, done.as_ref().err());
                done?;
                self.remember(&Arc::from(fresh));
                Ok(())
            };
            self.within(0, work).await
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.pool.close() })
    }

    fn incarnation(&self) -> BoxFuture<'_, Result<String, BackendError>> {
        // A server that restarts is empty.
        Box::pin(async { Ok(String::new()) })
    }

    fn blocking_twin(&self) -> Option<Arc<dyn ValueStore>> {
        // A connection belongs to the runtime that opened it.
        Some(Arc::new(Self {
            address: self.address.clone(),
            options: self.options.clone(),
            names: Names::new(&self.options.namespace),
            pool: Pool::new(&self.address, self.options.connections),
            generation: Mutex::new(None),
        }))
    }

    fn longest_value(&self) -> Option<u64> {
        Some(self.options.longest_value)
    }

    fn describe(&self) -> String {
        let place = self
            .address
            .split_once("://")
            .map_or("", |(_, place)| place);
        format!(
            "memcached at {place}, namespace {:?}",
            self.options.namespace
        )
    }
}

/// A word that no generation has been before.
fn fresh_generation() -> Result<String, Error> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|why| Error::Io(why.into()))?;
    Ok(crate::protocol::hex(&random))
}

fn whole_number(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}
