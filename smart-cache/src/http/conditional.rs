//! What a request gets of a stored answer: the whole, a part, or word that it has it already
//! (RFC 9110, section 13.2.2, whose order of steps this follows).

use std::ops::Range;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, header};

use super::etag::{self, Comparison, Tag};
use super::range::{self, Wanted};
use super::wants::{Want, Wants};

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// 200 with everything.
    Whole,
    /// 206 with these bytes.
    Part(Range<usize>),
    /// 304: the client has it already.
    NotModified,
    /// 412: it is not the one that the client means.
    PreconditionFailed,
    /// 416: none of the bytes that the client wants is there.
    Unsatisfiable,
}

/// The representation that a request is judged against; its status is 200.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Selected<'a> {
    pub(crate) headers: &'a HeaderMap,
    /// Bytes of its body.
    pub(crate) length: usize,
    /// When it was made.
    pub(crate) created: SystemTime,
    /// HEAD has no parts.
    pub(crate) is_head: bool,
}

/// Judges what a request wants of it.
pub(crate) fn judge(wants: &Wants, selected: Selected<'_>) -> Verdict {
    let tag = etag::of(selected.headers);
    if wants.has(Want::IfMatch) {
        if !etag::names(wants.all(Want::IfMatch), tag, Comparison::Strong) {
            return Verdict::PreconditionFailed;
        }
    } else if let (Some(since), Some(modified)) = (
        date(wants.only(Want::IfUnmodifiedSince)),
        modified(selected.headers),
    ) && modified > since
    {
        return Verdict::PreconditionFailed;
    }
    if wants.has(Want::IfNoneMatch) {
        if etag::names(wants.all(Want::IfNoneMatch), tag, Comparison::Weak) {
            return Verdict::NotModified;
        }
    } else if let (Some(since), Some(modified)) = (
        date(wants.only(Want::IfModifiedSince)),
        modified(selected.headers),
    ) && modified <= since
    {
        return Verdict::NotModified;
    }
    if selected.is_head || refuses_ranges(selected.headers) || !range_holds(wants, tag, selected) {
        return Verdict::Whole;
    }
    match wants
        .only(Want::Range)
        .map(|line| range::read(line.as_bytes(), selected.length))
    {
        Some(Wanted::Part(range)) => Verdict::Part(range),
        Some(Wanted::Nothing) => Verdict::Unsatisfiable,
        Some(Wanted::Whole) | None => Verdict::Whole,
    }
}

/// Whether `If-Range`, if there is one, names exactly this representation: by its strong tag, or
/// by a date that is a strong validator, that is older than the answer by a second or more.
fn range_holds(wants: &Wants, tag: Option<Tag<'_>>, selected: Selected<'_>) -> bool {
    if !wants.has(Want::IfRange) {
        return true;
    }
    let Some(line) = wants.only(Want::IfRange) else {
        return false;
    };
    if let Some(named) = Tag::parse(line.as_bytes()) {
        return tag.is_some_and(|tag| tag.is_strongly(named));
    }
    let (Some(named), Some(modified)) = (date(Some(line)), modified(selected.headers)) else {
        return false;
    };
    let made = date(selected.headers.get(header::DATE)).unwrap_or(selected.created);
    named == modified
        && made
            .duration_since(modified)
            .is_ok_and(|age| age >= Duration::from_secs(1))
}

fn refuses_ranges(headers: &HeaderMap) -> bool {
    let is_none = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"none");
    headers.get(header::ACCEPT_RANGES).is_some_and(is_none)
}

fn modified(headers: &HeaderMap) -> Option<SystemTime> {
    date(headers.get(header::LAST_MODIFIED))
}

