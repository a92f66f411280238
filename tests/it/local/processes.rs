//! The local tiers of several real processes: what PROTOCOL.md's schedules 3 and 9 do to them.
//!
//! Each process is a `probe` behind a network of its own, with a connection that hears (the marked one) and
//! one that asks. They answer what stands in one file, so an answer tells how old it is.
//!
//! Over 400 lines, for one fleet is what all of the schedules are about.

use std::time::{Duration, Instant};

use http::Method;
use smart_cache_tests::harness::{
    Chaos, Client, Direction, Loss, Program, RedisServer, eventually, namespace,
};
use tempfile::TempDir;

use super::MARGIN;

/// The staleness where that is what is measured.
const L: Duration = Duration::from_millis(500);

/// The data of all processes: one number in a file.
struct Rows {
    folder: TempDir,
    version: u64,
}

impl Rows {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let mut rows = Self { folder, version: 0 };
        rows.write();
        rows
    }

    fn path(&self) -> String {
        self.folder.path().join("rows").display().to_string()
    }

    /// Never half written: a reader sees this version or the one before.
    fn write(&mut self) -> u64 {
        self.version += 1;
        let new = self.folder.path().join("new");
        std::fs::write(&new, self.version.to_string()).unwrap();
        std::fs::rename(new, self.path()).unwrap();
        self.version
    }
}

/// What came back.
#[derive(Debug, Clone, Copy)]
struct Answer {
    version: u64,
    /// Whether it came from the process's memory.
    local: bool,
}

struct Process {
    /// Ends with the test.
    _program: Program,
    client: Client,
    chaos: Chaos,
}

impl Process {
    async fn start(
        server: &RedisServer,
        namespace: &str,
        rows: &Rows,
        staleness: Duration,
    ) -> Self {
        let chaos = Chaos::in_front_of(server.address()).await;
        chaos.mark("TRACKING");
        let staleness = format!("{}ms", staleness.as_millis());
        let (url, rows) = (chaos.url(), rows.path());
        let environment = [
            ("SMART_REDIS_URL", url.as_str()),
            ("SMART_REDIS_NAMESPACE", namespace),
            ("SMART_REDIS_RESTART_AND_CLEAR_CACHE", "false"),
            ("SMART_REDIS_SETTLE", "0"),
            ("SMART_REDIS_TIMEOUT", "1s"),
            ("SMART_REDIS_LOCAL_STALENESS", &staleness),
            ("PROBE_ROWS", &rows),
        ];
        let mut program = Program::start(env!("CARGO_BIN_EXE_probe"), &[], &environment);
        let address = program.line_with("listening on ").await;
        Self {
            _program: program,
            client: Client::of(address.parse().unwrap()),
            chaos,
        }
    }

    async fn text(&self, method: Method, path: &str) -> String {
        let answer = self.client.request(method, path).await;
        assert_eq!(answer.status(), http::StatusCode::OK, "{path}");
        String::from_utf8(answer.body().to_vec()).unwrap()
    }

    /// Whether its local tier may answer, and how often it has.
    async fn local(&self) -> (bool, u64) {
        let local = self.text(Method::GET, "/local").await;
        let (live, hits) = local.split_once(' ').unwrap();
        (live == "true", hits.parse().unwrap())
    }

    /// Asks this process alone: nobody else may ask it meanwhile.
    async fn ask(&self, row: u64) -> Answer {
        let (_, before) = self.local().await;
        let version = self.version(row).await;
        let (_, after) = self.local().await;
        Answer {
            version,
            local: after > before,
        }
    }

    async fn version(&self, row: u64) -> u64 {
        let text = self.text(Method::GET, &format!("/row/{row}")).await;
        text.split_once(' ').unwrap().1.parse().unwrap()
    }

    /// Asks until it answers from its memory.
    async fn warm(&self, row: u64) {
        eventually("an answer from memory", async || {
            self.ask(row).await.local.then_some(())
        })
        .await;
    }

    async fn until(&self, row: u64, version: u64) -> Duration {
        let start = Instant::now();
        eventually(format!("version {version} of row {row}"), async || {
            (self.version(row).await == version).then_some(())
        })
        .await;
        start.elapsed()
    }

    async fn is_live(&self, expected: bool) {
        eventually(format!("a local tier, live: {expected}"), async || {
            (self.local().await.0 == expected).then_some(())
        })
        .await;
    }

    async fn clear(&self, row: u64) -> String {
        self.text(Method::POST, &format!("/clear/row:{row}")).await
    }
}

/// Three processes on one server.
struct Fleet {
    server: RedisServer,
    namespace: String,
    rows: Rows,
    processes: [Process; 3],
}

impl Fleet {
    async fn with(staleness: Duration) -> Self {
        Self::on(RedisServer::start().await, staleness).await
    }

