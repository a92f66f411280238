//! Tokens, their digest, and what an entry depends on.

use std::borrow::Cow;
use std::sync::Arc;

use crate::entry::EntryId;

/// Most tags of one entry, found ones included: a lookup reads the token of each.
pub(crate) const MAX_TAGS: usize = 1_000;

/// Longer keys name their token by their hash: a name is sent with every lookup.
const LONGEST_NAME: usize = 512;

/// How a key names its token. A long key is named `#` and its hash; a key that begins with `#`
/// gets a second one, so the two never meet. No name is empty: that is the namespace's own.
pub(crate) fn token_name(key: &str) -> Cow<'_, str> {
    if key.len() > LONGEST_NAME {
        Cow::Owned(format!("#{}", blake3::hash(key.as_bytes()).to_hex()))
    } else if key.starts_with('#') {
        Cow::Owned(format!("#{key}"))
    } else {
        Cow::Borrowed(key)
    }
}

/// The forty hex digits of the SHA-1 of an entry's tokens. SHA-1 only because Redis computes it
/// in scripts: the tokens are random, so nobody can choose two lists that collide.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 40]);

impl Digest {
    /// Digests tokens joined by one space, as the scripts do.
    #[must_use]
    pub fn of<'a>(tokens: impl Iterator<Item = &'a [u8]>) -> Self {
        Digesting::default().of(tokens)
    }

    /// Reads forty bytes as a digest; they need not be hex, for they are only compared.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }

    /// The forty bytes as they are stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 40] {
        &self.0
    }
}

/// A digest whose first tokens are known: entries of one namespace begin with the same one, which is
/// worked in once for all of them.
#[derive(Clone, Default)]
pub(crate) struct Digesting {
    sha: sha1_smol::Sha1,
    has_begun: bool,
}

impl Digesting {
    pub(crate) fn begin(token: &[u8]) -> Self {
        let mut digesting = Self::default();
        digesting.add(token);
        digesting
    }

    fn add(&mut self, token: &[u8]) {
        if self.has_begun {
            self.sha.update(b" ");
        }
        self.sha.update(token);
        self.has_begun = true;
    }

    /// The digest with these tokens behind the first ones.
    pub(crate) fn of<'a>(mut self, tokens: impl Iterator<Item = &'a [u8]>) -> Digest {
        tokens.for_each(|token| self.add(token));
        let mut digits = [0; 40];
        hex_into(&self.sha.digest().bytes(), &mut digits);
        Digest(digits)
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// What of a token only a clear changes: nonce and stamp as of its last clear. A token that was
/// expired since remembers them behind `~`; of any other they are its own, and the namespace's token,
/// which is never expired, stands for itself. The stamp belongs to it, for a ticket that is delivered
/// twice mints its nonce again.
pub(crate) fn origin(token: &[u8]) -> &[u8] {
    let Some(own) = token.strip_prefix(b":") else {
        return token;
    };
    let (own, origin) = match own.iter().position(|byte| *byte == b'~') {
        Some(at) => (&own[..at], &own[at + 1..]),
        None => (own, own),
    };
    if is_minted(own) && is_minted(origin) {
        origin
    } else {
        token
    }
}

/// Whether this is `<nonce>:<stamp>`.
fn is_minted(text: &[u8]) -> bool {
    let Some(colon) = text.iter().position(|byte| *byte == b':') else {
        return false;
    };
    let (nonce, stamp) = (&text[..colon], &text[colon + 1..]);
    !nonce.is_empty()
        && !stamp.is_empty()
        && nonce.iter().all(u8::is_ascii_hexdigit)
        && stamp.iter().all(u8::is_ascii_digit)
}

/// When a token was expired, by the server's clock in microseconds; `None` if it was not.
pub(crate) fn expired_at(token: &[u8]) -> Option<u64> {
    let end = token.iter().position(|byte| *byte == b'~')?;
    let stamp = token[..end].rsplit(|byte| *byte == b':').next()?;
    std::str::from_utf8(stamp).ok()?.parse().ok()
}

/// An entry and what it depends on: one key and its declared tags.
#[derive(Debug, Clone)]
pub struct Target {
    pub(crate) id: EntryId,
    pub(crate) key: Arc<str>,
    /// Sorted, unique, without the key: the order of tokens in a digest is fixed.
    pub(crate) tags: Vec<Arc<str>>,
}

impl Target {
    /// The entry that `variant` (bytes that no other request shares) names under `key`.
    #[must_use]
    pub fn new(key: &str, tags: &[&str], variant: &[u8]) -> Self {
        let tags = tags.iter().map(|tag| (*tag).into()).collect();
        Self::from_parts(EntryId::of(variant), key.into(), tags)
    }

    pub(crate) fn from_parts(id: EntryId, key: Arc<str>, mut tags: Vec<Arc<str>>) -> Self {
        tags.sort_unstable();
        tags.dedup();
        tags.retain(|tag| *tag != key);
        Self { id, key, tags }
    }

    /// The key, then the tags: the order of the tokens behind the namespace's.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        std::iter::once(&self.key).chain(&self.tags)
    }

    /// Whether a clear of `name` outlaws this entry by what it declares.
    pub(crate) fn depends_on(&self, name: &str) -> bool {
        self.names().any(|own| &**own == name)
    }
}

