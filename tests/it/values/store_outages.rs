//! Stores of values that are gone, silent or locked: as with Redis, reads miss, writes are errors,
//! nobody waits, and all is well again when the store is.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use smart_cache::OnError::{Fail, Miss};
use smart_cache::Timeout::Default;
use smart_cache::backend::Ttl;
use smart_cache::{BackendError, Cache, CacheError, SmartCache};
use smart_cache_tests::harness::{MariaDbServer, MemcachedServer, PostgresServer, eventually};
use sqlx::{Connection as _, Executor as _};
use tempfile::TempDir;

use super::outage::{
    at, each_ends_in_time, each_read_fails_in_time, each_write_fails_in_time, is_back,
};

/// A cache for each choice, which has stored a value and a computed one.
async fn both(url: &str) -> (SmartCache, SmartCache) {
    let (missing, failing) = (at(url, Miss).await, at(url, Fail).await);
    for cache in [&missing, &failing] {
        let values = cache.values();
        is_back(&values).await;
        // Their connections are open, and what they read is there.
        let tagged = values.get_or_set("k").tags("t");
        tagged.compute(async || 1_u64).await.unwrap();
    }
    (missing, failing)
}

/// While the store is gone: reads miss with the one and are errors with the other, all in time.
async fn neither_waits(missing: &SmartCache, failing: &SmartCache) {
    each_ends_in_time(&missing.values()).await;
    each_read_fails_in_time(&failing.values()).await;
}

async fn both_are_back(missing: &SmartCache, failing: &SmartCache) {
    is_back(&missing.values()).await;
    is_back(&failing.values()).await;
}

#[tokio::test]
async fn a_postgres_that_is_gone_silent_or_locked_costs_nobody_more_than_the_timeout() {
    let mut server = PostgresServer::start().await;
    let database = server.database();
    let (missing, failing) = both(&database).await;

    // Locked by somebody's migration.
    let mut other = sqlx::PgConnection::connect(&database).await.unwrap();
    other
        .execute("BEGIN; LOCK TABLE smart_cache_values IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    neither_waits(&missing, &failing).await;
    assert!(missing.stats().values.unavailable >= 4);
    other.execute("ROLLBACK").await.unwrap();
    both_are_back(&missing, &failing).await;

    // Silent.
    server.freeze();
    neither_waits(&missing, &failing).await;
    server.thaw();
    both_are_back(&missing, &failing).await;

    // Gone: nobody listens.
    server.crash();
    neither_waits(&missing, &failing).await;
    server.restart().await;
    both_are_back(&missing, &failing).await;
}

#[tokio::test]
async fn a_mariadb_that_is_gone_silent_or_locked_costs_nobody_more_than_the_timeout() {
    let mut server = MariaDbServer::start().await;
    let database = server.database();
    let (missing, failing) = both(&database).await;

    let mut other = sqlx::MySqlConnection::connect(&database).await.unwrap();
    other
        .execute("LOCK TABLES smart_cache_values WRITE")
        .await
        .unwrap();
    neither_waits(&missing, &failing).await;
    other.execute("UNLOCK TABLES").await.unwrap();
    both_are_back(&missing, &failing).await;

    server.freeze();
    neither_waits(&missing, &failing).await;
    server.thaw();
    both_are_back(&missing, &failing).await;

    server.crash();
    neither_waits(&missing, &failing).await;
    server.restart().await;
    both_are_back(&missing, &failing).await;
}

#[tokio::test]
async fn a_memcached_that_is_gone_or_silent_costs_nobody_more_than_the_timeout() {
    let mut server = MemcachedServer::start().await;
    let (missing, failing) = both(&server.url()).await;

    server.kill();
    neither_waits(&missing, &failing).await;
    server.restart().await;
    both_are_back(&missing, &failing).await;

    server.freeze();
    // Its threads stop one after the other.
    eventually("all of it to stand still", async || {
        let misses = missing.values().get::<i32>("k").await.unwrap().is_none();
        (misses && failing.values().get::<i32>("k").await.is_err()).then_some(())
    })
    .await;
    neither_waits(&missing, &failing).await;
    server.thaw();
    both_are_back(&missing, &failing).await;
}

/// What readers of a file that others write to see, and writers that have to wait too long.
async fn reads_go_on_and_writes_fail(values: &Cache) {
    assert_eq!(values.get::<i32>("k").await.unwrap(), Some(3));
    each_write_fails_in_time(values).await;
    assert_eq!(values.get::<i32>("k").await.unwrap(), Some(3));
    assert!(matches!(values.ttl("k").await.unwrap(), Ttl::After(_)));
    // Nobody else can compute it, so this caller does.
    let new = values.get_or_set("new").tags("t");
    assert_eq!(new.compute(async || 5).await.unwrap(), 5);
}

#[tokio::test]
async fn a_sqlite_file_that_another_process_writes_to_for_long_can_be_read() {
    let folder = TempDir::with_prefix("outage-").unwrap();
    let url = format!("sqlite:{}", folder.path().join("cache.db").display());
    let (missing, failing) = both(&url).await;
    let mut other = sqlx::SqliteConnection::connect(&url).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    reads_go_on_and_writes_fail(&missing.values()).await;
    reads_go_on_and_writes_fail(&failing.values()).await;
    other.execute("ROLLBACK").await.unwrap();
    both_are_back(&missing, &failing).await;
}

#[tokio::test]
async fn a_sqlite_file_that_cannot_be_opened_costs_nobody_more_than_the_timeout() {
    let folder = TempDir::with_prefix("outage-").unwrap();
    let path = folder.path().join("cache.db");
    let url = format!("sqlite:{}", path.display());
    let (missing, failing) = both(&url).await;
    remove_database(&path);
    std::fs::create_dir(&path).unwrap();
    neither_waits(&missing, &failing).await;
    std::fs::remove_dir(&path).unwrap();
    both_are_back(&missing, &failing).await;
}

fn remove_database(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
}

#[tokio::test]
async fn a_folder_in_whose_place_is_a_file_costs_nobody_more_than_the_timeout() {
    let parent = TempDir::with_prefix("outage-").unwrap();
    let folder = parent.path().join("cache");
    let (missing, failing) = both(&format!("file:{}", folder.display())).await;
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&folder, "what somebody else wanted here").unwrap();
    neither_waits(&missing, &failing).await;
    std::fs::remove_file(&folder).unwrap();
    both_are_back(&missing, &failing).await;
}

