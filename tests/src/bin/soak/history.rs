//! What an answer must be as new as, and what happened lately.
//!
//! For each row: the versions whose clear was acknowledged, and when. An answer to a request that
//! began at *t* shows a version that is at least
//! - the newest that had been acknowledged before *t*, anywhere, where no memory is in between;
//! - the newest that had been acknowledged before *t - L*, where the process may answer from its own;
//! - in any case the newest that this very process had cleared before *t*, acknowledged or not.
//!
//! The times are those of the processes that cleared, by the one clock of the machine.

use std::collections::HashMap;

use super::STALENESS;
use super::rows::Row;

/// Acknowledgements of a row that are told apart; older ones only count for their version.
const REMEMBERED: usize = 256;

/// A process, and which of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Life {
    pub(crate) node: usize,
    pub(crate) number: u64,
}

/// Everything that was cleared.
#[derive(Debug, Default)]
pub(crate) struct History {
    rows: HashMap<Row, Vec<Cleared>>,
    /// What each process has cleared itself, and did not have acknowledged.
    failed: HashMap<(Row, Life), Vec<Cleared>>,
    /// When connections were kept through a role change: until the next heartbeats nothing is
    /// promised.
    excepted: Vec<(u64, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Cleared {
    version: u64,
    at: u64,
    life: Life,
}

/// How an answer that was read stands to what had been cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing newer had been cleared.
    Current,
    /// Something newer had been cleared elsewhere, so many microseconds before.
    Late(u64),
    /// Nothing is promised at this moment.
    Excepted,
    /// It must have been at least this version.
    Stale(u64),
}

impl History {
    /// A clear was acknowledged.
    pub(crate) fn acknowledged(&mut self, row: Row, version: u64, at: u64, life: Life) {
        let all = self.rows.entry(row).or_default();
        all.push(Cleared { version, at, life });
        if all.len() > 2 * REMEMBERED {
            let newest = all.iter().map(|cleared| cleared.version).max();
            all.retain(|cleared| Some(cleared.version + REMEMBERED as u64) >= newest);
        }
    }

    /// A clear was not: its own process knows of it.
    pub(crate) fn failed(&mut self, row: Row, version: u64, at: u64, life: Life) {
        let all = self.failed.entry((row, life)).or_default();
        all.retain(|cleared| cleared.version > version);
        all.push(Cleared { version, at, life });
    }

    /// Connections are kept through a role change from now on, until so much later.
    pub(crate) fn except(&mut self, from: u64, until: u64) {
        self.excepted.push((from, until));
    }

    /// The exception that began then has an end.
    pub(crate) fn end_exception(&mut self, began: u64, until: u64) {
        for (from, to) in &mut self.excepted {
            if *from == began {
                *to = until;
            }
        }
    }

    /// The newest version that had been cleared before `at`.
    pub(crate) fn floor(&self, row: Row, at: u64) -> u64 {
        let cleared = self.rows.get(&row).into_iter().flatten();
        let cleared = cleared.filter(|cleared| cleared.at < at);
        cleared.map(|cleared| cleared.version).max().unwrap_or(0)
    }

    /// Judges an answer of this process to a request that began and ended at these times.
    pub(crate) fn judge(
        &self,
        row: Row,
        version: u64,
        life: Life,
        (began, ended): (u64, u64),
        has_memory: bool,
    ) -> Verdict {
        let strict = self.floor(row, began);
        let own = self.own(row, life, began);
        if version >= strict.max(own) {
            return Verdict::Current;
        }
        let mut excepted = self.excepted.iter();
        if excepted.any(|(from, until)| began <= *until && ended >= *from) {
            return Verdict::Excepted;
        }
        let least = if has_memory {
            self.floor(row, began.saturating_sub(STALENESS.as_micros() as u64))
        } else {
            strict
        };
        let least = least.max(own);
        if version < least {
            return Verdict::Stale(least);
        }
        let cleared = self.rows.get(&row).into_iter().flatten();
        let newer = cleared.filter(|cleared| cleared.version > version && cleared.at < began);
        let first = newer.map(|cleared| cleared.at).min().unwrap_or(began);
        Verdict::Late(began - first)
    }

    fn own(&self, row: Row, life: Life, at: u64) -> u64 {
        let cleared = self.rows.get(&row).into_iter().flatten();
        let cleared = cleared.filter(|cleared| cleared.life == life);
        let failed = self.failed.get(&(row, life)).into_iter().flatten();
        let all = cleared.chain(failed).filter(|cleared| cleared.at < at);
        all.map(|cleared| cleared.version).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: Row = Row::Page(1);
    const L: u64 = STALENESS.as_micros() as u64;

    fn life(node: usize) -> Life {
        Life { node, number: 0 }
    }

    #[test]
    fn what_was_cleared_before_an_answer_began_is_not_shown_by_it() {
        let mut history = History::default();
        history.acknowledged(ROW, 3, 100, life(0));
        let judge = |version, node, began, memory| {
            history.judge(ROW, version, life(node), (began, began + 5), memory)
        };
        assert_eq!(judge(2, 1, 100, false), Verdict::Current);
        assert_eq!(judge(2, 1, 101, false), Verdict::Stale(3));
        assert_eq!(judge(3, 1, 101, false), Verdict::Current);
        assert_eq!(judge(2, 1, 101, true), Verdict::Late(1));
        assert_eq!(judge(2, 1, 101 + L, true), Verdict::Stale(3));
        assert_eq!(judge(2, 0, 101, true), Verdict::Stale(3), "its own clear");
    }

    #[test]
    fn a_clear_that_failed_counts_for_its_own_process_alone() {
        let mut history = History::default();
        history.failed(ROW, 3, 100, life(0));
        let judge = |node| history.judge(ROW, 2, life(node), (200, 201), false);
        assert_eq!(judge(0), Verdict::Stale(3));
        assert_eq!(judge(1), Verdict::Current);
    }

    #[test]
    fn a_role_change_that_keeps_connections_is_excepted_while_it_lasts() {
        let mut history = History::default();
        history.acknowledged(ROW, 3, 100, life(0));
        history.except(150, 250);
        let judge = |began, ended| history.judge(ROW, 2, life(1), (began, ended), false);
        assert_eq!(judge(120, 160), Verdict::Excepted);
        assert_eq!(judge(250, 300), Verdict::Excepted);
        assert_eq!(judge(251, 300), Verdict::Stale(3));
    }
}
