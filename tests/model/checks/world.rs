//! Everything there is, and what can happen next.
//!
//! Over 400 lines: what can happen, and what follows from it, is one table.

use std::collections::BTreeMap;

use smart_cache_model::{
    AdoptCall, Data, Lease, NAMES, NAMESPACE, Nonce, Number, Server, Set, StoreAnswer, StoreCall,
    TicketAnswer, TicketCall,
};
use stateright::{Model, Property};

use crate::node::{How, Node, Phase, Rest};
use crate::setup::{Budget, Evicts, NOON, Setup, Sight, TICK};
use crate::writer::Writer;

/// More ticks than any check has.
const FLOORS: usize = 8;

/// One state of everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    /// The version of the one row there is; each commit counts it up.
    pub(crate) row: u8,
    /// The greatest version whose clear was acknowledged: nothing older is served to a request
    /// that begins now.
    pub(crate) floor: u8,
    /// That, as of the end of each tick.
    pub(crate) floors: [u8; FLOORS],
    pub(crate) tick: u8,
    pub(crate) server: Server,
    /// How many incarnations there were.
    pub(crate) ids: u8,
    pub(crate) snapshot: Option<Box<Data>>,
    pub(crate) nodes: [Node; 2],
    pub(crate) writers: Vec<Writer>,
    /// Messages that nobody waits for any more, or that are delivered a second time.
    pub(crate) adrift: Vec<Message>,
    pub(crate) turn: Turn,
    pub(crate) left: Budget,
}

/// What has changed since the server last came to the end of a turn of its loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Turn {
    pub(crate) changed: Set,
    /// Of these, what the process with the local tier has changed last.
    pub(crate) own: Set,
    /// Something was executed whose answer is not out yet.
    pub(crate) open: bool,
}

/// What is on its way to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Message {
    Ticket(u8, TicketCall),
    /// With the flight that waits for the outcome.
    Store(u8, Option<u8>, StoreCall),
    Adopt(u8, AdoptCall),
    Clear(u8, Set),
    Expire(Nonce, Set),
    Release(u8, Lease),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Thing {
    Mark(usize),
    Entry(usize),
    Lease(usize),
    Clock,
}

/// What can happen. Numbers are the process and the slot, the writer, or the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// A request begins.
    Begin(u8, u8),
    /// A request begins and is answered from memory.
    BeginLocally(u8, u8),
    /// The shared ticket is sent; an answer leaves, and its store is sent.
    Send(u8, u8),
    /// The outcome of the store that a flight waits for arrives.
    Land(u8, u8),
    /// The server executes what a slot waits for.
    Execute(u8, u8),
    /// It does, and a copy stays on the way.
    ExecuteAndCopy(u8, u8),
    /// The answer arrives.
    Receive(u8, u8),
    GiveUp(u8, u8),
    /// The handler reads the row; its answer leaves.
    Handle(u8, u8),
    Cancel(u8, u8),
    /// What was shown although it was expired is made anew.
    Refresh(u8, u8),
    Deliver(u8),
    DeliverAndCopy(u8),
    /// Whoever waits for the outcome of a store gives up.
    Forget(u8),
    /// A process reads who the server is.
    Identify(u8),
    Crash(u8),
    Commit(u8),
    ExecuteClear(u8),
    ExecuteClearAndCopy(u8),
    ReceiveClear(u8),
    GiveUpClear(u8),
    RepeatClear(u8),
    Hold(u8),
    Unhold(u8),
    Die(u8),
    EndHolds,
    Expire(Set),
    Evict(Thing),
    Flush,
    Snapshot,
    Restart,
    Promote,
    StepBack,
    Tick,
    EndTurn,
    Track,
    Ping,
    Pong,
    Hear,
    Cut,
    NoticeCut,
}

impl Action {
    /// Something that nobody wants to happen.
    pub(crate) const fn is_accident(self) -> bool {
        matches!(
            self,
            Self::ExecuteAndCopy(..)
                | Self::GiveUp(..)
                | Self::Cancel(..)
                | Self::DeliverAndCopy(_)
                | Self::Forget(_)
                | Self::Crash(_)
                | Self::ExecuteClearAndCopy(_)
                | Self::GiveUpClear(_)
                | Self::Die(_)
                | Self::Evict(_)
                | Self::Flush
                | Self::Snapshot
                | Self::Restart
                | Self::Promote
                | Self::StepBack
                | Self::Cut
                | Self::Tick
                | Self::Commit(_)
                | Self::Expire(_)
        )
    }
}

