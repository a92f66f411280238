//! Why a command could not do what it was asked, and the exit code that says so.

use smart_cache::{BackendError, ClearError, ConfigError};

/// The message tells the reader what to change.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Settings(#[from] ConfigError),
    #[error(
        "{variable} is {kind:?}: {why}; only Redis can be looked at from outside, and --url names one"
    )]
    NotRedis {
        variable: String,
        kind: String,
        why: &'static str,
    },
    #[error("{0}")]
    Backend(#[from] BackendError),
    #[error("NOT CLEARED: {0}. Nothing repeats it once this command has ended: run it again")]
    Clear(BackendError),
    #[error("the outbox cannot be read: {0}")]
    Database(String),
    #[error("the database's URL must begin with sqlite: or postgres:")]
    DatabaseUrl,
    #[error("cannot write: {0}")]
    Output(#[from] std::io::Error),
    #[error("cannot write JSON: {0}")]
    Json(serde_json::Error),
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        // What cannot be written is one failure, in whatever form it is written.
        if error.is_io() {
            Self::Output(error.into())
        } else {
            Self::Json(error)
        }
    }
}

impl From<ClearError> for Failure {
    fn from(error: ClearError) -> Self {
        match error {
            ClearError::Unacknowledged(why) => Self::Clear(why),
            ClearError::Config(why) => Self::Settings(why),
            other => Self::Clear(BackendError::Refused(other.to_string().into())),
        }
    }
}

impl Failure {
    /// The process's exit code.
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::NotRedis { .. } | Self::DatabaseUrl => 3,
            Self::Backend(_) | Self::Clear(_) | Self::Database(_) => 4,
            Self::Output(_) | Self::Json(_) => 5,
        }
    }
}
