//! What can be set, where it comes from, and what is refused.
//!
//! One [`Config`] serves the environment (`SMART_REDIS_*`) and the builder alike. Reading it
//! does no I/O; a bad value is an error that names the variable, its value and what is
//! allowed. See the table in the README for every variable.

use std::time::Duration;

use redis::{ConnectionInfo, IntoConnectionInfo};

use crate::error::ConfigError;
use crate::key::IgnoredQuery;

/// Where entries live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BackendKind {
    /// Redis; but with no address given and nothing listening on the default one, the
    /// process's own memory, said loudly in the log.
    #[default]
    Auto,
    /// Redis, whatever happens.
    Redis,
    /// The memory of this process.
    Memory,
    /// Nowhere: every handler runs.
    Off,
}

/// Whether a start makes the namespace cold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum StartFlush {
    /// Every start clears everything, as in the ancestor (stop, migrate, start comes up cold).
    #[default]
    Always,
    /// Nothing is cleared.
    Never,
    /// The first process of a build that the namespace has not seen clears everything.
    EachVersion,
}

/// All settings of one cache.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) backend: BackendKind,
    /// What was given of the address and its credentials, if anything.
    pub(crate) address: Option<Address>,
    /// An address that was given never falls back to memory.
    pub(crate) address_given: bool,
    pub(crate) namespace: String,
    pub(crate) flush: StartFlush,
    pub(crate) timeout: Duration,
    pub(crate) settle: Duration,
    pub(crate) lease: Duration,
    pub(crate) wait: Duration,
    pub(crate) local_capacity: u64,
    pub(crate) local_staleness: Duration,
    pub(crate) max_body: u64,
    pub(crate) max_variants: u32,
    pub(crate) ignored_query: IgnoredQuery,
    pub(crate) status_header: bool,
    /// `None`: the fingerprint of the running executable.
    pub(crate) app_version: Option<String>,
    /// Replaces the identity read from INFO, where INFO is forbidden.
    pub(crate) server_id: Option<String>,
}

/// A Redis address that was given, with its credentials. `Debug` shows no secret.
#[derive(Clone)]
pub(crate) struct Address(pub(crate) ConnectionInfo);

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} db {}", self.0.addr(), self.0.redis_settings().db())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backend: BackendKind::Auto,
            address: None,
            address_given: false,
            namespace: "cache".to_owned(),
            flush: StartFlush::Always,
            timeout: Duration::from_millis(250),
            settle: Duration::from_secs(2),
            lease: Duration::from_secs(10),
            wait: Duration::from_secs(2),
            local_capacity: 64 << 20,
            local_staleness: Duration::from_secs(1),
            max_body: 2 << 20,
            max_variants: 10_000,
            ignored_query: IgnoredQuery::default(),
            status_header: true,
            app_version: None,
            server_id: None,
        }
    }
}

/// The longest time that a setting may name: a year. Beyond it the value is a slip.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

impl Config {
    /// The defaults, with the cache switched off.
    pub(crate) fn off() -> Self {
        Self {
            backend: BackendKind::Off,
            ..Self::default()
        }
    }

    /// Reads `SMART_REDIS_*`, or for a named cache `SMART_REDIS_<NAME>_*` with the plain
    /// variables as defaults.
    pub(crate) fn from_env(name: Option<&str>) -> Result<Self, ConfigError> {
        Self::read(&Source::new(name, |variable| std::env::var_os(variable)))
    }

