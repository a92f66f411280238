//! How a memcached store behaves.

use std::time::Duration;

/// How a [`MemcachedStore`](super::MemcachedStore) behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MemcachedOptions {
    /// Values of two namespaces share the server and nothing else.
    pub namespace: String,
    /// Longest wait for one call; a long value is given a second more for each 20 MiB.
    pub timeout: Duration,
    /// Most connections of this store.
    pub connections: u32,
    /// The longest value in bytes: a server keeps 1 MiB with the name and its own numbers, or what
    /// its option `-I` says.
    pub longest_value: u64,
}

impl Default for MemcachedOptions {
    fn default() -> Self {
        Self {
            namespace: "cache".to_owned(),
            timeout: Duration::from_millis(250),
            connections: 16,
            longest_value: (1 << 20) - 512,
        }
    }
}
