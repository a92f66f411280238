//! No cache: every handler runs, every clear is acknowledged, so that nothing else needs an `if`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{
    Backend, BoxFuture, Counted, Expiry, Filling, Lease, Lookup, NamePage, Reclaimed, Stored,
    Ticket, Ttl, ValueStore,
};
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

    fn values(&self) -> Option<Arc<dyn ValueStore>> {
        Some(Arc::new(NoValues))
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

    fn reclaim(&self, _: Vec<String>) -> BoxFuture<'_, Reclaimed> {
        Box::pin(async { Reclaimed::default() })
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

/// Keeps no value: every read misses, every write succeeds, as with Django's dummy cache.
#[derive(Debug)]
struct NoValues;

impl ValueStore for NoValues {
    fn get_many<'a>(
        &'a self,
        names: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, BackendError>> {
        Box::pin(async move { Ok(vec![None; names.len()]) })
    }

    fn set_many<'a>(
        &'a self,
        _: &'a [(String, Bytes)],
        _: Expiry,
    ) -> BoxFuture<'a, Result<Vec<usize>, BackendError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn add<'a>(
        &'a self,
        _: &'a str,
        _: Bytes,
        _: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async { Ok(true) })
    }

    fn touch<'a>(&'a self, _: &'a str, _: Expiry) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async { Ok(false) })
    }

    fn delete_many<'a>(&'a self, _: &'a [String]) -> BoxFuture<'a, Result<u64, BackendError>> {
        Box::pin(async { Ok(0) })
    }

    fn increment<'a>(&'a self, _: &'a str, _: i64) -> BoxFuture<'a, Result<Counted, BackendError>> {
        Box::pin(async { Ok(Counted::Missing) })
    }

    fn rename<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async { Ok(false) })
    }

    fn ttl<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Ttl, BackendError>> {
        Box::pin(async { Ok(Ttl::Missing) })
    }

    fn names<'a>(
        &'a self,
        _: &'a str,
        _: Option<String>,
    ) -> BoxFuture<'a, Result<NamePage, BackendError>> {
        Box::pin(async { Ok(NamePage::default()) })
    }

    fn clear(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async { Ok(()) })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn incarnation(&self) -> BoxFuture<'_, Result<String, BackendError>> {
        Box::pin(async { Ok(String::new()) })
    }

    fn describe(&self) -> String {
        "off".to_owned()
    }
}