impl Model for Setup {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let now = if self.renames_stamps() { 0 } else { NOON };
        let mut nodes = [Node::new(self.builds[0]), Node::new(self.builds[1])];
        for node in &mut nodes {
            node.id = Some(1);
        }
        let mut world = World {
            row: 0,
            floor: 0,
            floors: [0; FLOORS],
            tick: 0,
            server: Server::new(1, now),
            ids: 1,
            snapshot: None,
            nodes,
            writers: self.writers.iter().map(|node| Writer::new(*node)).collect(),
            adrift: Vec::new(),
            turn: Turn::default(),
            left: self.budget,
        };
        if self.warm {
            world.warm_up(self);
        }
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        world.offer(self, actions);
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        next.act(self, action);
        next.settle_down(self);
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![Property::always(NOTHING_STALE, |_, world: &World| {
            !world.is_wrong()
        })];
        all.extend(self.sights.iter().map(|sight| sight.property()));
        all
    }
}

impl Sight {
    /// What it is called in what the checker has seen.
    pub(crate) fn name(self) -> &'static str {
        self.property().name
    }

    fn property(self) -> Property<Setup> {
        let (name, condition): (_, fn(&Setup, &World) -> bool) = match self {
            Self::Hit => ("a hit", |_, world| world.shows(How::Lookup)),
            Self::HitAfterClear => ("a hit after a clear", |_, world| {
                world.floor > 0 && world.shows(How::Lookup)
            }),
            Self::Filled => ("filled meanwhile", |_, world| world.shows(How::Ticket)),
            Self::Refused => ("a store that is refused", |setup, world| {
                world.refuses(setup, StoreAnswer::Cleared)
            }),
            Self::YoungTag => ("a tag that is too young", |setup, world| {
                world.refuses(setup, StoreAnswer::YoungTag)
            }),
            Self::Shared => ("an answer that is shared", |_, world| {
                world.shows(How::Flight)
            }),
            Self::Expired => ("an expired answer that is shown", |_, world| {
                world.shows(How::Expired)
            }),
            Self::LocalHit => ("a hit from memory", |_, world| world.shows(How::Memory)),
            Self::LocalHitAfterClear => ("a hit from memory after a clear", |_, world| {
                world.floor > 0 && world.shows(How::Memory)
            }),
            Self::Survived => ("a rollback that is survived", |_, world| {
                world.server.id > 1 && world.shows(How::Lookup)
            }),
            Self::Distrusted => ("a clear that is pending", |_, world| {
                world.writers.iter().any(Writer::is_distrusted)
            }),
        };
        Property::sometimes(name, condition)
    }
}

pub(crate) const NOTHING_STALE: &str = "nothing stale is served after an acknowledged clear";

impl World {
    /// Whether an answer was shown that must not have been. After a role change that kept the
    /// connections a process may be wrong until it has read who the server is, and says so.
    pub(crate) fn is_wrong(&self) -> bool {
        let slots = self.nodes.iter().flat_map(|node| &node.slots);
        slots.into_iter().any(|slot| slot.wrong)
    }

    pub(crate) fn shows(&self, how: How) -> bool {
        let mut slots = self.nodes.iter().flat_map(|node| &node.slots);
        slots.any(|slot| matches!(slot.phase, Phase::Rest(Rest::Answered(done)) if done == how))
    }

    /// Whether a store is on its way that the server would refuse.
    fn refuses(&self, setup: &Setup, answer: StoreAnswer) -> bool {
        self.adrift.iter().any(|message| match message {
            Message::Store(_, _, call) => self.server.clone().store(setup.settings, call) == answer,
            _ => false,
        })
    }

