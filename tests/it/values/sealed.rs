//! What is stored, sealed by keys that only the application has.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Path};
use axum::http::Request;
use axum::{Router, routing::get};
use http_body_util::BodyExt as _;
use smart_cache::Timeout::Never;
use smart_cache::{Builder, CacheError, ConfigError, SmartCache, smart_cache};
use smart_cache_tests::harness::{RedisServer, namespace};
use tower::ServiceExt as _;

use super::stage::Stage;

const ONE: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const TWO: &str = "//////////////////////////////////////////8=";
const SECRET: &str = "attack at dawn";

#[smart_cache("secret:{id}")]
async fn secret(Path(id): Path<u64>) -> String {
    format!("{SECRET} {id}")
}

async fn ask(cache: &SmartCache) -> (String, String) {
    let app = Router::new()
        .route("/{id}", get(secret))
        .layer(Extension(cache.clone()));
    let request = Request::get("/7").body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    let status = response.headers()["cache-status"]
        .to_str()
        .unwrap()
        .to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// Everything that the server keeps, as it keeps it.
async fn stored(server: &RedisServer) -> String {
    let mut connection = server.connection().await;
    let names: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query_async(&mut connection)
        .await
        .unwrap();
    let mut all = String::new();
    for name in names {
        let value: redis::Value = redis::cmd("GET")
            .arg(&name)
            .query_async(&mut connection)
            .await
            .unwrap_or(redis::Value::Nil);
        if let redis::Value::BulkString(bytes) = value {
            all.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
    all
}

#[tokio::test]
async fn nothing_readable_leaves_the_process() {
    let stage = Stage::redis().await;
    let Stage::Redis(server) = &stage else {
        panic!("a server")
    };
    let namespace = namespace();
    let node = async |keys: Option<&str>| {
        let mut builder = stage.builder().namespace(&namespace);
        if let Some(keys) = keys {
            builder = builder.encryption_key(keys);
        }
        builder.build().await.unwrap()
    };
    let one = node(Some(ONE)).await;
    let values = one.values();
    values.set("k", SECRET, Never).await.unwrap();
    values
        .set("pin", &271_828_182_845_i64, Never)
        .await
        .unwrap();
    values.set_bytes("raw", SECRET, Never).await.unwrap();
    assert!(values.add("added", SECRET, Never).await.unwrap());
    let plain = values
        .get_or_set("plain")
        .compute(async || SECRET.to_owned());
    assert_eq!(plain.await.unwrap(), SECRET);
    let tagged = values
        .get_or_set("tagged")
        .tags("t")
        .compute(async || SECRET.to_owned());
    assert_eq!(tagged.await.unwrap(), SECRET);
    assert!(ask(&one).await.0.contains("stored"));
    smart_cache_tests::harness::eventually("the page to be stored", async || {
        ask(&one).await.0.contains("hit").then_some(())
    })
    .await;
    let everything = stored(server).await;
    assert!(!everything.contains("attack"), "{everything}");
    assert!(!everything.contains("271828182845"), "{everything}");

    // Another node with the key reads all of it.
    let other = node(Some(ONE)).await;
    let there = other.values();
    assert_eq!(
        there.get::<String>("k").await.unwrap().as_deref(),
        Some(SECRET)
    );
    assert_eq!(
        there.get::<i64>("pin").await.unwrap(),
        Some(271_828_182_845)
    );
    assert_eq!(
        there.get_bytes("raw").await.unwrap().as_deref(),
        Some(SECRET.as_bytes())
    );
    assert_eq!(
        there.get::<String>("added").await.unwrap().as_deref(),
        Some(SECRET)
    );
    let unused = async || "computed".to_owned();
    assert_eq!(
        there.get_or_set("plain").compute(unused).await.unwrap(),
        SECRET
    );
    assert_eq!(
        there
            .get_or_set("tagged")
            .tags("t")
            .compute(unused)
            .await
            .unwrap(),
        SECRET
    );
    assert!(ask(&other).await.0.contains("hit"));
    // A value moves with its seal.
    assert_eq!(values.incr_version("k", 1).await.unwrap(), 2);
    assert_eq!(
        values
            .version(2)
            .get::<String>("k")
            .await
            .unwrap()
            .as_deref(),
        Some(SECRET)
    );
    assert_eq!(values.get::<String>("k").await.unwrap(), None);
    // The server cannot count with what it cannot read.
    assert!(matches!(
        values.incr("pin", 1).await,
        Err(CacheError::Sealed { .. })
    ));

    // A node with another key, or none, finds nothing; one with both keys finds everything.
    let both = node(Some(&format!("{TWO},{ONE}"))).await;
    assert_eq!(
        both.values().get::<i64>("pin").await.unwrap(),
        Some(271_828_182_845)
    );
    assert!(ask(&both).await.0.contains("hit"));
    for keys in [Some(TWO), None] {
        let stranger = node(keys).await;
        assert_eq!(stranger.values().get::<i64>("pin").await.unwrap(), None);
        assert_eq!(
            stranger.values().get::<String>("added").await.unwrap(),
            None
        );
        assert_eq!(stranger.stats().values.undecodable, 2, "{keys:?}");
    }
    let stranger = node(Some(TWO)).await;
    assert!(!ask(&stranger).await.0.contains("hit"));
    assert_eq!(stranger.stats().corrupt, 1);
}

#[tokio::test]
async fn what_was_put_there_unsealed_or_elsewhere_is_a_miss() {
    let stage = Stage::redis().await;
    let Stage::Redis(server) = &stage else {
        panic!("a server")
    };
    let namespace = namespace();
    let sealed = stage
        .builder()
        .namespace(&namespace)
        .encryption_key(ONE)
        .build()
        .await
        .unwrap();
    let values = sealed.values();
    let name = |key: &str| format!("{{{namespace}}}:v:1:{key}");
    assert_eq!(server.cli(&["set", &name("forged"), "1"]).trim(), "OK");
    assert_eq!(values.get::<i64>("forged").await.unwrap(), None);
    values.set("admin", &true, Never).await.unwrap();
    values.set("guest", &false, Never).await.unwrap();
    assert_eq!(
        server
            .cli(&["copy", &name("admin"), &name("guest"), "replace"])
            .trim(),
        "1"
    );
    assert_eq!(values.get::<bool>("guest").await.unwrap(), None);
    assert_eq!(values.get::<bool>("admin").await.unwrap(), Some(true));
    assert_eq!(sealed.stats().values.undecodable, 2);
}

#[tokio::test]
async fn a_key_that_cannot_be_used_stops_the_start_and_is_not_shown() {
    let refused = |builder: Builder| async { builder.build().await.err() };
    let builder = SmartCache::builder().timeout(Duration::from_secs(1));
    let why = refused(builder.encryption_key("my secret")).await.unwrap();
    assert!(matches!(why, ConfigError::Invalid { .. }));
    assert!(!why.to_string().contains("my secret"), "{why}");
}