    async fn on(server: RedisServer, staleness: Duration) -> Self {
        let (namespace, rows) = (namespace(), Rows::new());
        let start = || Process::start(&server, &namespace, &rows, staleness);
        let (one, two, three) = tokio::join!(start(), start(), start());
        let fleet = Self {
            processes: [one, two, three],
            server,
            namespace,
            rows,
        };
        fleet.warm(1).await;
        fleet
    }

    /// Until each of them answers from its memory.
    async fn warm(&self, row: u64) {
        for process in &self.processes {
            process.is_live(true).await;
            process.warm(row).await;
        }
    }

    fn token(&self, of: &str) -> String {
        format!("{{{}}}:t:{of}", self.namespace)
    }

    /// Something happens to the server of three warm processes; each of them hears of it at once.
    async fn heard(&mut self, what: impl AsyncFn(&Self)) {
        for _ in 0..3 {
            self.warm(1).await;
            let version = self.rows.write();
            what(self).await;
            for process in &self.processes {
                let took = process.until(1, version).await;
                assert!(took < MARGIN, "{took:?}");
            }
        }
    }

    /// None of them ever answers anything else again.
    async fn only(&self, version: u64) {
        for _ in 0..30 {
            for process in &self.processes {
                assert_eq!(process.version(1).await, version);
            }
        }
    }
}

#[tokio::test]
async fn a_clear_by_one_process_is_heard_by_every_other() {
    let mut fleet = Fleet::with(super::LONG).await;
    fleet
        .heard(async |fleet| assert_eq!(fleet.processes[0].clear(1).await, "ok"))
        .await;
    fleet
        .heard(async |fleet| {
            assert_eq!(
                fleet.processes[1].text(Method::POST, "/clear-all").await,
                "ok"
            );
        })
        .await;
}

#[tokio::test]
async fn flushes_deletions_and_expiry_are_heard_by_every_process() {
    let mut fleet = Fleet::with(super::LONG).await;
    fleet
        .heard(async |fleet| assert_eq!(fleet.server.cli(&["FLUSHALL"]), "OK"))
        .await;
    // What Redis does when it evicts; see also `memory_pressure_is_heard_by_every_process`.
    fleet
        .heard(async |fleet| assert_eq!(fleet.server.cli(&["UNLINK", &fleet.token("rows")]), "1"))
        .await;
    fleet
        .heard(async |fleet| {
            assert_eq!(
                fleet.server.cli(&["PEXPIRE", &fleet.token("row:1"), "1"]),
                "1"
            );
        })
        .await;
}

#[tokio::test]
async fn memory_pressure_is_heard_by_every_process() {
    let server = RedisServer::options().memory("4mb", "allkeys-random");
    let mut fleet = Fleet::on(server.start().await, super::LONG).await;
    let version = fleet.rows.write();
    let (token, filling) = (fleet.token("row:1"), "x".repeat(10_000));
    let mut raw = fleet.server.connection().await;
    let mut filled = 0;
    loop {
        let mut both = redis::pipe();
        both.set(format!("other:{filled}"), &filling).ignore();
        let (found,): (bool,) = both.exists(&token).query_async(&mut raw).await.unwrap();
        if !found {
            break;
        }
        filled += 1;
        assert!(filled < 20_000, "the token is never evicted");
    }
    for process in &fleet.processes {
        assert!(process.until(1, version).await < MARGIN);
    }
}

/// The store of one process is on the wire while the server is flushed; the others are warm.
#[tokio::test]
async fn a_flush_between_ticket_and_store_of_one_process_leaves_nothing_old_in_any() {
    let mut fleet = Fleet::with(super::LONG).await;
    for row in 2..5 {
        let [filler, ..] = &fleet.processes;
        // The key's own name stands in the lookup and the ticket too; only the store carries the body.
        let old = format!("{row} {}", fleet.rows.version);
        let mut store = filler.chaos.hold(&old);
        filler.version(row).await;
        store.arrived().await;
        let version = fleet.rows.write();
        assert_eq!(fleet.server.cli(&["FLUSHALL"]), "OK");
        store.release();
        for process in &fleet.processes {
            // What was warm is forgotten, and what landed late was refused.
            assert!(process.until(1, version).await < MARGIN);
            for _ in 0..10 {
                assert_eq!(process.version(row).await, version);
            }
        }
        fleet.warm(1).await;
    }
}

/// Flushed between the store of one process and the first lookup of the others.
#[tokio::test]
async fn a_flush_between_store_and_lookup_leaves_nothing_old_in_any() {
    let mut fleet = Fleet::with(super::LONG).await;
    for row in 2..5 {
        let old = fleet.rows.version;
        fleet.processes[0].warm(row).await;
        assert_eq!(fleet.processes[0].version(row).await, old);
        let version = fleet.rows.write();
        assert_eq!(fleet.server.cli(&["FLUSHALL"]), "OK");
        for process in fleet.processes.iter().rev() {
            assert!(process.until(row, version).await < MARGIN);
        }
    }
}

