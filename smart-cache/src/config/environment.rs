//! The variables: how each is found, read and refused, and which of them nobody reads.

use std::collections::HashMap;
use std::time::Duration;

use super::address::redact;
use crate::error::ConfigError;

/// The longest time that a setting may name: a year. Beyond it the value is a slip.
pub(super) const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// The names of further caches in the environment: `SMART_REDIS_CACHES=sessions,pages`.
pub(crate) fn named_caches() -> Result<Vec<String>, ConfigError> {
    named_in(&Source::new(None, |variable| std::env::var_os(variable)))
}

pub(super) fn named_in(source: &Source<'_>) -> Result<Vec<String>, ConfigError> {
    let Some(value) = source.get("CACHES")? else {
        return Ok(Vec::new());
    };
    let names: Vec<String> = value
        .text
        .split(',')
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    for name in &names {
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(value.refuse("names of letters, digits and underscores, joined by commas"));
        }
    }
    if let Some((name, variable)) = ambiguous(&names) {
        return Err(value.refuse(format!(
            "other names than {name:?}, for {variable} would be read for two things"
        )));
    }
    Ok(names)
}

/// A cache of the list one of whose variables is already that of another, or a plain one:
/// `SMART_REDIS_DEFAULT_TIMEOUT` would be the `TIMEOUT` of a cache named `default`.
fn ambiguous(names: &[String]) -> Option<(&str, String)> {
    let mut taken: HashMap<String, Option<&str>> = VARIABLES
        .iter()
        .map(|suffix| (format!("SMART_REDIS_{suffix}"), None))
        .collect();
    for name in names.iter().map(String::as_str) {
        for suffix in VARIABLES {
            let variable = format!("{}{suffix}", own_prefix(name));
            // Who lists a name twice means one cache.
            match taken.insert(variable.clone(), Some(name)) {
                Some(other) if other != Some(name) => return Some((name, variable)),
                _ => {}
            }
        }
    }
    None
}

/// What may follow `SMART_REDIS_`.
const VARIABLES: &[&str] = &[
    "APP_VERSION",
    "AUDIT",
    "BACKEND",
    "CACHES",
    "DB",
    "DEFAULT_TIMEOUT",
    "ENCODE_FROM",
    "ENCODINGS",
    "ENCRYPTION_KEY",
    "HOST",
    "IGNORED_QUERY",
    "LEASE",
    "LOCAL_CAPACITY",
    "LOCAL_STALENESS",
    "MAX_BODY",
    "MAX_VARIANTS",
    "MIN_REPLICAS",
    "NAMESPACE",
    "ON_ERROR",
    "PARTITIONS",
    "PASSWORD",
    "PORT",
    "RESTART_AND_CLEAR_CACHE",
    "SENTINEL_PASSWORD",
    "SENTINEL_USERNAME",
    "SERVER_ID",
    "SETTLE",
    "STATUS_HEADER",
    "STATUS_KEY",
    "TIMEOUT",
    "TLS_CA",
    "TLS_CERT",
    "TLS_KEY",
    "URL",
    "USERNAME",
    "VERSION",
    "WAIT",
];

/// Variables that look like ours and that nothing reads, each with the one that is spelled most
/// like it.
pub(crate) fn unknown_variables() -> Vec<(String, Option<String>)> {
    let names = named_caches().unwrap_or_default();
    let is_known = |suffix: &str| VARIABLES.contains(&suffix);
    let unknown = |variable: std::ffi::OsString| {
        let variable = variable.into_string().ok()?;
        let suffix = variable.strip_prefix("SMART_REDIS_")?;
        let of_named = names.iter().any(|name| {
            let rest = suffix
                .strip_prefix(&name.to_ascii_uppercase())
                .and_then(|rest| rest.strip_prefix('_'));
            rest.is_some_and(is_known)
        });
        if is_known(suffix) || of_named {
            return None;
        }
        let distance = |known: &&str| strsim::damerau_levenshtein(suffix, known);
        let near = VARIABLES
            .iter()
            .copied()
            .min_by_key(distance)
            .filter(|known| distance(known) <= 2);
        Some((
            variable.clone(),
            near.map(|known| format!("SMART_REDIS_{known}")),
        ))
    };
    std::env::vars_os()
        .filter_map(|(variable, _)| unknown(variable))
        .collect()
}

/// `true` in any spelling that is usual in environments.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "y" | "on" | "t" => Some(true),
        "false" | "0" | "no" | "n" | "off" | "f" => Some(false),
        _ => None,
    }
}

