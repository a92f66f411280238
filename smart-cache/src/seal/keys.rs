//! The keys themselves; nothing here is ever shown.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};

use super::Bound;

const KEY: usize = 32;
const ID: usize = 4;
const NONCE: usize = 24;

/// The first key seals, all of them open.
#[derive(Clone)]
pub(crate) struct Keyring {
    keys: Vec<([u8; ID], XChaCha20Poly1305)>,
    namespace: String,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keyring({} keys)", self.keys.len())
    }
}

impl Keyring {
    /// Reads keys of 32 bytes in hex or base64, joined by commas; `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let keys: Option<Vec<_>> = text.split(',').map(|key| Self::key(key.trim())).collect();
        let keys = keys.filter(|keys| !keys.is_empty())?;
        Some(Self {
            keys,
            namespace: String::new(),
        })
    }

    /// The same keys for what is in one namespace.
    pub(crate) fn within(&self, namespace: &str) -> Self {
        Self {
            keys: self.keys.clone(),
            namespace: namespace.to_owned(),
        }
    }

    fn key(text: &str) -> Option<([u8; ID], XChaCha20Poly1305)> {
        use data_encoding::{
            BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE,
        };

        let readings = [
            HEXLOWER_PERMISSIVE,
            BASE64,
            BASE64_NOPAD,
            BASE64URL,
            BASE64URL_NOPAD,
        ];
        let bytes = readings
            .iter()
            .filter_map(|reading| reading.decode(text.as_bytes()).ok())
            .find(|bytes| bytes.len() == KEY)?;
        let bytes: [u8; KEY] = bytes.try_into().ok()?;
        let derived = blake3::derive_key("smart-cache 2026 id of an encryption key", &bytes);
        let mut id = [0; ID];
        id.copy_from_slice(&derived[..ID]);
        Some((id, XChaCha20Poly1305::new(&Key::from(bytes))))
    }

    /// Seals by the first key; `None` where the system has no randomness to give.
    pub(crate) fn seal(&self, bound: &Bound<'_>, plain: &[u8]) -> Option<Vec<u8>> {
        let (id, cipher) = self.keys.first()?;
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).ok()?;
        let payload = Payload {
            msg: plain,
            aad: &bound.bytes(&self.namespace),
        };
        let sealed = cipher.encrypt(&XNonce::from(nonce), payload).ok()?;
        Some([id.as_slice(), &nonce, &sealed].concat())
    }

    /// Opens by the key that has sealed it; `None` where that is not known, or the text is not as
    /// it was, or belongs elsewhere.
    pub(crate) fn open(&self, bound: &Bound<'_>, sealed: &[u8]) -> Option<Vec<u8>> {
        let (id, rest) = sealed.split_first_chunk::<ID>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>()?;
        let aad = bound.bytes(&self.namespace);
        // Two keys may have one id by chance.
        self.keys
            .iter()
            .filter(|(own, _)| own == id)
            .find_map(|(_, cipher)| {
                let payload = Payload {
                    msg: sealed,
                    aad: &aad,
                };
                cipher.decrypt(&XNonce::from(*nonce), payload).ok()
            })
    }
}

impl Bound<'_> {
    /// Each part with its length in front, so that none can end in another.
    fn bytes(&self, namespace: &str) -> Vec<u8> {
        let (kind, name, head): (&[u8], &[u8], &[u8]) = match self {
            Self::Value { key } => (b"value", key.as_bytes(), b""),
            Self::Entry { id, head } => (b"entry", id, head),
        };
        let mut bytes = Vec::new();
        for part in [namespace.as_bytes(), kind, name, head] {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const TWO: &str = "//////////////////////////////////////////8=";
    const HERE: Bound<'_> = Bound::Value { key: "k" };

    fn ring(text: &str) -> Keyring {
        Keyring::parse(text).unwrap()
    }

    #[test]
    fn keys_are_read_in_hex_and_base64() {
        for text in [
            ONE,
            TWO,
            &ONE.to_uppercase(),
            &format!(" {ONE} , {TWO}"),
            &TWO[..43],
        ] {
            assert!(Keyring::parse(text).is_some(), "{text}");
        }
        for text in [
            "",
            ",",
            "secret",
            &ONE[1..],
            &format!("{ONE},"),
            &format!("{ONE}00"),
        ] {
            assert!(Keyring::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn what_was_sealed_opens_where_it_belongs_and_nowhere_else() {
        let (one, plain) = (ring(ONE), b"secret".as_slice());
        let sealed = one.seal(&HERE, plain).unwrap();
        assert!(!sealed.windows(plain.len()).any(|window| window == plain));
        assert_ne!(one.seal(&HERE, plain).unwrap(), sealed);
        assert_eq!(one.open(&HERE, &sealed).as_deref(), Some(plain));
        assert_eq!(one.within("other").open(&HERE, &sealed), None);
        for elsewhere in [
            Bound::Value { key: "l" },
            Bound::Entry {
                id: b"k",
                head: b"",
            },
        ] {
            assert_eq!(one.open(&elsewhere, &sealed), None);
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(one.open(&HERE, &changed), None, "byte {at}");
            assert_eq!(one.open(&HERE, &sealed[..at]), None, "length {at}");
        }
        assert_eq!(ring(TWO).open(&HERE, &sealed), None);
    }

    #[test]
    fn keys_can_be_exchanged() {
        let old = ring(ONE).seal(&HERE, b"old").unwrap();
        let both = ring(&format!("{TWO},{ONE}"));
        assert!(both.open(&HERE, &old).is_some());
        let new = both.seal(&HERE, b"new").unwrap();
        assert!(ring(TWO).open(&HERE, &new).is_some());
        assert!(ring(ONE).open(&HERE, &new).is_none());
    }

    #[test]
    fn a_keyring_never_shows_its_keys() {
        assert_eq!(format!("{:?}", ring(ONE)), "Keyring(1 keys)");
    }
}
