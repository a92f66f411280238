//! `Vary`: does the variant hold everything that the answer varies on, and do those further out
//! hear of everything that it does?

use http::{HeaderMap, HeaderValue, header};

/// The names in `Vary`, as they stand there; a line that is no text counts as one that nothing
/// covers.
fn named(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::VARY)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("*").split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

/// The names in `Vary` that are not among `declared` (lower case). `*` never is.
pub(crate) fn uncovered<'a>(
    headers: &'a HeaderMap,
    declared: &'a [&'a str],
) -> impl Iterator<Item = &'a str> {
    named(headers).filter(|name| {
        !declared
            .iter()
            .any(|declared| declared.eq_ignore_ascii_case(name))
    })
}

/// Whether each name in `Vary` is among `declared`.
pub(crate) fn is_covered(headers: &HeaderMap, declared: &[&str]) -> bool {
    uncovered(headers, declared).next().is_none()
}

/// Adds the names that `Vary` does not have yet, as one more line: caches further out must tell
/// apart what is told apart here.
pub(crate) fn add<'a>(headers: &mut HeaderMap, names: impl Iterator<Item = &'a str>) {
    let missing: Vec<&str> = names
        .filter(|name| !named(headers).any(|there| there.eq_ignore_ascii_case(name)))
        .collect();
    if missing.is_empty() {
        return;
    }
    if let Ok(line) = HeaderValue::from_str(&missing.join(", ")) {
        headers.append(header::VARY, line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::VARY, HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn names_are_covered_in_any_case_and_a_star_never_is() {
        let declared = ["accept-language", "accept"];
        assert!(is_covered(&headers(&[]), &declared));
        assert!(is_covered(
            &headers(&["Accept , ,accept-LANGUAGE"]),
            &declared
        ));
        let lines = headers(&["accept, Cookie", " * ", "origin"]);
        let left: Vec<_> = uncovered(&lines, &declared).collect();
        assert_eq!(left, ["Cookie", "*", "origin"]);
    }

    #[test]
    fn only_what_is_missing_is_added() {
        let mut lines = headers(&["Accept-Language"]);
        add(&mut lines, ["accept-language", "accept"].into_iter());
        let all: Vec<_> = lines.get_all(header::VARY).iter().collect();
        assert_eq!(all, ["Accept-Language", "accept"]);
        add(&mut lines, ["accept"].into_iter());
        assert_eq!(lines.get_all(header::VARY).iter().count(), 2);
    }
}
