//! What one store alone can do wrong: files of others and files that go, bounds, silence, times and
//! lengths.
//!
//! Over 400 lines: each is of one store, and most are a few lines.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use smart_cache::backend::{
    FileOptions, FileStore, MemcachedOptions, MemcachedStore, SqlOptions, SqlStore, Ttl, ValueStore,
};
use smart_cache::{BackendError, BackendKind, ConfigError, SmartCache};
use smart_cache_tests::harness::{MemcachedServer, eventually, sqlite3};
use tempfile::TempDir;

use super::{in_files, in_memcached, sql};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Every file and folder below a path, that one too.
fn walk(path: &Path, each: &mut impl FnMut(&Path, &std::fs::Metadata)) {
    let about = path.metadata().unwrap();
    each(path, &about);
    if about.is_dir() {
        for inner in path.read_dir().unwrap() {
            walk(&inner.unwrap().path(), each);
        }
    }
}

#[tokio::test]
async fn files_and_folders_are_their_owners_alone() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("cache");
    in_files(root.clone(), "n")
        .add("k", "v".into(), None)
        .await
        .unwrap();
    walk(&root, &mut |path, about| {
        let expected = if about.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(about.permissions().mode() & 0o777, expected, "{path:?}");
    });
    let file = folder.path().join("cache.db");
    let url = format!("sqlite:{}", file.display());
    sql(&url, "n").add("k", "v".into(), None).await.unwrap();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_folder_of_others_is_left_alone() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("thesis.txt"), "two years of work").unwrap();
    let store = in_files(folder.path().to_owned(), "n");
    for outcome in [
        store.add("k", "v".into(), None).await.map(drop),
        store.clear().await,
    ] {
        assert!(
            matches!(outcome, Err(BackendError::Refused(_))),
            "{outcome:?}"
        );
    }
    assert_eq!(folder.path().read_dir().unwrap().count(), 1);
}

#[tokio::test]
async fn a_torn_file_is_a_miss_and_is_replaced() {
    let folder = TempDir::new().unwrap();
    let store = in_files(folder.path().join("cache"), "n");
    for damage in [0, 3, 40] {
        store
            .set_many(&[("k".to_owned(), "a value of some length".into())], None)
            .await
            .unwrap();
        walk(folder.path(), &mut |path, about| {
            if about.is_file() && path.file_name().is_some_and(|name| name.len() == 64) {
                let file = std::fs::File::options().write(true).open(path).unwrap();
                file.set_len(damage).unwrap();
            }
        });
        assert_eq!(store.get_many(&names(&["k"])).await.unwrap(), [None]);
        assert!(store.add("k", "new".into(), None).await.unwrap());
        assert!(store.get_many(&names(&["k"])).await.unwrap()[0].is_some());
    }
}

#[tokio::test]
async fn a_folder_stays_within_its_bound_and_keeps_the_latest() {
    let folder = TempDir::new().unwrap();
    let mut options = FileOptions::default();
    options.capacity = 512 << 10;
    options.timeout = super::PATIENCE;
    let store = FileStore::new(folder.path().join("cache"), options);
    for at in 0..100 {
        let value = vec![b'x'; 16 << 10];
        store
            .set_many(&[(format!("k{at}"), value.into())], None)
            .await
            .unwrap();
    }
    store.trim().await.unwrap();
    let mut bytes = 0;
    walk(folder.path(), &mut |_, about| {
        if about.is_file() {
            bytes += about.len();
        }
    });
    assert!(bytes <= 512 << 10, "{bytes} bytes");
    assert!(bytes >= 256 << 10, "{bytes} bytes");
    assert!(store.get_many(&names(&["k99"])).await.unwrap()[0].is_some());
    let too_large = store.add("huge", vec![0; 400 << 10].into(), None).await;
    assert!(
        matches!(too_large, Err(BackendError::TooLarge { .. })),
        "{too_large:?}"
    );
}

