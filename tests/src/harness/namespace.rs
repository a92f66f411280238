//! A namespace that no other test uses.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A fresh namespace: unique in this process, among processes, and among runs.
///
/// Tests that share a server stay apart by it, as applications that share a Redis do. The name
/// holds only letters, digits and dashes.
///
/// # Example
///
/// ```
/// use smart_cache_tests::harness::namespace;
///
/// assert_ne!(namespace(), namespace());
/// ```
#[must_use]
pub fn namespace() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    // Process ids are used again sooner or later; the time tells two runs apart.
    let nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    format!("test-{process:x}-{nanos:x}-{number:x}")
}
