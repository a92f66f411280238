//! Plain values of a namespace in partitions: each where its name says.
//!
//! What is computed from a value depends on the token of its name, and may be in any partition; so a write
//! of a value is followed by a clear of that token everywhere.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};

use super::proof::Parts;
use crate::backend::redis::RedisBackend;
use crate::backend::redis::values::RedisValues;
use crate::backend::{Backend, BoxFuture, Counted, Expiry, NamePage, Ttl, ValueStore, value_key};
use crate::error::BackendError;

/// The values of all partitions.
#[derive(Debug)]
pub(super) struct PartitionedValues {
    parts: Arc<Parts>,
    values: Vec<RedisValues>,
}

impl PartitionedValues {
    pub(super) fn new(parts: Arc<Parts>) -> Self {
        let of = |part: &RedisBackend| RedisValues::new(Arc::clone(&part.core));
        Self {
            values: parts.backends().map(of).collect(),
            parts,
        }
    }

    fn number(&self, name: &str) -> usize {
        self.parts.number_of_key(&value_key(name))
    }

    fn of(&self, name: &str) -> &RedisValues {
        &self.values[self.number(name)]
    }

    /// Positions of names, by partition; only of those partitions that have any.
    fn sorted<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<(usize, Vec<usize>)> {
        let mut sorted = vec![Vec::new(); self.values.len()];
        for (at, name) in names.enumerate() {
            sorted[self.number(name)].push(at);
        }
        let sorted = sorted.into_iter().enumerate();
        sorted
            .filter(|(_, positions)| !positions.is_empty())
            .collect()
    }

    /// Ends what was computed from these values, in every partition.
    async fn outlaw(&self, names: impl Iterator<Item = &str>) -> Result<(), BackendError> {
        let keys: Vec<String> = names.map(value_key).collect();
        let each = self.parts.backends().map(|part| part.clear(&keys));
        join_all(each).await.into_iter().collect()
    }
}

impl ValueStore for PartitionedValues {
    fn get_many<'a>(
        &'a self,
        names: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, BackendError>> {
        Box::pin(async move {
            let sorted = self.sorted(names.iter().map(String::as_str));
            let asked = sorted.iter().map(|(number, positions)| {
                let own: Vec<String> = positions.iter().map(|at| names[*at].clone()).collect();
                async move { self.values[*number].get_many(&own).await }
            });
            let answers = try_join_all(asked).await?;
            let mut found = vec![None; names.len()];
            for ((_, positions), values) in sorted.iter().zip(answers) {
                for (at, value) in positions.iter().zip(values) {
                    found[*at] = value;
                }
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
            if values.is_empty() {
                return Ok(Vec::new());
            }
            let sorted = self.sorted(values.iter().map(|(name, _)| name.as_str()));
            let set = sorted.iter().map(|(number, positions)| {
                let own: Vec<_> = positions.iter().map(|at| values[*at].clone()).collect();
                async move { self.values[*number].set_many(&own, expiry).await }
            });
            let answers = join_all(set).await;
            // Also when some were refused: the others were set.
            let outlawed = self
                .outlaw(values.iter().map(|(name, _)| name.as_str()))
                .await;
            let mut refused = Vec::new();
            let mut why = None;
            for ((_, positions), answer) in sorted.iter().zip(answers) {
                match answer {
                    Ok(own) => refused.extend(own.into_iter().map(|at| positions[at])),
                    Err(error) => {
                        refused.extend(positions);
                        why = Some(error);
                    }
                }
            }
            match why {
                Some(why) if refused.len() == values.len() => return Err(why),
                _ => outlawed?,
            }
            refused.sort_unstable();
            Ok(refused)
        })
    }

    fn add<'a>(
        &'a self,
        name: &'a str,
        value: Bytes,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        self.of(name).add(name, value, expiry)
    }

    fn touch<'a>(
        &'a self,
        name: &'a str,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        self.of(name).touch(name, expiry)
    }

    fn delete_many<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<u64, BackendError>> {
        Box::pin(async move {
            if names.is_empty() {
                return Ok(0);
            }
            let sorted = self.sorted(names.iter().map(String::as_str));
            let deleted = sorted.iter().map(|(number, positions)| {
                let own: Vec<String> = positions.iter().map(|at| names[*at].clone()).collect();
                async move { self.values[*number].delete_many(&own).await }
            });
            let answers = join_all(deleted).await;
            let outlawed = self.outlaw(names.iter().map(String::as_str)).await;
            let removed = answers.into_iter().sum::<Result<u64, _>>()?;
            outlawed.map(|()| removed)
        })
    }

    fn increment<'a>(
        &'a self,
        name: &'a str,
        delta: i64,
    ) -> BoxFuture<'a, Result<Counted, BackendError>> {
        self.of(name).increment(name, delta)
    }

    /// Within a partition it is the server's own; from one to another the value is read, stored there and
    /// removed here, and what others do to it meanwhile may be lost.
    fn rename<'a>(
        &'a self,
        from: &'a str,
        to: &'a str,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            let (here, there) = (self.number(from), self.number(to));
            let moved = if here == there {
                self.values[here].rename(from, to).await?
            } else {
                self.carry(from, to).await?
            };
            self.outlaw([from, to].into_iter()).await?;
            Ok(moved)
        })
    }

    fn ttl<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Ttl, BackendError>> {
        self.of(name).ttl(name)
    }

    fn names<'a>(
        &'a self,
        glob: &'a str,
        from: Option<String>,
    ) -> BoxFuture<'a, Result<NamePage, BackendError>> {
        Box::pin(async move {
            let (number, cursor) = match from.as_deref() {
                None => (0, None),
                Some(from) => super::inspect::place_of(from, self.values.len())?,
            };
            let page = self.values[number]
                .names(glob, cursor.map(str::to_owned))
                .await?;
            let next = super::inspect::next_place(number, page.next, self.values.len());
            Ok(NamePage {
                names: page.names,
                next,
            })
        })
    }

    fn clear(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async {
            let each = self.values.iter().map(ValueStore::clear);
            join_all(each).await.into_iter().collect()
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            join_all(self.values.iter().map(ValueStore::close)).await;
        })
    }

    fn incarnation(&self) -> BoxFuture<'_, Result<String, BackendError>> {
        Box::pin(async {
            let each = self.values.iter().map(ValueStore::incarnation);
            Ok(try_join_all(each).await?.concat())
        })
    }

    fn longest_value(&self) -> Option<u64> {
        self.values[0].longest_value()
    }

    fn describe(&self) -> String {
        let count = self.values.len();
        format!("{} in {count} partitions", self.values[0].describe())
    }
}

impl PartitionedValues {
    async fn carry(&self, from: &str, to: &str) -> Result<bool, BackendError> {
        let names = [from.to_owned()];
        let (found, ttl) = tokio::join!(self.of(from).get_many(&names), self.of(from).ttl(from));
        let (Some(value), ttl) = (found?.pop().flatten(), ttl?) else {
            return Ok(false);
        };
        let expiry = match ttl {
            Ttl::Missing => return Ok(false),
            Ttl::Never => None,
            Ttl::After(left) => Some(left),
        };
        let refused = self
            .of(to)
            .set_many(&[(to.to_owned(), value)], expiry)
            .await?;
        if !refused.is_empty() {
            return Err(BackendError::Refused("it could not be stored there".into()));
        }
        self.of(from).delete_many(&names).await?;
        Ok(true)
    }
}
