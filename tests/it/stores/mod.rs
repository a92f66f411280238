//! The stores of values that stand on something outside of this process, for the suites over them.

pub(crate) mod limits;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use smart_cache::backend::{
    FileOptions, FileStore, MemcachedOptions, MemcachedStore, SqlOptions, SqlStore, ValueStore,
};
use smart_cache_tests::harness::{MariaDbServer, MemcachedServer, PostgresServer};
use tempfile::TempDir;

/// A loaded machine does not trip over it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Makes stores of values; it keeps whatever they need alive.
pub(crate) trait Stores: Send + Sync {
    /// A store of this namespace.
    fn store(&self, namespace: &str) -> Arc<dyn ValueStore>;

    /// Whether its names can be listed.
    fn lists_names(&self) -> bool {
        true
    }
}

/// A store in a SQL database.
pub(crate) fn sql(url: &str, namespace: &str) -> SqlStore {
    let mut options = SqlOptions::default();
    options.namespace = namespace.to_owned();
    options.timeout = PATIENCE;
    SqlStore::new(url, options).unwrap()
}

struct InSql<Kept> {
    url: String,
    _kept: Kept,
}

impl<Kept: Send + Sync> Stores for InSql<Kept> {
    fn store(&self, namespace: &str) -> Arc<dyn ValueStore> {
        Arc::new(sql(&self.url, namespace))
    }
}

/// A SQLite file.
pub(crate) fn sqlite() -> Arc<dyn Stores> {
    let folder = TempDir::with_prefix("sqlite-").unwrap();
    let url = format!("sqlite:{}", folder.path().join("cache.db").display());
    Arc::new(InSql { url, _kept: folder })
}

/// A database of this PostgreSQL.
pub(crate) fn postgres(server: &PostgresServer) -> Arc<dyn Stores> {
    let url = server.database();
    Arc::new(InSql { url, _kept: () })
}

/// A database of this MariaDB.
pub(crate) fn mariadb(server: &MariaDbServer) -> Arc<dyn Stores> {
    let url = server.database();
    Arc::new(InSql { url, _kept: () })
}

/// A store in files.
pub(crate) fn in_files(path: PathBuf, namespace: &str) -> FileStore {
    let mut options = FileOptions::default();
    options.namespace = namespace.to_owned();
    options.timeout = PATIENCE;
    FileStore::new(path, options)
}

/// A folder of its own.
pub(crate) fn file() -> Arc<dyn Stores> {
    struct InFiles(TempDir);

    impl Stores for InFiles {
        fn store(&self, namespace: &str) -> Arc<dyn ValueStore> {
            Arc::new(in_files(self.0.path().join("cache"), namespace))
        }
    }

    Arc::new(InFiles(TempDir::with_prefix("files-").unwrap()))
}

/// A store in a memcached.
pub(crate) fn in_memcached(url: &str, namespace: &str) -> MemcachedStore {
    let mut options = MemcachedOptions::default();
    options.namespace = namespace.to_owned();
    options.timeout = PATIENCE;
    // The suite stores a body of a whole MiB; the server is started with room for it.
    options.longest_value = 4 << 20;
    MemcachedStore::new(url, options).unwrap()
}

/// A memcached of its own.
pub(crate) async fn memcached() -> Arc<dyn Stores> {
    struct InMemcached(MemcachedServer);

    impl Stores for InMemcached {
        fn store(&self, namespace: &str) -> Arc<dyn ValueStore> {
            Arc::new(in_memcached(&self.0.url(), namespace))
        }

        fn lists_names(&self) -> bool {
            false
        }
    }

    Arc::new(InMemcached(MemcachedServer::start().await))
}