/// How one variable is read.
pub(super) type Read<'a> = dyn Fn(&str) -> Option<std::ffi::OsString> + 'a;

/// Where variables are read from; tests pass a table instead of the process's environment.
pub(super) struct Source<'a> {
    pub(super) cache: Option<&'a str>,
    read: Box<Read<'a>>,
}

/// One variable that is set.
pub(super) struct Value {
    pub(super) name: String,
    pub(super) text: String,
}

impl Value {
    pub(super) fn refuse(&self, allowed: impl Into<String>) -> ConfigError {
        refused(&self.name, &self.text, allowed)
    }
}

pub(super) fn refused(name: &str, value: &str, allowed: impl Into<String>) -> ConfigError {
    ConfigError::Invalid {
        name: name.to_owned(),
        value: redact(value),
        allowed: allowed.into(),
    }
}

impl<'a> Source<'a> {
    pub(super) fn new(
        cache: Option<&'a str>,
        read: impl Fn(&str) -> Option<std::ffi::OsString> + 'a,
    ) -> Self {
        Self {
            cache,
            read: Box::new(read),
        }
    }

    /// The variable of the named cache, else the plain one. Empty counts as not set, as
    /// container tools set variables that way.
    pub(super) fn get(&self, suffix: &str) -> Result<Option<Value>, ConfigError> {
        if let Some(cache) = self.cache {
            let own = self.variable(format!("{}{suffix}", own_prefix(cache)))?;
            // A namespace is never inherited as it is: two caches would share entries.
            if own.is_some() || suffix == "NAMESPACE" {
                return Ok(own);
            }
        }
        self.plain(suffix)
    }

    pub(super) fn plain(&self, suffix: &str) -> Result<Option<Value>, ConfigError> {
        self.variable(format!("SMART_REDIS_{suffix}"))
    }

    /// Whether a value is the named cache's own and not inherited.
    pub(super) fn is_own(&self, value: Option<&Value>) -> bool {
        let prefix = self.cache.map(own_prefix);
        value
            .zip(prefix)
            .is_some_and(|(value, prefix)| value.name.starts_with(&prefix))
    }

    /// Whether the named cache has an address that is not inherited.
    pub(super) fn has_own_address(&self) -> Result<bool, ConfigError> {
        for suffix in ["URL", "HOST", "PORT"] {
            if self.is_own(self.get(suffix)?.as_ref()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The variable that is set, or the one that would have to be.
    pub(super) fn name_of(&self, suffix: &str) -> Result<String, ConfigError> {
        Ok(match self.get(suffix)? {
            Some(value) => value.name,
            None => format!("SMART_REDIS_{suffix}"),
        })
    }

    pub(super) fn variable(&self, name: String) -> Result<Option<Value>, ConfigError> {
        let Some(value) = (self.read)(&name) else {
            return Ok(None);
        };
        let Ok(text) = value.into_string() else {
            return Err(refused(&name, "(not UTF-8)", "UTF-8 text"));
        };
        if text.trim().is_empty() {
            return Ok(None);
        }
        let text = if name.ends_with("_PASSWORD") {
            text
        } else {
            text.trim().to_owned()
        };
        Ok(Some(Value { name, text }))
    }

    pub(super) fn duration(
        &self,
        suffix: &str,
        least: Duration,
        into: &mut Duration,
    ) -> Result<(), ConfigError> {
        let Some(value) = self.get(suffix)? else {
            return Ok(());
        };
        let parsed = if value.text == "0" {
            Some(Duration::ZERO)
        } else {
            humantime::parse_duration(&value.text).ok()
        };
        match parsed {
            Some(duration) if duration >= least && duration <= LONGEST => {
                *into = duration;
                Ok(())
            }
            _ => Err(value.refuse(format!(
                "a time such as 250ms, 2s or 1m, at least {} and at most a year",
                humantime::format_duration(least)
            ))),
        }
    }

    pub(super) fn bytes(&self, suffix: &str, into: &mut u64) -> Result<(), ConfigError> {
        let Some(value) = self.get(suffix)? else {
            return Ok(());
        };
        match value.text.parse::<bytesize::ByteSize>() {
            Ok(size) => {
                *into = size.as_u64();
                Ok(())
            }
            Err(_) => Err(value.refuse("a number of bytes such as 64MiB, 512KiB or 0")),
        }
    }
}

/// What the variables of a named cache begin with.
pub(super) fn own_prefix(cache: &str) -> String {
    format!("SMART_REDIS_{}_", cache.to_ascii_uppercase())
}
