//! A variant in words, for operators: which request an entry is for.
//!
//! It is kept with the entry and shown on pages, so it holds what an access log holds, and no
//! secrets: values of credentials, and whatever else an extractor has shown, appear as a
//! fingerprint that tells two entries apart.

use super::form::{Form, read_field};
use super::variant::tag;

/// Bytes; what is longer is cut.
const LONGEST: usize = 512;
/// Headers whose values are credentials.
const SECRET: [&[u8]; 4] = [
    b"authorization",
    b"cookie",
    b"proxy-authorization",
    b"x-api-key",
];

impl Form {
    /// `/products?page=2 · accept-language: de · with #3f2a91c0`.
    pub(crate) fn in_words(&self) -> String {
        let (mut path, mut query, mut headers) = (String::new(), String::new(), String::new());
        let mut parts: Option<blake3::Hasher> = None;
        let (mut rest, mut header): (&[u8], Option<&[u8]>) = (self.shown(), None);
        while let Some((tag, tail)) = rest.split_first() {
            rest = tail;
            match *tag {
                tag::ABSENT | tag::PRESENT => {
                    parts.get_or_insert_default().update(&[*tag]);
                    // Ends the lines of a header that a layer has put among the parts.
                    header = None;
                    continue;
                }
                tag::QUERY_PRESENT => {
                    if query.is_empty() {
                        query.push('?');
                    }
                    continue;
                }
                tag::HEADER_ABSENT => {
                    headers.push_str(" (absent)");
                    continue;
                }
                _ => {}
            }
            let Some((bytes, tail)) = read_field(rest) else {
                break;
            };
            rest = tail;
            let text = String::from_utf8_lossy(bytes);
            match *tag {
                tag::PATH => path.push_str(&text),
                tag::EXACT_URI => query = exact(&text),
                tag::QUERY => {
                    query.push(if query.is_empty() { '?' } else { '&' });
                    query.push_str(&text);
                }
                tag::HEADER => {
                    headers.push_str(" · ");
                    headers.push_str(&text);
                    header = Some(bytes);
                }
                tag::VALUE | tag::WISH => match header {
                    Some(name) if SECRET.contains(&name) => {
                        headers.push_str(": #");
                        headers.push_str(&fingerprint(&blake3::hash(bytes)));
                    }
                    Some(_) => {
                        headers.push_str(": ");
                        headers.push_str(&text);
                    }
                    None => {
                        let parts = parts.get_or_insert_default();
                        parts.update(&(bytes.len() as u64).to_le_bytes());
                        parts.update(bytes);
                    }
                },
                _ => {}
            }
        }
        let mut words = path + &query + &headers;
        if let Some(parts) = parts {
            words.push_str(" · with #");
            words.push_str(&fingerprint(&parts.finalize()));
        }
        cut(words)
    }
}

/// The query of a target that counts as it was sent.
fn exact(target: &str) -> String {
    target
        .split_once('?')
        .map_or_else(String::new, |(_, query)| format!("?{query}"))
}

fn fingerprint(hash: &blake3::Hash) -> String {
    hash.to_hex()[..8].to_owned()
}

fn cut(mut words: String) -> String {
    if words.len() > LONGEST {
        let end = (0..=LONGEST)
            .rev()
            .find(|end| words.is_char_boundary(*end))
            .unwrap_or(0);
        words.truncate(end);
        words.push('…');
    }
    words
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::super::{Identity, IgnoredQuery, QueryRule, Seen, Variant};

    fn words(
        uri: &str,
        headers: &[(&'static str, &str)],
        fill: impl FnOnce(&mut Variant),
    ) -> String {
        let uri: http::Uri = uri.parse().unwrap();
        let ignored = IgnoredQuery::default();
        let mut variant = Variant::new();
        fill(&mut variant);
        variant.key(format_args!("k"));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
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
            vary: &["accept-language", "cookie"],
            headers: Some(&map),
        };
        variant.into_form(&seen).in_words()
    }

    #[test]
    fn a_variant_reads_as_its_request() {
        let plain = words("/p/7?b=2&a=1&utm_source=x", &[], Variant::query);
        assert!(
            plain.starts_with("/p/7?a=1&b=2 · accept-language"),
            "{plain}"
        );
        assert!(!plain.contains("with #"), "{plain}");
        let german = words("/p/7", &[("accept-language", "de")], |_| {});
        assert!(german.contains("accept-language: de"), "{german}");
    }

    #[test]
    fn credentials_and_what_extractors_show_are_told_apart_and_not_shown() {
        let secret = |cookie, user| words("/", &[("cookie", cookie)], |variant| variant.push(user));
        let one = secret("session=geheim", "anna");
        assert!(!one.contains("geheim") && !one.contains("anna"), "{one}");
        assert_ne!(one, secret("session=other", "anna"));
        assert_ne!(one, secret("session=geheim", "bert"));
    }

    #[test]
    fn what_follows_a_layers_header_is_not_shown_as_its_value() {
        let mut map = HeaderMap::new();
        map.insert("host", "a.test".parse().unwrap());
        let shown = words("/", &[], |variant| {
            variant.header(&http::header::HOST, &map);
            variant.push_bytes(b"session=geheim");
        });
        assert!(shown.contains("host: a.test"), "{shown}");
        assert!(!shown.contains("geheim"), "{shown}");
    }

    #[test]
    fn what_is_too_long_is_cut_between_characters() {
        let long = words(
            &format!("/{}", "ü".repeat(600).replace('ü', "%C3%BC")),
            &[],
            |_| {},
        );
        assert!(long.len() < 600 && long.ends_with('…'));
    }
}
