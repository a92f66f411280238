//! For the tests of programs that cache: what an answer's `Cache-Status` says, what happened to
//! each key, and a backend that fails on command.
//!
//! A test gives its router a cache of its own, [`SmartCache::in_memory`](crate::SmartCache::in_memory)
//! for the whole protocol without a server, [`SmartCache::off`](crate::SmartCache::off) for handlers
//! that run each time, or one of the two below:
//!
//! - [`Recorder`] counts hits, misses, stores and clears of each key, and says when every answer
//!   that may be stored is stored.
//! - [`Failing`] stands in front of any backend and refuses or falls silent when told to.
//!
//! - [`assert_clears`] and [`assert_cached`] ask in one line whether a write clears what it must,
//!   and whether a page is cached at all.
//!
//! # Example
//! ```
//! use axum::{Extension, Router, body::Body, extract::Path, routing::get};
//! use smart_cache::{smart_cache, testing};
//! use tower::ServiceExt as _;
//!
//! #[smart_cache("double:{n}")]
//! async fn double(Path(n): Path<u64>) -> String {
//!     (2 * n).to_string()
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let (cache, recorder) = testing::recorded();
//! let app = Router::new().route("/double/{n}", get(double)).layer(Extension(cache.clone()));
//! let ask = || axum::http::Request::get("/double/21").body(Body::empty()).unwrap();
//!
//! testing::assert_stored(&app.clone().oneshot(ask()).await.unwrap());
//! recorder.idle().await; // an answer leaves before it is stored
//! testing::assert_hit(&app.clone().oneshot(ask()).await.unwrap());
//!
//! cache.clear("double:21").await.unwrap();
//! testing::assert_stored(&app.oneshot(ask()).await.unwrap());
//! assert_eq!(recorder.of("double:21").clears, 1);
//! # }
//! ```

pub(crate) mod clears;
mod failing;
mod recorder;
mod status;

pub use clears::{assert_cached, assert_clears};
pub use failing::{Failing, Fault};
pub use recorder::{Recorder, Seen, recorded};
pub use status::{
    Status, assert_bypass, assert_collapsed, assert_expired, assert_hit, assert_stored, status,
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The methods that a source file declares in the block that begins with this line.
    fn methods<'s>(source: &'s str, begins: &str) -> BTreeSet<&'s str> {
        let (_, rest) = source.split_once(begins).expect("the block is there");
        let (block, _) = rest.split_once("\n}\n").expect("it ends");
        block
            .lines()
            .filter_map(|line| line.strip_prefix("    fn "))
            .filter_map(|rest| rest.split(['(', '<']).next())
            .collect()
    }

    /// A method with a body of its own in the trait is forgotten easily, and then a cache under test
    /// behaves unlike the one in production.
    #[test]
    fn every_method_of_a_backend_and_of_a_store_is_passed_on() {
        let backend = include_str!("../backend/mod.rs");
        let values = include_str!("../backend/values.rs");
        let backend = methods(backend, "\npub trait Backend");
        let values = methods(values, "\npub trait ValueStore");
        assert!(backend.contains("expire") && backend.contains("hold"));
        assert!(values.contains("longest_value"));
        for (source, begins, expected) in [
            (
                include_str!("recorder.rs"),
                "\nimpl Backend for Recorder {",
                &backend,
            ),
            (
                include_str!("failing.rs"),
                "\nimpl Backend for Failing {",
                &backend,
            ),
            (
                include_str!("recorder/values.rs"),
                "\nimpl ValueStore for Values {",
                &values,
            ),
            (
                include_str!("failing/values.rs"),
                "\nimpl ValueStore for Values {",
                &values,
            ),
        ] {
            assert_eq!(methods(source, begins), *expected, "{begins}");
        }
    }
}
