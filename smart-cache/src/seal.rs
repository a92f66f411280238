//! What is stored, sealed: authenticated encryption by keys that only the application has.
//!
//! A sealed text is `key id (4) | nonce (24) | ciphertext and tag`, by XChaCha20-Poly1305: its nonce
//! is long enough to be random. It is bound to what it belongs to (the namespace, the name of the
//! value or the entry), so that it opens nowhere else. The first key seals, all of them open, so
//! keys can be exchanged: add the new one behind the old one everywhere, then in front of it, then
//! leave the old one out. What does not open is a miss.

#[cfg(feature = "encryption")]
mod keys;

#[cfg(feature = "encryption")]
pub(crate) use keys::Keyring;

/// Without the feature there are no keys.
#[cfg(not(feature = "encryption"))]
#[derive(Debug, Clone)]
pub(crate) enum Keyring {}

#[cfg(not(feature = "encryption"))]
impl Keyring {
    pub(crate) fn within(&self, _: &str) -> Self {
        match *self {}
    }

    pub(crate) fn seal(&self, _: &Bound<'_>, _: &[u8]) -> Option<Vec<u8>> {
        match *self {}
    }

    pub(crate) fn open(&self, _: &Bound<'_>, _: &[u8]) -> Option<Vec<u8>> {
        match *self {}
    }
}

/// What a sealed text belongs to.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(
    not(feature = "encryption"),
    expect(dead_code, reason = "read where there are keys")
)]
pub(crate) enum Bound<'a> {
    /// A value under this key.
    Value { key: &'a str },
    /// An entry with its id and the head in front of it.
    Entry { id: &'a [u8], head: &'a [u8] },
}