/// The link of one process stands still while another clears: it alone may be behind, for L.
#[tokio::test]
async fn a_frozen_link_of_one_process_ages_its_answers_for_at_most_the_staleness() {
    let mut fleet = Fleet::with(L).await;
    for direction in [Direction::Replies, Direction::Requests] {
        fleet.warm(1).await;
        let [clearer, frozen, other] = &fleet.processes;
        frozen.chaos.freeze_marked(direction);
        let version = fleet.rows.write();
        assert_eq!(clearer.clear(1).await, "ok");
        let cleared = Instant::now();
        let mut last = Duration::ZERO;
        while cleared.elapsed() < L * 3 {
            let began = cleared.elapsed();
            let answer = frozen.ask(1).await;
            if answer.version < version {
                assert!(answer.local, "only memory may be behind: {answer:?}");
                last = began;
            }
        }
        println!("frozen {direction:?}: last old answer after {last:?}, L = {L:?}");
        assert!(last <= L, "{last:?}");
        assert!(other.until(1, version).await < MARGIN);
        frozen.is_live(false).await;
        frozen.chaos.thaw_marked(direction);
    }
    fleet.warm(1).await;
    let version = fleet.rows.version;
    fleet.only(version).await;
}

/// The push of another's clear is cut off together with the connection that would have brought it.
#[tokio::test]
async fn a_link_cut_between_push_and_arrival_leaves_nothing_old_in_its_process() {
    let mut fleet = Fleet::with(super::LONG).await;
    for _ in 0..3 {
        fleet.warm(1).await;
        let [clearer, cut, other] = &fleet.processes;
        cut.chaos.freeze_marked(Direction::Replies);
        let old = fleet.rows.version;
        let version = fleet.rows.write();
        assert_eq!(clearer.clear(1).await, "ok");
        assert_eq!(cut.version(1).await, old, "the push is on its way");
        cut.chaos.cut_marked();
        cut.chaos.thaw_marked(Direction::Replies);
        assert!(cut.until(1, version).await < MARGIN);
        assert!(other.until(1, version).await < MARGIN);
    }
}

/// The server executes a clear, its push reaches one process, and it dies before it says so to the clearer;
/// then it comes back as it was before the clear, or empty.
#[tokio::test]
async fn a_server_that_dies_between_push_and_reply_leaves_nothing_old_in_any() {
    for saved in [false, true] {
        let mut fleet = Fleet::with(super::LONG).await;
        if saved {
            fleet.server.save().await;
        }
        let version = fleet.rows.write();
        let [clearer, deaf, hearing] = &fleet.processes;
        deaf.chaos.freeze_marked(Direction::Replies);
        clearer
            .chaos
            .lose_reply_of(fleet.token("row:1"), Loss::Silence);
        let (said, ()) = tokio::join!(clearer.clear(1), async {
            assert!(hearing.until(1, version).await < super::LONG);
            fleet.server.kill();
        });
        assert!(said.starts_with("error: "), "not acknowledged: {said}");
        deaf.chaos.thaw_marked(Direction::Replies);
        assert!(deaf.until(1, version).await < MARGIN);
        fleet.server.restart().await;
        fleet.only(version).await;
        fleet.warm(1).await;
        fleet.only(version).await;
    }
}

/// All tracking connections are killed, and in the same moment something goes that nobody then tells of.
#[tokio::test]
async fn reconnects_of_every_process_leave_nothing_old() {
    let mut fleet = Fleet::with(super::LONG).await;
    fleet
        .heard(async |fleet| {
            for process in &fleet.processes {
                process.chaos.cut_marked();
            }
            assert_eq!(fleet.processes[2].clear(1).await, "ok");
        })
        .await;
}

/// Nothing is cleared on a server that stands still; what stood there before is not believed for ever.
#[tokio::test]
async fn a_server_that_stands_still_is_believed_by_every_process_for_at_most_the_staleness() {
    let fleet = Fleet::with(L).await;
    fleet.server.freeze();
    let frozen = Instant::now();
    for process in &fleet.processes {
        process.is_live(false).await;
    }
    println!("off after {:?}, L = {L:?}", frozen.elapsed());
    for process in &fleet.processes {
        assert!(!process.ask(1).await.local);
    }
    fleet.server.thaw();
    fleet.warm(1).await;
}

/// A PONG that comes late vouches only for what was when its PING left.
#[tokio::test]
async fn a_slow_link_of_one_process_keeps_the_bound() {
    let mut fleet = Fleet::with(L).await;
    for _ in 0..3 {
        fleet.processes[1].chaos.delay(L / 4);
        fleet.warm(1).await;
        let [clearer, slow, _] = &fleet.processes;
        let version = fleet.rows.write();
        assert_eq!(clearer.clear(1).await, "ok");
        assert!(slow.until(1, version).await <= L + MARGIN);
        slow.chaos.delay(Duration::ZERO);
    }
}
