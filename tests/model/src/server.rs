//! The server: what it keeps for one namespace, and each script as one step.
//!
//! The steps follow the lines of the scripts, and are named like them. Over 400 lines, since they
//! are one table: whoever changes a script finds its twin here, and the two that share a rule side
//! by side.

use crate::token::{KEY, NAMES, NAMESPACE, tag};
use crate::{Digest, Flaw, Mark, Nonce, Number, Origin, Second, Set, TAGS, Token};

/// Builds of the application that share the namespace.
pub const BUILDS: usize = 2;
/// Sixty seconds, in units of the clock: further ahead of TIME it counts as lost.
pub const FAR: u8 = 40;

/// What does not change while the checker runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// The one mistake, if one is made.
    pub flaw: Option<Flaw>,
    /// In units of the clock; 0 is off. With it leases have a life, of the same length.
    pub settle: u8,
}

/// Everything that a snapshot holds and FLUSHALL removes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Data {
    /// What stands under the names of the tokens. One set for all builds; the second one exists for
    /// a flaw alone.
    pub marks: [[Option<Mark>; NAMES]; BUILDS],
    /// The greatest stamp handed out.
    pub clock: Option<u8>,
    /// One entry for each build.
    pub entries: [Option<Entry>; BUILDS],
    /// And the lease of the process that fills it.
    pub leases: [Option<Lease>; BUILDS],
    /// Writers that hold the key, one bit each.
    pub holds: u8,
}

/// A stored answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Over the static tokens.
    pub digest: Digest,
    /// Over those of the tags that its handler had found, if there were any.
    pub second: Option<Second>,
    /// Over the origins of all of them.
    pub origins: [Option<Origin>; NAMES],
    /// The tags that its handler had found.
    pub list: Set,
    /// When it ends by itself, if it settles.
    pub ends: Option<u8>,
    /// The row that its handler had read.
    pub version: u8,
}

/// The right to fill an entry; all of it is the lease's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lease {
    /// The static tokens as of the ticket.
    pub digest: Digest,
    /// Of the attempt.
    pub nonce: Nonce,
    /// The clock as of the ticket.
    pub seq: u8,
    /// TIME as of the ticket.
    pub began: u8,
}

/// What TICKET is called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TicketCall {
    /// Whose entry.
    pub build: u8,
    /// The server as the caller knows it.
    pub id: u8,
    /// Fresh.
    pub nonce: Nonce,
    /// The tags of the dead entry that the lookup saw.
    pub list: Set,
}

/// What STORE is called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreCall {
    /// Whose entry.
    pub build: u8,
    /// As it was granted.
    pub lease: Lease,
    /// Fresh.
    pub nonce: Nonce,
    /// The tags that the handler has found.
    pub list: Set,
    /// The row that it has read.
    pub version: u8,
}

/// What ADOPT is called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AdoptCall {
    /// Whose tokens, where builds have their own.
    pub build: u8,
    /// The token of another incarnation.
    pub seen: Token,
    /// The server as it was just read.
    pub id: u8,
    /// Fresh.
    pub nonce: Nonce,
}

/// What TICKET answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TicketAnswer {
    /// `H`: somebody has filled it meanwhile, with this row.
    Filled(u8),
    /// `L`: run, may store.
    Lead(Lease),
    /// `B`: another process fills it.
    Busy(Digest),
    /// `U`: a write is open.
    Held,
    /// `I`: the namespace's token is another incarnation's.
    Other(Token),
}

/// What STORE answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreAnswer {
    /// `1`
    Landed,
    /// `0`
    LeaseLost,
    /// `-1`
    Cleared,
    /// `-2`
    YoungTag,
}

/// What a lookup's first question brings back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Found {
    /// The incarnation that the namespace's token tells.
    pub id: Option<u8>,
    /// What the answer says, if that incarnation is the one that the process knows.
    pub verdict: Verdict,
}

/// What the answers to a lookup say of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// A write is open.
    Held,
    /// Nothing that could be shown.
    Miss {
        /// If all static tokens are there.
        digest: Option<Digest>,
        /// The tags of the dead entry.
        list: Set,
    },
    /// It proves that it is current.
    Hit {
        /// The row.
        version: u8,
        /// It ends by itself.
        settles: bool,
    },
    /// The tokens of its tags are still to be asked for.
    Tagged {
        /// The static tokens.
        digest: Digest,
        /// The entry, whose static tokens do not rule it out.
        entry: Entry,
    },
    /// It was expired, and may be shown once more.
    Stale {
        /// The row.
        version: u8,
        /// The static tokens.
        digest: Digest,
        /// The tags of the entry.
        list: Set,
    },
}

