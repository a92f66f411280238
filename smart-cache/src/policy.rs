//! What may be stored and served, and why not. Pure: no I/O, no clock.
//!
//! Each refusal is a [`Bypass`] with a word that is shown in `Cache-Status` and counted.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, Method, StatusCode, header};

use crate::http::encoding::Encodings;
use crate::http::freshness;
use crate::listed::Listed;

/// Why a request was not answered from the cache, or its answer not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Bypass {
    /// Neither GET nor HEAD.
    Method,
    /// A part of the request asked to stay out (`Variant::bypass`, an extractor's rejection).
    Request,
    /// The key template rendered to nothing.
    EmptyKey,
    /// More tags than an entry may have.
    Tags,
    /// The status is not one that the handler caches (200 unless `status(..)` says more).
    Status,
    /// `Set-Cookie` belongs to one visitor.
    SetCookie,
    /// `Cache-Control: no-store`, `private` or `no-cache`.
    CacheControl,
    /// `Vary` names something that is not in the variant, or `*`.
    Vary,
    /// The body is a stream of unknown length.
    Stream,
    /// The body is longer than `max_body`.
    BodyTooLarge,
    /// The body failed or carried trailers.
    Body,
    /// The response carries extensions, which an outer layer may render.
    Extensions,
    /// A HEAD that missed: its answer is not stored, since a handler may have left out the body.
    Head,
    /// The cache is switched off, or could not be set up.
    Off,
    /// The backend did not answer in time or refused.
    Unavailable,
    /// The key is held by an open write.
    Held,
    /// A clear of this key has not been acknowledged yet.
    PendingClear,
    /// This task has a transaction open that will clear the key.
    Transaction,
    /// Another request is filling the entry and did not finish within `SMART_REDIS_WAIT`.
    Wait,
    /// Another request just found out that the answer may not be stored.
    Uncacheable,
    /// The request says who asks, and the layer was not told what to make of it.
    Authorization,
    /// The request carries cookies, and the layer was not told what to make of them.
    Cookie,
    /// The request has a body, which a layer cannot put into the variant.
    RequestBody,
    /// The request asks for another protocol on its connection.
    Upgrade,
    /// The answer says that it is not fresh, and the handler's rules are to honour that.
    Expired,
}

impl Bypass {
    /// How many reasons there are.
    pub(crate) const COUNT: usize = 25;

    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; Self::COUNT] = [
        Self::Method,
        Self::Request,
        Self::EmptyKey,
        Self::Tags,
        Self::Status,
        Self::SetCookie,
        Self::CacheControl,
        Self::Vary,
        Self::Stream,
        Self::BodyTooLarge,
        Self::Body,
        Self::Extensions,
        Self::Head,
        Self::Off,
        Self::Unavailable,
        Self::Held,
        Self::PendingClear,
        Self::Transaction,
        Self::Wait,
        Self::Uncacheable,
        Self::Authorization,
        Self::Cookie,
        Self::RequestBody,
        Self::Upgrade,
        Self::Expired,
    ];

    /// The word shown in `Cache-Status` and used as a label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Request => "request",
            Self::EmptyKey => "empty-key",
            Self::Tags => "tags",
            Self::Status => "status",
            Self::SetCookie => "set-cookie",
            Self::CacheControl => "cache-control",
            Self::Vary => "vary",
            Self::Stream => "stream",
            Self::BodyTooLarge => "body-too-large",
            Self::Body => "body",
            Self::Extensions => "extensions",
            Self::Head => "head",
            Self::Off => "off",
            Self::Unavailable => "unavailable",
            Self::Held => "held",
            Self::PendingClear => "pending-clear",
            Self::Transaction => "transaction",
            Self::Wait => "wait",
            Self::Uncacheable => "uncacheable",
            Self::Authorization => "authorization",
            Self::Cookie => "cookie",
            Self::RequestBody => "request-body",
            Self::Upgrade => "upgrade",
            Self::Expired => "expired",
        }
    }
}

