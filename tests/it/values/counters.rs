//! Counting.

use std::time::Duration;

use smart_cache::CacheError;
use smart_cache::Timeout::{Default, Never};
use smart_cache::backend::Ttl;

use super::on_each_store;
use super::stage::Stage;

async fn numbers_are_counted_with(stage: &Stage) {
    let values = stage.values().await;
    values.set("n", &41, Default).await.unwrap();
    assert_eq!(values.incr("n", 1).await.unwrap(), 42);
    assert_eq!(values.decr("n", 2).await.unwrap(), 40);
    assert_eq!(values.incr("n", -50).await.unwrap(), -10);
    assert_eq!(values.decr("n", -5).await.unwrap(), -5);
    assert_eq!(values.get::<i64>("n").await.unwrap(), Some(-5));
    assert_eq!(values.get::<i8>("n").await.unwrap(), Some(-5));
    assert_eq!(
        values.get_bytes("n").await.unwrap().as_deref(),
        Some(&b"-5"[..])
    );
    values.set_bytes("text", "7", Default).await.unwrap();
    assert_eq!(values.incr("text", 0).await.unwrap(), 7);
}

async fn counting_keeps_the_time(stage: &Stage) {
    let values = stage.values().await;
    values.set("n", &1, Duration::from_secs(100)).await.unwrap();
    values.incr("n", 1).await.unwrap();
    assert!(
        matches!(values.ttl("n").await.unwrap(), Ttl::After(left) if left <= Duration::from_secs(100))
    );
    values.set("n", &1, Never).await.unwrap();
    values.decr("n", 1).await.unwrap();
    assert_eq!(values.ttl("n").await.unwrap(), Ttl::Never);
}

async fn what_is_missing_or_no_number_is_an_error(stage: &Stage) {
    let values = stage.values().await;
    assert!(matches!(
        values.incr("n", 1).await,
        Err(CacheError::Missing { .. })
    ));
    assert!(matches!(
        values.decr("n", 1).await,
        Err(CacheError::Missing { .. })
    ));
    assert!(!values.has_key("n").await.unwrap());
    let refuses = async || {
        matches!(
            values.incr("n", 1).await,
            Err(CacheError::NotAnInteger { .. })
        )
    };
    values.set("n", "text", Default).await.unwrap();
    assert!(refuses().await);
    values.set("n", &1.0, Default).await.unwrap();
    assert!(refuses().await);
    values.set("n", &true, Default).await.unwrap();
    assert!(refuses().await);
    values.set("n", &u64::MAX, Default).await.unwrap();
    assert!(refuses().await);
    assert_eq!(values.get::<u64>("n").await.unwrap(), Some(u64::MAX));
    for text in [
        "",
        " 5",
        "5 ",
        "+5",
        "05",
        "-0",
        "1e3",
        "9223372036854775808",
    ] {
        values.set_bytes("n", text, Default).await.unwrap();
        assert!(refuses().await, "{text:?}");
        assert_eq!(
            values.get_bytes("n").await.unwrap().as_deref(),
            Some(text.as_bytes())
        );
    }
}

async fn a_sum_that_does_not_fit_changes_nothing(stage: &Stage) {
    let values = stage.values().await;
    let overflows = |outcome| matches!(outcome, Err(CacheError::Overflow { .. }));
    values.set("n", &(i64::MAX - 1), Default).await.unwrap();
    assert_eq!(values.incr("n", 1).await.unwrap(), i64::MAX);
    assert!(overflows(values.incr("n", 1).await));
    assert_eq!(values.get::<i64>("n").await.unwrap(), Some(i64::MAX));
    values.set("n", &(i64::MIN + 1), Default).await.unwrap();
    assert_eq!(values.decr("n", 1).await.unwrap(), i64::MIN);
    assert!(overflows(values.decr("n", 1).await));
    assert!(overflows(values.incr("n", i64::MIN).await));
    assert!(overflows(values.decr("n", i64::MIN).await));
    assert_eq!(values.get::<i64>("n").await.unwrap(), Some(i64::MIN));
}

async fn no_count_is_lost_among_many(stage: &Stage) {
    let values = stage.values().await;
    values.set("n", &0, Never).await.unwrap();
    let counting = (0..50).map(|_| {
        let values = values.clone();
        tokio::spawn(async move {
            for _ in 0..10 {
                values.incr("n", 2).await.unwrap();
            }
        })
    });
    for task in counting.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(values.get::<i64>("n").await.unwrap(), Some(1_000));
}

on_each_store!(
    numbers_are_counted_with,
    counting_keeps_the_time,
    what_is_missing_or_no_number_is_an_error,
    a_sum_that_does_not_fit_changes_nothing,
    no_count_is_lost_among_many,
);