/// One server process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// What it keeps.
    pub data: Data,
    /// Its incarnation, never 0.
    pub id: u8,
    /// TIME.
    pub now: u8,
    /// Names whose tokens have changed since this was looked at last: what it pushes.
    pub changed: Set,
}

fn members(list: Set) -> impl Iterator<Item = usize> + Clone {
    (0..TAGS)
        .map(tag)
        .filter(move |name| list & (1 << name) != 0)
}

fn packed<T: Copy, const N: usize>(values: impl Iterator<Item = T>) -> [Option<T>; N] {
    let mut all = [None; N];
    for (place, value) in all.iter_mut().zip(values) {
        *place = Some(value);
    }
    all
}

impl Server {
    /// A server that nobody has used.
    #[must_use]
    pub fn new(id: u8, now: u8) -> Self {
        Self {
            data: Data::default(),
            id,
            now,
            changed: 0,
        }
    }

    fn side(&self, settings: Settings, build: u8) -> usize {
        if settings.flaw == Some(Flaw::TokensOfBuilds) {
            usize::from(build)
        } else {
            0
        }
    }

    fn put(&mut self, side: usize, name: usize, mark: Option<Mark>) {
        if self.data.marks[side][name] != mark {
            self.data.marks[side][name] = mark;
            self.changed |= 1 << name;
        }
    }

    /// The entry, unless its time is over.
    fn entry(&self, build: u8) -> Option<Entry> {
        self.data.entries[usize::from(build)]
            .filter(|entry| entry.ends.is_none_or(|ends| ends > self.now))
    }

    fn next_stamp(&self, clock: u8) -> u8 {
        self.now.max(clock + 1)
    }

    /// `lookup/`: the first MGET, and what it says.
    #[must_use]
    pub fn look(&self, settings: Settings, build: u8) -> Found {
        let marks = &self.data.marks[self.side(settings, build)];
        let entry = self.entry(build);
        if settings.flaw == Some(Flaw::SetDel) {
            let verdict = entry.map_or(
                Verdict::Miss {
                    digest: None,
                    list: 0,
                },
                |entry| Verdict::Hit {
                    version: entry.version,
                    settles: false,
                },
            );
            return Found {
                id: Some(self.id),
                verdict,
            };
        }
        let id = marks[NAMESPACE].and_then(Mark::token).map(|token| token.id);
        let verdict = match (marks[NAMESPACE], marks[KEY]) {
            (Some(Mark::Held), _) | (_, Some(Mark::Held)) => Verdict::Held,
            (Some(Mark::Token(namespace)), Some(Mark::Token(key))) => {
                judge(settings, entry, [namespace, key])
            }
            _ => Verdict::Miss {
                digest: None,
                list: entry.map_or(0, |entry| entry.list),
            },
        };
        Found { id, verdict }
    }

    /// `lookup/`: the second MGET, for an entry that lists tags.
    #[must_use]
    pub fn look_at_tags(
        &self,
        settings: Settings,
        build: u8,
        digest: Digest,
        entry: &Entry,
    ) -> Verdict {
        let marks = &self.data.marks[self.side(settings, build)];
        let miss = Verdict::Miss {
            digest: Some(digest),
            list: entry.list,
        };
        let tokens: Option<Vec<Token>> = members(entry.list)
            .map(|name| marks[name].and_then(Mark::token))
            .collect();
        let Some(tokens) = tokens else { return miss };
        if entry.digest == digest && entry.second == Some(packed(tokens.iter().copied())) {
            return Verdict::Hit {
                version: entry.version,
                settles: entry.ends.is_some(),
            };
        }
        let all = digest.iter().chain(&tokens).copied();
        if spares(settings, entry, all) {
            Verdict::Stale {
                version: entry.version,
                digest,
                list: entry.list,
            }
        } else {
            miss
        }
    }

    /// Whether a lookup of this moment, by a process that knows this server, would be a hit.
    #[must_use]
    pub fn shows(&self, settings: Settings, build: u8) -> bool {
        let verdict = match self.look(settings, build).verdict {
            Verdict::Tagged { digest, entry } => self.look_at_tags(settings, build, digest, &entry),
            verdict => verdict,
        };
        matches!(verdict, Verdict::Hit { .. })
    }