    fn offer(&self, setup: &Setup, actions: &mut Vec<Action>) {
        // The check is over: nothing that follows is of interest.
        if self.is_wrong() {
            return;
        }
        for n in 0..self.nodes.len() {
            self.offer_node(setup, n, actions);
        }
        for w in 0..self.writers.len() {
            self.offer_writer(setup, w, actions);
        }
        for (i, message) in self.adrift.iter().enumerate() {
            if i > 0 && self.adrift[i - 1] == *message {
                continue;
            }
            let i = i as u8;
            actions.push(Action::Deliver(i));
            if self.left.doubles > 0 {
                actions.push(Action::DeliverAndCopy(i));
            }
            if self.left.losses > 0 && matches!(message, Message::Store(_, Some(_), _)) {
                actions.push(Action::Forget(i));
            }
        }
        self.offer_accidents(setup, actions);
        if setup.local {
            self.offer_tier(setup, actions);
        }
    }

    fn offer_accidents(&self, setup: &Setup, actions: &mut Vec<Action>) {
        let (left, data) = (&self.left, &self.server.data);
        if left.expires > 0 {
            actions.push(Action::Expire(setup.cleared(self.row)));
        }
        if left.evictions > 0 {
            if matches!(setup.evicts, Evicts::Anything | Evicts::Tokens) {
                let places = (0..NAMES).filter(|name| data.marks[0][*name].is_some());
                actions.extend(places.map(|name| Action::Evict(Thing::Mark(name))));
            }
            if matches!(setup.evicts, Evicts::Anything | Evicts::ClockAndEntries)
                && data.clock.is_some()
            {
                actions.push(Action::Evict(Thing::Clock));
            }
            if matches!(
                setup.evicts,
                Evicts::Anything | Evicts::Entries | Evicts::ClockAndEntries
            ) {
                for build in 0..2 {
                    if data.entries[build].is_some() {
                        actions.push(Action::Evict(Thing::Entry(build)));
                    }
                    if data.leases[build].is_some() {
                        actions.push(Action::Evict(Thing::Lease(build)));
                    }
                }
            }
        }
        if left.flushes > 0 && *data != Data::default() {
            actions.push(Action::Flush);
        }
        if left.restarts + left.promotions > 0 {
            if self.snapshot.is_none() {
                actions.push(Action::Snapshot);
            }
            if left.restarts > 0 {
                actions.push(Action::Restart);
            }
            if left.promotions > 0 && self.snapshot.is_some() {
                actions.push(Action::Promote);
            }
        }
        if left.steps_back > 0 {
            actions.push(Action::StepBack);
        }
        if left.ticks > 0 {
            actions.push(Action::Tick);
        }
        let dead = self.writers.iter().enumerate();
        let dead = dead.filter(|(_, writer)| writer.is_dead());
        let of_dead = dead.fold(0, |all, (w, _)| all | 1 << w);
        if data.holds != 0 && data.holds & !of_dead == 0 {
            actions.push(Action::EndHolds);
        }
    }

