//! What can be set, where it comes from, and what is refused.
//!
//! One [`Config`] serves the environment (`SMART_REDIS_*`) and the builder alike. Reading it
//! does no I/O; a bad value is an error that names the variable, its value and what is
//! allowed. See the table in the README for every variable.
//!
//! Over 400 lines, since every setting is here once: its default, its bounds, and what it may not be set with.

mod address;
mod engine;
mod environment;
mod values;

use std::time::Duration;

pub(crate) use self::address::{Address, Sentinels, address, redact, store_kind};
use self::environment::{Source, boolean, refused};
pub(crate) use self::environment::{named_caches, unknown_variables};
pub(crate) use self::values::{KeyFunction, ValueSettings};
use crate::backend::TlsFiles;
use crate::encode;
use crate::error::ConfigError;
use crate::http::encoding::Encodings;
use crate::key::IgnoredQuery;
use crate::seal::Keyring;

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
    /// A table of a SQL database (features `sql-sqlite`, `sql-postgres`, `sql-mysql`); the URL says
    /// which.
    Sql,
    /// Files of this machine (feature `file`), in the folder of a `file:` URL.
    File,
    /// One memcached (feature `memcached`).
    Memcached,
    /// Nowhere: every handler runs.
    Off,
}

impl BackendKind {
    /// Whether it is somewhere, so that an address can contradict it.
    fn has_address(self) -> bool {
        matches!(self, Self::Redis | Self::Sql | Self::File | Self::Memcached)
    }
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
    /// The URL of a store that is not Redis.
    pub(crate) store_url: Option<String>,
    /// Where a URL is given, as messages say it: a variable, or the builder's method.
    pub(crate) url_name: String,
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
    /// The encodings in which bodies are kept beside the plain one.
    pub(crate) encodings: Encodings,
    /// Shorter bodies are not worth encoding.
    pub(crate) encode_from: u64,
    pub(crate) status_header: bool,
    /// Whether `Cache-Status` names the key, which may tell more than the world should know.
    pub(crate) status_key: bool,
    /// `None`: the fingerprint of the running executable.
    pub(crate) app_version: Option<String>,
    /// Replaces the identity read from INFO, where INFO is forbidden.
    pub(crate) server_id: Option<String>,
    /// What is shown and trusted over TLS.
    pub(crate) tls: TlsFiles,
    /// Replicas that a clear must have reached to be acknowledged.
    pub(crate) min_replicas: u32,
    /// Over how many slots of a cluster the entries are spread.
    pub(crate) partitions: u32,
    /// Seals what is stored.
    pub(crate) keyring: Option<Keyring>,
    /// Of the low-level API.
    pub(crate) values: ValueSettings,
    /// The share of hits whose handler is run again, from 0 to 1.
    pub(crate) audit: f64,
    /// Whether others are to know of this process.
    pub(crate) announce: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backend: BackendKind::Auto,
            address: None,
            store_url: None,
            url_name: "url".to_owned(),
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
            encodings: Encodings::default(),
            encode_from: 1024,
            status_header: true,
            status_key: false,
            app_version: None,
            server_id: None,
            tls: TlsFiles::default(),
            min_replicas: 0,
            partitions: 1,
            keyring: None,
            values: ValueSettings::default(),
            audit: 0.0,
            announce: true,
        }
    }
}

impl Config {
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
                "sql" => BackendKind::Sql,
                "file" => BackendKind::File,
                "memcached" => BackendKind::Memcached,
                "off" | "none" | "dummy" => BackendKind::Off,
                _ => {
                    return Err(
                        value.refuse("one of auto, redis, memory, sql, file, memcached, off")
                    );
                }
            };
        }
        if config.backend.has_address()
            && !source.is_own(source.get("BACKEND")?.as_ref())
            && source.has_own_address()?
        {
            // An address of its own says by itself where a named cache is.
            config.backend = BackendKind::Auto;
        }
        config.url_name = source.name_of("URL")?;
        config.store_url = address::store(source)?.map(|url| url.text);
        if config.store_url.is_some() {
            config.address_given = true;
        } else {
            (config.address, config.address_given) = address::read(source)?;
        }
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
            *STALENESS.start(),
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
        if let Some(value) = source.get("ENCODINGS")? {
            config.encodings = encode::parse(&value.text).map_err(|why| value.refuse(why))?;
        }
        source.bytes("ENCODE_FROM", &mut config.encode_from)?;
        for (name, into) in [
            ("STATUS_HEADER", &mut config.status_header),
            ("STATUS_KEY", &mut config.status_key),
        ] {
            if let Some(value) = source.get(name)? {
                *into = boolean(&value.text).ok_or_else(|| value.refuse("true or false"))?;
            }
        }
        if let Some(value) = source.get("AUDIT")? {
            config.audit = match value.text.parse() {
                Ok(share) if SHARE.contains(&share) => share,
                _ => return Err(value.refuse("a share of the hits from 0 to 1, such as 0.001")),
            };
        }
        if let Some(value) = source.get("APP_VERSION")? {
            check_version(&value.text).map_err(|allowed| value.refuse(allowed))?;
            config.app_version = Some(value.text);
        }
        if let Some(value) = source.get("SERVER_ID")? {
            check_server_id(&value.text).map_err(|allowed| value.refuse(allowed))?;
            config.server_id = Some(value.text);
        }
        config.tls = tls(source, config.address.as_ref())?;
        if let Some(value) = source.get("MIN_REPLICAS")? {
            config.min_replicas = match value.text.parse() {
                Ok(number) if number <= MOST_REPLICAS => number,
                _ => return Err(value.refuse("a number of replicas from 0 to 100")),
            };
        }
        if let Some(value) = source.get("PARTITIONS")? {
            config.partitions = match value.text.parse() {
                Ok(number) if PARTITIONS.contains(&number) => number,
                _ => return Err(value.refuse("a number of partitions from 1 to 256")),
            };
        }
        config.keyring = encryption(source)?;
        config.values = values::read(source)?;
        Ok(config)
    }

    /// The address to connect to: the given one or the default.
    pub(crate) fn address_or_default(&self) -> Result<Address, ConfigError> {
        match &self.address {
            Some(address) => Ok(address.clone()),
            None => address("SMART_REDIS_HOST", "redis://127.0.0.1:6379"),
        }
    }
}

