//! When values go by themselves.

use std::time::Duration;

use smart_cache::Timeout::{self, Default, Never};
use smart_cache::backend::Ttl;

use super::on_each_store;
use super::stage::{Stage, gone};

const SECOND: Duration = Duration::from_secs(1);

fn is_about(ttl: Ttl, expected: Duration) -> bool {
    matches!(ttl, Ttl::After(left) if left <= expected && left + 30 * SECOND > expected)
}

async fn the_default_is_three_hundred_seconds_or_what_was_chosen(stage: &Stage) {
    let values = stage.values().await;
    values.set("k", &1, Default).await.unwrap();
    assert!(is_about(values.ttl("k").await.unwrap(), 300 * SECOND));
    let chosen = stage
        .builder()
        .default_timeout(900 * SECOND)
        .build()
        .await
        .unwrap();
    chosen.values().add("k", &1, Default).await.unwrap();
    assert!(is_about(
        chosen.values().ttl("k").await.unwrap(),
        900 * SECOND
    ));
    let never = stage
        .builder()
        .default_timeout(Never)
        .build()
        .await
        .unwrap();
    never.values().set_many([("k", 1)], Default).await.unwrap();
    assert_eq!(never.values().ttl("k").await.unwrap(), Ttl::Never);
}

async fn a_value_goes_when_its_time_is_over(stage: &Stage) {
    let values = stage.values().await;
    let time = Duration::from_millis(150);
    values.set("set", &1, time).await.unwrap();
    assert!(values.has_key("set").await.unwrap());
    let took = gone(&values, "set").await;
    assert!(took > Duration::from_millis(50), "{took:?}");
    values.add("add", &1, time).await.unwrap();
    values.set_many([("many", 1)], time).await.unwrap();
    values.set("stays", &1, Never).await.unwrap();
    gone(&values, "add").await;
    gone(&values, "many").await;
    assert!(values.add("set", &2, Never).await.unwrap());
    assert!(values.has_key("stays").await.unwrap());
    assert_eq!(values.ttl("stays").await.unwrap(), Ttl::Never);
}

async fn zero_removes(stage: &Stage) {
    let (values, zero) = (stage.values().await, Duration::ZERO);
    for key in ["set", "touch", "many"] {
        values.set(key, &1, Never).await.unwrap();
    }
    values.set("set", &2, zero).await.unwrap();
    assert!(values.touch("touch", zero).await.unwrap());
    assert!(!values.touch("touch", zero).await.unwrap());
    assert!(
        values
            .set_many([("many", 2)], zero)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(values.add("add", &1, zero).await.unwrap());
    for key in ["set", "touch", "many", "add"] {
        assert!(!values.has_key(key).await.unwrap(), "{key}");
    }
    values.set("there", &1, Never).await.unwrap();
    assert!(!values.add("there", &2, zero).await.unwrap());
    assert!(values.has_key("there").await.unwrap());
}

async fn times_that_no_server_can_count_are_brought_within_its_reach(stage: &Stage) {
    let values = stage.values().await;
    values.set("huge", &1, Duration::MAX).await.unwrap();
    assert!(
        matches!(values.ttl("huge").await.unwrap(), Ttl::After(left) if left > 90 * 365 * 86_400 * SECOND)
    );
    assert!(
        values
            .touch("huge", Duration::from_secs(u64::MAX / 1000))
            .await
            .unwrap()
    );
    assert_eq!(values.get::<i32>("huge").await.unwrap(), Some(1));
    values
        .set("tiny", &1, Duration::from_nanos(1))
        .await
        .unwrap();
    gone(&values, "tiny").await;
}

async fn touch_gives_a_new_time_and_says_whether_there_is_a_value(stage: &Stage) {
    let values = stage.values().await;
    assert!(!values.touch("k", Default).await.unwrap());
    assert!(!values.persist("k").await.unwrap());
    values.set("k", &1, Never).await.unwrap();
    assert!(values.touch("k", 50 * SECOND).await.unwrap());
    assert!(is_about(values.ttl("k").await.unwrap(), 50 * SECOND));
    assert!(values.persist("k").await.unwrap());
    assert_eq!(values.ttl("k").await.unwrap(), Ttl::Never);
    // What stays for ever already is there all the same.
    assert!(values.touch("k", Timeout::Never).await.unwrap());
    assert!(values.touch("k", Default).await.unwrap());
    assert!(is_about(values.ttl("k").await.unwrap(), 300 * SECOND));
    assert!(values.touch("k", Duration::from_millis(30)).await.unwrap());
    gone(&values, "k").await;
    assert!(!values.touch("k", Default).await.unwrap());
    assert_eq!(values.get::<i32>("k").await.unwrap(), None);
}

on_each_store!(
    the_default_is_three_hundred_seconds_or_what_was_chosen,
    a_value_goes_when_its_time_is_over,
    zero_removes,
    times_that_no_server_can_count_are_brought_within_its_reach,
    touch_gives_a_new_time_and_says_whether_there_is_a_value,
);
