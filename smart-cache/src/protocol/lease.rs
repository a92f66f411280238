//! A lease in hand: renewed while the handler runs, given back when nothing comes of it.
//!
//! Dropping the guard settles whatever was left: a request that was cancelled, a handler that
//! panicked, an answer that may not be stored.

use std::sync::Arc;

use crate::backend::{Added, Backend, Filling, Lease, NewValue, Stored};
use crate::error::BackendError;
use crate::protocol::Target;

/// The right to fill one entry.
#[derive(Debug)]
pub(crate) struct HeldLease {
    /// `None` once it was used.
    held: Option<Held>,
    renewal: Option<tokio::task::AbortHandle>,
}

#[derive(Debug, Clone)]
struct Held {
    backend: Arc<dyn Backend>,
    target: Arc<Target>,
    lease: Arc<Lease>,
}

impl HeldLease {
    pub(crate) fn new(backend: Arc<dyn Backend>, target: Arc<Target>, lease: Lease) -> Self {
        let held = Held {
            backend,
            target,
            lease: Arc::new(lease),
        };
        let renewal = tokio::runtime::Handle::try_current()
            .ok()
            .map(|runtime| runtime.spawn(renew(held.clone())).abort_handle());
        Self {
            held: Some(held),
            renewal,
        }
    }

    /// Stores under this lease, which is then used up.
    pub(crate) async fn store(mut self, filling: Filling<'_>) -> Result<Stored, BackendError> {
        let Some(held) = self.held.take() else {
            return Ok(Stored::LeaseLost);
        };
        held.backend.store(&held.target, &held.lease, filling).await
    }
}

impl HeldLease {
    /// Adds a plain value under this lease, which is then used up; it is given back where the
    /// backend knows no such thing.
    pub(crate) async fn add_value(mut self, value: NewValue<'_>) -> Result<Added, BackendError> {
        let Some(held) = self.held.take() else {
            return Ok(Added::Refused);
        };
        let added = held
            .backend
            .add_value(&held.target, &held.lease, value)
            .await;
        if matches!(added, Err(BackendError::Unsupported(_))) {
            self.held = Some(held);
        }
        added
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        if let Some(renewal) = &self.renewal {
            renewal.abort();
        }
        let (Some(held), Ok(runtime)) = (self.held.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        runtime.spawn(async move {
            if let Err(why) = held.backend.release(&held.target, &held.lease).await {
                tracing::debug!(key = %held.target.key, cause = %why, "a lease could not be given back; it expires by itself");
            }
        });
    }
}

/// Prolongs the lease every third of its life until it is aborted or the lease is lost.
async fn renew(held: Held) {
    loop {
        tokio::time::sleep(held.backend.lease() / 3).await;
        if matches!(
            held.backend.renew(&held.target, &held.lease).await,
            Ok(false)
        ) {
            return;
        }
    }
}
