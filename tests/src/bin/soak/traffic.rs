//! Who asks, writes and clears, and judges every answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use smart_cache_tests::harness::Random;
use tokio::sync::Mutex as Turns;
use tokio::task::JoinSet;

use super::asked::{Answer, Asker};
use super::history::Verdict;
use super::micros;
use super::nodes::{Node, Place};
use super::report::Report;
use super::rows::{LISTS, PAGES, Row};
use super::stage::{Stage, eventually};

/// Requests that are under way at once.
const TASKS: u64 = 12;
/// Of so many requests one writes.
const READS_FOR_A_WRITE: u64 = 12;

/// All clients.
#[derive(Debug)]
pub(crate) struct Traffic {
    stage: Arc<Stage>,
    report: Arc<Report>,
    asker: Asker,
    numbers: AtomicU64,
    rate: u64,
    seed: u64,
    /// Writes of one row take turns, so that its versions have an order.
    turns: Vec<Turns<()>>,
}

/// What a request reads.
#[derive(Clone, Copy, Debug)]
enum Read {
    Page(u64),
    /// The page, but not from the memory of the process.
    Far(u64),
    List(u64),
}

impl Read {
    fn path(self) -> String {
        match self {
            Self::Page(id) => format!("/page/{id}"),
            Self::Far(id) => format!("/far/{id}"),
            Self::List(id) => format!("/list/{id}"),
        }
    }

    const fn row(self) -> Row {
        match self {
            Self::Page(id) | Self::Far(id) => Row::Page(id),
            Self::List(id) => Row::List(id),
        }
    }

    const fn has_memory(self) -> bool {
        !matches!(self, Self::Far(_))
    }
}

impl Traffic {
    pub(crate) fn new(stage: &Arc<Stage>, rate: u64, seed: u64, report: Arc<Report>) -> Arc<Self> {
        Arc::new(Self {
            stage: Arc::clone(stage),
            report,
            asker: Asker::new(),
            numbers: AtomicU64::new(1),
            rate,
            seed,
            turns: Row::all().map(|_| Turns::new(())).collect(),
        })
    }

