//! A client of the protocol as small as can be: one method for each thing that is sent to Redis.
//!
//! Over 400 lines: every script has its twin here, beside the others.

mod accidents;
mod answers;
mod entry;
mod scripts;

use std::sync::atomic::{AtomicU64, Ordering};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisResult, Value, cmd, from_redis_value};
use sha1_smol::Sha1;
use smart_cache_tests::harness::{RedisServer, namespace};

pub(super) use answers::{Grant, Hit, Page, Stored, Ticket};
use entry::Entry;
use scripts::Scripts;
pub(super) use scripts::Time;

/// The build that all entries of these tests belong to.
const VERSION: &str = "v1";
/// How long a token lives that no entry uses.
const UNUSED_LIFE_MS: u64 = 3_600_000;
/// The time at which a test's own clock begins, in microseconds.
pub(super) const NOON: u64 = 1_800_000_000_000_000;

/// Settings of a client that some schedules vary.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) settle_ms: u64,
    pub(super) lease_ms: u64,
    pub(super) variants: u64,
    /// Mint as if nobody held anything: the negative control for clears during a hold.
    pub(super) blind_to_holds: bool,
}

impl Settings {
    /// Without settle: then only the protocol itself keeps stale answers out.
    pub(super) const STRICT: Self = Self {
        settle_ms: 0,
        lease_ms: 60_000,
        variants: 100,
        blind_to_holds: false,
    };
}

/// One process that uses a namespace.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) connection: MultiplexedConnection,
    /// `{namespace}:`
    prefix: String,
    /// Which incarnation of the server this client believes to talk to.
    pub(super) server_id: String,
    pub(super) settings: Settings,
    scripts: Scripts,
}

/// A nonce is fresh for every attempt.
pub(super) fn nonce() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{:032x}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The identity of the server process that answers on this connection.
pub(super) async fn server_id(connection: &mut MultiplexedConnection) -> String {
    let info: String = cmd("INFO").query_async(connection).await.unwrap();
    let field = |name: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap()
            .trim()
            .to_owned()
    };
    sha1(&[field("run_id:"), field("master_replid:")].concat())[..16].to_owned()
}

pub(super) fn sha1(text: &str) -> String {
    Sha1::from(text).digest().to_string()
}

impl Client {
    /// A client in a namespace of its own.
    pub(super) async fn of(server: &RedisServer) -> Self {
        Self::join(server, &namespace(), Time::Server).await
    }

    /// A client whose scripts read the time that the test sets; it begins at [`NOON`].
    pub(super) async fn with_test_time(server: &RedisServer) -> Self {
        let mut client = Self::join(server, &namespace(), Time::Test).await;
        client.set_time(NOON).await;
        client
    }

    /// Another process that uses the same namespace, on a connection of its own.
    pub(super) async fn another(&self, server: &RedisServer) -> Self {
        Self {
            connection: server.connection().await,
            ..self.clone()
        }
    }

    /// One more client of a namespace, on a connection of its own.
    pub(super) async fn join(server: &RedisServer, namespace: &str, time: Time) -> Self {
        let mut connection = server.connection().await;
        let server_id = server_id(&mut connection).await;
        Self::on(connection, namespace, server_id, time)
    }

    pub(super) fn on(
        connection: MultiplexedConnection,
        namespace: &str,
        server_id: String,
        time: Time,
    ) -> Self {
        let prefix = format!("{{{namespace}}}:");
        Self {
            connection,
            prefix,
            server_id,
            settings: Settings::STRICT,
            scripts: Scripts::new(time),
        }
    }

    // The names of docs/protocol.md.

    pub(super) fn token(&self, key: &str) -> String {
        format!("{}t:{key}", self.prefix)
    }

    pub(super) fn entry(&self, page: &Page) -> String {
        format!("{}e:{VERSION}:{}", self.prefix, page.id)
    }

    pub(super) fn lease(&self, page: &Page) -> String {
        format!("{}l:{VERSION}:{}", self.prefix, page.id)
    }

    pub(super) fn clock(&self) -> String {
        format!("{}clock", self.prefix)
    }

    fn index(&self, page: &Page) -> String {
        format!("{}n:{VERSION}:{}", self.prefix, page.keys[0])
    }

    fn holds(&self, key: &str) -> String {
        format!("{}h:{key}", self.prefix)
    }

