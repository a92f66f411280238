//! Caches by name.

use smart_cache::Timeout::Default;
use smart_cache::{BackendKind, ConfigError, SmartCache, caches};

#[tokio::test]
async fn a_name_is_the_same_cache_each_time_and_unknown_ones_list_the_known() {
    for name in ["values_one", "values_two"] {
        let cache = SmartCache::builder().backend(BackendKind::Memory);
        smart_cache::install_named(name, cache.build().await.unwrap()).unwrap();
    }
    let one = caches("values_one").unwrap();
    one.set("k", &1, Default).await.unwrap();
    assert_eq!(caches("values_one").unwrap(), one);
    assert_eq!(
        caches("values_one").unwrap().get::<i32>("k").await.unwrap(),
        Some(1)
    );
    let two = caches("values_two").unwrap();
    assert_ne!(two, one);
    assert_eq!(two.get::<i32>("k").await.unwrap(), None);
    assert_ne!(one.version(2), one);
    let Err(ConfigError::UnknownCache { name, known }) = caches("values_three") else {
        panic!("there is no such cache")
    };
    assert_eq!(name, "values_three");
    assert!(
        known.contains("values_one") && known.contains("values_two"),
        "{known}"
    );
}
