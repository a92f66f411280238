//! A response as it is stored, and as it is kept ready to be sent.
//!
//! An [`Answer`] comes from a handler or, by `codec.rs`, from stored bytes; an [`Entry`] is made
//! of it once and answers any number of hits. Neither knows where it is kept.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::clock::Moment;
use crate::http::cache_status::Status;
use crate::http::encoding::Encoding;
use crate::http::wants::{Want, Wants};
use crate::http::{accept_encoding, age, number};
use crate::respond::{Offer, narrow};

/// Names an entry: the hash of key and variant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId([u8; 20]);

impl EntryId {
    /// Hashes the canonical bytes of key and variant. 160 bits: two requests that meet by
    /// chance are not a thing that happens.
    pub(crate) fn of(canonical: &[u8]) -> Self {
        let mut id = [0; 20];
        id.copy_from_slice(&blake3::hash(canonical).as_bytes()[..20]);
        Self(id)
    }

    /// Reads what [`EntryId::to_string`] writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut id = [0; 20];
        if text.len() != 40 || !text.is_ascii() {
            return None;
        }
        for (at, byte) in id.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(Self(id))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// The forty hex digits that stand in stored names.
    #[must_use]
    pub fn hex(&self) -> String {
        crate::protocol::hex(&self.0)
    }
}

impl std::fmt::Debug for EntryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.hex())
    }
}

/// What a handler answered, as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Without those of one connection.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The same body in other encodings, in the order of the server's preference.
    pub(crate) encoded: Vec<EncodedBody>,
    /// When the handler had answered, by the clock of the process that ran it.
    pub(crate) created: SystemTime,
    /// How long the handler took: what a hit saves.
    pub(crate) took: Duration,
}

/// A body in one encoding.
#[derive(Debug, Clone)]
pub(crate) struct EncodedBody {
    pub(crate) encoding: Encoding,
    /// Its own tag; `None` where the handler's is one that nobody can read.
    pub(crate) etag: Option<HeaderValue>,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Whole milliseconds since the epoch; a clock before it counts as the epoch.
    pub(crate) fn created_ms(&self) -> u64 {
        self.created
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64)
    }
}

/// One stored response, ready to be sent: a hit copies its headers, shares its body, and formats
/// nothing but its age.
#[derive(Debug)]
pub(crate) struct Entry {
    status: StatusCode,
    /// With `Content-Length`, room for the age, and `Cache-Status` as of a hit.
    headers: HeaderMap,
    body: Bytes,
    encoded: Box<[Encoded]>,
    /// When the handler had answered.
    created: SystemTime,
    took: Duration,
    /// Its age in seconds when it was made ready, the handler's own `Age` included.
    age: u64,
    /// When that was: a hit reads one clock, the monotonic one.
    ready: Moment,
}

/// An encoded body with the headers of its hits, made by the first of them.
#[derive(Debug)]
struct Encoded {
    body: EncodedBody,
    headers: OnceLock<HeaderMap>,
}

impl Encoded {
    fn headers(&self, plain: &HeaderMap) -> &HeaderMap {
        self.headers.get_or_init(|| {
            let EncodedBody {
                encoding,
                etag,
                body,
            } = &self.body;
            let mut headers = HeaderMap::with_capacity(plain.len() + 1);
            headers.extend(plain.clone());
            let name = HeaderValue::from_static(encoding.name());
            headers.insert(header::CONTENT_ENCODING, name);
            headers.insert(header::CONTENT_LENGTH, number::value(body.len() as u64));
            match etag {
                Some(etag) => headers.insert(header::ETAG, etag.clone()),
                None => headers.remove(header::ETAG),
            };
            headers
        })
    }
}

const NO_AGE: HeaderValue = HeaderValue::from_static("0");

/// For as many header lines and those that a hit adds, exactly as large as it will be: a hit clones
/// it and never grows it. The age has its place already, the first one, where a hit finds it at once.
pub(crate) fn room(lines: usize) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(lines + 3);
    headers.insert(header::AGE, NO_AGE);
    headers
}

