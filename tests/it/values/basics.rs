//! Set, get, add, delete, alone and for many keys.

use std::collections::HashMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use smart_cache::Timeout::{Default, Never};
use smart_cache::backend::Ttl;

use super::on_each_store;
use super::stage::Stage;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Profile {
    name: String,
    tags: Vec<String>,
    score: Option<f64>,
}

fn profile() -> Profile {
    Profile {
        name: "Zoë".to_owned(),
        tags: vec![String::new(), "b".to_owned()],
        score: None,
    }
}

async fn a_value_comes_back_as_it_was(stage: &Stage) {
    let values = stage.values().await;
    values.set("p", &profile(), Default).await.unwrap();
    assert_eq!(values.get::<Profile>("p").await.unwrap(), Some(profile()));
    assert!(values.has_key("p").await.unwrap());
    values.set("p", "other", Never).await.unwrap();
    assert_eq!(
        values.get::<String>("p").await.unwrap().as_deref(),
        Some("other")
    );
}

async fn a_missing_value_is_told_from_a_stored_none(stage: &Stage) {
    let values = stage.values().await;
    assert_eq!(values.get::<Option<u8>>("k").await.unwrap(), None);
    assert!(!values.has_key("k").await.unwrap());
    values.set("k", &None::<u8>, Default).await.unwrap();
    assert_eq!(values.get::<Option<u8>>("k").await.unwrap(), Some(None));
    assert!(values.has_key("k").await.unwrap());
}

async fn add_stores_only_where_there_is_none(stage: &Stage) {
    let values = stage.values().await;
    assert!(values.add("k", &1, Default).await.unwrap());
    assert!(!values.add("k", &2, Default).await.unwrap());
    assert_eq!(values.get::<i32>("k").await.unwrap(), Some(1));
    let racers = (0..20).map(|n| {
        let values = values.clone();
        tokio::spawn(async move { values.add("race", &n, Default).await.unwrap() })
    });
    let mut winners = 0;
    for racer in racers.collect::<Vec<_>>() {
        winners += i32::from(racer.await.unwrap());
    }
    assert_eq!(winners, 1);
}

async fn delete_says_whether_there_was_a_value(stage: &Stage) {
    let values = stage.values().await;
    values.set("k", &1, Default).await.unwrap();
    assert!(values.delete("k").await.unwrap());
    assert!(!values.delete("k").await.unwrap());
    assert_eq!(values.get::<i32>("k").await.unwrap(), None);
    assert_eq!(values.ttl("k").await.unwrap(), Ttl::Missing);
}

async fn many_are_set_read_and_deleted_by_the_callers_keys(stage: &Stage) {
    let values = stage.values().await;
    let written = HashMap::from([("a", 1), ("b", 2), ("c", 3)]);
    let failed = values.set_many(&written, Default).await.unwrap();
    assert!(failed.is_empty());
    let found = values
        .get_many::<i32>(["a", "b", "nothing", "a"])
        .await
        .unwrap();
    assert_eq!(
        found,
        HashMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)])
    );
    assert_eq!(values.delete_many(["a", "nothing", "c"]).await.unwrap(), 2);
    assert_eq!(
        values.get_many::<i32>(["a", "b", "c"]).await.unwrap().len(),
        1
    );
    let nothing: [&str; 0] = [];
    assert!(values.get_many::<i32>(nothing).await.unwrap().is_empty());
    assert_eq!(values.delete_many(nothing).await.unwrap(), 0);
    assert!(
        values
            .set_many([("a", 1); 0], Default)
            .await
            .unwrap()
            .is_empty()
    );
}

