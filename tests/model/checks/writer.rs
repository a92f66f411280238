//! Who changes the row, and clears what was made of it.

use smart_cache_model::Set;

use crate::setup::{Setup, Style};
use crate::world::{Action, Message, World};
use smart_cache_model::Flaw;

/// A writer in one of the processes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Writer {
    pub(crate) node: u8,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Rest,
    /// The clear is on its way.
    Sent {
        version: u8,
        names: Set,
        done: bool,
        /// It was not acknowledged before: its keys are distrusted.
        failed: bool,
    },
    /// Not acknowledged, and to be repeated.
    Pending {
        version: u8,
        names: Set,
    },
    /// A hook has cleared; the commit is still to come.
    Hooked {
        until: u8,
    },
    /// It came, at this moment.
    Committed {
        version: u8,
        heals: u8,
    },
    Holding,
    HeldCommitted {
        version: u8,
    },
    /// It died under its hold, after it had committed this.
    Dead {
        version: Option<u8>,
    },
}

impl Writer {
    pub(crate) const fn new(node: u8) -> Self {
        Self {
            node,
            phase: Phase::Rest,
        }
    }

    pub(crate) const fn is_dead(&self) -> bool {
        matches!(self.phase, Phase::Dead { .. })
    }

    /// Whether its process knows of a clear that was not acknowledged.
    pub(crate) const fn is_distrusted(&self) -> bool {
        matches!(
            self.phase,
            Phase::Pending { .. } | Phase::Sent { failed: true, .. }
        )
    }

    /// The connection is lost, and with it the answer.
    pub(crate) fn lose(&mut self) {
        if let Phase::Sent { version, names, .. } = self.phase {
            self.phase = Phase::Pending { version, names };
        }
    }

    /// Its process has died: what was pending is forgotten.
    pub(crate) fn crash(&mut self) {
        self.phase = match self.phase {
            Phase::Holding => Phase::Dead { version: None },
            Phase::HeldCommitted { version } => Phase::Dead {
                version: Some(version),
            },
            Phase::Dead { .. } => self.phase,
            _ => Phase::Rest,
        };
    }
}

impl World {
    pub(crate) fn offer_writer(&self, setup: &Setup, w: usize, actions: &mut Vec<Action>) {
        let (writer, number) = (&self.writers[w], w as u8);
        let is_connected = self.nodes[usize::from(writer.node)].id.is_some();
        let mut may = |action| actions.push(action);
        match writer.phase {
            Phase::Rest if self.left.writes > 0 && is_connected => match setup.style {
                Style::Holding => may(Action::Hold(number)),
                Style::After | Style::Before => may(Action::Commit(number)),
            },
            Phase::Rest | Phase::Committed { .. } | Phase::Dead { .. } => {}
            Phase::Sent { done, .. } => {
                if !done {
                    may(Action::ExecuteClear(number));
                    if self.left.doubles > 0 {
                        may(Action::ExecuteClearAndCopy(number));
                    }
                } else if !self.turn.open {
                    may(Action::ReceiveClear(number));
                }
                if self.left.losses > 0 {
                    may(Action::GiveUpClear(number));
                }
            }
            Phase::Pending { .. } => {
                if is_connected {
                    may(Action::RepeatClear(number));
                }
            }
            Phase::Hooked { .. } => may(Action::Commit(number)),
            Phase::Holding => {
                may(Action::Commit(number));
                may(Action::Unhold(number));
                may(Action::Die(number));
            }
            Phase::HeldCommitted { .. } => {
                may(Action::Unhold(number));
                may(Action::Die(number));
            }
        }
    }

    /// What this process must neither serve nor store.
    pub(crate) fn distrusted(&self, setup: &Setup, n: usize) -> bool {
        setup.settings.flaw != Some(Flaw::ForgottenClear)
            && self
                .writers
                .iter()
                .any(|writer| usize::from(writer.node) == n && writer.is_distrusted())
    }

