//! Every layer that was made, for the registry and for advice on keys.

use std::collections::BTreeSet;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::registry;

/// Layers are made at a start; a program that makes them for ever is not remembered for ever.
const MOST_LISTED: usize = 10_000;

static LAYERS: Mutex<BTreeSet<CachedLayer>> = Mutex::new(BTreeSet::new());
/// Set once a layer has keys that are worked out for each request.
static ANY_KEY: AtomicBool = AtomicBool::new(false);

/// A [`layer`](crate::layer) that was made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct CachedLayer {
    /// Its key; where each request has its own, the one that stands for them.
    pub key: String,
    /// Where it was made: file and line.
    pub place: (&'static str, u32),
}

/// Lists a layer, and logs it the first time.
pub(super) fn add(key: &str, place: &'static Location<'static>) {
    registry::remember(key);
    let layer = CachedLayer {
        key: key.to_owned(),
        place: (place.file(), place.line()),
    };
    let mut layers = LAYERS.lock().unwrap_or_else(PoisonError::into_inner);
    if layers.len() < MOST_LISTED && layers.insert(layer) {
        tracing::info!(%key, %place, "cached by a layer");
    }
}

/// All of them, by key.
pub(crate) fn all() -> Vec<CachedLayer> {
    let layers = LAYERS.lock().unwrap_or_else(PoisonError::into_inner);
    layers.iter().cloned().collect()
}

/// From now on any key may be one of this program's.
pub(super) fn expect_any_key() {
    ANY_KEY.store(true, Ordering::Relaxed);
}

/// Whether a key that no annotated handler has may be a layer's.
pub(crate) fn may_have_any_key() -> bool {
    ANY_KEY.load(Ordering::Relaxed)
}
