//! What the answer to a lookup proves of an entry.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::OnceCell;

use super::batch::Mget;
use crate::backend::redis::Core;
use crate::backend::redis::reply::{Tokens, array, digest};
use crate::backend::{Lookup, Payload, Stale};
use crate::error::BackendError;
use crate::local::Sample;
use crate::protocol::{Digest, expired_at, origin, token_name};

/// The digests in front of every entry: of its static tokens, of those that its handler had found,
/// and of the origins of all of them.
pub(in crate::backend::redis) const DIGESTS: usize = 120;
const ORIGINS: std::ops::Range<usize> = 80..120;
/// In place of the second digest when an entry has no dynamic tags.
pub(in crate::backend::redis) const NO_DYNAMIC: [u8; 40] = [b'-'; 40];

/// What the first answer says of an entry.
#[derive(Debug)]
pub(super) enum Judged {
    Known(Lookup),
    /// Its static tokens do not rule it out; those of the tags that its handler had found are
    /// still to be asked for.
    Tagged(Box<Tagged>, OnceCell<Lookup>),
}

/// An entry that lists tags which its handler had found.
#[derive(Debug)]
pub(super) struct Tagged {
    entry: Bytes,
    payload: Payload,
    tags: Vec<Arc<str>>,
    digest: Digest,
    /// What its static tokens say.
    statics: Statics,
    sample: Option<Sample>,
}

/// What the static tokens of an entry say of it.
#[derive(Debug)]
struct Statics {
    current: bool,
    /// Begins the digest over the origins of all tokens.
    origins: Origins,
}

/// The origins of an entry's tokens, joined as the store script does it.
#[derive(Debug, Clone, Default)]
pub(in crate::backend::redis) struct Origins {
    joined: Vec<u8>,
    /// When one of them was expired last, if one was.
    expired: Option<u64>,
}

impl Origins {
    pub(in crate::backend::redis) fn extend(&mut self, tokens: &[&[u8]]) {
        for token in tokens {
            if !self.joined.is_empty() {
                self.joined.push(b' ');
            }
            self.joined.extend_from_slice(origin(token));
            self.expired = self.expired.max(expired_at(token));
        }
    }

    /// Whether no clear has outlawed this entry; when it was expired.
    pub(in crate::backend::redis) fn spare(&self, entry: &[u8]) -> Option<SystemTime> {
        let since = self.expired?;
        let digest = Digest::of(std::iter::once(&self.joined[..]));
        (entry.get(ORIGINS)? == digest.as_bytes())
            .then(|| UNIX_EPOCH + Duration::from_micros(since))
    }
}

/// Whether an entry proves that it is current, as far as its static tokens tell; there are none, and
/// no digest of them, when one is missing.
pub(super) fn judge(
    entry: Option<Bytes>,
    tokens: &[&[u8]],
    digest: Option<Digest>,
    sample: Option<Sample>,
) -> Judged {
    let miss = |dynamic| Judged::Known(Lookup::Miss { digest, dynamic });
    // One mark behind the digests tells whether the entry expires; then comes the payload.
    let Some(entry) = entry.filter(|entry| entry.len() > DIGESTS) else {
        return miss(Vec::new());
    };
    let (first, second) = (&entry[..40], &entry[40..80]);
    // What has a time to live would outlive it in a local tier.
    let sample = sample.filter(|_| entry[DIGESTS] == b'f');
    let payload = Payload::from(entry.slice(DIGESTS + 1..));
    let is_current = digest.is_some_and(|digest| digest.as_bytes() == first);
    let is_tagged = second != NO_DYNAMIC;
    if is_current && !is_tagged {
        return Judged::Known(Lookup::Hit(payload.sampled(sample)));
    }
    let tags = if is_tagged {
        payload.dynamic()
    } else {
        Vec::new()
    };
    // Only what was expired, or may have been by a tag that was found, can still be shown.
    let may_be_spared = is_current || tokens.iter().any(|token| expired_at(token).is_some());
    let Some(digest) = digest.filter(|_| may_be_spared && is_tagged != tags.is_empty()) else {
        return miss(tags);
    };
    let mut origins = Origins::default();
    origins.extend(tokens);
    if is_tagged {
        let tagged = Tagged {
            statics: Statics {
                current: is_current,
                origins,
            },
            entry,
            payload,
            tags,
            digest,
            sample,
        };
        return Judged::Tagged(Box::new(tagged), OnceCell::new());
    }
    match origins.spare(&entry) {
        Some(since) => Judged::Known(Lookup::Stale(Stale {
            payload,
            digest,
            dynamic: tags,
            since,
        })),
        None => miss(tags),
    }
}

impl Tagged {
    /// Asks for the tokens of the tags that the handler had found.
    pub(super) async fn look_up(
        &self,
        core: &Core,
        deadline: Instant,
    ) -> Result<Lookup, BackendError> {
        let mut sample = self.sample.clone();
        if let (Some(sample), Some(freshness)) = (&mut sample, &core.shared.freshness) {
            // Before their question is sent.
            let names: Vec<_> = self.tags.iter().map(|tag| token_name(tag)).collect();
            freshness.extend(sample, names.iter().map(|name| &**name));
        }
        let mut mget = Mget::new();
        for tag in &self.tags {
            mget.add(|name| core.shared.names.push_token(name, tag));
        }
        let up = core.link.up(deadline).await?;
        let replies = array(up.call(mget.command(), deadline).await?)?;
        if let Tokens::Whole(tokens) = Tokens::read(replies.iter()) {
            if self.statics.current && digest(&tokens).as_bytes() == &self.entry[40..80] {
                return Ok(Lookup::Hit(self.payload.clone().sampled(sample)));
            }
            let mut origins = self.statics.origins.clone();
            origins.extend(&tokens);
            if let Some(since) = origins.spare(&self.entry) {
                return Ok(Lookup::Stale(Stale {
                    payload: self.payload.clone(),
                    digest: self.digest,
                    dynamic: self.tags.clone(),
                    since,
                }));
            }
        }
        Ok(Lookup::Miss {
            digest: Some(self.digest),
            dynamic: self.tags.clone(),
        })
    }
}
