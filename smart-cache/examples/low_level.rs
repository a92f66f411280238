//! Values under keys: Django's low-level cache, typed.
//!
//! `cargo run -p smart-cache --example low_level`

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use smart_cache::{CacheError, SmartCache, Timeout, cache, clear_cache};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Profile {
    name: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    smart_cache::install(SmartCache::in_memory())?;
    let ada = Profile { name: "Ada".into() };

    cache().set("profile:1", &ada, Timeout::Default).await?; // 300 s
    assert_eq!(cache().get("profile:1").await?, Some(ada));
    assert_eq!(cache().get::<Profile>("profile:2").await?, None);

    // A stored nothing is something.
    cache().set("winner", &None::<u64>, Timeout::Never).await?;
    assert_eq!(cache().get::<Option<u64>>("winner").await?, Some(None));

    // Only the first of two gets the job.
    let minute = Duration::from_secs(60);
    assert!(cache().add("nightly", &1, minute).await?);
    assert!(!cache().add("nightly", &1, minute).await?);

    // Counters are the server's; a missing one is an error.
    cache().set("visits", &41, Timeout::Never).await?;
    assert_eq!(cache().incr("visits", 1).await?, 42);
    let missing = cache().incr("no such counter", 1).await;
    assert!(matches!(missing, Err(CacheError::Missing { .. })));

    let pairs = [("a", 1), ("b", 2)];
    cache().set_many(pairs, Timeout::Default).await?; // one round trip
    let found: HashMap<String, u8> = cache().get_many(["a", "b", "c"]).await?;
    assert_eq!(found.len(), 2);

    // However many miss at once, on whatever node, one computes.
    let total = || cache().get_or_set("total").tags("orders");
    let first: u64 = total().compute(async || 10).await?;
    clear_cache("orders").await?; // what was computed before this is never seen after it
    let second: u64 = total().compute(async || 11).await?;
    println!("total: {first}, then {second}");
    assert_eq!((first, second), (10, 11));
    Ok(())
}

#[cfg(test)]
#[test]
fn values_behave_as_the_example_says() {
    main().unwrap();
}
