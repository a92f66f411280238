//! Does the variant hold everything that the answer says it varies on?

use http::{HeaderMap, header};

/// Whether each name in `Vary` is among `declared` (lower case). `*` never is.
pub(crate) fn is_covered(headers: &HeaderMap, declared: &[&str]) -> bool {
    headers.get_all(header::VARY).iter().all(|value| {
        let Ok(text) = value.to_str() else {
            return false;
        };
        text.split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .all(|name| {
                declared
                    .iter()
                    .any(|declared| declared.eq_ignore_ascii_case(name))
            })
    })
}
