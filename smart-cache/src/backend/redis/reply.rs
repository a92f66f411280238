//! Answers of the server, taken apart; whatever is not as expected is an error, never a panic.

use std::time::Duration;

use bytes::Bytes;
use redis::Value;

use crate::error::BackendError;
use crate::protocol::{Digest, Nonce};

/// The tokens of one entry.
pub(super) enum Tokens<'a> {
    Whole(Vec<&'a [u8]>),
    Missing,
    Held,
}

impl<'a> Tokens<'a> {
    /// A held token outweighs a missing one: held keys are neither served nor stored.
    pub(super) fn read(replies: impl Iterator<Item = &'a Value>) -> Self {
        let mut whole: Option<Vec<&[u8]>> = Some(Vec::with_capacity(4));
        for reply in replies {
            match reply {
                Value::BulkString(token) if token == b"!" => return Tokens::Held,
                Value::BulkString(token) => {
                    if let Some(tokens) = &mut whole {
                        tokens.push(token);
                    }
                }
                _ => whole = None,
            }
        }
        whole.map_or(Tokens::Missing, Tokens::Whole)
    }
}

pub(super) fn digest(tokens: &[&[u8]]) -> Digest {
    Digest::of(tokens.iter().copied())
}

/// Whether a namespace token was minted by this incarnation of the server. The colon counts:
/// one id may begin like another.
pub(super) fn belongs_to(token: &[u8], id: &str) -> bool {
    token
        .strip_prefix(id.as_bytes())
        .is_some_and(|rest| rest.first() == Some(&b':'))
}

pub(super) fn nonce() -> Result<Nonce, BackendError> {
    Nonce::fresh().map_err(|error| BackendError::Protocol(format!("no randomness: {error}").into()))
}

pub(super) fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

pub(super) fn array(value: Value) -> Result<Vec<Value>, BackendError> {
    match value {
        Value::Array(values) => Ok(values),
        other => Err(BackendError::Protocol(format!("{other:?}").into())),
    }
}

pub(super) fn bytes(value: Option<Value>) -> Result<Bytes, BackendError> {
    match value {
        Some(Value::BulkString(bytes)) => Ok(bytes.into()),
        Some(Value::SimpleString(text)) => Ok(text.into_bytes().into()),
        other => Err(BackendError::Protocol(format!("{other:?}").into())),
    }
}

pub(super) fn integer(value: Option<&Value>) -> Option<i64> {
    match value {
        Some(Value::Int(number)) => Some(*number),
        _ => None,
    }
}

pub(super) fn as_digest(bytes: &[u8]) -> Result<Digest, BackendError> {
    Digest::from_bytes(bytes)
        .ok_or_else(|| BackendError::Protocol("a digest of another length".into()))
}
