//! Ways to keep one page in a cache: the protocol's, and those of others that it is compared with.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Script, cmd, pipe};

use super::client::{Client, Page, Ticket, Time, nonce, server_id};

/// What a request that missed may do with the answer it will make.
#[derive(Debug)]
pub(super) enum Leave<T> {
    /// Store it, with this proof.
    Store(T),
    /// Somebody has filled the page meanwhile, with this row.
    Filled(u64),
    /// Hand it out and store nothing.
    Run,
}

/// A row of the database that came out of the cache.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) row: u64,
    /// It stays until it is cleared; otherwise it goes by itself, soon.
    pub(super) for_ever: bool,
}

/// A cache of one page, whose whole content is the number of the row it was made from.
///
/// Each method is what one process sends to Redis as one step of its own.
pub(super) trait Strategy {
    /// What a reader carries from its beginning to its store.
    type Proof;

    async fn lookup(&mut self) -> Option<Found>;
    /// Whatever a miss does before the handler runs.
    async fn ticket(&mut self) -> Leave<Self::Proof>;
    async fn store(&mut self, proof: Self::Proof, row: u64);
    async fn clear(&mut self);
    /// Memory pressure takes one of the keys; `choice` says which.
    async fn evict(&mut self, choice: usize);

    /// What the namespace looks like before the first step.
    async fn prepare(&mut self) {}
    /// Redis came back as another process, perhaps with old data.
    fn server_changed(&mut self) {}
    // Only the protocol knows holds.
    async fn hold(&mut self, _writer: &str) {}
    async fn unhold(&mut self, _writer: &str) {}
    async fn holds_end(&mut self) {}
}

const FOR_EVER: fn(u64) -> Found = |row| Found {
    row,
    for_ever: true,
};

/// Sends a command whose reply tells nothing.
async fn send(connection: &mut MultiplexedConnection, command: Cmd) {
    command.query_async::<()>(connection).await.unwrap();
}

/// SET after a miss, DEL after a write: what nearly everybody does.
#[derive(Debug)]
pub(super) struct SetDel(pub(super) MultiplexedConnection);

impl Strategy for SetDel {
    type Proof = ();

    async fn lookup(&mut self) -> Option<Found> {
        let row: Option<u64> = Cmd::get("entry").query_async(&mut self.0).await.unwrap();
        row.map(FOR_EVER)
    }

    async fn ticket(&mut self) -> Leave<()> {
        Leave::Store(())
    }

    async fn store(&mut self, (): (), row: u64) {
        send(&mut self.0, Cmd::set("entry", row)).await;
    }

    async fn clear(&mut self) {
        send(&mut self.0, Cmd::del("entry")).await;
    }

    /// It has no key but the entry.
    async fn evict(&mut self, _choice: usize) {
        send(&mut self.0, Cmd::del("entry")).await;
    }
}

/// A set of the entries under each tag; a clear deletes its members.
#[derive(Debug)]
pub(super) struct TagSets(pub(super) MultiplexedConnection);

impl Strategy for TagSets {
    type Proof = ();

    async fn lookup(&mut self) -> Option<Found> {
        let row: Option<u64> = Cmd::get("entry").query_async(&mut self.0).await.unwrap();
        row.map(FOR_EVER)
    }

    async fn ticket(&mut self) -> Leave<()> {
        Leave::Store(())
    }

    async fn store(&mut self, (): (), row: u64) {
        let mut both = pipe();
        both.atomic()
            .sadd("tag", "entry")
            .ignore()
            .set("entry", row)
            .ignore();
        both.query_async::<()>(&mut self.0).await.unwrap();
    }

    async fn clear(&mut self) {
        let script = Script::new(
            "for _, key in ipairs(redis.call('SMEMBERS', 'tag')) do redis.call('DEL', key) end redis.call('DEL', 'tag')",
        );
        script
            .prepare_invoke()
            .invoke_async::<()>(&mut self.0)
            .await
            .unwrap();
    }

    async fn evict(&mut self, _choice: usize) {
        send(&mut self.0, Cmd::del("tag")).await;
    }
}

/// A counter in the entry's name; a clear counts on.
#[derive(Debug)]
pub(super) struct Generation(pub(super) MultiplexedConnection);

impl Generation {
    async fn current(&mut self) -> u64 {
        let generation: Option<u64> = Cmd::get("generation")
            .query_async(&mut self.0)
            .await
            .unwrap();
        generation.unwrap_or(0)
    }
}

impl Strategy for Generation {
    type Proof = u64;

    async fn lookup(&mut self) -> Option<Found> {
        let generation = self.current().await;
        let row: Option<u64> = Cmd::get(format!("entry:{generation}"))
            .query_async(&mut self.0)
            .await
            .unwrap();
        row.map(FOR_EVER)
    }

    async fn ticket(&mut self) -> Leave<u64> {
        Leave::Store(self.current().await)
    }

    async fn store(&mut self, generation: u64, row: u64) {
        send(&mut self.0, Cmd::set(format!("entry:{generation}"), row)).await;
    }

    async fn clear(&mut self) {
        send(&mut self.0, Cmd::incr("generation", 1)).await;
    }

    async fn evict(&mut self, _choice: usize) {
        send(&mut self.0, Cmd::del("generation")).await;
    }
}

/// Random stamps like our tokens, but read when the answer is stored and not before it was made.
#[derive(Debug)]
pub(super) struct StampsAtStore(pub(super) MultiplexedConnection);

impl Strategy for StampsAtStore {
    type Proof = ();

