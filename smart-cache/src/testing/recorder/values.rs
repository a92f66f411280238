//! The plain values of a recorded backend.

use std::sync::Arc;

use bytes::Bytes;

use super::Book;
use crate::backend::{BoxFuture, Counted, Expiry, NamePage, Ttl, ValueStore};
use crate::error::BackendError;

/// Counts what happens to each value on its way to another store.
#[derive(Debug)]
pub(super) struct Values {
    inner: Arc<dyn ValueStore>,
    book: Arc<Book>,
}

impl Values {
    pub(super) fn new(inner: Arc<dyn ValueStore>, book: Arc<Book>) -> Self {
        Self { inner, book }
    }

    fn stored(&self, name: &str) {
        self.book.note(name, |seen| seen.stores += 1);
    }

    fn cleared(&self, name: &str) {
        self.book.note(name, |seen| seen.clears += 1);
    }
}

impl ValueStore for Values {
    fn get_many<'a>(
        &'a self,
        names: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, BackendError>> {
        Box::pin(async move {
            let found = self.inner.get_many(names).await?;
            for (name, found) in names.iter().zip(&found) {
                let hit = u64::from(found.is_some());
                self.book.note(name, |seen| {
                    seen.hits += hit;
                    seen.misses += 1 - hit;
                });
            }
            Ok(found)
        })
    }

    fn set_many<'a>(
        &'a self,
        values: &'a [(String, Bytes)],
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<Vec<usize>, BackendError>> {
        Box::pin(async move {
            let refused = self.inner.set_many(values, expiry).await?;
            for (at, (name, _)) in values.iter().enumerate() {
                if refused.contains(&at) {
                    self.book.note(name, |seen| seen.refused += 1);
                } else {
                    self.stored(name);
                }
            }
            Ok(refused)
        })
    }

    fn add<'a>(
        &'a self,
        name: &'a str,
        value: Bytes,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            let added = self.inner.add(name, value, expiry).await?;
            if added {
                self.stored(name);
            }
            Ok(added)
        })
    }

    fn touch<'a>(
        &'a self,
        name: &'a str,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        self.inner.touch(name, expiry)
    }

    fn delete_many<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<u64, BackendError>> {
        Box::pin(async move {
            let removed = self.inner.delete_many(names).await?;
            for name in names {
                self.cleared(name);
            }
            Ok(removed)
        })
    }

    fn increment<'a>(
        &'a self,
        name: &'a str,
        delta: i64,
    ) -> BoxFuture<'a, Result<Counted, BackendError>> {
        Box::pin(async move {
            let counted = self.inner.increment(name, delta).await?;
            if matches!(counted, Counted::Now(_)) {
                self.stored(name);
            }
            Ok(counted)
        })
    }

    fn rename<'a>(
        &'a self,
        from: &'a str,
        to: &'a str,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            let moved = self.inner.rename(from, to).await?;
            if moved {
                self.cleared(from);
                self.stored(to);
            }
            Ok(moved)
        })
    }

    fn exchange<'a>(
        &'a self,
        name: &'a str,
        old: &'a Bytes,
        new: Option<&'a Bytes>,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            let exchanged = self.inner.exchange(name, old, new).await?;
            match new {
                Some(_) if exchanged => self.stored(name),
                None if exchanged => self.cleared(name),
                _ => {}
            }
            Ok(exchanged)
        })
    }

    fn ttl<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Ttl, BackendError>> {
        self.inner.ttl(name)
    }

    fn names<'a>(
        &'a self,
        glob: &'a str,
        from: Option<String>,
    ) -> BoxFuture<'a, Result<NamePage, BackendError>> {
        self.inner.names(glob, from)
    }

    fn clear(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        self.inner.clear()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }

    fn incarnation(&self) -> BoxFuture<'_, Result<String, BackendError>> {
        self.inner.incarnation()
    }

    fn blocking_twin(&self) -> Option<Arc<dyn ValueStore>> {
        let inner = self.inner.blocking_twin()?;
        Some(Arc::new(Self::new(inner, Arc::clone(&self.book))))
    }

    fn longest_value(&self) -> Option<u64> {
        self.inner.longest_value()
    }

    fn describe(&self) -> String {
        format!("{}, recorded", self.inner.describe())
    }
}
