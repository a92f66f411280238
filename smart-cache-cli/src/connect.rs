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
    refuse_local_backends(place)?;
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
    if std::env::var_os("SMART_REDIS_TIMEOUT").is_none() {
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

/// A cache in the memory of other processes cannot be reached, and must not be mistaken for an
/// empty one.
fn refuse_local_backends(place: &Place) -> Result<(), Failure> {
    let own = place.cache.as_ref().map(|name| {
        let name = name.to_ascii_uppercase();
        format!("SMART_REDIS_{name}_BACKEND")
    });
    let plain = "SMART_REDIS_BACKEND".to_owned();
    let set = own
        .into_iter()
        .chain([plain])
        .find_map(|variable| std::env::var(variable).ok().filter(|text| !text.is_empty()));
    match set.map(|text| text.to_ascii_lowercase()) {
        Some(kind) if matches!(kind.as_str(), "memory" | "off" | "none" | "dummy") => {
            Err(Failure::NotRedis(kind))
        }
        _ => Ok(()),
    }
}
