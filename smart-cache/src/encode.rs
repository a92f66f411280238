//! Bodies encoded once, when an answer is stored.
//!
//! An encoder is a cargo feature; what is stored and chosen does not depend on it, so a build
//! without one serves what another has encoded.

use bytes::Bytes;

use crate::config::Config;
use crate::entry::{Answer, EncodedBody};
use crate::http::encoding::{Encoding, Encodings};
use crate::http::etag;

/// Longer bodies are encoded by a thread that may block; up to this it takes less than a
/// millisecond.
const IN_PLACE: usize = 4 << 10;

/// The encoded bodies of an answer, in the order of `encodings`. One that is not shorter than the
/// plain body is left out, and so is one that would make all bodies together longer than `most`.
pub(crate) async fn bodies(answer: &Answer, encodings: Encodings, most: u64) -> Vec<EncodedBody> {
    if encodings.is_empty() {
        return Vec::new();
    }
    let body = answer.body.clone();
    let encoded = if body.len() <= IN_PLACE {
        all(&body, encodings)
    } else {
        let encoding = tokio::task::spawn_blocking(move || all(&body, encodings));
        // It only fails with its runtime, or when an encoder panics: then the plain body stays.
        encoding.await.unwrap_or_default()
    };
    let mut total = answer.body.len() as u64;
    encoded
        .into_iter()
        .filter(|(_, body)| {
            let with_it = total + body.len() as u64;
            let fits = body.len() < answer.body.len() && with_it <= most;
            if fits {
                total = with_it;
            }
            fits
        })
        .map(|(encoding, body)| EncodedBody {
            encoding,
            etag: etag::encoded(&answer.headers, encoding.name(), &body),
            body,
        })
        .collect()
}

fn all(body: &[u8], encodings: Encodings) -> Vec<(Encoding, Bytes)> {
    encodings
        .iter()
        .filter_map(|encoding| Some((encoding, encode(encoding, body)?.into())))
        .collect()
}

/// `None` when it is not compiled in. Writing to memory does not fail.
fn encode(encoding: Encoding, body: &[u8]) -> Option<Vec<u8>> {
    match encoding {
        #[cfg(feature = "zstd")]
        // A window of 4 MiB, within what browsers accept (RFC 9659).
        Encoding::Zstd => zstd::bulk::compress(body, 12).ok(),
        #[cfg(feature = "brotli")]
        Encoding::Brotli => {
            let parameters = brotli::enc::BrotliEncoderParams {
                // The highest ones are ten times slower for a few hundredths.
                quality: 9,
                size_hint: body.len(),
                ..brotli::enc::BrotliEncoderParams::default()
            };
            let mut out = Vec::with_capacity(body.len() / 2);
            brotli::BrotliCompress(&mut &*body, &mut out, &parameters)
                .ok()
                .map(|_| out)
        }
        #[cfg(feature = "gzip")]
        Encoding::Gzip => {
            use std::io::Write as _;

            let out = Vec::with_capacity(body.len() / 2);
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::best());
            encoder.write_all(body).ok()?;
            encoder.finish().ok()
        }
        #[expect(
            clippy::allow_attributes,
            reason = "which encoders there are depends on the features"
        )]
        #[allow(unreachable_patterns, reason = "with all features nothing is left")]
        _ => {
            let _ = body;
            None
        }
    }
}

/// The feature that an encoding needs.
const fn feature(encoding: Encoding) -> (&'static str, bool) {
    match encoding {
        Encoding::Zstd => ("zstd", cfg!(feature = "zstd")),
        Encoding::Brotli => ("brotli", cfg!(feature = "brotli")),
        Encoding::Gzip => ("gzip", cfg!(feature = "gzip")),
    }
}

/// The encodings that are kept of the answers of somebody who says `own` of it. Who looks at
/// `Accept-Encoding` has chosen one already.
pub(crate) fn kept(own: Option<Encodings>, vary: &[&str], config: &Config) -> Encodings {
    if vary.contains(&"accept-encoding") {
        return Encodings::default();
    }
    own.unwrap_or(config.encodings)
}

/// Reads names joined by commas; `-` alone means none. The error says what is allowed.
pub(crate) fn parse(list: &str) -> Result<Encodings, String> {
    let mut encodings = Vec::new();
    for name in list.split(',').map(str::trim) {
        if name.is_empty() || name == "-" {
            continue;
        }
        let Some(encoding) = Encoding::parse(name) else {
            return Err("zstd, br and gzip, joined by commas, or - for none".to_owned());
        };
        let (feature, compiled_in) = feature(encoding);
        if !compiled_in {
            return Err(format!(
                "encodings that are compiled in: {} needs the feature `{feature}` of smart-cache",
                encoding.name()
            ));
        }
        encodings.push(encoding);
    }
    Ok(Encodings::of(&encodings))
}

/// `encodings("zstd")`, if it is compiled in.
#[must_use]
pub const fn zstd() -> Encoding {
    assert!(
        feature(Encoding::Zstd).1,
        "encodings(\"zstd\") needs the feature `zstd` of smart-cache"
    );
    Encoding::Zstd
}

/// `encodings("br")`, if it is compiled in.
#[must_use]
pub const fn br() -> Encoding {
    assert!(
        feature(Encoding::Brotli).1,
        "encodings(\"br\") needs the feature `brotli` of smart-cache"
    );
    Encoding::Brotli
}

/// `encodings("gzip")`, if it is compiled in.
#[must_use]
pub const fn gzip() -> Encoding {
    assert!(
        feature(Encoding::Gzip).1,
        "encodings(\"gzip\") needs the feature `gzip` of smart-cache"
    );
    Encoding::Gzip
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_encodings_that_there_are() {
        for nonsense in ["deflate", "br gzip", "*", "zstd;q=1"] {
            let why = parse(nonsense).unwrap_err();
            assert!(why.contains("joined by commas"), "{nonsense}: {why}");
        }
        for none in ["-", "", " , "] {
            assert!(parse(none).unwrap().is_empty());
        }
    }

    #[cfg(not(feature = "brotli"))]
    #[test]
    fn an_encoding_that_is_not_compiled_in_names_its_feature() {
        let why = parse("br").unwrap_err();
        assert!(why.contains("the feature `brotli`"), "{why}");
    }

    #[cfg(all(feature = "zstd", feature = "brotli", feature = "gzip"))]
    #[tokio::test]
    async fn only_bodies_that_get_shorter_and_fit_are_kept() {
        use http::{HeaderMap, StatusCode};

        let listed = parse("gzip, ZSTD,br").unwrap();
        let answer = |body: Vec<u8>| Answer {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: body.into(),
            encoded: Vec::new(),
            created: std::time::SystemTime::now(),
            took: std::time::Duration::ZERO,
        };
        let named = |bodies: Vec<EncodedBody>| {
            bodies
                .iter()
                .map(|body| body.encoding.name())
                .collect::<Vec<_>>()
        };
        for length in [1000, 100_000] {
            let text = answer(b"word ".repeat(length / 5));
            let kept = bodies(&text, listed, 1 << 20).await;
            assert_eq!(named(kept), ["gzip", "zstd", "br"]);
            let kept = bodies(&text, listed, text.body.len() as u64).await;
            assert!(kept.is_empty());
        }
        let mut noise = vec![0; 10_000];
        getrandom::fill(&mut noise).unwrap();
        assert!(bodies(&answer(noise), listed, 1 << 20).await.is_empty());
    }
}