impl Entry {
    /// Of an answer as its handler made it.
    pub(crate) fn new(answer: Answer, status_header: bool) -> Self {
        let mut headers = room(answer.headers.len());
        let mut of = None;
        for (name, value) in answer.headers {
            // Only the first line of a name brings it along.
            of = name.or(of);
            if let Some(name) = &of {
                headers.append(name, value);
            }
        }
        Self::arranged(Answer { headers, ..answer }, status_header, Moment::now())
    }

    /// Of an answer whose headers were put into a [`room`]. Makes everything ready that is the same
    /// for every hit.
    pub(crate) fn arranged(answer: Answer, status_header: bool, now: Moment) -> Self {
        let Answer {
            status,
            headers: mut ready,
            body,
            encoded,
            created,
            took,
        } = answer;
        // Behind the place for it stands what the handler said.
        let age = ready.get_all(header::AGE).iter().nth(1);
        let age = age.and_then(|age| age.to_str().ok()?.trim().parse().ok());
        ready.insert(header::AGE, NO_AGE);
        let has_content = !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if has_content && !ready.contains_key(header::CONTENT_LENGTH) {
            ready.insert(header::CONTENT_LENGTH, number::value(body.len() as u64));
        }
        if status_header {
            Status::Hit.append_to(&mut ready);
        }
        let own = SystemTime::now()
            .duration_since(created)
            .map_or(0, |age| age.as_secs());
        Self {
            status,
            headers: ready,
            body,
            encoded: encoded
                .into_iter()
                .map(|body| Encoded {
                    body,
                    headers: OnceLock::new(),
                })
                .collect(),
            created,
            took,
            age: own.saturating_add(age.unwrap_or(0)),
            ready: now,
        }
    }

    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }

    /// How long the handler took: what a hit saves.
    pub(crate) fn took(&self) -> Duration {
        self.took
    }

    /// About how many bytes this keeps from being freed, the fixed costs of its maps aside.
    pub(crate) fn bytes(&self) -> u64 {
        let header = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
        let headers = self.headers.iter().map(header).sum::<usize>() * (1 + self.encoded.len());
        let encoded = self.encoded.iter().map(|encoded| encoded.body.body.len());
        (headers + self.body.len() + encoded.sum::<usize>()) as u64
    }

    /// How many header lines it has, those of its encoded bodies included.
    pub(crate) fn header_count(&self) -> usize {
        self.headers.len() * (1 + self.encoded.len())
    }

    /// The answer of a hit in the form that is wanted, with its `Age` (RFC 9111, section 5.1).
    pub(crate) fn to_response(&self, wants: &Wants, is_head: bool, now: Moment) -> Response {
        let (headers, body) = match self.choose(wants) {
            Some(encoded) => (encoded.headers(&self.headers), &encoded.body.body),
            None => (&self.headers, &self.body),
        };
        let offer = Offer {
            status: self.status,
            headers,
            body,
            created: self.created,
            is_head,
        };
        let mut response = narrow(wants, offer).unwrap_or_else(|| {
            let mut response = Response::new(Body::from(body.clone()));
            *response.status_mut() = self.status;
            *response.headers_mut() = headers.clone();
            response
        });
        let age = self.age.saturating_add(now.seconds_since(self.ready));
        if let (1.., Some(value)) = (age, age::place(response.headers_mut())) {
            *value = number::value(age);
        }
        response
    }

    /// The encoded body that a request prefers, if any is there.
    fn choose(&self, wants: &Wants) -> Option<&Encoded> {
        if self.encoded.is_empty() || wants.is_empty() {
            return None;
        }
        let stored = self.encoded.iter().map(|encoded| encoded.body.encoding);
        let chosen = accept_encoding::choose(wants.all(Want::AcceptEncoding), stored)?;
        self.encoded
            .iter()
            .find(|encoded| encoded.body.encoding == chosen)
    }
}