    /// The settings in `source`; everything that it does not name keeps its default.
    fn read(source: &Source<'_>) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        if let Some(value) = source.get("BACKEND")? {
            config.backend = match value.text.to_ascii_lowercase().as_str() {
                "auto" => BackendKind::Auto,
                "redis" => BackendKind::Redis,
                "memory" => BackendKind::Memory,
                "off" | "none" | "dummy" => BackendKind::Off,
                _ => return Err(value.refuse("one of auto, redis, memory, off")),
            };
        }
        (config.address, config.address_given) = address(source)?;
        if let Some(value) = source.get("NAMESPACE")? {
            check_namespace(&value.text).map_err(|allowed| value.refuse(allowed))?;
            config.namespace = value.text;
        } else if let Some(name) = source.cache {
            // Neither two caches of one process nor two applications share entries by default.
            if let Some(value) = source.plain("NAMESPACE")? {
                config.namespace = value.text;
            }
            config.namespace.push('-');
            config.namespace.push_str(name);
            check_namespace(&config.namespace)
                .map_err(|allowed| refused("SMART_REDIS_NAMESPACE", &config.namespace, allowed))?;
        }
        if let Some(value) = source.get("RESTART_AND_CLEAR_CACHE")? {
            config.flush = match (
                value.text.to_ascii_lowercase().as_str(),
                boolean(&value.text),
            ) {
                ("version", _) => StartFlush::EachVersion,
                (_, Some(true)) => StartFlush::Always,
                (_, Some(false)) => StartFlush::Never,
                _ => {
                    return Err(
                        value.refuse("true, false, or version (once for each deployed build)")
                    );
                }
            };
        }
        let at_least = Duration::from_millis(1);
        source.duration("TIMEOUT", at_least, &mut config.timeout)?;
        source.duration("SETTLE", Duration::ZERO, &mut config.settle)?;
        source.duration("LEASE", Duration::from_millis(100), &mut config.lease)?;
        source.duration("WAIT", Duration::ZERO, &mut config.wait)?;
        source.duration(
            "LOCAL_STALENESS",
            Duration::from_millis(20),
            &mut config.local_staleness,
        )?;
        source.bytes("LOCAL_CAPACITY", &mut config.local_capacity)?;
        source.bytes("MAX_BODY", &mut config.max_body)?;
        if let Some(value) = source.get("MAX_VARIANTS")? {
            config.max_variants = match value.text.parse() {
                Ok(number) if number > 0 => number,
                _ => return Err(value.refuse("a whole number from 1 to 4294967295")),
            };
        }
        if let Some(value) = source.get("IGNORED_QUERY")? {
            config.ignored_query = IgnoredQuery::parse(&value.text);
        }
        if let Some(value) = source.get("STATUS_HEADER")? {
            config.status_header =
                boolean(&value.text).ok_or_else(|| value.refuse("true or false"))?;
        }
        if let Some(value) = source.get("APP_VERSION")? {
            check_version(&value.text).map_err(|allowed| value.refuse(allowed))?;
            config.app_version = Some(value.text);
        }
        if let Some(value) = source.get("SERVER_ID")? {
            if value.text.is_empty() || !value.text.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return Err(value
                    .refuse("letters and digits, unlike for each server and each restart of it"));
            }
            config.server_id = Some(value.text);
        }
        Ok(config)
    }

    /// The address to connect to: the given one or the default.
    pub(crate) fn address_or_default(&self) -> Result<ConnectionInfo, ConfigError> {
        match &self.address {
            Some(address) => Ok(address.0.clone()),
            None => connection_info("SMART_REDIS_HOST", "redis://127.0.0.1:6379"),
        }
    }
}

/// The names of further caches in the environment: `SMART_REDIS_CACHES=sessions,pages`.
pub(crate) fn named_caches() -> Result<Vec<String>, ConfigError> {
    let source = Source::new(None, |variable| std::env::var_os(variable));
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
    Ok(names)
}

/// What may follow `SMART_REDIS_`.
const VARIABLES: [&str; 22] = [
    "APP_VERSION",
    "BACKEND",
    "CACHES",
    "DB",
    "HOST",
    "IGNORED_QUERY",
    "LEASE",
    "LOCAL_CAPACITY",
    "LOCAL_STALENESS",
    "MAX_BODY",
    "MAX_VARIANTS",
    "NAMESPACE",
    "PASSWORD",
    "PORT",
    "RESTART_AND_CLEAR_CACHE",
    "SERVER_ID",
    "SETTLE",
    "STATUS_HEADER",
    "TIMEOUT",
    "URL",
    "USERNAME",
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
            .into_iter()
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

/// A namespace becomes the hash tag of every key, so braces would change the cluster slot.
pub(crate) fn check_namespace(text: &str) -> Result<(), &'static str> {
    let fits = !text.is_empty()
        && text.len() <= 128
        && !text.contains(['{', '}'])
        && !text.chars().any(char::is_control);
    if fits {
        Ok(())
    } else {
        Err("1 to 128 bytes without braces and control characters")
    }
}

/// A version is one field of a key: a colon in it would make two versions overlap.
pub(crate) fn check_version(text: &str) -> Result<(), &'static str> {
    let fits = !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    if fits {
        Ok(())
    } else {
        Err("1 to 64 printable ASCII characters without spaces and colons")
    }
}

/// `true` in any spelling that is usual in environments.
fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "y" | "on" | "t" => Some(true),
        "false" | "0" | "no" | "n" | "off" | "f" => Some(false),
        _ => None,
    }
}