    /// `ticket.lua`
    pub fn ticket(&mut self, settings: Settings, call: &TicketCall) -> TicketAnswer {
        let (flaw, build) = (settings.flaw, usize::from(call.build));
        if flaw == Some(Flaw::SetDel) {
            let nothing = Token {
                id: 0,
                nonce: 0,
                stamp: 0,
                origin: None,
            };
            return TicketAnswer::Lead(Lease {
                digest: [nothing; 2],
                nonce: call.nonce,
                seq: 0,
                began: 0,
            });
        }
        let side = self.side(settings, call.build);
        let id = if flaw == Some(Flaw::NoIdentity) {
            0
        } else {
            call.id
        };
        let names: Vec<usize> = [NAMESPACE, KEY]
            .into_iter()
            .chain(members(call.list))
            .collect();
        let mut marks: Vec<Option<Mark>> = names
            .iter()
            .map(|name| self.data.marks[side][*name])
            .collect();
        if let Some(Mark::Token(namespace)) = marks[0]
            && namespace.id != id
        {
            return TicketAnswer::Other(namespace);
        }
        if marks[..2].contains(&Some(Mark::Held)) {
            return TicketAnswer::Held;
        }
        let judges_clock = flaw != Some(Flaw::NoClockRule);
        let is_lost = self
            .data
            .clock
            .is_none_or(|clock| clock > self.now.saturating_add(FAR));
        let clock = match self.data.clock {
            Some(clock) if !(is_lost && judges_clock) => clock,
            _ => {
                if judges_clock {
                    marks[0] = None;
                }
                0
            }
        };
        let is_there = |mark: Option<Mark>| match mark {
            Some(Mark::Token(token)) => !judges_clock || token.stamp <= clock,
            Some(Mark::Held) => true,
            None => false,
        };
        // An UNHOLD that forgets does no harm while this looks.
        let looks = !matches!(flaw, Some(Flaw::BlindToHolds | Flaw::UnholdForgets));
        if !is_there(marks[1]) && self.data.holds != 0 && looks {
            self.put(side, KEY, Some(Mark::Held));
            return TicketAnswer::Held;
        }
        let mut newest_stamp = None;
        for (name, mark) in names.iter().zip(&mut marks) {
            if is_there(*mark) {
                continue;
            }
            let stamp = match newest_stamp {
                None => self.next_stamp(clock),
                Some(stamp) if flaw == Some(Flaw::AlikeTokens) => stamp,
                Some(stamp) => stamp + 1,
            };
            newest_stamp = Some(stamp);
            let token = Token {
                id: if *name == NAMESPACE { id } else { 0 },
                nonce: call.nonce,
                stamp: if flaw == Some(Flaw::PureTokens) {
                    0
                } else {
                    stamp
                },
                origin: None,
            };
            *mark = Some(Mark::Token(token));
            self.put(side, *name, *mark);
        }
        if newest_stamp.is_some() {
            self.data.clock = newest_stamp;
        }
        let tokens: Vec<Token> = marks[..2]
            .iter()
            .flatten()
            .filter_map(|mark| mark.token())
            .collect();
        let digest: Digest = [tokens[0], tokens[1]];
        let found: Option<Vec<Token>> = marks[2..]
            .iter()
            .map(|mark| mark.and_then(Mark::token))
            .collect();
        let second = (call.list != 0).then(|| found.map(|tokens| packed(tokens.into_iter())));
        if let Some(entry) = self.entry(call.build).filter(|_| newest_stamp.is_none()) {
            // A held tag makes a digest that no entry has.
            let is_second = flaw == Some(Flaw::OneDigest)
                || match second {
                    None => entry.second.is_none(),
                    Some(second) => second.is_some() && entry.second == second,
                };
            if entry.digest == digest && is_second {
                return TicketAnswer::Filled(entry.version);
            }
        }
        if let Some(held) = self.data.leases[build]
            && held.digest == digest
            && held.nonce != call.nonce
        {
            return TicketAnswer::Busy(digest);
        }
        let lease = Lease {
            digest,
            nonce: call.nonce,
            seq: newest_stamp.unwrap_or(clock),
            began: self.now,
        };
        self.data.leases[build] = Some(lease);
        TicketAnswer::Lead(lease)
    }

