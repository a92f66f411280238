//! The version on stores without scripts: `backend/keyvalue`. Every read and every write is a step
//! of its own, and steps of two processes mix freely; those of a lease alone are one, for it
//! decides nothing.
//!
//! Over 400 lines: it is a model of its own, with its checks and its flaws at the end.

use stateright::{Checker as _, HasDiscoveries, Model, Property};

use crate::world::NOTHING_STALE;

/// Places in the store that hold tokens: the namespace's, the key's, one tag's.
const TOKENS: usize = 3;
const TAG: usize = 2;

/// A nonce, with the store's incarnation in the namespace's own.
type Token = (u8, u8);
type Statics = [Token; 2];

/// One check.
#[derive(Clone, Debug, Default)]
struct Setup {
    flaw: Option<Flaw>,
    /// The handler finds the tag, and a write clears it instead of the key.
    finds: bool,
    budget: Budget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// A client sends an `add` again that was not answered.
    RetriesAdd,
    /// The network delivers an `add` twice.
    DoublesAdd,
    /// The namespace's token does not tell the store's incarnation.
    NoIncarnation,
    /// A tag that was found is taken as it is when the answer is stored.
    TagsAtStore,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Budget {
    requests: u8,
    writes: u8,
    evictions: u8,
    losses: u8,
    doubles: u8,
    restarts: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Data {
    tokens: [Option<Token>; TOKENS],
    entry: Option<Entry>,
    lease: Option<(Statics, u8)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Entry {
    /// `None` for a list of tags alone.
    digest: Option<Statics>,
    second: Option<Token>,
    lists: bool,
    version: u8,
}

/// A write that nobody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Write {
    Add(usize, Token),
    Set(Entry),
    Delete(usize),
}

/// What was read of the tokens so far; `None` where nothing was asked yet.
type Read = [Option<Option<Token>>; TOKENS];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Rest(Rest),
    /// A lookup reads: the entry, and the tokens in any order.
    Look {
        life: u8,
        entry: Option<Option<Entry>>,
        read: Read,
    },
    /// A ticket reads the entry, then the tokens.
    Ticket {
        life: u8,
        entry: Option<Entry>,
        read: Read,
        /// What is missing was minted once already.
        minted: bool,
    },
    /// It mints what is missing, one after the other.
    Mint {
        life: u8,
        entry: Option<Entry>,
        missing: [bool; TOKENS],
        /// The nonce of an `add` whose answer did not come.
        again: Option<u8>,
    },
    Run {
        digest: Statics,
        nonce: u8,
        foreseen: Option<Token>,
        life: u8,
    },
    /// It has read the row; its lease was given back, and it looks at the tokens once more.
    Store {
        life: u8,
        digest: Statics,
        foreseen: Option<Token>,
        version: u8,
        read: Read,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Rest {
    New,
    Ran,
    Hit,
    Filled,
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Node {
    phase: Phase,
    floor: u8,
    wrong: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    row: u8,
    floor: u8,
    life: u8,
    data: Data,
    snapshot: Option<Data>,
    nodes: [Node; 2],
    /// A commit whose clear is on its way, and whether it was executed.
    clearing: Option<(u8, bool)>,
    adrift: Vec<Write>,
    left: Budget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    Begin(usize),
    ReadEntry(usize),
    ReadToken(usize, usize),
    /// What was read is judged.
    Judge(usize),
    Add(usize),
    AddTwice(usize),
    /// The `add` is not answered, and may be executed at any time.
    LoseAdd(usize),
    Handle(usize),
    Deliver(usize),
    DeliverAndCopy(usize),
    Commit,
    Clear,
    Acknowledge,
    EvictToken(usize),
    EvictEntry,
    EvictLease,
    Snapshot,
    Restart,
}

impl Setup {
    /// Which tokens a lookup of this entry, or a ticket, asks for.
    fn wants(lists: bool) -> [bool; TOKENS] {
        [true, true, lists]
    }

    fn life(&self, world: &World) -> u8 {
        if self.flaw == Some(Flaw::NoIncarnation) {
            0
        } else {
            world.life
        }
    }

    fn cleared(&self) -> usize {
        if self.finds { TAG } else { 1 }
    }
}

impl Model for Setup {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let node = Node {
            phase: Phase::Rest(Rest::New),
            floor: 0,
            wrong: false,
        };
        vec![World {
            row: 0,
            floor: 0,
            life: 1,
            data: Data::default(),
            snapshot: None,
            nodes: [node; 2],
            clearing: None,
            adrift: Vec::new(),
            left: self.budget,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.nodes.iter().any(|node| node.wrong) {
            return;
        }
        let left = &world.left;
        for (n, node) in world.nodes.iter().enumerate() {
            let mut reads = |read: &Read, wants: [bool; TOKENS]| {
                let open = (0..TOKENS).filter(|place| wants[*place] && read[*place].is_none());
                let before = actions.len();
                actions.extend(open.map(|place| Action::ReadToken(n, place)));
                if actions.len() == before {
                    actions.push(Action::Judge(n));
                }
            };
            match node.phase {
                Phase::Rest(_) => {
                    if left.requests > 0 {
                        actions.push(Action::Begin(n));
                    }
                }
                Phase::Look { entry, read, .. } => {
                    // A tag is known, and asked for, only when the entry is.
                    reads(
                        &read,
                        Self::wants(matches!(entry, Some(Some(entry)) if entry.lists)),
                    );
                    if entry.is_none() {
                        actions.retain(|action| *action != Action::Judge(n));
                        actions.push(Action::ReadEntry(n));
                    }
                }
                Phase::Ticket { entry, read, .. } => {
                    reads(&read, Self::wants(entry.is_some_and(|entry| entry.lists)));
                }
                Phase::Mint { .. } => {
                    actions.push(Action::Add(n));
                    if left.losses > 0 {
                        actions.push(Action::LoseAdd(n));
                    }
                    if left.doubles > 0 && self.flaw == Some(Flaw::DoublesAdd) {
                        actions.push(Action::AddTwice(n));
                    }
                }
                Phase::Run { .. } => actions.push(Action::Handle(n)),
                Phase::Store { read, .. } => reads(&read, Self::wants(self.finds)),
            }
        }
        for (i, write) in world.adrift.iter().enumerate() {
            actions.push(Action::Deliver(i));
            // An `add` is sent once: that is a rule of this version.
            if left.doubles > 0 && !matches!(write, Write::Add(..)) {
                actions.push(Action::DeliverAndCopy(i));
            }
        }
        match world.clearing {
            None if left.writes > 0 => actions.push(Action::Commit),
            None => {}
            Some((_, false)) => actions.push(Action::Clear),
            Some((_, true)) => actions.push(Action::Acknowledge),
        }
        if left.evictions > 0 {
            let there = (0..TOKENS).filter(|place| world.data.tokens[*place].is_some());
            actions.extend(there.map(Action::EvictToken));
            if world.data.entry.is_some() {
                actions.push(Action::EvictEntry);
            }
            if world.data.lease.is_some() {
                actions.push(Action::EvictLease);
            }
        }
        if left.restarts > 0 {
            if world.snapshot.is_none() {
                actions.push(Action::Snapshot);
            }
            actions.push(Action::Restart);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        next.act(self, action);
        next.adrift.sort_unstable();
        next.rename();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn rests(world: &World, how: Rest) -> bool {
            let mut nodes = world.nodes.iter();
            nodes.any(|node| node.phase == Phase::Rest(how))
        }
        vec![
            Property::always(NOTHING_STALE, |_, world: &World| {
                !world.nodes.iter().any(|node| node.wrong)
            }),
            Property::sometimes("a hit after a clear", |_, world: &World| {
                world.floor > 0 && rests(world, Rest::Hit)
            }),
            Property::sometimes("filled meanwhile", |setup: &Self, world: &World| {
                // A list alone fills nothing.
                setup.finds || rests(world, Rest::Filled)
            }),
            Property::sometimes("a store that is refused", |_, world: &World| {
                rests(world, Rest::Refused)
            }),
        ]
    }
}

impl World {
    fn fresh(&mut self) -> u8 {
        let mut greatest = 0;
        self.visit(&mut |nonce| greatest = greatest.max(*nonce));
        greatest + 1
    }

    fn rest(&mut self, n: usize, how: Rest) {
        self.nodes[n].phase = Phase::Rest(how);
    }

    fn answer(&mut self, n: usize, version: u8, how: Rest) {
        let node = &mut self.nodes[n];
        node.wrong |= version < node.floor;
        self.rest(n, how);
    }

    fn act(&mut self, setup: &Setup, action: Action) {
        match action {
            Action::Begin(n) => {
                self.left.requests -= 1;
                self.nodes[n].floor = self.floor;
                self.nodes[n].phase = Phase::Look {
                    life: setup.life(self),
                    entry: None,
                    read: [None; TOKENS],
                };
            }
            Action::ReadEntry(n) => {
                if let Phase::Look { entry, .. } = &mut self.nodes[n].phase {
                    *entry = Some(self.data.entry);
                }
            }
            Action::ReadToken(n, place) => {
                let found = self.data.tokens[place];
                match &mut self.nodes[n].phase {
                    Phase::Look { read, .. }
                    | Phase::Ticket { read, .. }
                    | Phase::Store { read, .. } => read[place] = Some(found),
                    _ => {}
                }
            }
            Action::Judge(n) => self.judge(setup, n),
            Action::Add(n) => self.add(n, false),
            Action::AddTwice(n) => self.add(n, true),
            Action::LoseAdd(n) => self.lose_add(setup, n),
            Action::Handle(n) => {
                if let Phase::Run {
                    digest,
                    nonce,
                    foreseen,
                    life,
                } = self.nodes[n].phase
                {
                    // Whoever gives the lease back is told whether it was still its own.
                    if self.data.lease == Some((digest, nonce)) {
                        self.data.lease = None;
                        self.nodes[n].phase = Phase::Store {
                            life,
                            digest,
                            foreseen,
                            version: self.row,
                            read: [None; TOKENS],
                        };
                    } else {
                        self.rest(n, Rest::Ran);
                    }
                }
            }
            Action::Deliver(i) => {
                let write = self.adrift.remove(i);
                self.write(write);
            }
            Action::DeliverAndCopy(i) => {
                self.left.doubles -= 1;
                self.write(self.adrift[i]);
            }
            Action::Commit => {
                self.left.writes -= 1;
                self.row += 1;
                self.clearing = Some((self.row, false));
            }
            Action::Clear => {
                self.write(Write::Delete(setup.cleared()));
                self.clearing = self.clearing.map(|(version, _)| (version, true));
            }
            Action::Acknowledge => {
                if let Some((version, _)) = self.clearing.take() {
                    self.floor = self.floor.max(version);
                }
            }
            Action::EvictToken(place) => {
                self.left.evictions -= 1;
                self.data.tokens[place] = None;
            }
            Action::EvictEntry => {
                self.left.evictions -= 1;
                self.data.entry = None;
            }
            Action::EvictLease => {
                self.left.evictions -= 1;
                self.data.lease = None;
            }
            Action::Snapshot => self.snapshot = Some(self.data),
            Action::Restart => {
                self.left.restarts -= 1;
                self.life += 1;
                self.data = self.snapshot.unwrap_or_default();
            }
        }
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::Add(place, token) => {
                self.data.tokens[place].get_or_insert(token);
            }
            Write::Set(entry) => self.data.entry = Some(entry),
            Write::Delete(place) => self.data.tokens[place] = None,
        }
    }

    /// The static tokens, if they are there and of this life of the store.
    fn statics(read: &Read, life: u8) -> Option<Statics> {
        let namespace = read[0]?.filter(|token| token.0 == life)?;
        Some([namespace, read[1]??])
    }

    fn judge(&mut self, setup: &Setup, n: usize) {
        let now = setup.life(self);
        match self.nodes[n].phase {
            Phase::Look { life, entry, read } => {
                let digest = Self::statics(&read, life);
                let entry = entry.flatten();
                let tag = read[TAG].flatten();
                if let (Some(digest), Some(entry)) = (digest, entry)
                    && entry.digest == Some(digest)
                    && (!entry.lists || (tag.is_some() && entry.second == tag))
                    && life == now
                {
                    self.answer(n, entry.version, Rest::Hit);
                    return;
                }
                self.nodes[n].phase = Phase::Ticket {
                    life: now,
                    entry: self.data.entry,
                    read: [None; TOKENS],
                    minted: false,
                };
            }
            Phase::Ticket {
                life,
                entry,
                read,
                minted,
            } => self.ticket(setup, n, (life, entry, read, minted)),
            Phase::Store {
                life,
                digest,
                foreseen,
                version,
                read,
            } => {
                if Self::statics(&read, life) != Some(digest) || life != now {
                    self.rest(n, Rest::Refused);
                    return;
                }
                let tag = read[TAG].flatten();
                let second = if setup.flaw == Some(Flaw::TagsAtStore) {
                    tag
                } else {
                    foreseen.filter(|token| tag == Some(*token))
                };
                let is_young = setup.finds && second.is_none();
                let entry = Entry {
                    digest: (!is_young).then_some(digest),
                    second: second.filter(|_| setup.finds),
                    lists: setup.finds,
                    version,
                };
                if is_young && tag.is_none() {
                    // For the next ticket, which reads the list of tags that is left here.
                    let token = (0, self.fresh());
                    self.adrift.push(Write::Add(TAG, token));
                }
                // It may be as late as it likes; nothing but its digests counts.
                self.adrift.push(Write::Set(entry));
                self.rest(n, if is_young { Rest::Refused } else { Rest::Ran });
            }
            _ => {}
        }
    }

    fn ticket(
        &mut self,
        setup: &Setup,
        n: usize,
        (life, entry, read, minted): (u8, Option<Entry>, Read, bool),
    ) {
        let lists = entry.is_some_and(|entry| entry.lists);
        let mut missing = Setup::wants(lists);
        for (place, missing) in missing.iter_mut().enumerate() {
            let token = read[place].flatten();
            *missing &= token.is_none_or(|token| place == 0 && token.0 != life);
        }
        if missing.contains(&true) {
            if minted {
                // Gone as soon as it was minted: the handler runs.
                self.rest(n, Rest::Ran);
                return;
            }
            for (place, missing) in missing.into_iter().enumerate() {
                // What is no token of this life is removed first, which is a clear.
                if missing && self.data.tokens[place].is_some() && read[place].flatten().is_some() {
                    self.write(Write::Delete(place));
                }
            }
            self.nodes[n].phase = Phase::Mint {
                life,
                entry,
                missing,
                again: None,
            };
            return;
        }
        let Some(digest) = Self::statics(&read, life).filter(|_| life == setup.life(self)) else {
            self.rest(n, Rest::Ran);
            return;
        };
        let foreseen = read[TAG].flatten();
        if let Some(entry) = entry
            && entry.digest == Some(digest)
            && entry.second == foreseen
        {
            self.answer(n, entry.version, Rest::Filled);
            return;
        }
        match self.data.lease {
            Some((held, _)) if held == digest => self.rest(n, Rest::Ran),
            _ => {
                let nonce = self.fresh();
                self.data.lease = Some((digest, nonce));
                self.nodes[n].phase = Phase::Run {
                    digest,
                    nonce,
                    foreseen,
                    life,
                };
            }
        }
    }

    /// The next token that is missing, with a nonce of its own.
    fn next_add(&mut self, n: usize) -> Option<(usize, Token)> {
        let Phase::Mint {
            life,
            missing,
            again,
            ..
        } = self.nodes[n].phase
        else {
            return None;
        };
        let place = missing.iter().position(|missing| *missing)?;
        let nonce = again.unwrap_or_else(|| self.fresh());
        Some((place, (if place == 0 { life } else { 0 }, nonce)))
    }

    fn add(&mut self, n: usize, twice: bool) {
        let Some((place, token)) = self.next_add(n) else {
            return;
        };
        self.write(Write::Add(place, token));
        if twice {
            self.left.doubles -= 1;
            self.adrift.push(Write::Add(place, token));
        }
        let Phase::Mint {
            life,
            entry,
            mut missing,
            ..
        } = self.nodes[n].phase
        else {
            return;
        };
        missing[place] = false;
        self.nodes[n].phase = if missing.contains(&true) {
            Phase::Mint {
                life,
                entry,
                missing,
                again: None,
            }
        } else {
            // Another process may have been faster: all of them are read again.
            Phase::Ticket {
                life,
                entry,
                read: [None; TOKENS],
                minted: true,
            }
        };
    }

    fn lose_add(&mut self, setup: &Setup, n: usize) {
        let Some((place, token)) = self.next_add(n) else {
            return;
        };
        self.left.losses -= 1;
        self.adrift.push(Write::Add(place, token));
        if let (Some(Flaw::RetriesAdd), Phase::Mint { again, .. }) =
            (setup.flaw, &mut self.nodes[n].phase)
        {
            *again = Some(token.1);
        } else {
            self.rest(n, Rest::Ran);
        }
    }

    /// Gives nonces the names of their first appearance.
    fn rename(&mut self) {
        let (mut names, mut next) = ([0_u8; 256], 0);
        self.visit(&mut |nonce| {
            let name = &mut names[usize::from(*nonce)];
            if *name == 0 {
                next += 1;
                *name = next;
            }
            *nonce = *name;
        });
        self.adrift.sort_unstable();
    }

    fn visit(&mut self, visit: &mut impl FnMut(&mut u8)) {
        let mut datas = vec![&mut self.data];
        datas.extend(self.snapshot.as_mut());
        for data in datas {
            for token in data.tokens.iter_mut().flatten() {
                visit(&mut token.1);
            }
            if let Some(entry) = &mut data.entry {
                entry.visit(visit);
            }
            if let Some((digest, nonce)) = &mut data.lease {
                digest.iter_mut().for_each(|token| visit(&mut token.1));
                visit(nonce);
            }
        }
        for node in &mut self.nodes {
            let mut read_by = |read: &mut Read| {
                for token in read.iter_mut().flatten().flatten() {
                    visit(&mut token.1);
                }
            };
            match &mut node.phase {
                Phase::Rest(_) => {}
                Phase::Look { entry, read, .. } => {
                    read_by(read);
                    if let Some(Some(entry)) = entry {
                        entry.visit(visit);
                    }
                }
                Phase::Ticket { entry, read, .. } => {
                    read_by(read);
                    if let Some(entry) = entry {
                        entry.visit(visit);
                    }
                }
                Phase::Mint { entry, again, .. } => {
                    if let Some(entry) = entry {
                        entry.visit(visit);
                    }
                    if let Some(nonce) = again {
                        visit(nonce);
                    }
                }
                Phase::Run {
                    digest,
                    nonce,
                    foreseen,
                    ..
                } => {
                    for token in digest.iter_mut().chain(foreseen) {
                        visit(&mut token.1);
                    }
                    visit(nonce);
                }
                Phase::Store {
                    digest,
                    foreseen,
                    read,
                    ..
                } => {
                    read_by(read);
                    for token in digest.iter_mut().chain(foreseen) {
                        visit(&mut token.1);
                    }
                }
            }
        }
        for write in &mut self.adrift {
            match write {
                Write::Add(_, token) => visit(&mut token.1),
                Write::Set(entry) => entry.visit(visit),
                Write::Delete(_) => {}
            }
        }
    }
}

impl Entry {
    fn visit(&mut self, visit: &mut impl FnMut(&mut u8)) {
        let digest = self.digest.iter_mut().flatten();
        for token in digest.chain(&mut self.second) {
            visit(&mut token.1);
        }
    }
}

fn budget(requests: u8, writes: u8) -> Budget {
    Budget {
        requests,
        writes,
        ..Budget::default()
    }
}

fn exhaust(setup: Setup) {
    let checker = setup.checker().spawn_dfs().join();
    println!("{} states, all of them", checker.unique_state_count());
    checker.assert_properties();
}

fn find(flaw: Flaw, mut setup: Setup) {
    setup.flaw = Some(flaw);
    let checker = setup
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let way = checker.discovery(NOTHING_STALE);
    let way = way.unwrap_or_else(|| panic!("{flaw:?}: nothing was found"));
    println!(
        "after {} states: {:?}",
        checker.unique_state_count(),
        way.into_actions()
    );
}

fn late() -> Setup {
    Setup {
        budget: Budget {
            losses: 1,
            doubles: 1,
            ..budget(2, 1)
        },
        ..Setup::default()
    }
}

fn restarts() -> Setup {
    Setup {
        budget: Budget {
            restarts: 1,
            ..budget(2, 1)
        },
        ..Setup::default()
    }
}

fn tags() -> Setup {
    Setup {
        finds: true,
        budget: budget(4, 1),
        ..Setup::default()
    }
}

#[test]
fn steps_that_mix() {
    exhaust(Setup {
        budget: budget(3, 1),
        ..Setup::default()
    });
}

#[test]
fn writes_that_are_late_lost_or_doubled() {
    exhaust(late());
}

#[test]
fn anything_is_evicted() {
    exhaust(Setup {
        budget: Budget {
            evictions: 1,
            ..budget(3, 1)
        },
        ..Setup::default()
    });
}

#[test]
fn the_store_restarts_with_old_data() {
    exhaust(restarts());
}

#[test]
fn tags_that_a_handler_finds() {
    exhaust(tags());
}

#[test]
fn an_add_that_is_sent_again_is_found() {
    find(Flaw::RetriesAdd, late());
}

#[test]
fn an_add_that_is_executed_twice_is_found() {
    find(Flaw::DoublesAdd, late());
}

#[test]
fn a_store_without_an_incarnation_is_found() {
    find(Flaw::NoIncarnation, restarts());
}

#[test]
fn tags_as_of_the_store_are_found() {
    find(Flaw::TagsAtStore, tags());
}
