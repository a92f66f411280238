//! Clears that were not acknowledged: distrusted here at once, repeated until they land.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use crate::backend::Backend;
use crate::local::Freshness;
use crate::protocol::{Target, token_name};

/// Pauses between repetitions grow from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A repeater that was not seen at work for this long is on a runtime that stands still.
const STANDSTILL: Duration = Duration::from_secs(3);
/// Past this many distrusted keys the namespace as a whole is distrusted, and cleared: an
/// outage must not fill the memory with its writes.
const MOST_KEYS: usize = 100_000;

/// The clears that this process has not got through yet.
#[derive(Debug, Default)]
pub(crate) struct PendingClears {
    /// How many; read on every request, so that the usual case takes no lock.
    count: AtomicUsize,
    wishes: Mutex<Wishes>,
    repeater: Mutex<Repeater>,
}

/// The task that repeats.
#[derive(Debug, Default)]
struct Repeater {
    /// Of the one in charge, or of the last one.
    number: u64,
    /// When it was last seen at work; `None` when it has ended.
    alive: Option<Instant>,
}

#[derive(Debug, Default)]
struct Wishes {
    /// Each key with the number of its newest wish: an acknowledgement settles only the wishes
    /// that were there when the command was sent.
    keys: HashMap<String, u64>,
    /// Holds that are to end. A plain clear does not end them, so each is repeated as it is.
    held: Vec<Release>,
    all: Option<u64>,
    newest: u64,
}

#[derive(Debug)]
struct Release {
    keys: Vec<String>,
    writer: Arc<str>,
    number: u64,
}

impl Wishes {
    fn len(&self) -> usize {
        self.keys.len() + self.held_keys().count() + usize::from(self.all.is_some())
    }

    fn held_keys(&self) -> impl Iterator<Item = &String> {
        self.held.iter().flat_map(|release| &release.keys)
    }
}

/// What a clear is about.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    Keys(Vec<String>),
    /// That the answers under these keys be made anew, and shown until then. If it is not
    /// acknowledged it becomes the wish that they be gone: that holds whatever was lost.
    Expired(Vec<String>),
    All,
    /// Of keys that a write has held: its hold ends, and they are cleared.
    Held {
        keys: Vec<String>,
        writer: Arc<str>,
    },
}

impl std::fmt::Display for Wish {
    /// Some of the keys: a clear may have a hundred thousand.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 5;
        match self {
            Self::All => f.write_str("everything"),
            Self::Keys(keys) | Self::Expired(keys) | Self::Held { keys, .. } => {
                write!(f, "{:?}", &keys[..keys.len().min(SHOWN)])?;
                match keys.len().saturating_sub(SHOWN) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
        }
    }
}

impl Wish {
    pub(crate) async fn send(
        &self,
        backend: &dyn Backend,
    ) -> Result<(), crate::error::BackendError> {
        match self {
            Self::Keys(keys) => backend.clear(keys).await,
            Self::Expired(keys) => backend.expire(keys).await,
            Self::All => backend.clear_all().await,
            Self::Held { keys, writer } => backend.unhold(keys, writer).await,
        }
    }
}

impl Wish {
    /// Whether answers are shown until the new ones are there.
    pub(crate) const fn is_soft(&self) -> bool {
        matches!(self, Self::Expired(_))
    }

    /// This process knows of its own clear before anybody tells it.
    pub(crate) fn outdate(&self, freshness: &Freshness) {
        match self {
            Self::Keys(keys) | Self::Expired(keys) | Self::Held { keys, .. } => keys
                .iter()
                .for_each(|key| freshness.changed(&token_name(key))),
            Self::All => freshness.flushed(),
        }
    }
}

