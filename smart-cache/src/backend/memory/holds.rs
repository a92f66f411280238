//! Keys that open writes hold, each writer for a bounded time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Which writers hold a key, and until when.
#[derive(Debug, Default)]
pub(super) struct Holds(HashMap<String, HashMap<String, Instant>>);

impl Holds {
    pub(super) fn begin(&mut self, keys: &[String], writer: &str, now: Instant, longest: Duration) {
        // Those of writers that never came back.
        self.0.retain(|_, writers| {
            writers.retain(|_, until| *until > now);
            !writers.is_empty()
        });
        for key in keys {
            self.0
                .entry(key.clone())
                .or_default()
                .insert(writer.to_owned(), now + longest);
        }
    }

    pub(super) fn end(&mut self, keys: &[String], writer: &str, now: Instant) {
        for key in keys {
            if let Some(writers) = self.0.get_mut(key) {
                writers.remove(writer);
                writers.retain(|_, until| *until > now);
                if writers.is_empty() {
                    self.0.remove(key);
                }
            }
        }
    }

    /// Whether one of these is held.
    pub(super) fn any<'a>(
        &self,
        mut names: impl Iterator<Item = &'a Arc<str>>,
        now: Instant,
    ) -> bool {
        !self.0.is_empty()
            && names.any(|name| {
                let writers = self.0.get(&**name);
                writers.is_some_and(|writers| writers.values().any(|until| *until > now))
            })
    }
}
