//! Tickets, stores and leases: the scripts, called.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::ScriptInvocation;

use super::reply::{array, as_digest, belongs_to, bytes, integer, millis, nonce};
use super::up::Up;
use super::{RedisBackend, scripts};
use crate::backend::{Filling, Lease, Stored, Ticket};
use crate::error::BackendError;
use crate::protocol::Target;

/// A minted token that no store has made permanent lives this long: a scan of random ids must
/// not fill Redis with tokens of 404s.
pub(super) const UNUSED_TOKEN_LIFE: Duration = Duration::from_secs(3600);

impl RedisBackend {
    pub(super) async fn take_ticket(
        &self,
        target: &Target,
        dynamic: &[Arc<str>],
        deadline: Instant,
    ) -> Result<Ticket, BackendError> {
        let up = self.core.link.up(deadline).await?;
        let mut id = up.id();
        let mut may_adopt = true;
        loop {
            let nonce = nonce()?;
            let mut call = scripts::TICKET.prepare_invoke();
            call.key(self.names().entry(target.id))
                .key(self.names().lease(target.id))
                .key(self.names().clock());
            let mut statics = 0;
            for name in self.static_tokens(target) {
                call.key(name);
                statics += 1;
            }
            for tag in dynamic {
                call.key(self.names().token(tag));
            }
            for name in target.names().chain(dynamic) {
                call.key(self.names().holds(name));
            }
            call.arg(&*id)
                .arg(nonce.as_bytes())
                .arg(millis(self.core.shared.options.lease))
                .arg(statics)
                .arg(millis(UNUSED_TOKEN_LIFE))
                .arg(statics + dynamic.len());
            let mut answer = array(up.script(&call, deadline).await?)?.into_iter();
            let kind = bytes(answer.next())?;
            match &kind[..] {
                b"L" => {
                    let (digest, value) = (bytes(answer.next())?, bytes(answer.next())?);
                    return Ok(Ticket::Lead(Lease {
                        digest: as_digest(&digest)?,
                        value,
                    }));
                }
                b"B" => return Ok(Ticket::Busy(as_digest(&bytes(answer.next())?)?)),
                b"H" => {
                    let stored = bytes(answer.next())?;
                    return Ok(Ticket::Filled(stored.slice(1.min(stored.len())..).into()));
                }
                b"U" | b"M" => return Ok(Ticket::Held),
                b"I" if may_adopt => {
                    may_adopt = false;
                    let token = bytes(answer.next())?;
                    id = up
                        .identify(self.core.shared.fixed.as_ref(), deadline)
                        .await?;
                    if !belongs_to(&token, &id) {
                        tracing::info!(id = %id, "another incarnation of the server: the namespace starts cold");
                        self.adopt(&up, &token, &id, deadline).await?;
                    }
                }
                // Two clients that keep seeing two ids would adopt from each other for ever.
                b"I" => {
                    return Err(BackendError::Refused(
                        "the namespace token carries another server's identity again and again: two servers behind one address, or SMART_REDIS_SERVER_ID set for one process only?".into(),
                    ));
                }
                other => {
                    return Err(BackendError::Protocol(
                        String::from_utf8_lossy(other).into(),
                    ));
                }
            }
        }
    }

    async fn adopt(
        &self,
        up: &Up,
        token: &[u8],
        id: &str,
        deadline: Instant,
    ) -> Result<(), BackendError> {
        let mut call = scripts::ADOPT.prepare_invoke();
        call.key(self.names().namespace_token())
            .key(self.names().clock());
        call.arg(token).arg(id).arg(nonce()?.as_bytes());
        up.script(&call, deadline).await.map(drop)
    }

    pub(super) async fn put(
        &self,
        target: &Target,
        lease: &Lease,
        filling: Filling<'_>,
    ) -> Result<Stored, BackendError> {
        let (up, deadline) = self.up().await?;
        let options = &self.core.shared.options;
        let mut call: ScriptInvocation<'_> = scripts::STORE.prepare_invoke();
        call.key(self.names().entry(target.id))
            .key(self.names().lease(target.id))
            .key(self.names().clock())
            .key(self.names().index(&target.key));
        let mut statics = 0;
        for name in self.static_tokens(target) {
            call.key(name);
            statics += 1;
        }
        for tag in filling.dynamic {
            call.key(self.names().token(tag));
        }
        for tag in filling.dynamic {
            call.key(self.names().holds(tag));
        }
        call.arg(&lease.value[..])
            .arg(lease.digest.as_bytes())
            .arg(filling.payload);
        // A time to live below a millisecond would read as "for ever".
        call.arg(filling.ttl.map_or(0, |ttl| millis(ttl).max(1)))
            .arg(millis(options.settle))
            .arg(statics);
        call.arg(nonce()?.as_bytes())
            .arg(millis(UNUSED_TOKEN_LIFE))
            .arg(target.id.hex())
            .arg(options.max_variants)
            .arg(statics + filling.dynamic.len());
        let answer = array(up.script(&call, deadline).await?)?;
        match (integer(answer.first()), &answer[..]) {
            (Some(1), [_, ttl, victim]) => {
                if let Some(victim) = crate::entry::EntryId::parse(&String::from_utf8_lossy(
                    &bytes(Some(victim.clone()))?,
                )) {
                    let mut unlink = redis::cmd("UNLINK");
                    unlink.arg(self.names().entry(victim));
                    up.call(&unlink, up.deadline()).await?;
                }
                let ttl = integer(Some(ttl)).filter(|ttl| *ttl > 0);
                Ok(Stored::Landed(
                    ttl.map(|ttl| Duration::from_millis(ttl as u64)),
                ))
            }
            (Some(0), _) => Ok(Stored::LeaseLost),
            (Some(-1), _) => Ok(Stored::Cleared),
            (Some(-2), _) => Ok(Stored::YoungTag),
            _ => Err(BackendError::Protocol(format!("{answer:?}").into())),
        }
    }

    /// Runs a script over the lease alone; whether it still was ours.
    pub(super) async fn on_lease(
        &self,
        target: &Target,
        call: &mut ScriptInvocation<'_>,
    ) -> Result<bool, BackendError> {
        let (up, deadline) = self.up().await?;
        call.key(self.names().lease(target.id));
        Ok(integer(Some(&up.script(call, deadline).await?)) == Some(1))
    }
}
