//! What tells two answers under one key apart, as bytes that no two requests share.
//!
//! Every part is written with a tag and its length in front, so no choice of values can make
//! the end of one part look like the beginning of the next.

use std::fmt::{Display, Write as _};

use http::{HeaderMap, Uri};

use super::query::{QueryRule, normalise};

/// Collects what the parts of a request show ([`KeyPart`](crate::KeyPart)) into the variant.
///
/// The request's path, the handler's identity and its state type are in every variant and need
/// not be added.
///
/// # Example
/// ```
/// use smart_cache::{KeyPart, Variant};
///
/// struct Tenant { id: u64 }
///
/// impl KeyPart for Tenant {
///     fn show(&self, variant: &mut Variant) {
///         variant.push(self.id);
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Variant {
    parts: Vec<u8>,
    query: QueryUse,
    bypass: bool,
}

/// How much of the query the handler can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum QueryUse {
    Unseen,
    Normalised,
    Exact,
}

/// Tags in front of each field; part of the identity of stored entries.
mod tag {
    pub(super) const KEY: u8 = b'k';
    pub(super) const IDENTITY: u8 = b'h';
    pub(super) const PLACE: u8 = b'l';
    pub(super) const STATE: u8 = b's';
    pub(super) const PATH: u8 = b'p';
    pub(super) const QUERY: u8 = b'q';
    pub(super) const QUERY_PRESENT: u8 = b'?';
    pub(super) const EXACT_URI: u8 = b'u';
    pub(super) const HEADER: u8 = b'v';
    pub(super) const HEADER_ABSENT: u8 = b'-';
    pub(super) const VALUE: u8 = b'x';
    pub(super) const ABSENT: u8 = b'0';
    pub(super) const PRESENT: u8 = b'1';
}

impl Variant {
    pub(crate) fn new() -> Self {
        Self {
            parts: Vec::new(),
            query: QueryUse::Unseen,
            bypass: false,
        }
    }

    /// Adds one value; two requests share an entry only if they push the same values in the
    /// same order.
    pub fn push(&mut self, value: impl Display) {
        // The length is known only after writing, so room for it is left in front.
        let at = self.parts.len();
        self.parts.extend_from_slice(&[tag::VALUE, 0, 0, 0, 0]);
        let mut text = Appended(&mut self.parts);
        if write!(text, "{value}").is_err() {
            // A value that cannot be shown cannot tell two requests apart.
            self.bypass = true;
        }
        let length = (self.parts.len() - at - 5) as u32;
        self.parts[at + 1..at + 5].copy_from_slice(&length.to_le_bytes());
    }

    /// Lets the query count: normalised, that is sorted by name and without ignored parameters.
    pub fn query(&mut self) {
        self.query = self.query.max(QueryUse::Normalised);
    }

    /// Lets the whole request target count exactly as it was sent: scheme, authority, path and
    /// the query with its order.
    pub fn exact_uri(&mut self) {
        self.query = QueryUse::Exact;
    }

    /// Marks an optional part that is not there, unlike any value that could be pushed.
    pub fn absent(&mut self) {
        self.parts.push(tag::ABSENT);
    }

    /// Marks an optional part that is there; its values follow.
    pub fn present(&mut self) {
        self.parts.push(tag::PRESENT);
    }

    /// Keeps this request out of the cache: it is neither answered from it nor stored in it.
    pub fn bypass(&mut self) {
        self.bypass = true;
    }

    pub(crate) fn is_bypassed(&self) -> bool {
        self.bypass
    }
}

/// `fmt::Write` for the end of a byte buffer.
struct Appended<'a>(&'a mut Vec<u8>);

impl std::fmt::Write for Appended<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Which function answers: what is the same for all of its requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    /// Module, impl, function and generic arguments.
    pub(crate) type_name: &'static str,
    /// File, line and column tell apart two functions of one name in one function's blocks.
    pub(crate) place: (&'static str, u32, u32),
    /// The router's state: one function mounted with two types of state answers differently.
    pub(crate) state: &'static str,
}

/// Everything that is in a variant besides what the parts pushed.
#[derive(Debug)]
pub(crate) struct Canonical<'a> {
    pub(crate) key: &'a str,
    pub(crate) identity: Identity,
    pub(crate) uri: &'a Uri,
    pub(crate) query: QueryRule<'a>,
    /// The attribute names parameters, so the query counts even if no extractor shows it.
    pub(crate) query_named: bool,
    pub(crate) vary: &'a [&'a str],
    pub(crate) headers: Option<&'a HeaderMap>,
}

