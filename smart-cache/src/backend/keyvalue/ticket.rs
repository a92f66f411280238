//! Lookups, and tickets with their leases.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::Shared;
use super::entry::Kept;
use super::tokens::{Token, Wanted, digest_of, fresh_nonce, now_us};
use crate::backend::{Lease, Lookup, Payload, Ticket};
use crate::error::BackendError;
use crate::protocol::{Digest, Target};

/// How often a ticket begins again because what it minted is gone already.
const ATTEMPTS: usize = 4;

/// What the holder of a lease knows; its bytes are the lease's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Granted {
    nonce: String,
    /// When the ticket was taken, in microseconds since the epoch.
    pub(super) began: u64,
    /// The tokens of the tags that were expected to be found, as of the ticket.
    pub(super) foreseen: Vec<(String, Bytes)>,
}

impl Shared {
    pub(super) async fn look_up(
        &self,
        target: &Target,
        deadline: Instant,
    ) -> Result<Lookup, BackendError> {
        let incarnation = self.incarnation(deadline).await?;
        let statics = self.statics(target, Arc::clone(&incarnation));
        let mut names = vec![self.names.entry(target.id)];
        names.extend(statics.iter().map(|wanted| wanted.name.clone()));
        let mut values = self.get_many(&names, deadline).await?.into_iter();
        let kept = values.next().flatten().and_then(Kept::read);
        let tokens: Vec<_> = statics
            .iter()
            .zip(values)
            .map(|(wanted, value)| wanted.read(value))
            .collect();
        let digest = digest_of(&tokens);
        let Some(kept) = kept else {
            return Ok(Lookup::Miss {
                digest,
                dynamic: Vec::new(),
            });
        };
        let dynamic = kept.payload.dynamic();
        if let Some(digest) = digest {
            let wanted: Vec<_> = dynamic.iter().map(|tag| self.wanted(tag)).collect();
            let found = self.read(&wanted, deadline).await?;
            let complete = found.iter().all(Option::is_some);
            if complete && kept.proves(digest, digest_of(&found)) {
                self.is_still(&incarnation, deadline).await?;
                return Ok(Lookup::Hit(kept.payload));
            }
        }
        Ok(Lookup::Miss { digest, dynamic })
    }

    pub(super) async fn take_ticket(
        self: &Arc<Self>,
        target: &Target,
        foreseen: &[Arc<str>],
        deadline: Instant,
    ) -> Result<Ticket, BackendError> {
        // A token that is minted from now on is younger than the ticket, so its answer settles.
        let began = now_us();
        for _ in 0..ATTEMPTS {
            let incarnation = self.incarnation(deadline).await?;
            let mut wanted = self.statics(target, Arc::clone(&incarnation));
            let statics = wanted.len();
            let mut tags = foreseen.to_vec();
            tags.sort_unstable();
            tags.dedup();
            wanted.extend(tags.iter().map(|tag| self.wanted(tag)));
            let mut names = vec![self.names.entry(target.id)];
            names.extend(wanted.iter().map(|wanted| wanted.name.clone()));
            let mut values = self.get_many(&names, deadline).await?.into_iter();
            let kept = values.next().flatten().and_then(Kept::read);
            let mut values: Vec<_> = values.collect();
            // What somebody has stored since the lookup may have found other tags.
            let listed = kept.as_ref().map(|kept| kept.payload.dynamic());
            let is_new = |tag: &Arc<str>| foreseen.iter().all(|known| known != tag);
            let more: Vec<_> = listed
                .unwrap_or_default()
                .into_iter()
                .filter(is_new)
                .collect();
            if !more.is_empty() {
                let more_wanted: Vec<_> = more.iter().map(|tag| self.wanted(tag)).collect();
                let names: Vec<_> = more_wanted.iter().map(|new| new.name.clone()).collect();
                values.extend(self.get_many(&names, deadline).await?);
                wanted.extend(more_wanted);
                tags.extend(more);
            }
            let Some(tokens) = self.minted(&wanted, values, deadline).await? else {
                continue;
            };
            self.is_still(&incarnation, deadline).await?;
            let (own, found) = tokens.split_at(statics);
            let digest = Digest::of(own.iter().map(Token::as_bytes));
            let mut foreseen: Vec<(String, Bytes)> = tags
                .iter()
                .zip(found)
                .map(|(tag, token)| (tag.to_string(), Bytes::copy_from_slice(token.as_bytes())))
                .collect();
            foreseen.sort_unstable();
            if let Some(payload) = kept.and_then(|kept| proved(kept, digest, &foreseen)) {
                return Ok(Ticket::Filled(payload));
            }
            let granted = Granted {
                nonce: fresh_nonce()?,
                began,
                foreseen,
            };
            let ticket = self.take_lease(target, digest, &granted, deadline).await?;
            if let Ticket::Lead(lease) = &ticket
                && let Some(payload) = self.filled(target, lease, &granted, deadline).await
            {
                return Ok(Ticket::Filled(payload));
            }
            return Ok(ticket);
        }
        Err(BackendError::Refused(
            "tokens are gone as soon as they are minted: is the store full, or cleared all the time?"
                .into(),
        ))
    }

