//! Clears that a server has acknowledged lately, for the server after it.
//!
//! A master that is cut off goes on acknowledging until we learn that another one was promoted, and the
//! other one never hears of it: what it has filled since the promotion would stay although it was cleared.
//! So a connection to another server begins by repeating there what was cleared just before. (What a clear
//! *should* have reached by then is another matter, and `replicas.rs`.)
//!
//! How long is "lately"? A cluster's master stops by itself when it is alone (`cluster-node-timeout`, 15 s
//! unless it is set). Sentinels are asked all the time, and what was cleared well before they last
//! confirmed the master is safe; while they cannot be asked, nothing is forgotten. Too many keys are
//! everything.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What was cleared this long before the server was confirmed last has been seen by the one after it.
const LATELY: Duration = Duration::from_secs(60);
/// More keys than this are repeated as a clear of everything.
const MOST_KEYS: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Lately(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    clears: VecDeque<(Instant, Vec<String>)>,
    /// How many keys these are.
    keys: usize,
    /// When everything was cleared last, or too much to remember.
    all: Option<Instant>,
    /// The identity of the server that has acknowledged them.
    server: Option<Arc<str>>,
    /// When nobody could be asked any more whether it is still the master.
    doubted: Option<Instant>,
}

/// What a server is to hear that has taken over.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Owed {
    Nothing,
    Keys(Vec<String>),
    Everything,
}

impl Lately {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server has acknowledged a clear of these keys.
    pub(super) fn cleared(&self, keys: &[String]) {
        let now = Instant::now();
        let mut state = self.state();
        state.forget(now);
        state.keys += keys.len();
        if state.keys > MOST_KEYS {
            state.clears.clear();
            (state.keys, state.all) = (0, Some(now));
        } else {
            state.clears.push_back((now, keys.to_vec()));
        }
    }

    /// The server has acknowledged a clear of everything.
    pub(super) fn cleared_all(&self) {
        let now = Instant::now();
        let mut state = self.state();
        state.clears.clear();
        (state.keys, state.all) = (0, Some(now));
    }

    /// Whoever knows has confirmed the server, or could not be asked.
    pub(super) fn confirmed(&self, is_confirmed: bool) {
        let mut state = self.state();
        if is_confirmed {
            state.doubted = None;
        } else {
            state.doubted.get_or_insert_with(Instant::now);
        }
    }

    /// What this server has to hear before anything is looked up there.
    pub(super) fn owed_to(&self, server: &Arc<str>) -> Owed {
        let mut state = self.state();
        state.forget(Instant::now());
        let is_another = state.server.as_ref().is_some_and(|before| before != server);
        match () {
            () if !is_another => Owed::Nothing,
            () if state.all.is_some() => Owed::Everything,
            () if state.clears.is_empty() => Owed::Nothing,
            () => {
                let keys = state.clears.iter().flat_map(|(_, keys)| keys);
                let mut keys: Vec<String> = keys.cloned().collect();
                keys.sort_unstable();
                keys.dedup();
                Owed::Keys(keys)
            }
        }
    }

    /// It has heard of it. It is kept nevertheless: this one may be gone in a moment too.
    pub(super) fn paid_to(&self, server: &Arc<str>) {
        self.state().server = Some(Arc::clone(server));
    }
}

impl State {
    fn forget(&mut self, now: Instant) {
        let Some(until) = self.doubted.unwrap_or(now).checked_sub(LATELY) else {
            return;
        };
        while let Some((at, keys)) = self.clears.front() {
            if *at >= until {
                break;
            }
            self.keys -= keys.len();
            self.clears.pop_front();
        }
        self.all = self.all.filter(|at| *at >= until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn another_server_is_owed_what_the_one_before_has_acknowledged() {
        let lately = Lately::default();
        let (one, two): (Arc<str>, Arc<str>) = ("one".into(), "two".into());
        assert_eq!(lately.owed_to(&one), Owed::Nothing);
        lately.paid_to(&one);
        lately.cleared(&keys(&["b", "a"]));
        lately.cleared(&keys(&["a"]));
        assert_eq!(lately.owed_to(&one), Owed::Nothing);
        assert_eq!(lately.owed_to(&two), Owed::Keys(keys(&["a", "b"])));
        lately.paid_to(&two);
        assert_eq!(lately.owed_to(&two), Owed::Nothing);
        lately.cleared_all();
        assert_eq!(lately.owed_to(&one), Owed::Everything);
    }

    #[test]
    fn too_many_keys_are_everything() {
        let lately = Lately::default();
        let (one, two): (Arc<str>, Arc<str>) = ("one".into(), "two".into());
        lately.paid_to(&one);
        let many: Vec<String> = (0..=MOST_KEYS).map(|n| n.to_string()).collect();
        lately.cleared(&many);
        lately.cleared(&keys(&["one more"]));
        assert_eq!(lately.owed_to(&two), Owed::Everything);
    }

    #[test]
    fn what_is_long_over_is_forgotten_unless_nobody_could_be_asked() {
        let lately = Lately::default();
        lately.cleared(&keys(&["old"]));
        let mut state = lately.state();
        let later = Instant::now() + LATELY * 2;
        state.doubted = Some(Instant::now());
        state.forget(later);
        assert_eq!(
            state.clears.len(),
            1,
            "nobody has confirmed the server since"
        );
        state.doubted = None;
        state.forget(later);
        assert_eq!((state.clears.len(), state.keys), (0, 0));
    }
}
