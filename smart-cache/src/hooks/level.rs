//! One level of a transaction: the whole of it, or a savepoint in it.

use std::future::Future;

use super::{Collector, Committed, Savepoint};
use crate::cache::SmartCache;
use crate::key::IntoKeys;

/// What follows the end of one level. Dropping it is its rollback.
#[derive(Debug)]
pub(super) enum Level {
    Transaction(Collector),
    Savepoint(Savepoint),
}

impl Level {
    /// The outermost level; for the running handler's cache or the default one when none is named.
    pub(super) fn begin(cache: Option<&SmartCache>) -> Self {
        Self::Transaction(cache.map_or_else(Collector::open, Collector::of))
    }

    /// A level inside a transaction that the connection has open already: its own end is no
    /// commit.
    pub(super) fn inside(cache: Option<&SmartCache>) -> Self {
        Savepoint::of_this_task().map_or_else(
            || {
                tracing::warn!("a transaction was opened inside one that clears nothing: its clears come when it ends, which is before the commit. Begin the outer one through smart_cache::hooks too");
                Self::begin(cache)
            },
            Self::Savepoint,
        )
    }

    pub(super) fn add(&self, keys: impl IntoKeys) {
        match self {
            Self::Transaction(collector) => collector.add(keys),
            Self::Savepoint(savepoint) => savepoint.add(keys),
        }
    }

    pub(super) fn savepoint(&self) -> Self {
        Self::Savepoint(match self {
            Self::Transaction(collector) => collector.savepoint(),
            Self::Savepoint(savepoint) => savepoint.savepoint(),
        })
    }

    /// Ends this level by a commit, or by the release of its savepoint, which clears nothing yet.
    pub(super) async fn commit<T, E>(
        self,
        commit: impl Future<Output = Result<T, E>>,
    ) -> Result<Committed<T>, E> {
        match self {
            Self::Transaction(collector) => collector.commit(commit).await,
            Self::Savepoint(savepoint) => Ok(released(savepoint, commit.await?)),
        }
    }

    /// [`Level::commit`] for code that cannot await.
    #[cfg(feature = "diesel")]
    pub(super) fn commit_blocking<T, E>(
        self,
        commit: impl FnOnce() -> Result<T, E>,
    ) -> Result<Committed<T>, E> {
        match self {
            Self::Transaction(collector) => collector.commit_blocking(commit),
            Self::Savepoint(savepoint) => Ok(released(savepoint, commit()?)),
        }
    }
}

fn released<T>(savepoint: Savepoint, value: T) -> Committed<T> {
    savepoint.release();
    Committed {
        value,
        cleared: Ok(()),
    }
}