/// How one variable is read.
type Read<'a> = dyn Fn(&str) -> Option<std::ffi::OsString> + 'a;

/// Where variables are read from; tests pass a table instead of the process's environment.
struct Source<'a> {
    cache: Option<&'a str>,
    read: Box<Read<'a>>,
}

/// One variable that is set.
struct Value {
    name: String,
    text: String,
}

impl Value {
    fn refuse(&self, allowed: impl Into<String>) -> ConfigError {
        refused(&self.name, &self.text, allowed)
    }
}

fn refused(name: &str, value: &str, allowed: impl Into<String>) -> ConfigError {
    ConfigError::Invalid {
        name: name.to_owned(),
        value: redact(value),
        allowed: allowed.into(),
    }
}

impl<'a> Source<'a> {
    fn new(cache: Option<&'a str>, read: impl Fn(&str) -> Option<std::ffi::OsString> + 'a) -> Self {
        Self {
            cache,
            read: Box::new(read),
        }
    }

    /// The variable of the named cache, else the plain one. Empty counts as not set, as
    /// container tools set variables that way.
    fn get(&self, suffix: &str) -> Result<Option<Value>, ConfigError> {
        if let Some(cache) = self.cache {
            let own = self.variable(format!("{}{suffix}", own_prefix(cache)))?;
            // A namespace is never inherited as it is: two caches would share entries.
            if own.is_some() || suffix == "NAMESPACE" {
                return Ok(own);
            }
        }
        self.plain(suffix)
    }

    fn plain(&self, suffix: &str) -> Result<Option<Value>, ConfigError> {
        self.variable(format!("SMART_REDIS_{suffix}"))
    }

    /// Whether a value is the named cache's own and not inherited.
    fn is_own(&self, value: Option<&Value>) -> bool {
        let prefix = self.cache.map(own_prefix);
        value
            .zip(prefix)
            .is_some_and(|(value, prefix)| value.name.starts_with(&prefix))
    }

