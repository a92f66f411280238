//! A database row, a cache of it, and everything that happens to both in a given order.

use redis::aio::MultiplexedConnection;
use redis::{Script, Value, cmd, pipe};
use smart_cache_tests::harness::{RedisServer, orders_or_sample};
use tokio::task::LocalSet;

use super::strategies::{Leave, Strategy};

/// One atomic step of a reader, a writer or an accident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A request looks the page up, and prepares for its miss: both at once.
    Begin,
    /// The same as two steps.
    Lookup,
    Ticket,
    /// The handler reads the row.
    Read,
    Store,
    /// A writer changes the row.
    Commit,
    Clear,
    Hold,
    Unhold,
    /// The writer died: the holds that are open end by themselves.
    HoldsEnd,
    Evict,
    Flush,
    Snapshot,
    /// Redis comes back with the snapshot's data, as another process.
    Restore,
}

pub(super) const READER: &[Step] = &[Step::Begin, Step::Read, Step::Store];
pub(super) const WRITER: &[Step] = &[Step::Commit, Step::Clear];

/// What became of a set of orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) orders: usize,
    /// Orders after which the cache serves an old row, and will for ever.
    pub(super) stale: usize,
    /// Orders after which it serves an old row, but not for longer than settle.
    pub(super) healing: usize,
    /// Answers served, at any moment, that are older than the last clear before them.
    pub(super) outlawed: usize,
    /// Orders after which it serves the newest row: the cache is of use at all.
    pub(super) useful: usize,
}

/// How many orders of a space that is too big are enacted. Enough for every negative control to
/// fail many times, and for the whole table to take seconds.
const SAMPLE: usize = 1_700;
/// Orders that are enacted at the same time, each in a database of its own.
const LANES: usize = 16;

/// Enacts the orders of these actors on a real server, with a cache that `make` makes.
pub(super) async fn enact<S: Strategy + 'static>(
    server: &RedisServer,
    actors: &[&'static [Step]],
    make: impl AsyncFn(MultiplexedConnection) -> S,
) -> Tally {
    let steps: Vec<usize> = actors.iter().map(|actor| actor.len()).collect();
    let orders = orders_or_sample(&steps, SAMPLE, 42);
    let lanes = LocalSet::new();
    let mut running = Vec::new();
    for lane in 0..LANES.min(orders.len()) {
        let connection = server.connection_to(i64::try_from(lane).unwrap()).await;
        let mut world = World::new(make(connection.clone()).await, connection, actors);
        let own: Vec<_> = orders
            .iter()
            .cloned()
            .enumerate()
            .skip(lane)
            .step_by(LANES)
            .collect();
        running.push(lanes.spawn_local(async move {
            for (number, order) in own {
                world.order(number, &order).await;
            }
            world.tally
        }));
    }
    lanes.await;
    let mut sum = Tally::default();
    for lane in running {
        let tally = lane.await.unwrap();
        sum.orders += tally.orders;
        sum.stale += tally.stale;
        sum.healing += tally.healing;
        sum.outlawed += tally.outlawed;
        sum.useful += tally.useful;
    }
    assert_eq!(sum.orders, orders.len());
    sum
}

struct World<S: Strategy> {
    cache: S,
    connection: MultiplexedConnection,
    actors: Vec<Actor<S::Proof>>,
    /// The number of the row that the database holds; each commit counts it up.
    row: u64,
    /// The row at the last clear: nothing older may be served from then on.
    floor: u64,
    snapshot: Vec<(Vec<u8>, Vec<u8>, u64)>,
    tally: Tally,
}

struct Actor<P> {
    steps: &'static [Step],
    next: usize,
    /// It was served from the cache, and does nothing more.
    served: bool,
    proof: Option<P>,
    read: u64,
}

