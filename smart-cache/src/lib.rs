//! Cache whole axum responses *for ever*, and be *right for ever*.
//!
//! One attribute on a handler keeps its response (status, headers, body) in a namespaced Redis,
//! with no expiry, for every node; one call after a write makes it gone, everywhere, exactly, in
//! one round trip.
//!
//! ```
//! use axum::{Json, Router, extract::Path, routing::{get, put}};
//! use smart_cache::{clear_cache, smart_cache};
//!
//! #[smart_cache("product:{id}", tags("products"))]
//! async fn product(Path(id): Path<u64>) -> Json<u64> {
//!     Json(id) // the expensive query; runs once until somebody clears "product:7" or "products"
//! }
//!
//! async fn rename(Path(id): Path<u64>) {
//!     // ... write the row and commit, then:
//!     if let Err(why) = clear_cache(format!("product:{id}")).await {
//!         eprintln!("{why}"); // repeated in the background until it lands
//!     }
//! }
//!
//! let app: Router = Router::new().route("/products/{id}", get(product).put(rename));
//! ```
//!
//! With no configuration it uses the Redis on `127.0.0.1:6379`, or, if nothing listens there, the
//! memory of the process. `SMART_REDIS_*` variables say otherwise; [`start`] reads them in `main`.
//!
//! # Where to read on
//! [The guide](guide) has everything in the order in which it is needed, from the first cached handler to a
//! decision tree for pages that are slow or wrong; [the migration guide](guide::migrating) is for those who come
//! from django-smart-redis or Django's cache; [the comparison](guide::comparison) for those who are choosing.
//! The attribute has all of its arguments at [`smart_cache`](macro@smart_cache), the layer at
//! [`CacheLayer`], values at [`Cache`].
//!
//! # What is promised
//! After a clear returned `Ok`, no lookup on any node returns an answer whose handler started
//! before the clear, and a copy in a process's own memory ends when it hears of the clear, within
//! `SMART_REDIS_LOCAL_STALENESS` at worst: across crashes, restarts, failovers, evictions and FLUSHALL. A failing cache
//! never fails a request: the handler answers.
//!
//! # Feature flags
//! None is on by default. Crates: how many it adds. Seconds: what their compilers took of a processor (Xeon, 2.8 GHz,
//! Rust 1.95, debug build; it had other work too). Rust: the oldest that it compiles with.
//!
//! | Name | What it adds | Crates | Seconds | Rust |
//! |---|---|---|---|---|
//! | none | the core: Redis, the memory of the process, the local tier | 106 | 74 | 1.88 |
//! | `tls` | `rediss://` addresses, by rustls with the platform's root certificates | +11 | +14 | 1.88 |
//! | `zstd` | encoded bodies stored beside the plain one: `encodings(..)` | +5 | +10 | 1.88 |
//! | `brotli` | the same, with brotli | +4 | +7 | 1.88 |
//! | `gzip` | the same, with gzip | +4 | +3 | 1.88 |
//! | `compression` | all three | +13 | +20 | 1.88 |
//! | `encryption` | what is stored is sealed with `SMART_REDIS_ENCRYPTION_KEY`: responses and values | +15 | +5 | 1.88 |
//! | `axum-extra` | [`KeyPart`] for the extractors of axum-extra | +3 | +1 | 1.88 |
//! | `admin` | [`admin`]: the page for operators | +8 | +8 | 1.88 |
//! | `aide` | documentation of cached handlers by aide | +12 | +19 | 1.88 |
//! | `metrics` | counts and durations through the `metrics` facade ([`observe`]): a registration and a record for each round trip, nothing for a hit of the local tier | +3 | +2 | 1.88 |
//! | `sqlx-sqlite` | [`hooks`]: transactions of sqlx 0.9 whose clears follow the commit, outbox and triggers | +39 | +31 | 1.94 |
//! | `sqlx-postgres` | the same on PostgreSQL | +56 | +30 | 1.94 |
//! | `sqlx-mysql` | [`hooks`]: transactions alone | +40 | +22 | 1.94 |
//! | `sea-orm` | [`hooks`]: models and transactions of SeaORM 2 whose clears follow the commit | +32 | +36 | 1.94 |
//! | `diesel` | [`hooks`]: the same for transactions of diesel 2.3 | +13 | +21 | 1.88 |
//! | `diesel-async` | and of diesel-async 0.9 | +14 | +21 | 1.88 |
//! | `sql-sqlite` | responses and values in a SQL database ([`backend::SqlStore`]) | +39 | +31 | 1.94 |
//! | `sql-postgres` | the same on PostgreSQL | +56 | +30 | 1.94 |
//! | `sql-mysql` | the same on MySQL and MariaDB | +40 | +22 | 1.94 |
//! | `file` | responses and values in files of one machine ([`backend::FileStore`]) | +3 | +3 | 1.88 |
//! | `memcached` | responses and values in one memcached ([`backend::MemcachedStore`]) | +16 | +12 | 1.88 |
//! | `testing` | [`testing`]: assertions, a recorder and a failing backend for the tests of programs that cache | +0 | +0 | 1.88 |

