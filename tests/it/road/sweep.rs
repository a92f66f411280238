//! What clears leave behind is freed, and nothing else is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Path, State};
use axum::routing::get as on_get;
use axum::{Extension, Router};
use smart_cache::{SmartCache, depends_on, smart_cache};
use smart_cache_tests::harness::{RedisServer, eventually};

use super::{HIT, get, in_memory, redis_at, status_of, stored};

/// Entries of three kinds: each under a tag of its own.
fn app(cache: &SmartCache) -> Router {
    #[smart_cache("page:{id}", tags("all", "even:{even}"))]
    async fn page(Path((id, even)): Path<(u32, bool)>) -> String {
        depends_on(format!("row:{id}"));
        id.to_string()
    }
    Router::new()
        .route("/{id}/{even}", on_get(page))
        .layer(Extension(cache.clone()))
}

fn paths() -> Vec<String> {
    (0..10).map(|id| format!("/{id}/{}", id % 2 == 0)).collect()
}

/// Fills every page; the first answer with a tag never seen is refused, the second one stays.
async fn warm(app: &Router, cache: &SmartCache) {
    for path in paths() {
        let before = cache.stats().stored;
        while cache.stats().stored == before {
            get(app, &path).await;
            tokio::task::yield_now().await;
        }
    }
    stored(cache, 10).await;
}

/// Names in Redis of one kind.
fn names(server: &RedisServer, pattern: &str) -> usize {
    let script = format!("return #redis.call('KEYS', '{pattern}')");
    server.cli(&["EVAL", &script, "0"]).parse().unwrap()
}

#[tokio::test]
async fn what_fell_with_a_tag_is_removed_and_the_rest_stays() {
    let server = RedisServer::start().await;
    for cache in [
        in_memory().await,
        redis_at(&server.url())
            .local_capacity(0)
            .build()
            .await
            .unwrap(),
    ] {
        let app = app(&cache);
        warm(&app, &cache).await;
        assert_eq!(cache.sweep().await.unwrap(), 0, "everything is alive");
        cache.clear("even:true").await.unwrap();
        cache.clear("row:7").await.unwrap();
        assert_eq!(cache.sweep().await.unwrap(), 6);
        assert_eq!(cache.sweep().await.unwrap(), 0);
        assert_eq!(status_of(&get(&app, "/3/false").await), HIT);
        cache.clear_all().await.unwrap();
        let left = cache.sweep().await.unwrap();
        assert!(left <= 4, "{left}");
    }
    assert_eq!(names(&server, "{n}:e:*"), 0);
}

#[tokio::test]
async fn what_a_forgotten_build_has_left_is_removed_and_what_a_living_one_has_is_not() {
    let server = RedisServer::start().await;
    for version in ["forgotten", "living"] {
        let cache = redis_at(&server.url())
            .app_version(version)
            .build()
            .await
            .unwrap();
        warm(&app(&cache), &cache).await;
    }
    let day_old = "1000000000 program";
    let _ = server.cli(&["HSET", "{n}:builds", "forgotten", day_old]);
    let now: u64 = server
        .cli(&["TIME"])
        .lines()
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let _ = server.cli(&["HSET", "{n}:builds", "living", &format!("{now} program")]);
    let cache = redis_at(&server.url()).build().await.unwrap();
    // A table that does not name the sweeping build itself is not believed.
    let announced = || (server.cli(&["HEXISTS", "{n}:builds", "v"]) == "1").then_some(());
    eventually("the announcement of this build", async || announced()).await;
    assert_eq!(cache.sweep().await.unwrap(), 10);
    assert_eq!(names(&server, "{n}:?:forgotten:*"), 0);
    assert_eq!(names(&server, "{n}:e:living:*"), 10);
    assert_eq!(server.cli(&["HEXISTS", "{n}:builds", "forgotten"]), "0");
}

#[tokio::test]
async fn nothing_of_others_is_touched() {
    let server = RedisServer::start().await;
    let cache = redis_at(&server.url()).build().await.unwrap();
    for (name, value) in [
        ("{n2}:e:v:x", "theirs"),
        ("other", "theirs"),
        ("{n}:e:v:not-an-id", "odd"),
    ] {
        let _ = server.cli(&["SET", name, value]);
    }
    let _ = server.cli(&[
        "LPUSH",
        &format!("{{n}}:e:v:{}", "0".repeat(40)),
        "a list in our place",
    ]);
    assert_eq!(cache.sweep().await.unwrap(), 0);
    assert_eq!(server.cli(&["GET", "other"]), "theirs");
    assert_eq!(server.cli(&["GET", "{n2}:e:v:x"]), "theirs");
}

