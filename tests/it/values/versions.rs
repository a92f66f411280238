//! Versions of keys, and names made by a function.

use std::time::Duration;

use smart_cache::Timeout::{Default, Never};
use smart_cache::backend::Ttl;
use smart_cache::{BackendError, CacheError};

use super::on_each_store;
use super::stage::Stage;

async fn versions_see_nothing_of_each_other(stage: &Stage) {
    let values = stage.values().await;
    let (one, two) = (values.version(1), values.version(2));
    values.set("k", "one", Default).await.unwrap();
    assert_eq!(
        one.get::<String>("k").await.unwrap().as_deref(),
        Some("one")
    );
    assert_eq!(two.get::<String>("k").await.unwrap(), None);
    assert!(two.add("k", "two", Default).await.unwrap());
    assert!(!two.touch("other", Default).await.unwrap());
    assert_eq!(two.get_many::<String>(["k"]).await.unwrap()["k"], "two");
    assert!(two.delete("k").await.unwrap());
    assert!(one.has_key("k").await.unwrap());
    // Version 1 of "1:k" is not version 11 of "k".
    values.version(11).set("k", &1, Default).await.unwrap();
    assert!(!one.has_key("1:k").await.unwrap());
}

async fn a_value_moves_to_another_version_with_its_time(stage: &Stage) {
    let values = stage.values().await;
    values.set("k", &7, Duration::from_secs(100)).await.unwrap();
    values.version(2).set("k", "replaced", Never).await.unwrap();
    assert_eq!(values.incr_version("k", 1).await.unwrap(), 2);
    assert_eq!(values.get::<i32>("k").await.unwrap(), None);
    let two = values.version(2);
    assert_eq!(two.get::<i32>("k").await.unwrap(), Some(7));
    assert!(
        matches!(two.ttl("k").await.unwrap(), Ttl::After(left) if left <= Duration::from_secs(100))
    );
    assert_eq!(two.decr_version("k", 2).await.unwrap(), 0);
    assert_eq!(values.version(0).get::<i32>("k").await.unwrap(), Some(7));
    assert_eq!(values.version(0).incr_version("k", 0).await.unwrap(), 0);
    assert_eq!(values.version(0).get::<i32>("k").await.unwrap(), Some(7));
}

async fn a_version_that_cannot_be_is_an_error(stage: &Stage) {
    let values = stage.values().await;
    assert!(matches!(
        values.incr_version("k", 1).await,
        Err(CacheError::Missing { .. })
    ));
    values.set("k", &7, Default).await.unwrap();
    assert!(matches!(
        values.decr_version("k", 2).await,
        Err(CacheError::Overflow { .. })
    ));
    let last = values.version(u32::MAX);
    last.set("k", &8, Default).await.unwrap();
    assert!(matches!(
        last.incr_version("k", 1).await,
        Err(CacheError::Overflow { .. })
    ));
    assert_eq!(last.get::<i32>("k").await.unwrap(), Some(8));
    assert_eq!(values.get::<i32>("k").await.unwrap(), Some(7));
}

async fn the_default_version_and_the_names_can_be_chosen(stage: &Stage) {
    let smart = stage
        .builder()
        .values_version(5)
        .key_function(|key, version| format!("{key}/{version}"))
        .build()
        .await
        .unwrap();
    let values = smart.values();
    assert_eq!(values.make_key("k").await.unwrap(), "k/5");
    assert_eq!(values.version(6).make_key("k").await.unwrap(), "k/6");
    values.set("k", &1, Default).await.unwrap();
    assert_eq!(values.version(5).get::<i32>("k").await.unwrap(), Some(1));
    assert_eq!(values.incr_version("k", 1).await.unwrap(), 6);
    // The names cannot be turned back into keys, and an empty list would be a lie.
    let listed = values.keys("*").all().await;
    assert!(matches!(
        listed,
        Err(CacheError::Backend(BackendError::Unsupported(_)))
    ));
    let plain = stage.values().await;
    assert_eq!(plain.make_key("k").await.unwrap(), "1:k");
}

on_each_store!(
    versions_see_nothing_of_each_other,
    a_value_moves_to_another_version_with_its_time,
    a_version_that_cannot_be_is_an_error,
    the_default_version_and_the_names_can_be_chosen,
);
