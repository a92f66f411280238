//! What clears leave behind is freed, and nothing else is.

use axum::extract::Path;
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
