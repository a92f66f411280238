//! Clears: tokens deleted, in one command wherever they are in one place; and soft ones: tokens
//! marked.

use std::sync::Arc;
use std::time::Instant;

use super::asking::{self, is_on_its_way};
use super::reply::nonce;
use super::up::Up;
use super::{RedisBackend, replicas, scripts};
use crate::error::BackendError;

/// Keys of one call of the script, which no other command can interrupt.
const EXPIRED_AT_ONCE: usize = 1_000;

impl RedisBackend {
    /// Marks tokens as expired; one round trip for each thousand.
    pub(super) async fn expire_tokens(&self, keys: &[String]) -> Result<(), BackendError> {
        for keys in keys.chunks(EXPIRED_AT_ONCE) {
            let (up, deadline) = self.up().await?;
            let mut call = scripts::EXPIRE.prepare_invoke();
            call.key(self.names().clock());
            for key in keys {
                call.key(self.names().token(key));
            }
            // A fresh nonce for each attempt, so that a repeated one marks again and undoes nothing.
            call.arg(nonce()?.as_bytes());
            replicas::script(&self.core.shared, &up, &call, deadline).await?;
        }
        Ok(())
    }

    /// Deletes tokens in one command, never in a transaction: at the memory limit Redis refuses
    /// a transaction and takes a plain DEL.
    ///
    /// While a slot moves to another node of a cluster, some of its names are there already; then
    /// each name is deleted where it is. A slot that has moved has another owner, who is asked
    /// instead if that is found in time.
    pub(super) async fn delete_tokens(
        &self,
        names: impl Iterator<Item = String>,
    ) -> Result<(), BackendError> {
        let names: Vec<String> = names.collect();
        let mut del = redis::cmd("DEL");
        del.arg(&names);
        let last = Instant::now() + self.core.shared.options.timeout;
        loop {
            let (up, deadline) = self.up().await?;
            match replicas::call(&self.core.shared, &up, &del, deadline).await {
                Err(BackendError::Refused(why)) if is_on_its_way(&why) => {
                    return self.delete_each(&up, &names, deadline).await;
                }
                // Nothing was deleted, so it is safe to ask again.
                Err(BackendError::Refused(why))
                    if why.starts_with("MOVED ") && Instant::now() < last => {}
                answer => return answer.map(drop),
            }
        }
    }

    /// Makes the namespace cold, or this partition of it.
    pub(super) async fn delete_namespace_token(&self) -> Result<(), BackendError> {
        self.delete_tokens(std::iter::once(self.names().namespace_token()))
            .await
    }

    async fn delete_each(
        &self,
        up: &Arc<Up>,
        names: &[String],
        deadline: Instant,
    ) -> Result<(), BackendError> {
        for name in names {
            let mut del = redis::cmd("DEL");
            del.arg(name);
            let shared = &self.core.shared;
            let answer = replicas::call(shared, up, &del, deadline).await;
            asking::follow_clear(shared, up, answer, &del, deadline).await?;
        }
        Ok(())
    }
}
