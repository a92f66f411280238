//! In how many partitions a namespace is spread, as noted beside its tokens.
//!
//! Two processes may be told different numbers: before and after a deployment, say. Then each spreads its
//! own entries over its own partitions, and every clear of either reaches the partitions of both. For
//! that, who spreads over more than one notes its number *before* it takes a ticket in any of them, and
//! a clear reads what is noted *after* it has been asked for: who notes a number later than that takes
//! its tickets later still, and its handlers read what was written before the clear.
//!
//! The record may be lost: evicted, flushed, or gone with a server. Who finds its number missing notes it
//! as new, makes the partitions cold that clears did not reach meanwhile, and only then notes it for
//! good. So a loss costs a cold start; until it is noticed (a heartbeat) a clear of a process that never
//! knew of the number does not reach them.

use std::sync::Arc;
use std::time::Instant;

use redis::Value;

use crate::backend::redis::up::Up;
use crate::backend::redis::{Shared, asking, scripts};
use crate::config::PARTITIONS;
use crate::error::BackendError;

/// Begins a number that is noted, and whose partitions are not proved cold yet.
const NEW: &str = "new:";

/// What is noted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in crate::backend::redis) struct Noted {
    /// Numbers whose partitions every clear has reached since.
    proved: Vec<u32>,
    /// Numbers whose partitions clears reach from now on.
    new: Vec<u32>,
}

impl Noted {
    pub(super) fn parse(text: &str) -> Self {
        let mut noted = Self::default();
        for word in text.split_whitespace() {
            let (list, number) = match word.strip_prefix(NEW) {
                Some(number) => (&mut noted.new, number),
                None => (&mut noted.proved, word),
            };
            list.extend(
                number
                    .parse()
                    .ok()
                    .filter(|number| PARTITIONS.contains(number)),
            );
        }
        noted
    }

    /// How many partitions a clear has to reach.
    pub(in crate::backend::redis) fn reach(&self) -> u32 {
        let all = self.proved.iter().chain(&self.new);
        all.copied().max().unwrap_or(1)
    }

    /// How many partitions every clear has reached.
    pub(super) fn reached(&self) -> u32 {
        self.proved.iter().copied().max().unwrap_or(1)
    }

    pub(super) fn is_proved(&self, number: u32) -> bool {
        self.proved.contains(&number)
    }

    pub(super) fn is_new(&self, number: u32) -> bool {
        self.new.contains(&number)
    }

    /// All numbers, for people.
    pub(in crate::backend::redis) fn numbers(&self) -> Vec<u32> {
        let mut all = [&self.proved[..], &self.new[..]].concat();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// What is noted now; `up` leads to the first partition.
pub(in crate::backend::redis) async fn read(
    shared: &Shared,
    up: &Arc<Up>,
    deadline: Instant,
) -> Result<Noted, BackendError> {
    let mut get = redis::cmd("GET");
    get.arg(shared.names.partitions());
    match asking::call(shared, up, &get, deadline).await {
        Ok(Value::BulkString(text)) => Ok(Noted::parse(&String::from_utf8_lossy(&text))),
        Ok(_) => Ok(Noted::default()),
        // Something else stands there, so nobody has noted anything.
        Err(BackendError::Refused(why)) if why.starts_with("WRONGTYPE") => Ok(Noted::default()),
        Err(why) => Err(why),
    }
}

/// Notes a number as new.
pub(super) async fn note_new(shared: &Shared, up: &Up, number: u32) -> Result<(), BackendError> {
    note(shared, up, &format!("{NEW}{number}"), "").await
}

/// Notes a number for good.
pub(super) async fn note_proved(shared: &Shared, up: &Up, number: u32) -> Result<(), BackendError> {
    note(shared, up, &number.to_string(), &format!("{NEW}{number}")).await
}

async fn note(shared: &Shared, up: &Up, add: &str, remove: &str) -> Result<(), BackendError> {
    let mut call = scripts::PARTITIONS.prepare_invoke();
    call.key(shared.names.partitions()).arg(add).arg(remove);
    up.script(&call, up.deadline()).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_tells_how_far_clears_must_reach_and_how_far_they_have_reached() {
        let noted = Noted::parse("2 new:8 4");
        assert_eq!((noted.reach(), noted.reached()), (8, 4));
        assert!(noted.is_proved(2) && noted.is_proved(4) && !noted.is_proved(8));
        assert_eq!(noted.numbers(), [2, 4, 8]);
    }

    #[test]
    fn nothing_and_nonsense_are_one_partition() {
        for text in ["", "x", "0", "-1", "new:", "99999999999", "257"] {
            let noted = Noted::parse(text);
            assert_eq!((noted.reach(), noted.reached()), (1, 1), "{text}");
        }
    }
}
