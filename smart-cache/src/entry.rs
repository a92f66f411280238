//! One stored response in memory, and the response made of it.
//!
//! An entry is built only by [`Entry::new`] (from what a handler answered) and by `codec.rs`
//! (from stored bytes). It does not know where it is kept.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

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
    pub(crate) fn hex(&self) -> String {
        crate::protocol::hex(&self.0)
    }
}

impl std::fmt::Debug for EntryId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.hex())
    }
}

/// One stored response.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// When the handler had answered, by the clock of the process that ran it.
    pub(crate) created: SystemTime,
    /// How long the handler took: what a hit saves.
    pub(crate) took: Duration,
}

impl Entry {
    pub(crate) fn new(status: StatusCode, headers: HeaderMap, body: Bytes, took: Duration) -> Self {
        Self {
            status,
            headers,
            body,
            created: SystemTime::now(),
            took,
        }
    }

    /// Whole milliseconds since the epoch; a clock before it counts as the epoch.
    pub(crate) fn created_ms(&self) -> u64 {
        self.created
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as u64)
    }

    /// The stored answer with its `Age` (RFC 9111, section 5.1). An `Age` that the handler
    /// itself had sent is added to.
    pub(crate) fn to_response(&self, now: SystemTime) -> Response {
        let own = now
            .duration_since(self.created)
            .map_or(0, |age| age.as_secs());
        let inherited = self
            .headers
            .get(header::AGE)
            .and_then(|age| age.to_str().ok()?.trim().parse::<u64>().ok());
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        let age = own.saturating_add(inherited.unwrap_or(0));
        response.headers_mut().insert(header::AGE, age_value(age));
        response
    }
}

/// `Age` as a header value; most hits are of a few seconds' age and need no formatting.
fn age_value(age: u64) -> HeaderValue {
    match age {
        0 => HeaderValue::from_static("0"),
        _ => HeaderValue::from(age),
    }
}
