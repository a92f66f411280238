//! A response body in one piece, or untouched with the reason why it is not.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;

use crate::policy::{self, Bypass, Rules};

/// What became of a body.
#[derive(Debug)]
pub(crate) enum Buffered {
    Whole(Bytes),
    /// The body as the client should get it, down to the failure that it met.
    Refused(Bypass, Body),
}

/// Reads a body whose length is known and small enough; a stream passes through unbuffered.
pub(crate) async fn buffer(mut body: Body, rules: Rules<'_>) -> Buffered {
    if let Err(bypass) = policy::body(body.size_hint().exact(), rules) {
        return Buffered::Refused(bypass, body);
    }
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    loop {
        let frame = body.frame().await;
        let read = first.len() + rest.len();
        match frame {
            None if rest.is_empty() => return Buffered::Whole(first),
            None => return Buffered::Whole(joined(&first, &rest)),
            Some(Ok(frame)) => match frame.into_data() {
                // Most bodies are one piece and are never copied.
                Ok(data) if read == 0 => first = data,
                Ok(data) if (read + data.len()) as u64 <= rules.max_body => {
                    rest.extend_from_slice(&data);
                }
                // It has announced less than it sends.
                Ok(data) => {
                    return Buffered::Refused(
                        Bypass::Body,
                        chained(joined(&first, &rest), Ok(Frame::data(data)), body),
                    );
                }
                Err(trailers) => {
                    return Buffered::Refused(
                        Bypass::Body,
                        chained(joined(&first, &rest), Ok(trailers), body),
                    );
                }
            },
            Some(Err(failure)) => {
                return Buffered::Refused(
                    Bypass::Body,
                    chained(joined(&first, &rest), Err(failure), body),
                );
            }
        }
    }
}

fn joined(first: &Bytes, rest: &BytesMut) -> Bytes {
    if rest.is_empty() {
        return first.clone();
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(first);
    whole.extend_from_slice(rest);
    whole.freeze()
}

/// What was read, what came next, and the rest: as if it had never been read.
fn chained(read: Bytes, next: Result<Frame<Bytes>, axum::Error>, rest: Body) -> Body {
    let read = (!read.is_empty()).then(|| Ok(Frame::data(read)));
    Body::new(Chained {
        ahead: read.into_iter().chain([next]).collect(),
        rest,
    })
}

/// Frames that were read already, in front of a body.
struct Chained {
    ahead: VecDeque<Result<Frame<Bytes>, axum::Error>>,
    rest: Body,
}

impl http_body::Body for Chained {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.ahead.pop_front() {
            Some(frame) => Poll::Ready(Some(frame)),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.rest.is_end_stream()
    }

    /// The length that was announced is announced again, so a failure midway stays visible as a
    /// body that is too short.
    fn size_hint(&self) -> SizeHint {
        let ahead: usize = self
            .ahead
            .iter()
            .flatten()
            .filter_map(Frame::data_ref)
            .map(Bytes::len)
            .sum();
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + ahead as u64);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + ahead as u64);
        }
        hint
    }
}
