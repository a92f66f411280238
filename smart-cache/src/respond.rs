//! What a stored answer says beyond its handler's words, and the form in which it leaves: whole, a
//! part, or without content.

use std::time::SystemTime;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::http::cache_status;
use crate::http::conditional::{Selected, Verdict, judge};
use crate::http::encoding::{self, Encodings};
use crate::http::wants::Wants;
use crate::http::{etag, vary};
use crate::policy::Rules;

/// Completes the headers of an answer that is about to be stored, so that the first answer and
/// every hit say the same: `Vary` with what is told apart, and a strong `ETag` where the handler
/// set none. Returns the encodings that are worth keeping of its body.
pub(crate) fn complete(
    status: StatusCode,
    headers: &mut HeaderMap,
    body: &Bytes,
    rules: &Rules,
) -> Encodings {
    let is_worth_it = !rules.encodings.is_empty()
        && encoding::is_worth_it(headers, body.len(), rules.encode_from);
    let accept = is_worth_it.then_some("accept-encoding");
    vary::add(headers, rules.vary.iter().copied().chain(accept));
    if status == StatusCode::OK && !headers.contains_key(header::ETAG) {
        let tag = etag::strong(headers, body);
        headers.insert(header::ETAG, tag);
    }
    if is_worth_it {
        rules.encodings
    } else {
        Encodings::default()
    }
}

/// A representation that is there to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offer<'a> {
    pub(crate) status: StatusCode,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Bytes,
    pub(crate) created: SystemTime,
    pub(crate) is_head: bool,
}

/// What is sent in the place of the whole answer, if the request wants something else. Conditions
/// and ranges are about a 200 alone.
pub(crate) fn narrow(wants: &Wants, offer: Offer<'_>) -> Option<Response> {
    if wants.is_empty() || offer.status != StatusCode::OK {
        return None;
    }
    let selected = Selected {
        headers: offer.headers,
        length: offer.body.len(),
        created: offer.created,
        is_head: offer.is_head,
    };
    match judge(wants, selected) {
        Verdict::Whole => None,
        Verdict::Part(range) => {
            let mut headers = offer.headers.clone();
            for name in OF_THE_CONTENT {
                headers.remove(name);
            }
            let bounds = format!(
                "bytes {}-{}/{}",
                range.start,
                range.end - 1,
                offer.body.len()
            );
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.len()));
            insert(&mut headers, header::CONTENT_RANGE, bounds);
            let part = offer.body.slice(range);
            Some(response(StatusCode::PARTIAL_CONTENT, headers, part))
        }
        Verdict::NotModified => {
            let mut headers = kept(offer.headers, &OF_NOT_MODIFIED);
            // Without a tag the date is what guides the client's update.
            if !headers.contains_key(header::ETAG) {
                headers.extend(kept(offer.headers, &[header::LAST_MODIFIED]));
            }
            Some(response(StatusCode::NOT_MODIFIED, headers, Bytes::new()))
        }
        Verdict::PreconditionFailed => {
            let headers = kept(offer.headers, &OF_REFUSAL);
            Some(response(
                StatusCode::PRECONDITION_FAILED,
                headers,
                Bytes::new(),
            ))
        }
        Verdict::Unsatisfiable => {
            let mut headers = kept(offer.headers, &OF_REFUSAL);
            let length = format!("bytes */{}", offer.body.len());
            insert(&mut headers, header::CONTENT_RANGE, length);
            Some(response(
                StatusCode::RANGE_NOT_SATISFIABLE,
                headers,
                Bytes::new(),
            ))
        }
    }
}

/// Hashes of the content that is sent, which a part of it has not.
const OF_THE_CONTENT: [HeaderName; 2] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
];

/// What a 304 says again (RFC 9110, section 15.4.5).
const OF_NOT_MODIFIED: [HeaderName; 8] = [
    header::CACHE_CONTROL,
    header::CONTENT_LOCATION,
    header::DATE,
    header::ETAG,
    header::EXPIRES,
    header::VARY,
    header::AGE,
    cache_status::NAME,
];

/// What remains true of an answer without the representation. Nothing that would let it be kept.
const OF_REFUSAL: [HeaderName; 4] = [header::DATE, header::VARY, header::AGE, cache_status::NAME];

/// All lines of these headers.
fn kept(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut some = HeaderMap::with_capacity(names.len());
    for name in names {
        for value in headers.get_all(name) {
            some.append(name, value.clone());
        }
    }
    some
}

/// Sets a header to a text of ours: digits and ASCII words, which are always legal.
fn insert(headers: &mut HeaderMap, name: HeaderName, text: String) {
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(text)) {
        headers.insert(name, value);
    }
}

fn response(status: StatusCode, headers: HeaderMap, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