impl<S: Strategy> World<S> {
    fn new(cache: S, connection: MultiplexedConnection, actors: &[&'static [Step]]) -> Self {
        let actor = |steps: &&'static [Step]| Actor {
            steps,
            next: 0,
            served: false,
            proof: None,
            read: 0,
        };
        let actors = actors.iter().map(actor).collect();
        Self {
            cache,
            connection,
            actors,
            row: 0,
            floor: 0,
            snapshot: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Enacts one order from an empty database on, and judges what is left.
    async fn order(&mut self, number: usize, order: &[usize]) {
        cmd("FLUSHDB")
            .query_async::<()>(&mut self.connection)
            .await
            .unwrap();
        (self.row, self.floor) = (0, 0);
        for actor in &mut self.actors {
            (actor.next, actor.served, actor.proof) = (0, false, None);
        }
        self.cache.prepare().await;
        for &who in order {
            let step = self.actors[who].steps[self.actors[who].next];
            self.actors[who].next += 1;
            self.step(who, step, number).await;
        }
        self.judge().await;
    }

    async fn step(&mut self, who: usize, step: Step, number: usize) {
        let writer = format!("writer {who}");
        match step {
            Step::Begin => {
                self.look_up(who).await;
                self.take_ticket(who).await;
            }
            Step::Lookup => self.look_up(who).await,
            Step::Ticket => self.take_ticket(who).await,
            Step::Read => self.actors[who].read = self.row,
            Step::Store => {
                if let Some(proof) = self.actors[who].proof.take() {
                    self.cache.store(proof, self.actors[who].read).await;
                }
            }
            Step::Commit => self.row += 1,
            Step::Clear => {
                self.cache.clear().await;
                self.floor = self.row;
            }
            Step::Hold => self.cache.hold(&writer).await,
            Step::Unhold => self.cache.unhold(&writer).await,
            Step::HoldsEnd => self.cache.holds_end().await,
            Step::Evict => self.cache.evict(number).await,
            Step::Flush => cmd("FLUSHDB")
                .query_async::<()>(&mut self.connection)
                .await
                .unwrap(),
            Step::Snapshot => self.take_snapshot().await,
            Step::Restore => self.restore().await,
        }
    }

    async fn look_up(&mut self, who: usize) {
        if let Some(found) = self.cache.lookup().await {
            self.serve(who, found.row);
        }
    }

    async fn take_ticket(&mut self, who: usize) {
        if self.actors[who].served {
            return;
        }
        match self.cache.ticket().await {
            Leave::Store(proof) => self.actors[who].proof = Some(proof),
            Leave::Filled(row) => self.serve(who, row),
            Leave::Run => {}
        }
    }

    fn serve(&mut self, who: usize, row: u64) {
        self.actors[who].served = true;
        self.tally.outlawed += usize::from(row < self.floor);
    }

    async fn judge(&mut self) {
        self.tally.orders += 1;
        let Some(found) = self.cache.lookup().await else {
            return;
        };
        self.tally.outlawed += usize::from(found.row < self.floor);
        match (found.row == self.row, found.for_ever) {
            (true, _) => self.tally.useful += 1,
            (false, true) => self.tally.stale += 1,
            (false, false) => self.tally.healing += 1,
        }
    }

    /// What SAVE would write: every key of this lane's database.
    async fn take_snapshot(&mut self) {
        let script = Script::new(
            "local all = {} for _, key in ipairs(redis.call('KEYS', '*')) do
               all[#all + 1] = {key, redis.call('DUMP', key), math.max(0, redis.call('PTTL', key))}
             end return all",
        );
        self.snapshot = script
            .prepare_invoke()
            .invoke_async(&mut self.connection)
            .await
            .unwrap();
    }

    async fn restore(&mut self) {
        let mut load = pipe();
        load.cmd("FLUSHDB");
        for (key, dump, ttl) in &self.snapshot {
            load.cmd("RESTORE").arg(key).arg(ttl).arg(dump);
        }
        load.query_async::<Vec<Value>>(&mut self.connection)
            .await
            .unwrap();
        self.cache.server_changed();
    }
}