/// 128 random bits as hex, fresh for each attempt: a token is never a function of the request.
pub(crate) struct Nonce([u8; 32]);

impl Nonce {
    /// Fails only where the operating system has no randomness to give.
    pub(crate) fn fresh() -> Result<Self, getrandom::Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        let mut digits = [0; 32];
        hex_into(&random, &mut digits);
        Ok(Self(digits))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Half of it, as a name for something that lives for a while.
    pub(crate) fn short(&self) -> String {
        String::from_utf8_lossy(&self.0[..16]).into_owned()
    }
}

/// Lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    push_hex(&mut text, bytes);
    text
}

/// Writes lower-case hex digits behind a text.
pub(crate) fn push_hex(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.chunks(32) {
        let mut digits = [0; 64];
        let digits = &mut digits[..2 * chunk.len()];
        hex_into(chunk, digits);
        text.push_str(std::str::from_utf8(digits).unwrap_or_default());
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn hex_into(bytes: &[u8], digits: &mut [u8]) {
    for (byte, pair) in bytes.iter().zip(digits.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_the_one_that_redis_computes() {
        let tokens: [&[u8]; 2] = [b"a", b"b"];
        // redis-cli EVAL "return redis.sha1hex('a b')" 0
        assert_eq!(
            format!("{:?}", Digest::of(tokens.into_iter())),
            "7dbde93504122a707f849f2c12bdd9de71b41929"
        );
    }

    #[test]
    fn a_digest_goes_on_from_its_first_tokens() {
        let tokens: [&[u8]; 3] = [&[b'n'; 66], b"key", b"tag"];
        let begun = Digesting::begin(tokens[0]);
        for last in 1..=3 {
            let behind = tokens[1..last].iter().copied();
            let whole = tokens[..last].iter().copied();
            assert_eq!(begun.clone().of(behind), Digest::of(whole));
        }
    }

    #[test]
    fn a_token_that_was_expired_remembers_its_last_clear() {
        for (token, expected) in [
            (":ab:12", "ab:12"),
            (":cd:13~ab:12", "ab:12"),
            ("id:ab:12", "id:ab:12"),
            (":ab:", ":ab:"),
            (":ab:1~", ":ab:1~"),
            (":ab:1x", ":ab:1x"),
            (":xy:1", ":xy:1"),
            (":cd:13~xy:1", ":cd:13~xy:1"),
            (":cd:13~ab", ":cd:13~ab"),
            (":cd:13~ab:12~ab:12", ":cd:13~ab:12~ab:12"),
            ("!", "!"),
            ("", ""),
        ] {
            assert_eq!(origin(token.as_bytes()), expected.as_bytes(), "{token}");
        }
        assert_eq!(expired_at(b":cd:13~ab:12"), Some(13));
        assert_eq!(expired_at(b":cd:13"), None);
    }

    #[test]
    fn tags_are_sorted_and_do_not_repeat_the_key() {
        let target = Target::new("k", &["b", "a", "k", "b"], b"v");
        assert_eq!(
            target.names().map(|name| &**name).collect::<Vec<_>>(),
            ["k", "a", "b"]
        );
    }
}
