//! Where the `Age` of an answer stands (RFC 9111, section 5.1).

use http::{HeaderMap, HeaderValue, header};

/// Where the age stands among these headers: nearly always the first.
pub(crate) fn place(headers: &mut HeaderMap) -> Option<&mut HeaderValue> {
    if headers
        .iter()
        .next()
        .is_some_and(|(name, _)| name == header::AGE)
    {
        return headers.values_mut().next();
    }
    headers.get_mut(header::AGE)
}
