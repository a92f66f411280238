//! What processes tell each other's operators: the journal of clears, and the reports of the fleet.

use std::time::Duration;

use smart_cache::SmartCache;
use smart_cache::inspect::ClearNote;
use smart_cache_tests::harness::{RedisServer, eventually};

use super::{app, warm};
use crate::road::{in_memory, redis_at};

async fn notes(cache: &SmartCache, count: usize) -> Vec<ClearNote> {
    eventually(format!("{count} notes"), async || {
        let notes = cache.recent_clears().await.unwrap();
        (notes.len() >= count).then_some(notes)
    })
    .await
}

#[tokio::test]
async fn a_clear_is_noted_with_what_it_freed() {
    let server = RedisServer::start().await;
    let far = redis_at(&server.url()).build().await.unwrap();
    for cache in [in_memory().await, far] {
        let app = app(&cache);
        for path in ["/page/7", "/page/7?a=1", "/page/8"] {
            warm(&app, path).await;
        }
        cache.clear("page:7").await.unwrap();
        let note = notes(&cache, 1).await.remove(0);
        assert_eq!((note.keys, note.all), (vec!["page:7".to_owned()], false));
        let freed = note.freed.unwrap();
        assert_eq!(freed.entries, 2, "{freed:?}");
        assert!(freed.longest < Duration::from_secs(60) && freed.mean() <= freed.longest);
        let me = format!(":{}", std::process::id());
        assert!(note.process.ends_with(&me), "{}", note.process);
        assert!(note.acknowledged);
        cache.clear_all().await.unwrap();
        let newest = notes(&cache, 2).await.remove(0);
        assert!(newest.all && newest.freed.is_none());
    }
}

#[tokio::test]
async fn a_clear_of_another_process_is_noted_too_and_the_journal_is_bounded() {
    let server = RedisServer::start().await;
    let one = redis_at(&server.url()).build().await.unwrap();
    let two = redis_at(&server.url()).build().await.unwrap();
    two.clear("page:1").await.unwrap();
    assert_eq!(notes(&one, 1).await[0].keys, ["page:1"]);
    for n in 0..400 {
        two.clear(format!("page:{n}")).await.unwrap();
    }
    let all = eventually("the last second's clears", async || {
        let notes = two.recent_clears().await.unwrap();
        let total: u64 = notes.iter().map(|note| 1 + note.unnoted).sum();
        (total >= 401).then_some(notes)
    })
    .await;
    assert!(all.len() <= 200, "{}", all.len());
}

#[tokio::test]
async fn a_clear_that_did_not_get_through_is_noted_as_such() {
    let mut server = RedisServer::start().await;
    let cache = redis_at(&server.url())
        .timeout(Duration::from_millis(200))
        .build()
        .await
        .unwrap();
    server.kill();
    assert!(cache.clear("page:1").await.is_err());
    server.restart().await;
    let note = eventually("the note", async || {
        let notes = cache.recent_clears().await.ok()?;
        notes.into_iter().find(|note| note.keys == ["page:1"])
    })
    .await;
    assert!(!note.acknowledged);
}

#[tokio::test]
async fn every_process_of_a_namespace_is_in_the_fleet_and_goes_with_its_report() {
    let server = RedisServer::start().await;
    let one = redis_at(&server.url()).build().await.unwrap();
    let two = redis_at(&server.url()).build().await.unwrap();
    let other = redis_at(&server.url()).namespace("other");
    let _other = other.build().await.unwrap();
    warm(&app(&two), "/page/1").await;
    let fleet = eventually("the other's report", async || {
        let fleet = one.fleet().await.unwrap();
        (fleet.len() > 1).then_some(fleet)
    })
    .await;
    assert_eq!(fleet.len(), 2);
    assert!(fleet[0].own && !fleet[1].own);
    assert_eq!(fleet[0].total.hits, 0);
    assert!(fleet[1].total.hits > 0 && fleet[1].lookups > 0);
    let page = &fleet[1].handlers[0];
    assert_eq!(page.key, "page:{id}");
    assert!(page.handler.ends_with("::page"), "{}", page.handler);
    assert_eq!(page.total.hits, fleet[1].total.hits);
    let report = format!("{{n}}:s:{}", fleet[1].id);
    let left: i64 = server.cli(&["PTTL", &report]).parse().unwrap();
    assert!((1..=30_000).contains(&left), "{left}");
    let size: u64 = server.cli(&["STRLEN", &report]).parse().unwrap();
    assert!(size < 2048, "{size}");
    drop(two);
    let _ = server.cli(&["DEL", &report]);
    assert_eq!(one.fleet().await.unwrap().len(), 1);
    let members = server.cli(&["SCARD", "{n}:processes"]);
    assert!(members.parse::<u64>().unwrap() <= 1, "{members}");
    assert_eq!(in_memory().await.fleet().await.unwrap().len(), 1);
}
