//! How much of everything may happen in one check.

use smart_cache_model::{FAR, KEY, NAMESPACE, Set, Settings, tag};

/// The key, the tags that a handler may find, and everything.
pub(crate) const THE_KEY: Set = 1 << KEY;
pub(crate) const FIRST: Set = 1 << tag(0);
pub(crate) const SECOND: Set = 1 << tag(1);
pub(crate) const ALL: Set = 1 << NAMESPACE;

/// One check: who is there, and how often each thing may happen. Everything else never does.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) settings: Settings,
    /// The build of each process.
    pub(crate) builds: [u8; 2],
    /// How many of the processes are asked for the row.
    pub(crate) readers: usize,
    /// Requests that each process answers at a time.
    pub(crate) slots: usize,
    /// Requests of one moment share their ticket: the step between asking and sending counts.
    pub(crate) shares: bool,
    /// The process of each writer.
    pub(crate) writers: Vec<u8>,
    pub(crate) style: Style,
    /// What a write clears, by the version of the row that it changes.
    pub(crate) clears: [Set; 4],
    /// The tags that a handler finds with each version of the row.
    pub(crate) lists: [Set; 4],
    /// The first process has a local tier.
    pub(crate) local: bool,
    /// The row is cached already, and the tracking connection is live.
    pub(crate) warm: bool,
    /// How far TIME goes back, in units of the clock.
    pub(crate) step: u8,
    /// What can be evicted.
    pub(crate) evicts: Evicts,
    pub(crate) budget: Budget,
    /// What has to be seen happening, so that the check is not an empty one.
    pub(crate) sights: Vec<Sight>,
}

/// Something that a state can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    Hit,
    HitAfterClear,
    /// TICKET says that somebody has filled the entry meanwhile.
    Filled,
    /// A store that the server refuses, for a clear or for a tag that is too young.
    Refused,
    YoungTag,
    Shared,
    /// An expired answer that is shown once more.
    Expired,
    LocalHit,
    LocalHitAfterClear,
    /// A hit after the server came back with old data, under its new identity.
    Survived,
    Distrusted,
}

/// How often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    pub(crate) requests: u8,
    pub(crate) writes: u8,
    /// Soft clears.
    pub(crate) expires: u8,
    /// Messages that are executed twice.
    pub(crate) doubles: u8,
    /// Messages whose sender gives up; they may arrive at any time after, or never.
    pub(crate) losses: u8,
    pub(crate) evictions: u8,
    pub(crate) flushes: u8,
    /// kill -9 and a restart with the snapshot, if one was taken; else with nothing.
    pub(crate) restarts: u8,
    /// Another role that keeps the connections, with the data of the snapshot.
    pub(crate) promotions: u8,
    /// TIME goes back.
    pub(crate) steps_back: u8,
    /// Processes that die.
    pub(crate) crashes: u8,
    /// Requests that are dropped while their handler runs.
    pub(crate) cancels: u8,
    pub(crate) ticks: u8,
    /// Tracking connections that break.
    pub(crate) cuts: u8,
}

/// When a writer clears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// After the commit.
    After,
    /// Before the commit, as a hook does; settle has to heal it.
    Before,
    /// It holds the key around the commit, and may die at any moment.
    Holding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evicts {
    Anything,
    Entries,
    Tokens,
    ClockAndEntries,
}

/// TIME at the beginning, in units of the clock.
pub(crate) const NOON: u8 = 100;
/// So far apart are two ticks.
pub(crate) const TICK: u8 = 10;

impl Setup {
    /// This, with something changed.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Two processes of one build with one request at a time each, and a writer in the second that
    /// clears the key after its commit. Nothing goes wrong.
    pub(crate) fn new(requests: u8, writes: u8) -> Self {
        Self {
            settings: Settings::default(),
            builds: [0, 0],
            readers: 2,
            slots: 1,
            shares: false,
            writers: vec![1],
            style: Style::After,
            clears: [THE_KEY; 4],
            lists: [0; 4],
            local: false,
            warm: false,
            step: 2 * FAR,
            evicts: Evicts::Anything,
            budget: Budget {
                requests,
                writes,
                ..Budget::default()
            },
            sights: vec![Sight::Hit],
        }
    }

    /// What a write clears that changes a row of this version.
    pub(crate) fn cleared(&self, old: u8) -> Set {
        self.clears[usize::from(old).min(3)]
    }

    pub(crate) fn list(&self, version: u8) -> Set {
        self.lists[usize::from(version).min(3)]
    }

    /// Whether stamps can be renamed: only where TIME has no part in them.
    pub(crate) fn renames_stamps(&self) -> bool {
        let budget = &self.budget;
        budget.ticks == 0
            && budget.steps_back == 0
            && budget.restarts == 0
            && budget.promotions == 0
            && self.evicts == Evicts::Tokens
    }
}