async fn bytes_stay_as_they_are(stage: &Stage) {
    let values = stage.values().await;
    for bytes in [&b""[..], b"\0\xff\xc1", b"text", b"5", b"-0", b"007"] {
        values.set_bytes("k", bytes, Default).await.unwrap();
        assert_eq!(values.get_bytes("k").await.unwrap().as_deref(), Some(bytes));
        let found = values.get_many_bytes(["k"]).await.unwrap();
        assert_eq!(found["k"], Bytes::from_static(bytes));
    }
    assert!(values.add_bytes("new", "b", Default).await.unwrap());
    assert!(!values.add_bytes("new", "c", Default).await.unwrap());
    let both = [("x", Bytes::from("1")), ("y", Bytes::from("2"))];
    assert!(values.set_many_bytes(both, Never).await.unwrap().is_empty());
    assert_eq!(values.get::<u8>("y").await.unwrap(), Some(2));
}

async fn what_does_not_decode_is_a_miss_and_counted(stage: &Stage) {
    let smart = stage.smart().await;
    let values = smart.values();
    values.set("k", &profile(), Default).await.unwrap();
    assert_eq!(values.get::<u8>("k").await.unwrap(), None);
    values
        .set_bytes("k", "neither number nor ours", Default)
        .await
        .unwrap();
    assert_eq!(values.get::<String>("k").await.unwrap(), None);
    assert!(values.get_many::<String>(["k"]).await.unwrap().is_empty());
    let stats = smart.stats().values;
    assert_eq!((stats.hits, stats.misses, stats.undecodable), (0, 3, 3));
    assert!(values.has_key("k").await.unwrap());
}

async fn clear_removes_the_namespace_and_nothing_else(stage: &Stage) {
    let (values, other) = (stage.values().await, stage.values().await);
    for n in 0..1_200 {
        values.set(format!("k{n}"), &n, Never).await.unwrap();
    }
    values.version(2).set("k", &2, Never).await.unwrap();
    other.set("k", &1, Never).await.unwrap();
    values.clear().await.unwrap();
    if stage.lists_names() {
        assert_eq!(values.keys("*").all().await.unwrap(), Vec::<String>::new());
    }
    assert_eq!(values.get::<i32>("k").await.unwrap(), None);
    assert_eq!(values.version(2).get::<i32>("k").await.unwrap(), None);
    assert_eq!(other.get::<i32>("k").await.unwrap(), Some(1));
}

async fn keys_are_listed_by_glob(stage: &Stage) {
    let values = stage.values().await;
    let written = ["user:1", "user:2", "user:*", "shop:1", "größe", "ゑ"];
    for key in written {
        values.set(key, &1, Never).await.unwrap();
    }
    for n in 0..700 {
        values
            .version(2)
            .set(format!("user:{n}"), &1, Never)
            .await
            .unwrap();
    }
    if !stage.lists_names() {
        // Never an empty success.
        values.keys("*").all().await.unwrap_err();
        return;
    }
    let listed = async |glob: &str| values.keys(glob).all().await.unwrap();
    assert_eq!(listed("user:*").await, ["user:*", "user:1", "user:2"]);
    assert_eq!(listed("user:[12]").await, ["user:1", "user:2"]);
    assert_eq!(listed(r"user:\*").await, ["user:*"]);
    assert_eq!(listed("?hop:1").await, ["shop:1"]);
    assert_eq!(listed("gr*e").await, ["größe"]);
    assert_eq!(listed("*").await.len(), written.len());
    assert_eq!(values.version(2).keys("*").all().await.unwrap().len(), 700);
    assert!(listed("nothing*").await.is_empty());
}

async fn a_cache_that_was_closed_opens_again(stage: &Stage) {
    let values = stage.values().await;
    values.close().await;
    values.set("k", &1, Default).await.unwrap();
    values.close().await;
    values.close().await;
    assert_eq!(values.get::<i32>("k").await.unwrap(), Some(1));
}

on_each_store!(
    a_value_comes_back_as_it_was,
    a_missing_value_is_told_from_a_stored_none,
    add_stores_only_where_there_is_none,
    delete_says_whether_there_was_a_value,
    many_are_set_read_and_deleted_by_the_callers_keys,
    bytes_stay_as_they_are,
    what_does_not_decode_is_a_miss_and_counted,
    clear_removes_the_namespace_and_nothing_else,
    keys_are_listed_by_glob,
    a_cache_that_was_closed_opens_again,
);
