//! The model of `tests/model`, which a checker has looked at in every order, does what the scripts do.
//!
//! Long random sequences of everything that can reach a server are enacted on both, with a clock in
//! the test's hands. After each step both have answered the same, and both keep the same: where one
//! has a token the other has one, and two names, or two moments, have equal tokens in one exactly when
//! they have in the other.
//!
//! Over 400 lines: every step is enacted on both sides, and both are compared, in one place.

use std::collections::HashMap;

use smart_cache_model::{
    AdoptCall, FAR, KEY, Lease, Mark, NAMES, Nonce, Server, Settings, StoreAnswer, StoreCall,
    TicketAnswer, TicketCall, Token, Verdict, tag,
};
use smart_cache_tests::harness::{Random, RedisServer};

use super::client::{Client, Grant, NOON, Page, Stored, Ticket, Time, nonce, sha1};

/// What the names of the model are called here: the namespace, the key, two tags.
const CALLED: [&str; NAMES] = ["", "page", "a", "b"];
/// The two incarnations that clients believe in.
const IDS: [&str; 2] = ["0123456789abcdef", "fedcba9876543210"];
/// TIME at the beginning, in units of the model's clock, and one such unit in microseconds.
const START: u8 = 100;
const UNIT: u64 = 60_000_000 / FAR as u64;
const SEQUENCES: u64 = 200;
/// Few enough for stamps that fit into a byte.
const STEPS: u64 = 30;
const SETTINGS: Settings = Settings {
    flaw: None,
    settle: 0,
};

/// A server and its model, and what clients remember.
struct Twins {
    real: Client,
    model: Server,
    page: Page,
    random: Random,
    nonces: Nonce,
    /// Tickets that were sent: the call, and the nonce on the wire.
    calls: Vec<(TicketCall, String)>,
    /// Leases that were granted.
    leases: Vec<(Lease, Grant)>,
    /// Every token that was ever there, both ways.
    tokens: HashMap<String, Token>,
    names: HashMap<Token, String>,
    versions: u8,
    /// The greatest stamp that the model has handed out.
    newest: u8,
}

fn chosen(set: u8, from: impl Iterator<Item = usize>) -> Vec<&'static str> {
    from.filter(|name| set & (1 << name) != 0)
        .map(|name| CALLED[name])
        .collect()
}

impl Twins {
    async fn new(server: &RedisServer, sequence: u64) -> Self {
        let mut real = Client::join(server, &format!("model{sequence}"), Time::Test).await;
        real.set_time(NOON).await;
        Self {
            real,
            model: Server::new(1, START),
            page: Page::new(CALLED[KEY], &[]),
            random: Random::seeded(sequence),
            nonces: 0,
            calls: Vec::new(),
            leases: Vec::new(),
            tokens: HashMap::new(),
            names: HashMap::new(),
            versions: 0,
            newest: START,
        }
    }

    fn pick(&mut self, below: usize) -> usize {
        self.random.below(below as u64) as usize
    }

    /// Some of the key and the tags.
    fn some_names(&mut self) -> u8 {
        1 << (KEY + self.pick(NAMES - KEY)) | 1 << (KEY + self.pick(NAMES - KEY))
    }

    /// Some of the tags, or none.
    fn some_tags(&mut self) -> u8 {
        match self.pick(4) {
            0 => 0,
            1 => 1 << tag(0),
            2 => 1 << tag(1),
            _ => 1 << tag(0) | 1 << tag(1),
        }
    }

    fn fresh(&mut self) -> Nonce {
        self.nonces += 1;
        self.nonces
    }

    async fn step(&mut self) -> String {
        match self.pick(24) {
            0..8 => self.ticket().await,
            8..14 => self.store().await,
            14 | 15 => {
                let names = self.some_names() | u8::from(self.pick(6) == 0);
                self.model.clear(SETTINGS, 0, names);
                let keys = chosen(names, 0..NAMES);
                self.real.clear(&keys).await;
                format!("clear {keys:?}")
            }
            16 | 17 => {
                let (names, nonce) = (self.some_names(), self.fresh());
                self.model.expire(SETTINGS, nonce, names);
                let keys = chosen(names, KEY..NAMES);
                self.real.expire(&keys).await;
                format!("expire {keys:?}")
            }
            18 => self.hold().await,
            19 => self.evict().await,
            20 if self.pick(4) == 0 => {
                // By less than a minute, or by more.
                let by = if self.pick(2) == 0 { FAR / 2 } else { 2 * FAR };
                if self.model.now > by {
                    self.model.now -= by;
                    self.turn_clock().await;
                }
                format!("TIME steps back by {by}")
            }
            20 => {
                self.model.now += 2;
                self.turn_clock().await;
                "time passes".to_owned()
            }
            _ => self.release().await,
        }
    }

