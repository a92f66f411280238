//! The sweep: frees what clears, expiry and forgotten builds have left behind.
//!
//! Decides nothing: it reads heads and tokens, and small scripts look again before they unlink. It goes
//! in steps, each a few commands at once, with a pause behind it: a million entries are a minute or two,
//! and a hundred million are hours. So one process at a time has the turn, and keeps it while it walks.
//!
//! First over entries and indexes; it remembers which tokens the living depend on. Then over the tokens:
//! those that nothing depends on get the life of an unused one, or every tag that a list ever had
//! would stay for ever.
//!
//! Over 400 lines: one pass, whose steps share what they have seen.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use redis::{Pipeline, Value};

use super::caretaker::{Build, builds, now};
use super::lookup::DIGESTS;
use super::reclaim::{HEAD_BYTES, is_cut, read_long, reaping};
use super::reply::{array, bytes, integer, millis, nonce};
use super::ticket::UNUSED_TOKEN_LIFE;
use super::up::Up;
use super::{Shared, scripts};
use crate::backend::used::Used;
use crate::codec::Head;
use crate::entry::EntryId;
use crate::error::BackendError;
use crate::protocol::{Digest, Nonce, origin, token_name};

/// Names of one SCAN step, and the pause behind it: the server stays free for requests.
const STEP: usize = 500;
const STEP_PAUSE: Duration = Duration::from_millis(10);
/// Tokens that are read at once.
const TOKENS_AT_ONCE: usize = 2_000;
/// A turn that is not kept goes to another process after this long.
const TURN: Duration = Duration::from_secs(300);
/// Nobody waits for an answer, and a pass that a slow moment ends has to begin anew.
const PATIENCE: Duration = Duration::from_secs(5);

/// The right to sweep: one process of a namespace has it.
pub(super) struct Turn {
    name: String,
    value: Nonce,
}

impl Turn {
    /// Takes it from whoever has it.
    pub(super) async fn take(shared: &Shared, up: &Up) -> Result<Self, BackendError> {
        let turn = Self::new(shared)?;
        up.call(&turn.set(), up.deadline()).await?;
        Ok(turn)
    }

    /// Takes it unless another process has it, or had it a short while ago.
    pub(super) async fn if_free(shared: &Shared, up: &Up) -> Result<Option<Self>, BackendError> {
        let turn = Self::new(shared)?;
        let mut set = turn.set();
        set.arg("NX");
        let answer = up.call(&set, up.deadline()).await?;
        Ok((answer != Value::Nil).then_some(turn))
    }

    fn new(shared: &Shared) -> Result<Self, BackendError> {
        Ok(Self {
            name: shared.names.sweeper(),
            value: nonce()?,
        })
    }

    fn set(&self) -> redis::Cmd {
        let mut set = redis::cmd("SET");
        set.arg(&self.name)
            .arg(self.value.as_bytes())
            .arg("PX")
            .arg(millis(TURN));
        set
    }

    /// Goes on having it.
    async fn keep(&self, up: &Up) -> Result<(), BackendError> {
        let mut call = scripts::RENEW.prepare_invoke();
        call.key(&self.name)
            .arg(self.value.as_bytes())
            .arg(millis(TURN));
        match integer(Some(&up.script(&call, soon()).await?)) {
            Some(1) => Ok(()),
            _ => Err(BackendError::Refused(
                "another process has begun to sweep".into(),
            )),
        }
    }
}

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// Walks the namespace once; how many entries it removed.
pub(super) async fn sweep(shared: &Shared, up: &Up, turn: Turn) -> Result<u64, BackendError> {
    let oldest = newest_stamp(shared, up).await?;
    let mut pass = Pass {
        shared,
        up,
        builds: builds(shared, up).await?,
        used: Used::default(),
        removed: 0,
    };
    let mut walk = Walk::names(shared.names.pattern(""));
    while let Some(names) = walk.step(up).await? {
        turn.keep(up).await?;
        pass.entries(&names).await?;
        pass.indexes(&names).await?;
    }
    if let Some(oldest) = oldest {
        let mut walk = Walk::names(shared.names.pattern("t:"));
        while let Some(names) = walk.step(up).await? {
            turn.keep(up).await?;
            pass.retire(&names, oldest).await?;
        }
    }
    pass.end().await
}

