//! No way to write a target, and no two targets that look alike, make one visitor's answer
//! another's.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{OriginalUri, Path, Query, RawQuery};
use axum::routing::get as on_get;
use http::HeaderMap;
use smart_cache::{layer, smart_cache};
use smart_cache_tests::harness::serve;

use super::{HIT, ask, in_memory};

/// What a handler with this query reads, the order of different names aside.
fn read(pairs: Vec<(String, String)>) -> String {
    let mut read: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in pairs {
        read.entry(name).or_default().push(value);
    }
    format!("{read:?}")
}

#[smart_cache("reads")]
async fn reads(Path(path): Path<String>, Query(pairs): Query<Vec<(String, String)>>) -> String {
    format!("{path:?} {}", read(pairs))
}

#[smart_cache("reads_exactly")]
async fn reads_exactly(OriginalUri(uri): OriginalUri) -> String {
    uri.to_string()
}

/// What a foreign service might read, all of it.
async fn foreign(
    OriginalUri(uri): OriginalUri,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> String {
    format!("{uri} {query:?} {:?}", headers.get("host"))
}

async fn foreign_pairs(
    Path(path): Path<String>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> String {
    format!("{path:?} {}", read(pairs))
}

/// Targets that differ, or only look as if they did.
const TARGETS: [&str; 40] = [
    "/a/b",
    "/a%2Fb",
    "/a%2fb",
    "/a//b",
    "/a/b/",
    "/A/b",
    "/a/%62",
    "/a/./b",
    "/a/../a/b",
    "/a/b;c",
    "/a/b%3Fc=1",
    "/a/b?c=1",
    "/a/b?",
    "/a/b?c",
    "/a/b?c=",
    "/a/b?c=1&c=2",
    "/a/b?c=2&c=1",
    "/a/b?c=1%26c=2",
    "/a/b?c=1;c=2",
    "/a/b?c=1&d=2",
    "/a/b?d=2&c=1",
    "/a/b?%63=1",
    "/a/b?C=1",
    "/a/b?c=a+b",
    "/a/b?c=a%20b",
    "/a/b?c=a%2Bb",
    "/a/b?c=a%2bb",
    "/a/b?c=1&&d=2",
    "/a/b?&c=1",
    "/a/b?=1",
    "/a/b?c==1",
    "/a/b?c=%00",
    "/a/b?c[]=1",
    "/a/b?c%5B%5D=1",
    "/a/b?c=1&%63=2",
    "/a/b?%63=2&c=1",
    "/a/b?c=%E2%82%AC",
    "/a/b?c=%e2%82%ac",
    "/a/b?c=1%3Dd",
    "/a/b?c+d=1",
];

async fn check(cached: Router, plain: Router) {
    let (cached, plain) = (serve(cached).await, serve(plain).await);
    let mut hits = 0;
    for round in 0..2 {
        for at in 0..TARGETS.len() {
            // Another order the second time, so that each may find what another one left.
            let target = TARGETS[if round == 0 {
                at
            } else {
                TARGETS.len() - 1 - at
            }];
            let expected = ask(&plain, target, &[]).await;
            let found = ask(&cached, target, &[]).await;
            assert_eq!(found.body, expected.body, "{target}");
            assert_eq!(found.status, expected.status, "{target}");
            hits += usize::from(found.head.contains(HIT));
        }
    }
    assert!(hits >= TARGETS.len() / 2, "{hits} hits: the cache was used");
}

#[tokio::test]
async fn a_handler_that_reads_its_query_is_never_given_anothers_answer() {
    let cached = Router::new()
        .route("/{*path}", on_get(reads))
        .layer(axum::Extension(in_memory().await));
    check(
        cached,
        Router::new().route("/{*path}", on_get(foreign_pairs)),
    )
    .await;
}

#[tokio::test]
async fn a_handler_that_reads_its_target_exactly_is_never_given_anothers_answer() {
    let cached = Router::new()
        .route("/{*path}", on_get(reads_exactly))
        .layer(axum::Extension(in_memory().await));
    let plain = on_get(|OriginalUri(uri): OriginalUri| async move { uri.to_string() });
    check(cached, Router::new().route("/{*path}", plain)).await;
}

#[tokio::test]
async fn a_service_behind_a_layer_is_never_given_anothers_answer() {
    let plain = || Router::new().route("/{*path}", on_get(foreign));
    let cached = plain().layer(layer("foreign").cache(in_memory().await));
    check(cached, plain()).await;
}

#[tokio::test]
async fn a_service_that_reads_pairs_is_never_given_anothers_answer_by_a_normalised_query() {
    let plain = || Router::new().route("/{*path}", on_get(foreign_pairs));
    let cached = plain().layer(
        layer("foreign-pairs")
            .normalised_query()
            .cache(in_memory().await),
    );
    check(cached, plain()).await;
}

#[tokio::test]
async fn hosts_and_targets_in_absolute_form_are_told_apart() {
    let plain = || Router::new().route("/{*path}", on_get(foreign));
    let cached = serve(plain().layer(layer("hosts").cache(in_memory().await))).await;
    let plain = serve(plain()).await;
    let asks: [(&str, &str); 8] = [
        ("/p", "a.test"),
        ("/p", "b.test"),
        ("/p", "A.TEST"),
        ("/p", "a.test:80"),
        ("http://a.test/p", "a.test"),
        ("http://b.test/p", "a.test"),
        ("http://a.test/p", "b.test"),
        ("https://a.test/p", "a.test"),
    ];
    for round in 0..2 {
        for (target, host) in asks {
            let headers = [("host", host)];
            let expected = ask(&plain, target, &headers).await;
            let found = ask(&cached, target, &headers).await;
            assert_eq!(found.body, expected.body, "{target} {host}");
            assert_eq!(found.head.contains(HIT), round == 1, "{target} {host}");
        }
    }
}
