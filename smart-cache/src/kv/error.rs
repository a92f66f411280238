//! What a call of the low-level API can fail with.

use std::sync::Arc;

use crate::error::{BackendError, ConfigError};

/// Why a call of the low-level API did not do what it was asked.
///
/// A cache that does not answer is no error for reads, unless [`OnError::Fail`] was chosen: they
/// miss. For writes it is [`CacheError::Backend`], which a caller may log and ignore.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The cache did not answer, or refused. A write may have taken effect all the same.
    #[error("the cache did not do it: {0}")]
    Backend(#[from] BackendError),
    /// The cache could not be configured, or there is none of this name.
    #[error("the cache is not set up: {0}")]
    Config(#[from] ConfigError),
    /// An empty key, or a key function that made an empty name of one.
    #[error("an empty key names no value: pass the key that the value is stored under")]
    EmptyKey,
    /// The value cannot be written as MessagePack: a map or sequence that fails to serialize.
    #[error("the value of {key:?} cannot be stored: {why}")]
    Encode {
        /// The key as given, shortened.
        key: Arc<str>,
        /// What its type reported.
        why: Arc<str>,
    },
    /// There is nothing under the key to count with or to move.
    #[error("there is no value under {key:?}: set it first, for instance with add(key, &0, ..)")]
    Missing {
        /// The key as given, shortened.
        key: Arc<str>,
    },
    /// The value is not a whole number of 64 bits.
    #[error(
        "the value under {key:?} is not a whole number: only what was set as an integer can be counted with"
    )]
    NotAnInteger {
        /// The key as given, shortened.
        key: Arc<str>,
    },
    /// Values of this cache are encrypted, so the server cannot count with them.
    #[error(
        "{key:?} cannot be counted: this cache encrypts its values; keep counters in a named cache with SMART_REDIS_<NAME>_ENCRYPTION_KEY=none"
    )]
    Sealed {
        /// The key as given, shortened.
        key: Arc<str>,
    },
    /// The sum does not fit into 64 bits, or a version into 32; nothing was changed.
    #[error("{key:?} cannot be counted that far: the result does not fit")]
    Overflow {
        /// The key as given, shortened.
        key: Arc<str>,
    },
}

/// What reads do while the cache does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnError {
    /// They miss, and the log says why: an outage of the cache is none of the service.
    #[default]
    Miss,
    /// They return the error.
    Fail,
}

/// A key for a message: as much of it as a log line bears.
pub(super) fn shown(key: &str) -> Arc<str> {
    const LONGEST: usize = 80;
    match key.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &key[..at]).into(),
        None => key.into(),
    }
}