/// Tokens that were minted before this are either unused and gone, or were permanent before the pass began.
async fn newest_stamp(shared: &Shared, up: &Up) -> Result<Option<u64>, BackendError> {
    let mut get = redis::cmd("GET");
    get.arg(shared.names.clock());
    let Value::BulkString(clock) = up.call(&get, soon()).await? else {
        return Ok(None);
    };
    let clock: Option<u64> = std::str::from_utf8(&clock)
        .ok()
        .and_then(|us| us.parse().ok());
    Ok(clock.and_then(|us| us.checked_sub(UNUSED_TOKEN_LIFE.as_micros() as u64)))
}

/// One walk over everything.
struct Pass<'a> {
    shared: &'a Shared,
    up: &'a Up,
    builds: HashMap<String, Build>,
    used: Used,
    removed: u64,
}

/// An entry whose tokens are to be looked at.
struct Suspect {
    version: String,
    id: EntryId,
    head: Head,
    digests: [u8; DIGESTS],
}

impl Suspect {
    fn tokens(&self) -> impl Iterator<Item = &str> {
        let head = &self.head;
        let names = std::iter::once(&head.key).chain(&head.tags);
        names.chain(&head.dynamic).map(|name| &**name)
    }

    /// Whether no clear has outlawed it; only expired is alive.
    fn is_alive<'a>(&self, tokens: impl Iterator<Item = Option<&'a [u8]>>) -> bool {
        let tokens: Option<Vec<&[u8]>> = tokens.collect();
        tokens.is_some_and(|tokens| {
            !tokens.contains(&&b"!"[..])
                && Digest::of(tokens.iter().map(|token| origin(token))).as_bytes()[..]
                    == self.digests[80..]
        })
    }
}

