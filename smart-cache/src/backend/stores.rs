//! Which store of values the settings name, and a backend on it.

use std::sync::Arc;

use super::{Backend, KeyValueBackend, KeyValueOptions, ValueStore};
use crate::config::{self, BackendKind, Config};
use crate::error::ConfigError;

/// What stands behind the namespace of the entries' own store. No namespace that can be chosen has
/// a brace, so it never meets another one.
const ENTRIES: &str = "{responses}";

/// The kind of store that is named by the backend or by the URL; `None` for Redis, memory and off.
pub(crate) fn kind(config: &Config) -> Result<Option<BackendKind>, ConfigError> {
    let of_url = config.store_url.as_deref().and_then(config::store_kind);
    match (config.backend, of_url) {
        (BackendKind::Off | BackendKind::Memory, _) | (_, None)
            if !matches!(
                config.backend,
                BackendKind::Sql | BackendKind::File | BackendKind::Memcached
            ) =>
        {
            Ok(None)
        }
        (BackendKind::Auto, Some(kind)) => Ok(Some(kind)),
        (chosen, Some(kind)) if chosen == kind => Ok(Some(kind)),
        (chosen, _) => Err(ConfigError::Invalid {
            name: config.url_name.clone(),
            value: config
                .store_url
                .as_deref()
                .map(config::redact)
                .unwrap_or_default(),
            allowed: allowed(chosen).to_owned(),
        }),
    }
}

fn allowed(kind: BackendKind) -> &'static str {
    match kind {
        BackendKind::Sql => "sqlite:/path, postgres://.. or mysql://.., as the backend is sql",
        BackendKind::File => "file:/folder, as the backend is file",
        BackendKind::Memcached => "memcached://host[:port], as the backend is memcached",
        _ => "redis://.., rediss://.. or unix://.., as the backend is redis",
    }
}

/// A backend on the store that the settings name.
pub(crate) fn open(
    kind: BackendKind,
    config: &Config,
    version: String,
) -> Result<Arc<dyn Backend>, ConfigError> {
    let url = config.store_url.as_deref().unwrap_or_default();
    let named = |why| with_name(why, &config.url_name);
    let entries = format!("{}{ENTRIES}", config.namespace);
    let entries = store(kind, url, config, entries).map_err(named)?;
    let values = store(kind, url, config, config.namespace.clone()).map_err(named)?;
    let backend = KeyValueBackend::new(entries, options(config, version))?;
    Ok(Arc::new(backend.with_values(values)))
}

/// A store knows its URL and not where that was read: this says it.
fn with_name(why: ConfigError, url_name: &str) -> ConfigError {
    let name = url_name.to_owned();
    match why {
        ConfigError::Invalid { value, allowed, .. } => ConfigError::Invalid {
            name,
            value,
            allowed,
        },
        ConfigError::Feature { feature, .. } => ConfigError::Feature { name, feature },
        why => why,
    }
}

/// A backend on one store of the user's.
pub(crate) fn on_one(
    store: Arc<dyn ValueStore>,
    config: &Config,
    version: String,
) -> Result<Arc<dyn Backend>, ConfigError> {
    let backend = KeyValueBackend::new(store, options(config, version))?;
    Ok(Arc::new(backend))
}

fn options(config: &Config, version: String) -> KeyValueOptions {
    KeyValueOptions {
        version,
        timeout: config.timeout,
        lease: config.lease,
        settle: config.settle,
        max_variants: config.max_variants,
    }
}

#[allow(
    unused_variables,
    reason = "what each kind needs of them depends on the features"
)]
fn store(
    kind: BackendKind,
    url: &str,
    config: &Config,
    namespace: String,
) -> Result<Arc<dyn ValueStore>, ConfigError> {
    match kind {
        #[cfg(any(
            feature = "sql-sqlite",
            feature = "sql-postgres",
            feature = "sql-mysql"
        ))]
        BackendKind::Sql => {
            let options = super::SqlOptions {
                namespace,
                timeout: config.timeout,
                ..super::SqlOptions::default()
            };
            Ok(Arc::new(super::SqlStore::new(url, options)?))
        }
        #[cfg(all(feature = "file", unix))]
        BackendKind::File => {
            let (path, capacity) = folder(url)?;
            let mut options = super::FileOptions {
                namespace,
                timeout: config.timeout,
                ..super::FileOptions::default()
            };
            options.capacity = capacity.unwrap_or(options.capacity);
            Ok(Arc::new(super::FileStore::new(path, options)))
        }
        #[cfg(feature = "memcached")]
        BackendKind::Memcached => {
            let options = super::MemcachedOptions {
                namespace,
                timeout: config.timeout,
                ..super::MemcachedOptions::default()
            };
            Ok(Arc::new(super::MemcachedStore::new(url, options)?))
        }
        #[cfg_attr(
            all(feature = "file", unix, feature = "memcached"),
            allow(unreachable_patterns, reason = "with every feature no kind is left")
        )]
        _ => Err(ConfigError::Feature {
            name: config.url_name.clone(),
            feature: match kind {
                BackendKind::File => "file",
                BackendKind::Memcached => "memcached",
                _ if url.starts_with("postgres") => "sql-postgres",
                _ if url.starts_with("sqlite") => "sql-sqlite",
                _ => "sql-mysql",
            },
        }),
    }
}

/// The folder of a `file:` URL, and its bound.
#[cfg(all(feature = "file", unix))]
fn folder(url: &str) -> Result<(std::path::PathBuf, Option<u64>), ConfigError> {
    let refuse = || ConfigError::Invalid {
        name: "url".to_owned(),
        value: url.to_owned(),
        allowed: "file:/absolute/folder, with ?capacity=1GiB behind it if wanted".to_owned(),
    };
    let rest = url.strip_prefix("file:").ok_or_else(refuse)?;
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (path, capacity) = match rest.split_once('?') {
        Some((path, rest)) => {
            let size = rest.strip_prefix("capacity=").ok_or_else(refuse)?;
            let size: bytesize::ByteSize = size.parse().map_err(|_| refuse())?;
            (path, Some(size.as_u64()))
        }
        None => (rest, None),
    };
    if !path.starts_with('/') {
        return Err(refuse());
    }
    let path = percent_encoding::percent_decode_str(path)
        .decode_utf8()
        .map_err(|_| refuse())?;
    Ok((path.into_owned().into(), capacity))
}
