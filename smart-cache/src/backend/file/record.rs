//! One value as a file, and back.
//!
//! ```text
//! "SCV1" | crc32 u32 | expires u64, ms since the epoch, 0 never | length of name u32 | name | value
//! ```
//!
//! Numbers are little-endian; the checksum covers everything behind it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::backend::{Expiry, Ttl};

const MAGIC: &[u8; 4] = b"SCV1";
/// Everything in front of the name.
pub(super) const FIXED: usize = 4 + 4 + 8 + 4;

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Milliseconds since the epoch; 0 is never.
    pub(super) expires: u64,
    pub(super) value: Bytes,
}

impl Record {
    pub(super) fn new(value: Bytes, expiry: Expiry) -> Self {
        Self {
            expires: expiry.map_or(0, end_of),
            value,
        }
    }

    /// `None` for a file that is torn, of another name or no record at all.
    pub(super) fn read(mut bytes: Bytes, name: &str) -> Option<Self> {
        let (expires, stored) = head(&bytes)?;
        if stored != name.as_bytes() {
            return None;
        }
        let sum = u32::from_le_bytes(*bytes[4..].first_chunk()?);
        if crc32fast::hash(&bytes[8..]) != sum {
            return None;
        }
        let value = bytes.split_off(FIXED + name.len());
        Some(Self { expires, value })
    }

    pub(super) fn to_bytes(&self, name: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED + name.len() + self.value.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.expires.to_le_bytes());
        out.extend_from_slice(&(name.len() as u32).to_le_bytes());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&self.value);
        let sum = crc32fast::hash(&out[8..]);
        out[4..8].copy_from_slice(&sum.to_le_bytes());
        out
    }

    pub(super) fn lives(&self) -> bool {
        !is_over(self.expires)
    }

    pub(super) fn ttl(&self) -> Ttl {
        if self.expires == 0 {
            Ttl::Never
        } else if self.lives() {
            Ttl::After(Duration::from_millis(
                self.expires.saturating_sub(now()).max(1),
            ))
        } else {
            Ttl::Missing
        }
    }
}

/// When a file expires and its name, from its beginning alone.
pub(super) fn head(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let rest = bytes.strip_prefix(MAGIC)?.get(4..)?;
    let (expires, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let name = rest.get(..u32::from_le_bytes(*length) as usize)?;
    Some((u64::from_le_bytes(*expires), name))
}

pub(super) fn is_over(expires: u64) -> bool {
    expires != 0 && expires <= now()
}

/// Milliseconds since the epoch; a clock before it counts as the epoch.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// Rounded up, and never 0, which would be never.
fn end_of(after: Duration) -> u64 {
    let ms = u64::try_from(after.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
    now().saturating_add(ms.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_a_torn_one_does_not() {
        let record = Record::new(Bytes::from_static(b"value"), Some(Duration::from_secs(9)));
        let bytes = record.to_bytes("a name\0");
        let read = |bytes: &[u8], name| Record::read(Bytes::copy_from_slice(bytes), name);
        assert_eq!(read(&bytes, "a name\0"), Some(record));
        assert_eq!(read(&bytes, "a name"), None);
        for length in 0..bytes.len() {
            assert_eq!(read(&bytes[..length], "a name\0"), None, "cut at {length}");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            assert_eq!(read(&damaged, "a name\0"), None, "flipped at {at}");
        }
    }

    #[test]
    fn an_end_far_beyond_the_clock_is_no_overflow() {
        assert!(Record::new(Bytes::new(), Some(Duration::MAX)).lives());
    }
}
