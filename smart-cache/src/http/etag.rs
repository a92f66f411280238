//! Entity tags: made, read and compared (RFC 9110, section 8.8.3).

use http::{HeaderMap, HeaderValue, header};

/// How much of the hash stands in a tag: 128 bits.
const HASHED: usize = 32;
/// How much of it tells two encodings of one body apart: 32 bits.
const TELLING: usize = 8;

/// A tag as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag<'a> {
    is_weak: bool,
    /// With its quotes.
    opaque: &'a [u8],
}

impl<'a> Tag<'a> {
    /// Reads a value that is one tag and nothing else.
    pub(crate) fn parse(value: &'a [u8]) -> Option<Self> {
        let (tag, rest) = Self::first(value.trim_ascii())?;
        rest.is_empty().then_some(tag)
    }

    /// Reads the tag at the start, and what follows it. Spaces inside are not legal and are meant
    /// all the same by those who write them.
    fn first(value: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (is_weak, opaque) = match value.strip_prefix(b"W/") {
            Some(opaque) => (true, opaque),
            None => (false, value),
        };
        let inside = opaque.strip_prefix(b"\"")?;
        let end = inside.iter().position(|byte| *byte == b'"')?;
        let (opaque, rest) = opaque.split_at(end + 2);
        Some((Self { is_weak, opaque }, rest))
    }

    /// Neither is weak and both are the same.
    pub(crate) fn is_strongly(self, other: Self) -> bool {
        !self.is_weak && !other.is_weak && self.opaque == other.opaque
    }

    /// Both are the same, weak or not.
    pub(crate) fn is_weakly(self, other: Self) -> bool {
        self.opaque == other.opaque
    }
}

/// What `If-Match` or `If-None-Match` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Strong,
    Weak,
}

/// Whether the lines name the current tag. A `*` that stands alone names whatever there is; what
/// is no tag names nothing.
pub(crate) fn names<'a>(
    lines: impl Iterator<Item = &'a HeaderValue> + Clone,
    current: Option<Tag<'_>>,
    comparison: Comparison,
) -> bool {
    let mut alone = lines.clone();
    if alone
        .next()
        .is_some_and(|line| line.as_bytes().trim_ascii() == b"*")
    {
        return alone.next().is_none();
    }
    let Some(current) = current else { return false };
    let is_current = |tag: Tag<'_>| match comparison {
        Comparison::Strong => tag.is_strongly(current),
        Comparison::Weak => tag.is_weakly(current),
    };
    lines
        .map(HeaderValue::as_bytes)
        .any(|line| listed(line).any(is_current))
}

/// The tags of one line. A member that is no tag is left out, up to the next comma.
fn listed(line: &[u8]) -> impl Iterator<Item = Tag<'_>> {
    let mut rest = line;
    std::iter::from_fn(move || {
        loop {
            while let [b',' | b' ' | b'\t', tail @ ..] = rest {
                rest = tail;
            }
            if rest.is_empty() {
                return None;
            }
            let found = Tag::first(rest);
            let behind = found.map_or(rest, |(_, behind)| behind).trim_ascii_start();
            let end = behind
                .iter()
                .position(|byte| *byte == b',')
                .unwrap_or(behind.len());
            rest = &behind[end..];
            // Something glued to its end makes it no tag.
            if let (Some((tag, _)), 0) = (found, end) {
                return Some(tag);
            }
        }
    })
}

/// The tag of the answer, if its handler set one that can be read.
pub(crate) fn of(headers: &HeaderMap) -> Option<Tag<'_>> {
    Tag::parse(headers.get(header::ETAG)?.as_bytes())
}

/// A strong tag for a body: its hash, and that of the headers that say how to read it, since the
/// same bytes of another type are another representation.
pub(crate) fn strong(headers: &HeaderMap, body: &[u8]) -> HeaderValue {
    let mut hasher = blake3::Hasher::new();
    for name in [
        header::CONTENT_TYPE,
        header::CONTENT_ENCODING,
        header::CONTENT_LANGUAGE,
    ] {
        for value in headers.get_all(name) {
            hasher.update(&(value.len() as u64).to_le_bytes());
            hasher.update(value.as_bytes());
        }
        hasher.update(&u64::MAX.to_le_bytes());
    }
    hasher.update(body);
    quoted(&hasher.finalize().to_hex()[..HASHED])
}

