//! Where the values of a test live.

use std::sync::Arc;
use std::time::{Duration, Instant};

use smart_cache::backend::{KeyValueBackend, KeyValueOptions};
use smart_cache::{BackendKind, Builder, Cache, SmartCache, StartFlush};
use smart_cache_tests::harness::{RedisServer, eventually, namespace};

use crate::stores::Stores;

/// A store under test, and what must live as long as it.
pub(crate) enum Stage {
    /// The memory of this process: each cache has its own.
    Memory,
    /// A private server, which caches of one namespace share.
    Redis(Box<RedisServer>),
    /// A private server, its namespaces spread over several partitions.
    Partitioned(Box<RedisServer>),
    /// A store of values, with the low-level API and responses on it.
    Stores(Arc<dyn Stores>),
}

impl Stage {
    pub(crate) async fn redis() -> Self {
        Self::Redis(Box::new(RedisServer::start().await))
    }

    pub(crate) async fn partitioned() -> Self {
        Self::Partitioned(Box::new(RedisServer::start().await))
    }

    /// Whether keys can be listed at all.
    pub(crate) fn lists_names(&self) -> bool {
        match self {
            Self::Memory | Self::Redis(_) | Self::Partitioned(_) => true,
            Self::Stores(stores) => stores.lists_names(),
        }
    }

    /// A cache that shares nothing with others.
    pub(crate) async fn values(&self) -> Cache {
        self.smart().await.values()
    }

    pub(crate) async fn smart(&self) -> SmartCache {
        self.builder().build().await.unwrap()
    }

    /// Settings that a loaded machine does not trip over, in a namespace of their own.
    pub(crate) fn builder(&self) -> Builder {
        let builder = SmartCache::builder()
            .namespace(namespace())
            .app_version("test")
            .flush(StartFlush::Never)
            .settle(Duration::ZERO)
            .timeout(Duration::from_secs(5))
            .wait(Duration::from_secs(20));
        match self {
            Self::Memory => builder.backend(BackendKind::Memory),
            Self::Redis(server) => builder.backend(BackendKind::Redis).url(&server.url()),
            Self::Partitioned(server) => builder
                .backend(BackendKind::Redis)
                .partitions(3)
                .url(&server.url()),
            Self::Stores(stores) => {
                let name = namespace();
                let (entries, values) = (stores.store(&format!("{name}-e")), stores.store(&name));
                let mut options = KeyValueOptions::default();
                options.timeout = Duration::from_secs(5);
                options.settle = Duration::ZERO;
                let backend = KeyValueBackend::new(entries, options).unwrap();
                builder.custom_backend(Arc::new(backend.with_values(values)))
            }
        }
    }
}

/// Waits until a value is gone; how long that took.
pub(crate) async fn gone(values: &Cache, key: &str) -> Duration {
    let start = Instant::now();
    eventually(format!("{key} to go"), async || {
        (!values.has_key(key).await.unwrap()).then_some(())
    })
    .await;
    start.elapsed()
}