    /// Asks until the end, or until something was wrong.
    pub(crate) async fn run(self: Arc<Self>, end: Instant) {
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let traffic = Arc::clone(&self);
            let random = Random::seeded(traffic.seed ^ (task << 20));
            tasks.spawn(traffic.client(random, end));
        }
        while let Some(ended) = tasks.join_next().await {
            if ended.is_err() {
                self.report.violation("a client has failed", None);
            }
        }
    }

    async fn client(self: Arc<Self>, mut random: Random, end: Instant) {
        let every = Duration::from_micros(1_000_000 * TASKS / self.rate);
        let mut ticks = tokio::time::interval(every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while Instant::now() < end && !self.report.is_violated() {
            ticks.tick().await;
            let node = random.below(self.stage.nodes.len() as u64) as usize;
            let node = Arc::clone(&self.stage.nodes[node]);
            // The smaller of two: some pages are popular.
            let id = random.below(PAGES).min(random.below(PAGES));
            let list = random.below(LISTS);
            match random.below(READS_FOR_A_WRITE) {
                0 => self.write(&node, &mut random, id, list).await,
                1..=3 => self.read(&node, Read::List(list)).await,
                4 | 5 => self.read(&node, Read::Far(id)).await,
                _ => self.read(&node, Read::Page(id)).await,
            }
        }
    }

    /// One request; `None` when its process died, or was not there.
    async fn ask(
        &self,
        node: &Node,
        method: Method,
        path: &str,
    ) -> Option<(Answer, Place, (u64, u64))> {
        let place = node.place()?;
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let began = micros();
        let answer = self
            .asker
            .ask(method.clone(), place.address, path, number)
            .await;
        let ended = micros();
        match answer {
            Ok(answer) => {
                self.report.took(ended - began);
                if answer.status == 200 {
                    return Some((answer, place, (began, ended)));
                }
                let what = format!("{method} {path} of node {}: {answer:?}", node.number);
                self.report.violation(&what, None);
                None
            }
            Err(_) if node.has_died(place.life) => {
                self.report.count("requests of a process that was killed");
                None
            }
            Err(why) => {
                let what = format!("{method} {path} of node {} failed: {why}", node.number);
                self.report.violation(&what, None);
                None
            }
        }
    }

    async fn read(&self, node: &Node, read: Read) {
        let path = read.path();
        let Some((answer, place, times)) = self.ask(node, Method::GET, &path).await else {
            return;
        };
        self.report.answered(&answer.cache);
        let mut words = answer.body.split(' ');
        let build = words.next().unwrap_or_default();
        let rows: Vec<(String, u64)> = std::iter::from_fn(|| {
            let (key, version) = (words.next()?, words.next()?);
            Some((key.to_owned(), version.parse().ok()?))
        })
        .collect();
        let of_row = rows
            .first()
            .is_some_and(|(key, _)| *key == read.row().key());
        if build != place.build || !of_row {
            let what = format!(
                "{path} of node {} ({}): another's answer: {answer:?}",
                node.number, place.build
            );
            self.report.violation(&what, Some(read.row()));
            return;
        }
        let shown = Row::all().filter_map(|row| {
            let key = row.key();
            let (_, version) = rows.iter().find(|(name, _)| *name == key)?;
            Some((row, *version))
        });
        let shown: Vec<(Row, u64)> = shown.collect();
        self.report.event(
            &format!(
                "node {} life {} read {path} ({} us): {} [{}]",
                node.number,
                place.life.number,
                times.1 - times.0,
                answer.body,
                answer.cache
            ),
            Some(read.row()),
        );
        for (row, version) in shown {
            let history = self.stage.history();
            let verdict = history.judge(row, version, place.life, times, read.has_memory());
            drop(history);
            match verdict {
                Verdict::Current => {}
                Verdict::Excepted => self.report.count("old during a role change, as excepted"),
                Verdict::Late(by) => self.report.late(by),
                Verdict::Stale(least) => {
                    let what = format!(
                        "node {} life {} answered {path} with {row:?} version {version}; version {least} had been cleared before it began ({} us ago): {answer:?}",
                        node.number,
                        place.life.number,
                        micros() - times.0,
                    );
                    self.report.violation(&what, Some(row));
                }
            }
        }
    }

    async fn write(&self, node: &Node, random: &mut Random, page: u64, list: u64) {
        match random.below(40) {
            0 => {
                let pages: Vec<Row> = Row::all().take(PAGES as usize).collect();
                self.change(node, "/pages", &pages).await;
            }
            1 => {
                let all: Vec<Row> = Row::all().collect();
                self.change(node, "/all", &all).await;
            }
            2..=8 => {
                let path = format!("/soften/{page}");
                if self.ask(node, Method::POST, &path).await.is_some() {
                    self.report.count("soft clears");
                }
            }
            9..=16 => {
                self.change(node, &format!("/list/{list}"), &[Row::List(list)])
                    .await;
            }
            _ => {
                self.change(node, &format!("/page/{page}"), &[Row::Page(page)])
                    .await;
            }
        }
    }

    /// Changes these rows by one request.
    async fn change(&self, node: &Node, path: &str, rows: &[Row]) {
        let mut turns = Vec::new();
        // Always in the same order.
        for (row, turn) in Row::all().zip(&self.turns) {
            if rows.contains(&row) {
                turns.push(turn.lock().await);
            }
        }
        let Some((answer, place, _)) = self.ask(node, Method::POST, path).await else {
            // It may have committed, and cleared, or not.
            return;
        };
        let mut words = answer.body.split(' ').skip(1);
        let outcome = words.next().unwrap_or_default().to_owned();
        let at = words.next().and_then(|word| word.parse().ok());
        let at = at.unwrap_or_else(micros);
        let row = (rows.len() == 1).then(|| rows[0]);
        let what = format!(
            "node {} life {} wrote {path}: {}",
            node.number, place.life.number, answer.body
        );
        self.report.event(&what, row);
        let is_cleared = outcome == "cleared";
        self.report.count(if is_cleared {
            "clears acknowledged"
        } else {
            "clears not acknowledged"
        });
        let mut history = self.stage.history();
        for row in rows {
            let version = self.stage.rows.version(*row);
            if is_cleared {
                history.acknowledged(*row, version, at, place.life);
            } else {
                history.failed(*row, version, at, place.life);
            }
        }
    }

    /// When all faults are over: nothing is pending, nothing was run twice, and there are hits.
    pub(crate) async fn check_the_end(&self) {
        let drained = eventually(Duration::from_secs(60), async || {
            let mut pending = 0;
            for node in &self.stage.nodes {
                match self.stats(node).await {
                    Some((count, doubled)) => {
                        pending += count;
                        if doubled > 0 {
                            let what = format!(
                                "node {}: {doubled} requests had their handler run twice",
                                node.number
                            );
                            self.report.violation(&what, None);
                        }
                    }
                    None => pending += 1,
                }
            }
            pending == 0
        });
        match drained.await {
            Some(took) => self
                .report
                .say(format!("all clears had landed after {took:.1?}")),
            None => self
                .report
                .violation("clears are still pending after a minute", None),
        }
        self.report.begin_the_end();
        for _ in 0..3 {
            for node in &self.stage.nodes {
                for id in 0..PAGES {
                    self.read(node, Read::Page(id)).await;
                }
                for id in 0..LISTS {
                    self.read(node, Read::List(id)).await;
                }
            }
        }
        let (hits, reads) = self.report.hits_of_the_end();
        self.report
            .say(format!("{hits} hits in the last {reads} reads"));
        if hits * 2 < reads {
            self.report
                .violation("the cache is of no use when all faults are over", None);
        }
    }

    /// Pending clears and doubled runs of a process.
    async fn stats(&self, node: &Node) -> Option<(u64, u64)> {
        let (answer, ..) = self.ask(node, Method::GET, "/stats").await?;
        let mut words = answer.body.split(' ').map(|word| word.parse().ok());
        Some((words.next()??, words.next()??))
    }
}
