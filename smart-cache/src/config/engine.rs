//! URLs that name no server but who knows it: nodes of a cluster, or sentinels.
//!
//! `redis+cluster://[user:password@]host[:port],host[:port],..` and
//! `redis+sentinel://[user:password@]host[:port],host[:port],../master[/db]`; with `rediss` for TLS,
//! `-` for `+`, `valkey` for `redis`. The credentials are those of the servers; those of the
//! sentinels, where they want any, are variables or parameters of their own.

use percent_encoding::percent_decode_str;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};

use super::address::{Address, Sentinels, needs_tls, redact};
use crate::error::ConfigError;

const CLUSTER_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

const ALLOWED_CLUSTER: &str = "redis+cluster://[user:password@]host[:port],host[:port],... \
     (rediss+cluster with TLS); a cluster has no database but 0";
const ALLOWED_SENTINEL: &str = "redis+sentinel://[user:password@]host[:port],host[:port],.../master[/db] \
     (rediss+sentinel with TLS), where `master` is the name by which the sentinels know it, with \
     ?sentinel_username=..&sentinel_password=.. behind it if they want credentials of their own";

/// The parts of such a URL.
struct Parts<'a> {
    username: Option<String>,
    password: Option<String>,
    hosts: Vec<(String, Option<u16>)>,
    path: Vec<&'a str>,
    query: Vec<(&'a str, String)>,
}

/// The address that a URL of such a kind names; `None` for other URLs.
pub(super) fn parse(name: &str, url: &str) -> Result<Option<Address>, ConfigError> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Ok(None);
    };
    let scheme = scheme.to_ascii_lowercase();
    let Some((protocol, kind)) = scheme.split_once(['+', '-']) else {
        return Ok(None);
    };
    let tls = match protocol {
        "redis" | "valkey" => false,
        "rediss" | "valkeys" => true,
        _ => return Ok(None),
    };
    let allowed = match kind {
        "cluster" => ALLOWED_CLUSTER,
        "sentinel" => ALLOWED_SENTINEL,
        _ => return Ok(None),
    };
    let refuse = || ConfigError::Invalid {
        name: name.to_owned(),
        value: redact(url),
        allowed: allowed.to_owned(),
    };
    if tls {
        needs_tls(name)?;
    }
    let parts = parts(rest).ok_or_else(refuse)?;
    let place = |(host, port): &(String, Option<u16>), default| {
        let (host, port) = (host.clone(), port.unwrap_or(default));
        let place = if tls {
            ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        place.into_connection_info().map_err(|_| refuse())
    };
    let seeds = |default| -> Result<Vec<ConnectionInfo>, ConfigError> {
        parts
            .hosts
            .iter()
            .map(|host| place(host, default))
            .collect()
    };
    let settings = credentials(parts.username.clone(), parts.password.clone());
    if kind == "cluster" {
        if !matches!(parts.path[..], [] | ["" | "0"]) || !parts.query.is_empty() {
            return Err(refuse());
        }
        let seeds = seeds(CLUSTER_PORT)?;
        let seeds = seeds
            .into_iter()
            .map(|seed| seed.set_redis_settings(settings.clone()));
        return Ok(Some(Address::Cluster(seeds.collect())));
    }
    let (master, db) = match parts.path[..] {
        [master] | [master, ""] => (master, 0),
        [master, db] => (master, db.parse().map_err(|_| refuse())?),
        _ => return Err(refuse()),
    };
    let master = decoded(master).filter(|master| !master.is_empty());
    let seeds = seeds(SENTINEL_PORT)?;
    let server = seeds[0].clone().set_redis_settings(settings.set_db(db));
    let mut sentinels = Sentinels {
        master: master.ok_or_else(refuse)?,
        server,
        seeds,
    };
    let (mut username, mut password) = (None, None);
    for (parameter, value) in parts.query {
        match parameter {
            "sentinel_username" => username = Some(value),
            "sentinel_password" => password = Some(value),
            _ => return Err(refuse()),
        }
    }
    identify(&mut sentinels, username.as_deref(), password.as_deref());
    Ok(Some(Address::Sentinels(sentinels)))
}

/// Gives the sentinels credentials of their own; what is `None` stays as it is.
pub(crate) fn identify(sentinels: &mut Sentinels, username: Option<&str>, password: Option<&str>) {
    for seed in &mut sentinels.seeds {
        let mut settings = seed.redis_settings().clone();
        if let Some(username) = username {
            settings = settings.set_username(username);
        }
        if let Some(password) = password {
            settings = settings.set_password(password);
        }
        *seed = seed.clone().set_redis_settings(settings);
    }
}

fn credentials(username: Option<String>, password: Option<String>) -> RedisConnectionInfo {
    let mut settings = RedisConnectionInfo::default();
    if let Some(username) = username {
        settings = settings.set_username(username);
    }
    if let Some(password) = password {
        settings = settings.set_password(password);
    }
    settings
}

/// Takes what stands behind `://` apart.
fn parts(rest: &str) -> Option<Parts<'_>> {
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = match rest.split_once('/') {
        Some((authority, path)) => (authority, path.split('/').collect()),
        None => (rest, Vec::new()),
    };
    // A password may hold an "@" that nobody has escaped; a host cannot.
    let (credentials, hosts) = match authority.rsplit_once('@') {
        Some((credentials, hosts)) => (Some(credentials), hosts),
        None => (None, authority),
    };
    let (username, password) = match credentials.map(|text| text.split_once(':')) {
        Some(Some((username, password))) => (decoded(username)?, decoded(password)?),
        Some(None) => (decoded(credentials.unwrap_or_default())?, String::new()),
        None => (String::new(), String::new()),
    };
    let given = |text: String| (!text.is_empty()).then_some(text);
    let query = query.split('&').filter(|pair| !pair.is_empty());
    Some(Parts {
        username: given(username),
        password: given(password),
        hosts: hosts.split(',').map(host).collect::<Option<_>>()?,
        path,
        query: query
            .map(|pair| {
                let (parameter, value) = pair.split_once('=')?;
                Some((parameter, decoded(value)?))
            })
            .collect::<Option<_>>()?,
    })
}

/// `host`, `host:port` or `[address]:port`.
fn host(text: &str) -> Option<(String, Option<u16>)> {
    let text = text.trim();
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, behind) = rest.split_once(']')?;
            let port = match behind {
                "" => None,
                behind => Some(behind.strip_prefix(':')?),
            };
            (address, port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let fits =
        !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || "/@?#,".contains(c));
    let port = match port {
        None => None,
        Some(port) => Some(port.parse().ok().filter(|port| *port > 0)?),
    };
    fits.then(|| (host.to_owned(), port))
}

fn decoded(text: &str) -> Option<String> {
    let text = percent_decode_str(text).decode_utf8().ok()?;
    Some(text.into_owned())
}
