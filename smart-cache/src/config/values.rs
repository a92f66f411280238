//! The settings of the low-level API.

use std::sync::Arc;
use std::time::Duration;

use super::environment::{LONGEST, Source};
use crate::error::ConfigError;
use crate::kv::{OnError, Timeout};

/// How the values of one cache behave.
#[derive(Debug, Clone)]
pub(crate) struct ValueSettings {
    /// Never [`Timeout::Default`].
    pub(crate) default_timeout: Timeout,
    pub(crate) version: u32,
    pub(crate) on_error: OnError,
    /// `None`: `<version>:<key>`.
    pub(crate) key_function: Option<KeyFunction>,
}

impl Default for ValueSettings {
    fn default() -> Self {
        Self {
            default_timeout: Timeout::After(Duration::from_secs(300)),
            version: 1,
            on_error: OnError::Miss,
            key_function: None,
        }
    }
}

/// Makes the name of a value from its key and its version.
#[derive(Clone)]
pub(crate) struct KeyFunction(pub(crate) Arc<MakeName>);

type MakeName = dyn Fn(&str, u32) -> String + Send + Sync;

impl KeyFunction {
    pub(crate) fn make(&self, key: &str, version: u32) -> String {
        (self.0)(key, version)
    }
}

impl std::fmt::Debug for KeyFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyFunction(..)")
    }
}

pub(super) fn read(source: &Source<'_>) -> Result<ValueSettings, ConfigError> {
    let mut settings = ValueSettings::default();
    if let Some(value) = source.get("DEFAULT_TIMEOUT")? {
        settings.default_timeout = timeout(&value.text).ok_or_else(|| {
            value.refuse("a time such as 5m or 250ms, whole seconds such as 300, or never")
        })?;
    }
    if let Some(value) = source.get("VERSION")? {
        settings.version = value
            .text
            .parse()
            .map_err(|_| value.refuse("a whole number from 0 to 4294967295"))?;
    }
    if let Some(value) = source.get("ON_ERROR")? {
        settings.on_error = match value.text.to_ascii_lowercase().as_str() {
            "miss" => OnError::Miss,
            "fail" => OnError::Fail,
            _ => return Err(value.refuse("miss (reads miss during an outage) or fail")),
        };
    }
    Ok(settings)
}

fn timeout(text: &str) -> Option<Timeout> {
    if matches!(text.to_ascii_lowercase().as_str(), "never" | "none") {
        return Some(Timeout::Never);
    }
    let time = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text).ok()?,
    };
    (time <= LONGEST).then_some(Timeout::After(time))
}