    async fn turn_clock(&mut self) {
        let behind = (u64::from(self.model.now) * UNIT).wrapping_sub(u64::from(START) * UNIT);
        self.real.set_time(NOON.wrapping_add(behind)).await;
    }

    async fn ticket(&mut self) -> String {
        let again = self.pick(4) == 0 && !self.calls.is_empty();
        let (call, wire) = if again {
            let place = self.pick(self.calls.len());
            self.calls[place].clone()
        } else {
            let call = TicketCall {
                build: 0,
                // Seldom the other one, or nothing would ever be stored.
                id: 1 + u8::from(self.pick(12) == 0),
                nonce: self.fresh(),
                list: self.some_tags(),
            };
            (call, nonce())
        };
        self.calls.push((call, wire.clone()));
        let expected = self.model.ticket(SETTINGS, &call);
        IDS[usize::from(call.id) - 1].clone_into(&mut self.real.server_id);
        let listed = chosen(call.list, KEY + 1..NAMES);
        let listed: Vec<String> = listed.into_iter().map(str::to_owned).collect();
        let page = self.page.clone();
        let answer = self.real.ticket_listing(&page, &wire, &listed).await;
        let answer = answer.unwrap();
        let what = format!("{call:?} (again: {again}): {expected:?}, {answer:?}");
        match (expected, answer) {
            (TicketAnswer::Filled(version), Ticket::Filled(body)) => {
                assert_eq!(version.to_string(), body, "{what}");
            }
            (TicketAnswer::Lead(lease), Ticket::Granted(grant)) => self.leases.push((lease, grant)),
            (TicketAnswer::Busy(_), Ticket::Busy) | (TicketAnswer::Held, Ticket::Held) => {}
            (TicketAnswer::Other(seen), Ticket::Foreign(token)) => {
                let adopt = AdoptCall {
                    build: 0,
                    seen,
                    id: call.id,
                    nonce: self.fresh(),
                };
                self.model.adopt(SETTINGS, &adopt);
                assert!(self.real.adopt(&token).await, "{what}");
            }
            _ => panic!("{what}"),
        }
        what
    }

    async fn store(&mut self) -> String {
        if self.leases.is_empty() {
            return "nothing to store".to_owned();
        }
        let place = self.pick(self.leases.len());
        let (lease, grant) = self.leases[place].clone();
        self.versions += 1;
        let call = StoreCall {
            build: 0,
            lease,
            nonce: self.fresh(),
            list: self.some_tags(),
            version: self.versions,
        };
        let expected = self.model.store(SETTINGS, &call);
        let (page, found) = (self.page.clone(), chosen(call.list, KEY + 1..NAMES));
        let body = call.version.to_string();
        let stored = self.real.store_with(&page, &grant, &found, &body).await;
        let what = format!("{call:?}: {expected:?}, {stored:?}");
        let agrees = match stored {
            Stored::Yes { ttl } => expected == StoreAnswer::Landed && ttl == 0,
            Stored::LeaseLost => expected == StoreAnswer::LeaseLost,
            Stored::Cleared => expected == StoreAnswer::Cleared,
            Stored::TooYoung => expected == StoreAnswer::YoungTag,
        };
        assert!(agrees, "{what}");
        what
    }

    async fn hold(&mut self) -> String {
        let (writer, what) = (self.pick(2) as u8, self.pick(4));
        let name = format!("writer {writer}");
        match what {
            0 => {
                self.model.hold(writer);
                self.real.hold(CALLED[KEY], &name, 3_600_000).await;
            }
            1 => {
                self.model.end_holds();
                self.real.expire_holds(CALLED[KEY]).await;
            }
            _ => {
                self.model.unhold(SETTINGS, writer);
                self.real.unhold(CALLED[KEY], &name).await;
            }
        }
        format!("hold, end, unhold ({what}) of {name}")
    }

    async fn evict(&mut self) -> String {
        let (place, page) = (self.pick(NAMES + 3), self.page.clone());
        let name = match place {
            0..NAMES => {
                self.model.data.marks[0][place] = None;
                self.real.token(CALLED[place])
            }
            NAMES => {
                self.model.data.clock = None;
                // Every stamp is a whole unit ahead in the model, and a microsecond on the server: both have
                // to begin anew with stamps that nobody has had.
                self.model.now = self.model.now.max(self.newest + 1);
                self.turn_clock().await;
                self.real.clock()
            }
            5 => {
                self.model.data.entries[0] = None;
                self.real.entry(&page)
            }
            _ => {
                self.model.data.leases[0] = None;
                self.real.lease(&page)
            }
        };
        self.real.lose(&name).await;
        format!("{name} is evicted")
    }