impl Pass<'_> {
    /// Whether a process of this build has announced itself lately.
    fn is_live(&self, version: &str) -> bool {
        let own = self.shared.names.version();
        // A table without this very build has been evicted, and says nothing of the others either.
        let is_whole = self.builds.contains_key(own);
        version == own || !is_whole || self.builds.get(version).is_some_and(Build::is_recent)
    }

    /// Removes those that are dead or of a forgotten build, and remembers what the others depend on.
    async fn entries(&mut self, names: &[Vec<u8>]) -> Result<(), BackendError> {
        let (mut forgotten, mut alive) = (Vec::new(), Vec::new());
        for name in names {
            let Some((version, id)) = self.shared.names.split("e:", name) else {
                continue;
            };
            let Some(id) = std::str::from_utf8(id).ok().and_then(EntryId::parse) else {
                continue;
            };
            if self.is_live(version) {
                alive.push((version, id));
            } else {
                forgotten.push(name);
            }
        }
        self.removed += self.unlink(&forgotten).await?;
        let mut ranges = Pipeline::new();
        for (version, id) in &alive {
            let entry = self.shared.names.of_version(version).entry(*id);
            ranges.cmd("GETRANGE").arg(entry).arg(0).arg(HEAD_BYTES - 1);
        }
        let mut suspects = Vec::new();
        for ((version, id), start) in alive.into_iter().zip(self.ask(&ranges).await?) {
            let start = match start.and_then(|start| bytes(Some(start))) {
                Ok(start) if is_cut(&start) => {
                    let entry = self.shared.names.of_version(version).entry(id);
                    read_long(self.up, &entry).await?
                }
                Ok(start) => start,
                // Something of another type stands in our place: not ours to remove.
                Err(BackendError::Refused(_)) => continue,
                Err(why) => return Err(why),
            };
            let digests = start.first_chunk::<DIGESTS>();
            let head = start.get(DIGESTS + 1..).and_then(Head::read);
            // Damaged: the next lookup finds that out and discards it.
            if let (Some(digests), Some((head, _))) = (digests, head) {
                suspects.push(Suspect {
                    version: version.to_owned(),
                    id,
                    head,
                    digests: *digests,
                });
            }
        }
        while !suspects.is_empty() {
            let mut tokens = 0;
            let few = suspects.iter().take_while(|suspect| {
                let first = tokens == 0;
                tokens += suspect.tokens().count();
                first || tokens <= TOKENS_AT_ONCE
            });
            let few = few.count();
            let rest = suspects.split_off(few);
            self.judge(suspects).await?;
            suspects = rest;
        }
        Ok(())
    }

    /// Reads the tokens of all of these at once.
    async fn judge(&mut self, suspects: Vec<Suspect>) -> Result<(), BackendError> {
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut read = redis::cmd("MGET");
        read.arg(self.shared.names.namespace_token());
        for name in suspects.iter().flat_map(Suspect::tokens) {
            let next = places.len() + 1;
            places.entry(name).or_insert_with(|| {
                read.arg(self.shared.names.token(name));
                next
            });
        }
        let found = array(self.up.call(&read, soon()).await?)?;
        let token = |place: usize| match found.get(place) {
            Some(Value::BulkString(token)) => Some(&token[..]),
            _ => None,
        };
        let is_alive = |suspect: &Suspect| {
            let own = suspect.tokens().map(|name| token(places[name]));
            suspect.is_alive(std::iter::once(token(0)).chain(own))
        };
        let (alive, dead): (Vec<_>, Vec<_>) =
            suspects.iter().partition(|suspect| is_alive(suspect));
        let mut reaps = Pipeline::new();
        let calls: Vec<_> = dead
            .iter()
            .map(
                |Suspect {
                     version,
                     id,
                     head,
                     digests,
                 }| { reaping(self.shared, version, *id, head, digests) },
            )
            .collect();
        for call in &calls {
            reaps.invoke_script(call);
        }
        let mut spared = Vec::new();
        for ((answer, call), suspect) in self.ask(&reaps).await?.into_iter().zip(&calls).zip(dead) {
            let answer = match answer {
                // The server has forgotten the script: this tells it again.
                Err(BackendError::Refused(why)) if why.starts_with("NOSCRIPT") => {
                    self.up.script(call, soon()).await?
                }
                answer => answer?,
            };
            match integer(Some(&answer)) {
                Some(1) => self.removed += 1,
                _ => spared.push(suspect),
            }
        }
        for name in alive.into_iter().chain(spared).flat_map(Suspect::tokens) {
            self.used.add(&token_name(name));
        }
        Ok(())
    }

    /// Removes ids whose entries are gone from indexes, and indexes of forgotten builds.
    async fn indexes(&mut self, names: &[Vec<u8>]) -> Result<(), BackendError> {
        let (mut forgotten, mut alive, mut members) = (Vec::new(), Vec::new(), Pipeline::new());
        for name in names {
            let Some((version, _)) = self.shared.names.split("n:", name) else {
                continue;
            };
            if self.is_live(version) {
                members.cmd("SSCAN").arg(name).arg(0).arg("COUNT").arg(STEP);
                alive.push((version, name));
            } else {
                forgotten.push(name);
            }
        }
        self.unlink(&forgotten).await?;
        let mut listed = Vec::new();
        for ((version, index), answer) in alive.into_iter().zip(self.ask(&members).await?) {
            let page = match answer {
                Ok(page) => Page::read(page)?,
                Err(BackendError::Refused(_)) => continue,
                Err(why) => return Err(why),
            };
            listed.extend(page.found.into_iter().map(|id| (version, &index[..], id)));
            // Most have a single member, and all are read at once; the others in steps of their own.
            let mut walk = Walk::from(Walked::Members { set: index.clone() }, page.next);
            while let Some(ids) = walk.step(self.up).await? {
                let ids = ids.into_iter().map(|id| (version, &index[..], id));
                self.forget(ids.collect()).await?;
            }
        }
        self.forget(listed).await
    }

    /// Removes those of these ids from their indexes that have no entry.
    async fn forget(&self, listed: Vec<(&str, &[u8], Vec<u8>)>) -> Result<(), BackendError> {
        let (mut asked, mut exist) = (Vec::new(), Pipeline::new());
        for (version, index, id) in listed {
            if let Some(parsed) = EntryId::parse(&String::from_utf8_lossy(&id)) {
                let names = self.shared.names.of_version(version);
                exist.cmd("EXISTS").arg(names.entry(parsed));
                asked.push((index, id));
            }
        }
        let mut gone = Pipeline::new();
        for ((index, id), exists) in asked.into_iter().zip(self.ask(&exist).await?) {
            if integer(Some(&exists?)) == Some(0) {
                gone.cmd("SREM").arg(index).arg(id);
            }
        }
        self.ask(&gone)
            .await?
            .into_iter()
            .try_for_each(|gone| gone.map(drop))
    }

    /// Gives the tokens among these that nothing depends on the life of unused ones.
    async fn retire(&self, names: &[Vec<u8>], newest: u64) -> Result<(), BackendError> {
        let prefix = self.shared.names.token_prefix();
        let mut call = scripts::RETIRE.prepare_invoke();
        let mut any = false;
        for name in names {
            let rest = name.strip_prefix(prefix.as_bytes());
            let rest = rest.map(std::str::from_utf8);
            if let Some(Ok(rest)) = rest
                // The namespace's own has no name.
                && !rest.is_empty()
                && !self.used.may_have(rest)
            {
                call.key(name);
                any = true;
            }
        }
        if any {
            call.arg(millis(UNUSED_TOKEN_LIFE)).arg(newest);
            self.up.script(&call, soon()).await?;
        }
        Ok(())
    }

    /// Forgets builds, and notes that the pass is over.
    async fn end(self) -> Result<u64, BackendError> {
        let Self {
            shared,
            up,
            builds,
            removed,
            ..
        } = &self;
        for (version, _) in builds.iter().filter(|(_, build)| !build.is_recent()) {
            let mut hdel = redis::cmd("HDEL");
            hdel.arg(shared.names.builds()).arg(version);
            up.call(&hdel, soon()).await?;
            let first = shared.names.of_version(version).first_of_version();
            self.unlink(&[&first.into_bytes()]).await?;
        }
        let mut note = redis::cmd("SET");
        note.arg(shared.names.swept())
            .arg(format!("{} {removed}", now()));
        up.call(&note, soon()).await?;
        Ok(*removed)
    }

    /// How many of these there were.
    async fn unlink(&self, names: &[&Vec<u8>]) -> Result<u64, BackendError> {
        if names.is_empty() {
            return Ok(0);
        }
        let mut unlink = redis::cmd("UNLINK");
        unlink.arg(names);
        let gone = integer(Some(&self.up.call(&unlink, soon()).await?));
        Ok(gone.and_then(|gone| u64::try_from(gone).ok()).unwrap_or(0))
    }

    async fn ask(
        &self,
        commands: &Pipeline,
    ) -> Result<Vec<Result<Value, BackendError>>, BackendError> {
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        self.up.pipeline(commands, soon()).await
    }
}

