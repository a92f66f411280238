//! A process on the road of a request: `serve.rs`, `protocol/turn.rs`, `protocol/flight.rs`.
//!
//! Over 400 lines: the steps of one request are one machine, and read best from top to bottom.

use smart_cache_model::{
    AdoptCall, Digest, Entry, Flaw, Found, KEY, Lease, NAMESPACE, Number, Set, StoreCall,
    TicketAnswer, TicketCall, Token, Verdict,
};

use crate::setup::Setup;
use crate::tier::{Sample, Tier};
use crate::world::{Action, Message, World};

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) build: u8,
    /// The server as this process knows it; `None` without a connection.
    pub(crate) id: Option<u8>,
    pub(crate) slots: [Slot; 2],
    flights: [Flight; 2],
    /// The greatest version that this process itself has cleared, acknowledged or not.
    pub(crate) own: u8,
    pub(crate) tier: Tier,
}

/// One request at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    pub(crate) phase: Phase,
    /// What had been cleared when its request began.
    floor: u8,
    /// Lookups of this request so far.
    looks: u8,
    /// The promise excepts one thing: what was asked over a connection that was kept through a role
    /// change, until its next heartbeat.
    excepted: bool,
    /// It was answered with something older.
    pub(crate) wrong: bool,
}

/// Who answers for several requests that ask for the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Flight {
    Free,
    /// Whoever has seen these tokens joins.
    Open(Digest),
    /// Nobody joins any more; those who have, wait.
    Closed,
    /// The store was executed, and its outcome is on its way; joined by whoever still may.
    Landing {
        open: Option<Digest>,
        version: Option<u8>,
    },
}

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Rest(Rest),
    /// The first question of a lookup.
    Look {
        sample: Sample,
        found: Option<Found>,
    },
    /// The second one, for the tokens of tags.
    LookAtTags {
        sample: Sample,
        digest: Digest,
        entry: Entry,
        found: Option<Verdict>,
    },
    Ticket {
        call: TicketCall,
        seat: Option<u8>,
        sharing: Sharing,
        /// It has met another incarnation once already.
        adopted: bool,
        answer: Option<TicketAnswer>,
    },
    /// Its question is the one that the other slot has asked.
    Joined,
    Adopt {
        call: AdoptCall,
        list: Set,
        seat: Option<u8>,
        sharing: Sharing,
        done: bool,
    },
    /// It follows.
    Wait {
        flight: u8,
    },
    /// It runs the handler.
    Run {
        lease: Lease,
        seat: Option<u8>,
    },
    /// It has read the row, and its answer is about to leave.
    Done {
        call: StoreCall,
        seat: Option<u8>,
    },
}

/// Whether a ticket is for one request, or for all of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Sharing {
    Alone,
    /// Not sent yet: others can join.
    Open,
    Sent,
}

/// How the last request of a slot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rest {
    New,
    /// With its own handler's answer.
    Ran,
    /// From the cache.
    Answered(How),
    /// From the cache, with an answer that was expired and is now to be made anew.
    Shown {
        digest: Digest,
        list: Set,
    },
}

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum How {
    Lookup,
    Ticket,
    Flight,
    Memory,
    Expired,
}

/// A lookup is sent back this often, then the handler runs.
const MOST_LOOKS: u8 = 2;

impl Node {
    pub(crate) fn new(build: u8) -> Self {
        let slot = Slot {
            phase: Phase::Rest(Rest::New),
            floor: 0,
            looks: 0,
            excepted: false,
            wrong: false,
        };
        Self {
            build,
            id: None,
            slots: [slot.clone(), slot],
            flights: [Flight::Free; 2],
            own: 0,
            tier: Tier::default(),
        }
    }

