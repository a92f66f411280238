//! Members of a list with a weight each: `de;q=0.8` (RFC 9110, section 12.4.2).

/// One member and its weight in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weighted<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) weight: u16,
}

/// What a member weighs that says nothing.
pub(crate) const FULL: u16 = 1000;

/// The members of one line; `None` for one that is malformed. Empty ones do not count.
pub(crate) fn members(line: &[u8]) -> impl Iterator<Item = Option<Weighted<'_>>> {
    line.split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
        .map(weighted)
}

fn weighted(member: &[u8]) -> Option<Weighted<'_>> {
    let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let weight = match (parts.next(), parts.next()) {
        (None, _) => FULL,
        (Some([b'q' | b'Q', b'=', value @ ..]), None) => thousandths(value)?,
        _ => return None,
    };
    name.iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
        .then_some(Weighted { name, weight })
}

/// `0`, `0.5`, `1.000`; nothing with more than three digits behind the point and nothing above one.
fn thousandths(value: &[u8]) -> Option<u16> {
    let (whole, fraction) = match value {
        [whole] => (*whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (*whole, fraction),
        _ => return None,
    };
    let mut weight = match whole {
        b'0' => 0,
        b'1' => FULL,
        _ => return None,
    };
    let mut unit = FULL / 10;
    for digit in fraction {
        weight += u16::from(digit.is_ascii_digit().then(|| digit - b'0')?) * unit;
        unit /= 10;
    }
    (weight <= FULL).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_read_and_nonsense_is_none() {
        for (text, expected) in [
            ("0", Some(0)),
            ("1", Some(1000)),
            ("0.", Some(0)),
            ("0.5", Some(500)),
            ("0.05", Some(50)),
            ("0.123", Some(123)),
            ("1.000", Some(1000)),
            ("1.001", None),
            ("0.1234", None),
            ("2", None),
            ("", None),
            (".5", None),
            ("-0", None),
            ("0,5", None),
            ("0.a", None),
        ] {
            assert_eq!(thousandths(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn members_are_names_with_weights() {
        let read = |line: &'static str| {
            members(line.as_bytes())
                .map(|member| {
                    member.map(|member| (std::str::from_utf8(member.name).unwrap(), member.weight))
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(
            read("gzip, br ;q=0.8,, *; Q=0"),
            [Some(("gzip", 1000)), Some(("br", 800)), Some(("*", 0))]
        );
        assert_eq!(read("gzip;q"), [None]);
        assert_eq!(read("gzip;q=1;x=2"), [None]);
        assert_eq!(read("a b"), [None]);
        assert_eq!(read(";q=1, a"), [None, Some(("a", 1000))]);
        assert_eq!(read(""), []);
    }
}
