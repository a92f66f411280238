//! The journal of clears: what was cleared lately, by which process, and what it freed.
//!
//! A clear is acknowledged before anything is noted, and nobody waits for the note: it is kept here
//! and written with others about once a second. So a process adds at most one command a second for
//! it, whatever it clears. A process that dies takes its last notes along; the journal decides
//! nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{as_micros, as_millis_of_epoch, epoch_millis};
use crate::backend::Reclaimed;
use crate::cache::SmartCache;
use crate::error::BackendError;
use crate::protocol::clear::Wish;

/// Notes that wait to be written; what is cleared more often than this in a second is only counted.
const MOST_WAITING: usize = 64;
/// How long notes wait for others.
const GATHERED_FOR: Duration = Duration::from_secs(1);
/// Keys of one clear that are named, and how much of each.
const MOST_KEYS: usize = 10;
const LONGEST_KEY: usize = 200;
/// Begins every note: another number is another build's business.
const FORMAT: u8 = 2;
/// How many notes a namespace keeps.
pub(crate) const MOST_KEPT: usize = 200;

/// One clear, as the process that did it has noted it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ClearNote {
    /// When it was acknowledged, by that process's clock.
    #[serde(rename = "at_ms", serialize_with = "as_millis_of_epoch")]
    pub at: SystemTime,
    /// Which process: `application@host:pid`.
    pub process: String,
    /// Whether it cleared the whole namespace.
    pub all: bool,
    /// Whether it was a soft one: what it names is shown until it is made anew.
    pub soft: bool,
    /// The first of the keys and tags that it cleared.
    pub keys: Vec<String>,
    /// How many more there were.
    pub more_keys: u64,
    /// Whether the backend has acknowledged it; if not, it is being repeated.
    pub acknowledged: bool,
    /// How long that took.
    #[serde(rename = "took_us", serialize_with = "as_micros")]
    pub took: Duration,
    /// What it freed at once; `None` when that is left to the sweep (for tags' entries, for a
    /// clear of everything, and while another clear's are being freed), and for a soft clear.
    pub freed: Option<Reclaimed>,
    /// Clears of that process in the same second that are not noted.
    pub unnoted: u64,
}

/// A note as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    at_ms: u64,
    process: String,
    all: bool,
    soft: bool,
    keys: Vec<String>,
    more_keys: u64,
    acknowledged: bool,
    took_us: u64,
    /// Entries, sum of their lives, longest life; milliseconds.
    freed: Option<(u64, u64, u64)>,
    unnoted: u64,
}

impl ClearNote {
    fn encode(&self) -> Vec<u8> {
        let millis = |time: Duration| time.as_millis() as u64;
        let kept = Kept {
            at_ms: epoch_millis(self.at),
            process: self.process.clone(),
            all: self.all,
            soft: self.soft,
            keys: self.keys.clone(),
            more_keys: self.more_keys,
            acknowledged: self.acknowledged,
            took_us: self.took.as_micros() as u64,
            freed: self
                .freed
                .map(|freed| (freed.entries, millis(freed.lived), millis(freed.longest))),
            unnoted: self.unnoted,
        };
        // Serialising plain data into a vector cannot fail; an empty note would be skipped.
        postcard::to_extend(&kept, vec![FORMAT]).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let kept: Kept = postcard::from_bytes(bytes.strip_prefix(&[FORMAT])?).ok()?;
        Some(Self {
            at: UNIX_EPOCH.checked_add(Duration::from_millis(kept.at_ms))?,
            process: kept.process,
            all: kept.all,
            soft: kept.soft,
            keys: kept.keys,
            more_keys: kept.more_keys,
            acknowledged: kept.acknowledged,
            took: Duration::from_micros(kept.took_us),
            freed: kept.freed.map(|(entries, lived, longest)| Reclaimed {
                entries,
                lived: Duration::from_millis(lived),
                longest: Duration::from_millis(longest),
            }),
            unnoted: kept.unnoted,
        })
    }
}

/// What is to be noted of a wish.
#[derive(Debug)]
pub(crate) struct Draft(ClearNote);

impl Draft {
    pub(crate) fn of(wish: &Wish, process: &str, acknowledged: bool, took: Duration) -> Self {
        let (all, keys) = match wish {
            Wish::All => (true, &[][..]),
            Wish::Keys(keys) | Wish::Expired(keys) | Wish::Held { keys, .. } => (false, &keys[..]),
        };
        Self(ClearNote {
            at: SystemTime::now(),
            process: process.to_owned(),
            all,
            soft: wish.is_soft(),
            keys: keys.iter().take(MOST_KEYS).map(|key| cut(key)).collect(),
            more_keys: keys.len().saturating_sub(MOST_KEYS) as u64,
            acknowledged,
            took,
            freed: None,
            unnoted: 0,
        })
    }

