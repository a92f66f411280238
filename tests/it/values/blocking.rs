//! Every method for code that cannot await, called from anywhere.

use std::collections::HashMap;
use std::time::Duration;

use smart_cache::Timeout::{Default, Never};
use smart_cache::backend::Ttl;
use smart_cache::{BackendError, CacheError, ComputeError};

use super::stage::Stage;

/// Blocks the very thread that drives this test.
async fn every_method_blocks_and_does_the_same(stage: &Stage) {
    let smart = stage.smart().await;
    let (values, asynchronous) = (smart.values().blocking(), smart.values());
    values.set("k", &1, Default).unwrap();
    assert_eq!(asynchronous.get::<i32>("k").await.unwrap(), Some(1));
    assert_eq!(values.get::<i32>("k").unwrap(), Some(1));
    assert!(values.has_key("k").unwrap());
    assert!(!values.add("k", &2, Default).unwrap());
    assert_eq!(values.incr("k", 2).unwrap(), 3);
    assert_eq!(values.decr("k", 1).unwrap(), 2);
    assert!(matches!(
        values.incr("none", 1),
        Err(CacheError::Missing { .. })
    ));
    assert!(values.touch("k", Duration::from_secs(50)).unwrap());
    assert!(matches!(values.ttl("k").unwrap(), Ttl::After(_)));
    assert!(values.persist("k").unwrap());
    assert_eq!(values.incr_version("k", 1).unwrap(), 2);
    assert_eq!(values.version(2).get::<i32>("k").unwrap(), Some(2));
    assert_eq!(values.version(2).decr_version("k", 1).unwrap(), 1);
    assert!(
        values
            .set_many([("a", 1), ("b", 2)], Never)
            .unwrap()
            .is_empty()
    );
    let both = HashMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]);
    assert_eq!(values.get_many::<i32>(["a", "b", "c"]).unwrap(), both);
    match values.keys("*") {
        Ok(keys) => assert_eq!(keys, ["a", "b", "k"]),
        Err(why) => assert!(is_unsupported(&why), "{why}"),
    }
    assert_eq!(values.make_key("a").unwrap(), "1:a");
    values.set_bytes("raw", "bytes", Never).unwrap();
    assert!(values.add_bytes("raw2", "bytes", Never).unwrap());
    assert_eq!(
        values.get_bytes("raw").unwrap().as_deref(),
        Some(&b"bytes"[..])
    );
    assert_eq!(values.get_many_bytes(["raw"]).unwrap().len(), 1);
    assert!(values.delete("raw").unwrap());
    assert_eq!(values.delete_many(["a", "b", "c"]).unwrap(), 2);
    let compute = |tags: &[&str], value: u8| {
        let question = values.get_or_set("computed").tags(tags.to_vec());
        question.compute(move || value).unwrap()
    };
    assert_eq!((compute(&[], 1), compute(&[], 2)), (1, 1));
    assert_eq!((compute(&["t"], 3), compute(&["t"], 4)), (3, 3));
    smart.clear_blocking("t").unwrap();
    assert_eq!(compute(&["t"], 5), 5);
    let tried = || values.get_or_set("tried").timeout(Never);
    let failed = tried().try_compute(|| Err::<u8, _>("no"));
    assert!(matches!(failed, Err(ComputeError::Compute("no"))));
    assert_eq!(tried().try_compute(|| Ok::<u8, &str>(7)).unwrap(), 7);
    let kept = tried().try_compute(|| Err::<u8, _>("again"));
    assert_eq!(kept.unwrap(), 7);
    assert_eq!(values.ttl("tried").unwrap(), Ttl::Never);
    values.clear().unwrap();
    assert!(!values.has_key("a").unwrap());
    assert_eq!(compute(&["t"], 6), 6);
    values.close().unwrap();
    assert!(!values.has_key("k").unwrap());
    assert_eq!(values, asynchronous.blocking());
}

/// All of these calls are made within one poll of the task that drives this test. Tokio gives a task
/// a budget for each poll, and whoever has used his up is told to wait for the next: here there is
/// none while the thread blocks.
async fn a_task_makes_any_number_of_calls_before_it_awaits_again(stage: &Stage) {
    let values = stage.values().await.blocking();
    values.set("n", &0, Never).unwrap();
    for n in 1..=300 {
        assert_eq!(values.incr("n", 1).unwrap(), n);
    }
}

/// A store that cannot list says so.
fn is_unsupported(why: &CacheError) -> bool {
    matches!(why, CacheError::Backend(BackendError::Unsupported(_)))
}

super::on_each_store!(
    every_method_blocks_and_does_the_same,
    a_task_makes_any_number_of_calls_before_it_awaits_again,
);

#[test]
fn it_works_without_any_runtime() {
    let values = smart_cache::SmartCache::in_memory().values().blocking();
    values.set("k", &1, Default).unwrap();
    assert_eq!(values.get::<i32>("k").unwrap(), Some(1));
}
