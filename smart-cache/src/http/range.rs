//! Which bytes a `Range` asks for (RFC 9110, section 14.2).
//!
//! One range of bytes is understood. Several, another unit or anything malformed is answered with
//! the whole body, as a server may: what many ranges in one request are mostly used for is to make
//! a server work.

use std::ops::Range;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Everything, for what was asked is not understood.
    Whole,
    /// These bytes; there is at least one.
    Part(Range<usize>),
    /// Bytes that are not there.
    Nothing,
}

/// Reads the value of a `Range` for a body of this length.
pub(crate) fn read(value: &[u8], length: usize) -> Wanted {
    specified(value, length).unwrap_or(Wanted::Whole)
}

/// `None`: not understood.
fn specified(value: &[u8], length: usize) -> Option<Wanted> {
    let equals = value.iter().position(|byte| *byte == b'=')?;
    let (unit, set) = (&value[..equals], &value[equals + 1..]);
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    // Empty members of a list do not count.
    let mut members = set
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty());
    let (only, None) = (members.next()?, members.next()) else {
        return None;
    };
    let dash = only.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (&only[..dash], &only[dash + 1..]);
    if first.is_empty() {
        return Some(match number(last)? {
            0 => Wanted::Nothing,
            // There is no way to say which bytes of none are sent.
            _ if length == 0 => Wanted::Whole,
            suffix => Wanted::Part(length.saturating_sub(suffix)..length),
        });
    }
    let first = number(first)?;
    let last = match last {
        [] => usize::MAX,
        last => number(last).filter(|last| *last >= first)?,
    };
    Some(if first >= length {
        Wanted::Nothing
    } else {
        Wanted::Part(first..last.saturating_add(1).min(length))
    })
}

/// Digits as a number; one that is too large is as large as can be.
fn number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0_usize, |number, digit| {
        number
            .saturating_mul(10)
            .saturating_add(usize::from(digit - b'0'))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: &Wanted) {
        assert_eq!(read(value.as_bytes(), 10), *expected, "{value}");
    }

    #[test]
    fn one_range_is_a_part() {
        check("bytes=0-4", &Wanted::Part(0..5));
        check("bytes=5-", &Wanted::Part(5..10));
        check("bytes=-3", &Wanted::Part(7..10));
        check("bytes=9-9", &Wanted::Part(9..10));
        check("bytes=0-", &Wanted::Part(0..10));
        check("Bytes=0-4", &Wanted::Part(0..5));
        check("bytes= 0-4 ", &Wanted::Part(0..5));
        check("bytes=,0-4,", &Wanted::Part(0..5));
        check("bytes=000-0004", &Wanted::Part(0..5));
    }

    #[test]
    fn what_reaches_beyond_the_end_ends_there() {
        check("bytes=5-99", &Wanted::Part(5..10));
        check("bytes=-99", &Wanted::Part(0..10));
        check("bytes=5-99999999999999999999999999", &Wanted::Part(5..10));
        check("bytes=-99999999999999999999999999", &Wanted::Part(0..10));
    }

    #[test]
    fn bytes_that_are_not_there_are_nothing() {
        check("bytes=10-", &Wanted::Nothing);
        check("bytes=10-12", &Wanted::Nothing);
        check("bytes=99999999999999999999999999-", &Wanted::Nothing);
        check("bytes=-0", &Wanted::Nothing);
        assert_eq!(read(b"bytes=0-", 0), Wanted::Nothing);
        assert_eq!(read(b"bytes=-1", 0), Wanted::Whole);
    }

    #[test]
    fn what_is_not_understood_is_the_whole() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=4-2",
            "bytes=0-1,3-4",
            "bytes=0 - 4",
            "bytes=+1-4",
            "bytes=--1",
            "bytes=0-4-",
            "bytes=1.0-2",
            "items=0-4",
            "bytes =0-4",
            "bytes:0-4",
            "0-4",
            "bytes=0x0-4",
        ] {
            check(value, &Wanted::Whole);
        }
    }
}
