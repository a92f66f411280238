//! What a request says about the form in which it wants the answer: the few headers that choose
//! among whole, part, encoded and "you have it already".
//!
//! They are never in the variant: whatever they say, the entry is the same.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The headers that say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    IfMatch,
    IfNoneMatch,
    IfModifiedSince,
    IfUnmodifiedSince,
    IfRange,
    Range,
    AcceptEncoding,
}

impl Want {
    fn of(name: &HeaderName) -> Option<Self> {
        Some(match name.as_str() {
            "if-match" => Self::IfMatch,
            "if-none-match" => Self::IfNoneMatch,
            "if-modified-since" => Self::IfModifiedSince,
            "if-unmodified-since" => Self::IfUnmodifiedSince,
            "if-range" => Self::IfRange,
            "range" => Self::Range,
            "accept-encoding" => Self::AcceptEncoding,
            _ => return None,
        })
    }

    fn name(self) -> HeaderName {
        match self {
            Self::IfMatch => header::IF_MATCH,
            Self::IfNoneMatch => header::IF_NONE_MATCH,
            Self::IfModifiedSince => header::IF_MODIFIED_SINCE,
            Self::IfUnmodifiedSince => header::IF_UNMODIFIED_SINCE,
            Self::IfRange => header::IF_RANGE,
            Self::Range => header::RANGE,
            Self::AcceptEncoding => header::ACCEPT_ENCODING,
        }
    }
}

/// The lines of those headers, in their order. Most requests of programs have none, which costs a
/// look at each name and no allocation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wants(Vec<(Want, HeaderValue)>);

impl Wants {
    /// Takes them from a request.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let wants = headers
            .iter()
            .filter_map(|(name, value)| Some((Want::of(name)?, value.clone())));
        Self(wants.collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All lines of one header.
    pub(crate) fn all(&self, want: Want) -> impl Iterator<Item = &HeaderValue> + Clone {
        let of_it = move |(named, _): &&(Want, HeaderValue)| *named == want;
        self.0.iter().filter(of_it).map(|(_, value)| value)
    }

    pub(crate) fn has(&self, want: Want) -> bool {
        self.all(want).next().is_some()
    }

    /// The line of a header that may have one; several are none, for which of them counts nobody
    /// can say.
    pub(crate) fn only(&self, want: Want) -> Option<&HeaderValue> {
        let mut all = self.all(want);
        all.next().filter(|_| all.next().is_none())
    }

    /// Leaves out what the handler looks at itself: a header that is in the variant has had its
    /// say when the answer was made.
    pub(crate) fn leave_out(&mut self, vary: &[&str]) {
        if !self.0.is_empty() && !vary.is_empty() {
            self.0
                .retain(|(want, _)| !vary.contains(&want.name().as_str()));
        }
    }

    /// These, [without](Self::leave_out) what the handler looks at itself.
    pub(crate) fn without(mut self, vary: &[&str]) -> Self {
        self.leave_out(vary);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wants(lines: &[(&'static str, &'static str)]) -> Wants {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Wants::of(&headers)
    }

    #[test]
    fn only_the_headers_that_choose_a_form_are_taken() {
        assert!(wants(&[("host", "a"), ("accept", "*/*"), ("cookie", "a=b")]).is_empty());
        let some = wants(&[
            ("if-none-match", "\"a\""),
            ("range", "bytes=0-1"),
            ("if-none-match", "\"b\""),
        ]);
        assert_eq!(some.all(Want::IfNoneMatch).count(), 2);
        assert!(some.only(Want::IfNoneMatch).is_none());
        assert!(some.only(Want::Range).is_some() && !some.has(Want::IfRange));
    }

    #[test]
    fn every_want_is_found_by_its_own_name() {
        for want in [
            Want::IfMatch,
            Want::IfNoneMatch,
            Want::IfModifiedSince,
            Want::IfUnmodifiedSince,
            Want::IfRange,
            Want::Range,
            Want::AcceptEncoding,
        ] {
            assert_eq!(Want::of(&want.name()), Some(want));
        }
    }

    #[test]
    fn what_the_handler_looks_at_is_its_own_matter() {
        let some = wants(&[("range", "bytes=0-1"), ("if-match", "*")]).without(&["range"]);
        assert!(!some.has(Want::Range) && some.has(Want::IfMatch));
    }
}