    fn variable(&self, name: String) -> Result<Option<Value>, ConfigError> {
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

    fn duration(
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

    fn bytes(&self, suffix: &str, into: &mut u64) -> Result<(), ConfigError> {
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

/// The address and credentials that the variables name, and whether one of them is an address.
fn address(source: &Source<'_>) -> Result<(Option<Address>, bool), ConfigError> {
    let (mut url, mut host, mut port) =
        (source.get("URL")?, source.get("HOST")?, source.get("PORT")?);
    // An address of its own, in one form, replaces the inherited one in the other form.
    if source.is_own(url.as_ref()) {
        host = host.filter(|host| source.is_own(Some(host)));
        port = port.filter(|port| source.is_own(Some(port)));
    } else if source.is_own(host.as_ref()) || source.is_own(port.as_ref()) {
        url = None;
    }
    let (db, username, password) = (
        source.get("DB")?,
        source.get("USERNAME")?,
        source.get("PASSWORD")?,
    );
    if let (Some(url), Some(other)) = (&url, host.as_ref().or(port.as_ref())) {
        let why = "the URL already holds the address";
        return Err(ConfigError::Conflict {
            first: url.name.clone(),
            second: other.name.clone(),
            why,
        });
    }
    let given = url.is_some() || host.is_some() || port.is_some();
    let credentials = db.is_some() || username.is_some() || password.is_some();
    if !given && !credentials {
        return Ok((None, false));
    }
    let mut info = match &url {
        Some(url) => connection_info(&url.name, &url.text)?,
        None => {
            let host_text = host.as_ref().map_or("127.0.0.1", |host| host.text.as_str());
            let port_number: u16 = match &port {
                None => 6379,
                Some(port) => match port.text.parse() {
                    Ok(number) if number > 0 => number,
                    _ => return Err(port.refuse("a port from 1 to 65535")),
                },
            };
            let bad_host = host_text.contains(['/', '@', ' ']);
            if let (true, Some(host)) = (bad_host, &host) {
                return Err(host
                    .refuse("a host name or an IP address; use SMART_REDIS_URL for a whole URL"));
            }
            let (host, port) = (host_text.trim_matches(['[', ']']).to_owned(), port_number);
            let default = connection_info("SMART_REDIS_HOST", "redis://127.0.0.1:6379")?;
            default.set_addr(redis::ConnectionAddr::Tcp(host, port))
        }
    };
    let mut settings = info.redis_settings().clone();
    if let Some(db) = db {
        match db.text.parse::<i64>() {
            Ok(number) if number >= 0 => {
                if url.is_some() && settings.db() != 0 && settings.db() != number {
                    let why = "the URL already names another database";
                    return Err(ConfigError::Conflict {
                        first: "SMART_REDIS_URL".to_owned(),
                        second: db.name,
                        why,
                    });
                }
                settings = settings.set_db(number);
            }
            _ => return Err(db.refuse("the number of a database, 0 or greater")),
        }
    }
    if let Some(username) = username {
        settings = settings.set_username(username.text);
    }
    if let Some(password) = password {
        settings = settings.set_password(password.text);
    }
    info = info.set_redis_settings(settings);
    Ok((Some(Address(info)), given))
}

/// Parses a URL into what the client connects to.
pub(crate) fn connection_info(name: &str, url: &str) -> Result<ConnectionInfo, ConfigError> {
    let refuse = || ConfigError::Invalid {
        name: name.to_owned(),
        value: redact(url),
        allowed: "redis://[user:password@]host[:port][/db], rediss://... or unix:///path[?db=0]"
            .to_owned(),
    };
    if url.starts_with("rediss:") && cfg!(not(feature = "tls")) {
        return Err(ConfigError::Feature {
            name: name.to_owned(),
            feature: "tls",
        });
    }
    let info = url.into_connection_info().map_err(|_| refuse())?;
    if !info.addr().is_supported() {
        return Err(refuse());
    }
    Ok(info)
}

/// The text without what may be a password. It may be no URL at all, so it hides too much rather
/// than too little: everything before an `@`, a port that is no number, every parameter.
pub(crate) fn redact(text: &str) -> String {
    let scheme = text.find("://").map_or(0, |at| at + 3);
    if scheme == 0 && !text.contains('@') {
        return text.to_owned();
    }
    let (place, hidden) = match text.split_once('?') {
        Some((place, _)) => (place, "?***"),
        None => (text, ""),
    };
    let scheme = scheme.min(place.len());
    let (start, rest) = place.split_at(scheme);
    let shown = match (rest.rfind('@'), rest.rfind(':')) {
        (Some(at), _) => format!("***{}", &rest[at..]),
        (None, Some(colon)) if !rest[colon + 1..].starts_with(|c: char| c.is_ascii_digit()) => {
            format!("{}:***", &rest[..colon])
        }
        _ => rest.to_owned(),
    };
    format!("{start}{shown}{hidden}")
}

/// What the variables of a named cache begin with.
fn own_prefix(cache: &str) -> String {
    format!("SMART_REDIS_{}_", cache.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(table: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let table: Vec<(String, String)> = table
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Config::read(&Source::new(None, move |name| {
            table
                .iter()
                .find(|(k, _)| k.strip_prefix("SMART_REDIS_").is_some() && k == name)
                .map(|(_, v)| v.into())
        }))
    }

    #[track_caller]
    fn refused(name: &str, value: &str) -> String {
        let message = read(&[(name, value)])
            .expect_err("the value must be refused")
            .to_string();
        assert!(message.contains(name), "{message}");
        message
    }

    #[test]
    fn defaults_are_those_of_the_ancestor() {
        let config = read(&[]).unwrap();
        assert_eq!(config.namespace, "cache");
        assert_eq!(config.flush, StartFlush::Always);
        assert!(config.address.is_none());
        assert_eq!(
            config.address_or_default().unwrap().addr().to_string(),
            "127.0.0.1:6379"
        );
    }

    #[test]
    fn booleans_come_in_any_usual_spelling() {
        for (text, flush) in [
            ("True", StartFlush::Always),
            ("FALSE", StartFlush::Never),
            ("0", StartFlush::Never),
            ("on", StartFlush::Always),
            ("version", StartFlush::EachVersion),
        ] {
            assert_eq!(
                read(&[("SMART_REDIS_RESTART_AND_CLEAR_CACHE", text)])
                    .unwrap()
                    .flush,
                flush,
                "{text}"
            );
        }
    }

    #[test]
    fn bad_values_name_the_variable_the_value_and_what_is_allowed() {
        for (name, value, allowed) in [
            ("SMART_REDIS_PORT", "70000", "1 to 65535"),
            ("SMART_REDIS_PORT", "0", "1 to 65535"),
            ("SMART_REDIS_DB", "-1", "0 or greater"),
            ("SMART_REDIS_TIMEOUT", "soon", "250ms"),
            ("SMART_REDIS_TIMEOUT", "0", "at least 1ms"),
            ("SMART_REDIS_TIMEOUT", "9000 years", "at most a year"),
            ("SMART_REDIS_BACKEND", "mongo", "auto, redis, memory, off"),
            ("SMART_REDIS_NAMESPACE", "a{b}", "braces"),
            ("SMART_REDIS_MAX_BODY", "-3", "bytes"),
            ("SMART_REDIS_MAX_VARIANTS", "0", "whole number"),
            (
                "SMART_REDIS_RESTART_AND_CLEAR_CACHE",
                "maybe",
                "true, false",
            ),
            ("SMART_REDIS_STATUS_HEADER", "7", "true or false"),
            ("SMART_REDIS_APP_VERSION", "a:b", "colons"),
            ("SMART_REDIS_URL", "http://example.org", "redis://"),
        ] {
            let message = refused(name, value);
            assert!(
                message.contains(value) && message.contains(allowed),
                "{message}"
            );
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        let message = refused("SMART_REDIS_URL", "redis://user:s3cret@host:99999999");
        assert!(
            !message.contains("s3cret") && message.contains("***"),
            "{message}"
        );
        let config = read(&[
            ("SMART_REDIS_HOST", "h"),
            ("SMART_REDIS_PASSWORD", "s3cret"),
        ])
        .unwrap();
        assert!(!format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn whatever_may_be_a_password_is_hidden() {
        for text in [
            "redis://user:s3cret@host",
            "redis:user:s3cret@host",
            "user:s3cret@host",
            "redis://user:s3cret",
            "redis://:s3cret",
            "redis://user:a/b?s3cret@host",
            "redis://user:s3cret@s3cret@host",
            "unix:///run/redis.sock?pass=s3cret&db=x",
            "unix:///run/redis.sock?pass=a@s3cret",
            "redis://user:a://s3cret@host",
        ] {
            assert!(
                !redact(text).contains("s3cret"),
                "{text} -> {}",
                redact(text)
            );
        }
        for text in [
            "redis://host:6380/1",
            "http://example.org",
            "plain",
            "redis://[::1]:6379",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    fn read_named(table: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let find = |name: &str| {
            let found = table.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| std::ffi::OsString::from(value))
        };
        Config::read(&Source::new(Some("pages"), find))
    }

    #[test]
    fn a_named_cache_lives_beside_the_default_one_of_its_application() {
        let namespace = |table| read_named(table).unwrap().namespace;
        assert_eq!(namespace(&[]), "cache-pages");
        assert_eq!(
            namespace(&[("SMART_REDIS_NAMESPACE", "shop")]),
            "shop-pages"
        );
        let own = [
            ("SMART_REDIS_NAMESPACE", "shop"),
            ("SMART_REDIS_PAGES_NAMESPACE", "mine"),
        ];
        assert_eq!(namespace(&own), "mine");
    }

    #[test]
    fn an_address_of_its_own_replaces_the_inherited_one() {
        for (table, address) in [
            (&[("SMART_REDIS_URL", "redis://a:1")][..], "a:1"),
            (
                &[
                    ("SMART_REDIS_URL", "redis://a:1"),
                    ("SMART_REDIS_PAGES_PORT", "2"),
                ],
                "127.0.0.1:2",
            ),
            (
                &[
                    ("SMART_REDIS_HOST", "a"),
                    ("SMART_REDIS_PAGES_URL", "redis://b:3"),
                ],
                "b:3",
            ),
            (
                &[("SMART_REDIS_HOST", "a"), ("SMART_REDIS_PAGES_PORT", "4")],
                "a:4",
            ),
        ] {
            let info = read_named(table).unwrap().address_or_default().unwrap();
            assert_eq!(info.addr().to_string(), address, "{table:?}");
        }
        let both = [
            ("SMART_REDIS_PAGES_URL", "redis://a"),
            ("SMART_REDIS_PAGES_HOST", "b"),
        ];
        assert!(matches!(
            read_named(&both),
            Err(ConfigError::Conflict { .. })
        ));
    }

    #[test]
    fn url_and_host_together_are_refused() {
        let error =
            read(&[("SMART_REDIS_URL", "redis://a"), ("SMART_REDIS_HOST", "b")]).unwrap_err();
        assert!(matches!(error, ConfigError::Conflict { .. }), "{error}");
    }

    #[test]
    fn a_socket_and_a_url_are_understood() {
        let config = read(&[("SMART_REDIS_URL", "unix:///run/redis.sock?db=3")]).unwrap();
        let info = config.address_or_default().unwrap();
        assert_eq!(info.redis_settings().db(), 3);
        assert!(info.addr().to_string().contains("/run/redis.sock"));
    }
}
