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
pub(crate) async fn buffer(mut body: Body, rules: &Rules) -> Buffered {
    let announced = body.size_hint().exact();
    if let Err(bypass) = policy::body(announced, rules) {
        return Buffered::Refused(bypass, body);
    }
    let announced = announced.unwrap_or(0);
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    loop {
        let frame = body.frame().await;
        let read = first.len() + rest.len();
        match frame {
            None if read as u64 == announced => return Buffered::Whole(joined(&first, &rest)),
            // It has announced more than it sent: kept, a part would pass for the whole for ever.
            None => {
                return Buffered::Refused(
                    Bypass::Body,
                    chained(announced, joined(&first, &rest), None, body),
                );
            }
            Some(Ok(frame)) => match frame.into_data() {
                // It has announced less than it sends.
                Ok(data) if (read + data.len()) as u64 > announced => {
                    return Buffered::Refused(
                        Bypass::Body,
                        chained(
                            announced,
                            joined(&first, &rest),
                            Some(Ok(Frame::data(data))),
                            body,
                        ),
                    );
                }
                // Most bodies are one piece and are never copied.
                Ok(data) if read == 0 => first = data,
                Ok(data) => rest.extend_from_slice(&data),
                Err(trailers) => {
                    return Buffered::Refused(
                        Bypass::Body,
                        chained(announced, joined(&first, &rest), Some(Ok(trailers)), body),
                    );
                }
            },
            Some(Err(failure)) => {
                return Buffered::Refused(
                    Bypass::Body,
                    chained(announced, joined(&first, &rest), Some(Err(failure)), body),
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
fn chained(
    announced: u64,
    read: Bytes,
    next: Option<Result<Frame<Bytes>, axum::Error>>,
    rest: Body,
) -> Body {
    let read = (!read.is_empty()).then(|| Ok(Frame::data(read)));
    Body::new(Chained {
        ahead: read.into_iter().chain(next).collect(),
        rest,
        announced,
    })
}

/// Frames that were read already, in front of a body.
struct Chained {
    ahead: VecDeque<Result<Frame<Bytes>, axum::Error>>,
    rest: Body,
    /// How much is still to come, as the body itself had said.
    announced: u64,
}

impl http_body::Body for Chained {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = match self.ahead.pop_front() {
            Some(frame) => Some(frame),
            None => std::task::ready!(Pin::new(&mut self.rest).poll_frame(context)),
        };
        if let Some(Ok(data)) = frame
            .as_ref()
            .map(|frame| frame.as_ref().map(Frame::data_ref))
        {
            let sent = data.map_or(0, Bytes::len) as u64;
            self.announced = self.announced.saturating_sub(sent);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.rest.is_end_stream()
    }

    /// The length that was announced is announced again, so a failure midway stays visible as a
    /// body that is too short.
    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.announced)
    }
}
