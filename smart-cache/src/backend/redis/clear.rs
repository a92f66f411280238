//! Clears: tokens deleted, in one command wherever they are in one place; and soft ones: tokens
//! marked.

use std::time::Instant;

use redis::AsyncConnectionConfig;

use super::reply::nonce;
use super::up::Up;
use super::{RedisBackend, scripts};
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
            up.script(&call, deadline).await?;
        }
        Ok(())
    }

    /// Deletes tokens in one command, never in a transaction: at the memory limit Redis refuses
    /// a transaction and takes a plain DEL.
    ///
    /// While a slot moves to another node of a cluster, some of its names are there already; then
    /// each name is deleted where it is.
    pub(super) async fn delete_tokens(
        &self,
        names: impl Iterator<Item = String>,
    ) -> Result<(), BackendError> {
        let (up, deadline) = self.up().await?;
        let names: Vec<String> = names.collect();
        let mut del = redis::cmd("DEL");
        del.arg(&names);
        match up.call(&del, deadline).await {
            Err(BackendError::Refused(why))
                if why.starts_with("TRYAGAIN") || why.starts_with("ASK ") =>
            {
                for name in &names {
                    self.delete_where_it_is(&up, name, deadline).await?;
                }
                Ok(())
            }
            answer => answer.map(drop),
        }
    }

    async fn delete_where_it_is(
        &self,
        up: &Up,
        name: &str,
        deadline: Instant,
    ) -> Result<(), BackendError> {
        let mut del = redis::cmd("DEL");
        del.arg(name);
        match up.call(&del, deadline).await {
            Err(BackendError::Refused(why)) if why.starts_with("ASK ") => {
                let elsewhere = self.delete_at(&why, name);
                let late = || BackendError::Timeout(self.core.shared.options.timeout);
                tokio::time::timeout_at(deadline.into(), elsewhere)
                    .await
                    .map_err(|_| late())?
            }
            answer => answer.map(drop),
        }
    }

    /// Follows `ASK <slot> <host>:<port>`, for this one command as the protocol wants it.
    async fn delete_at(&self, ask: &str, name: &str) -> Result<(), BackendError> {
        let refused = || BackendError::Refused(ask.into());
        let (host, port) = ask
            .rsplit(' ')
            .next()
            .and_then(|place| place.rsplit_once(':'))
            .ok_or_else(refused)?;
        let port = port.parse().map_err(|_| refused())?;
        let failed =
            |error: redis::RedisError| BackendError::Disconnected(error.to_string().into());
        let place = redis::ConnectionAddr::Tcp(host.to_owned(), port);
        let client =
            redis::Client::open(self.core.shared.info.clone().set_addr(place)).map_err(failed)?;
        let config = AsyncConnectionConfig::new();
        let mut there = client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .map_err(failed)?;
        let mut both = redis::pipe();
        both.cmd("ASKING").ignore().cmd("DEL").arg(name).ignore();
        both.query_async(&mut there).await.map_err(failed)
    }
}
