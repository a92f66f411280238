//! The media types of most answers, ready-made: a hit that copies one touches no counter that other
//! threads share.

use http::HeaderValue;

const USUAL: [&str; 12] = [
    "application/json",
    "text/html; charset=utf-8",
    "text/plain; charset=utf-8",
    "application/octet-stream",
    "text/html",
    "text/css",
    "text/javascript",
    "application/xml",
    "application/problem+json",
    "image/svg+xml",
    "image/png",
    "image/jpeg",
];

/// The value of a `Content-Type`, if it is one of the usual ones.
pub(crate) fn usual(value: &[u8]) -> Option<HeaderValue> {
    let usual = USUAL.into_iter().find(|usual| usual.as_bytes() == value);
    usual.map(HeaderValue::from_static)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_made_type_is_the_one_that_was_asked_for() {
        for name in USUAL {
            assert_eq!(usual(name.as_bytes()).unwrap(), name);
        }
        assert_eq!(usual(b"application/jso"), None);
        assert_eq!(usual(b"text/x-mine"), None);
    }
}