impl PendingClears {
    fn wishes(&self) -> MutexGuard<'_, Wishes> {
        self.wishes
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// How many clears are pending; a pending clear of everything counts as one.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Some of the keys and tags whose clears are pending, for operators; a clear of everything is
    /// `everything`.
    #[cfg(feature = "admin")]
    pub(crate) fn names(&self) -> Vec<String> {
        const SHOWN: usize = 100;
        let wishes = self.wishes();
        let all = wishes.all.is_some().then(|| "everything".to_owned());
        let names = wishes.keys.keys().chain(wishes.held_keys());
        let mut names: Vec<String> = names.take(SHOWN).cloned().collect();
        names.sort_unstable();
        all.into_iter().chain(names).collect()
    }

    /// Whether an entry depends on something that should be gone.
    pub(crate) fn distrusts(&self, target: &Target, dynamic: &[Arc<str>]) -> bool {
        if self.len() == 0 {
            return false;
        }
        let wishes = self.wishes();
        wishes.all.is_some()
            || target.names().chain(dynamic).any(|name| {
                wishes.keys.contains_key(&**name) || wishes.held_keys().any(|key| **key == **name)
            })
    }

    /// Remembers a clear that was not acknowledged and repeats it in the background.
    pub(crate) fn add(self: &Arc<Self>, wish: &Wish, backend: &Arc<dyn Backend>) {
        let mut wishes = self.wishes();
        wishes.newest += 1;
        let number = wishes.newest;
        match wish {
            Wish::Keys(keys) | Wish::Expired(keys) => wishes
                .keys
                .extend(keys.iter().map(|key| (key.clone(), number))),
            Wish::Held { keys, writer } => wishes.held.push(Release {
                keys: keys.clone(),
                writer: Arc::clone(writer),
                number,
            }),
            Wish::All => wishes.all = Some(number),
        }
        if wishes.len() > MOST_KEYS {
            tracing::error!(
                keys = wishes.len(),
                "too many unacknowledged clears: the whole namespace is cleared instead"
            );
            wishes.keys.clear();
            // What is held stays so until the hold's own end.
            wishes.held.clear();
            wishes.all = Some(number);
        }
        self.count.store(wishes.len(), Ordering::Release);
        drop(wishes);
        self.retry(backend);
    }

    fn repeater(&self) -> MutexGuard<'_, Repeater> {
        self.repeater
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Starts repeating, unless that is under way. Also called from requests, since the runtime
    /// that repeated may have ended, or stand still.
    pub(crate) fn retry(self: &Arc<Self>, backend: &Arc<dyn Backend>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if self.len() == 0 {
            return;
        }
        let mut repeater = self.repeater();
        if repeater
            .alive
            .is_none_or(|seen| seen.elapsed() > STANDSTILL)
        {
            repeater.number += 1;
            repeater.alive = Some(Instant::now());
            let retrying = Retrying {
                pending: Arc::downgrade(self),
                number: repeater.number,
            };
            drop(repeater);
            runtime.spawn(repeat(retrying, Arc::clone(backend)));
        }
    }

    /// Whether this repeater is still in charge; notes that it is at work.
    fn goes_on(&self, number: u64) -> bool {
        let mut repeater = self.repeater();
        let goes_on = repeater.number == number;
        if goes_on {
            repeater.alive = Some(Instant::now());
        }
        goes_on
    }

    /// Everything that is pending, as commands, and the number of the newest wish among them.
    fn snapshot(&self) -> (Vec<Wish>, u64) {
        let wishes = self.wishes();
        let mut commands = Vec::new();
        if wishes.all.is_some() {
            commands.push(Wish::All);
        }
        if !wishes.keys.is_empty() {
            commands.push(Wish::Keys(wishes.keys.keys().cloned().collect()));
        }
        commands.extend(wishes.held.iter().map(|release| Wish::Held {
            keys: release.keys.clone(),
            writer: Arc::clone(&release.writer),
        }));
        (commands, wishes.newest)
    }

    fn acknowledged(&self, wish: &Wish, newest: u64) {
        let mut wishes = self.wishes();
        match wish {
            Wish::All => wishes.all = wishes.all.filter(|number| *number > newest),
            Wish::Keys(keys) | Wish::Expired(keys) => {
                for key in keys {
                    if wishes.keys.get(key).is_some_and(|number| *number <= newest) {
                        wishes.keys.remove(key);
                    }
                }
            }
            Wish::Held { writer, .. } => wishes
                .held
                .retain(|release| release.writer != *writer || release.number > newest),
        }
        self.count.store(wishes.len(), Ordering::Release);
    }
}