    /// `store.lua`
    pub fn store(&mut self, settings: Settings, call: &StoreCall) -> StoreAnswer {
        let (flaw, build) = (settings.flaw, usize::from(call.build));
        if flaw == Some(Flaw::SetDel) {
            self.data.entries[build] = Some(Entry {
                digest: call.lease.digest,
                second: None,
                origins: [None; NAMES],
                list: 0,
                ends: None,
                version: call.version,
            });
            return StoreAnswer::Landed;
        }
        if flaw != Some(Flaw::NoLease) {
            let is_over = settings.settle > 0 && self.now >= call.lease.began + settings.settle;
            if self.data.leases[build] != Some(call.lease) || is_over {
                return StoreAnswer::LeaseLost;
            }
            self.data.leases[build] = None;
        }
        let side = self.side(settings, call.build);
        let marks = self.data.marks[side];
        let statics = [marks[NAMESPACE], marks[KEY]];
        if statics != call.lease.digest.map(|token| Some(Mark::Token(token))) {
            return StoreAnswer::Cleared;
        }
        let (mut young, mut newest_stamp) = (false, None);
        let mut tokens: Vec<Token> = call.lease.digest.to_vec();
        for name in members(call.list) {
            let token = marks[name].and_then(Mark::token);
            let checks = flaw != Some(Flaw::UncheckedTags);
            match token {
                Some(token) if token.stamp <= call.lease.seq || !checks => tokens.push(token),
                _ => {
                    young = true;
                    let is_known = |clock: u8| token.is_some_and(|token| token.stamp <= clock);
                    if let Some(clock) = self.data.clock
                        && marks[name] != Some(Mark::Held)
                        && !is_known(clock)
                    {
                        let stamp = match newest_stamp {
                            None => self.next_stamp(clock),
                            Some(stamp) if flaw == Some(Flaw::AlikeTokens) => stamp,
                            Some(stamp) => stamp + 1,
                        };
                        newest_stamp = Some(stamp);
                        let minted = Token {
                            id: 0,
                            nonce: call.nonce,
                            stamp,
                            origin: None,
                        };
                        self.put(side, name, Some(Mark::Token(minted)));
                    }
                }
            }
        }
        if newest_stamp.is_some() {
            self.data.clock = newest_stamp;
        }
        if young {
            return StoreAnswer::YoungTag;
        }
        let newest = tokens.iter().map(|token| token.stamp).max().unwrap_or(0);
        let settles = flaw != Some(Flaw::NoSettle)
            && settings.settle > 0
            && i16::from(call.lease.began) - i16::from(newest) < i16::from(settings.settle);
        self.data.entries[build] = Some(Entry {
            digest: call.lease.digest,
            second: (call.list != 0).then(|| packed(tokens[2..].iter().copied())),
            origins: packed(tokens.iter().map(|token| token.origin(flaw))),
            list: call.list,
            ends: settles.then(|| self.now + settings.settle),
            version: call.version,
        });
        StoreAnswer::Landed
    }

    /// `adopt.lua`
    pub fn adopt(&mut self, settings: Settings, call: &AdoptCall) {
        let side = self.side(settings, call.build);
        if self.data.marks[side][NAMESPACE] != Some(Mark::Token(call.seen)) {
            return;
        }
        let clock = self
            .data
            .clock
            .filter(|clock| *clock <= self.now.saturating_add(FAR));
        let stamp = self.next_stamp(clock.unwrap_or(0));
        self.data.clock = Some(stamp);
        let token = Token {
            id: call.id,
            nonce: call.nonce,
            stamp,
            origin: None,
        };
        self.put(side, NAMESPACE, Some(Mark::Token(token)));
    }

    /// `expire.lua`
    pub fn expire(&mut self, settings: Settings, nonce: Nonce, names: Set) {
        let Some(clock) = self
            .data
            .clock
            .filter(|clock| *clock <= self.now.saturating_add(FAR))
        else {
            return;
        };
        let mut newest_stamp = None;
        for name in (KEY..NAMES).filter(|name| names & (1 << name) != 0) {
            if let Some(Mark::Token(token)) = self.data.marks[0][name] {
                let stamp = match newest_stamp {
                    None => self.next_stamp(clock),
                    Some(stamp) if settings.flaw == Some(Flaw::AlikeTokens) => stamp,
                    Some(stamp) => stamp + 1,
                };
                newest_stamp = Some(stamp);
                let marked = Token {
                    id: 0,
                    nonce,
                    stamp,
                    origin: Some(token.origin(settings.flaw)),
                };
                self.put(0, name, Some(Mark::Token(marked)));
            }
        }
        if newest_stamp.is_some() {
            self.data.clock = newest_stamp;
        }
    }

