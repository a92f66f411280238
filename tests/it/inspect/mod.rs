//! What an operator is shown is what the cache holds.

mod operators;

use std::collections::BTreeSet;
use std::time::Duration;

use axum::extract::{Path, RawQuery};
use axum::routing::get as on_get;
use axum::{Extension, Router};
use smart_cache::inspect::{EntryPage, EntryState, KeyPage, TokenState};
use smart_cache::{SmartCache, depends_on, smart_cache};
use smart_cache_tests::harness::{RedisServer, eventually};

use crate::road::{HIT, every_kind, get, memory, redis_at, status_of};

fn app(cache: &SmartCache) -> Router {
    #[smart_cache("page:{id}", tags("pages"))]
    async fn page(
        Path(id): Path<String>,
        query: RawQuery,
    ) -> ([(&'static str, &'static str); 1], String) {
        depends_on(format!("row:{id}"));
        (
            [("x-kind", "page")],
            format!("<script>{id}</script>{query:?}"),
        )
    }
    Router::new()
        .route("/page/{id}", on_get(page))
        .layer(Extension(cache.clone()))
}

async fn warm(app: &Router, path: &str) {
    eventually(format!("a hit for {path}"), async || {
        (status_of(&get(app, path).await) == HIT).then_some(())
    })
    .await;
}

/// Every key that a walk finds, and how many pages it took.
async fn walk(cache: &SmartCache, glob: &str, most: usize) -> (BTreeSet<String>, usize) {
    let inspect = cache.inspect().unwrap();
    let (mut keys, mut pages, mut from) = (BTreeSet::new(), 0, None);
    loop {
        let page: KeyPage = inspect.keys(glob, from.as_deref(), most).await.unwrap();
        keys.extend(page.keys.into_iter().map(|line| line.key));
        pages += 1;
        from = page.next;
        if from.is_none() {
            return (keys, pages);
        }
    }
}

async fn entries(cache: &SmartCache, key: &str) -> EntryPage {
    let mut all = EntryPage::default();
    let mut from = None;
    loop {
        let page = cache.inspect().unwrap().entries(key, from.as_deref(), 10);
        let page = page.await.unwrap();
        all.entries.extend(page.entries);
        from = page.next;
        if from.is_none() {
            return all;
        }
    }
}

#[tokio::test]
async fn keys_entries_and_one_entry_are_shown_as_they_are_stored() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let app = app(&cache);
        warm(&app, "/page/7?b=2&a=1").await;
        warm(&app, "/page/7").await;
        warm(&app, "/page/8").await;
        assert_eq!(
            walk(&cache, "page:*", 50).await.0,
            keys(&["page:7", "page:8"])
        );
        assert_eq!(walk(&cache, "page:8", 50).await.0, keys(&["page:8"]));
        assert_eq!(
            walk(&cache, "pages", 50).await.0,
            keys(&[]),
            "a tag has no entries of its own"
        );
        let page = entries(&cache, "page:7").await;
        let requests: BTreeSet<_> = page
            .entries
            .iter()
            .map(|line| line.request.clone())
            .collect();
        assert_eq!(requests, keys(&["/page/7", "/page/7?a=1&b=2"]));
        let line = &page.entries[0];
        assert_eq!((line.status, line.state), (Some(200), EntryState::Current));
        assert!(line.ttl.is_none() && line.bytes > 50);
        let entry = cache.inspect().unwrap().entry(&line.version, line.id);
        let entry = entry.await.unwrap().unwrap();
        assert_eq!(entry.key, "page:7");
        assert!(entry.body.starts_with(b"<script>7</script>"));
        assert!(
            entry
                .headers
                .contains(&("x-kind".to_owned(), "page".to_owned()))
        );
        let tokens: Vec<_> = entry
            .tokens
            .iter()
            .map(|token| (token.name.as_str(), token.found))
            .collect();
        assert_eq!(
            tokens,
            [
                ("", false),
                ("page:7", false),
                ("pages", false),
                ("row:7", true)
            ]
        );
        assert!(
            entry
                .tokens
                .iter()
                .all(|token| token.state == TokenState::Valid)
        );
        let none = cache
            .inspect()
            .unwrap()
            .entry("no-such", line.id)
            .await
            .unwrap();
        assert!(none.is_none() || line.version == "memory");
    }
}