/// Marks the end of repeating, whatever ends it.
struct Retrying {
    pending: Weak<PendingClears>,
    number: u64,
}

impl Drop for Retrying {
    fn drop(&mut self) {
        if let Some(pending) = self.pending.upgrade() {
            let mut repeater = pending.repeater();
            if repeater.number == self.number {
                repeater.alive = None;
            }
        }
    }
}

async fn repeat(retrying: Retrying, backend: Arc<dyn Backend>) {
    let mut pause = FIRST_PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        let Some(pending) = retrying.pending.upgrade() else {
            return;
        };
        if !pending.goes_on(retrying.number) {
            return;
        }
        let (commands, newest) = pending.snapshot();
        for wish in &commands {
            match wish.send(&*backend).await {
                Ok(()) => {
                    // Before the keys are trusted again: the push of this may be slow.
                    if let Some(freshness) = backend.freshness() {
                        wish.outdate(freshness);
                    }
                    pending.acknowledged(wish, newest);
                }
                Err(why) => tracing::debug!(cause = %why, "a repeated clear was not acknowledged"),
            }
        }
        if pending.len() == 0 {
            tracing::info!("all clears are acknowledged");
            drop(retrying);
            // A wish that came in between found us still repeating: look once more.
            pending.retry(&backend);
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_settles_only_what_was_sent_before_it() {
        let pending = PendingClears::default();
        let target = Target::new("k", &["t"], b"");
        let wish = Wish::Keys(vec!["k".to_owned()]);
        pending.wishes().keys.insert("k".to_owned(), 1);
        pending.count.store(1, Ordering::Release);
        let (_, newest) = pending.snapshot();
        pending.wishes().keys.insert("k".to_owned(), newest + 1);
        pending.acknowledged(&wish, newest);
        assert!(
            pending.distrusts(&target, &[]),
            "the second write's clear is still pending"
        );
        pending.acknowledged(&wish, newest + 1);
        assert!(!pending.distrusts(&target, &[]));
    }

    #[test]
    fn a_hold_that_is_to_end_is_repeated_as_it_is_and_its_keys_distrusted() {
        let pending = Arc::new(PendingClears::default());
        let backend: Arc<dyn Backend> = Arc::new(crate::backend::off::OffBackend);
        let held = |writer: &str| Wish::Held {
            keys: vec!["k".to_owned(), "t".to_owned()],
            writer: writer.into(),
        };
        pending.add(&held("a"), &backend);
        pending.add(&held("b"), &backend);
        assert_eq!(pending.len(), 4);
        let target = Target::new("x", &["t"], b"");
        assert!(pending.distrusts(&target, &[]));
        let (commands, newest) = pending.snapshot();
        let writers: Vec<_> = commands
            .iter()
            .map(|wish| matches!(wish, Wish::Held { .. }))
            .collect();
        assert_eq!(writers, [true, true]);
        pending.acknowledged(&commands[0], newest);
        assert!(pending.distrusts(&target, &[]), "the other writer's");
        pending.acknowledged(&commands[1], newest);
        assert!(!pending.distrusts(&target, &[]));
        assert_eq!(pending.len(), 0);
    }

    #[test]
    fn a_tag_is_distrusted_like_a_key() {
        let pending = PendingClears::default();
        pending.wishes().keys.insert("t".to_owned(), 1);
        pending.wishes().keys.insert("found".to_owned(), 1);
        pending.count.store(2, Ordering::Release);
        assert!(pending.distrusts(&Target::new("k", &["t"], b""), &[]));
        assert!(pending.distrusts(&Target::new("x", &[], b""), &["found".into()]));
        assert!(!pending.distrusts(&Target::new("x", &[], b""), &[]));
    }
}