    /// A clear: DEL.
    pub fn clear(&mut self, settings: Settings, build: u8, names: Set) {
        if settings.flaw == Some(Flaw::SetDel) {
            self.data.entries = [None; BUILDS];
            return;
        }
        let side = self.side(settings, build);
        for name in (0..NAMES).filter(|name| names & (1 << name) != 0) {
            self.put(side, name, None);
        }
    }

    /// `release.lua`
    pub fn release(&mut self, build: u8, lease: &Lease) {
        let held = &mut self.data.leases[usize::from(build)];
        if *held == Some(*lease) {
            *held = None;
        }
    }

    /// `hold.lua`, of the key.
    pub fn hold(&mut self, writer: u8) {
        self.data.holds |= 1 << writer;
        self.put(0, KEY, Some(Mark::Held));
    }

    /// `unhold.lua`, of the key.
    pub fn unhold(&mut self, settings: Settings, writer: u8) {
        self.data.holds &= !(1 << writer);
        let forgets = settings.flaw == Some(Flaw::UnholdForgets);
        let mark = (self.data.holds != 0 && !forgets).then_some(Mark::Held);
        self.put(0, KEY, mark);
    }

    /// The time of every hold is over.
    pub fn end_holds(&mut self) {
        self.data.holds = 0;
        if self.data.marks[0][KEY] == Some(Mark::Held) {
            self.put(0, KEY, None);
        }
    }
}

/// `judge` of `lookup/judged.rs`: what an entry is worth, as far as its static tokens tell.
fn judge(settings: Settings, entry: Option<Entry>, tokens: Digest) -> Verdict {
    let Some(entry) = entry else {
        return Verdict::Miss {
            digest: Some(tokens),
            list: 0,
        };
    };
    let is_current = entry.digest == tokens;
    if is_current && entry.second.is_none() {
        return Verdict::Hit {
            version: entry.version,
            settles: entry.ends.is_some(),
        };
    }
    let may_be_spared = is_current || tokens.iter().any(|token| token.origin.is_some());
    if may_be_spared && entry.second.is_some() {
        return Verdict::Tagged {
            digest: tokens,
            entry,
        };
    }
    if may_be_spared && spares(settings, &entry, tokens.into_iter()) {
        return Verdict::Stale {
            version: entry.version,
            digest: tokens,
            list: 0,
        };
    }
    Verdict::Miss {
        digest: Some(tokens),
        list: entry.list,
    }
}

/// Whether no clear has outlawed an entry that was expired: `Origins::spare`.
fn spares(settings: Settings, entry: &Entry, tokens: impl Iterator<Item = Token> + Clone) -> bool {
    tokens.clone().any(|token| token.origin.is_some())
        && (settings.flaw == Some(Flaw::NoOrigins)
            || entry.origins == packed(tokens.map(|token| token.origin(settings.flaw))))
}

impl Data {
    /// Shows every number in it.
    pub fn visit(&mut self, visit: &mut impl FnMut(Number<'_>)) {
        for mark in self.marks.iter_mut().flatten().flatten() {
            if let Mark::Token(token) = mark {
                token.visit(visit);
            }
        }
        if let Some(clock) = &mut self.clock {
            visit(Number::Stamp(clock));
        }
        for entry in self.entries.iter_mut().flatten() {
            entry.visit(visit);
        }
        for lease in self.leases.iter_mut().flatten() {
            lease.visit(visit);
        }
    }
}

impl Entry {
    /// Shows every number in it.
    pub fn visit(&mut self, visit: &mut impl FnMut(Number<'_>)) {
        let second = self.second.iter_mut().flatten().flatten();
        for token in self.digest.iter_mut().chain(second) {
            token.visit(visit);
        }
        for origin in self.origins.iter_mut().flatten() {
            origin.visit(visit);
        }
    }
}

impl Lease {
    /// Shows every number in it.
    pub fn visit(&mut self, visit: &mut impl FnMut(Number<'_>)) {
        for token in &mut self.digest {
            token.visit(visit);
        }
        visit(Number::Nonce(&mut self.nonce));
        visit(Number::Stamp(&mut self.seq));
    }
}