/// The tag of an encoded body: that of the plain one, the encoding's name, and what tells these
/// encoded bytes from those of another build's encoder. `None` where the plain one has none.
pub(crate) fn encoded(headers: &HeaderMap, encoding: &str, body: &[u8]) -> Option<HeaderValue> {
    let plain = of(headers)?;
    let hash = blake3::hash(body).to_hex();
    let mut tag = Vec::with_capacity(plain.opaque.len() + encoding.len() + TELLING + 4);
    if plain.is_weak {
        tag.extend_from_slice(b"W/");
    }
    tag.extend_from_slice(plain.opaque.strip_suffix(b"\"")?);
    tag.push(b'-');
    tag.extend_from_slice(encoding.as_bytes());
    tag.push(b'-');
    tag.extend_from_slice(&hash.as_bytes()[..TELLING]);
    tag.push(b'"');
    HeaderValue::from_bytes(&tag).ok()
}

fn quoted(text: &str) -> HeaderValue {
    // Hex digits between quotes are a legal value; the fallback is never met.
    HeaderValue::from_maybe_shared(bytes::Bytes::from(format!("\"{text}\"")))
        .unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lines: &[&'static str], current: &str, strong: bool, weak: bool) {
        let lines: Vec<_> = lines
            .iter()
            .map(|line| HeaderValue::from_static(line))
            .collect();
        let current = Tag::parse(current.as_bytes());
        let named = |comparison| names(lines.iter(), current, comparison);
        assert_eq!(
            (named(Comparison::Strong), named(Comparison::Weak)),
            (strong, weak),
            "{lines:?} {current:?}"
        );
    }

    #[test]
    fn a_tag_is_found_in_lists_and_lines() {
        check(&["\"a\""], "\"a\"", true, true);
        check(&["\"b\", \"a\""], "\"a\"", true, true);
        check(&["\"b\",\"a\",\"c\""], "\"a\"", true, true);
        check(&["\"b\"", "\"a\""], "\"a\"", true, true);
        check(&[", ,\t\"a\" , "], "\"a\"", true, true);
        check(&["\"a, b\", \"c\""], "\"c\"", true, true);
        check(&["\"a, b\""], "\"a, b\"", true, true);
        check(&["\"a,b\""], "\"a,b\"", true, true);
        check(&["\"a,b\""], "\"b\"", false, false);
        check(&["\"\""], "\"\"", true, true);
        check(&["\"A\""], "\"a\"", false, false);
    }

    #[test]
    fn a_weak_tag_is_only_weakly_the_same() {
        check(&["W/\"a\""], "\"a\"", false, true);
        check(&["\"a\""], "W/\"a\"", false, true);
        check(&["W/\"a\""], "W/\"a\"", false, true);
        check(&["w/\"a\""], "\"a\"", false, false);
    }

    #[test]
    fn a_star_names_whatever_there_is_when_it_stands_alone() {
        check(&["*"], "\"a\"", true, true);
        check(&[" * "], "no tag", true, true);
        check(&["*, \"b\""], "\"a\"", false, false);
        check(&["*", "\"a\""], "\"a\"", false, false);
        check(&["\"*\""], "\"a\"", false, false);
    }

    #[test]
    fn what_is_no_tag_names_nothing_and_hides_nothing() {
        check(&["a"], "\"a\"", false, false);
        check(&["\"a"], "\"a\"", false, false);
        check(&["\"a\"b"], "\"a\"", false, false);
        check(&["a b, \"a\""], "\"a\"", true, true);
        check(&["\"b\"x, \"a\""], "\"a\"", true, true);
        check(&["W/a, \"a\""], "\"a\"", true, true);
        check(&[""], "\"a\"", false, false);
        check(&["\"a\""], "a", false, false);
        check(&["a"], "a", false, false);
    }

    #[test]
    fn a_made_tag_is_of_the_body_and_of_how_to_read_it() {
        let mut headers = HeaderMap::new();
        let plain = strong(&headers, b"body");
        assert_eq!(plain, strong(&headers, b"body"));
        assert_eq!(plain.len(), HASHED + 2);
        assert!(Tag::parse(plain.as_bytes()).is_some_and(|tag| !tag.is_weak));
        assert_ne!(plain, strong(&headers, b"Body"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
        assert_ne!(plain, strong(&headers, b"body"));
    }

    #[test]
    fn an_encoded_body_has_a_tag_of_its_own() {
        let mut headers = HeaderMap::new();
        assert!(encoded(&headers, "br", b"x").is_none());
        headers.insert(header::ETAG, HeaderValue::from_static("W/\"v1\""));
        let br = encoded(&headers, "br", b"x").unwrap();
        assert!(br.to_str().unwrap().starts_with("W/\"v1-br-"), "{br:?}");
        assert!(Tag::parse(br.as_bytes()).is_some());
        assert_ne!(br, encoded(&headers, "gzip", b"x").unwrap());
        assert_ne!(br, encoded(&headers, "br", b"y").unwrap());
        headers.insert(header::ETAG, HeaderValue::from_static("not a tag"));
        assert!(encoded(&headers, "br", b"x").is_none());
    }
}
