//! What both suites stand on: backends of each kind, and one to drive by plain steps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use smart_cache::backend::{
    Backend, Filling, KeyValueBackend, KeyValueOptions, Lease, Lookup, MemoryBackend,
    PartitionedBackend, RedisBackend, RedisOptions, Stored, Ticket, ValueStore,
};
use smart_cache::{BackendError, Target};
use smart_cache_tests::harness::{RedisServer, eventually, namespace, valkey_server};

use crate::stores::Stores;

/// Where backends are made: the memory of this process, a private server, or a store of values.
pub(super) enum Stage {
    Memory,
    Redis(Box<RedisServer>),
    /// A private server, the namespace spread over several partitions.
    Partitioned(Box<RedisServer>),
    Values(Arc<dyn Stores>),
}

/// What tests set; the rest is as the environment would give it.
pub(super) struct Settings {
    pub(super) settle: Duration,
    pub(super) lease: Duration,
    pub(super) max_variants: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            settle: Duration::ZERO,
            lease: Duration::from_secs(10),
            max_variants: 10_000,
        }
    }
}

impl Stage {
    pub(super) async fn redis() -> Self {
        Self::Redis(Box::new(RedisServer::start().await))
    }

    pub(super) async fn partitioned() -> Self {
        Self::Partitioned(Box::new(RedisServer::start().await))
    }

    /// A private server of Valkey, where there is one.
    pub(super) async fn valkey() -> Option<Self> {
        let server = RedisServer::options().program(valkey_server()?);
        Some(Self::Redis(Box::new(server.start().await)))
    }

    /// A backend of this kind that shares nothing with others.
    pub(super) fn backend(&self) -> Subject {
        self.with(&Settings::default())
    }

    pub(super) fn with(&self, settings: &Settings) -> Subject {
        match self {
            Self::Memory => Subject(Arc::new(MemoryBackend::new(
                64 << 20,
                settings.lease,
                settings.settle,
                settings.max_variants,
            ))),
            Self::Redis(server) => {
                let mut options = options(&namespace());
                options.lease = settings.lease;
                options.settle = settings.settle;
                options.max_variants = settings.max_variants;
                Subject::at(&server.url(), options)
            }
            Self::Partitioned(server) => {
                let mut options = options(&namespace());
                options.lease = settings.lease;
                options.settle = settings.settle;
                options.max_variants = settings.max_variants;
                let backend = PartitionedBackend::new(&server.url(), 4, options);
                Subject(Arc::new(backend.unwrap()))
            }
            Self::Values(stores) => Subject::on(stores.store(&namespace()), settings),
        }
    }
}

/// Options that a loaded machine does not trip over.
pub(super) fn options(namespace: &str) -> RedisOptions {
    let mut options = RedisOptions::default();
    options.namespace = namespace.to_owned();
    options.timeout = Duration::from_secs(5);
    options.settle = Duration::ZERO;
    options.heartbeat = Duration::from_millis(20);
    options
}

/// A backend under test, driven step by step.
#[derive(Clone, Debug)]
pub(super) struct Subject(pub(super) Arc<dyn Backend>);

impl Subject {
    pub(super) fn at(url: &str, options: RedisOptions) -> Self {
        Self(Arc::new(RedisBackend::new(url, options).unwrap()))
    }

