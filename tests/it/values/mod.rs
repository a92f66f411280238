//! The low-level API keeps its promises, on every store.
//!
//! The modules of `on_each_store!` are one suite that each store passes; `redis_only` is what can
//! happen in Redis alone.

mod basics;
mod blocking;
mod computed;
mod counters;
mod fragments;
mod functions;
mod hostile;
mod killed;
mod kv_server;
mod named;
mod off;
mod outage;
mod processes;
mod redis_only;
mod sealed;
pub(crate) mod stage;
mod store_outages;
mod times;
mod transactions;
mod versions;

/// Makes a test for each store of every check that is listed; one that is not is dead code. A new
/// store is one more line in `each`.
macro_rules! on_each_store {
    ($($check:ident),* $(,)?) => {
        $crate::values::each! { $($check),* => {
            redis: $crate::values::stage::Stage::redis().await;
            partitioned: $crate::values::stage::Stage::partitioned().await;
            memory: $crate::values::stage::Stage::Memory;
            sqlite: $crate::values::stage::Stage::Stores($crate::stores::sqlite());
            file: $crate::values::stage::Stage::Stores($crate::stores::file());
            memcached: $crate::values::stage::Stage::Stores($crate::stores::memcached().await);
        } }

        /// Every check at once: for servers that take long to start.
        #[allow(dead_code, reason = "what needs no server of its own is not repeated on all of them")]
        pub(super) async fn all(stage: &$crate::values::stage::Stage) {
            tokio::join!($($check(stage)),*);
        }
    };
}
use on_each_store;

macro_rules! each {
    ($($check:ident),* => { $($store:ident: $stage:expr;)* }) => {
        $crate::values::each_of! { [$($check)*] $($store: $stage;)* }
    };
}
use each;

macro_rules! each_of {
    ([$($check:ident)*]) => {};
    ([$($check:ident)*] $store:ident: $stage:expr; $($rest:tt)*) => {
        mod $store {
            $(
                #[tokio::test]
                async fn $check() {
                    super::$check(&$stage).await;
                }
            )*
        }
        $crate::values::each_of! { [$($check)*] $($rest)* }
    };
}
use each_of;

/// The whole suite on one server.
pub(crate) async fn all(stage: &stage::Stage) {
    basics::all(stage).await;
    blocking::all(stage).await;
    computed::all(stage).await;
    counters::all(stage).await;
    fragments::all(stage).await;
    hostile::all(stage).await;
    times::all(stage).await;
    versions::all(stage).await;
}