    /// The namespace's token, the key's, the tags': the order of a digest.
    pub(super) fn statics(&self, target: &Target, incarnation: Arc<str>) -> Vec<Wanted> {
        std::iter::once(self.namespace(incarnation))
            .chain(target.names().map(|name| self.wanted(name)))
            .collect()
    }

    /// All these tokens, of which these values were read; `None` when one was missing, was minted,
    /// and is missing again.
    async fn minted(
        self: &Arc<Self>,
        wanted: &[Wanted],
        values: Vec<Option<Bytes>>,
        deadline: Instant,
    ) -> Result<Option<Vec<Token>>, BackendError> {
        let (mut tokens, mut missing, mut broken) = (Vec::new(), Vec::new(), Vec::new());
        for (wanted, value) in wanted.iter().zip(values) {
            let is_there = value.is_some();
            let token = wanted.read(value);
            if token.is_none() {
                missing.push(wanted.clone());
                broken.extend(is_there.then(|| wanted.name.clone()));
            }
            tokens.push(token);
        }
        if !missing.is_empty() {
            self.mint(missing, &broken, deadline).await?;
            // Another process may have been faster, so what counts is what is there now.
            tokens = self.read(wanted, deadline).await?;
        }
        Ok(tokens.into_iter().collect())
    }

    /// What the last holder of this lease has stored, between this ticket's look at the entry and
    /// the lease: then nothing is computed again, and the lease goes back.
    async fn filled(
        &self,
        target: &Target,
        lease: &Lease,
        granted: &Granted,
        deadline: Instant,
    ) -> Option<Payload> {
        // A look that fails costs a handler run at most.
        let kept = self.get(self.names.entry(target.id), deadline).await.ok()?;
        let payload = proved(kept.and_then(Kept::read)?, lease.digest, &granted.foreseen)?;
        if let Err(why) = self.spend(target, lease).await {
            tracing::debug!(key = %target.key, cause = %why, "a lease could not be given back; it expires by itself");
        }
        Some(payload)
    }

    /// At most one lease for an entry and a digest, as far as the store's `add` goes.
    async fn take_lease(
        &self,
        target: &Target,
        digest: Digest,
        granted: &Granted,
        deadline: Instant,
    ) -> Result<Ticket, BackendError> {
        let value = granted.to_bytes();
        let (name, mark) = (self.names.lease(target.id), mark_of(digest, &value));
        let expiry = Some(self.options.lease);
        for _ in 0..ATTEMPTS {
            let add = self.store.add(&name, mark.clone(), expiry);
            if self.call(deadline, add).await? {
                return Ok(Ticket::Lead(Lease { digest, value }));
            }
            match self.get(name.clone(), deadline).await? {
                Some(held) if held.starts_with(digest.as_bytes()) => {
                    return Ok(Ticket::Busy(digest));
                }
                // Whoever holds it answers for tokens from before a clear.
                Some(_) => {
                    let values = [(name.clone(), mark.clone())];
                    self.call(deadline, self.store.set_many(&values, expiry))
                        .await?;
                    return Ok(Ticket::Lead(Lease { digest, value }));
                }
                None => {}
            }
        }
        Ok(Ticket::Busy(digest))
    }