    async fn release(&mut self) -> String {
        if self.leases.is_empty() {
            return "nothing to release".to_owned();
        }
        let place = self.pick(self.leases.len());
        let (lease, grant) = self.leases[place].clone();
        let was = self.model.data.leases[0] == Some(lease);
        self.model.release(0, &lease);
        let page = self.page.clone();
        assert_eq!(self.real.release(&page, &grant).await, was);
        "release".to_owned()
    }

    /// Both keep the same, and show the same.
    async fn compare(&mut self) {
        let marks = self.model.data.marks[0];
        for (name, mark) in marks.into_iter().enumerate() {
            let token = self.real.token(CALLED[name]);
            let value = self.real.value(&token).await;
            match (mark, value) {
                (None, None) => {}
                (Some(Mark::Held), Some(value)) => assert_eq!(value, "!"),
                (Some(Mark::Token(token)), Some(value)) => self.same(token, &value),
                (mark, value) => panic!("{:?}: {mark:?}, {value:?}", CALLED[name]),
            }
        }
        self.newest = self.newest.max(self.model.data.clock.unwrap_or(0));
        let clock = self.real.clock();
        let clock = self.real.value(&clock).await;
        assert_eq!(self.model.data.clock.is_some(), clock.is_some(), "clock");
        let (lease, entry) = (self.real.lease(&self.page), self.real.entry(&self.page));
        let lease = self.real.value(&lease).await;
        assert_eq!(
            self.model.data.leases[0].is_some(),
            lease.is_some(),
            "lease"
        );
        let stored = self.real.value(&entry).await;
        assert_eq!(
            self.model.data.entries[0].is_some(),
            stored.is_some(),
            "entry"
        );
        if let Some(stored) = stored {
            self.compare_shown(&stored).await;
        }
    }

    /// A token of the model is one of the server's, and no other.
    fn same(&mut self, token: Token, value: &str) {
        let known = self.tokens.insert(value.to_owned(), token);
        assert!(
            known.is_none_or(|known| known == token),
            "{known:?} and {token:?} are {value}"
        );
        let name = self.names.insert(token, value.to_owned());
        assert!(
            name.as_ref().is_none_or(|name| name == value),
            "{token:?} is {name:?} and {value}"
        );
    }

    /// What a lookup says, and what it would show of an entry that was only expired.
    async fn compare_shown(&mut self, stored: &str) {
        let id = self.model.data.marks[0][0]
            .and_then(Mark::token)
            .map(|token| token.id);
        if let Some(id) = id {
            IDS[usize::from(id) - 1].clone_into(&mut self.real.server_id);
        }
        let verdict = match self.model.look(SETTINGS, 0).verdict {
            Verdict::Tagged { digest, entry } => {
                self.model.look_at_tags(SETTINGS, 0, digest, &entry)
            }
            verdict => verdict,
        };
        let (hit, stale) = match verdict {
            Verdict::Hit { version, .. } => (Some(version.to_string()), false),
            Verdict::Stale { .. } => (None, true),
            _ => (None, false),
        };
        let page = self.page.clone();
        let served = self.real.served(&page).await;
        assert_eq!(served, hit, "{verdict:?}");
        if hit.is_none() {
            assert_eq!(self.is_spared(stored).await, stale, "{verdict:?}, {stored}");
        }
    }

    /// Whether the third digest still holds, and a token says that it was expired.
    async fn is_spared(&mut self, stored: &str) -> bool {
        let tags = stored[121..].split('\n').next().unwrap_or_default();
        let tags = tags.split(',').filter(|tag| !tag.is_empty());
        let names: Vec<&str> = ["", CALLED[KEY]].into_iter().chain(tags).collect();
        let (mut origins, mut expired) = (Vec::new(), false);
        for name in names {
            let token = self.real.token(name);
            let Some(token) = self.real.value(&token).await.filter(|token| token != "!") else {
                return false;
            };
            let own = token.strip_prefix(':').unwrap_or(&token);
            let origin = own.split_once('~').map(|(_, origin)| origin);
            expired |= origin.is_some();
            origins.push(origin.unwrap_or(own).to_owned());
        }
        expired && sha1(&origins.join(" ")) == stored[80..120]
    }
}

/// The steps so far, which are told when one of them went wrong.
#[derive(Default)]
struct Told(Vec<String>);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.0.join("\n"));
        }
    }
}

#[tokio::test]
async fn the_scripts_do_what_the_model_says() {
    let server = RedisServer::start().await;
    let mut landed = 0;
    for sequence in 0..SEQUENCES {
        let mut twins = Twins::new(&server, sequence).await;
        let mut told = Told::default();
        for _ in 0..STEPS {
            let step = twins.step().await;
            landed += usize::from(step.contains("Landed"));
            told.0.push(step);
            twins.compare().await;
        }
    }
    assert!(landed > SEQUENCES as usize / 2, "{landed} stores landed");
}
