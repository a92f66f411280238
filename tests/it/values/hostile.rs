//! Keys and values that nobody expects.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use smart_cache::Timeout::{Default, Never};
use smart_cache::{BackendError, CacheError};

use super::on_each_store;
use super::stage::Stage;

async fn any_text_is_a_key(stage: &Stage) {
    let values = stage.values().await;
    let long = "x".repeat(10_000);
    let longer = format!("{long}y");
    let keys = [
        " ",
        "a b",
        "\0",
        "\n\r\t\x1b\x7f",
        "ключ",
        "鍵",
        "🔑",
        "עִבְרִית",
        "{}",
        "{other}:v:1:k",
        "*",
        "[a-z]?",
        "%00",
        "../../etc/passwd",
        "'; drop table smart_cache; --",
        "a:b",
        "=",
        "#",
        long.as_str(),
        longer.as_str(),
    ];
    for (n, key) in keys.iter().enumerate() {
        values.set(key, &n, Never).await.unwrap();
    }
    for (n, key) in keys.iter().enumerate() {
        assert_eq!(values.get::<usize>(key).await.unwrap(), Some(n), "{key:?}");
    }
    assert_eq!(
        values.get_many::<usize>(keys).await.unwrap().len(),
        keys.len()
    );
    if stage.lists_names() {
        let mut listed = values.keys("*").all().await.unwrap();
        let mut expected: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
        listed.sort();
        expected.sort();
        assert_eq!(listed, expected);
    }
    assert_eq!(values.delete_many(keys).await.unwrap(), keys.len() as u64);
}

async fn an_empty_key_is_an_error_everywhere(stage: &Stage) {
    let values = stage.values().await;
    let refused =
        |outcome: Result<(), CacheError>| assert!(matches!(outcome, Err(CacheError::EmptyKey)));
    refused(values.get::<u8>("").await.map(drop));
    refused(values.set("", &1, Default).await);
    refused(values.add("", &1, Default).await.map(drop));
    refused(values.touch("", Default).await.map(drop));
    refused(values.delete("").await.map(drop));
    refused(values.has_key("").await.map(drop));
    refused(values.incr("", 1).await.map(drop));
    refused(values.incr_version("", 1).await.map(drop));
    refused(values.ttl("").await.map(drop));
    refused(values.get_many::<u8>(["a", ""]).await.map(drop));
    refused(
        values
            .set_many([("a", 1), ("", 2)], Default)
            .await
            .map(drop),
    );
    refused(values.delete_many([""]).await.map(drop));
    refused(values.make_key("").await.map(drop));
    assert!(!values.has_key("a").await.unwrap());
}

async fn numbers_of_any_kind_come_back(stage: &Stage) {
    let values = stage.values().await;
    values.set("nan", &f64::NAN, Default).await.unwrap();
    assert!(values.get::<f64>("nan").await.unwrap().unwrap().is_nan());
    values
        .set("inf", &f32::NEG_INFINITY, Default)
        .await
        .unwrap();
    assert_eq!(
        values.get::<f32>("inf").await.unwrap(),
        Some(f32::NEG_INFINITY)
    );
    values.set("u128", &u128::MAX, Default).await.unwrap();
    assert_eq!(values.get::<u128>("u128").await.unwrap(), Some(u128::MAX));
    values.set("i128", &i128::MIN, Default).await.unwrap();
    assert_eq!(values.get::<i128>("i128").await.unwrap(), Some(i128::MIN));
    values.set("u64", &u64::MAX, Default).await.unwrap();
    assert_eq!(values.get::<u64>("u64").await.unwrap(), Some(u64::MAX));
    assert_eq!(values.get::<i64>("u64").await.unwrap(), None);
}

async fn options_within_options_are_told_apart(stage: &Stage) {
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Nested {
        inner: Option<Option<Vec<Option<u8>>>>,
    }
    let values = stage.values().await;
    let all: [Option<Option<Option<u8>>>; 4] =
        [None, Some(None), Some(Some(None)), Some(Some(Some(7)))];
    for (n, value) in all.iter().enumerate() {
        let key = format!("{n}");
        values.set(&key, value, Default).await.unwrap();
        assert_eq!(values.get(&key).await.unwrap(), Some(*value), "{value:?}");
        let tagged = values.get_or_set(format!("t{n}")).tags("t");
        assert_eq!(tagged.compute(async || *value).await.unwrap(), *value);
        let kept = values.get_or_set(format!("t{n}")).tags("t");
        let kept = kept.compute(async || -> Option<Option<Option<u8>>> { panic!("{value:?}") });
        assert_eq!(kept.await.unwrap(), *value);
    }
    for inner in [None, Some(None), Some(Some(vec![None, Some(0)]))] {
        let nested = Nested { inner };
        values.set("nested", &nested, Default).await.unwrap();
        assert_eq!(values.get("nested").await.unwrap(), Some(nested));
    }
}

async fn a_value_that_cannot_be_written_is_an_error(stage: &Stage) {
    struct Refuses;
    impl Serialize for Refuses {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }
    let values = stage.values().await;
    values.set("k", &1, Default).await.unwrap();
    let outcome = values.set("k", &Refuses, Default).await;
    assert!(
        matches!(outcome, Err(CacheError::Encode { .. })),
        "{outcome:?}"
    );
    assert_eq!(values.get::<i32>("k").await.unwrap(), Some(1));
}

async fn maps_with_any_keys_come_back(stage: &Stage) {
    let values = stage.values().await;
    let map = BTreeMap::from([((1, 'a'), Some("x".to_owned())), ((2, 'b'), None)]);
    values.set("map", &map, Default).await.unwrap();
    assert_eq!(values.get("map").await.unwrap(), Some(map));
}

/// Either it is kept, or the error says how much could be.
async fn a_value_of_a_hundred_megabytes_is_kept_or_refused(stage: &Stage) {
    let values = stage.values().await;
    let large = Bytes::from(vec![b'x'; 100 << 20]);
    match values.set_bytes("large", large.clone(), Default).await {
        Ok(()) => assert!(values.get_bytes("large").await.unwrap() == Some(large)),
        Err(CacheError::Backend(BackendError::TooLarge { limit, .. })) => {
            assert!(limit < 100 << 20);
            assert!(!values.has_key("large").await.unwrap());
        }
        Err(other) => panic!("{other}"),
    }
    values.set("small", &1, Default).await.unwrap();
    assert_eq!(values.get::<i32>("small").await.unwrap(), Some(1));
}

on_each_store!(
    any_text_is_a_key,
    an_empty_key_is_an_error_everywhere,
    numbers_of_any_kind_come_back,
    options_within_options_are_told_apart,
    a_value_that_cannot_be_written_is_an_error,
    maps_with_any_keys_come_back,
    a_value_of_a_hundred_megabytes_is_kept_or_refused,
);
