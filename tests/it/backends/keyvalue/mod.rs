//! Responses on stores of plain values.

mod calls;
mod changes;
mod plain;
mod schedule;
mod servers;
mod stepped;
mod tokens;

use std::sync::Arc;

use smart_cache::backend::ValueStore;

use self::plain::Plain;
use super::stage::{self, Stage};
use crate::stores::Stores;

/// Stores in a map of this process: the protocol alone, without anybody's server.
pub(super) fn plain() -> Stage {
    #[derive(Debug)]
    struct InMaps;

    impl Stores for InMaps {
        fn store(&self, _: &str) -> Arc<dyn ValueStore> {
            Arc::new(Plain::default())
        }
    }

    Stage::Values(Arc::new(InMaps))
}
