//! What an item is named, and what stands in it.
//!
//! A value that never expires stands as it is (client flags 0); one that does has its end in front,
//! eight bytes of milliseconds since the epoch (client flags 1).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_memcached::MetaValue;
use bytes::Bytes;

use crate::backend::Ttl;

/// Beyond so many seconds memcached reads a time as a date.
const LONGEST_RELATIVE: u64 = 30 * 24 * 3600;
/// Names and generation stand in front; the whole may have 250 bytes.
const LONGEST_NAME: usize = 200;

/// The names of one namespace.
#[derive(Debug)]
pub(super) struct Names {
    prefix: String,
    generation: String,
}

impl Names {
    pub(super) fn new(namespace: &str) -> Self {
        let prefix = blake3::hash(namespace.as_bytes()).to_hex()[..16].to_owned();
        Self {
            generation: format!("{prefix}.g"),
            prefix,
        }
    }

    /// Where the namespace's generation stands.
    pub(super) fn generation(&self) -> &str {
        &self.generation
    }

    /// A name that is long, or has bytes that memcached does not take, is named `#` and its hash;
    /// so is one that begins with `#`, and the two never meet.
    pub(super) fn item(&self, generation: &str, name: &str) -> String {
        let is_plain = name.len() <= LONGEST_NAME
            && !name.starts_with('#')
            && name.bytes().all(|b| b.is_ascii_graphic());
        if is_plain {
            format!("{}.{generation}.{name}", self.prefix)
        } else {
            let hash = blake3::hash(name.as_bytes()).to_hex();
            format!("{}.{generation}.#{hash}", self.prefix)
        }
    }
}

/// An item as it was read.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) value: Bytes,
    /// Milliseconds since the epoch; `None` is never.
    pub(super) end: Option<u64>,
    /// Another number as soon as anybody changes it.
    pub(super) cas: u64,
}

impl Item {
    pub(super) fn read(found: &MetaValue) -> Option<Self> {
        let (flags, cas) = (found.flags.unwrap_or(0), found.cas?);
        let mut value = Bytes::copy_from_slice(found.data.as_deref().unwrap_or_default());
        let end = if flags == 1 {
            let end = u64::from_le_bytes(*value.first_chunk()?);
            value = value.split_off(8);
            Some(end)
        } else {
            None
        };
        Some(Self { value, end, cas })
    }

    pub(super) fn lives(&self) -> bool {
        self.end.is_none_or(|end| end > now_ms())
    }

    pub(super) fn ttl(&self) -> Ttl {
        match self.end {
            None => Ttl::Never,
            Some(end) if end > now_ms() => {
                Ttl::After(Duration::from_millis(end.saturating_sub(now_ms()).max(1)))
            }
            Some(_) => Ttl::Missing,
        }
    }
}

/// The bytes of an item and the flags of the command that sets it.
pub(super) fn written(value: &[u8], end: Option<u64>) -> (Vec<u8>, Vec<String>) {
    match end {
        None => (value.to_vec(), vec!["F0".to_owned(), "T0".to_owned()]),
        Some(end) => {
            let bytes = [&end.to_le_bytes(), value].concat();
            (
                bytes,
                vec!["F1".to_owned(), format!("T{}", seconds_until(end))],
            )
        }
    }
}

/// Memcached's own end, never before the exact one: it counts in steps of a second.
fn seconds_until(end: u64) -> u64 {
    let left = end.saturating_sub(now_ms()).div_ceil(1000) + 1;
    if left <= LONGEST_RELATIVE {
        return left;
    }
    let date = end / 1000 + 2;
    // What is further away than its clock counts stays; its own end is in it.
    if date > i32::MAX as u64 { 0 } else { date }
}

pub(super) fn end_of(after: Duration) -> u64 {
    let ms = u64::try_from(after.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
    now_ms().saturating_add(ms.max(1))
}

/// Milliseconds since the epoch; a clock before it counts as the epoch.
fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_that_memcached_takes() {
        let names = Names::new("any namespace {x}");
        let long = "x".repeat(10_000);
        for name in ["a", "a b", "a\r\nset x", "\0", "ü", "#a", &long] {
            let item = names.item("0123456789abcdef", name);
            assert!(item.len() <= 250, "{name:?}");
            assert!(item.bytes().all(|b| b.is_ascii_graphic()), "{name:?}");
        }
        assert_ne!(names.item("g", "#a"), names.item("g", "a"));
    }

    #[test]
    fn an_end_is_seconds_or_a_date_or_left_out() {
        let day = 24 * 3600;
        let until = |seconds| seconds_until(end_of(Duration::from_secs(seconds)));
        assert!((11..=12).contains(&until(10)));
        assert!(until(29 * day) < LONGEST_RELATIVE);
        assert!(until(31 * day) > 1_700_000_000);
        assert_eq!(until(300 * 365 * day), 0);
        assert_eq!(seconds_until(u64::MAX), 0);
    }
}
