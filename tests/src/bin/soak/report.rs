//! What happened: counted for the report, and in its order for whoever has to understand a violation.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::micros;
use super::rows::Row;
use super::stage::Stage;

/// Events that are remembered.
const REMEMBERED: usize = 50_000;
/// Of a violation, what happened so long before is shown.
const SHOWN: u64 = 4_000_000;
/// And so many lines of it.
const LINES: usize = 250;

/// Between two words of how far it is.
const SILENCE: Duration = Duration::from_secs(10);

/// Counts and events of one run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    violated: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    faults: BTreeMap<String, u64>,
    counts: BTreeMap<String, u64>,
    answers: BTreeMap<String, u64>,
    events: VecDeque<Event>,
    said: Vec<String>,
    latest: u64,
    late: u64,
    longest: u64,
    took: u64,
    requests: u64,
    /// Greatest memory of each process, in KiB, and the first that was seen.
    resident: BTreeMap<usize, (u64, u64)>,
    /// Hits and reads before the end began.
    before_the_end: (u64, u64),
}

#[derive(Debug)]
struct Event {
    at: u64,
    what: String,
    row: Option<Row>,
}

impl Report {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_violated(&self) -> bool {
        self.violated.load(Ordering::Acquire)
    }

    /// Something that is to be read at the end.
    pub(crate) fn say(&self, what: String) {
        self.state().said.push(what);
    }

    pub(crate) fn event(&self, what: &str, row: Option<Row>) {
        let mut state = self.state();
        state.events.push_back(Event {
            at: micros(),
            what: what.to_owned(),
            row,
        });
        if state.events.len() > REMEMBERED {
            state.events.pop_front();
        }
    }

    pub(crate) fn fault(&self, name: &str) {
        self.event(&format!("FAULT {name}"), None);
        *self.state().faults.entry(name.to_owned()).or_default() += 1;
    }

    pub(crate) fn fault_at(&self, name: &str, node: usize) {
        self.event(&format!("FAULT {name} of node {node}"), None);
        *self.state().faults.entry(name.to_owned()).or_default() += 1;
    }

    pub(crate) fn count(&self, name: &str) {
        *self.state().counts.entry(name.to_owned()).or_default() += 1;
    }

    pub(crate) fn answered(&self, cache: &str) {
        let how = cache.strip_prefix("smart-cache; ").unwrap_or(cache);
        *self.state().answers.entry(how.to_owned()).or_default() += 1;
    }

    pub(crate) fn took(&self, micros: u64) {
        let mut state = self.state();
        state.longest = state.longest.max(micros);
        state.took += micros;
        state.requests += 1;
    }

    /// An answer from memory that was older than a clear elsewhere, by less than L.
    pub(crate) fn late(&self, micros: u64) {
        let mut state = self.state();
        state.late += 1;
        state.latest = state.latest.max(micros);
    }

    /// Something must not have happened. The first one is told at once, with what went before.
    pub(crate) fn violation(&self, what: &str, row: Option<Row>) {
        if self.violated.swap(true, Ordering::AcqRel) {
            return;
        }
        let (now, state) = (micros(), self.state());
        let mut text = format!("\nVIOLATION: {what}\n\nwhat happened before:\n");
        let about = |event: &&Event| {
            let concerns = event.row.is_none()
                || row.is_none()
                || event.row == row
                || matches!(event.row, Some(Row::List(_)));
            event.at + SHOWN > now && concerns
        };
        let events: Vec<&Event> = state.events.iter().filter(about).collect();
        for event in &events[events.len().saturating_sub(LINES)..] {
            let ago = now.saturating_sub(event.at) as f64 / 1000.0;
            let _ = writeln!(text, "  -{ago:>9.3} ms  {}", event.what);
        }
        println!("{text}");
    }

    fn hits(state: &State) -> (u64, u64) {
        let hits = state
            .answers
            .iter()
            .filter(|(how, _)| how.starts_with("hit"));
        (
            hits.map(|(_, count)| count).sum(),
            state.answers.values().sum(),
        )
    }

    /// From here on the last reads are counted.
    pub(crate) fn begin_the_end(&self) {
        let mut state = self.state();
        state.before_the_end = Self::hits(&state);
    }

    /// Hits and reads since.
    pub(crate) fn hits_of_the_end(&self) -> (u64, u64) {
        let state = self.state();
        let (hits, reads) = Self::hits(&state);
        (
            hits - state.before_the_end.0,
            reads - state.before_the_end.1,
        )
    }

    fn resident(&self, node: usize, kibibytes: u64) {
        let mut state = self.state();
        let (first, most) = state.resident.entry(node).or_insert((kibibytes, 0));
        *first = (*first).min(kibibytes);
        *most = (*most).max(kibibytes);
    }

    pub(crate) async fn print(&self, stage: &Stage, took: Duration) {
        let keys = stage.servers.lock().await.master().cli(&["DBSIZE"]);
        let state = self.state();
        let table = |name: &str, of: &BTreeMap<String, u64>| {
            println!("\n{name}");
            for (what, count) in of {
                println!("{count:>10}  {what}");
            }
        };
        println!("\nafter {took:.0?}, {} requests", state.requests);
        table("faults", &state.faults);
        table("answers", &state.answers);
        table("besides", &state.counts);
        println!();
        for line in &state.said {
            println!("{line}");
        }
        println!(
            "{} answers from memory were late, the latest by {:.1} ms; the slowest request took {:.0} ms, the mean {:.1}",
            state.late,
            state.latest as f64 / 1000.0,
            state.longest as f64 / 1000.0,
            state.took as f64 / 1000.0 / state.requests.max(1) as f64
        );
        for (node, (least, most)) in &state.resident {
            println!("node {node}: {} to {} MiB", least / 1024, most / 1024);
        }
        println!("{keys} keys in Redis");
        println!(
            "{}",
            if self.is_violated() {
                "VIOLATED"
            } else {
                "nothing was violated"
            }
        );
    }
}

/// Looks at the memory of the processes once a second, and says once in a while how far it is.
pub(crate) async fn watch(stage: Arc<Stage>, report: Arc<Report>, end: Instant) {
    let (began, mut told) = (Instant::now(), Instant::now());
    while Instant::now() < end && !report.is_violated() {
        for node in &stage.nodes {
            if let Some(kibibytes) = node.resident() {
                report.resident(node.number, kibibytes);
            }
        }
        if told.elapsed() > SILENCE.max(began.elapsed() / 20) {
            told = Instant::now();
            let state = report.state();
            let (hits, reads) = Report::hits(&state);
            let faults: u64 = state.faults.values().sum();
            println!(
                "{:>6} s: {} requests, {hits} hits of {reads} reads, {faults} faults",
                began.elapsed().as_secs(),
                state.requests
            );
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
