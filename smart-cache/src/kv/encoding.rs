//! Values as bytes, and back: the only place that knows how they are written.
//!
//! ```text
//! 0xC1 0x01 MessagePack     any value; structs with the names of their fields
//! 0xC1 0x02 tags value   a computed value with the tags that were found meanwhile:
//!                        u16, each u32 + bytes; little-endian
//! 0xC1 0x03 sealed        any of these, sealed (`seal.rs`)
//! -?[0-9]+                  a whole number that fits into 64 bits, so that the server can count
//! anything else             raw bytes
//! ```
//!
//! 0xC1 begins no MessagePack and no UTF-8 text. What does not decode is a miss: another build
//! may have written it.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::nested;

/// Begins every value that is neither a number nor raw.
pub(super) const MARK: u8 = 0xC1;
/// The format behind the mark.
const MESSAGE_PACK: u8 = 1;
const TAGGED: u8 = 2;

/// Writes a value; the error is what its type reported.
pub(super) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, String> {
    let bytes = nested::to_vec(vec![MARK, MESSAGE_PACK], value).map_err(|why| why.to_string())?;
    Ok(match whole_number(&bytes[2..]) {
        Some(number) => Bytes::from(number.to_string()),
        None => bytes.into(),
    })
}

/// Reads a value; `None` for what is none of this type.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match bytes {
        [MARK, MESSAGE_PACK, packed @ ..] => nested::from_slice(packed).ok(),
        text => {
            let packed = rmp_serde::to_vec(&number_of(text)?).ok()?;
            nested::from_slice(&packed).ok()
        }
    }
}

/// A computed value with the tags that were found while it was computed, so that whoever is given
/// it depends on them too.
pub(super) fn with_tags(found: &[Arc<str>], encoded: Bytes) -> Bytes {
    if found.is_empty() {
        return encoded;
    }
    let mut bytes = vec![MARK, TAGGED];
    bytes.extend_from_slice(&(found.len() as u16).to_le_bytes());
    for tag in found {
        bytes.extend_from_slice(&(tag.len() as u32).to_le_bytes());
        bytes.extend_from_slice(tag.as_bytes());
    }
    bytes.extend_from_slice(&encoded);
    bytes.into()
}

