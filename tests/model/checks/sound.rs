//! What must find nothing, each over every state that its budget allows; and everything at once, which nothing
//! exhausts: random walks for `SMART_MODEL_SECONDS` (10).
//!
//! Over 400 lines: one short check after the other.

use std::time::{Duration, Instant, SystemTime};

use smart_cache_model::{FAR, Settings};
use stateright::{Checker as _, Chooser, Model as _};

use crate::setup::{ALL, Evicts, FIRST, SECOND, Setup, Sight, Style, THE_KEY, TICK};
use crate::world::{Action, World};

fn exhaust(setup: Setup) {
    let began = Instant::now();
    let checker = setup.checker().spawn_dfs().join();
    println!(
        "{} states, all of them, in {:.1?}",
        checker.unique_state_count(),
        began.elapsed()
    );
    checker.assert_properties();
}

pub(crate) fn plain() -> Setup {
    Setup::new(3, 2).with(|check| {
        check.sights = vec![
            Sight::Hit,
            Sight::HitAfterClear,
            Sight::Filled,
            Sight::Refused,
        ];
    })
}

#[test]
fn readers_and_a_writer() {
    exhaust(plain());
}

#[test]
fn a_writer_who_clears_everything() {
    exhaust(Setup::new(3, 2).with(|check| {
        check.clears = [ALL; 4];
        check.sights = vec![Sight::HitAfterClear, Sight::Refused];
    }));
}

pub(crate) fn messages() -> Setup {
    Setup::new(3, 1).with(|check| {
        check.budget.doubles = 1;
        check.budget.losses = 1;
        check.sights = vec![Sight::HitAfterClear, Sight::Refused, Sight::Distrusted];
    })
}

#[test]
fn messages_that_are_late_lost_or_doubled() {
    exhaust(messages());
}

#[test]
fn anything_is_evicted() {
    exhaust(Setup::new(3, 1).with(|check| check.budget.evictions = 2));
}

#[test]
fn everything_is_flushed() {
    exhaust(Setup::new(3, 2).with(|check| check.budget.flushes = 1));
}

#[test]
fn processes_die_and_requests_are_dropped() {
    exhaust(Setup::new(3, 1).with(|check| {
        check.budget.crashes = 1;
        check.budget.cancels = 1;
        check.budget.losses = 1;
    }));
}

pub(crate) fn rollback() -> Setup {
    Setup::new(3, 1).with(|check| {
        check.budget.restarts = 1;
        check.sights = vec![Sight::Hit, Sight::Survived];
    })
}

#[test]
fn the_server_restarts_with_old_data() {
    exhaust(rollback());
}

#[test]
fn the_role_changes_and_connections_stay() {
    exhaust(Setup::new(3, 1).with(|check| {
        check.budget.promotions = 1;
        check.sights = vec![Sight::Hit, Sight::Survived];
    }));
}

pub(crate) fn found_tags() -> Setup {
    Setup::new(3, 1).with(|check| {
        check.warm = true;
        check.clears = [FIRST; 4];
        check.lists = [FIRST; 4];
        check.evicts = Evicts::Tokens;
        check.budget.evictions = 1;
        check.sights = vec![Sight::HitAfterClear, Sight::Refused, Sight::YoungTag];
    })
}

#[test]
fn tags_that_a_handler_finds() {
    exhaust(found_tags());
}

pub(crate) fn changing_tags() -> Setup {
    Setup::new(3, 3).with(|check| {
        check.warm = true;
        check.lists = [FIRST | SECOND, FIRST, SECOND, SECOND];
        check.clears = [THE_KEY, THE_KEY, SECOND, SECOND];
        check.sights = vec![Sight::HitAfterClear, Sight::Refused];
    })
}

#[test]
fn tags_that_are_others_each_time() {
    exhaust(changing_tags());
}

pub(crate) fn clock() -> Setup {
    Setup::new(3, 1).with(|check| {
        check.warm = true;
        check.clears = [FIRST; 4];
        check.lists = [FIRST; 4];
        check.evicts = Evicts::ClockAndEntries;
        check.budget.evictions = 2;
        check.budget.steps_back = 1;
        check.sights = vec![Sight::HitAfterClear];
    })
}

#[test]
fn time_steps_back_a_little() {
    exhaust(clock().with(|check| {
        check.step = FAR / 2;
        check.evicts = Evicts::Entries;
        check.budget.evictions = 1;
    }));
}

#[test]
fn the_clock_is_lost_and_time_steps_back() {
    exhaust(clock());
}

pub(crate) fn builds() -> Setup {
    Setup::new(4, 2).with(|check| check.builds = [0, 1])
}

#[test]
fn two_builds_share_their_clears() {
    exhaust(builds());
}

pub(crate) fn flights() -> Setup {
    Setup::new(3, 1).with(|check| {
        check.slots = 2;
        check.shares = true;
        check.sights = vec![Sight::Shared, Sight::Refused];
    })
}

#[test]
fn requests_that_share_flights_and_tickets() {
    exhaust(flights());
}

pub(crate) fn tagged_flights() -> Setup {
    Setup::new(3, 2).with(|check| {
        check.warm = true;
        check.readers = 1;
        check.slots = 2;
        check.clears = [FIRST; 4];
        check.lists = [FIRST; 4];
        check.sights = vec![Sight::Shared, Sight::HitAfterClear];
    })
}

#[test]
fn flights_whose_answers_depend_on_found_tags() {
    exhaust(tagged_flights());
}

pub(crate) fn expired() -> Setup {
    Setup::new(3, 1).with(|check| {
        check.budget.expires = 1;
        check.budget.doubles = 1;
        check.sights = vec![Sight::Expired, Sight::HitAfterClear];
    })
}

