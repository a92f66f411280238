//! Why a command could not do what it was asked, and the exit code that says so.

use smart_cache::{BackendError, ClearError, ConfigError};

/// The message tells the reader what to change.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Settings(#[from] ConfigError),
    #[error(
        "SMART_REDIS_BACKEND is {0:?}: such a cache is in each process alone, where no command line reaches it; only Redis can be looked at from outside"
    )]
    NotRedis(String),
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
    Json(#[from] serde_json::Error),
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
            Self::Settings(_) | Self::NotRedis(_) | Self::DatabaseUrl => 3,
            Self::Backend(_) | Self::Clear(_) | Self::Database(_) => 4,
            Self::Output(_) | Self::Json(_) => 5,
        }
    }
}