    async fn lookup(&mut self) -> Option<Found> {
        let mget = cmd("MGET").arg("entry").arg("stamp").take();
        let (entry, stamp): (Option<String>, Option<String>) =
            mget.query_async(&mut self.0).await.unwrap();
        let row = entry?
            .strip_prefix(&format!("{} ", stamp?))?
            .parse()
            .unwrap();
        Some(FOR_EVER(row))
    }

    async fn ticket(&mut self) -> Leave<()> {
        Leave::Store(())
    }

    async fn store(&mut self, (): (), row: u64) {
        let script = Script::new(
            "redis.call('SET', 'stamp', ARGV[1], 'NX') redis.call('SET', 'entry', redis.call('GET', 'stamp') .. ' ' .. ARGV[2])",
        );
        script
            .arg(nonce())
            .arg(row)
            .invoke_async::<()>(&mut self.0)
            .await
            .unwrap();
    }

    async fn clear(&mut self) {
        send(&mut self.0, Cmd::del("stamp")).await;
    }

    async fn evict(&mut self, _choice: usize) {
        send(&mut self.0, Cmd::del("stamp")).await;
    }
}

/// The protocol itself.
#[derive(Debug)]
pub(super) struct Tokens {
    client: Client,
    page: Page,
    variation: Variation,
}

/// How the protocol is used, or misused.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Variation {
    /// 0 for off.
    pub(super) settle_ms: u64,
    /// The page's tokens are ten seconds old at the beginning, and its lasting entries welcome.
    pub(super) old_tokens: bool,
    /// Leases expire before their holders store, so that a second reader is granted one too.
    pub(super) short_leases: bool,
    /// Readers find out while they run that the page depends on one more tag, and that is what
    /// writers clear. Goes with `old_tokens`: a tag never seen would be refused too often to tell.
    pub(super) dynamic: bool,
    /// Do not notice that the server is another one: the negative control for restarts.
    pub(super) no_identity: bool,
    /// Mint tokens without a look at the holds: the negative control for clears during a hold.
    pub(super) blind_to_holds: bool,
}

/// The tag that readers find when the variation is `dynamic`.
const FOUND: &str = "found";

impl Tokens {
    pub(super) async fn new(mut connection: MultiplexedConnection, variation: Variation) -> Self {
        let id = server_id(&mut connection).await;
        let mut client = Client::on(connection, "table", id, Time::Server);
        client.settings.settle_ms = variation.settle_ms;
        client.settings.blind_to_holds = variation.blind_to_holds;
        Self {
            client,
            page: Page::new("page", &["tag"]),
            variation,
        }
    }

    /// What writers clear and hold.
    fn written(&self) -> &'static str {
        if self.variation.dynamic {
            FOUND
        } else {
            "page"
        }
    }
}

impl Strategy for Tokens {
    type Proof = super::client::Grant;

    async fn lookup(&mut self) -> Option<Found> {
        let hit = self.client.lookup(&self.page).await?;
        Some(Found {
            row: hit.body.parse().unwrap(),
            for_ever: hit.for_ever,
        })
    }

    async fn ticket(&mut self) -> Leave<Self::Proof> {
        let mut adopted = false;
        loop {
            match self.client.ticket(&self.page).await {
                Ticket::Granted(grant) => return Leave::Store(grant),
                Ticket::Filled(row) => return Leave::Filled(row.parse().unwrap()),
                Ticket::Foreign(token) if !adopted => {
                    self.client.adopt(&token).await;
                    adopted = true;
                }
                Ticket::Busy if self.variation.short_leases => {
                    let lease = self.client.lease(&self.page);
                    self.client.lose(&lease).await;
                }
                _ => return Leave::Run,
            }
        }
    }

    async fn store(&mut self, grant: Self::Proof, row: u64) {
        let found: &[&str] = if self.variation.dynamic {
            &[FOUND]
        } else {
            &[]
        };
        self.client
            .store_with(&self.page, &grant, found, &row.to_string())
            .await;
    }

    async fn clear(&mut self) {
        self.client.clear(&[self.written()]).await;
    }

    async fn evict(&mut self, choice: usize) {
        let client = &self.client;
        let all = [
            client.token("page"),
            client.token(""),
            client.clock(),
            client.token("tag"),
            client.token(FOUND),
            client.lease(&self.page),
            client.entry(&self.page),
        ];
        self.client.lose(&all[choice % all.len()].clone()).await;
    }

    async fn prepare(&mut self) {
        if !self.variation.old_tokens {
            return;
        }
        let (seconds, micros): (u64, u64) = cmd("TIME")
            .query_async(&mut self.client.connection)
            .await
            .unwrap();
        let stamp = (seconds - 10) * 1_000_000 + micros;
        let mut set = cmd("MSET");
        set.arg(self.client.clock()).arg(stamp);
        set.arg(self.client.token("")).arg(format!(
            "{}:{}:{stamp}",
            self.client.server_id,
            nonce()
        ));
        for name in ["page", "tag", FOUND] {
            set.arg(self.client.token(name))
                .arg(format!(":{}:{stamp}", nonce()));
        }
        self.client.run::<()>(set).await.unwrap();
    }

    fn server_changed(&mut self) {
        if !self.variation.no_identity {
            self.client.server_id = nonce()[16..].to_owned();
        }
    }

    async fn hold(&mut self, writer: &str) {
        self.client.hold(self.written(), writer, 60_000).await;
    }

    async fn unhold(&mut self, writer: &str) {
        self.client.unhold(self.written(), writer).await;
    }

    async fn holds_end(&mut self) {
        self.client.expire_holds(self.written()).await;
    }
}
