//! No cache: every handler runs, every clear is acknowledged, so that nothing else needs an `if`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Backend, BoxFuture, Filling, Lease, Lookup, Stored, Ticket};
use crate::error::BackendError;
use crate::protocol::Target;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct OffBackend;

impl Backend for OffBackend {
    fn lookup<'a>(
        &'a self,
        _: &'a Target,
        _: Instant,
    ) -> BoxFuture<'a, Result<Lookup, BackendError>> {
        Box::pin(async { Ok(Lookup::Off) })
    }

    fn ticket<'a>(
        &'a self,
        _: &'a Target,
        _: &'a [Arc<str>],
        _: Instant,
    ) -> BoxFuture<'a, Result<Ticket, BackendError>> {
        Box::pin(async { Ok(Ticket::Held) })
    }

    fn store<'a>(
        &'a self,
        _: &'a Target,
        _: &'a Lease,
        _: Filling<'a>,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(async { Ok(Stored::LeaseLost) })
    }

    fn renew<'a>(
        &'a self,
        _: &'a Target,
        _: &'a Lease,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async { Ok(false) })
    }

    fn release<'a>(
        &'a self,
        _: &'a Target,
        _: &'a Lease,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async { Ok(()) })
    }

    fn discard<'a>(&'a self, _: &'a Target) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async { Ok(()) })
    }

    fn clear<'a>(&'a self, _: &'a [String]) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async { Ok(()) })
    }

    fn clear_all(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async { Ok(()) })
    }

    fn reclaim(&self, _: Vec<String>) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn sweep(&self) -> BoxFuture<'_, Result<u64, BackendError>> {
        Box::pin(async { Ok(0) })
    }

    fn lease(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn open(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async { Ok(()) })
    }

    fn first_of_version(&self) -> BoxFuture<'_, Result<bool, BackendError>> {
        Box::pin(async { Ok(false) })
    }

    fn describe(&self) -> String {
        "off".to_owned()
    }

    fn is_available(&self) -> bool {
        false
    }
}
