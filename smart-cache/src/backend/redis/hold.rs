//! Holds: tokens marked before a write, so that a writer that dies after its commit leaves nothing
//! stale.

use std::time::Duration;

use redis::{Script, ScriptInvocation};

use super::reply::millis;
use super::{RedisBackend, replicas, scripts};
use crate::error::BackendError;

impl RedisBackend {
    pub(super) async fn begin_hold(
        &self,
        keys: &[String],
        writer: &str,
        longest: Duration,
    ) -> Result<(), BackendError> {
        let mut call = self.on_holds(&scripts::HOLD, keys, writer);
        call.arg(millis(longest).max(1));
        self.run(&call).await
    }

    pub(super) async fn end_hold(&self, keys: &[String], writer: &str) -> Result<(), BackendError> {
        self.run(&self.on_holds(&scripts::UNHOLD, keys, writer))
            .await
    }

    fn on_holds<'a>(
        &self,
        script: &'a Script,
        keys: &[String],
        writer: &str,
    ) -> ScriptInvocation<'a> {
        let mut call = script.prepare_invoke();
        for key in keys {
            call.key(self.names().token(key))
                .key(self.names().holds(key));
        }
        call.arg(writer);
        call
    }

    async fn run(&self, call: &ScriptInvocation<'_>) -> Result<(), BackendError> {
        let (up, deadline) = self.up().await?;
        replicas::script(&self.core.shared, &up, call, deadline)
            .await
            .map(drop)
    }
}
