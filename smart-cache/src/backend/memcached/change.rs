//! Changes as values, so that one that was made under a former generation is made again.

use bytes::Bytes;

use crate::backend::{Counted, Expiry};
use crate::error::BackendError;

/// What is to be changed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change<'a> {
    Set(&'a [&'a (String, Bytes)], Option<u64>),
    Insert(&'a str, &'a [u8], Option<u64>),
    Prolong(&'a str, Expiry),
    Count(&'a str, i64),
    Remove(&'a [String]),
    Move(&'a str, &'a str),
    Exchange(&'a str, &'a [u8], Option<&'a [u8]>),
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Changed {
    /// Whether it was done.
    Done(bool),
    Removed(u64),
    Counted(Counted),
}

impl Changed {
    pub(super) fn done(self) -> Result<bool, BackendError> {
        match self {
            Self::Done(done) => Ok(done),
            other => Err(other.unexpected()),
        }
    }

    pub(super) fn unexpected(&self) -> BackendError {
        BackendError::Protocol(format!("another change was made: {self:?}").into())
    }
}