#[tokio::test]
async fn what_has_expired_leaves_no_row() {
    let folder = TempDir::new().unwrap();
    let url = format!("sqlite:{}", folder.path().join("cache.db").display());
    let store = sql(&url, "n");
    let brief = Some(Duration::from_millis(20));
    store.add("brief", "v".into(), brief).await.unwrap();
    store.add("stays", "v".into(), None).await.unwrap();
    eventually("it to expire", async || {
        (store.ttl("brief").await.unwrap() == Ttl::Missing).then_some(())
    })
    .await;
    assert_eq!(store.purge().await.unwrap(), 1);
    assert_eq!(store.purge().await.unwrap(), 0);
    assert_eq!(store.ttl("stays").await.unwrap(), Ttl::Never);
}

/// Rows that have expired go without anybody asking for it, as long as somebody writes.
pub(crate) async fn what_has_expired_goes_by_itself(url: &str, rows: impl Fn() -> String) {
    let mut options = SqlOptions::default();
    options.timeout = super::PATIENCE;
    options.purge_every = Duration::from_millis(20);
    let store = SqlStore::new(url, options).unwrap();
    let brief: Vec<_> = (0..50)
        .map(|at| (format!("brief{at}"), "v".into()))
        .collect();
    let end = Some(Duration::from_millis(50));
    store.set_many(&brief, end).await.unwrap();
    let stays = [("stays".to_owned(), "v".into())];
    eventually("the rows of what has expired to go", async || {
        store.set_many(&stays, None).await.unwrap();
        (rows() == "1").then_some(())
    })
    .await;
    assert_eq!(store.ttl("stays").await.unwrap(), Ttl::Never);
}

#[tokio::test]
async fn what_has_expired_goes_by_itself_from_a_sqlite_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cache.db");
    what_has_expired_goes_by_itself(&format!("sqlite:{}", path.display()), || {
        sqlite3(&path, "SELECT COUNT(*) FROM smart_cache_values")
    })
    .await;
}

/// Bytes and files below a folder in which files come and go meanwhile.
fn size(path: &Path) -> (u64, usize) {
    let Ok(found) = path.read_dir() else {
        return path.metadata().map_or((0, 0), |about| (about.len(), 1));
    };
    let inner = found.flatten().map(|file| size(&file.path()));
    inner.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

/// However quickly it is written to, and although nobody writes any more once the last trim has begun.
#[tokio::test]
async fn a_folder_trims_itself_to_its_bound() {
    const BOUND: u64 = 512 << 10;
    let folder = TempDir::new().unwrap();
    let mut options = FileOptions::default();
    options.capacity = BOUND;
    options.timeout = super::PATIENCE;
    let store = FileStore::new(folder.path().join("cache"), options);
    for round in 0..3 {
        for at in 0..400 {
            let value = vec![b'x'; 4 << 10];
            let values = [(format!("k{round}-{at}"), value.into())];
            store.set_many(&values, None).await.unwrap();
        }
        eventually("the folder to be within its bound", async || {
            (size(folder.path()).0 <= BOUND + BOUND / 16).then_some(())
        })
        .await;
        let latest = format!("k{round}-399");
        assert!(store.get_many(&names(&[&latest])).await.unwrap()[0].is_some());
    }
}

/// What has expired goes too, and what a process that crashed had begun to remove or to write.
#[tokio::test]
async fn a_folder_is_tidied_by_whoever_writes_to_it_first() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("cache");
    let crashed = in_files(root.clone(), "n");
    let brief = Some(Duration::from_millis(1));
    for at in 0..20 {
        crashed
            .add(&format!("brief{at}"), "v".into(), brief)
            .await
            .unwrap();
    }
    crashed.add("stays", "v".into(), None).await.unwrap();
    let trash = root.join(".trash-0123456789");
    std::fs::create_dir(&trash).unwrap();
    std::fs::write(trash.join("left"), "over").unwrap();
    let store = in_files(root.clone(), "n");
    store.add("new", "v".into(), None).await.unwrap();
    // The marker and what lives.
    eventually("the rest to go", async || {
        (!trash.exists() && size(&root).1 == 3).then_some(())
    })
    .await;
    for name in ["stays", "new"] {
        assert!(store.get_many(&names(&[name])).await.unwrap()[0].is_some());
    }
}

