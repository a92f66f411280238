//! How long an answer says that it stays fresh (RFC 9111, section 4.2), for those who asked that it
//! be honoured.
//!
//! Where an answer contradicts itself, or cannot be read, the shortest reading counts: stored too
//! briefly, it is only asked for once more.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, header};

/// What is left of the lifetime that the answer states, its age taken off; `None` when it states
/// none.
pub(crate) fn left(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let stated = stated(headers, now)?;
    Some(stated.saturating_sub(age(headers, now)))
}

/// Whether it wants to be asked for again unless it is fresh, and so may not be kept without a
/// stated lifetime.
pub(crate) fn must_be_fresh(headers: &HeaderMap) -> bool {
    directives(headers).any(|(name, _)| {
        ["must-revalidate", "proxy-revalidate"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    })
}

/// `s-maxage` is meant for caches like this one, `max-age` for all, and `Expires` for those that know
/// neither.
fn stated(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    ["s-maxage", "max-age"]
        .into_iter()
        .find_map(|wanted| {
            directives(headers)
                .filter(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| seconds(value))
                .min()
        })
        .or_else(|| {
            let mut lines = headers.get_all(header::EXPIRES).iter().peekable();
            lines.peek()?;
            let until = lines.map(|line| date(line.to_str().ok())).min()?;
            let from = sent(headers).unwrap_or(now);
            // What is no date, such as `0`, has always expired.
            Some(until?.duration_since(from).unwrap_or_default())
        })
        .or_else(|| {
            headers
                .contains_key(header::EXPIRES)
                .then_some(Duration::ZERO)
        })
}

/// How old the answer is already: as it says itself, or as its date says.
fn age(headers: &HeaderMap, now: SystemTime) -> Duration {
    let said = members(headers, &header::AGE)
        .filter_map(|member| member.parse::<u64>().ok())
        .max();
    let apparent = sent(headers).and_then(|sent| now.duration_since(sent).ok());
    // A date has no parts of a second: what was sent a moment ago is not old.
    let apparent = apparent.map_or(0, |apparent| apparent.as_secs());
    Duration::from_secs(said.unwrap_or(0).max(apparent))
}

fn sent(headers: &HeaderMap) -> Option<SystemTime> {
    date(headers.get(header::DATE)?.to_str().ok())
}

fn date(text: Option<&str>) -> Option<SystemTime> {
    httpdate::parse_http_date(text?.trim()).ok()
}

/// The directives of `Cache-Control` with what stands behind their `=`.
fn directives(headers: &HeaderMap) -> impl Iterator<Item = (&str, Option<&str>)> {
    members(headers, &header::CACHE_CONTROL).map(|directive| match directive.split_once('=') {
        Some((name, value)) => (name.trim(), Some(value.trim())),
        None => (directive, None),
    })
}

/// The members of a list. One that holds a comma between quotes falls into two, which makes it
/// unreadable and so brief.
fn members<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
}

/// A number of seconds, perhaps between quotes; anything else is none at all.
fn seconds(value: Option<&str>) -> Duration {
    let value = value.unwrap_or_default();
    let bare = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'))
        .unwrap_or(value);
    if bare.is_empty() || !bare.bytes().all(|byte| byte.is_ascii_digit()) {
        return Duration::ZERO;
    }
    // More than can be counted is as long as can be counted.
    Duration::from_secs(bare.parse::<u32>().unwrap_or(u32::MAX).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const NOW: Duration = Duration::from_secs(784_111_777);

    #[track_caller]
    fn check(lines: &[(&'static str, &str)], expected: Option<u64>) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let left = left(&headers, SystemTime::UNIX_EPOCH + NOW);
        assert_eq!(left, expected.map(Duration::from_secs), "{lines:?}");
    }

    #[test]
    fn a_stated_lifetime_is_read_in_the_order_of_its_names() {
        check(&[], None);
        check(&[("cache-control", "public")], None);
        check(&[("cache-control", "max-age=60")], Some(60));
        check(&[("cache-control", "Max-Age=60, S-MAXAGE=5")], Some(5));
        check(&[("cache-control", "s-maxage=60, max-age=5")], Some(60));
        check(&[("expires", "Sun, 06 Nov 1994 08:50:37 GMT")], Some(60));
        check(&[("expires", "Sunday, 06-Nov-94 08:50:37 GMT")], Some(60));
        check(&[("expires", "Sun Nov  6 08:50:37 1994")], Some(60));
        check(
            &[
                ("cache-control", "max-age=5"),
                ("expires", "Sun, 06 Nov 1994 08:50:37 GMT"),
            ],
            Some(5),
        );
    }

    #[test]
    fn what_cannot_be_read_is_no_lifetime() {
        for value in [
            "max-age",
            "max-age=",
            "max-age=-1",
            "max-age=1.5",
            "max-age='60'",
            "max-age=60s",
            "max-age=+60",
            "max-age=\"60",
            "s-maxage=x, max-age=60",
        ] {
            check(&[("cache-control", value)], Some(0));
        }
        for value in ["0", "", "soon", "Sun, 06 Nov 1994 08:49:36 GMT"] {
            check(&[("expires", value)], Some(0));
        }
        check(
            &[
                ("expires", "Sun, 06 Nov 1994 08:50:37 GMT"),
                ("expires", "0"),
            ],
            Some(0),
        );
        check(&[("cache-control", "max-age=\"60\"")], Some(60));
        check(&[("cache-control", "max-age = 60")], Some(60));
        check(
            &[("cache-control", "max-age=99999999999999999999")],
            Some(u64::from(u32::MAX)),
        );
    }

    #[test]
    fn of_two_lifetimes_the_shorter_counts() {
        check(&[("cache-control", "max-age=60, max-age=5")], Some(5));
        check(
            &[
                ("cache-control", "max-age=60"),
                ("cache-control", "max-age=5"),
            ],
            Some(5),
        );
        check(&[("cache-control", "a=\"x, max-age=60\"")], Some(0));
    }

    #[test]
    fn what_is_old_already_lives_shorter() {
        let lived = ("cache-control", "max-age=60");
        check(&[lived, ("age", "20")], Some(40));
        check(&[lived, ("age", "100")], Some(0));
        check(&[lived, ("age", "x")], Some(60));
        check(&[lived, ("age", "5, 20")], Some(40));
        check(
            &[lived, ("date", "Sun, 06 Nov 1994 08:49:07 GMT")],
            Some(30),
        );
        // A clock that is ahead makes nothing younger than new.
        check(
            &[lived, ("date", "Sun, 06 Nov 1994 09:49:07 GMT")],
            Some(60),
        );
        check(
            &[
                ("expires", "Sun, 06 Nov 1994 08:50:07 GMT"),
                ("date", "Sun, 06 Nov 1994 08:49:07 GMT"),
            ],
            Some(30),
        );
    }

    #[test]
    fn what_must_be_fresh_says_so() {
        for (value, expected) in [
            ("must-revalidate", true),
            ("public, Proxy-Revalidate", true),
            ("max-age=5", false),
        ] {
            let headers = [(header::CACHE_CONTROL, value.parse().unwrap())];
            assert_eq!(must_be_fresh(&headers.into_iter().collect()), expected);
        }
    }
}
