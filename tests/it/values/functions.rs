//! `#[smart_cached]` on functions that are no handlers.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Path};
use axum::http::Request;
use axum::{Router, routing::get};
use http_body_util::BodyExt as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use smart_cache::{BackendKind, SmartCache, depends_on, smart_cache, smart_cached};
use smart_cache_tests::harness::{Gate, within};
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

use super::stage::Stage;

/// Functions find their cache by its name, or by the handler around them.
async fn named(name: &str) -> SmartCache {
    let cache = own().await;
    smart_cache::install_named(name, cache.clone()).unwrap();
    cache
}

async fn own() -> SmartCache {
    let builder = SmartCache::builder().backend(BackendKind::Memory);
    builder.settle(Duration::ZERO).build().await.unwrap()
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Profile {
    id: u64,
    run: u64,
}

/// Counts runs; what it is cannot change a value.
#[derive(Debug, Default)]
struct Db(AtomicU64);

impl Db {
    fn run(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    #[smart_cached("profile:{id}", cache = "methods")]
    async fn profile(#[key(ignore)] &self, id: u64) -> Profile {
        Profile {
            id,
            run: self.run(),
        }
    }
}

#[smart_cached("profile:{id}", ttl = "1h", tags("profiles"), cache = "plain")]
async fn profile(#[key(ignore)] db: &Db, id: u64) -> Profile {
    Profile { id, run: db.run() }
}

#[tokio::test]
async fn a_value_is_computed_once_until_its_key_or_tag_is_cleared() {
    let (cache, db) = (named("plain").await, Db::default());
    assert_eq!(profile(&db, 7).await, Profile { id: 7, run: 1 });
    assert_eq!(profile(&db, 7).await, Profile { id: 7, run: 1 });
    assert_eq!(profile(&db, 8).await.run, 2);
    cache.clear("profile:7").await.unwrap();
    assert_eq!(profile(&db, 7).await.run, 3);
    assert_eq!(profile(&db, 8).await.run, 2);
    cache.clear("profiles").await.unwrap();
    assert_eq!(profile(&db, 8).await.run, 4);
    cache.values().delete("profile:8").await.unwrap();
    assert_eq!(profile(&db, 8).await.run, 5);
}

#[smart_cached("gated:{id}", tags("gates"), cache = "gated_memory")]
async fn gated_in_memory(#[key(ignore)] gate: Gate, id: u64) -> u64 {
    id * 100 + gate.pass().await
}

#[smart_cached("gated:{id}", tags("gates"), cache = "gated_redis")]
async fn gated_in_redis(#[key(ignore)] gate: Gate, id: u64) -> u64 {
    id * 100 + gate.pass().await
}

/// The cache that the function finds by its name; `call` is the function with 7.
async fn nothing_is_kept_from_before_a_clear(
    cache: &SmartCache,
    call: impl Fn(&Gate) -> JoinHandle<u64>,
) {
    let gate = Gate::new();
    for key in ["gated:7", "gates"] {
        let first = gate.runs() + 1;
        let old = call(&gate);
        gate.begun().await;
        cache.clear(key).await.unwrap();
        gate.open();
        let old = within("the one in the middle", old).await.unwrap();
        assert_eq!(old, 700 + first, "{key}");
        // Lets the next one through; there is one, or what was cleared would be the answer.
        gate.open();
        let next = within("the next one", call(&gate)).await.unwrap();
        assert_eq!(next, 700 + first + 1, "{key}");
        gate.begun().await;
        let kept = within("a hit", call(&gate)).await.unwrap();
        assert_eq!(kept, next, "{key}");
        cache.clear(key).await.unwrap();
    }
    let runs = gate.runs();
    let callers: Vec<_> = (0..2_000).map(|_| call(&gate)).collect();
    gate.begun().await;
    gate.open_for_all();
    for caller in callers {
        let value = within("a caller", caller).await.unwrap();
        assert_eq!(value, 700 + runs + 1);
    }
    assert_eq!(gate.runs(), runs + 1);
}

#[tokio::test]
async fn a_function_is_run_once_for_all_and_again_after_a_clear_in_its_middle() {
    let cache = Stage::Memory.smart().await;
    smart_cache::install_named("gated_memory", cache.clone()).unwrap();
    nothing_is_kept_from_before_a_clear(&cache, |gate| {
        tokio::spawn(gated_in_memory(gate.clone(), 7))
    })
    .await;
}

#[tokio::test]
async fn a_function_in_redis_is_run_once_for_all_and_again_after_a_clear_in_its_middle() {
    let stage = Stage::redis().await;
    let cache = stage.smart().await;
    smart_cache::install_named("gated_redis", cache.clone()).unwrap();
    nothing_is_kept_from_before_a_clear(&cache, |gate| {
        tokio::spawn(gated_in_redis(gate.clone(), 7))
    })
    .await;
}

#[smart_cached("profile:{id}", tags("profiles"), cache = "written")]
async fn written(#[key(ignore)] db: &Db, id: u64) -> u64 {
    id * 100 + db.run()
}

#[tokio::test]
async fn a_function_of_a_key_that_its_task_is_writing_runs_every_time() {
    let (cache, db) = (named("written").await, Db::default());
    assert_eq!(written(&db, 7).await, 701);
    for key in ["profile:7", "profiles"] {
        let runs = db.0.load(Ordering::SeqCst);
        let collector = smart_cache::hooks::Collector::of(&cache);
        collector.add(key);
        assert_eq!(written(&db, 7).await, 701 + runs);
        collector.discard();
        assert_eq!(written(&db, 7).await, 701);
    }
}

type Outcome<T> = Result<T, String>;

#[smart_cached("result:{id}", cache = "results")]
async fn result(#[key(ignore)] db: &Db, id: u64) -> Outcome<u64> {
    match db.run() {
        run if run % 2 == 1 => Err(format!("{id} failed"))?,
        run => Ok(run),
    }
}

#[tokio::test]
async fn of_a_result_only_ok_is_stored_whatever_it_is_called() {
    let (_, db) = (named("results").await, Db::default());
    assert_eq!(result(&db, 1).await, Err("1 failed".to_owned()));
    assert_eq!(result(&db, 1).await, Ok(2));
    assert_eq!(result(&db, 1).await, Ok(2));
    assert_eq!(result(&db, 2).await, Err("2 failed".to_owned()));
}

#[tokio::test]
async fn methods_and_equal_keys_of_two_functions_do_not_meet() {
    let (_, db) = (named("methods").await, Db::default());
    assert_eq!(db.profile(7).await.run, 1);
    assert_eq!(db.profile(7).await.run, 1);
    mod other {
        #[smart_cache::smart_cached("profile:{id}", cache = "methods")]
        pub(super) async fn profile(id: u64) -> String {
            format!("other {id}")
        }
    }
    assert_eq!(other::profile(7).await, "other 7");
    assert_eq!(db.profile(7).await.run, 1);
}

#[smart_cached("joined:{a}:{b}", cache = "joined")]
async fn joined(#[key(ignore)] db: &Db, a: String, b: &str) -> (u64, String) {
    (db.run(), a + b)
}

#[tokio::test]
async fn a_separator_in_a_value_is_no_boundary() {
    let (_, db) = (named("joined").await, Db::default());
    assert_eq!(
        joined(&db, "a:b".to_owned(), "c").await,
        (1, "a:bc".to_owned())
    );
    assert_eq!(
        joined(&db, "a".to_owned(), "b:c").await,
        (2, "ab:c".to_owned())
    );
    assert_eq!(joined(&db, "a:b".to_owned(), "c").await.0, 1);
}

#[smart_cached("generic:{value}", cache = "generic")]
async fn generic<T, U>(
    #[key(ignore)] db: &Db,
    value: T,
    #[key(other.len())] other: Vec<U>,
) -> Option<U>
where
    T: Display,
    U: Serialize + DeserializeOwned + Clone,
{
    db.run();
    other.first().cloned()
}

#[tokio::test]
async fn generic_arguments_and_parts_of_arguments_count() {
    let (_, db) = (named("generic").await, Db::default());
    assert_eq!(generic(&db, 1, vec![1_u8]).await, Some(1));
    assert_eq!(generic(&db, 1_u64, vec![2_u8]).await, Some(2));
    assert_eq!(generic(&db, 1, vec![3_u8]).await, Some(1));
    assert_eq!(generic(&db, 1, vec![3_u8, 4]).await, Some(3));
    assert_eq!(
        generic(&db, 1, vec!["x".to_owned()]).await.as_deref(),
        Some("x")
    );
    assert_eq!(generic(&db, 1, Vec::<u8>::new()).await, None);
    assert_eq!(db.run(), 6);
}

#[smart_cached("fibonacci:{n}", cache = "fibonacci")]
async fn fibonacci(#[key(ignore)] db: &Db, n: u64) -> u64 {
    db.run();
    if n < 2 {
        return n;
    }
    Box::pin(fibonacci(db, n - 1)).await + Box::pin(fibonacci(db, n - 2)).await
}

#[tokio::test]
async fn a_function_may_call_itself() {
    let (_, db) = (named("fibonacci").await, Db::default());
    assert_eq!(fibonacci(&db, 30).await, 832_040);
    // What depends on keys that are new is stored the second time, so each level runs twice.
    let runs = db.run();
    assert!(runs < 62, "{runs}");
    smart_cache_tests::harness::eventually("everything to be stored", async || {
        let before = db.0.load(Ordering::SeqCst);
        fibonacci(&db, 30).await;
        (db.0.load(Ordering::SeqCst) == before).then_some(())
    })
    .await;
}

#[smart_cached("name:{id}")]
async fn name_of(id: u64) -> String {
    static RUNS: Db = Db(AtomicU64::new(0));
    depends_on(format!("person:{id}"));
    format!("name {}", RUNS.run())
}

#[smart_cache("page:{id}")]
async fn page(Path(id): Path<u64>) -> String {
    static RUNS: Db = Db(AtomicU64::new(0));
    format!("page {} {}", RUNS.run(), name_of(id).await)
}

/// The page is in the router's own cache, and so is what it calls; it falls with what that one found.
#[tokio::test]
async fn a_function_inside_a_handler_uses_its_cache_and_is_depended_on() {
    let cache = own().await;
    let app = Router::new()
        .route("/{id}", get(page))
        .layer(Extension(cache.clone()));
    let ask = async || {
        let request = Request::get("/7").body(Body::empty()).unwrap();
        let response = app.clone().oneshot(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    };
    let settled = async || {
        smart_cache_tests::harness::eventually("the page to stay", async || {
            let (one, two) = (ask().await, ask().await);
            (one == two).then_some(one)
        })
        .await
    };
    let first = settled().await;
    for key in ["person:7", "name:7", "page:7"] {
        let before = settled().await;
        cache.clear(key).await.unwrap();
        let after = settled().await;
        assert_ne!(before, after, "{key}");
        let same_name = before.ends_with(after.split_once("name").unwrap().1);
        assert_eq!(same_name, key == "page:7", "{key}: {before}, {after}");
    }
    assert_ne!(first, settled().await);
}

#[tokio::test]
async fn functions_are_listed() {
    let registry = smart_cache::registry();
    let listed = registry
        .functions
        .iter()
        .find(|function| function.name == "result");
    assert_eq!(listed.unwrap().key, "result:{id}");
}