impl Canonical<'_> {
    /// The bytes that identify the entry: equal for two requests if and only if they may share
    /// an answer.
    pub(crate) fn bytes(&self, variant: &Variant) -> Vec<u8> {
        let mut out = Vec::with_capacity(256 + variant.parts.len());
        field(&mut out, tag::KEY, self.key.as_bytes());
        field(&mut out, tag::IDENTITY, self.identity.type_name.as_bytes());
        let (file, line, column) = self.identity.place;
        field(&mut out, tag::PLACE, file.as_bytes());
        out.extend_from_slice(&line.to_le_bytes());
        out.extend_from_slice(&column.to_le_bytes());
        field(&mut out, tag::STATE, self.identity.state.as_bytes());
        field(&mut out, tag::PATH, self.uri.path().as_bytes());
        match (variant.query, self.query_named) {
            (QueryUse::Unseen, false) => {}
            (QueryUse::Exact, _) => {
                field(&mut out, tag::EXACT_URI, self.uri.to_string().as_bytes());
            }
            (QueryUse::Normalised, _) | (QueryUse::Unseen, true) => {
                if normalise(self.uri.query(), self.query, |pair| {
                    field(&mut out, tag::QUERY, pair);
                }) {
                    out.push(tag::QUERY_PRESENT);
                }
            }
        }
        for name in self.vary {
            field(&mut out, tag::HEADER, name.as_bytes());
            let mut values = self
                .headers
                .into_iter()
                .flat_map(|headers| headers.get_all(*name))
                .peekable();
            if values.peek().is_none() {
                out.push(tag::HEADER_ABSENT);
            }
            for value in values {
                field(&mut out, tag::VALUE, value.as_bytes());
            }
        }
        out.extend_from_slice(&variant.parts);
        out
    }
}

/// Writes one field: tag, length, bytes.
fn field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::super::IgnoredQuery;
    use super::*;

    fn bytes(uri: &str, fill: impl FnOnce(&mut Variant)) -> Vec<u8> {
        let ignored = IgnoredQuery::default();
        let mut variant = Variant::new();
        fill(&mut variant);
        Canonical {
            key: "k",
            identity: Identity {
                type_name: "f",
                place: ("f.rs", 1, 1),
                state: "()",
            },
            uri: &uri.parse().unwrap(),
            query: QueryRule::AllBut(&ignored),
            query_named: false,
            vary: &[],
            headers: None,
        }
        .bytes(&variant)
    }

    #[test]
    fn a_separator_in_a_value_is_not_a_boundary() {
        let joined = bytes("/", |v| {
            v.push("a");
            v.push("b:c");
        });
        let split = bytes("/", |v| {
            v.push("a:b");
            v.push("c");
        });
        let one = bytes("/", |v| {
            v.push("ab:c");
        });
        assert!(joined != split && joined != one && split != one);
    }

    #[test]
    fn absent_differs_from_empty_and_from_zero() {
        let absent = bytes("/", |v| {
            v.absent();
        });
        let empty = bytes("/", |v| {
            v.push("");
        });
        let zero = bytes("/", |v| {
            v.push("0");
        });
        let present = bytes("/", |v| {
            v.present();
        });
        assert!(absent != empty && empty != zero && absent != zero && absent != present);
    }

    #[test]
    fn a_query_that_no_part_shows_is_left_out() {
        assert_eq!(bytes("/p?a=1", |_| ()), bytes("/p?a=2", |_| ()));
        assert_ne!(
            bytes("/p?a=1", |v| {
                v.query();
            }),
            bytes("/p?a=2", |v| {
                v.query();
            })
        );
        assert_eq!(
            bytes("/p?b=1&a=2", |v| {
                v.query();
            }),
            bytes("/p?a=2&b=1", |v| {
                v.query();
            })
        );
        assert_ne!(
            bytes("/p?b=1&a=2", |v| {
                v.exact_uri();
            }),
            bytes("/p?a=2&b=1", |v| {
                v.exact_uri();
            })
        );
    }

    #[test]
    fn the_path_always_counts() {
        assert_ne!(bytes("/product/007", |_| ()), bytes("/product/7", |_| ()));
    }

    #[test]
    fn a_value_that_cannot_be_shown_keeps_the_request_out() {
        struct Broken;
        impl Display for Broken {
            fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                Err(std::fmt::Error)
            }
        }
        let mut variant = Variant::new();
        variant.push(Broken);
        assert!(variant.is_bypassed());
    }
}
