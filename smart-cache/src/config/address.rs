//! Where the server is: a host and a port, or a URL, and the credentials; never shown whole.
//!
//! A URL may name one server, nodes of a cluster, or sentinels that know the master (`engine.rs`).

use redis::{ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

use super::BackendKind;
use super::engine;
use super::environment::{Source, Value};
use crate::error::ConfigError;

/// A Redis address that was given, with its credentials. `Debug` shows no secret.
#[derive(Clone)]
pub(crate) enum Address {
    /// One server.
    Server(ConnectionInfo),
    /// Some nodes of a cluster.
    Cluster(Vec<ConnectionInfo>),
    /// Sentinels that know where a master is.
    Sentinels(Sentinels),
}

/// Some sentinels, and what they watch.
#[derive(Clone)]
pub(crate) struct Sentinels {
    pub(crate) seeds: Vec<ConnectionInfo>,
    /// The name under which they know the master.
    pub(crate) master: String,
    /// How the master is spoken to, once its place is known; the place in it is a sentinel's.
    pub(crate) server: ConnectionInfo,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let joined = |seeds: &[ConnectionInfo]| {
            let seeds: Vec<_> = seeds.iter().map(|seed| seed.addr().to_string()).collect();
            seeds.join(",")
        };
        match self {
            Self::Server(info) => info.addr().fmt(f),
            Self::Cluster(seeds) => write!(f, "the cluster of {}", joined(seeds)),
            Self::Sentinels(sentinels) => write!(
                f,
                "{}, as {} say",
                sentinels.master,
                joined(&sentinels.seeds)
            ),
        }
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self} db {}", self.settings().db())
    }
}

impl Address {
    /// How the server is spoken to.
    fn settings(&self) -> &RedisConnectionInfo {
        match self {
            Self::Server(info) => info.redis_settings(),
            // There is at least one.
            Self::Cluster(seeds) => seeds[0].redis_settings(),
            Self::Sentinels(sentinels) => sentinels.server.redis_settings(),
        }
    }

    fn with_settings(self, settings: RedisConnectionInfo) -> Self {
        match self {
            Self::Server(info) => Self::Server(info.set_redis_settings(settings)),
            Self::Cluster(seeds) => {
                let seeds = seeds.into_iter();
                Self::Cluster(
                    seeds
                        .map(|seed| seed.set_redis_settings(settings.clone()))
                        .collect(),
                )
            }
            Self::Sentinels(sentinels) => Self::Sentinels(Sentinels {
                server: sentinels.server.set_redis_settings(settings),
                ..sentinels
            }),
        }
    }

    /// Whether the servers are spoken to over TLS.
    pub(crate) fn is_tls(&self) -> bool {
        let info = match self {
            Self::Server(info) => info,
            Self::Cluster(seeds) => &seeds[0],
            Self::Sentinels(sentinels) => &sentinels.server,
        };
        matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. })
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
    let address = match &url {
        Some(url) => address(&url.name, &url.text)?,
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
            Address::Server(default.set_addr(redis::ConnectionAddr::Tcp(host, port)))
        }
    };
    let mut settings = address.settings().clone();
    if let Some(db) = db {
        match db.text.parse::<i64>() {
            Ok(number) if number > 0 && matches!(address, Address::Cluster(_)) => {
                return Err(db.refuse("0, for a cluster has no other database"));
            }
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
    let mut address = address.with_settings(settings);
    if let Address::Sentinels(sentinels) = &mut address {
        let [username, password] =
            ["SENTINEL_USERNAME", "SENTINEL_PASSWORD"].map(|name| source.get(name));
        let (username, password) = (username?, password?);
        engine::identify(
            sentinels,
            username.as_ref().map(|value| value.text.as_str()),
            password.as_ref().map(|value| value.text.as_str()),
        );
    }
    Ok((Some(address), given))
}

/// Parses a URL of any kind of Redis.
pub(crate) fn address(name: &str, url: &str) -> Result<Address, ConfigError> {
    match engine::parse(name, url)? {
        Some(address) => Ok(address),
        None => connection_info(name, url).map(Address::Server),
    }
}

/// Parses the URL of one server into what the client connects to.
pub(super) fn connection_info(name: &str, url: &str) -> Result<ConnectionInfo, ConfigError> {
    let refuse = || {
        ConfigError::Invalid {
        name: name.to_owned(),
        value: redact(url),
        allowed: "redis://[user:password@]host[:port][/db], rediss://..., unix:///path[?db=0], redis+cluster://host[:port],... or redis+sentinel://host[:port],.../master"
            .to_owned(),
    }
    };
    if url.starts_with("rediss:") || url.starts_with("valkeys:") {
        needs_tls(name)?;
    }
    let info = url.into_connection_info().map_err(|_| refuse())?;
    if !info.addr().is_supported() {
        return Err(refuse());
    }
    Ok(info)
}

pub(super) fn needs_tls(name: &str) -> Result<(), ConfigError> {
    if cfg!(feature = "tls") {
        return Ok(());
    }
    Err(ConfigError::Feature {
        name: name.to_owned(),
        feature: "tls",
    })
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