#[tokio::test]
async fn an_index_forgets_what_has_expired() {
    let server = RedisServer::start().await;
    let cache = redis_at(&server.url()).build().await.unwrap();
    warm(&app(&cache), &cache).await;
    assert_eq!(server.cli(&["SCARD", "{n}:n:v:page:3"]), "1");
    let _ = server.cli(&[
        "EVAL",
        "for _, name in ipairs(redis.call('KEYS', '{n}:e:*')) do redis.call('DEL', name) end",
        "0",
    ]);
    cache.sweep().await.unwrap();
    assert_eq!(names(&server, "{n}:n:*"), 0);
}

/// A token as it was minted two hours ago.
fn old_token(number: u64) -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let old = since.as_micros() as u64 - 2 * 3_600_000_000;
    format!(":{number:032x}:{}", old + number)
}

#[tokio::test]
async fn tokens_of_tags_that_an_entry_no_longer_has_get_an_end_and_those_that_it_has_do_not() {
    #[smart_cache("list")]
    async fn list(State(row): State<Arc<AtomicU64>>) -> String {
        let row = row.load(Ordering::SeqCst);
        depends_on(format!("row:{row}"));
        row.to_string()
    }
    let server = RedisServer::start().await;
    let cache = redis_at(&server.url()).build().await.unwrap();
    let row = Arc::new(AtomicU64::new(0));
    let app = Router::new()
        .route("/", on_get(list))
        .layer(Extension(cache.clone()))
        .with_state(Arc::clone(&row));
    let life = |row: u64| -> i64 {
        let left = server.cli(&["PTTL", &format!("{{n}}:t:row:{row}")]);
        left.parse().unwrap()
    };
    let fill = async |shown: u64| {
        row.store(shown, Ordering::SeqCst);
        cache.clear("list").await.unwrap();
        let hit = async || {
            let answer = get(&app, "/").await;
            (status_of(&answer) == HIT).then(|| answer.text())
        };
        assert_eq!(eventually("a hit", hit).await, shown.to_string());
    };
    for row in [0, 2] {
        let _ = server.cli(&["SET", &format!("{{n}}:t:row:{row}"), &old_token(row)]);
    }
    for row in 0..3 {
        fill(row).await;
    }
    assert_eq!([life(0), life(1), life(2)], [-1; 3]);
    cache.sweep().await.unwrap();
    assert!(
        (1..=3_600_000).contains(&life(0)),
        "nothing depends on it any more"
    );
    assert_eq!(
        life(1),
        -1,
        "young: a store may have used it behind the sweep's back"
    );
    assert_eq!(life(2), -1, "in use");
    assert_eq!(status_of(&get(&app, "/").await), HIT);
    fill(0).await;
    assert_eq!(life(0), -1, "in use again");
}

#[tokio::test]
async fn one_process_sweeps_at_a_time_for_as_long_as_it_takes() {
    let server = RedisServer::start().await;
    let cache = redis_at(&server.url()).build().await.unwrap();
    let many = "for i = 1, 100000 do redis.call('SET', 'other:' .. i, '') end";
    let _ = server.cli(&["EVAL", many, "0"]);
    let turn = "{n}:sweeper";
    let life = || -> i64 { server.cli(&["PTTL", turn]).parse().unwrap() };

    let sweeping = tokio::spawn({
        let cache = cache.clone();
        async move { cache.sweep().await }
    });
    eventually("the turn", async || (life() > 0).then_some(())).await;
    let _ = server.cli(&["PEXPIRE", turn, "20000"]);
    eventually("the turn, prolonged", async || {
        (life() > 60_000).then_some(())
    })
    .await;
    let _ = server.cli(&["SET", turn, "another"]);
    let ended = sweeping.await.unwrap();
    assert!(ended.unwrap_err().to_string().contains("another process"));
    assert_eq!(server.cli(&["GET", turn]), "another");
}