#[tokio::test]
async fn an_entry_is_dead_from_the_clear_of_anything_that_it_depends_on() {
    let server = RedisServer::start().await;
    let cache = redis_at(&server.url()).build().await.unwrap();
    let app = app(&cache);
    for id in ["a", "b", "c"] {
        warm(&app, &format!("/page/{id}")).await;
    }
    let state = async |key: &str| entries(&cache, key).await.entries[0].state;
    cache.clear("row:a").await.unwrap();
    assert_eq!(
        state("page:a").await,
        EntryState::Dead,
        "a tag that the handler found"
    );
    assert_eq!(state("page:b").await, EntryState::Current);
    let _ = server.cli(&["SET", "{n}:t:row:b", "!"]);
    assert_eq!(state("page:b").await, EntryState::Held);
    let held = walk(&cache, "page:b", 1).await.0;
    assert_eq!(held.len(), 1);
    cache.clear("pages").await.unwrap();
    assert_eq!(state("page:c").await, EntryState::Dead, "a declared tag");
}

#[tokio::test]
async fn an_entry_that_was_expired_is_told_from_a_dead_one() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let app = app(&cache);
        for name in ["page:a", "row:a", "pages"] {
            warm(&app, "/page/a").await;
            let state = async || entries(&cache, "page:a").await.entries[0].state;
            cache.expire(name).await.unwrap();
            assert_eq!(state().await, EntryState::Expired, "{name}");
            cache.clear("row:a").await.unwrap();
            assert_eq!(state().await, EntryState::Dead, "{name}");
        }
    }
}

