//! The shop as a real process over a real Redis, which dies and comes back meanwhile.

use bytes::Bytes;
use http::{Request, StatusCode};
use smart_cache_tests::harness::{Client, RedisServer};

use crate::shop::{Shop, cache_status, get, hit};

async fn stock(shop: Client) -> i64 {
    let body = get(shop, "/api/products/7").await.into_body();
    let product: serde_json::Value = serde_json::from_slice(&body).expect("it is JSON");
    product["stock"].as_i64().expect("it is a number")
}

#[tokio::test]
async fn pages_and_writes_go_on_without_redis_and_it_is_used_again_when_it_is_back() {
    let mut redis = RedisServer::start().await;
    let port = redis.port().to_string();
    let mut process = Shop::start(&[("SMART_REDIS_PORT", &port)]);
    assert!(process.logs("the cache is").await.contains(&port));
    let shop = process.client().await;

    let pages = ["/", "/products?q=lamp", "/products/7", "/categories/garden"];
    let mut warm = Vec::new();
    for path in pages {
        warm.push(hit(shop, path).await);
    }
    let before = stock(shop).await;

    redis.kill();
    for (path, warm) in pages.iter().zip(&warm) {
        let answer = get(shop, path).await;
        assert!(cache_status(&answer).contains("fwd=bypass"), "{path}");
        assert_eq!(answer.body(), warm, "{path}");
    }
    process.logs("connection lost").await;
    let delivery = Request::post("/products/7/stock")
        .header("content-type", "application/json")
        .body(Bytes::from_static(b"{\"quantity\":5}"))
        .unwrap();
    assert_eq!(shop.send(delivery).await.status(), StatusCode::CREATED);
    process.logs("the outbox was not delivered").await;
    assert_eq!(stock(shop).await, before + 5);

    redis.restart().await;
    process.logs("all clears are acknowledged").await;
    let page = hit(shop, "/products/7").await;
    assert_ne!(page, warm[2]);
    hit(shop, "/api/products/7").await;
    assert_eq!(stock(shop).await, before + 5);
}

#[tokio::test]
async fn a_setting_that_cannot_be_used_stops_the_start_and_says_what_is_allowed() {
    let mut process = Shop::start(&[("SMART_REDIS_PORT", "six")]);
    let complaint = process.logs("SMART_REDIS_PORT").await;
    assert!(complaint.contains("six"), "{complaint}");
    assert!(!process.ended().await.success());
}

#[tokio::test]
async fn the_metrics_tell_of_hits_by_template_and_never_by_key() {
    let redis = RedisServer::start().await;
    let port = redis.port().to_string();
    let mut process = Shop::start(&[("SMART_REDIS_PORT", &port)]);
    let shop = process.client().await;
    hit(shop, "/products/7").await;
    let page = get(shop, "/metrics").await.into_body();
    let page = String::from_utf8(page.to_vec()).unwrap();
    let line = page.lines().find(|line| {
        line.starts_with("smart_cache_requests_total{") && line.contains("result=\"hit\"")
    });
    assert!(
        line.is_some_and(|line| line.contains("product:{product.id}")),
        "{page}"
    );
    assert!(page.contains("smart_cache_store_seconds_bucket{"), "{page}");
    assert!(!page.contains("product:7"), "{page}");
}
