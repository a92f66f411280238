//! A cache that keeps nothing: every read misses, every write succeeds.

use smart_cache::Timeout::Default;
use smart_cache::backend::Ttl;
use smart_cache::{CacheError, SmartCache};

#[tokio::test]
async fn nothing_is_kept_and_nothing_fails() {
    let values = SmartCache::off().values();
    values.set("k", &1, Default).await.unwrap();
    assert_eq!(values.get::<i32>("k").await.unwrap(), None);
    assert!(values.add("k", &1, Default).await.unwrap());
    assert!(values.add("k", &1, Default).await.unwrap());
    assert!(!values.has_key("k").await.unwrap());
    assert!(!values.touch("k", Default).await.unwrap());
    assert!(!values.delete("k").await.unwrap());
    assert!(
        values
            .set_many([("a", 1)], Default)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(values.get_many::<i32>(["a"]).await.unwrap().is_empty());
    assert_eq!(values.ttl("k").await.unwrap(), Ttl::Missing);
    assert!(values.keys("*").all().await.unwrap().is_empty());
    assert!(matches!(
        values.incr("k", 1).await,
        Err(CacheError::Missing { .. })
    ));
    values.clear().await.unwrap();
}