/// Holds every lock there is below a folder.
fn lock_all(folder: &Path, locks: &mut Vec<File>) {
    for found in folder.read_dir().unwrap() {
        let path = found.unwrap().path();
        if path.is_dir() {
            let opened = File::open(&path).unwrap();
            flock(&opened, FlockOperation::LockExclusive).unwrap();
            locks.push(opened);
            lock_all(&path, locks);
        }
    }
}

#[tokio::test]
async fn a_folder_whose_locks_another_process_keeps_can_be_read() {
    let parent = TempDir::with_prefix("outage-").unwrap();
    let folder = parent.path().join("cache");
    let (missing, failing) = both(&format!("file:{}", folder.display())).await;
    // Every part, also those that nothing stands in yet.
    for namespace in folder.read_dir().unwrap() {
        let namespace = namespace.unwrap().path();
        if namespace.is_dir() {
            for part in 0..=255 {
                let _ = std::fs::create_dir(namespace.join(format!("{part:02x}")));
            }
        }
    }
    let mut locks = Vec::new();
    lock_all(&folder, &mut locks);
    for cache in [&missing, &failing] {
        let values = cache.values();
        // As often as would look like a server that is gone.
        for _ in 0..5 {
            let start = Instant::now();
            let refused = values.set("k", &4, Default).await;
            assert!(start.elapsed() < Duration::from_millis(750));
            assert!(
                matches!(&refused, Err(CacheError::Backend(BackendError::Refused(why))) if why.contains("lock")),
                "{refused:?}"
            );
        }
        assert_eq!(values.get::<i32>("k").await.unwrap(), Some(3));
        let new = values.get_or_set("new").tags("t");
        assert_eq!(new.compute(async || 5).await.unwrap(), 5);
    }
    drop(locks);
    both_are_back(&missing, &failing).await;
}