    pub(crate) fn commit(&mut self, setup: &Setup, w: usize) {
        let now = self.server.now;
        match self.writers[w].phase {
            Phase::Holding => {
                self.row += 1;
                self.writers[w].phase = Phase::HeldCommitted { version: self.row };
            }
            // The hook's clear is over.
            Phase::Hooked { until } => {
                if now < until {
                    self.row += 1;
                    // A handler that read the old row may store it until its lease has ended.
                    let heals = now + 2 * setup.settings.settle;
                    self.writers[w].phase = Phase::Committed {
                        version: self.row,
                        heals,
                    };
                } else {
                    // Too late for settle: this is not what it promises to heal.
                    self.writers[w].phase = Phase::Rest;
                }
            }
            _ => {
                self.left.writes -= 1;
                let names = setup.cleared(self.row);
                if setup.style == Style::After {
                    self.row += 1;
                }
                self.writers[w].phase = Phase::Sent {
                    version: self.row,
                    names,
                    done: false,
                    failed: false,
                };
                self.bump(setup, self.writers[w].node, names);
            }
        }
    }

    pub(crate) fn execute_clear(&mut self, setup: &Setup, w: usize, copies: bool) {
        let node = self.writers[w].node;
        let Phase::Sent { names, done, .. } = &mut self.writers[w].phase else {
            return;
        };
        *done = true;
        let names = *names;
        if copies {
            self.left.doubles -= 1;
            self.adrift.push(Message::Clear(node, names));
        }
        let build = self.nodes[usize::from(node)].build;
        self.server.clear(setup.settings, build, names);
        self.executed(node);
    }

    pub(crate) fn receive_clear(&mut self, setup: &Setup, w: usize) {
        let Phase::Sent { version, names, .. } = self.writers[w].phase else {
            return;
        };
        let node = self.writers[w].node;
        self.bump(setup, node, names);
        if setup.style == Style::Before {
            let until = self.server.now + setup.settings.settle;
            self.writers[w].phase = Phase::Hooked { until };
            return;
        }
        self.writers[w].phase = Phase::Rest;
        self.floor = self.floor.max(version);
        let own = &mut self.nodes[usize::from(node)].own;
        *own = (*own).max(version);
    }

    pub(crate) fn give_up_clear(&mut self, setup: &Setup, w: usize) {
        self.left.losses -= 1;
        let node = self.writers[w].node;
        if let Phase::Sent {
            version,
            names,
            done,
            ..
        } = self.writers[w].phase
        {
            if !done {
                self.adrift.push(Message::Clear(node, names));
            }
            self.writers[w].phase = Phase::Pending { version, names };
            self.bump(setup, node, names);
            // The caller was told, and its own process knows it from now on.
            let own = &mut self.nodes[usize::from(node)].own;
            *own = (*own).max(version);
        }
    }

    pub(crate) fn repeat_clear(&mut self, w: usize) {
        if let Phase::Pending { version, names } = self.writers[w].phase {
            self.writers[w].phase = Phase::Sent {
                version,
                names,
                done: false,
                failed: true,
            };
        }
    }

    pub(crate) fn hold(&mut self, w: u8) {
        self.left.writes -= 1;
        self.server.hold(w);
        self.executed(self.writers[usize::from(w)].node);
        self.writers[usize::from(w)].phase = Phase::Holding;
    }

    pub(crate) fn unhold(&mut self, setup: &Setup, w: u8) {
        self.server.unhold(setup.settings, w);
        let writer = &mut self.writers[usize::from(w)];
        if let Phase::HeldCommitted { version } = writer.phase {
            self.floor = self.floor.max(version);
        }
        writer.phase = Phase::Rest;
        let node = writer.node;
        self.executed(node);
    }

    pub(crate) fn die(&mut self, w: usize) {
        self.writers[w].crash();
    }

    /// The holds of the dead end by themselves, and what they had committed is seen from now on.
    pub(crate) fn end_holds(&mut self) {
        self.server.end_holds();
        for writer in &mut self.writers {
            if let Phase::Dead { version } = writer.phase {
                self.floor = self.floor.max(version.unwrap_or(0));
                writer.phase = Phase::Rest;
            }
        }
    }

    /// What a hook had cleared before its commit is current again once this much time is over.
    pub(crate) fn heal(&mut self) {
        let now = self.server.now;
        for writer in &mut self.writers {
            if let Phase::Committed { version, heals } = writer.phase
                && now >= heals
            {
                self.floor = self.floor.max(version);
                writer.phase = Phase::Rest;
            }
        }
    }
}