/// The marker in it says that it may be: whoever writes next makes a new one, as private as the
/// first, and all who use it go on with it.
#[tokio::test]
async fn a_folder_may_be_deleted_under_those_who_use_it() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("cache");
    let url = format!("file:{}", root.display());
    let cache = async || {
        let builder = SmartCache::builder().url(&url).timeout(super::PATIENCE);
        let builder = builder.flush(smart_cache::StartFlush::Never);
        builder.settle(Duration::ZERO).build().await.unwrap()
    };
    let (one, other) = (cache().await, cache().await);
    for cache in [&one, &other] {
        assert_eq!(computed(cache, 1).await, 1);
    }
    std::fs::remove_dir_all(&root).unwrap();
    for cache in [&one, &other] {
        assert_eq!(cache.values().get::<u64>("plain").await.unwrap(), None);
    }
    one.values().set("plain", &2_u64, None).await.unwrap();
    assert_eq!(other.values().get::<u64>("plain").await.unwrap(), Some(2));
    walk(&root, &mut |path, about| {
        let expected = if about.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(about.permissions().mode() & 0o777, expected, "{path:?}");
    });
    // What is computed under tokens is of the new folder for both of them.
    assert_eq!(computed(&one, 2).await, 2);
    assert_eq!(computed(&other, 3).await, 2);
    other.clear("t").await.unwrap();
    assert_eq!(computed(&one, 4).await, 4);
    // A third process takes it for what it is.
    assert_eq!(computed(&cache().await, 5).await, 4);
}

async fn computed(cache: &SmartCache, now: u64) -> u64 {
    let value = cache.values().get_or_set("k").tags("t").timeout(None);
    value.compute(async || now).await.unwrap()
}

/// A file that was removed lives on for those who have it open, and no clear would reach them.
#[tokio::test]
async fn a_sqlite_file_may_be_deleted_under_those_who_use_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("cache.db");
    let url = format!("sqlite:{}", path.display());
    let cache = async || {
        let builder = SmartCache::builder().url(&url).timeout(super::PATIENCE);
        let builder = builder.flush(smart_cache::StartFlush::Never);
        builder.settle(Duration::ZERO).build().await.unwrap()
    };
    let (one, other) = (cache().await, cache().await);
    for cache in [&one, &other] {
        assert_eq!(computed(cache, 1).await, 1);
    }
    one.values().set("plain", &1_u64, None).await.unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
    }
    assert_eq!(other.values().get::<u64>("plain").await.unwrap(), None);
    assert_eq!(computed(&one, 2).await, 2);
    assert_eq!(computed(&other, 3).await, 2);
    other.clear("t").await.unwrap();
    assert_eq!(computed(&one, 4).await, 4);
    one.values().set("plain", &5_u64, None).await.unwrap();
    assert_eq!(other.values().get::<u64>("plain").await.unwrap(), Some(5));
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_database_in_memory_is_refused() {
    for url in [
        "sqlite::memory:",
        "sqlite://:memory:",
        "sqlite:x.db?mode=memory",
        "sqlite:",
    ] {
        let refused = SqlStore::new(url, SqlOptions::default());
        assert!(matches!(refused, Err(ConfigError::Invalid { .. })), "{url}");
    }
}

#[test]
fn a_password_in_a_url_is_not_shown() {
    for url in [
        "mysql://user:hunter2@host:port/x",
        "postgres://user:hunter2@[",
        "odd://user:hunter2@host",
    ] {
        let why = SqlStore::new(url, SqlOptions::default())
            .unwrap_err()
            .to_string();
        assert!(!why.contains("hunter2"), "{why}");
    }
    let store = SqlStore::new("postgres://user:hunter2@host/x", SqlOptions::default()).unwrap();
    assert!(!store.describe().contains("hunter2"));
}

