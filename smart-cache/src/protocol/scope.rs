//! Tags that are known only once the handler runs: who hears them, and where they go.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex};

use crate::cache::SmartCache;
use crate::key::IntoKeys;

tokio::task_local! {
    static SCOPE: Scope;
}

/// The surroundings of one running handler: its cache, and what it has said that it depends on.
/// Cheap to clone: all clones collect into one set.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// `None`: the answer is not stored, so nobody listens.
    found: Option<Arc<Mutex<BTreeSet<String>>>>,
    cache: SmartCache,
}

impl Scope {
    /// For a handler whose answer may be stored.
    pub(crate) fn listening(cache: &SmartCache) -> Self {
        Self {
            found: Some(Arc::default()),
            cache: cache.clone(),
        }
    }

    /// For a handler that runs for its own request alone.
    pub(crate) fn silent(cache: &SmartCache) -> Self {
        Self {
            found: None,
            cache: cache.clone(),
        }
    }

    /// Runs a future so that `depends_on` below it is heard.
    pub(crate) fn hear<F: Future>(&self, future: F) -> impl Future<Output = F::Output> {
        SCOPE.scope(self.clone(), future)
    }

    /// What was found, sorted, without what is declared anyway.
    pub(crate) fn found(&self, declared: &crate::protocol::Target) -> Vec<Arc<str>> {
        let Some(found) = &self.found else {
            return Vec::new();
        };
        let found = found
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        found
            .iter()
            .filter(|tag| !declared.depends_on(tag))
            .map(|tag| tag.as_str().into())
            .collect()
    }

    /// Whether anybody listens.
    fn add(&self, tags: Vec<String>) -> bool {
        if let Some(found) = &self.found {
            let mut found = found
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            found.extend(tags.into_iter().filter(|tag| !tag.is_empty()));
        }
        self.found.is_some()
    }
}

/// Says, anywhere below a cached handler, that its answer depends on these keys: a clear of one
/// of them makes the answer gone, as if it had been declared in `tags(..)`.
///
/// Returns whether a cached handler that is being filled heard it. It is heard by everything
/// that the handler awaits itself, through `join!`, `select!` and buffered streams; not in
/// spawned tasks and threads, unless [`in_scope`] carries it there.
///
/// # Example
/// ```
/// async fn load_product(id: u64) {
///     smart_cache::depends_on(format!("product:{id}"));
/// }
/// ```
///
/// # Pitfalls
/// A misspelt key is a key like any other: nobody clears it, and the answer stays. Build keys in
/// one place, for the reader and the writer alike.
pub fn depends_on(keys: impl IntoKeys) -> bool {
    SCOPE
        .try_with(|scope| scope.add(keys.into_keys()))
        .unwrap_or(false)
}

/// The cache of the annotated handler that is running, if one is.
pub(crate) fn current_cache() -> Option<SmartCache> {
    SCOPE.try_with(|scope| scope.cache.clone()).ok()
}

/// Carries the running handler's hearing into a future that will be spawned.
///
/// # Example
/// ```
/// # async fn load(_: u64) {}
/// # async fn example() {
/// let task = tokio::spawn(smart_cache::in_scope(async { load(7).await }));
/// # let _ = task.await;
/// # }
/// ```
///
/// # Pitfalls
/// The handler must await the task: what is said after the handler has answered comes too late.
pub fn in_scope<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let scope = SCOPE.try_with(Clone::clone).ok();
    async move {
        match scope {
            Some(scope) => scope.hear(future).await,
            None => future.await,
        }
    }
}