/// A date in any of the three forms that a recipient must read; anything else is no date.
fn date(value: Option<&HeaderValue>) -> Option<SystemTime> {
    httpdate::parse_http_date(value?.to_str().ok()?.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn judged(
        request: &[(&'static str, &'static str)],
        stored: &[(&'static str, &'static str)],
        is_head: bool,
    ) -> Verdict {
        let map = |lines: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, HeaderValue::from_static(value));
            }
            headers
        };
        let selected = Selected {
            headers: &map(stored),
            length: 10,
            created: SystemTime::now(),
            is_head,
        };
        judge(&Wants::of(&map(request)), selected)
    }

    /// Against an answer with a tag and a date.
    #[track_caller]
    fn check(request: &[(&'static str, &'static str)], expected: &Verdict) {
        let stored = [("etag", "\"a\""), ("last-modified", MODIFIED)];
        assert_eq!(judged(request, &stored, false), *expected, "{request:?}");
    }

    #[test]
    fn a_client_that_has_it_is_told_so() {
        check(&[], &Verdict::Whole);
        check(&[("if-none-match", "\"a\"")], &Verdict::NotModified);
        check(&[("if-none-match", "W/\"a\"")], &Verdict::NotModified);
        check(&[("if-none-match", "\"x\", \"a\"")], &Verdict::NotModified);
        check(&[("if-none-match", "*")], &Verdict::NotModified);
        check(&[("if-none-match", "\"b\"")], &Verdict::Whole);
        check(&[("if-none-match", "a")], &Verdict::Whole);
    }

    #[test]
    fn dates_count_in_all_three_forms() {
        check(&[("if-modified-since", MODIFIED)], &Verdict::NotModified);
        check(&[("if-modified-since", LATER)], &Verdict::NotModified);
        check(&[("if-modified-since", EARLIER)], &Verdict::Whole);
        check(
            &[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")],
            &Verdict::NotModified,
        );
        check(
            &[("if-modified-since", "Sun Nov  6 08:49:37 1994")],
            &Verdict::NotModified,
        );
        check(
            &[("if-modified-since", "Sun Nov  6 08:49:36 1994")],
            &Verdict::Whole,
        );
        for nonsense in ["", "yesterday", "0", "-1", "1994-11-06T08:49:37Z"] {
            check(&[("if-modified-since", nonsense)], &Verdict::Whole);
        }
    }

    #[test]
    fn a_date_counts_only_where_there_is_a_date_to_compare() {
        let stored = [("etag", "\"a\""), ("date", MODIFIED)];
        for name in ["if-modified-since", "if-unmodified-since"] {
            assert_eq!(judged(&[(name, LATER)], &stored, false), Verdict::Whole);
            assert_eq!(judged(&[(name, EARLIER)], &stored, false), Verdict::Whole);
        }
    }

    #[test]
    fn tags_go_before_dates() {
        check(
            &[("if-none-match", "\"b\""), ("if-modified-since", LATER)],
            &Verdict::Whole,
        );
        check(
            &[("if-none-match", "\"a\""), ("if-modified-since", EARLIER)],
            &Verdict::NotModified,
        );
        check(
            &[("if-match", "\"a\""), ("if-unmodified-since", EARLIER)],
            &Verdict::Whole,
        );
    }

    #[test]
    fn what_is_not_the_one_that_is_meant_fails() {
        check(&[("if-match", "\"b\"")], &Verdict::PreconditionFailed);
        check(&[("if-match", "W/\"a\"")], &Verdict::PreconditionFailed);
        check(&[("if-match", "\"a\"")], &Verdict::Whole);
        check(&[("if-match", "*")], &Verdict::Whole);
        check(
            &[("if-unmodified-since", EARLIER)],
            &Verdict::PreconditionFailed,
        );
        check(&[("if-unmodified-since", MODIFIED)], &Verdict::Whole);
        check(&[("if-unmodified-since", "soon")], &Verdict::Whole);
        // First whether it is the one, then whether the client has it.
        check(
            &[("if-match", "\"b\""), ("if-none-match", "\"a\"")],
            &Verdict::PreconditionFailed,
        );
        check(
            &[("if-match", "\"a\""), ("if-none-match", "\"a\"")],
            &Verdict::NotModified,
        );
    }

    #[test]
    fn a_part_is_sent_when_the_rest_is_of_the_same_answer() {
        let part = || Verdict::Part(2..4);
        check(&[("range", "bytes=2-3")], &part());
        check(&[("range", "bytes=2-3"), ("if-range", "\"a\"")], &part());
        check(&[("range", "bytes=2-3"), ("if-range", MODIFIED)], &part());
        for other in ["\"b\"", "W/\"a\"", "a", LATER, EARLIER, "", "*"] {
            check(
                &[("range", "bytes=2-3"), ("if-range", other)],
                &Verdict::Whole,
            );
        }
        check(
            &[
                ("range", "bytes=2-3"),
                ("if-range", "\"a\""),
                ("if-range", "\"a\""),
            ],
            &Verdict::Whole,
        );
        check(&[("range", "bytes=10-")], &Verdict::Unsatisfiable);
        check(
            &[("range", "bytes=10-"), ("if-range", "\"b\"")],
            &Verdict::Whole,
        );
        check(
            &[("range", "bytes=2-3"), ("if-none-match", "\"a\"")],
            &Verdict::NotModified,
        );
        check(
            &[("range", "bytes=2-3"), ("range", "bytes=2-3")],
            &Verdict::Whole,
        );
    }

    #[test]
    fn a_date_of_the_same_second_is_no_strong_validator() {
        let stored = [("last-modified", MODIFIED), ("date", MODIFIED)];
        let request = [("range", "bytes=2-3"), ("if-range", MODIFIED)];
        assert_eq!(judged(&request, &stored, false), Verdict::Whole);
        let stored = [("last-modified", MODIFIED), ("date", LATER)];
        assert_eq!(judged(&request, &stored, false), Verdict::Part(2..4));
    }

    #[test]
    fn head_has_no_parts_and_an_answer_may_refuse_them() {
        let range = [("range", "bytes=2-3")];
        assert_eq!(judged(&range, &[], true), Verdict::Whole);
        assert_eq!(judged(&[("range", "bytes=99-")], &[], true), Verdict::Whole);
        assert_eq!(
            judged(&range, &[("accept-ranges", "none")], false),
            Verdict::Whole
        );
        assert_eq!(judged(&range, &[], false), Verdict::Part(2..4));
        assert_eq!(
            judged(&[("if-none-match", "\"a\"")], &[("etag", "\"a\"")], true),
            Verdict::NotModified
        );
    }
}