#[tokio::test]
async fn a_value_longer_than_memcached_keeps_is_an_error_that_says_so() {
    let server = MemcachedServer::start().await;
    let mut options = MemcachedOptions::default();
    options.timeout = super::PATIENCE;
    let store = MemcachedStore::new(&server.url(), options).unwrap();
    let long = vec![b'x'; 1 << 20];
    let refused = store
        .set_many(&[("k".to_owned(), long.clone().into())], None)
        .await;
    assert!(
        matches!(refused, Err(BackendError::TooLarge { .. })),
        "{refused:?}"
    );
    let some = [
        ("short".to_owned(), "v".into()),
        ("long".to_owned(), long.into()),
    ];
    assert_eq!(store.set_many(&some, None).await.unwrap(), [1]);
    assert!(store.get_many(&names(&["short"])).await.unwrap()[0].is_some());
}

#[tokio::test]
async fn times_beyond_thirty_days_are_no_dates_of_the_seventies() {
    let server = MemcachedServer::start().await;
    let store = in_memcached(&server.url(), "n");
    let day = Duration::from_secs(24 * 3600);
    for expiry in [day * 29, day * 31, day * 400, day * 365 * 300] {
        store
            .set_many(&[("k".to_owned(), "v".into())], Some(expiry))
            .await
            .unwrap();
        assert!(
            store.get_many(&names(&["k"])).await.unwrap()[0].is_some(),
            "{expiry:?}"
        );
        let Ttl::After(left) = store.ttl("k").await.unwrap() else {
            panic!("it expires in {expiry:?}")
        };
        assert!(
            left <= expiry && left > expiry - day,
            "{left:?} of {expiry:?}"
        );
    }
}

#[tokio::test]
async fn a_frozen_memcached_costs_the_timeout_and_then_nothing() {
    let server = MemcachedServer::start().await;
    let cache = SmartCache::builder()
        .backend(BackendKind::Memcached)
        .url(&server.url())
        .timeout(Duration::from_millis(100))
        .build()
        .await
        .unwrap();
    let values = cache.values();
    values.set("k", &1, None).await.unwrap();
    server.freeze();
    // Its threads stop one after the other.
    eventually("all of it to stand still", async || {
        values
            .get::<i32>("k")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    for _ in 0..4 {
        // An outage reads as a miss.
        assert_eq!(values.get::<i32>("k").await.unwrap(), None);
    }
    let start = Instant::now();
    assert_eq!(values.get::<i32>("k").await.unwrap(), None);
    assert!(
        start.elapsed() < Duration::from_millis(90),
        "the breaker is open"
    );
    server.thaw();
    eventually("it to answer again", async || {
        values.get::<i32>("k").await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn the_url_chooses_the_store() {
    let folder = TempDir::new().unwrap();
    let place = folder.path().display();
    for url in [
        format!("sqlite:{place}/cache.db"),
        format!("file:{place}/cache"),
        format!("file://{place}/other?capacity=1MiB"),
    ] {
        let cache = SmartCache::builder().url(&url).build().await.unwrap();
        cache.values().set("k", &7, None).await.unwrap();
        let again = SmartCache::builder()
            .url(&url)
            .flush(smart_cache::StartFlush::Never)
            .build()
            .await
            .unwrap();
        assert_eq!(
            again.values().get::<i32>("k").await.unwrap(),
            Some(7),
            "{url}"
        );
    }
}

#[tokio::test]
async fn a_url_that_contradicts_the_backend_is_refused() {
    for (kind, url) in [
        (BackendKind::Redis, Some("sqlite:/tmp/x.db")),
        (BackendKind::Sql, Some("file:/tmp/x")),
        (BackendKind::Memcached, None),
        (BackendKind::File, Some("file:relative")),
    ] {
        let mut builder = SmartCache::builder().backend(kind);
        if let Some(url) = url {
            builder = builder.url(url);
        }
        let refused = builder.build().await;
        assert!(
            matches!(refused, Err(ConfigError::Invalid { .. })),
            "{kind:?} {url:?}"
        );
    }
}
