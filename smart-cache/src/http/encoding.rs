//! The encodings in which bodies can be kept ready, and whose bodies are worth it.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// One content coding.
#[doc(hidden)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    Zstd,
    Brotli,
    Gzip,
}

impl Encoding {
    pub(crate) const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// As `Content-Encoding` and settings name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// Reads [`Encoding::name`], in any case.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|encoding| encoding.name().eq_ignore_ascii_case(name))
    }
}

/// Encodings in the order of the server's preference, each once; as small as a number, for every
/// request carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Encodings([Option<Encoding>; Encoding::ALL.len()]);

impl Encodings {
    /// Those of a list; one that is named again counts where it stood first.
    #[must_use]
    pub const fn of(listed: &[Encoding]) -> Self {
        let mut kept = [None; Encoding::ALL.len()];
        let (mut at, mut count) = (0, 0);
        while at < listed.len() {
            let (mut earlier, mut is_new) = (0, true);
            while earlier < at {
                is_new = is_new && listed[earlier] as u8 != listed[at] as u8;
                earlier += 1;
            }
            if is_new {
                kept[count] = Some(listed[at]);
                count += 1;
            }
            at += 1;
        }
        Self(kept)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Encoding> {
        self.0.into_iter().flatten()
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0[0].is_none()
    }
}

/// Headers that speak of the very bytes of the body, which an encoded one has not.
const OF_THE_BYTES: [HeaderName; 5] = [
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
];

/// Whether encoding the body of an answer with these headers is allowed and likely to pay.
pub(crate) fn is_worth_it(headers: &HeaderMap, length: usize, from: u64) -> bool {
    length as u64 >= from
        && headers
            .get(header::CONTENT_TYPE)
            .is_some_and(is_compressible)
        && !OF_THE_BYTES.iter().any(|name| headers.contains_key(name))
        && !forbids_transforming(headers)
}

/// Text in the wider sense. What is compressed by itself (pictures, films, archives) is not here,
/// and neither is what nobody has heard of.
fn is_compressible(content_type: &HeaderValue) -> bool {
    let Ok(text) = content_type.to_str() else {
        return false;
    };
    let essence = text
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let Some((kind, subtype)) = essence.split_once('/') else {
        return false;
    };
    // A stream of events is never stored, and must not wait for an encoder if it were.
    if essence == "text/event-stream" {
        return false;
    }
    kind == "text"
        || ["+json", "+xml", "+text", "+yaml", "+cbor"]
            .iter()
            .any(|suffix| subtype.ends_with(suffix))
        || (kind == "application"
            && matches!(
                subtype,
                "json"
                    | "xml"
                    | "javascript"
                    | "x-javascript"
                    | "ecmascript"
                    | "wasm"
                    | "x-ndjson"
                    | "ndjson"
                    | "jsonl"
                    | "yaml"
                    | "toml"
                    | "sql"
                    | "graphql"
                    | "rtf"
                    | "cbor"
                    | "vnd.ms-fontobject"
            ))
        || (kind == "font" && matches!(subtype, "ttf" | "otf"))
        || (kind == "image" && matches!(subtype, "bmp" | "x-icon" | "vnd.microsoft.icon"))
}

fn forbids_transforming(headers: &HeaderMap) -> bool {
    headers.get_all(header::CACHE_CONTROL).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worth(headers: &[(&'static str, &'static str)], length: usize) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        is_worth_it(&map, length, 1024)
    }

    #[test]
    fn text_that_is_long_enough_is_worth_it() {
        for content_type in [
            "text/html; charset=utf-8",
            "Text/CSS",
            "application/json",
            "application/problem+json",
            "application/atom+xml",
            "image/svg+xml",
            "application/wasm",
            "text/javascript",
        ] {
            assert!(
                worth(&[("content-type", content_type)], 1024),
                "{content_type}"
            );
            assert!(
                !worth(&[("content-type", content_type)], 1023),
                "{content_type}"
            );
        }
    }

    #[test]
    fn what_is_compressed_already_or_unknown_is_not() {
        for content_type in [
            "image/png",
            "image/jpeg",
            "video/mp4",
            "application/zip",
            "application/octet-stream",
            "application/x-unheard-of",
            "font/woff2",
            "text/event-stream",
            "json",
            "",
        ] {
            assert!(
                !worth(&[("content-type", content_type)], 1 << 20),
                "{content_type}"
            );
        }
        assert!(!worth(&[], 1 << 20));
    }

    #[test]
    fn what_the_handler_says_of_the_bytes_stays_true() {
        let html = ("content-type", "text/html");
        for other in [
            ("content-encoding", "gzip"),
            ("content-encoding", "identity"),
            ("cache-control", "public, No-Transform"),
            ("content-digest", "sha-256=:AAAA:"),
        ] {
            assert!(!worth(&[html, other], 4096), "{other:?}");
        }
        assert!(worth(&[html, ("cache-control", "max-age=5")], 4096));
    }

    #[test]
    fn a_list_keeps_its_order_and_each_encoding_once() {
        let listed = Encodings::of(&[
            Encoding::Gzip,
            Encoding::Zstd,
            Encoding::Gzip,
            Encoding::Zstd,
            Encoding::Brotli,
        ]);
        let all: Vec<_> = listed.iter().collect();
        assert_eq!(all, [Encoding::Gzip, Encoding::Zstd, Encoding::Brotli]);
        assert!(Encodings::default().is_empty() && !listed.is_empty());
    }

    #[test]
    fn names_are_read_back() {
        for encoding in Encoding::ALL {
            assert_eq!(Encoding::parse(encoding.name()), Some(encoding));
        }
        assert_eq!(Encoding::parse("BR"), Some(Encoding::Brotli));
        assert_eq!(Encoding::parse("deflate"), None);
    }
}