#[tokio::test]
async fn an_entry_that_settles_is_told_from_one_that_stays() {
    let server = RedisServer::start().await;
    let settle = Duration::from_secs(60);
    let far = redis_at(&server.url())
        .settle(settle)
        .build()
        .await
        .unwrap();
    for cache in [far, memory().settle(settle).build().await.unwrap()] {
        warm(&app(&cache), "/page/1").await;
        let line = entries(&cache, "page:1").await.entries.remove(0);
        assert_eq!(line.state, EntryState::Settling);
        assert!(line.ttl.unwrap() <= settle);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_said_to_be_so() {
    let server = RedisServer::start().await;
    let cache = redis_at(&server.url()).build().await.unwrap();
    warm(&app(&cache), "/page/1").await;
    let line = entries(&cache, "page:1").await.entries.remove(0);
    let name = format!("{{n}}:e:v:{}", line_id(&line));
    let length = server.cli(&["STRLEN", &name]);
    // The last byte of the body: only the checksum tells.
    let last = (length.parse::<u64>().unwrap() - 1).to_string();
    let _ = server.cli(&["SETRANGE", &name, &last, "!"]);
    let entry = cache.inspect().unwrap().entry(&line.version, line.id);
    assert_eq!(
        entry.await.unwrap().unwrap().line.state,
        EntryState::Unreadable
    );
    let _ = server.cli(&["SETRANGE", &name, "0", &"x".repeat(300)]);
    assert_eq!(
        entries(&cache, "page:1").await.entries[0].state,
        EntryState::Unreadable
    );
}

#[tokio::test]
async fn keys_of_any_length_and_spelling_are_found_by_their_own_name() {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        #[smart_cache("{id}")]
        async fn any(Path(id): Path<String>) -> String {
            id
        }
        let app = Router::new()
            .route("/{id}", on_get(any))
            .layer(Extension(cache.clone()));
        let long = "x".repeat(2000);
        for path in [
            format!("/{long}"),
            "/%23hash".to_owned(),
            "/a%2Ab".to_owned(),
            "/%C3%BC:1".to_owned(),
        ] {
            warm(&app, &path).await;
        }
        assert_eq!(
            walk(&cache, "*", 2).await.0,
            keys(&["#hash", "a*b", "ü:1", &long])
        );
        assert_eq!(walk(&cache, &long, 50).await.0, keys(&[&long]));
        assert_eq!(walk(&cache, "#*", 50).await.0, keys(&["#hash"]));
        assert_eq!(walk(&cache, "a\\*b", 50).await.0, keys(&["a*b"]));
        assert_eq!(entries(&cache, &long).await.entries.len(), 1);
        assert_eq!(entries(&cache, "#hash").await.entries.len(), 1);
    }
}

#[tokio::test]
async fn entries_of_every_build_are_listed_under_their_key() {
    let server = RedisServer::start().await;
    for version in ["one", "two"] {
        let cache = redis_at(&server.url())
            .app_version(version)
            .build()
            .await
            .unwrap();
        warm(&app(&cache), "/page/1").await;
        // A build announces itself beside its first requests.
        eventually("the announcement", async || {
            let builds = cache.inspect().unwrap().facts().await.unwrap().builds;
            builds
                .iter()
                .any(|build| build.version == version)
                .then_some(())
        })
        .await;
    }
    let reader = redis_at(&server.url())
        .app_version("reader")
        .build()
        .await
        .unwrap();
    let page = reader.inspect().unwrap().keys("*", None, 50).await.unwrap();
    let mut versions: Vec<_> = page
        .keys
        .iter()
        .map(|line| (&*line.version, line.own))
        .collect();
    versions.sort_unstable();
    assert_eq!(versions, [("one", false), ("two", false)]);
    let mut entries: Vec<_> = entries(&reader, "page:1")
        .await
        .entries
        .into_iter()
        .map(|line| line.version)
        .collect();
    entries.sort_unstable();
    assert_eq!(entries, ["one", "two"]);
}

#[tokio::test]
async fn a_walk_finds_every_key_in_pages_of_bounded_size() {
    let server = RedisServer::start().await;
    let script = "for i = 1, 5000 do redis.call('SADD', '{n}:n:v:item:' .. i, 'x') redis.call('SET', 'other:' .. i, 1) end";
    let _ = server.cli(&["EVAL", script, "0"]);
    let cache = redis_at(&server.url()).build().await.unwrap();
    let (found, pages) = walk(&cache, "item:*", 50).await;
    assert_eq!(found.len(), 5000);
    assert!((20..=100).contains(&pages), "{pages}");
    let first = cache.inspect().unwrap().keys("*", None, 50).await.unwrap();
    assert!(
        (50..=250).contains(&first.keys.len()),
        "{}",
        first.keys.len()
    );
    assert!(first.names.unwrap() >= 10_000);
    let rare = walk(&cache, "*:4999", 50).await;
    assert_eq!(rare.0, keys(&["item:4999"]));
    assert!(rare.1 <= 2, "{}", rare.1);
    let wrong = cache
        .inspect()
        .unwrap()
        .keys("*", Some("x; FLUSHALL"), 50)
        .await;
    assert!(wrong.is_err());
}

#[tokio::test]
async fn facts_are_those_of_the_server() {
    let server = RedisServer::start().await;
    let cache = redis_at(&server.url()).build().await.unwrap();
    warm(&app(&cache), "/page/1").await;
    cache.sweep().await.unwrap();
    let facts = cache.inspect().unwrap().facts().await.unwrap();
    assert_eq!(
        (facts.kind, &*facts.namespace, &*facts.version),
        ("redis", "n", "v")
    );
    assert_eq!(facts.server_id.as_deref().map(str::len), Some(16));
    assert!(facts.server_version.unwrap().starts_with("Redis "));
    assert_eq!(facts.namespace_token, Some(TokenState::Valid));
    assert_eq!(facts.swept.unwrap().removed, 0);
    assert!(
        facts.clock_ahead_us.unwrap() <= 0,
        "it is never ahead on a sound server"
    );
    assert!(facts.names.unwrap() > 3 && facts.used_memory.unwrap() > 0);
    let in_memory = memory().build().await.unwrap();
    assert_eq!(
        in_memory.inspect().unwrap().facts().await.unwrap().kind,
        "memory"
    );
    assert!(SmartCache::off().inspect().is_err());
}

fn keys(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn line_id(line: &smart_cache::inspect::EntryLine) -> String {
    format!("{:?}", line.id)
}
