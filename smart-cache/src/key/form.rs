//! Key, tags and variant of one request in one piece: what two requests share if and only if they
//! may share an answer.

use std::fmt::Display;

use http::{HeaderMap, Uri};

use super::identity::{ADDRESS, HASH, Identity};
use super::query::{QueryRule, normalise};
use super::variant::{QueryUse, Variant, tag};
use crate::http::accept_language;

/// A target as it was sent.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
    /// All of it.
    pub(crate) whole: &'a dyn Display,
}

impl std::fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.whole)
    }
}

impl<'a> From<&'a Uri> for Target<'a> {
    fn from(uri: &'a Uri) -> Self {
        Self {
            path: uri.path(),
            query: uri.query(),
            whole: uri,
        }
    }
}

/// What of a request is in every variant.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) identity: Identity,
    pub(crate) sent: Target<'a>,
    /// What the handler reads in its place, if a layer has changed it.
    pub(crate) rewritten: Option<&'a Uri>,
    pub(crate) query: QueryRule<'a>,
    /// The attribute names parameters, so the query counts even if no extractor shows it.
    pub(crate) query_named: bool,
    pub(crate) vary: &'a [&'a str],
    pub(crate) headers: Option<&'a HeaderMap>,
}

/// Key, tags and variant of one request.
///
/// Two names are made of it. The canonical bytes are the same in every process and become the
/// entry's id; they hold the identity's hash. In this process's memory its address says as much.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    /// What the request shows, and behind it the identity's address.
    local: Vec<u8>,
    identity: Identity,
}

impl Form {
    /// The name of the answer in this process's memory.
    pub(crate) fn local(&self) -> &[u8] {
        &self.local
    }

    /// What two requests share, in whatever process, if and only if they may share an answer.
    pub(crate) fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.shown().len() + 5 + HASH);
        out.extend_from_slice(self.shown());
        field(&mut out, tag::IDENTITY, &self.identity.hash());
        out
    }

    /// Fields, one behind the other.
    pub(super) fn shown(&self) -> &[u8] {
        &self.local[..self.local.len() - ADDRESS]
    }

    /// The key and the tags, in the order in which they were written.
    pub(crate) fn names(&self) -> (Option<&str>, Vec<&str>) {
        let (mut key, mut tags) = (None, Vec::new());
        self.each(|tag, bytes| match tag {
            tag::KEY => key = std::str::from_utf8(bytes).ok(),
            tag::TAG => tags.extend(std::str::from_utf8(bytes)),
            _ => {}
        });
        (key, tags)
    }

    /// The headers that tell answers apart.
    pub(crate) fn headers(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.each(|tag, bytes| {
            if tag == tag::HEADER {
                names.extend(std::str::from_utf8(bytes));
            }
        });
        names
    }

    fn each<'f>(&'f self, mut field: impl FnMut(u8, &'f [u8])) {
        let mut rest = self.shown();
        while let Some((tag, tail)) = rest.split_first() {
            rest = tail;
            if matches!(
                *tag,
                tag::ABSENT | tag::PRESENT | tag::QUERY_PRESENT | tag::HEADER_ABSENT
            ) {
                continue;
            }
            let Some((bytes, tail)) = read_field(rest) else {
                break;
            };
            rest = tail;
            field(*tag, bytes);
        }
    }
}

impl Variant {
    /// Adds what is in every variant.
    pub(crate) fn into_form(self, seen: &Seen<'_>) -> Form {
        let mut out = self.bytes;
        field(&mut out, tag::PATH, seen.sent.path.as_bytes());
        if let Some(rewritten) = seen.rewritten {
            field(&mut out, tag::REWRITTEN, rewritten.path().as_bytes());
        }
        let read = seen.rewritten.map_or(seen.sent, Target::from);
        match (self.query, seen.query_named) {
            (QueryUse::Unseen, false) => {}
            (QueryUse::Exact, _) => {
                for target in [seen.sent, read] {
                    let whole = target.whole.to_string();
                    field(&mut out, tag::EXACT_URI, whole.as_bytes());
                }
            }
            (QueryUse::Normalised, _) | (QueryUse::Unseen, true) => {
                let each = |pair: &[u8]| field(&mut out, tag::QUERY, pair);
                if normalise(read.query, seen.query, each) {
                    out.push(tag::QUERY_PRESENT);
                }
            }
        }
        for name in seen.vary {
            field(&mut out, tag::HEADER, name.as_bytes());
            let all = seen.headers.map(|headers| headers.get_all(*name));
            let values = || all.iter().flatten();
            if values().next().is_none() {
                out.push(tag::HEADER_ABSENT);
                continue;
            }
            if *name == "accept-language"
                && let Some(wish) = accept_language::canonical(values())
            {
                field(&mut out, tag::WISH, &wish);
                continue;
            }
            for value in values() {
                field(&mut out, tag::VALUE, value.as_bytes());
            }
        }
        out.extend_from_slice(&seen.identity.address());
        Form {
            local: out,
            identity: seen.identity,
        }
    }
}

/// Writes one field: tag, length, bytes.
pub(super) fn field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Length and bytes of a field behind its tag, and what follows.
pub(super) fn read_field(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, tail) = rest.split_first_chunk::<4>()?;
    tail.split_at_checked(u32::from_le_bytes(*length) as usize)
}

#[cfg(test)]
mod tests {
    use super::super::IgnoredQuery;
    use super::*;

    fn bytes(uri: &str, fill: impl FnOnce(&mut Variant)) -> Vec<u8> {
        let uri: Uri = uri.parse().unwrap();
        let ignored = IgnoredQuery::default();
        let mut variant = Variant::new();
        fill(&mut variant);
        variant.key(format_args!("k"));
        let seen = Seen {
            identity: Identity {
                type_name: "f",
                place: ("f.rs", 1, 1),
                state: "()",
            },
            sent: (&uri).into(),
            rewritten: None,
            query: QueryRule::AllBut(&ignored),
            query_named: false,
            vary: &[],
            headers: None,
        };
        variant.into_form(&seen).canonical()
    }

    #[test]
    fn key_and_tags_are_found_again() {
        let mut variant = Variant::new();
        variant.push("p");
        variant.absent();
        variant.key(format_args!("k:{}", 1));
        variant.tag(format_args!("a"));
        variant.tag(format_args!("b"));
        let ignored = IgnoredQuery::default();
        let form = variant.into_form(&Seen {
            identity: Identity {
                type_name: "t",
                place: ("f.rs", 1, 1),
                state: "()",
            },
            sent: (&"/k?a=1".parse::<Uri>().unwrap()).into(),
            rewritten: None,
            query: QueryRule::AllBut(&ignored),
            query_named: true,
            vary: &["accept"],
            headers: None,
        });
        assert_eq!(form.names(), (Some("k:1"), vec!["a", "b"]));
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
        impl std::fmt::Display for Broken {
            fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                Err(std::fmt::Error)
            }
        }
        let mut variant = Variant::new();
        variant.push(Broken);
        assert!(variant.is_bypassed());
    }
}
