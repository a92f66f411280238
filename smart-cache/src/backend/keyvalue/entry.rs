//! An entry as the store keeps it: two digests, whether it expires, head and record.

use bytes::Bytes;

use crate::backend::Payload;
use crate::protocol::Digest;

/// The second digest of an entry that depends on no found tags.
const NO_DIGEST: [u8; 40] = [b'-'; 40];
/// The first digest of an entry that only leaves its list of tags: nothing has it.
const DEAD: [u8; 40] = [b'!'; 40];

/// What stands under an entry's name.
#[derive(Debug)]
pub(super) struct Kept {
    digest: [u8; 40],
    dynamic: [u8; 40],
    pub(super) payload: Payload,
}

impl Kept {
    /// `None` for what no store of ours has written.
    pub(super) fn read(mut bytes: Bytes) -> Option<Self> {
        let digest = *bytes.first_chunk::<40>()?;
        let dynamic = *bytes.get(40..)?.first_chunk::<40>()?;
        (bytes.len() > 81).then(|| Self {
            digest,
            dynamic,
            payload: bytes.split_off(81).into(),
        })
    }

    /// Whether these are its digests; `found` is that of the tags which its list names, `None`
    /// when one of their tokens is missing or there are none.
    pub(super) fn proves(&self, digest: Digest, found: Option<Digest>) -> bool {
        let found = found.map_or(NO_DIGEST, |found| *found.as_bytes());
        self.digest == *digest.as_bytes() && self.dynamic == found
    }
}

/// What a store writes.
pub(super) fn written(
    digest: Digest,
    found: Option<Digest>,
    expires: bool,
    payload: &[u8],
) -> Bytes {
    let found = found.map_or(NO_DIGEST, |found| *found.as_bytes());
    let mark: &[u8] = if expires { b"t" } else { b"f" };
    [digest.as_bytes(), &found[..], mark, payload]
        .concat()
        .into()
}

/// What a refused store leaves behind: the list of its tags, for the next ticket to read.
pub(super) fn list_alone(payload: &[u8]) -> Bytes {
    [&DEAD[..], &NO_DIGEST, b"t", payload].concat().into()
}
