//! Which parameters of a query count, and in which order.
//!
//! Two queries that a handler reads alike should share an entry, and two that name different
//! values never do. The order of *different* names is not told apart, as the documentation of the
//! attribute says: a handler that reads it (from `RawQuery`, or into a list of pairs) takes
//! `OriginalUri`. Parameters are sorted by their *decoded* name (what the handler
//! matches on), the order of values under one name is kept (`a=1&a=2` is not `a=2&a=1`), and
//! the raw text of each pair is what is compared: `%20` and `+` may cost a second entry, never
//! a wrong one.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// Parameters that analytics tools add and handlers do not read.
const IGNORED: &str = "utm_*,gclid,gclsrc,gbraid,wbraid,dclid,fbclid,msclkid,yclid,ttclid,twclid,li_fat_id,igshid,mc_cid,mc_eid,_ga,_gl,_hsenc,_hsmi";

/// Names of parameters that are left out; a trailing `*` stands for any ending.
#[derive(Debug, Clone)]
pub(crate) struct IgnoredQuery {
    exact: Vec<Box<str>>,
    prefixes: Vec<Box<str>>,
}

impl Default for IgnoredQuery {
    fn default() -> Self {
        Self::parse(IGNORED)
    }
}

impl IgnoredQuery {
    /// Reads names joined by commas; `-` alone means none.
    pub(crate) fn parse(list: &str) -> Self {
        let mut ignored = Self {
            exact: Vec::new(),
            prefixes: Vec::new(),
        };
        for name in list
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty() && *name != "-")
        {
            match name.strip_suffix('*') {
                Some(prefix) => ignored.prefixes.push(prefix.into()),
                None => ignored.exact.push(name.into()),
            }
        }
        ignored
    }

    fn contains(&self, name: &[u8]) -> bool {
        self.exact.iter().any(|exact| exact.as_bytes() == name)
            || self
                .prefixes
                .iter()
                .any(|prefix| name.starts_with(prefix.as_bytes()))
    }
}

/// Which parameters of a request count.
#[derive(Debug, Clone, Copy)]
pub(crate) enum QueryRule<'a> {
    /// Those that the attribute names.
    Only(&'a [&'a str]),
    /// All but the ignored ones.
    AllBut(&'a IgnoredQuery),
}

impl QueryRule<'_> {
    fn counts(&self, name: &[u8]) -> bool {
        match self {
            Self::Only(names) => names.iter().any(|kept| kept.as_bytes() == name),
            Self::AllBut(ignored) => !ignored.contains(name),
        }
    }
}

/// Calls `each` with the raw pairs that count, in canonical order. Returns whether the query,
/// as far as it counts, is there at all: `/x?` differs from `/x`, `/x?utm_source=a` does not.
pub(crate) fn normalise(
    raw: Option<&str>,
    rule: QueryRule<'_>,
    mut each: impl FnMut(&[u8]),
) -> bool {
    let Some(raw) = raw else { return false };
    if raw.is_empty() {
        return matches!(rule, QueryRule::AllBut(_));
    }
    let mut pairs: Vec<(Cow<'_, [u8]>, &[u8])> = raw
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| (decoded_name(pair), pair.as_bytes()))
        .filter(|(name, _)| rule.counts(name))
        .collect();
    // A stable sort: the values of one name keep their order.
    pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (_, pair) in &pairs {
        each(pair);
    }
    !pairs.is_empty()
}

/// The name of a pair as `application/x-www-form-urlencoded` reads it.
fn decoded_name(pair: &str) -> Cow<'_, [u8]> {
    let name = pair
        .split_once('=')
        .map_or(pair, |(name, _)| name)
        .as_bytes();
    if !name.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(name);
    }
    let spaced: Vec<u8> = name
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    Cow::Owned(percent_decode(&spaced).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(raw: &str) -> (bool, String) {
        let ignored = IgnoredQuery::default();
        let mut out = Vec::new();
        let there = normalise(Some(raw), QueryRule::AllBut(&ignored), |pair| {
            out.push(String::from_utf8(pair.to_vec()).unwrap());
        });
        (there, out.join("|"))
    }

    #[test]
    fn order_of_names_does_not_matter() {
        assert_eq!(all("b=2&a=1"), all("a=1&b=2"));
        assert_eq!(all("a=1&&b=2&").1, "a=1|b=2");
    }

    #[test]
    fn order_of_the_values_of_one_name_matters() {
        assert_ne!(all("a=1&a=2"), all("a=2&a=1"));
    }

    #[test]
    fn an_encoded_name_is_the_name() {
        // `%61` is `a`: sorting raw text would make these two alike although a handler that
        // takes the first value of `a` answers them differently.
        assert_ne!(all("a=1&%61=2"), all("%61=2&a=1"));
        let mut seen = Vec::new();
        normalise(Some("p%61ge=2&x=1"), QueryRule::Only(&["page"]), |pair| {
            seen.push(pair.to_vec());
        });
        assert_eq!(seen, [b"p%61ge=2".to_vec()]);
    }

    #[test]
    fn analytics_parameters_do_not_count() {
        assert_eq!(all("utm_source=x&id=1&gclid=7").1, "id=1");
        assert_eq!(all("utm_source=x"), (false, String::new()));
    }

    #[test]
    fn an_empty_query_differs_from_none() {
        let ignored = IgnoredQuery::default();
        assert!(normalise(Some(""), QueryRule::AllBut(&ignored), |_| ()));
        assert!(!normalise(None, QueryRule::AllBut(&ignored), |_| ()));
    }

    #[test]
    fn separators_inside_values_stay_encoded() {
        assert_ne!(all("a=1%26b=2"), all("a=1&b=2"));
        assert_ne!(all("a"), all("a="));
    }
}
