//! How a SQL store behaves.

use std::time::Duration;

/// How a [`SqlStore`](super::SqlStore) behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SqlOptions {
    /// Values of two namespaces share the table and nothing else.
    pub namespace: String,
    /// Longest wait for one call; a long value is given a second more for each 20 MiB.
    pub timeout: Duration,
    /// Most connections of this store; SQLite has one.
    pub connections: u32,
    /// How often what has expired is deleted, by a store that is written to.
    pub purge_every: Duration,
}

impl Default for SqlOptions {
    fn default() -> Self {
        Self {
            namespace: "cache".to_owned(),
            timeout: Duration::from_millis(250),
            connections: 8,
            purge_every: Duration::from_secs(60),
        }
    }
}