    fn act(&mut self, setup: &Setup, action: Action) {
        match action {
            Action::Begin(n, s) => self.begin(setup, n.into(), s.into()),
            Action::BeginLocally(n, s) => self.begin_locally(setup, n.into(), s.into()),
            Action::Send(n, s) => self.send(setup, n.into(), s.into()),
            Action::Land(n, f) => self.land(n.into(), f),
            Action::Execute(n, s) => self.execute(setup, n.into(), s.into(), false),
            Action::ExecuteAndCopy(n, s) => self.execute(setup, n.into(), s.into(), true),
            Action::Receive(n, s) => self.receive(setup, n.into(), s.into()),
            Action::GiveUp(n, s) => self.give_up(n.into(), s.into()),
            Action::Handle(n, s) => self.handle(setup, n.into(), s.into()),
            Action::Cancel(n, s) => self.cancel(n.into(), s.into()),
            Action::Refresh(n, s) => self.refresh(setup, n.into(), s.into()),
            Action::Deliver(i) => {
                let message = self.adrift.remove(i.into());
                self.deliver(setup, message);
            }
            Action::DeliverAndCopy(i) => {
                self.left.doubles -= 1;
                let message = self.adrift[usize::from(i)];
                if let Message::Store(_, flight @ Some(_), _) = &mut self.adrift[usize::from(i)] {
                    *flight = None;
                }
                self.deliver(setup, message);
            }
            Action::Forget(i) => {
                self.left.losses -= 1;
                if let Message::Store(node, flight, _) = &mut self.adrift[usize::from(i)]
                    && let (node, Some(flight)) = (*node, flight.take())
                {
                    self.look_again(node.into(), flight);
                }
            }
            Action::Identify(n) => self.nodes[usize::from(n)].id = Some(self.server.id),
            Action::Crash(n) => self.crash(n),
            Action::Commit(w) => self.commit(setup, w.into()),
            Action::ExecuteClear(w) => self.execute_clear(setup, w.into(), false),
            Action::ExecuteClearAndCopy(w) => self.execute_clear(setup, w.into(), true),
            Action::ReceiveClear(w) => self.receive_clear(setup, w.into()),
            Action::GiveUpClear(w) => self.give_up_clear(setup, w.into()),
            Action::RepeatClear(w) => self.repeat_clear(w.into()),
            Action::Hold(w) => self.hold(w),
            Action::Unhold(w) => self.unhold(setup, w),
            Action::Die(w) => self.die(w.into()),
            Action::EndHolds => self.end_holds(),
            Action::Expire(names) => {
                self.left.expires -= 1;
                let nonce = self.fresh();
                self.adrift.push(Message::Expire(nonce, names));
            }
            Action::Evict(thing) => self.evict(thing),
            Action::Flush => {
                self.left.flushes -= 1;
                self.server.data = Data::default();
                self.server.changed |= 1 << NAMESPACE;
            }
            Action::Snapshot => self.snapshot = Some(Box::new(self.server.data.clone())),
            Action::Restart => self.restart(),
            Action::Promote => self.promote(),
            Action::StepBack => {
                self.left.steps_back -= 1;
                self.server.now -= setup.step;
            }
            Action::Tick => self.let_time_pass(),
            Action::EndTurn => self.end_turn(setup),
            Action::Track => self.track(),
            Action::Ping => self.ping(),
            Action::Pong => self.pong(),
            Action::Hear => self.hear(setup),
            Action::Cut => self.cut(),
            Action::NoticeCut => self.notice_cut(setup),
        }
    }

    /// The server executes a message that nobody waits for by its slot.
    fn deliver(&mut self, setup: &Setup, message: Message) {
        let settings = setup.settings;
        match message {
            Message::Ticket(node, call) => {
                self.server.ticket(settings, &call);
                self.executed(node);
            }
            Message::Store(node, flight, call) => {
                let answer = self.server.store(settings, &call);
                self.executed(node);
                if let Some(flight) = flight {
                    let version = (answer == StoreAnswer::Landed).then_some(call.version);
                    self.landing(node.into(), flight, version);
                }
            }
            Message::Adopt(node, call) => {
                self.server.adopt(settings, &call);
                self.executed(node);
            }
            Message::Clear(node, names) => {
                let build = self.nodes[usize::from(node)].build;
                self.server.clear(settings, build, names);
                self.executed(node);
            }
            Message::Expire(nonce, names) => {
                self.server.expire(settings, nonce, names);
                self.executed(1);
            }
            Message::Release(build, lease) => self.server.release(build, &lease),
        }
    }

    /// Something was executed for this process.
    pub(crate) fn executed(&mut self, node: u8) {
        let changed = std::mem::take(&mut self.server.changed);
        self.turn.changed |= changed;
        if node == 0 {
            self.turn.own |= changed;
        } else {
            self.turn.own &= !changed;
        }
        self.turn.open = true;
    }

    /// The row is cached by each build, and the first process's tracking connection is live.
    fn warm_up(&mut self, setup: &Setup) {
        for build in setup.builds {
            for _ in 0..2 {
                // The first store may find its tags too young.
                let call = TicketCall {
                    build,
                    id: 1,
                    nonce: self.fresh(),
                    list: setup.list(0),
                };
                let TicketAnswer::Lead(lease) = self.server.ticket(setup.settings, &call) else {
                    continue;
                };
                let call = StoreCall {
                    build,
                    lease,
                    nonce: self.fresh(),
                    list: setup.list(0),
                    version: 0,
                };
                self.server.store(setup.settings, &call);
            }
        }
        self.server.changed = 0;
        if setup.local {
            self.track();
            self.hear(setup);
        }
        self.turn = Turn::default();
        self.rename(setup.renames_stamps());
    }

