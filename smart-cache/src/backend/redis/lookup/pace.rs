//! How many lookups go out together: half of those that wait.
//!
//! If all that wait shared one batch, this process would have nothing to do until its answer comes,
//! and the server nothing until the next question. With two batches on the way one is answered while
//! the other is asked, and both are at work.

/// A batch this small is worth its round trip to nobody, so fewer lookups stay together.
const LEAST: usize = 8;
/// The share of what is too much of an old peak that each batch forgets: one of so many.
const MEMORY: usize = 64;

/// Lookups on the way, as far as batches need to know.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// That have joined a batch and are not answered yet.
    waiting: usize,
    /// How many were waiting at most, as of late.
    most: usize,
}

impl Pace {
    /// How many lookups the next batch takes.
    pub(super) fn share(&mut self) -> usize {
        let past = self.most.saturating_sub(self.waiting);
        self.most -= past.div_ceil(MEMORY);
        (self.most / 2).max(LEAST)
    }

    pub(super) fn joined(&mut self) {
        self.waiting += 1;
        self.most = self.most.max(self.waiting);
    }

    /// So many lookups have their answer.
    pub(super) fn landed(&mut self, lookups: usize) {
        self.waiting = self.waiting.saturating_sub(lookups);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(lookups: usize) -> Pace {
        let mut pace = Pace::default();
        (0..lookups).for_each(|_| pace.joined());
        pace
    }

    #[test]
    fn a_batch_takes_half_of_those_that_wait() {
        assert_eq!(waiting(64).share(), 32);
        assert_eq!(waiting(1).share(), LEAST);
        let mut between = waiting(64);
        between.landed(32);
        // The other half is on its way; what it waits for is no reason to take less.
        assert!(between.share() > 30);
    }

    #[test]
    fn a_rush_is_forgotten_in_time() {
        let mut pace = waiting(10_000);
        pace.landed(10_000);
        let batches = (0..).find(|_| pace.share() == LEAST);
        assert!(
            batches.is_some_and(|batches| batches < 1_000),
            "{batches:?}"
        );
    }
}
