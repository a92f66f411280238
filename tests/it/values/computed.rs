//! `get_or_set`: one computation for all who miss, and never one from before a clear.
//!
//! Over 400 lines: the same stores go through all of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use smart_cache::Timeout::{Default, Never};
use smart_cache::backend::Ttl;
use smart_cache::{Cache, ComputeError, SmartCache, depends_on};
use smart_cache_tests::harness::{Gate, eventually, within};
use tokio::sync::oneshot;

use super::on_each_store;
use super::stage::Stage;

/// Counts what is computed.
#[derive(Clone, Debug, std::default::Default)]
struct Runs(Arc<AtomicU64>);

impl Runs {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

async fn computed(values: &Cache, runs: &Runs, tags: &[&str]) -> u64 {
    let tags: Vec<&str> = tags.to_vec();
    let run = values.get_or_set("k").tags(tags);
    run.compute(async || runs.next()).await.unwrap()
}

async fn a_value_is_computed_once_and_is_seen_by_all_methods(stage: &Stage) {
    let (values, runs) = (stage.values().await, Runs::default());
    assert_eq!(computed(&values, &runs, &[]).await, 1);
    assert_eq!(computed(&values, &runs, &[]).await, 1);
    assert_eq!(values.get::<u64>("k").await.unwrap(), Some(1));
    assert!(values.has_key("k").await.unwrap());
    assert!(
        matches!(values.ttl("k").await.unwrap(), Ttl::After(left) if left > Duration::from_secs(200))
    );
    assert_eq!(values.incr("k", 40).await.unwrap(), 41);
    assert_eq!(computed(&values, &runs, &[]).await, 41);
    assert!(values.delete("k").await.unwrap());
    assert_eq!(computed(&values, &runs, &[]).await, 2);
    values.set("k", &77, Default).await.unwrap();
    assert_eq!(computed(&values, &runs, &[]).await, 77);
    values.clear().await.unwrap();
    assert_eq!(computed(&values, &runs, &[]).await, 3);
    let never = values.get_or_set("n").timeout(Never);
    assert_eq!(never.compute(async || 5_u64).await.unwrap(), 5);
    assert_eq!(values.ttl("n").await.unwrap(), Ttl::Never);
}

async fn a_timeout_of_zero_computes_and_stores_nothing(stage: &Stage) {
    let (values, runs) = (stage.values().await, Runs::default());
    for expected in 1..=2 {
        let value = values.get_or_set("k").timeout(Duration::ZERO);
        assert_eq!(value.compute(async || runs.next()).await.unwrap(), expected);
    }
    assert!(!values.has_key("k").await.unwrap());
}

async fn a_tagged_value_falls_with_its_key_and_each_tag(stage: &Stage) {
    let smart = stage.smart().await;
    let (values, runs, tags) = (smart.values(), Runs::default(), ["a", "b"]);
    assert_eq!(computed(&values, &runs, &tags).await, 1);
    assert_eq!(computed(&values, &runs, &tags).await, 1);
    for (expected, tag) in (2..).zip(["a", "b", "k"]) {
        smart.clear(tag).await.unwrap();
        assert_eq!(
            computed(&values, &runs, &tags).await,
            expected,
            "after {tag}"
        );
        assert_eq!(
            computed(&values, &runs, &tags).await,
            expected,
            "after {tag}"
        );
    }
    smart.clear("other").await.unwrap();
    assert_eq!(computed(&values, &runs, &tags).await, 4);
    values.delete("k").await.unwrap();
    assert_eq!(computed(&values, &runs, &tags).await, 5);
    values.clear().await.unwrap();
    assert_eq!(computed(&values, &runs, &tags).await, 6);
    smart.clear_all().await.unwrap();
    assert_eq!(computed(&values, &runs, &tags).await, 7);
    values.set("k", &1, Default).await.unwrap();
    assert_eq!(computed(&values, &runs, &tags).await, 8);
}

async fn a_tag_that_was_found_clears_too(stage: &Stage) {
    let smart = stage.smart().await;
    let (values, runs) = (smart.values(), Runs::default());
    let page = async || {
        let list = values.get_or_set("list").compute(async || {
            assert!(depends_on("product:7"));
            runs.next()
        });
        list.await.unwrap()
    };
    // A tag that is found for the first time is younger than the ticket: the store is refused.
    page().await;
    let before = page().await;
    assert_eq!(page().await, before);
    assert_eq!(values.get::<u64>("list").await.unwrap(), None);
    smart.clear("product:7").await.unwrap();
    assert_eq!(page().await, before + 1);
    values.delete("list").await.unwrap();
    assert_eq!(page().await, before + 2);
}

async fn a_value_inside_another_one_is_depended_on(stage: &Stage) {
    let smart = stage.smart().await;
    let (values, inner, outer) = (smart.values(), Runs::default(), Runs::default());
    let page = async || {
        let page = values.get_or_set("page").tags("pages").compute(async || {
            let part = values.get_or_set("part").tags("parts");
            let part = part.compute(async || inner.next()).await.unwrap();
            format!("{}:{part}", outer.next())
        });
        page.await.unwrap()
    };
    eventually("the page to be stored", async || {
        let before = outer.count();
        page().await;
        (outer.count() == before).then_some(())
    })
    .await;
    // A hit of the part counts as well as its computation did.
    for key in ["parts", "part"] {
        let before = (outer.count(), inner.count());
        smart.clear(key).await.unwrap();
        page().await;
        assert_eq!(
            (outer.count(), inner.count()),
            (before.0 + 1, before.1 + 1),
            "{key}"
        );
    }
    smart.clear("pages").await.unwrap();
    let before = (outer.count(), inner.count());
    page().await;
    assert_eq!((outer.count(), inner.count()), (before.0 + 1, before.1));
    smart.clear("parts").await.unwrap();
    page().await;
    assert_eq!((outer.count(), inner.count()), (before.0 + 2, before.1 + 1));
}

/// Starts a computation that waits at a gate, does something meanwhile, and lets it go on.
async fn meanwhile(values: &Cache, tags: &[&str], act: impl AsyncFnOnce()) -> u64 {
    let (begun, has_begun) = oneshot::channel();
    let (go, gone) = oneshot::channel();
    let (values, tags) = (
        values.clone(),
        tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>(),
    );
    let computing = tokio::spawn(async move {
        let value = values.get_or_set("k").tags(tags);
        let value = value.compute(async || {
            begun.send(()).unwrap();
            gone.await.unwrap();
            1_u64
        });
        value.await.unwrap()
    });
    within("the computation to begin", has_begun).await.unwrap();
    act().await;
    go.send(()).unwrap();
    within("the computation", computing).await.unwrap()
}

async fn what_was_computed_before_a_delete_is_never_stored(stage: &Stage) {
    let smart = stage.smart().await;
    let (values, runs) = (smart.values(), Runs::default());
    // The computing caller gets its value all the same; nobody after it does.
    for tags in [&[][..], &["t"]] {
        let old = meanwhile(&values, tags, async || {
            values.delete("k").await.unwrap();
        });
        assert_eq!(old.await, 1);
        assert_eq!(values.get::<u64>("k").await.unwrap(), None, "{tags:?}");
        runs.0.store(50, Ordering::SeqCst);
        assert_eq!(computed(&values, &runs, tags).await, 51, "{tags:?}");
        values.delete("k").await.unwrap();
        meanwhile(&values, tags, async || values.clear().await.unwrap()).await;
        assert_eq!(values.get::<u64>("k").await.unwrap(), None, "{tags:?}");
        assert_eq!(computed(&values, &runs, tags).await, 52, "{tags:?}");
        values.delete("k").await.unwrap();
        meanwhile(&values, tags, async || {
            values.delete_many(["other", "k"]).await.unwrap();
        })
        .await;
        assert_eq!(values.get::<u64>("k").await.unwrap(), None, "{tags:?}");
        values.delete("k").await.unwrap();
    }
}

async fn what_was_computed_before_a_clear_of_its_tag_is_never_stored(stage: &Stage) {
    let smart = stage.smart().await;
    let (values, runs) = (smart.values(), Runs::default());
    runs.0.store(50, Ordering::SeqCst);
    for (expected, clear) in (51..).zip(["t", "k"]) {
        let old = meanwhile(&values, &["t"], async || smart.clear(clear).await.unwrap());
        assert_eq!(old.await, 1);
        assert_eq!(computed(&values, &runs, &["t"]).await, expected, "{clear}");
        smart.clear("t").await.unwrap();
    }
    meanwhile(&values, &["t"], async || smart.clear_all().await.unwrap()).await;
    assert_eq!(computed(&values, &runs, &["t"]).await, 53);
}

/// The tag is known to nobody but the computation when it is cleared.
async fn what_found_a_tag_before_a_clear_of_it_is_never_stored(stage: &Stage) {
    let smart = stage.smart().await;
    let (values, runs, opened) = (smart.values(), Runs::default(), Gate::opened());
    let list = |gate: &Gate| {
        let (values, runs, gate) = (values.clone(), runs.clone(), gate.clone());
        let computing = tokio::spawn(async move {
            let list = values.get_or_set("list").compute(async || {
                assert!(depends_on("product:7"));
                gate.pass().await;
                runs.next()
            });
            list.await.unwrap()
        });
        async move { within("the list", computing).await.unwrap() }
    };
    // At first the store has never heard of the tag, then it has.
    for tag in ["new", "known"] {
        let gate = Gate::new();
        let old = list(&gate);
        gate.begun().await;
        smart.clear("product:7").await.unwrap();
        gate.open();
        let old = old.await;
        assert_eq!(list(&opened).await, old + 1, "{tag}");
        eventually("the list to be stored", async || {
            let before = runs.count();
            list(&opened).await;
            (runs.count() == before).then_some(())
        })
        .await;
        smart.clear("product:7").await.unwrap();
    }
}

async fn a_value_that_is_set_meanwhile_wins(stage: &Stage) {
    let values = stage.values().await;
    let got = meanwhile(&values, &[], async || {
        values.set("k", &7, Default).await.unwrap();
    });
    // The set has outlawed the computation, whose own caller still has its value.
    assert_eq!(got.await, 1);
    assert_eq!(values.get::<u64>("k").await.unwrap(), Some(7));
    values.delete("k").await.unwrap();
    let got = meanwhile(&values, &[], async || {
        assert!(values.add("k", &8, Default).await.unwrap());
    });
    assert_eq!(got.await, 8);
    assert_eq!(values.get::<u64>("k").await.unwrap(), Some(8));
}

async fn many_callers_compute_once(stage: &Stage) {
    let values = stage.values().await;
    for (key, tags) in [("plain", &[][..]), ("tagged", &["t"])] {
        let (runs, gate) = (Runs::default(), Gate::new());
        let callers: Vec<_> = (0..2_000)
            .map(|_| {
                let (values, runs, gate) = (values.clone(), runs.clone(), gate.clone());
                tokio::spawn(async move {
                    let value = values.get_or_set(key).tags(tags.to_vec());
                    let value = value.compute(async || {
                        gate.pass().await;
                        runs.next()
                    });
                    value.await.unwrap()
                })
            })
            .collect();
        gate.begun().await;
        gate.open_for_all();
        let mut last = 0;
        for caller in callers {
            last = last.max(within("a caller", caller).await.unwrap());
        }
        assert_eq!((last, runs.count()), (1, 1), "{key}");
    }
}

async fn an_error_is_never_stored(stage: &Stage) {
    let values = stage.values().await;
    for tags in [&[][..], &["t"]] {
        let key = format!("k{}", tags.len());
        let failing = values.get_or_set(&key).tags(tags.to_vec());
        let failed = failing.try_compute(async || Err::<u64, _>("no")).await;
        assert!(matches!(failed, Err(ComputeError::Compute("no"))));
        assert!(!values.has_key(&key).await.unwrap());
        let next = values.get_or_set(&key).tags(tags.to_vec());
        let next = next.try_compute(async || Ok::<u64, &str>(2)).await;
        assert_eq!(next.unwrap(), 2);
        let kept = values.get_or_set(&key).tags(tags.to_vec());
        let kept = kept.try_compute(async || Err::<u64, _>("again")).await;
        assert_eq!(kept.unwrap(), 2);
    }
}

async fn a_cancelled_caller_hands_over(stage: &Stage) {
    let values = stage.values().await;
    let (begun, has_begun) = oneshot::channel();
    let first = tokio::spawn({
        let values = values.clone();
        async move {
            let value = values.get_or_set("k").compute(async || {
                begun.send(()).unwrap();
                std::future::pending::<u64>().await
            });
            value.await.unwrap()
        }
    });
    within("the first to begin", has_begun).await.unwrap();
    let second = tokio::spawn({
        let values = values.clone();
        async move {
            values
                .get_or_set("k")
                .compute(async || 2_u64)
                .await
                .unwrap()
        }
    });
    tokio::task::yield_now().await;
    first.abort();
    assert_eq!(within("the second", second).await.unwrap(), 2);
    assert_eq!(values.get::<u64>("k").await.unwrap(), Some(2));
}

async fn what_an_older_build_wrote_is_computed_anew(stage: &Stage) {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct New {
        name: String,
        age: u8,
    }
    let smart = stage.smart().await;
    let values = smart.values();
    values.set("k", &("old", 1, 2), Default).await.unwrap();
    let new = New {
        name: "n".to_owned(),
        age: 1,
    };
    let value = values.get_or_set("k").compute(async || New {
        name: "n".to_owned(),
        age: 1,
    });
    assert_eq!(value.await.unwrap(), new);
    assert_eq!(values.get::<New>("k").await.unwrap(), Some(new));
    assert_eq!(smart.stats().values.undecodable, 1);
    let tagged = values.get_or_set("k").tags("t");
    assert_eq!(
        tagged.compute(async || "text".to_owned()).await.unwrap(),
        "text"
    );
    let other = values.get_or_set("k").tags("t");
    assert_eq!(other.compute(async || 5_u8).await.unwrap(), 5);
    let again = values.get_or_set("k").tags("t");
    assert_eq!(again.compute(async || 6_u8).await.unwrap(), 5);
}

async fn an_empty_key_or_tag_is_an_error(stage: &Stage) {
    let values = stage.values().await;
    let refused = |outcome| matches!(outcome, Err(smart_cache::CacheError::EmptyKey));
    assert!(refused(values.get_or_set("").compute(async || 1).await));
    assert!(refused(
        values.get_or_set("k").tags("").compute(async || 1).await
    ));
}

on_each_store!(
    a_value_is_computed_once_and_is_seen_by_all_methods,
    a_timeout_of_zero_computes_and_stores_nothing,
    a_tagged_value_falls_with_its_key_and_each_tag,
    a_tag_that_was_found_clears_too,
    a_value_inside_another_one_is_depended_on,
    what_was_computed_before_a_delete_is_never_stored,
    what_was_computed_before_a_clear_of_its_tag_is_never_stored,
    what_found_a_tag_before_a_clear_of_it_is_never_stored,
    a_value_that_is_set_meanwhile_wins,
    many_callers_compute_once,
    an_error_is_never_stored,
    a_cancelled_caller_hands_over,
    what_an_older_build_wrote_is_computed_anew,
    an_empty_key_or_tag_is_an_error,
);

#[tokio::test]
async fn a_cache_that_is_off_computes_every_time() {
    let (values, runs) = (SmartCache::off().values(), Runs::default());
    assert_eq!(computed(&values, &runs, &[]).await, 1);
    assert_eq!(computed(&values, &runs, &["t"]).await, 2);
}