    fn evict(&mut self, thing: Thing) {
        self.left.evictions -= 1;
        let data = &mut self.server.data;
        match thing {
            Thing::Mark(name) => {
                data.marks[0][name] = None;
                self.server.changed |= 1 << name;
            }
            Thing::Entry(build) => data.entries[build] = None,
            Thing::Lease(build) => data.leases[build] = None,
            Thing::Clock => data.clock = None,
        }
    }

    fn roll_back(&mut self) {
        self.ids += 1;
        self.server.id = self.ids;
        self.server.data = self.snapshot.as_deref().cloned().unwrap_or_default();
    }

    fn restart(&mut self) {
        self.left.restarts -= 1;
        self.roll_back();
        for n in 0..self.nodes.len() {
            self.nodes[n].id = None;
            self.nodes[n].tier.lose_link();
            for s in 0..self.nodes[n].slots.len() {
                self.lose(n, s);
            }
        }
        for writer in &mut self.writers {
            writer.lose();
        }
        self.turn = Turn::default();
    }

    fn promote(&mut self) {
        self.left.promotions -= 1;
        self.roll_back();
        // A server that takes another's data over empties itself first, and says so.
        self.server.changed |= 1 << NAMESPACE;
    }

    fn crash(&mut self, n: u8) {
        self.left.crashes -= 1;
        let node = &mut self.nodes[usize::from(n)];
        *node = Node::new(node.build);
        for message in &mut self.adrift {
            if let Message::Store(node, flight, _) = message
                && *node == n
            {
                *flight = None;
            }
        }
        for writer in self.writers.iter_mut().filter(|writer| writer.node == n) {
            writer.crash();
        }
    }

    fn let_time_pass(&mut self) {
        self.left.ticks -= 1;
        self.floors[usize::from(self.tick)] = self.floor;
        self.tick += 1;
        self.server.now += TICK;
        self.heal();
    }

    /// A nonce that is nowhere.
    pub(crate) fn fresh(&mut self) -> Nonce {
        let mut greatest = 0;
        self.visit(&mut |number| {
            if let Number::Nonce(nonce) = number {
                greatest = greatest.max(*nonce);
            }
        });
        greatest + 1
    }

    /// After each step: what the server pushes at once, and the names of things in one order.
    fn settle_down(&mut self, setup: &Setup) {
        if self.server.changed != 0 {
            self.executed(1);
        }
        if !setup.local {
            self.turn = Turn::default();
        }
        self.adrift.sort_unstable();
        self.rename(setup.renames_stamps());
        // The order may depend on the names.
        self.adrift.sort_unstable();
    }

    /// Gives nonces the names of their first appearance, and stamps their rank.
    fn rename(&mut self, stamps_too: bool) {
        let mut nonces = [0_u8; 256];
        let mut next = 0;
        let mut stamps = BTreeMap::new();
        self.visit(&mut |number| match number {
            Number::Nonce(nonce) => {
                let name = &mut nonces[usize::from(*nonce)];
                if *name == 0 {
                    next += 1;
                    *name = next;
                }
                *nonce = *name;
            }
            Number::Stamp(stamp) => {
                if stamps_too {
                    stamps.insert(*stamp, 0);
                }
            }
        });
        if !stamps_too {
            return;
        }
        for (rank, name) in stamps.values_mut().enumerate() {
            *name = rank as u8 + 1;
        }
        self.visit(&mut |number| {
            if let Number::Stamp(stamp) = number {
                *stamp = stamps[stamp];
            }
        });
    }

    fn visit(&mut self, visit: &mut impl FnMut(Number<'_>)) {
        self.server.data.visit(visit);
        for node in &mut self.nodes {
            node.visit(visit);
        }
        for message in &mut self.adrift {
            match message {
                Message::Ticket(_, call) => visit(Number::Nonce(&mut call.nonce)),
                Message::Store(_, _, call) => {
                    call.lease.visit(visit);
                    visit(Number::Nonce(&mut call.nonce));
                }
                Message::Adopt(_, call) => {
                    call.seen.visit(visit);
                    visit(Number::Nonce(&mut call.nonce));
                }
                Message::Expire(nonce, _) => visit(Number::Nonce(nonce)),
                Message::Release(_, lease) => lease.visit(visit),
                Message::Clear(..) => {}
            }
        }
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.visit(visit);
        }
    }
}