/// The tags and the value that [`with_tags`] put together.
pub(super) fn without_tags(bytes: &[u8]) -> Option<(Vec<String>, &[u8])> {
    let [MARK, TAGGED, rest @ ..] = bytes else {
        return Some((Vec::new(), bytes));
    };
    let (count, mut rest) = rest.split_first_chunk::<2>()?;
    let mut found = Vec::new();
    for _ in 0..u16::from_le_bytes(*count) {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let (tag, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        found.push(std::str::from_utf8(tag).ok()?.to_owned());
        rest = tail;
    }
    Some((found, rest))
}

/// What a server would count with.
pub(super) fn number_of(bytes: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(bytes).ok()?;
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// The number that a MessagePack value is, if it is nothing else.
fn whole_number(packed: &[u8]) -> Option<i64> {
    // Numbers take nine bytes at most, so nothing long is looked into.
    if packed.len() > 9 || !matches!(packed.first()?, 0x00..=0x7f | 0xcc..=0xd3 | 0xe0..=0xff) {
        return None;
    }
    rmp_serde::from_slice(packed).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[track_caller]
    fn check<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: T) {
        let bytes = encode(&value).unwrap();
        assert_eq!(decode::<T>(&bytes), Some(value));
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Point {
        x: i32,
        y: Option<f64>,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Shape {
        None,
        Named { at: Point },
        Pair(u8, String),
        One(u64),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Id(u64);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Wrapped(Option<u8>);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Deep {
        A(Option<Option<u8>>),
        B {
            x: Option<Option<()>>,
            y: Option<()>,
        },
        C(Option<u8>, Option<Option<Wrapped>>),
    }

    #[test]
    fn values_come_back_as_they_were() {
        check(());
        check(true);
        check('ß');
        check("text".to_owned());
        check(String::new());
        check(vec![0_u8, 255]);
        check(1.5_f64);
        check(f64::NEG_INFINITY);
        check(u128::MAX);
        check(i128::MIN);
        check(u64::MAX);
        check(Id(7));
        check(Point { x: -1, y: None });
        check(vec![
            Shape::None,
            Shape::One(3),
            Shape::Pair(1, "a".to_owned()),
        ]);
        check(Shape::Named {
            at: Point { x: 1, y: Some(2.0) },
        });
        check(BTreeMap::from([(1_u8, "a".to_owned())]));
        check(None::<u8>);
        check(Some(7_u8));
        check(Some(None::<u8>));
        check(None::<Option<u8>>);
        check(Some(Some(7_u8)));
        check(Some(Some(None::<u8>)));
        check(Some(None::<Option<u8>>));
        check(Some(()));
        check(None::<()>);
        check(Some(Some(())));
        check(Some(Wrapped(None)));
        check(Some(Wrapped(Some(1))));
        check(Some(vec![None, Some(Some(1_u8)), Some(None)]));
        check(BTreeMap::from([(
            Some(None::<u8>),
            Some(Some(None::<bool>)),
        )]));
        check(vec![
            Deep::A(Some(None)),
            Deep::B {
                x: Some(Some(())),
                y: None,
            },
            Deep::C(None, Some(None)),
        ]);
        let nan = encode(&f64::NAN).unwrap();
        assert!(decode::<f64>(&nan).unwrap().is_nan());
    }

    #[test]
    fn whole_numbers_are_text_that_a_server_can_count_with() {
        for (number, text) in [
            (0, "0"),
            (5, "5"),
            (-5, "-5"),
            (i64::MIN, "-9223372036854775808"),
        ] {
            assert_eq!(&encode(&number).unwrap()[..], text.as_bytes());
            check(number);
        }
        assert_eq!(&encode(&200_u8).unwrap()[..], b"200");
        assert_eq!(decode::<u64>(b"7"), Some(7));
        assert_eq!(decode::<f64>(b"7"), Some(7.0));
        assert_eq!(decode::<i64>(b"007"), None);
        assert_eq!(decode::<u8>(b"-1"), None);
        assert_eq!(decode::<i64>(b"9223372036854775808"), None);
    }

    #[test]
    fn what_was_never_written_by_us_is_no_value() {
        for bytes in [
            &b""[..],
            b"text",
            b"\xc1",
            b"\xc1\x01",
            b"\xc1\x02a",
            b"\xc1\x01\xc1",
        ] {
            assert_eq!(decode::<String>(bytes), None);
            assert_eq!(decode::<Point>(bytes), None);
        }
    }

    #[test]
    fn tags_that_were_found_come_back_with_the_value() {
        let encoded = encode("value").unwrap();
        for found in [vec![], vec!["product:7".into(), "ß".into()]] {
            let bytes = with_tags(&found, encoded.clone());
            let (tags, value) = without_tags(&bytes).unwrap();
            assert_eq!(
                tags,
                found
                    .iter()
                    .map(|tag: &Arc<str>| tag.to_string())
                    .collect::<Vec<_>>()
            );
            assert_eq!(value, &encoded[..]);
        }
        assert_eq!(without_tags(b"\xc1\x02\x01\x00\xff\xff\xff\xff"), None);
    }

    #[test]
    fn another_shape_is_no_value_and_a_grown_one_is() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Grown {
            x: i32,
            #[serde(default)]
            z: u8,
        }
        #[derive(Debug, PartialEq, Deserialize)]
        struct Other {
            x: i32,
            z: u8,
        }
        let old = encode(&Point { x: 1, y: None }).unwrap();
        assert_eq!(decode::<Grown>(&old), Some(Grown { x: 1, z: 0 }));
        assert_eq!(decode::<Other>(&old), None);
    }
}
