//! What nobody clears, and what is cleared though nobody caches it.
//!
//! Both are found by comparing templates: those of cached handlers with those of everything that
//! is known to clear. A `clear_cache` in a body is known once it has run. Only for advice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};

use crate::key::overlap;
use crate::registry::{CachedHandler, Registry};

/// The templates that triggers clear, by table.
static TRIGGERS: Mutex<BTreeMap<String, Vec<String>>> = Mutex::new(BTreeMap::new());

/// Triggers of this table clear these templates.
#[cfg(any(
    feature = "sqlx-sqlite",
    feature = "sqlx-postgres",
    feature = "sqlx-mysql"
))]
pub(crate) fn cleared_by_triggers<'a>(table: &str, keys: impl Iterator<Item = &'a str>) {
    TRIGGERS
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(table.to_owned(), keys.map(str::to_owned).collect());
}

/// Every table with triggers that this process has installed, and what they clear.
pub(crate) fn triggers() -> Vec<(String, Vec<String>)> {
    let known = TRIGGERS.lock().unwrap_or_else(PoisonError::into_inner);
    known
        .iter()
        .map(|(table, keys)| (table.clone(), keys.clone()))
        .collect()
}

/// Which templates of cached handlers were cleared by hand, by their place in the list.
#[derive(Debug)]
pub(crate) struct ByHand(LazyLock<Vec<AtomicBool>>);

impl ByHand {
    pub(crate) const fn new(count: fn() -> Vec<AtomicBool>) -> Self {
        Self(LazyLock::new(count))
    }

    pub(crate) fn mark(&self, at: usize) {
        if let Some(mark) = self.0.get(at) {
            mark.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_marked(&self, at: usize) -> bool {
        self.0
            .get(at)
            .is_some_and(|mark| mark.load(Ordering::Relaxed))
    }
}

/// Cached handlers none of whose keys and tags anything is known to clear. Those with a time to
/// live heal by themselves.
pub(crate) fn never_cleared(
    registry: &Registry,
    by_hand: impl Fn(&str) -> bool,
) -> Vec<&CachedHandler> {
    let clears = clearing_templates(registry);
    registry
        .cached
        .iter()
        .filter(|handler| handler.ttl.is_none())
        .filter(|handler| {
            !std::iter::once(&handler.key)
                .chain(handler.tags)
                .any(|own| by_hand(own) || clears.iter().any(|cleared| overlap(own, cleared)))
        })
        .collect()
}

/// Templates that something clears and no cached handler has; `found` tells of tags that handlers
/// have found.
pub(crate) fn never_cached(registry: &Registry, found: impl Fn(&str) -> bool) -> Vec<String> {
    let mut unknown: Vec<String> = clearing_templates(registry)
        .into_iter()
        .filter(|cleared| {
            let mut cached = registry
                .cached
                .iter()
                .chain(&registry.functions)
                .flat_map(|handler| std::iter::once(&handler.key).chain(handler.tags));
            !cached.any(|own| overlap(own, cleared)) && !found(cleared)
        })
        .map(str::to_owned)
        .collect();
    unknown.sort_unstable();
    unknown.dedup();
    unknown
}

fn clearing_templates(registry: &Registry) -> Vec<&str> {
    let attributes = registry
        .clearing
        .iter()
        .flat_map(|handler| handler.keys.iter().copied());
    let models = registry
        .models
        .iter()
        .flat_map(|model| model.keys.iter().copied());
    let triggers = registry
        .triggers
        .iter()
        .flat_map(|(_, keys)| keys.iter().map(String::as_str));
    attributes.chain(models).chain(triggers).collect()
}