    /// What TICKET and STORE look at before they mint.
    fn holds_of<'a>(&self, keys: impl Iterator<Item = &'a str>) -> Vec<String> {
        if self.settings.blind_to_holds {
            return Vec::new();
        }
        keys.map(|key| self.holds(key)).collect()
    }

    /// The namespace's token, the key's, the tags'.
    fn static_tokens(&self, page: &Page) -> Vec<String> {
        let names = std::iter::once("").chain(page.keys.iter().map(String::as_str));
        names.map(|name| self.token(name)).collect()
    }

    // The commands of sections 3 to 8.

    /// The lookup, in two steps when the entry lists dynamic tags.
    pub(super) async fn lookup(&mut self, page: &Page) -> Option<Hit> {
        let mut names = self.static_tokens(page);
        names.insert(0, self.entry(page));
        let mut found = self.mget(&names).await;
        let bytes = found.remove(0)?;
        let entry = Entry::of(&bytes);
        let ours = found[0].as_deref()?.strip_prefix(&self.server_id);
        if !ours.is_some_and(|rest| rest.starts_with(':')) || !entry.is_proved_by(&found) {
            return None;
        }
        if !entry.dynamic.is_empty() {
            let names: Vec<_> = entry.dynamic.iter().map(|tag| self.token(tag)).collect();
            if !entry.is_also_proved_by(&self.mget(&names).await) {
                return None;
            }
        }
        Some(Hit {
            for_ever: entry.for_ever,
            body: entry.body,
        })
    }

    /// What [`lookup`](Self::lookup) serves, the body alone.
    pub(super) async fn served(&mut self, page: &Page) -> Option<String> {
        Some(self.lookup(page).await?.body)
    }

    /// TICKET with a fresh nonce.
    pub(super) async fn ticket(&mut self, page: &Page) -> Ticket {
        self.ticket_with(page, &nonce()).await
    }

    /// TICKET with this nonce, as a client's library would send it again.
    pub(super) async fn ticket_with(&mut self, page: &Page, nonce: &str) -> Ticket {
        self.try_ticket(page, nonce).await.unwrap()
    }

    /// TICKET of a server that may refuse it.
    pub(super) async fn try_ticket(&mut self, page: &Page, nonce: &str) -> RedisResult<Ticket> {
        let listed = self.listed(page).await;
        self.ticket_listing(page, nonce, &listed).await
    }

    /// TICKET with the tags of an entry that was seen at some time.
    pub(super) async fn ticket_listing(
        &mut self,
        page: &Page,
        nonce: &str,
        listed: &[String],
    ) -> RedisResult<Ticket> {
        let statics = self.static_tokens(page);
        let dynamic: Vec<String> = listed.iter().map(|tag| self.token(tag)).collect();
        let holds = self.holds_of(page.keys.iter().chain(listed).map(String::as_str));
        let script = self.scripts.ticket.clone();
        let mut call = script.key(self.entry(page));
        call.key(self.lease(page))
            .key(self.clock())
            .key(&statics)
            .key(&dynamic)
            .key(&holds);
        call.arg(&self.server_id)
            .arg(nonce)
            .arg(self.settings.lease_ms)
            .arg(statics.len())
            .arg(UNUSED_LIFE_MS)
            .arg(statics.len() + dynamic.len());
        let answer: Vec<Value> = call.invoke_async(&mut self.connection).await?;
        Ok(match text(&answer[0]).as_str() {
            "H" => Ticket::Filled(Entry::after_digests(&text(&answer[1])).1),
            "L" => Ticket::Granted(Grant {
                digest: text(&answer[1]),
                lease: text(&answer[2]),
            }),
            "B" => Ticket::Busy,
            "U" => Ticket::Held,
            "M" => Ticket::Run,
            "I" => Ticket::Foreign(text(&answer[1])),
            other => panic!("TICKET answered {other}"),
        })
    }

    /// The dynamic tags that the entry lists, dead or alive.
    async fn listed(&mut self, page: &Page) -> Vec<String> {
        let bytes = self.mget(&[self.entry(page)]).await.remove(0);
        bytes.map_or_else(Vec::new, |bytes| Entry::of(&bytes).dynamic)
    }

    /// STORE of an answer that depends on nothing but the page's keys.
    pub(super) async fn store(&mut self, page: &Page, grant: &Grant, body: &str) -> Stored {
        self.store_with(page, grant, &[], body).await
    }

    /// STORE of an answer that also depends on these tags, found while it was made.
    pub(super) async fn store_with(
        &mut self,
        page: &Page,
        grant: &Grant,
        dynamic: &[&str],
        body: &str,
    ) -> Stored {
        self.try_store(page, grant, dynamic, body).await.unwrap()
    }

    /// STORE on a server that may refuse it.
    pub(super) async fn try_store(
        &mut self,
        page: &Page,
        grant: &Grant,
        dynamic: &[&str],
        body: &str,
    ) -> RedisResult<Stored> {
        let mut dynamic: Vec<&str> = dynamic
            .iter()
            .copied()
            .filter(|tag| !page.keys.iter().any(|key| key == tag))
            .collect();
        dynamic.sort_unstable();
        dynamic.dedup();
        let statics = self.static_tokens(page);
        let names: Vec<String> = dynamic.iter().map(|tag| self.token(tag)).collect();
        let script = self.scripts.store.clone();
        let mut call = script.key(self.entry(page));
        call.key(self.lease(page))
            .key(self.clock())
            .key(self.index(page))
            .key(&statics)
            .key(&names)
            .key(self.holds_of(dynamic.iter().copied()));
        call.arg(&grant.lease)
            .arg(&grant.digest)
            .arg(Entry::head_and_body(&dynamic, body));
        call.arg(0)
            .arg(self.settings.settle_ms)
            .arg(statics.len())
            .arg(nonce())
            .arg(UNUSED_LIFE_MS);
        call.arg(&page.id)
            .arg(self.settings.variants)
            .arg(statics.len() + names.len());
        let answer: Vec<Value> = call.invoke_async(&mut self.connection).await?;
        Ok(match from_redis_value::<i64>(answer[0].clone())? {
            1 => Stored::Yes {
                ttl: from_redis_value(answer[1].clone())?,
            },
            0 => Stored::LeaseLost,
            -1 => Stored::Cleared,
            -2 => Stored::TooYoung,
            other => panic!("STORE answered {other}"),
        })
    }

    /// The whole way of a request that misses: ticket, handler, store.
    pub(super) async fn fill(&mut self, page: &Page, body: &str) -> Stored {
        let grant = self.ticket(page).await.granted();
        self.store(page, &grant, body).await
    }

    /// Clears keys and tags; the empty name is the namespace.
    pub(super) async fn clear(&mut self, keys: &[&str]) {
        let mut del = cmd("DEL");
        for key in keys {
            del.arg(self.token(key));
        }
        self.run::<()>(del).await.unwrap();
    }

    /// EXPIRE: a soft clear.
    pub(super) async fn expire(&mut self, keys: &[&str]) {
        let script = self.scripts.expire.clone();
        let mut call = script.key(self.clock());
        for key in keys {
            call.key(self.token(key));
        }
        call.arg(nonce())
            .invoke_async::<()>(&mut self.connection)
            .await
            .unwrap();
    }

    /// ADOPT of a namespace that another incarnation left; says whether it was still that one's.
    pub(super) async fn adopt(&mut self, seen: &str) -> bool {
        let script = self.scripts.adopt.clone();
        let mut call = script.key(self.token(""));
        call.key(self.clock())
            .arg(seen)
            .arg(&self.server_id)
            .arg(nonce());
        call.invoke_async(&mut self.connection).await.unwrap()
    }

    /// RENEW; says whether the lease was still this one's.
    pub(super) async fn renew(&mut self, page: &Page, grant: &Grant) -> bool {
        let script = self.scripts.renew.clone();
        let mut call = script.key(self.lease(page));
        call.arg(&grant.lease)
            .arg(self.settings.lease_ms)
            .invoke_async(&mut self.connection)
            .await
            .unwrap()
    }

    /// RELEASE; says whether the lease was still this one's.
    pub(super) async fn release(&mut self, page: &Page, grant: &Grant) -> bool {
        let script = self.scripts.release.clone();
        script
            .key(self.lease(page))
            .arg(&grant.lease)
            .invoke_async(&mut self.connection)
            .await
            .unwrap()
    }

    /// HOLD before a write, for at most `ms`; `writer` names it.
    pub(super) async fn hold(&mut self, key: &str, writer: &str, ms: u64) {
        let script = self.scripts.hold.clone();
        let mut call = script.key(self.token(key));
        call.key(self.holds(key)).arg(writer).arg(ms);
        call.invoke_async::<()>(&mut self.connection).await.unwrap();
    }

    /// UNHOLD after commit or rollback.
    pub(super) async fn unhold(&mut self, key: &str, writer: &str) {
        let script = self.scripts.unhold.clone();
        let mut call = script.key(self.token(key));
        call.key(self.holds(key))
            .arg(writer)
            .invoke_async::<()>(&mut self.connection)
            .await
            .unwrap();
    }

    pub(super) async fn run<T: FromRedisValue>(&mut self, command: Cmd) -> RedisResult<T> {
        command.query_async(&mut self.connection).await
    }

    async fn mget(&mut self, keys: &[String]) -> Vec<Option<String>> {
        let mut mget = cmd("MGET");
        mget.arg(keys);
        self.run(mget).await.unwrap()
    }
}

fn text(value: &Value) -> String {
    from_redis_value(value.clone()).unwrap()
}