/// What one handler allows; from its attribute and the configuration.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// Empty: 200 alone.
    pub(crate) status: Listed<u16>,
    /// Header names that are in the variant, in lower case.
    pub(crate) vary: Listed<&'static str>,
    /// Bytes; of all bodies of one answer together.
    pub(crate) max_body: u64,
    /// In which encodings a body is kept beside the plain one.
    pub(crate) encodings: Encodings,
    /// Bytes that a body must have for that.
    pub(crate) encode_from: u64,
    /// Whether an answer is kept no longer than it says itself.
    pub(crate) honour_freshness: bool,
}

/// Whether a request may use the cache at all.
pub(crate) fn request(method: &Method) -> Result<(), Bypass> {
    if *method == Method::GET || *method == Method::HEAD {
        Ok(())
    } else {
        Err(Bypass::Method)
    }
}

/// Whether an answer may be stored, as far as its head tells; `told_apart` names the headers that
/// are in the variant.
pub(crate) fn response(
    status: StatusCode,
    headers: &HeaderMap,
    rules: &Rules,
    told_apart: &[&str],
) -> Result<(), Bypass> {
    if !status_allowed(status, &rules.status) {
        return Err(Bypass::Status);
    }
    if headers.contains_key(header::SET_COOKIE) {
        return Err(Bypass::SetCookie);
    }
    if forbids_storing(headers) {
        return Err(Bypass::CacheControl);
    }
    if !crate::http::vary::is_covered(headers, told_apart) {
        return Err(Bypass::Vary);
    }
    Ok(())
}

/// How long an answer may be kept, and whether at all: `ttl` or for ever, but where its own words
/// are honoured no longer than those say.
pub(crate) fn lifetime(
    status: StatusCode,
    headers: &HeaderMap,
    rules: &Rules,
    ttl: Option<Duration>,
    now: SystemTime,
) -> Result<Option<Duration>, Bypass> {
    if !rules.honour_freshness {
        return Ok(ttl);
    }
    match freshness::left(headers, now) {
        Some(Duration::ZERO) => Err(Bypass::Expired),
        Some(left) => Ok(Some(ttl.map_or(left, |ttl| ttl.min(left)))),
        // Without a word only what is usually kept is kept.
        None if status != StatusCode::OK || freshness::must_be_fresh(headers) => {
            Err(Bypass::Expired)
        }
        None => Ok(ttl),
    }
}

/// Whether a body of this length may be stored; `None` is a stream.
pub(crate) fn body(exact_length: Option<u64>, rules: &Rules) -> Result<(), Bypass> {
    match exact_length {
        None => Err(Bypass::Stream),
        Some(length) if length > rules.max_body => Err(Bypass::BodyTooLarge),
        Some(_) => Ok(()),
    }
}

/// 5xx is a failure of the moment, 206, 304, 412 and 416 are answers to one client's conditions,
/// 1xx are no answers: none of them is ever stored, whatever the handler lists.
fn status_allowed(status: StatusCode, listed: &[u16]) -> bool {
    let never = status.is_server_error()
        || status.is_informational()
        || matches!(status.as_u16(), 206 | 304 | 412 | 416);
    !never
        && if listed.is_empty() {
            status == StatusCode::OK
        } else {
            listed.contains(&status.as_u16())
        }
}