    pub(crate) fn visit(&mut self, visit: &mut impl FnMut(Number<'_>)) {
        for slot in &mut self.slots {
            slot.phase.visit(visit);
        }
        for flight in &mut self.flights {
            if let Flight::Open(digest)
            | Flight::Landing {
                open: Some(digest), ..
            } = flight
            {
                visit_all(digest, visit);
            }
        }
    }
}

fn visit_all(tokens: &mut [Token], visit: &mut impl FnMut(Number<'_>)) {
    for token in tokens {
        token.visit(visit);
    }
}

impl Phase {
    fn visit(&mut self, visit: &mut impl FnMut(Number<'_>)) {
        let of_verdict = |verdict: &mut Verdict, visit: &mut _| match verdict {
            Verdict::Held | Verdict::Hit { .. } => {}
            Verdict::Miss { digest, .. } => {
                if let Some(digest) = digest {
                    visit_all(digest, visit);
                }
            }
            Verdict::Tagged { digest, entry } => {
                visit_all(digest, visit);
                entry.visit(visit);
            }
            Verdict::Stale { digest, .. } => visit_all(digest, visit),
        };
        match self {
            Self::Rest(Rest::Shown { digest, .. }) => visit_all(digest, visit),
            Self::Look {
                found: Some(found), ..
            } => of_verdict(&mut found.verdict, visit),
            Self::LookAtTags {
                digest,
                entry,
                found,
                ..
            } => {
                visit_all(digest, visit);
                entry.visit(visit);
                if let Some(found) = found {
                    of_verdict(found, visit);
                }
            }
            Self::Ticket { call, answer, .. } => {
                visit(Number::Nonce(&mut call.nonce));
                match answer {
                    Some(TicketAnswer::Lead(lease)) => lease.visit(visit),
                    Some(TicketAnswer::Busy(digest)) => visit_all(digest, visit),
                    Some(TicketAnswer::Other(token)) => token.visit(visit),
                    Some(TicketAnswer::Filled(_) | TicketAnswer::Held) | None => {}
                }
            }
            Self::Adopt { call, .. } => {
                call.seen.visit(visit);
                visit(Number::Nonce(&mut call.nonce));
            }
            Self::Run { lease, .. } => lease.visit(visit),
            Self::Done { call, .. } => {
                call.lease.visit(visit);
                visit(Number::Nonce(&mut call.nonce));
            }
            Self::Rest(_) | Self::Look { .. } | Self::Joined | Self::Wait { .. } => {}
        }
    }
}

impl World {
    pub(crate) fn offer_node(&self, setup: &Setup, n: usize, actions: &mut Vec<Action>) {
        let (node, left) = (&self.nodes[n], &self.left);
        if node.id != Some(self.server.id) {
            actions.push(Action::Identify(n as u8));
        }
        if left.crashes > 0 {
            actions.push(Action::Crash(n as u8));
        }
        for (f, flight) in node.flights.iter().enumerate() {
            if matches!(flight, Flight::Landing { .. }) {
                actions.push(Action::Land(n as u8, f as u8));
            }
        }
        for (s, slot) in node.slots.iter().enumerate().take(setup.slots) {
            let (n8, s8) = (n as u8, s as u8);
            let mut may = |action| actions.push(action);
            let mut awaits = |done: bool, copies: bool| {
                if !done {
                    may(Action::Execute(n8, s8));
                    if copies && left.doubles > 0 {
                        may(Action::ExecuteAndCopy(n8, s8));
                    }
                } else if !self.turn.open {
                    may(Action::Receive(n8, s8));
                }
                if left.losses > 0 {
                    may(Action::GiveUp(n8, s8));
                }
            };
            match slot.phase {
                Phase::Rest(rest) => {
                    if matches!(rest, Rest::Shown { .. }) && node.id.is_some() {
                        may(Action::Refresh(n8, s8));
                    }
                    let may_begin =
                        n < setup.readers && node.id.is_some() && !self.distrusted(setup, n);
                    if n == 0 && setup.local && may_begin && self.serves_locally(setup) {
                        if rest != Rest::Answered(How::Memory) {
                            may(Action::BeginLocally(n8, s8));
                        }
                    } else if may_begin && left.requests > 0 {
                        may(Action::Begin(n8, s8));
                    }
                }
                Phase::Look { found, .. } => awaits(found.is_some(), false),
                Phase::LookAtTags { found, .. } => awaits(found.is_some(), false),
                Phase::Ticket {
                    sharing: Sharing::Open,
                    ..
                }
                | Phase::Done { .. } => may(Action::Send(n8, s8)),
                Phase::Ticket { answer, .. } => awaits(answer.is_some(), true),
                Phase::Adopt { done, .. } => awaits(done, true),
                Phase::Joined | Phase::Wait { .. } => {}
                Phase::Run { .. } => {
                    may(Action::Handle(n8, s8));
                    if left.cancels > 0 {
                        may(Action::Cancel(n8, s8));
                    }
                }
            }
        }
    }

    fn slot(&mut self, n: usize, s: usize) -> &mut Slot {
        &mut self.nodes[n].slots[s]
    }

    fn phase(&mut self, n: usize, s: usize, phase: Phase) {
        self.slot(n, s).phase = phase;
    }

    fn flaw(setup: &Setup, flaw: Flaw) -> bool {
        setup.settings.flaw == Some(flaw)
    }

    pub(crate) fn begin(&mut self, setup: &Setup, n: usize, s: usize) {
        self.left.requests -= 1;
        let floor = self.floor.max(self.nodes[n].own);
        let slot = self.slot(n, s);
        (slot.floor, slot.looks, slot.excepted) = (floor, 0, false);
        if Self::flaw(setup, Flaw::EarlyJoin) {
            let mut flights = self.nodes[n].flights.iter();
            let is_open = |flight: &Flight| matches!(flight, Flight::Open(_));
            if let Some(flight) = flights.position(is_open) {
                self.phase(
                    n,
                    s,
                    Phase::Wait {
                        flight: flight as u8,
                    },
                );
                return;
            }
        }
        self.look(n, s);
    }

    pub(crate) fn begin_locally(&mut self, setup: &Setup, n: usize, s: usize) {
        let (version, floor) = (self.nodes[n].tier.version(), self.local_floor(setup));
        self.slot(n, s).floor = floor;
        self.answer(n, s, version, How::Memory);
    }

    /// Sends the first question.
    fn look(&mut self, n: usize, s: usize) {
        let slot = self.slot(n, s);
        slot.looks += 1;
        slot.phase = if slot.looks > MOST_LOOKS {
            Phase::Rest(Rest::Ran)
        } else {
            Phase::Look {
                sample: Sample::of(1 << NAMESPACE | 1 << KEY),
                found: None,
            }
        };
    }

    /// Answers a request from the cache.
    fn answer(&mut self, n: usize, s: usize, version: u8, how: How) {
        let slot = self.slot(n, s);
        slot.wrong |= version < slot.floor && !slot.excepted;
        slot.phase = Phase::Rest(Rest::Answered(how));
    }

    pub(crate) fn execute(&mut self, setup: &Setup, n: usize, s: usize, copies: bool) {
        let (settings, build) = (setup.settings, self.nodes[n].build);
        let node = n as u8;
        let id = match self.nodes[n].slots[s].phase {
            Phase::Ticket { call, .. } => Some(call.id),
            _ => self.nodes[n].id,
        };
        let is_aware = id == Some(self.server.id);
        self.slot(n, s).excepted |= !is_aware;
        let mut fills = None;
        let copy = match &mut self.nodes[n].slots[s].phase {
            Phase::Look { found, .. } => {
                *found = Some(self.server.look(settings, build));
                None
            }
            Phase::LookAtTags {
                digest,
                entry,
                found,
                ..
            } => {
                *found = Some(self.server.look_at_tags(settings, build, *digest, entry));
                None
            }
            Phase::Ticket { call, answer, .. } => {
                let told = self.server.ticket(settings, call);
                if let TicketAnswer::Filled(_) = told {
                    fills = Some(self.server.shows(settings, build));
                }
                *answer = Some(told);
                Some(Message::Ticket(node, *call))
            }
            Phase::Adopt { call, done, .. } => {
                self.server.adopt(settings, call);
                *done = true;
                Some(Message::Adopt(node, *call))
            }
            _ => None,
        };
        if copies {
            self.left.doubles -= 1;
            self.adrift.extend(copy);
        }
        // What a ticket hands out, a lookup of the same moment would have shown.
        self.slot(n, s).wrong |= fills == Some(false);
        self.executed(node);
    }

    pub(crate) fn receive(&mut self, setup: &Setup, n: usize, s: usize) {
        match self.nodes[n].slots[s].phase {
            Phase::Look {
                sample,
                found: Some(found),
            } => self.looked(setup, n, s, sample, found),
            Phase::LookAtTags {
                sample,
                entry,
                found: Some(verdict),
                ..
            } => {
                let mut sample = sample;
                if Self::flaw(setup, Flaw::LateTagSample) {
                    sample.extend(entry.list);
                }
                self.judged(setup, n, s, sample, verdict);
            }
            Phase::Ticket {
                call,
                seat,
                sharing,
                adopted,
                answer: Some(answer),
            } => self.ticketed(setup, n, s, (call, seat, sharing, adopted), answer),
            Phase::Adopt {
                call,
                list,
                seat,
                sharing,
                ..
            } => self.ask(n, s, (call.id, list, seat, sharing, true)),
            _ => {}
        }
    }

    fn looked(&mut self, setup: &Setup, n: usize, s: usize, sample: Sample, found: Found) {
        let belongs = found.id == self.nodes[n].id || Self::flaw(setup, Flaw::NoIdentity);
        let verdict = match found.verdict {
            verdict if belongs => verdict,
            Verdict::Held => Verdict::Held,
            // What its tokens say is not believed; the list is only a hint.
            Verdict::Miss { list, .. } | Verdict::Stale { list, .. } => {
                Verdict::Miss { digest: None, list }
            }
            Verdict::Tagged { entry, .. } => Verdict::Miss {
                digest: None,
                list: entry.list,
            },
            Verdict::Hit { .. } => Verdict::Miss {
                digest: None,
                list: 0,
            },
        };
        let mut sample = sample;
        if Self::flaw(setup, Flaw::LateSample) {
            sample = Sample::of(1 << NAMESPACE | 1 << KEY);
        }
        if let Verdict::Tagged { digest, entry } = verdict {
            // Before their question is sent.
            if !Self::flaw(setup, Flaw::LateTagSample) {
                sample.extend(entry.list);
            }
            self.phase(
                n,
                s,
                Phase::LookAtTags {
                    sample,
                    digest,
                    entry,
                    found: None,
                },
            );
        } else {
            self.judged(setup, n, s, sample, verdict);
        }
    }

    fn judged(&mut self, setup: &Setup, n: usize, s: usize, sample: Sample, verdict: Verdict) {
        match verdict {
            Verdict::Held | Verdict::Tagged { .. } => self.phase(n, s, Phase::Rest(Rest::Ran)),
            Verdict::Hit { .. } | Verdict::Stale { .. } if self.distrusted(setup, n) => {
                self.phase(n, s, Phase::Rest(Rest::Ran));
            }
            Verdict::Hit { version, settles } => {
                if n == 0 && setup.local && !settles {
                    self.keep_locally(setup, version, sample);
                }
                self.answer(n, s, version, How::Lookup);
            }
            Verdict::Stale {
                version,
                digest,
                list,
            } => {
                self.answer(n, s, version, How::Expired);
                // The two are one for the client; what follows is in the background.
                if self.left.requests > 0 {
                    self.phase(n, s, Phase::Rest(Rest::Shown { digest, list }));
                }
            }
            Verdict::Miss { digest, list } => self.take_turn(setup, n, s, digest, list),
        }
    }

    pub(crate) fn refresh(&mut self, setup: &Setup, n: usize, s: usize) {
        if let Phase::Rest(Rest::Shown { digest, list }) = self.nodes[n].slots[s].phase {
            self.take_turn(setup, n, s, Some(digest), list);
        }
    }

    /// Whose turn it is: by the digest that the lookup saw, or else by a ticket that is shared.
    fn take_turn(&mut self, setup: &Setup, n: usize, s: usize, digest: Option<Digest>, list: Set) {
        let id = self.nodes[n].id.unwrap_or(0);
        let Some(digest) = digest else {
            let sharing = if setup.shares {
                Sharing::Open
            } else {
                Sharing::Alone
            };
            let other = self.nodes[n].slots[1 - s].phase;
            let is_open = matches!(
                other,
                Phase::Ticket {
                    sharing: Sharing::Open,
                    ..
                }
            );
            if setup.shares && is_open {
                self.phase(n, s, Phase::Joined);
            } else {
                self.ask(n, s, (id, list, None, sharing, false));
            }
            return;
        };
        match self.sit(n, digest) {
            Ok(flight) => self.ask(n, s, (id, list, Some(flight), Sharing::Alone, false)),
            Err(flight) => self.phase(n, s, Phase::Wait { flight }),
        }
    }

    /// A seat: `Ok` leads a flight of its own, `Err` follows.
    fn sit(&mut self, n: usize, digest: Digest) -> Result<u8, u8> {
        let flights = &mut self.nodes[n].flights;
        let is_open = |flight: &Flight| match flight {
            Flight::Open(tokens)
            | Flight::Landing {
                open: Some(tokens), ..
            } => *tokens == digest,
            _ => false,
        };
        if let Some(open) = flights.iter().position(is_open) {
            return Err(open as u8);
        }
        // There are as many flights as requests.
        let free = flights.iter().position(|flight| *flight == Flight::Free);
        let free = free.unwrap_or(0);
        flights[free] = Flight::Open(digest);
        Ok(free as u8)
    }

    fn ask(
        &mut self,
        n: usize,
        s: usize,
        (id, list, seat, sharing, adopted): (u8, Set, Option<u8>, Sharing, bool),
    ) {
        let call = TicketCall {
            build: self.nodes[n].build,
            id,
            nonce: self.fresh(),
            list,
        };
        self.phase(
            n,
            s,
            Phase::Ticket {
                call,
                seat,
                sharing,
                adopted,
                answer: None,
            },
        );
    }

    pub(crate) fn send(&mut self, setup: &Setup, n: usize, s: usize) {
        let id = self.nodes[n].id.unwrap_or(0);
        match &mut self.nodes[n].slots[s].phase {
            Phase::Ticket { call, sharing, .. } => {
                *sharing = Sharing::Sent;
                call.id = id;
            }
            Phase::Done { call, seat } => {
                let (call, seat) = (*call, *seat);
                self.leave(setup, n, s, call, seat);
            }
            _ => {}
        }
    }

    /// The other slot, if it has joined this one's question.
    fn joined(&self, n: usize, s: usize) -> Option<usize> {
        (self.nodes[n].slots[1 - s].phase == Phase::Joined).then_some(1 - s)
    }

    fn ticketed(
        &mut self,
        setup: &Setup,
        n: usize,
        s: usize,
        (call, seat, sharing, adopted): (TicketCall, Option<u8>, Sharing, bool),
        answer: TicketAnswer,
    ) {
        // Whoever has joined is told the same.
        let joined = self.joined(n, s).filter(|_| sharing == Sharing::Sent);
        match answer {
            TicketAnswer::Lead(lease) => {
                let seat = match seat {
                    Some(seat) => Some(seat),
                    // A flight that is there belongs to a holder whose lease was lost.
                    None => self.sit(n, lease.digest).ok(),
                };
                self.phase(n, s, Phase::Run { lease, seat });
                if let Some(other) = joined {
                    match self.sit(n, lease.digest) {
                        Err(flight) => self.phase(n, other, Phase::Wait { flight }),
                        Ok(flight) => {
                            self.nodes[n].flights[usize::from(flight)] = Flight::Free;
                            self.look(n, other);
                        }
                    }
                }
            }
            TicketAnswer::Busy(digest) => {
                let ask = |list| (call.id, list, Sharing::Alone);
                for slot in [Some(s), joined].into_iter().flatten() {
                    let (id, list, sharing) = ask(call.list);
                    match seat.map_or_else(|| self.sit(n, digest), Ok) {
                        Ok(seat) => self.ask(n, slot, (id, list, Some(seat), sharing, adopted)),
                        Err(flight) => self.phase(n, slot, Phase::Wait { flight }),
                    }
                }
            }
            TicketAnswer::Filled(version) => {
                for slot in [Some(s), joined].into_iter().flatten() {
                    if self.distrusted(setup, n) {
                        self.phase(n, slot, Phase::Rest(Rest::Ran));
                    } else {
                        self.answer(n, slot, version, How::Ticket);
                    }
                }
                if let Some(seat) = seat {
                    self.look_again(n, seat);
                }
            }
            TicketAnswer::Held => self.alone(n, s),
            TicketAnswer::Other(_) if adopted => self.alone(n, s),
            TicketAnswer::Other(seen) => {
                let id = self.server.id;
                self.nodes[n].id = Some(id);
                if seen.id == id {
                    self.ask(n, s, (id, call.list, seat, sharing, true));
                } else {
                    let call = AdoptCall {
                        build: call.build,
                        seen,
                        id,
                        nonce: self.fresh(),
                    };
                    let phase = Phase::Adopt {
                        call,
                        list: self.list_of(n, s),
                        seat,
                        sharing,
                        done: false,
                    };
                    self.phase(n, s, phase);
                }
            }
        }
    }

    fn list_of(&self, n: usize, s: usize) -> Set {
        match self.nodes[n].slots[s].phase {
            Phase::Ticket { call, .. } => call.list,
            _ => 0,
        }
    }

    /// The handler runs and nothing is stored; nobody waits for such a request.
    fn alone(&mut self, n: usize, s: usize) {
        let (seat, sharing) = match self.nodes[n].slots[s].phase {
            Phase::Ticket { seat, sharing, .. } | Phase::Adopt { seat, sharing, .. } => {
                (seat, sharing)
            }
            _ => (None, Sharing::Alone),
        };
        if let Some(other) = self.joined(n, s).filter(|_| sharing != Sharing::Alone) {
            self.phase(n, other, Phase::Rest(Rest::Ran));
        }
        self.phase(n, s, Phase::Rest(Rest::Ran));
        if let Some(seat) = seat {
            self.uncacheable(n, seat);
        }
    }

    pub(crate) fn give_up(&mut self, n: usize, s: usize) {
        self.left.losses -= 1;
        let node = n as u8;
        let on_its_way = match self.nodes[n].slots[s].phase {
            Phase::Ticket {
                call, answer: None, ..
            } => Some(Message::Ticket(node, call)),
            Phase::Adopt {
                call, done: false, ..
            } => Some(Message::Adopt(node, call)),
            _ => None,
        };
        self.adrift.extend(on_its_way);
        self.alone(n, s);
    }

    /// The connection is lost, and everything that was asked over it.
    pub(crate) fn lose(&mut self, n: usize, s: usize) {
        if matches!(
            self.nodes[n].slots[s].phase,
            Phase::Look { .. }
                | Phase::LookAtTags { .. }
                | Phase::Ticket { .. }
                | Phase::Adopt { .. }
        ) {
            self.alone(n, s);
        }
    }

    /// The handler reads the row.
    pub(crate) fn handle(&mut self, setup: &Setup, n: usize, s: usize) {
        let Phase::Run { lease, seat } = self.nodes[n].slots[s].phase else {
            return;
        };
        let call = StoreCall {
            build: self.nodes[n].build,
            lease,
            nonce: self.fresh(),
            list: setup.list(self.row),
            version: self.row,
        };
        if setup.slots > 1 {
            self.phase(n, s, Phase::Done { call, seat });
        } else {
            // Nobody can join in between, and the store may be as late as it likes.
            self.leave(setup, n, s, call, seat);
        }
    }

    /// `Filled::land`: the answer leaves, followers are told, the store is sent.
    fn leave(&mut self, setup: &Setup, n: usize, s: usize, call: StoreCall, seat: Option<u8>) {
        self.phase(n, s, Phase::Rest(Rest::Ran));
        if let Some(seat) = seat.filter(|_| call.list == 0) {
            self.answer_followers(n, seat, call.version);
        }
        // What depends on tags that were found counts only once it is stored.
        let seat = seat.filter(|_| call.list != 0);
        if self.distrusted(setup, n) {
            if let Some(seat) = seat {
                self.look_again(n, seat);
            }
            self.adrift.push(Message::Release(call.build, call.lease));
            return;
        }
        if let Some(seat) = seat.filter(|_| !Self::flaw(setup, Flaw::OpenWhileStoring)) {
            self.nodes[n].flights[usize::from(seat)] = Flight::Closed;
        }
        self.adrift.push(Message::Store(n as u8, seat, call));
    }

    /// The store that a flight waits for was executed.
    pub(crate) fn landing(&mut self, n: usize, flight: u8, version: Option<u8>) {
        let flight = &mut self.nodes[n].flights[usize::from(flight)];
        let open = match *flight {
            Flight::Open(digest) => Some(digest),
            _ => None,
        };
        *flight = Flight::Landing { open, version };
    }

    /// Its outcome arrives.
    pub(crate) fn land(&mut self, n: usize, flight: u8) {
        if let Flight::Landing { version, .. } = self.nodes[n].flights[usize::from(flight)] {
            match version {
                Some(version) => self.answer_followers(n, flight, version),
                None => self.look_again(n, flight),
            }
        }
    }

    /// The request is dropped: seat and lease go to a follower, or back.
    pub(crate) fn cancel(&mut self, n: usize, s: usize) {
        self.left.cancels -= 1;
        let Phase::Run { lease, seat } = self.nodes[n].slots[s].phase else {
            return;
        };
        self.phase(n, s, Phase::Rest(Rest::Ran));
        let follower = seat.and_then(|seat| {
            let slots = &self.nodes[n].slots;
            slots
                .iter()
                .position(|slot| slot.phase == Phase::Wait { flight: seat })
        });
        match (follower, seat) {
            // The next flight has the same tokens.
            (Some(next), seat) => self.phase(n, next, Phase::Run { lease, seat }),
            (None, seat) => {
                if let Some(seat) = seat {
                    self.nodes[n].flights[usize::from(seat)] = Flight::Free;
                }
                self.adrift
                    .push(Message::Release(self.nodes[n].build, lease));
            }
        }
    }

    fn end_flight(&mut self, n: usize, flight: u8, mut end: impl FnMut(&mut Self, usize)) {
        self.nodes[n].flights[usize::from(flight)] = Flight::Free;
        for s in 0..2 {
            if self.nodes[n].slots[s].phase == (Phase::Wait { flight }) {
                end(self, s);
            }
        }
    }

    pub(crate) fn answer_followers(&mut self, n: usize, flight: u8, version: u8) {
        self.end_flight(n, flight, |world, s| {
            world.answer(n, s, version, How::Flight);
        });
    }

    pub(crate) fn look_again(&mut self, n: usize, flight: u8) {
        self.end_flight(n, flight, |world, s| world.look(n, s));
    }

    fn uncacheable(&mut self, n: usize, flight: u8) {
        self.end_flight(n, flight, |world, s| {
            world.phase(n, s, Phase::Rest(Rest::Ran));
        });
    }
}
