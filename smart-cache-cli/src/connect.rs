//! The cache that the variables and options mean, opened without changing anything in it.

use std::time::Duration;

use smart_cache::{BackendKind, SmartCache, StartFlush};

use crate::arguments::Place;
use crate::failure::Failure;

/// Somebody who sits before a terminal waits longer than a request.
const PATIENCE: Duration = Duration::from_secs(5);
/// The build of this program: it stores nothing, so nothing is ever of it.
const OWN_VERSION: &str = "smart-cache-cli";

/// Opens the cache, as a guest.
pub(crate) async fn open(place: &Place) -> Result<SmartCache, Failure> {
    open_as(place, OWN_VERSION).await
}

/// Opens the cache as one of the newest build's processes: what it frees is that build's.
pub(crate) async fn open_as_newest(place: &Place) -> Result<SmartCache, Failure> {
    let guest = open(place).await?;
    let facts = guest.inspect()?.facts().await?;
    match facts.builds.into_iter().find(|build| build.recent) {
        Some(newest) => open_as(place, &newest.version).await,
        None => Ok(guest),
    }
}

async fn open_as(place: &Place, version: &str) -> Result<SmartCache, Failure> {
    refuse_other_backends(place)?;
    let builder = SmartCache::builder();
    let mut builder = match &place.cache {
        Some(name) => builder.named_env(name),
        None => builder.env(),
    };
    if let Some(url) = &place.url {
        builder = builder.url(url);
    }
    if let Some(namespace) = &place.namespace {
        builder = builder.namespace(namespace);
    }
    if setting(place, "TIMEOUT").is_none() {
        builder = builder.timeout(PATIENCE);
    }
    let cache = builder
        .backend(BackendKind::Redis)
        .flush(StartFlush::Never)
        .announce(false)
        .app_version(version)
        .build()
        .await?;
    Ok(cache)
}

/// A variable that is set, and what it says: that of the named cache, else the plain one. Empty
/// counts as not set, as for the programs that cache.
fn setting(place: &Place, suffix: &str) -> Option<(String, String)> {
    let named = place.cache.as_ref();
    let own = named.map(|name| format!("SMART_REDIS_{}_{suffix}", name.to_ascii_uppercase()));
    let plain = format!("SMART_REDIS_{suffix}");
    own.into_iter().chain([plain]).find_map(|variable| {
        let text = std::env::var(&variable).ok();
        let text = text.filter(|text| !text.is_empty())?;
        Some((variable, text))
    })
}

/// A cache that is elsewhere must not be mistaken for an empty one. A server that was named on the
/// command line is meant, whatever the environment says.
fn refuse_other_backends(place: &Place) -> Result<(), Failure> {
    let Some((variable, kind)) = setting(place, "BACKEND").filter(|_| place.url.is_none()) else {
        return Ok(());
    };
    let kind = kind.to_ascii_lowercase();
    let why = match &*kind {
        "memory" => "such a cache is in each process alone, where no command line reaches it",
        "off" | "none" | "dummy" => "such a cache keeps nothing",
        "sql" | "file" | "memcached" => "such a cache has no list of what it keeps",
        _ => return Ok(()),
    };
    Err(Failure::NotRedis {
        variable,
        kind,
        why,
    })
}
