//! One suite for every backend: each check runs on a real Redis, in memory, and on every store of
//! values.

mod dynamic_tags;
mod entries;
mod expired;
mod leases;
mod names;
mod namespaces;
mod off;
mod refusals;

use super::stage;

/// As [`on_each_backend`], for what stores of plain values cannot do.
macro_rules! on_own_backends {
    ($($check:ident),* $(,)?) => {
        mod redis {
            $(
                #[tokio::test]
                async fn $check() {
                    super::$check(crate::backends::stage::Stage::redis().await).await;
                }
            )*
        }
        mod partitioned {
            $(
                #[tokio::test]
                async fn $check() {
                    super::$check(crate::backends::stage::Stage::partitioned().await).await;
                }
            )*
        }
        mod valkey {
            $(
                #[tokio::test]
                async fn $check() {
                    if let Some(stage) = crate::backends::stage::Stage::valkey().await {
                        super::$check(stage).await;
                    }
                }
            )*
        }
        mod memory {
            $(
                #[tokio::test]
                async fn $check() {
                    super::$check(crate::backends::stage::Stage::Memory).await;
                }
            )*
        }
    };
}

/// Makes a test for each backend of every check that is listed; one that is not is dead code.
macro_rules! on_each_backend {
    ($($check:ident),* $(,)?) => {
        crate::backends::conformance::on_own_backends![$($check),*];
        mod plain {
            $(
                #[tokio::test]
                async fn $check() {
                    super::$check(crate::backends::keyvalue::plain()).await;
                }
            )*
        }
        mod sqlite {
            $(
                #[tokio::test]
                async fn $check() {
                    super::$check(crate::backends::stage::Stage::Values(crate::stores::sqlite())).await;
                }
            )*
        }
        mod file {
            $(
                #[tokio::test]
                async fn $check() {
                    super::$check(crate::backends::stage::Stage::Values(crate::stores::file())).await;
                }
            )*
        }
        mod memcached {
            $(
                #[tokio::test]
                async fn $check() {
                    let stores = crate::stores::memcached().await;
                    super::$check(crate::backends::stage::Stage::Values(stores)).await;
                }
            )*
        }

        /// Every check at once: for servers that take long to start.
        pub(super) async fn all(stores: &std::sync::Arc<dyn crate::stores::Stores>) {
            use crate::backends::stage::Stage;

            tokio::join!($($check(Stage::Values(std::sync::Arc::clone(stores)))),*);
        }
    };
}
use {on_each_backend, on_own_backends};

use crate::stores::Stores;

/// The whole suite on one server.
pub(super) async fn all(stores: &std::sync::Arc<dyn Stores>) {
    dynamic_tags::all(stores).await;
    entries::all(stores).await;
    leases::all(stores).await;
    names::all(stores).await;
    refusals::all(stores).await;
}