    /// Whether the lease is still this one's.
    pub(super) async fn holds(&self, target: &Target, lease: &Lease) -> Result<bool, BackendError> {
        let held = self.get(self.names.lease(target.id), self.soon()).await?;
        Ok(held.is_some_and(|held| held == mark_of(lease.digest, &lease.value)))
    }

    /// Gives the lease back; whether it was still this one's. Of two who do, one is told so.
    pub(super) async fn spend(&self, target: &Target, lease: &Lease) -> Result<bool, BackendError> {
        if !self.holds(target, lease).await? {
            return Ok(false);
        }
        let names = [self.names.lease(target.id)];
        Ok(self.delete(&names, self.soon()).await? > 0)
    }
}

/// What an entry holds, if the tokens of a ticket are those that it was stored under.
fn proved(kept: Kept, digest: Digest, foreseen: &[(String, Bytes)]) -> Option<Payload> {
    let of_list = listed_digest(&kept.payload.dynamic(), foreseen);
    kept.proves(digest, of_list).then_some(kept.payload)
}

/// The digest of the tags of a list, by their tokens as of the ticket.
pub(super) fn listed_digest(list: &[Arc<str>], foreseen: &[(String, Bytes)]) -> Option<Digest> {
    let token = |tag: &Arc<str>| {
        let at = foreseen.binary_search_by(|(name, _)| name.as_str().cmp(tag));
        at.ok().map(|at| &*foreseen[at].1)
    };
    let tokens: Option<Vec<&[u8]>> = list.iter().map(token).collect();
    let tokens = tokens.filter(|tokens| !tokens.is_empty())?;
    Some(Digest::of(tokens.into_iter()))
}

/// What stands under a lease's name: for which tokens it is, and whose.
fn mark_of(digest: Digest, value: &[u8]) -> Bytes {
    let whose = blake3::hash(value).to_hex();
    [digest.as_bytes(), &whose.as_bytes()[..32]].concat().into()
}

impl Granted {
    fn to_bytes(&self) -> Bytes {
        let mut out = format!("{}:{}\n", self.nonce, self.began).into_bytes();
        for (tag, token) in &self.foreseen {
            for part in [tag.as_bytes(), token] {
                out.extend_from_slice(&(part.len() as u32).to_le_bytes());
                out.extend_from_slice(part);
            }
        }
        out.into()
    }

    /// `None` for a value that no ticket has given.
    pub(super) fn read(value: &Bytes) -> Option<Self> {
        let line = value.iter().position(|byte| *byte == b'\n')?;
        let (nonce, began) = std::str::from_utf8(&value[..line]).ok()?.split_once(':')?;
        let mut rest = value.slice(line + 1..);
        let mut part = || {
            let length = u32::from_le_bytes(*rest.first_chunk::<4>()?) as usize;
            let part = rest.get(4..4 + length).map(Bytes::copy_from_slice)?;
            rest = rest.slice(4 + length..);
            Some(part)
        };
        let mut foreseen = Vec::new();
        while let Some(tag) = part() {
            foreseen.push((String::from_utf8(tag.to_vec()).ok()?, part()?));
        }
        Some(Self {
            nonce: nonce.to_owned(),
            began: began.parse().ok()?,
            foreseen,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_lease_knows_survives_its_bytes() {
        let token = |text: &'static str| Bytes::from_static(text.as_bytes());
        for foreseen in [
            vec![],
            vec![("a\n:".to_owned(), token("1")), ("b".to_owned(), token(""))],
        ] {
            let granted = Granted {
                nonce: "abc".to_owned(),
                began: 7,
                foreseen,
            };
            assert_eq!(Granted::read(&granted.to_bytes()), Some(granted));
        }
        assert_eq!(Granted::read(&Bytes::from_static(b"invented")), None);
    }
}