    /// On a store of values.
    pub(super) fn on(store: Arc<dyn ValueStore>, settings: &Settings) -> Self {
        let mut options = KeyValueOptions::default();
        options.timeout = Duration::from_secs(5);
        options.lease = settings.lease;
        options.settle = settings.settle;
        options.max_variants = settings.max_variants;
        Self(Arc::new(KeyValueBackend::new(store, options).unwrap()))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    pub(super) async fn lookup(&self, target: &Target) -> Result<Lookup, BackendError> {
        self.0.lookup(target, Self::soon()).await
    }

    pub(super) async fn ticket(&self, target: &Target) -> Result<Ticket, BackendError> {
        self.ticket_with(target, &[]).await
    }

    pub(super) async fn ticket_with(
        &self,
        target: &Target,
        dynamic: &[Arc<str>],
    ) -> Result<Ticket, BackendError> {
        self.0.ticket(target, dynamic, Self::soon()).await
    }

    /// The body that a lookup serves.
    pub(super) async fn served(&self, target: &Target) -> Option<String> {
        match self.lookup(target).await.unwrap() {
            Lookup::Hit(payload) => Some(body_of(&payload)),
            Lookup::Miss { .. } | Lookup::Stale(_) => None,
            Lookup::Held | Lookup::Off => panic!("nobody holds {target:?}"),
        }
    }

    /// The body that a lookup would show once more.
    pub(super) async fn stale(&self, target: &Target) -> Option<String> {
        match self.lookup(target).await.unwrap() {
            Lookup::Stale(stale) => Some(body_of(&stale.payload)),
            _ => None,
        }
    }

    pub(super) async fn lead(&self, target: &Target) -> Lease {
        self.lead_with(target, &[]).await
    }

    pub(super) async fn lead_with(&self, target: &Target, dynamic: &[Arc<str>]) -> Lease {
        match self.ticket_with(target, dynamic).await.unwrap() {
            Ticket::Lead(lease) => lease,
            other => panic!("no lease but {other:?}"),
        }
    }

    pub(super) async fn is_busy(&self, target: &Target) -> bool {
        matches!(self.ticket(target).await.unwrap(), Ticket::Busy(_))
    }

    pub(super) async fn store(&self, target: &Target, lease: &Lease, body: &str) -> Stored {
        self.try_store(target, lease, body).await.unwrap()
    }

    pub(super) async fn try_store(
        &self,
        target: &Target,
        lease: &Lease,
        body: &str,
    ) -> Result<Stored, BackendError> {
        let payload = payload(body, &[]);
        let filling = Filling {
            payload: &payload,
            ttl: None,
            dynamic: &[],
        };
        self.0.store(target, lease, filling).await
    }

    pub(super) async fn store_with(
        &self,
        target: &Target,
        lease: &Lease,
        body: &str,
        ttl: Option<Duration>,
        dynamic: &[Arc<str>],
    ) -> Stored {
        let payload = payload(body, dynamic);
        let filling = Filling {
            payload: &payload,
            ttl,
            dynamic,
        };
        self.0.store(target, lease, filling).await.unwrap()
    }

    /// A whole fill that has to land for ever.
    pub(super) async fn fill(&self, target: &Target, body: &str) {
        let lease = self.lead(target).await;
        assert_eq!(
            self.store(target, &lease, body).await,
            Stored::Landed(None),
            "the store of {body}"
        );
    }

    pub(super) async fn clear(&self, keys: &[&str]) {
        self.try_clear(keys).await.unwrap();
    }

    pub(super) async fn try_clear(&self, keys: &[&str]) -> Result<(), BackendError> {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        self.0.clear(&keys).await
    }

    pub(super) async fn expire(&self, keys: &[&str]) {
        let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        self.0.expire(&keys).await.unwrap();
    }

    /// What a lookup serves once the backend answers again.
    pub(super) async fn served_when_back(&self, target: &Target) -> Option<String> {
        eventually("the backend to answer again", async || {
            let found = self.lookup(target).await.ok()?;
            Some(match found {
                Lookup::Hit(payload) => Some(body_of(&payload)),
                Lookup::Miss { .. } | Lookup::Stale(_) | Lookup::Held | Lookup::Off => None,
            })
        })
        .await
    }
}

/// One page: the key, without tags.
pub(super) fn page(key: &str) -> Target {
    tagged(key, &[])
}

/// One page under a key and tags.
pub(super) fn tagged(key: &str, tags: &[&str]) -> Target {
    Target::new(key, tags, key.as_bytes())
}

pub(super) fn tags(names: &[&str]) -> Vec<Arc<str>> {
    names.iter().map(|name| (*name).into()).collect()
}

/// Head and record as the codec lays them out; backends read the head alone.
pub(super) fn payload(body: &str, dynamic: &[Arc<str>]) -> Vec<u8> {
    let mut out = b"SC\x01\x01\x00\x01\x00\x00\x00k".to_vec();
    out.extend((dynamic.len() as u16).to_le_bytes());
    for tag in dynamic {
        out.extend((tag.len() as u32).to_le_bytes());
        out.extend(tag.as_bytes());
    }
    out.extend(b"|");
    out.extend(body.as_bytes());
    out
}

fn body_of(payload: &Bytes) -> String {
    let text = String::from_utf8_lossy(payload).into_owned();
    text.split_once('|').unwrap().1.to_owned()
}
