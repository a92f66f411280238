//! Tokens in the store: read, judged, minted.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::Shared;
use crate::error::BackendError;
use crate::protocol::{Digest, Nonce};

/// A minted token that no store has made permanent lives this long: a scan of random ids must
/// not fill the store with tokens of 404s.
pub(super) const UNUSED_TOKEN_LIFE: Duration = Duration::from_secs(3600);
/// How many tokens are minted at a time.
const AT_ONCE: usize = 16;

/// A token that is there and well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    text: Bytes,
    /// Microseconds since the epoch by the clock of who minted it.
    pub(super) stamp: u64,
}

impl Token {
    /// `None` for what is no token: it counts as missing. The namespace's own must begin with the
    /// incarnation of the store, every other one with nothing.
    pub(super) fn read(text: Bytes, incarnation: &str) -> Option<Self> {
        let rest = std::str::from_utf8(&text).ok()?;
        let rest = rest.strip_prefix(incarnation)?.strip_prefix(':')?;
        let (nonce, stamp) = rest.split_once(':')?;
        let is_nonce = nonce.len() == 32 && nonce.bytes().all(|b| b.is_ascii_hexdigit());
        let stamp = stamp.parse().ok().filter(|_| is_nonce)?;
        Some(Self { text, stamp })
    }

    /// One that nobody has seen before.
    fn fresh(incarnation: &str) -> Result<Bytes, BackendError> {
        let nonce = fresh_nonce()?;
        Ok(format!("{incarnation}:{nonce}:{}", now_us()).into())
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.text
    }
}

/// The digest of these tokens; `None` when one is missing, or when there is none to begin with.
pub(super) fn digest_of(tokens: &[Option<Token>]) -> Option<Digest> {
    let tokens: Option<Vec<&Token>> = tokens.iter().map(Option::as_ref).collect();
    let tokens = tokens.filter(|tokens| !tokens.is_empty())?;
    Some(Digest::of(tokens.iter().map(|token| token.as_bytes())))
}

/// 128 random bits in hex.
pub(super) fn fresh_nonce() -> Result<String, BackendError> {
    let nonce = Nonce::fresh()
        .map_err(|error| BackendError::Protocol(format!("no randomness: {error}").into()))?;
    Ok(String::from_utf8_lossy(nonce.as_bytes()).into_owned())
}

/// Microseconds since the epoch; a clock before it counts as the epoch.
pub(super) fn now_us() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_micros() as u64)
}

/// The name of a token and what it has to begin with.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) name: String,
    incarnation: Arc<str>,
}

impl Wanted {
    pub(super) fn read(&self, value: Option<Bytes>) -> Option<Token> {
        Token::read(value?, &self.incarnation)
    }
}

impl Shared {
    /// The namespace's own token.
    pub(super) fn namespace(&self, incarnation: Arc<str>) -> Wanted {
        Wanted {
            name: self.names.namespace_token(),
            incarnation,
        }
    }

    /// The token of a key or tag.
    pub(super) fn wanted(&self, key: &str) -> Wanted {
        Wanted {
            name: self.names.token(key),
            incarnation: Arc::from(""),
        }
    }

    /// The store's incarnation, which has no colon in it.
    pub(super) async fn incarnation(&self, deadline: Instant) -> Result<Arc<str>, BackendError> {
        let text = self.call(deadline, self.store.incarnation()).await?;
        Ok(text.replace(':', "-").into())
    }

    /// Fails when the store has begun another life since it was asked for its incarnation. A
    /// connection that is made for a read may be the first to see the new life, and what was read
    /// over it must not be judged by the old one.
    pub(super) async fn is_still(
        &self,
        incarnation: &str,
        deadline: Instant,
    ) -> Result<(), BackendError> {
        if *self.incarnation(deadline).await? == *incarnation {
            return Ok(());
        }
        Err(BackendError::Disconnected(
            "the store has restarted meanwhile".into(),
        ))
    }

    /// The tokens under these names as they are now.
    pub(super) async fn read(
        &self,
        wanted: &[Wanted],
        deadline: Instant,
    ) -> Result<Vec<Option<Token>>, BackendError> {
        let names: Vec<_> = wanted.iter().map(|wanted| wanted.name.clone()).collect();
        let values = self.get_many(&names, deadline).await?;
        Ok(wanted
            .iter()
            .zip(values)
            .map(|(wanted, value)| wanted.read(value))
            .collect())
    }

    /// Puts a fresh token wherever none is, and says nothing about which: that is read back.
    ///
    /// `broken` are names under which something stands that is no token of this life of the
    /// store; it is removed first, which is a clear and therefore always safe.
    pub(super) async fn mint(
        self: &Arc<Self>,
        missing: Vec<Wanted>,
        broken: &[String],
        deadline: Instant,
    ) -> Result<(), BackendError> {
        if !broken.is_empty() {
            self.delete(broken, deadline).await?;
        }
        let mut missing = missing.into_iter();
        let mut minting = JoinSet::new();
        loop {
            while minting.len() < AT_ONCE
                && let Some(wanted) = missing.next()
            {
                let shared = Arc::clone(self);
                minting.spawn(async move { shared.mint_one(&wanted, deadline).await });
            }
            match minting.join_next().await {
                None => return Ok(()),
                Some(Ok(minted)) => minted?,
                Some(Err(_)) => {
                    return Err(BackendError::ended());
                }
            }
        }
    }

    async fn mint_one(&self, wanted: &Wanted, deadline: Instant) -> Result<(), BackendError> {
        let is_namespace = wanted.name == self.names.namespace_token();
        let expiry = (!is_namespace).then_some(UNUSED_TOKEN_LIFE);
        let token = Token::fresh(&wanted.incarnation)?;
        // Never sent twice: a second delivery after a clear would bring the first token back.
        let add = self.store.add(&wanted.name, token, expiry);
        self.call(deadline, add).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, incarnation: &str) -> Option<u64> {
        Token::read(Bytes::copy_from_slice(text.as_bytes()), incarnation).map(|token| token.stamp)
    }

    #[test]
    fn a_token_is_of_one_incarnation_only() {
        let nonce = "0123456789abcdef0123456789abcdef";
        assert_eq!(read(&format!("prod:{nonce}:7"), "prod"), Some(7));
        assert_eq!(read(&format!("prod2:{nonce}:7"), "prod"), None);
        assert_eq!(read(&format!("prod:{nonce}:7"), "prod2"), None);
        assert_eq!(read(&format!(":{nonce}:7"), ""), Some(7));
        assert_eq!(read(&format!(":{nonce}:7"), "prod"), None);
        assert_eq!(read(&format!("prod:{nonce}:7"), ""), None);
    }

    #[test]
    fn what_is_no_token_is_a_missing_one() {
        for text in [
            "",
            ":",
            "!",
            "::7",
            ":short:7",
            ":0123456789abcdef0123456789abcdef:",
            ":0123456789abcdef0123456789abcdeg:7",
        ] {
            assert_eq!(read(text, ""), None, "{text:?}");
        }
    }

    #[test]
    fn a_fresh_token_reads_back() {
        let token = Token::fresh("life").unwrap();
        assert!(Token::read(token, "life").is_some());
    }
}
