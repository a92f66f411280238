//! One suite for every backend: each check runs once on a real server and once in memory.

mod dynamic_tags;
mod entries;
mod leases;
mod names;
mod namespaces;
mod off;
mod refusals;

use super::stage;

/// Makes a test for each backend of every check that is listed; one that is not is dead code.
macro_rules! on_each_backend {
    ($($check:ident),* $(,)?) => {
        mod redis {
            $(
                #[tokio::test]
                async fn $check() {
                    super::$check(crate::backends::stage::Stage::redis().await).await;
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
use on_each_backend;
