//! A write that clears: when it is over, however it ends.

use http::StatusCode;

use crate::cache::SmartCache;

/// Clears when the write is over, also when its request was cancelled or its handler panicked:
/// a commit may have happened.
#[derive(Debug)]
pub(crate) struct ClearGuard {
    /// `None` while it is being set up.
    pub(crate) cache: Option<SmartCache>,
    pub(crate) name: Option<&'static str>,
    pub(crate) keys: Vec<String>,
}

impl ClearGuard {
    /// After an answer: a 4xx says that nothing was changed; a 5xx may have come after the commit.
    pub(crate) async fn answered(mut self, status: StatusCode) {
        if status.is_client_error() {
            self.keys.clear();
        } else {
            self.clear().await;
        }
    }

    /// The write's answer does not depend on the cache: a clear that is not acknowledged is
    /// logged, distrusted and repeated by the cache.
    pub(crate) async fn clear(mut self) {
        // While the cache is being set up, dropping the guard clears as soon as it is there.
        if let (Some(cache), false) = (&self.cache, self.keys.is_empty()) {
            let keys = std::mem::take(&mut self.keys);
            // A failure is logged where it is remembered.
            let _ = cache.clear(keys).await;
        }
    }
}

impl Drop for ClearGuard {
    fn drop(&mut self) {
        let keys = std::mem::take(&mut self.keys);
        if keys.is_empty() {
            return;
        }
        match &self.cache {
            Some(cache) => cache.clear_in_background(keys),
            None => crate::start::clear_once_set_up(self.name, keys),
        }
    }
}
