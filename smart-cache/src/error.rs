//! Every failure that a user can meet, with its remedy in the message.
//!
//! Three kinds: a value that stops the start ([`ConfigError`]), a clear that was not
//! acknowledged ([`ClearError`]), and a backend that did not answer ([`BackendError`]).
//! None of them ever reaches the client of a cached handler: there, a failing cache is
//! a handler that runs.

use std::sync::Arc;
use std::time::Duration;

/// A configured value that cannot be used; it stops the start.
///
/// The message names the variable, its value and what is allowed. Passwords are never part
/// of it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A variable holds something that it may not hold.
    #[error("{name}={value:?} cannot be used: {allowed}")]
    Invalid {
        /// The variable, for instance `SMART_REDIS_PORT`.
        name: String,
        /// Its value as given; secrets are replaced by `***`.
        value: String,
        /// What would be allowed.
        allowed: String,
    },
    /// Two variables that contradict each other are both set.
    #[error("{first} and {second} are both set: keep one of them ({why})")]
    Conflict {
        /// One of the two.
        first: String,
        /// The other.
        second: String,
        /// Why they cannot both hold.
        why: &'static str,
    },
    /// The value needs a feature of the crate that is not compiled in.
    #[error("{name} needs the feature `{feature}`: smart-cache = {{ features = [\"{feature}\"] }}")]
    Feature {
        /// The variable.
        name: String,
        /// The missing feature.
        feature: &'static str,
    },
    /// A cache of this name was asked for and none was set up.
    #[error("there is no cache named {name:?}; known: {known}")]
    UnknownCache {
        /// The name asked for.
        name: String,
        /// The names there are, joined by commas.
        known: String,
    },
    /// A second cache under a name that is taken.
    #[error("a cache named {name:?} is set up already: build it once and use the same handle")]
    Taken {
        /// The name that is taken; empty for the default cache.
        name: String,
    },
}

/// The backend did not do what it was asked, and why.
///
/// On the way of a request it only means that the handler runs. It reaches a user as the
/// source of a [`ClearError`].
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// No answer within the deadline.
    #[error(
        "no answer within {0:?}: is the server overloaded or frozen? (SMART_REDIS_TIMEOUT sets the limit)"
    )]
    Timeout(Duration),
    /// There is no connection at the moment; it is being made in the background.
    #[error("not connected: {0}")]
    Disconnected(Arc<str>),
    /// The server refuses to serve us as it is: a replica, no rights, out of memory.
    #[error("the server refuses: {0}")]
    Refused(Arc<str>),
    /// The server answered something that is not of the protocol.
    #[error("unexpected answer: {0}")]
    Protocol(Arc<str>),
    /// This backend has no way to do it; another one has.
    #[error("this backend cannot do that: {0}")]
    Unsupported(Arc<str>),
    /// The value is longer than this backend keeps.
    #[error(
        "{bytes} bytes are more than this backend keeps ({limit}): store less, or use another backend"
    )]
    TooLarge {
        /// The length of the value as stored.
        bytes: u64,
        /// The longest that is kept.
        limit: u64,
    },
}

impl BackendError {
    /// The runtime ended before there was an answer.
    pub(crate) fn ended() -> Self {
        Self::Disconnected("the runtime ended".into())
    }
}

/// A clear that was not acknowledged.
///
/// This process distrusts the keys from now on (it neither serves nor stores their entries)
/// and repeats the clear in the background until it lands; other processes may serve the old
/// answers until then. So a caller who cannot do better may log it and go on.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ClearError {
    /// The backend did not acknowledge; the clear is repeated in the background.
    #[error("the clear was not acknowledged and is repeated in the background: {0}")]
    Unacknowledged(#[from] BackendError),
    /// The cache could not be configured, so there is nothing that a clear could reach.
    #[error("the cache is not set up: {0}")]
    Config(#[from] ConfigError),
    /// An empty key; no handler can produce it.
    #[error(
        "an empty key names nothing: pass the key that a handler caches under, or use clear_all()"
    )]
    EmptyKey,
}