/// A walk over names or members that holds one step of them at a time.
pub(super) struct Walk {
    what: Walked,
    cursor: Option<Vec<u8>>,
    pauses: bool,
}

enum Walked {
    Names { pattern: String },
    Members { set: Vec<u8> },
}

/// The answer of one step.
struct Page {
    next: Option<Vec<u8>>,
    found: Vec<Vec<u8>>,
}

impl Page {
    fn read(answer: Value) -> Result<Self, BackendError> {
        let mut answer = array(answer)?.into_iter();
        let next = bytes(answer.next())?.to_vec();
        let found = array(answer.next().unwrap_or(Value::Array(Vec::new())))?;
        let found = found
            .into_iter()
            .map(|value| Ok(bytes(Some(value))?.to_vec()));
        Ok(Self {
            next: (next != b"0").then_some(next),
            found: found.collect::<Result<_, BackendError>>()?,
        })
    }
}

impl Walk {
    fn names(pattern: String) -> Self {
        Self {
            pauses: false,
            ..Self::from(Walked::Names { pattern }, Some(b"0".to_vec()))
        }
    }

    pub(super) fn members(set: &[u8]) -> Self {
        Self {
            pauses: false,
            ..Self::from(Walked::Members { set: set.to_vec() }, Some(b"0".to_vec()))
        }
    }

    /// Goes on where an earlier step has ended.
    fn from(what: Walked, cursor: Option<Vec<u8>>) -> Self {
        Self {
            what,
            cursor,
            pauses: true,
        }
    }

    /// The next names; `None` when all were seen. Pauses between steps.
    pub(super) async fn step(&mut self, up: &Up) -> Result<Option<Vec<Vec<u8>>>, BackendError> {
        let Some(cursor) = self.cursor.take() else {
            return Ok(None);
        };
        let mut command = match &self.what {
            Walked::Names { pattern } => {
                let mut scan = redis::cmd("SCAN");
                scan.arg(&cursor).arg("MATCH").arg(pattern);
                scan
            }
            Walked::Members { set } => {
                let mut sscan = redis::cmd("SSCAN");
                sscan.arg(set).arg(&cursor);
                sscan
            }
        };
        command.arg("COUNT").arg(STEP);
        if std::mem::replace(&mut self.pauses, true) {
            tokio::time::sleep(STEP_PAUSE).await;
        }
        let page = Page::read(up.call(&command, soon()).await?)?;
        self.cursor = page.next;
        Ok(Some(page.found))
    }
}
