//! What one store alone can do wrong: files of others, bounds, silence, times and lengths.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use smart_cache::backend::{
    FileOptions, FileStore, MemcachedOptions, MemcachedStore, SqlOptions, SqlStore, Ttl, ValueStore,
};
use smart_cache::{BackendError, BackendKind, ConfigError, SmartCache};
use smart_cache_tests::harness::MemcachedServer;
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
    smart_cache_tests::harness::eventually("it to expire", async || {
        (store.ttl("brief").await.unwrap() == Ttl::Missing).then_some(())
    })
    .await;
    assert_eq!(store.purge().await.unwrap(), 1);
    assert_eq!(store.purge().await.unwrap(), 0);
    assert_eq!(store.ttl("stays").await.unwrap(), Ttl::Never);
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
    smart_cache_tests::harness::eventually("all of it to stand still", async || {
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
    smart_cache_tests::harness::eventually("it to answer again", async || {
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
