//! How a Redis backend behaves.

use std::time::Duration;

use crate::config;
use crate::error::ConfigError;

/// How a [`RedisBackend`](super::RedisBackend) behaves; [`RedisOptions::default`] is what the environment gives when
/// nothing is set.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RedisOptions {
    /// Prefix of every name.
    pub namespace: String,
    /// Entries of two versions never mix; tokens are shared by all.
    pub version: String,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// How long a lease lasts without being renewed.
    pub lease: Duration,
    /// An answer whose newest token is younger than this is stored with this time to live.
    pub settle: Duration,
    /// Most entries under one key.
    pub max_variants: u32,
    /// Time between two looks at the server's identity.
    pub heartbeat: Duration,
    /// Replaces the identity where INFO is forbidden.
    pub server_id: Option<String>,
    /// Whether a second connection hears of every change, for a local tier in front.
    pub tracking: bool,
    /// How long a local tier may go on when that connection is silent.
    pub staleness: Duration,
    /// Whether the process is one of those that use the namespace: it announces its build, gives
    /// advice in the log and takes its turn in sweeping. A tool that looks in does none of that.
    pub announce: bool,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            namespace: "cache".to_owned(),
            version: "0".to_owned(),
            timeout: Duration::from_millis(250),
            lease: Duration::from_secs(10),
            settle: Duration::from_secs(2),
            max_variants: 10_000,
            heartbeat: Duration::from_millis(250),
            server_id: None,
            tracking: true,
            staleness: Duration::from_secs(1),
            announce: true,
        }
    }
}

impl RedisOptions {
    /// What the environment and the builder check too: these become parts of names and tokens.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let checked = |name: &str, value: &str, outcome: Result<(), &'static str>| {
            outcome.map_err(|allowed| ConfigError::Invalid {
                name: name.to_owned(),
                value: value.to_owned(),
                allowed: allowed.to_owned(),
            })
        };
        checked(
            "namespace",
            &self.namespace,
            config::check_namespace(&self.namespace),
        )?;
        checked(
            "version",
            &self.version,
            config::check_version(&self.version),
        )?;
        match &self.server_id {
            Some(id) => checked("server_id", id, config::check_server_id(id)),
            None => Ok(()),
        }
    }
}
