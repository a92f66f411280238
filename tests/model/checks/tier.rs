//! The memory of a process, and the connection that keeps it honest: `local/`, `tracking.rs`.
//!
//! A counter only ever grows, so all that matters of a sample is whether one of its counters has
//! moved since: that is what a sample is here.

use std::collections::VecDeque;

use smart_cache_model::{Flaw, NAMESPACE, Set};

use crate::node::Phase;
use crate::setup::Setup;
use crate::world::{Turn, World};

/// L, in ticks.
const L: u8 = 1;

/// The first process's memory, and what it hears.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Tier {
    held: Option<(u8, Sample)>,
    /// The tick until which what was heard is complete; `None` while nothing is.
    until: Option<u8>,
    /// The server pushes to this connection.
    tracked: bool,
    /// The connection is broken, and this process does not know it yet.
    broken: bool,
    /// What the server has said on it, in order.
    queue: VecDeque<Said>,
    /// A PING that the server has not executed yet, and when it was sent.
    ping: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Said {
    /// Tracking is on; when it was asked for.
    Ok(u8),
    Changed(Set),
    Pong(u8),
}

/// What was known before a question was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Sample {
    names: Set,
    moved: bool,
}

impl Sample {
    pub(crate) const fn of(names: Set) -> Self {
        Self {
            names,
            moved: false,
        }
    }

    pub(crate) const fn extend(&mut self, names: Set) {
        self.names |= names;
    }

    const fn bump(&mut self, names: Set) {
        self.moved |= self.names & names != 0;
    }
}

impl Tier {
    pub(crate) fn version(&self) -> u8 {
        self.held.map_or(0, |(version, _)| version)
    }

    pub(crate) fn lose_link(&mut self) {
        self.broken |= self.tracked;
        self.tracked = false;
        self.ping = None;
    }
}

impl World {
    fn tier(&mut self) -> &mut Tier {
        &mut self.nodes[0].tier
    }

    fn hears(&self, setup: &Setup) -> bool {
        let until = self.nodes[0].tier.until;
        until.is_some_and(|until| {
            self.tick < until || setup.settings.flaw == Some(Flaw::NoHeartbeat)
        })
    }

    pub(crate) fn serves_locally(&self, setup: &Setup) -> bool {
        let held = self.nodes[0].tier.held;
        self.hears(setup) && held.is_some_and(|(_, sample)| !sample.moved)
    }

    /// What an answer from memory must be as new as: what was cleared a whole L ago, and what this
    /// process itself has cleared.
    pub(crate) fn local_floor(&self, _: &Setup) -> u8 {
        let then = self.tick.checked_sub(L);
        let then = then.map_or(0, |tick| self.floors[usize::from(tick)]);
        then.max(self.nodes[0].own)
    }

    pub(crate) fn keep_locally(&mut self, setup: &Setup, version: u8, sample: Sample) {
        if self.hears(setup) && !sample.moved {
            self.tier().held = Some((version, sample));
        }
    }

    /// Counters move: what was read before this is not believed any more.
    pub(crate) fn bump(&mut self, setup: &Setup, node: u8, names: Set) {
        if node != 0 || !setup.local {
            return;
        }
        // The namespace's own token ends the generation.
        let names = if names & (1 << NAMESPACE) != 0 {
            Set::MAX
        } else {
            names
        };
        let node = &mut self.nodes[0];
        if let Some((_, sample)) = &mut node.tier.held {
            sample.bump(names);
        }
        for slot in &mut node.slots {
            if let Phase::Look { sample, .. } | Phase::LookAtTags { sample, .. } = &mut slot.phase {
                sample.bump(names);
            }
        }
        // It could not be served again.
        if node.tier.held.is_some_and(|(_, sample)| sample.moved) {
            node.tier.held = None;
        }
    }

    pub(crate) fn offer_tier(&self, setup: &Setup, actions: &mut Vec<crate::world::Action>) {
        use crate::world::Action;
        let (node, left) = (&self.nodes[0], &self.left);
        let tier = &node.tier;
        if self.turn != Turn::default() {
            actions.push(Action::EndTurn);
        }
        if tier.broken {
            actions.push(Action::NoticeCut);
        } else if !tier.tracked {
            if node.id == Some(self.server.id) {
                actions.push(Action::Track);
            }
        } else {
            if left.cuts > 0 {
                actions.push(Action::Cut);
            }
            let has_time = setup.budget.ticks > 0;
            let is_asking =
                tier.ping.is_some() || tier.queue.iter().any(|said| matches!(said, Said::Pong(_)));
            if has_time && tier.until.is_some() && !is_asking {
                actions.push(Action::Ping);
            }
            if tier.ping.is_some() {
                actions.push(Action::Pong);
            }
        }
        if !tier.queue.is_empty() && !self.turn.open {
            actions.push(Action::Hear);
        }
    }

    /// The server comes to the end of a turn: it pushes, and answers leave.
    pub(crate) fn end_turn(&mut self, setup: &Setup) {
        let turn = std::mem::take(&mut self.turn);
        let names = if setup.settings.flaw == Some(Flaw::Noloop) {
            turn.changed & !turn.own
        } else {
            turn.changed
        };
        if names != 0 && self.tier().tracked {
            self.tier().queue.push_back(Said::Changed(names));
        }
    }

    pub(crate) fn track(&mut self) {
        let tick = self.tick;
        let tier = self.tier();
        tier.tracked = true;
        tier.queue.clear();
        tier.queue.push_back(Said::Ok(tick));
        self.turn.open = true;
    }

    pub(crate) fn ping(&mut self) {
        let tick = self.tick;
        self.tier().ping = Some(tick);
    }

    /// The server executes the PING.
    pub(crate) fn pong(&mut self) {
        if let Some(sent) = self.tier().ping.take() {
            self.tier().queue.push_back(Said::Pong(sent));
            self.turn.open = true;
        }
    }

    pub(crate) fn hear(&mut self, setup: &Setup) {
        match self.tier().queue.pop_front() {
            Some(Said::Ok(asked)) => {
                self.new_generation(setup);
                self.tier().until = Some(asked + L);
            }
            Some(Said::Changed(names)) => self.bump(setup, 0, names),
            Some(Said::Pong(sent)) => {
                let tier = self.tier();
                tier.until = tier.until.map(|until| until.max(sent + L));
            }
            None => {}
        }
    }

    fn new_generation(&mut self, setup: &Setup) {
        if setup.settings.flaw != Some(Flaw::NoGeneration) {
            self.bump(setup, 0, Set::MAX);
        }
    }

    /// The connection breaks; what was on its way may still arrive.
    pub(crate) fn cut(&mut self) {
        self.left.cuts -= 1;
        self.tier().lose_link();
    }

    pub(crate) fn notice_cut(&mut self, setup: &Setup) {
        let tier = self.tier();
        tier.broken = false;
        tier.until = None;
        tier.queue.clear();
        self.new_generation(setup);
    }
}
