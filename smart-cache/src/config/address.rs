//! Where the server is: a host and a port, or a URL, and the credentials; never shown whole.

use redis::{ConnectionInfo, IntoConnectionInfo};

use super::BackendKind;
use super::environment::{Source, Value};
use crate::error::ConfigError;

/// A Redis address that was given, with its credentials. `Debug` shows no secret.
#[derive(Clone)]
pub(crate) struct Address(pub(crate) ConnectionInfo);

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} db {}", self.0.addr(), self.0.redis_settings().db())
    }
}

/// What begins the URL of a store that is not Redis, and what such a URL looks like.
const STORES: [(&str, BackendKind); 8] = [
    ("sqlite", BackendKind::Sql),
    ("postgres", BackendKind::Sql),
    ("postgresql", BackendKind::Sql),
    ("mysql", BackendKind::Sql),
    ("mariadb", BackendKind::Sql),
    ("file", BackendKind::File),
    ("memcached", BackendKind::Memcached),
    ("memcache", BackendKind::Memcached),
];

/// Which kind of store a URL is of; `None` for those of Redis, and for what is no URL.
pub(crate) fn store_kind(url: &str) -> Option<BackendKind> {
    let (scheme, _) = url.split_once(':')?;
    let store = STORES.iter().find(|(name, _)| *name == scheme);
    store.map(|(_, kind)| *kind)
}

/// The URL of a store that is not Redis, if the variables name one.
pub(super) fn store(source: &Source<'_>) -> Result<Option<Value>, ConfigError> {
    let Some(url) = source
        .get("URL")?
        .filter(|url| store_kind(&url.text).is_some())
    else {
        return Ok(None);
    };
    for other in [source.get("HOST")?, source.get("PORT")?]
        .into_iter()
        .flatten()
    {
        match (source.is_own(Some(&url)), source.is_own(Some(&other))) {
            // An address of its own, in one form, replaces the inherited one in the other form.
            (true, false) => {}
            (false, true) => return Ok(None),
            _ => {
                return Err(ConfigError::Conflict {
                    first: url.name,
                    second: other.name,
                    why: "the URL already holds the address",
                });
            }
        }
    }
    Ok(Some(url))
}

/// The address and credentials that the variables name, and whether one of them is an address.
pub(super) fn read(source: &Source<'_>) -> Result<(Option<Address>, bool), ConfigError> {
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
