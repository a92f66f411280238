//! What an answer says of itself in `Cache-Status` (RFC 9211), and assertions on it.

use http::Response;

use crate::http::cache_status::NAME;

/// What `Cache-Status` says of smart-cache's part in an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// The stored answer was served.
    pub hit: bool,
    /// Why the handler, or another request's handler, had to answer: `miss`, `bypass`, `method`.
    pub forwarded: Option<String>,
    /// The handler's answer is being stored.
    pub stored: bool,
    /// It is the answer of another request that was filling the same entry.
    pub collapsed: bool,
    /// The reason behind `forwarded`, for instance `set-cookie`.
    pub detail: Option<String>,
}

impl Status {
    /// Why the answer is neither a hit nor stored: the detail, or else what it was forwarded for.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.detail.as_deref().or(self.forwarded.as_deref())
    }
}

/// Reads what smart-cache says of an answer; `None` when it says nothing: no annotated handler
/// answered, or `SMART_REDIS_STATUS_HEADER` is off.
///
/// # Example
/// ```
/// let answer = axum::http::Response::builder()
///     .header("cache-status", "edge; hit, smart-cache; fwd=bypass; detail=set-cookie")
///     .body(())
///     .unwrap();
/// let status = smart_cache::testing::status(&answer).unwrap();
/// assert_eq!(status.reason(), Some("set-cookie"));
/// ```
#[must_use]
pub fn status<B>(response: &Response<B>) -> Option<Status> {
    let lines = response.headers().get_all(NAME);
    let own = lines
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| split(line, ','))
        .filter_map(|member| member.trim().strip_prefix("smart-cache"))
        .filter(|rest| rest.is_empty() || rest.trim_start().starts_with(';'))
        .last()?;
    let mut status = Status::default();
    for parameter in split(own, ';') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = || Some(value.trim().trim_matches('"').to_owned());
        match name.trim() {
            "hit" => status.hit = true,
            "stored" => status.stored = true,
            "collapsed" => status.collapsed = true,
            "fwd" => status.forwarded = value(),
            "detail" => status.detail = value(),
            _ => {}
        }
    }
    Some(status)
}

/// Splits where the separator stands outside of quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |char: char| {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => return char == separator && !quoted,
        }
        false
    })
}

/// Asserts that the answer came from the cache.
///
/// # Panics
/// When it did not; the message says what happened instead.
#[track_caller]
pub fn assert_hit<B>(response: &Response<B>) {
    check(response, "a hit", |status| status.hit);
}

/// Asserts that the handler ran and that its answer is being stored.
///
/// # Panics
/// When it did not, or its answer may not be stored; the message says why. A handler that found
/// tags while it ran says only `fwd=miss`, for its answer may yet be refused: use
/// [`Recorder`](super::Recorder) for those.
#[track_caller]
pub fn assert_stored<B>(response: &Response<B>) {
    check(response, "stored", |status| status.stored);
}

/// Asserts that the answer was expired ([`SmartCache::expire`](crate::SmartCache::expire)) and is shown
/// once more while it is made anew. For [`assert_hit`] that is a hit too.
///
/// # Panics
/// When it was not.
#[track_caller]
pub fn assert_expired<B>(response: &Response<B>) {
    check(response, "one that was expired", |status| {
        status.hit && status.detail.as_deref() == Some("expired")
    });
}

/// Asserts that the answer is that of another request's handler, which was filling the same entry.
///
/// # Panics
/// When it is not.
#[track_caller]
pub fn assert_collapsed<B>(response: &Response<B>) {
    check(response, "collapsed", |status| status.collapsed);
}

/// Asserts that the answer was kept out of the cache, for this reason (the words of
/// [`Bypass::as_str`](crate::Bypass::as_str)).
///
/// # Panics
/// When it was not, or for another reason.
///
/// # Example
/// ```
/// let answer = axum::http::Response::builder()
///     .header("cache-status", "smart-cache; fwd=bypass; detail=set-cookie")
///     .body(())
///     .unwrap();
/// smart_cache::testing::assert_bypass(&answer, "set-cookie");
/// ```
#[track_caller]
pub fn assert_bypass<B>(response: &Response<B>, reason: &str) {
    check(response, &format!("a bypass ({reason})"), |status| {
        !status.hit && !status.stored && status.reason() == Some(reason)
    });
}

#[track_caller]
fn check<B>(response: &Response<B>, wanted: &str, holds: impl Fn(&Status) -> bool) {
    let status = status(response);
    assert!(
        status.as_ref().is_some_and(holds),
        "the answer is not {wanted}: status {}, Cache-Status {:?}",
        response.status(),
        response.headers().get_all(NAME).iter().collect::<Vec<_>>()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(line: &str) -> Response<()> {
        let mut response = Response::new(());
        response.headers_mut().insert(NAME, line.parse().unwrap());
        response
    }

    #[track_caller]
    fn check_reason(line: &str, reason: Option<&str>) {
        let status = status(&answer(line));
        assert_eq!(status.as_ref().and_then(Status::reason), reason, "{line}");
    }

    #[test]
    fn the_last_member_of_our_name_counts() {
        check_reason("smart-cache; fwd=miss, edge; fwd=uri-miss", Some("miss"));
        check_reason("smart-cache; fwd=miss, smart-cache; hit", None);
        check_reason("smart-cache-two; fwd=miss", None);
        check_reason("edge; detail=\"a, smart-cache; fwd=miss\"; fwd=stale", None);
        check_reason(
            "smart-cache; fwd=bypass; detail=\"set-cookie\"",
            Some("set-cookie"),
        );
        assert_eq!(status(&Response::new(())), None);
    }

    #[test]
    fn every_status_that_the_cache_writes_is_understood() {
        use crate::http::cache_status::Status as Written;
        let read = |written: Written| {
            let mut response = Response::new(());
            written.append_to(response.headers_mut());
            status(&response).unwrap()
        };
        assert!(read(Written::Hit).hit);
        assert!(read(Written::Stored).stored);
        assert!(read(Written::Collapsed).collapsed);
        let stale = read(Written::Stale);
        assert!(stale.hit && stale.detail.as_deref() == Some("expired"));
        for bypass in crate::Bypass::ALL {
            assert_eq!(
                read(Written::Bypass(bypass)).reason(),
                Some(bypass.as_str())
            );
        }
    }

    #[test]
    #[should_panic(
        expected = "the answer is not a hit: status 200 OK, Cache-Status [\"smart-cache; fwd=miss\"]"
    )]
    fn a_failed_assertion_says_what_happened_instead() {
        assert_hit(&answer("smart-cache; fwd=miss"));
    }
}