/// The files for TLS. What a named cache inherits does not count if its own address is without TLS.
fn tls(source: &Source<'_>, address: Option<&Address>) -> Result<TlsFiles, ConfigError> {
    let mut files = TlsFiles::default();
    let is_tls = address.is_some_and(Address::is_tls);
    let has_own_address = source.is_own(source.get("URL")?.as_ref());
    for (name, into) in [
        ("TLS_CA", &mut files.ca),
        ("TLS_CERT", &mut files.cert),
        ("TLS_KEY", &mut files.key),
    ] {
        let Some(value) = source.get(name)? else {
            continue;
        };
        if is_tls {
            *into = Some(value.text.into());
        } else if source.is_own(Some(&value)) || !has_own_address {
            let allowed =
                "only beside an address with TLS, such as SMART_REDIS_URL=rediss://host:port";
            return Err(value.refuse(allowed));
        }
    }
    Ok(files)
}

/// The keys that seal what is stored; their text is never shown.
fn encryption(source: &Source<'_>) -> Result<Option<Keyring>, ConfigError> {
    match source.get("ENCRYPTION_KEY")? {
        // A named cache would inherit the keys otherwise.
        Some(keys) if keys.text.eq_ignore_ascii_case("none") => Ok(None),
        Some(keys) => keyring(&keys.name, &keys.text).map(Some),
        None => Ok(None),
    }
}

/// Reads keys; `name` says where they come from.
#[cfg(feature = "encryption")]
pub(crate) fn keyring(name: &str, text: &str) -> Result<Keyring, ConfigError> {
    Keyring::parse(text).ok_or_else(|| ConfigError::Invalid {
        name: name.to_owned(),
        value: "***".to_owned(),
        allowed:
            "keys of 32 bytes in hex or base64, joined by commas (`openssl rand -hex 32` makes one)"
                .to_owned(),
    })
}

/// Without the feature a key is not silently ignored.
#[cfg(not(feature = "encryption"))]
pub(crate) fn keyring(name: &str, _: &str) -> Result<Keyring, ConfigError> {
    Err(ConfigError::Feature {
        name: name.to_owned(),
        feature: "encryption",
    })
}

/// What a local tier's staleness may be: a heartbeat is a quarter of it.
pub(crate) const STALENESS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(20)..=environment::LONGEST;

/// Redis counts no more of them than this at once.
pub(crate) const MOST_REPLICAS: u32 = 100;

/// How many partitions a namespace may have: each has connections of its own, and each is asked by every
/// clear.
pub(crate) const PARTITIONS: std::ops::RangeInclusive<u32> = 1..=256;

/// What a share may be.
pub(crate) const SHARE: std::ops::RangeInclusive<f64> = 0.0..=1.0;

/// A namespace becomes the hash tag of every key, so braces would change the cluster slot. With a number
/// behind it, it is the name of a partition of another one.
pub(crate) fn check_namespace(text: &str) -> Result<(), &'static str> {
    let is_partition = text.rsplit_once('#').is_some_and(|(_, number)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    if is_partition {
        return Err("a name that does not end in # and a number, as partitions do");
    }
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

/// An identity begins the namespace's token, where the scripts expect letters and digits.
pub(crate) fn check_server_id(text: &str) -> Result<(), &'static str> {
    let fits =
        !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric());
    if fits {
        Ok(())
    } else {
        Err("1 to 64 letters and digits, unlike for each server and each restart of it")
    }
}

#[cfg(test)]
mod tests;