    pub(crate) fn freed(mut self, freed: Reclaimed) -> Self {
        self.0.freed = Some(freed);
        self
    }
}

fn cut(key: &str) -> String {
    match key.char_indices().nth(LONGEST_KEY) {
        Some((end, _)) => format!("{}…", &key[..end]),
        None => key.to_owned(),
    }
}

/// Notes that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    notes: Vec<ClearNote>,
    unnoted: u64,
    /// Whether a task is going to write them.
    scheduled: bool,
}

impl Journal {
    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what waits, newest last.
    fn take(&self) -> Vec<ClearNote> {
        let mut waiting = self.lock();
        waiting.scheduled = false;
        let unnoted = std::mem::take(&mut waiting.unnoted);
        let mut notes = std::mem::take(&mut waiting.notes);
        if let Some(last) = notes.last_mut() {
            last.unnoted += unnoted;
        }
        notes
    }
}

impl Journal {
    /// Keeps what could not be written, for the next time that something is.
    fn put_back(&self, mut notes: Vec<ClearNote>) {
        let mut waiting = self.lock();
        notes.append(&mut waiting.notes);
        let excess = notes.len().saturating_sub(MOST_WAITING);
        notes.drain(..excess);
        waiting.unnoted += excess as u64;
        waiting.notes = notes;
    }
}

impl SmartCache {
    /// Notes a clear; nobody waits for it.
    pub(crate) fn note_clear(&self, draft: Draft) {
        if self.inner.backend.inspect().is_none() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let mut waiting = self.inner.journal.lock();
        if waiting.notes.len() >= MOST_WAITING {
            waiting.unnoted += 1;
            return;
        }
        waiting.notes.push(draft.0);
        if !std::mem::replace(&mut waiting.scheduled, true) {
            let inner = Arc::downgrade(&self.inner);
            runtime.spawn(async move {
                tokio::time::sleep(GATHERED_FOR).await;
                if let Some(inner) = inner.upgrade() {
                    Self { inner }.write_notes().await;
                }
            });
        }
    }

    async fn write_notes(&self) {
        let Some(inspect) = self.inner.backend.inspect() else {
            return;
        };
        let notes = self.inner.journal.take();
        if notes.is_empty() {
            return;
        }
        let encoded = notes.iter().map(ClearNote::encode).collect();
        if let Err(why) = inspect.note(encoded).await {
            tracing::debug!(cause = %why, notes = notes.len(), "clears could not be noted yet");
            self.inner.journal.put_back(notes);
        }
    }

    /// The clears of all processes of the namespace lately, newest first; at most 200 are kept.
    /// Those of other processes appear about a second after the clear.
    ///
    /// # Errors
    /// When the backend does not answer, or cannot list what it keeps.
    pub async fn recent_clears(&self) -> Result<Vec<ClearNote>, BackendError> {
        self.write_notes().await;
        let notes = self.inspect()?.notes().await?;
        let mut notes: Vec<ClearNote> = notes
            .iter()
            .filter_map(|note| ClearNote::decode(note))
            .collect();
        notes.sort_by_key(|note| std::cmp::Reverse(note.at));
        Ok(notes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_nothing_else_is() {
        let keys: Vec<String> = (0..12).map(|n| format!("key:{n}")).collect();
        let took = Duration::from_micros(321);
        let freed = Reclaimed {
            entries: 3,
            lived: Duration::from_millis(30),
            longest: Duration::from_millis(20),
        };
        let Draft(mut note) = Draft::of(&Wish::Keys(keys), "shop@host:1", true, took).freed(freed);
        note.at = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        assert_eq!((note.keys.len(), note.more_keys), (10, 2));
        let bytes = note.encode();
        assert_eq!(ClearNote::decode(&bytes), Some(note));
        assert_eq!(ClearNote::decode(&bytes[..bytes.len() - 2]), None);
        assert_eq!(ClearNote::decode(b"\x01other"), None);
        assert_eq!(ClearNote::decode(b""), None);
    }

    #[test]
    fn long_keys_are_cut_between_characters() {
        assert_eq!(cut(&"ü".repeat(300)).chars().count(), LONGEST_KEY + 1);
    }
}
