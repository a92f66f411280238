//! How a Redis backend behaves.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{self, Address};
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
    /// What is shown and trusted over TLS.
    pub tls: TlsFiles,
    /// Replicas that must have a clear before it counts; each such clear is one more exchange with the
    /// slowest of them.
    pub min_replicas: u32,
}

/// Files in PEM for TLS (`rediss://`, feature `tls`). They are read at every connection, so new ones are
/// taken without a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsFiles {
    /// The authorities that are trusted, instead of those of the system.
    pub ca: Option<PathBuf>,
    /// The certificate of this client, for a server that asks for one; with the chain behind it.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
}

impl TlsFiles {
    /// Whether nothing is set.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
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
            tls: TlsFiles::default(),
            min_replicas: 0,
        }
    }
}

impl RedisOptions {
    /// What the environment and the builder check too: these become parts of names and tokens.
    pub(super) fn check(&self, address: &Address) -> Result<(), ConfigError> {
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
        if let Some(id) = &self.server_id {
            checked("server_id", id, config::check_server_id(id))?;
        }
        self.check_files(address)
    }

    /// Files that are missing or hold something else stop the start, not the first connection.
    #[cfg(feature = "tls")]
    fn check_files(&self, address: &Address) -> Result<(), ConfigError> {
        if !address.is_tls() {
            return Ok(());
        }
        super::tls::check(&self.tls)
    }

    #[cfg(not(feature = "tls"))]
    fn check_files(&self, _: &Address) -> Result<(), ConfigError> {
        if self.tls.is_empty() {
            return Ok(());
        }
        Err(ConfigError::Feature {
            name: "SMART_REDIS_TLS_CA, _CERT, _KEY".to_owned(),
            feature: "tls",
        })
    }
}
