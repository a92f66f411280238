//! `Accept-Language` as it counts in a variant: in one spelling.
//!
//! Case, white space, empty members, lines, the spelling of weights and the order of members with
//! *different* weights do not tell two requests apart; the languages, their weights and the order
//! among equals do.

use http::HeaderValue;

use super::quality::{FULL, Weighted, members};

/// The one spelling of these lines; `None` when a member is malformed, and then the bytes count as
/// they were sent.
pub(crate) fn canonical<'a>(lines: impl Iterator<Item = &'a HeaderValue>) -> Option<Vec<u8>> {
    let mut wanted: Vec<Weighted<'_>> = Vec::new();
    for line in lines {
        for member in members(line.as_bytes()) {
            wanted.push(member?);
        }
    }
    // A stable sort: among equals the order is the client's preference, as many handlers read it.
    wanted.sort_by_key(|member| std::cmp::Reverse(member.weight));
    let mut text = Vec::new();
    // No name holds a semicolon or a comma, so no two lists are written alike.
    for member in wanted {
        if !text.is_empty() {
            text.push(b',');
        }
        text.extend(member.name.iter().map(u8::to_ascii_lowercase));
        if member.weight < FULL {
            text.extend_from_slice(format!(";q=0.{:03}", member.weight).as_bytes());
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&'static str]) -> Option<Vec<u8>> {
        let lines: Vec<_> = lines
            .iter()
            .map(|line| HeaderValue::from_static(line))
            .collect();
        canonical(lines.iter())
    }

    #[test]
    fn spellings_of_one_wish_are_one() {
        let wish = of(&["de-DE,de;q=0.9"]);
        assert!(wish.is_some());
        for other in [
            "DE-de, de; q=0.9",
            "de;q=0.9,de-de",
            "de-DE;q=1,de;Q=0.900",
            " , de-DE ;q=1.0 ,, de;q=0.9,",
        ] {
            assert_eq!(of(&[other]), wish, "{other}");
        }
        assert_eq!(of(&["de-DE", "de;q=0.9"]), wish);
    }

    #[test]
    fn different_wishes_stay_different() {
        let wishes = [
            "",
            "de",
            "en",
            "de,en",
            "en,de",
            "de;q=0",
            "de;q=0.9",
            "de,en;q=0",
            "de,en;q=0.5",
            "de,en;q=0.8",
            "*",
            "de,*;q=0.1",
            "de-at",
        ];
        for (at, one) in wishes.iter().enumerate() {
            for other in &wishes[at + 1..] {
                assert_ne!(of(&[one]), of(&[other]), "{one} and {other}");
            }
        }
    }

    #[test]
    fn nonsense_has_no_spelling() {
        for nonsense in ["de;q=7", "de;x=1", "de en", "de;"] {
            assert_eq!(of(&[nonsense]), None, "{nonsense}");
        }
    }
}