#[test]
fn soft_clears() {
    exhaust(expired());
}

pub(crate) fn local() -> Setup {
    Setup::new(2, 1).with(|check| {
        check.local = true;
        check.readers = 1;
        check.warm = true;
        check.budget.ticks = 1;
        check.budget.cuts = 1;
        check.sights = vec![Sight::LocalHit, Sight::LocalHitAfterClear];
    })
}

#[test]
fn the_local_tier() {
    exhaust(local());
}

#[test]
fn the_local_tier_when_the_server_restarts_with_old_data() {
    exhaust(local().with(|check| {
        check.budget.cuts = 0;
        check.budget.restarts = 1;
        check.sights.push(Sight::Survived);
    }));
}

#[test]
fn the_local_tier_when_everything_is_flushed() {
    exhaust(local().with(|check| check.budget.flushes = 1));
}

#[test]
fn the_local_tier_of_a_process_that_clears() {
    exhaust(local().with(|check| check.writers = vec![0]));
}

pub(crate) fn local_tags() -> Setup {
    local().with(|check| {
        check.clears = [FIRST; 4];
        check.lists = [FIRST; 4];
    })
}

#[test]
fn the_local_tier_and_found_tags() {
    exhaust(local_tags());
}

pub(crate) fn local_turns() -> Setup {
    Setup::new(2, 1).with(|check| {
        check.local = true;
        check.readers = 1;
        check.warm = true;
        check.slots = 2;
        check.evicts = Evicts::Entries;
        check.budget.evictions = 1;
        check.budget.ticks = 1;
        check.sights = vec![Sight::LocalHit];
    })
}

#[test]
fn the_local_tier_and_what_the_server_does_in_one_turn() {
    exhaust(local_turns());
}

pub(crate) fn settle() -> Setup {
    Setup::new(2, 1).with(|check| {
        check.style = Style::Before;
        check.settings = Settings {
            settle: 2 * TICK,
            flaw: None,
        };
        check.budget.ticks = 4;
        check.budget.doubles = 1;
        check.sights = vec![Sight::Hit];
    })
}

#[test]
fn a_hook_that_clears_before_the_commit() {
    exhaust(settle());
}

pub(crate) fn holds() -> Setup {
    Setup::new(3, 2).with(|check| {
        check.style = Style::Holding;
        check.writers = vec![1, 1];
        check.sights = vec![Sight::HitAfterClear];
    })
}

#[test]
fn two_writers_who_hold_and_die() {
    exhaust(holds());
}

/// The mark of a hold goes, by a plain clear or an eviction, while the write is open.
pub(crate) fn lost_marks() -> Setup {
    holds().with(|check| {
        check.evicts = Evicts::Tokens;
        check.budget.evictions = 1;
    })
}

#[test]
fn two_writers_whose_marks_are_lost() {
    exhaust(lost_marks());
}

/// More than anything exhausts, so it is sampled for a while; everything that may be seen has to be, or the walks
/// lead nowhere.
#[test]
fn everything_at_once() {
    let seconds = std::env::var("SMART_MODEL_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(10);
    let setup = Setup::new(8, 4).with(|check| {
        check.slots = 2;
        check.shares = true;
        check.builds = [0, 1];
        check.writers = vec![0, 1];
        check.local = true;
        check.warm = true;
        check.lists = [FIRST, FIRST | SECOND, SECOND, FIRST];
        check.clears = [FIRST, FIRST | SECOND, THE_KEY, ALL];
        let budget = &mut check.budget;
        (budget.doubles, budget.losses, budget.evictions) = (2, 2, 2);
        (budget.flushes, budget.restarts, budget.steps_back) = (1, 1, 1);
        (budget.crashes, budget.cancels, budget.expires) = (1, 1, 2);
        (budget.ticks, budget.cuts) = (3, 1);
        check.sights = vec![
            Sight::HitAfterClear,
            Sight::Refused,
            Sight::YoungTag,
            Sight::Shared,
            Sight::Expired,
            Sight::LocalHitAfterClear,
            Sight::Survived,
            Sight::Distrusted,
        ];
    });
    let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let sights = setup.sights.clone();
    let checker = setup
        .checker()
        .threads(2)
        .timeout(Duration::from_secs(seconds))
        .spawn_simulation(began.map_or(1, |since| since.as_secs()), MostlyCalm)
        .join();
    println!("{} states, a sample", checker.state_count());
    if let Some(way) = checker.discovery(crate::world::NOTHING_STALE) {
        panic!("{:#?}", way.into_actions());
    }
    let seen = checker.discoveries();
    let unseen = sights.iter();
    let unseen: Vec<_> = unseen
        .filter(|sight| !seen.contains_key(sight.name()))
        .collect();
    assert!(unseen.is_empty(), "never seen: {unseen:?}");
}

/// Walks at random, but takes an accident once in a while only: otherwise all of them would be over
/// before anything was cached.
#[derive(Clone)]
struct MostlyCalm;

impl Chooser<Setup> for MostlyCalm {
    type State = u64;

    fn new_state(&self, seed: u64) -> u64 {
        seed
    }

    fn choose_initial_state(&self, _: &mut u64, _: &[World]) -> usize {
        0
    }

    fn choose_action(&self, state: &mut u64, _: &World, actions: &[Action]) -> usize {
        let weights = actions
            .iter()
            .map(|action| if action.is_accident() { 1 } else { 60 });
        let all: u64 = weights.clone().sum();
        // SplitMix64.
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let mut place = (mixed ^ (mixed >> 31)) % all.max(1);
        for (number, weight) in weights.enumerate() {
            if place < weight {
                return number;
            }
            place -= weight;
        }
        0
    }
}
