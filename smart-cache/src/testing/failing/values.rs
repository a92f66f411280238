//! The plain values of a backend that fails on command.

use std::sync::Arc;

use bytes::Bytes;

use super::Faults;
use crate::backend::{BoxFuture, Counted, Expiry, NamePage, Ttl, ValueStore};
use crate::error::BackendError;

/// Fails as the backend is told to.
#[derive(Debug)]
pub(super) struct Values {
    inner: Arc<dyn ValueStore>,
    faults: Arc<Faults>,
}

impl Values {
    pub(super) fn new(inner: Arc<dyn ValueStore>, faults: Arc<Faults>) -> Self {
        Self { inner, faults }
    }
}

impl ValueStore for Values {
    fn get_many<'a>(
        &'a self,
        names: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, BackendError>> {
        Box::pin(self.faults.asks(self.inner.get_many(names)))
    }

    fn set_many<'a>(
        &'a self,
        values: &'a [(String, Bytes)],
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<Vec<usize>, BackendError>> {
        Box::pin(self.faults.stores(self.inner.set_many(values, expiry)))
    }

    fn add<'a>(
        &'a self,
        name: &'a str,
        value: Bytes,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(self.faults.stores(self.inner.add(name, value, expiry)))
    }

    fn touch<'a>(
        &'a self,
        name: &'a str,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(self.faults.stores(self.inner.touch(name, expiry)))
    }

    fn delete_many<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<u64, BackendError>> {
        Box::pin(self.faults.clears(self.inner.delete_many(names)))
    }

    fn increment<'a>(
        &'a self,
        name: &'a str,
        delta: i64,
    ) -> BoxFuture<'a, Result<Counted, BackendError>> {
        Box::pin(self.faults.stores(self.inner.increment(name, delta)))
    }

    fn rename<'a>(
        &'a self,
        from: &'a str,
        to: &'a str,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(self.faults.stores(self.inner.rename(from, to)))
    }

    fn exchange<'a>(
        &'a self,
        name: &'a str,
        old: &'a Bytes,
        new: Option<&'a Bytes>,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(self.faults.stores(self.inner.exchange(name, old, new)))
    }

    fn ttl<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Ttl, BackendError>> {
        Box::pin(self.faults.asks(self.inner.ttl(name)))
    }

    fn names<'a>(
        &'a self,
        glob: &'a str,
        from: Option<String>,
    ) -> BoxFuture<'a, Result<NamePage, BackendError>> {
        Box::pin(self.faults.asks(self.inner.names(glob, from)))
    }

    fn clear(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(self.faults.clears(self.inner.clear()))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }

    fn incarnation(&self) -> BoxFuture<'_, Result<String, BackendError>> {
        Box::pin(self.faults.asks(self.inner.incarnation()))
    }

    fn blocking_twin(&self) -> Option<Arc<dyn ValueStore>> {
        let inner = self.inner.blocking_twin()?;
        Some(Arc::new(Self::new(inner, Arc::clone(&self.faults))))
    }

    fn longest_value(&self) -> Option<u64> {
        self.inner.longest_value()
    }

    fn describe(&self) -> String {
        format!("{}, failing on command", self.inner.describe())
    }
}
