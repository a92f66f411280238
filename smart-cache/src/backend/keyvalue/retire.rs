//! Tokens that nothing depends on any more go, or every tag that a list ever had would stay for
//! ever; and so do the indexes of keys that have no entry.
//!
//! A token that neither a living entry nor a computed value depends on is given the life of an
//! unused one again. To the protocol its end is an eviction, which may happen to any token at any
//! moment: whoever holds a ticket of before finds it missing, or another one minted in its place,
//! and is refused, and an entry that lands all the same does not have the digest of now. Nothing
//! is written anew here, only prolonged (`touch` brings nothing back), so a clear that comes
//! between the look and the touch stays one.
//!
//! What it may cost is a miss: an entry that is stored while the sweep walks, under a token that
//! nothing else used, misses an hour later, once. One that is stored after it makes its tokens
//! permanent again, for the sweep leaves a mark that stores read together with their tokens.
//!
//! Where names cannot be listed (memcached) nobody retires: what is not read for long is evicted
//! there by the server itself, tokens like everything else.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::names::{FIRSTS, INDEXES, TOKENS, indexed_key};
use super::tokens::{Token, UNUSED_TOKEN_LIFE, Wanted, now_us};
use super::values::Values;
use super::{Shared, sweep};
use crate::backend::used::Used;
use crate::backend::{Ttl, ValueStore as _, value_key};
use crate::error::BackendError;
use crate::protocol::token_name;

/// A token that was given an end is gone before the mark that says so.
const MARK_LIFE: Duration = Duration::from_secs(2 * UNUSED_TOKEN_LIFE.as_secs());

/// Builds that were looked up in this pass; whether each is forgotten.
pub(super) type Builds = HashMap<String, bool>;

impl Shared {
    /// The tokens under these names as they are now, for a store that is to depend on them, and
    /// whether some of them may have been given an end since they were made permanent.
    pub(super) async fn read_to_keep(
        &self,
        wanted: &[Wanted],
        deadline: Instant,
    ) -> Result<(Vec<Option<Token>>, bool), BackendError> {
        let mut names: Vec<_> = wanted.iter().map(|wanted| wanted.name.clone()).collect();
        names.push(self.names.retiring());
        let mut values = self.get_many(&names, deadline).await?;
        let is_retiring = values.pop().flatten().is_some();
        let tokens = wanted
            .iter()
            .zip(values)
            .map(|(wanted, value)| wanted.read(value));
        Ok((tokens.collect(), is_retiring))
    }

    /// Gives the tokens that are not used an end, and removes indexes that nothing stands in.
    pub(super) async fn retire(
        self: &std::sync::Arc<Self>,
        mut used: Used,
        builds: &mut Builds,
    ) -> Result<(), BackendError> {
        // Younger ones go by themselves, or were used behind the sweep's back.
        let newest = now_us().saturating_sub(UNUSED_TOKEN_LIFE.as_micros() as u64);
        // The token of all values has no name, and clears of all of them go by it.
        used.add(&value_key(""));
        let values = Values::new(std::sync::Arc::clone(self));
        let mut from = None;
        loop {
            let page = self
                .call(sweep::patience(self), values.names("*", from))
                .await?;
            for name in &page.names {
                used.add(&token_name(&value_key(name)));
            }
            match page.next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        let mut walk = sweep::Walk::over(self, TOKENS);
        while let Some(names) = walk.step().await? {
            self.retire_some(names, &used, newest).await?;
        }
        for kind in INDEXES.into_iter().chain([FIRSTS]) {
            let mut walk = sweep::Walk::over(self, kind);
            while let Some(names) = walk.step().await? {
                let mut gone = Vec::new();
                for name in names {
                    let Some((version, key)) = indexed_key(&name) else {
                        continue;
                    };
                    let is_unused = key.is_some_and(|key| !used.may_have(key));
                    if is_unused || self.is_forgotten(version, builds).await? {
                        gone.push(name);
                    }
                }
                if !gone.is_empty() {
                    self.delete(&gone, self.soon()).await?;
                }
            }
        }
        Ok(())
    }

    async fn retire_some(
        &self,
        mut names: Vec<String>,
        used: &Used,
        newest: u64,
    ) -> Result<(), BackendError> {
        names.retain(|name| {
            let key = name.strip_prefix(TOKENS).unwrap_or_default();
            // The namespace's own has no key.
            !key.is_empty() && !used.may_have(key)
        });
        if names.is_empty() {
            return Ok(());
        }
        let mark = [(self.names.retiring(), Bytes::from_static(b"1"))];
        let marked = self.store.set_many(&mark, Some(MARK_LIFE));
        self.call(self.soon(), marked).await?;
        let values = self.get_many(&names, sweep::patience(self)).await?;
        for (name, value) in names.into_iter().zip(values) {
            let token = value.and_then(|value| Token::read(value, ""));
            if token.is_none_or(|token| token.stamp > newest) {
                continue;
            }
            // One that has an end already would never come to it.
            let left = self.call(self.soon(), self.store.ttl(&name)).await?;
            if left == Ttl::Never {
                let touched = self.store.touch(&name, Some(UNUSED_TOKEN_LIFE));
                self.call(self.soon(), touched).await?;
            }
        }
        Ok(())
    }

    /// Whether no process has announced this build lately.
    pub(super) async fn is_forgotten(
        &self,
        version: &str,
        builds: &mut Builds,
    ) -> Result<bool, BackendError> {
        if version == self.names.version() {
            return Ok(false);
        }
        if let Some(forgotten) = builds.get(version) {
            return Ok(*forgotten);
        }
        let announced = self.names.announcement(version);
        let forgotten = self.get(announced, self.soon()).await?.is_none();
        builds.insert(version.to_owned(), forgotten);
        Ok(forgotten)
    }
}
