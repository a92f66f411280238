//! How often each method of the low-level API calls a store of values: what the guide says.

use std::sync::Arc;
use std::time::Duration;

use smart_cache::Timeout::Default;
use smart_cache::backend::{KeyValueBackend, KeyValueOptions, ValueStore};
use smart_cache::{Cache, SmartCache, StartFlush};

use super::plain::Plain;
use super::stepped::Stepped;

struct Counting {
    values: Cache,
    stores: [Arc<Stepped>; 2],
}

impl Counting {
    async fn start() -> Self {
        let store = || {
            let map: Arc<dyn ValueStore> = Arc::new(Plain::default());
            Stepped::at_liberty(&map)
        };
        let stores = [store(), store()];
        let [entries, values] = stores.clone();
        let backend = KeyValueBackend::new(entries, KeyValueOptions::default()).unwrap();
        let builder = SmartCache::builder()
            .app_version("test")
            .flush(StartFlush::Never)
            .settle(Duration::ZERO)
            .custom_backend(Arc::new(backend.with_values(values)));
        let smart = builder.build().await.unwrap();
        let counting = Self {
            values: smart.values(),
            stores,
        };
        // Its build is announced by then.
        counting.values.set("k", &1, Default).await.unwrap();
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        counting.calls();
        counting
    }

    fn calls(&self) -> usize {
        self.stores.iter().map(|store| store.calls()).sum()
    }
}

#[tokio::test]
async fn each_method_calls_a_store_as_often_as_the_guide_says() {
    let counting = Counting::start().await;
    let values = &counting.values;
    macro_rules! check {
        ($calls:literal, $call:expr) => {
            $call.await.unwrap();
            assert_eq!(counting.calls(), $calls, "{}", stringify!($call));
        };
    }
    check!(1, values.get::<i32>("k"));
    check!(1, values.has_key("k"));
    check!(1, values.get_many::<i32>(["k", "l", "m"]));
    check!(2, values.set("k", &1, Default));
    check!(2, values.set_many([("k", 1), ("l", 2)], Default));
    check!(1, values.add("new", &1, Default));
    check!(2, values.add("new", &1, Default));
    check!(2, values.touch("k", Default));
    check!(2, values.ttl("k"));
    check!(2, values.delete("k"));
    check!(2, values.delete_many(["l", "new"]));
    check!(1, values.add("n", &1, Default));
    check!(1, values.incr("n", 1));
    check!(3, values.incr_version("n", 1));
    // Computed without tags: the value, and whether it is still proved.
    values.get_or_set("c").compute(async || 1).await.unwrap();
    counting.calls();
    check!(2, values.get_or_set("c").compute(async || 2));
    check!(2, values.get::<i32>("c"));
    // The count takes its proof off, once.
    check!(5, values.incr("c", 1));
    check!(1, values.incr("c", 1));
    check!(1, values.get_or_set("c").compute(async || 2));
    // With tags: an entry and its tokens are one look.
    let tagged = || values.get_or_set("t").tags("tag");
    tagged().compute(async || 1).await.unwrap();
    counting.calls();
    check!(1, tagged().compute(async || 2));
}