// docs.rs marks what needs a feature.
#![cfg_attr(docsrs, feature(doc_cfg))]

// The attributes name this crate by its own name, also in its own examples and tests.
extern crate self as smart_cache;

#[cfg(feature = "admin")]
pub mod admin;
#[cfg(feature = "aide")]
mod aide;
mod asked;
mod audit;
pub mod backend;
mod body;
mod builder;
mod cache;
mod cached;
mod clearing;
mod clock;
mod codec;
mod config;
mod context;
mod coverage;
mod encode;
mod entry;
mod error;
mod fill;
#[cfg(test)]
mod fuzz;
#[cfg(any(doc, doctest, test))]
pub mod guide;
pub mod hooks;
mod http;
pub mod inspect;
mod key;
mod kv;
mod layer;
mod listed;
mod local;
#[cfg(feature = "metrics")]
pub mod observe;
#[cfg(not(feature = "metrics"))]
mod observe;
mod policy;
#[doc(hidden)]
pub mod private;
mod protocol;
mod refresh;
mod registry;
mod respond;
mod run;
mod seal;
mod serve;
mod start;
mod stats;
#[cfg(feature = "testing")]
pub mod testing;
mod together;
mod write;

pub use builder::Builder;
pub use cache::SmartCache;
pub use cached::Cached;
pub use config::{BackendKind, StartFlush};
pub use context::{CacheContext, uncached};
pub use entry::EntryId;
pub use error::{BackendError, ClearError, ConfigError};
pub use key::{IntoKeys, KeyPart, Shows, Variant};
pub use kv::{
    BlockingCache, BlockingGetOrSet, Cache, CacheError, CachedValue, ComputeError, Fragment,
    GetOrSet, Keys, OnError, Timeout, ValueStats, cache, caches, fragment,
};
pub use layer::{CacheLayer, CacheService, CachedLayer, layer};
pub use policy::Bypass;
pub use protocol::scope::{depends_on, in_scope};
pub use protocol::{Digest, Target};
pub use registry::{CachedHandler, ClearingHandler, ClearingModel, Registry, registry};
#[doc = include_str!("../docs/clears_attribute.md")]
pub use smart_cache_macros::clears_cache;
#[doc = include_str!("../docs/attribute.md")]
pub use smart_cache_macros::smart_cache;
#[doc = include_str!("../docs/cached_function.md")]
pub use smart_cache_macros::smart_cached;
pub use start::{
    clear_all, clear_all_blocking, clear_cache, clear_cache_blocking, expire_cache,
    expire_cache_blocking, install, install_named, start,
};
pub use stats::{HandlerStats, LocalStats, Stats};