/// Directives are compared without regard to letter case and to an argument
/// (`private="set-cookie"` is private); RFC 9111, section 5.2.
fn forbids_storing(headers: &HeaderMap) -> bool {
    headers.get_all(header::CACHE_CONTROL).iter().any(|value| {
        let Ok(text) = value.to_str() else {
            return true;
        };
        // A semicolon separates nothing here, but who writes one means it so.
        text.split([',', ';']).any(|directive| {
            let name = directive.split('=').next().unwrap_or_default().trim();
            ["no-store", "private", "no-cache"]
                .iter()
                .any(|forbidden| name.eq_ignore_ascii_case(forbidden))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        status: Listed::Static(&[]),
        vary: Listed::Static(&["accept-language"]),
        max_body: 10,
        encodings: Encodings::of(&[]),
        encode_from: 0,
        honour_freshness: false,
    };

    #[track_caller]
    fn check(status: u16, headers: &[(&'static str, &str)], expected: Result<(), Bypass>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        assert_eq!(
            response(
                StatusCode::from_u16(status).unwrap(),
                &map,
                &RULES,
                &RULES.vary
            ),
            expected,
            "{status} {headers:?}"
        );
    }

    #[test]
    fn only_complete_public_answers_are_stored() {
        check(200, &[], Ok(()));
        for status in [201, 204, 206, 301, 302, 304, 401, 403, 404, 500, 503] {
            check(status, &[], Err(Bypass::Status));
        }
        check(200, &[("set-cookie", "a=b")], Err(Bypass::SetCookie));
        for value in [
            "private",
            "Private",
            "NO-STORE",
            "max-age=5, no-cache",
            "private=\"x\"",
            " No-Cache ",
            "public,\tprivate",
            "private; max-age=5",
        ] {
            check(200, &[("cache-control", value)], Err(Bypass::CacheControl));
        }
        check(
            200,
            &[("cache-control", "public"), ("cache-control", "private")],
            Err(Bypass::CacheControl),
        );
        check(200, &[("cache-control", "max-age=60, public")], Ok(()));
        for value in ["*", " * ", "accept-language, *", "cookie"] {
            check(200, &[("vary", value)], Err(Bypass::Vary));
        }
        check(200, &[("vary", "Accept-Language")], Ok(()));
    }

    #[test]
    fn listed_statuses_never_let_failures_in() {
        let rules = Rules {
            status: Listed::Static(&[200, 404, 500, 206, 304, 412, 416]),
            ..RULES
        };
        let allowed = |status: u16| {
            response(
                StatusCode::from_u16(status).unwrap(),
                &HeaderMap::new(),
                &rules,
                &[],
            )
            .is_ok()
        };
        assert!(allowed(200) && allowed(404));
        for status in [500, 206, 304, 412, 416, 201] {
            assert!(!allowed(status), "{status}");
        }
    }

    #[test]
    fn an_answers_own_words_count_only_where_they_are_honoured() {
        let honouring = Rules {
            honour_freshness: true,
            ..RULES
        };
        let lifetime = |rules: &Rules, status, control: &str, ttl| {
            let headers = [(header::CACHE_CONTROL, control.parse().unwrap())];
            lifetime(
                status,
                &headers.into_iter().collect(),
                rules,
                ttl,
                SystemTime::UNIX_EPOCH,
            )
        };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let (ok, missing) = (StatusCode::OK, StatusCode::NOT_FOUND);
        for control in ["max-age=60", "max-age=0", "must-revalidate", ""] {
            assert_eq!(lifetime(&RULES, ok, control, None), Ok(None));
            assert_eq!(
                lifetime(&RULES, missing, control, seconds(5)),
                Ok(seconds(5))
            );
        }
        for (status, control, ttl, expected) in [
            (ok, "max-age=60", None, Ok(seconds(60))),
            (ok, "max-age=60", seconds(5), Ok(seconds(5))),
            (ok, "max-age=5", seconds(60), Ok(seconds(5))),
            (ok, "max-age=0", None, Err(Bypass::Expired)),
            (ok, "must-revalidate", seconds(5), Err(Bypass::Expired)),
            (ok, "must-revalidate, max-age=5", None, Ok(seconds(5))),
            (ok, "", None, Ok(None)),
            (ok, "", seconds(5), Ok(seconds(5))),
            (missing, "", None, Err(Bypass::Expired)),
            (missing, "max-age=5", None, Ok(seconds(5))),
        ] {
            assert_eq!(
                lifetime(&honouring, status, control, ttl),
                expected,
                "{status} {control:?} {ttl:?}"
            );
        }
    }

    #[test]
    fn bodies_have_a_known_and_bounded_length() {
        assert_eq!(body(None, &RULES), Err(Bypass::Stream));
        assert_eq!(body(Some(11), &RULES), Err(Bypass::BodyTooLarge));
        assert_eq!(body(Some(10), &RULES), Ok(()));
    }

    #[test]
    fn every_reason_has_its_own_word_and_number() {
        let words: std::collections::HashSet<_> =
            Bypass::ALL.iter().map(|bypass| bypass.as_str()).collect();
        assert_eq!(words.len(), Bypass::COUNT);
        assert!(
            Bypass::ALL
                .iter()
                .enumerate()
                .all(|(at, bypass)| *bypass as usize == at)
        );
    }
}
