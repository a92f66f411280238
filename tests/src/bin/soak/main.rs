//! Real processes, a real Redis, every fault at random, and a checker that knows what may be shown.
//!
//! ```text
//! soak --minutes M | --seconds S   [--seed N] [--processes N] [--rate R] [--faults SECONDS]
//!      [--broken set-del | fixed-id]
//! ```
//!
//! Starts two redis-servers, one the other's replica, and N processes of a small application, each
//! with a proxy of its own in front of Redis; then asks, writes and clears over HTTP at R requests a
//! second, while faults happen: `fault.rs` lists them. Exits with 1, and with what happened just
//! before, when
//! - an answer is older than what had been cleared when its request began (`history.rs`),
//! - a request fails whose process was alive, or a handler runs twice for one,
//! - a clear is still pending, or nothing is a hit, when all faults are over.
//!
//! `--seed` repeats the faults and the requests in their order, as far as real processes can; the
//! seed of each run is printed. `--faults` is the longest pause between two faults of one kind.
//! `--broken` runs the same with a cache that is wrong on purpose, which has to be found: `set-del`
//! sets after a miss and deletes after a write; `fixed-id` is our own, told that the server is always
//! the same one.

mod asked;
mod fault;
mod history;
mod node;
mod nodes;
mod report;
mod rows;
mod stage;
mod traffic;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use smart_cache_tests::harness::{number_after, text_after};

use self::report::Report;
use self::stage::Stage;
use self::traffic::Traffic;

/// L of every process.
const STALENESS: Duration = Duration::from_millis(500);

/// How the cache is wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    SetDel,
    FixedId,
}

impl Broken {
    fn of(word: &str) -> Self {
        match word {
            "set-del" => Self::SetDel,
            "fixed-id" => Self::FixedId,
            other => panic!("--broken takes set-del or fixed-id, not {other:?}"),
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::SetDel => "set-del",
            Self::FixedId => "fixed-id",
        }
    }
}

/// The same clock for all processes, in microseconds.
fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}

#[tokio::main(worker_threads = 3)]
async fn main() -> ExitCode {
    let broken = text_after("--broken").map(|word| Broken::of(&word));
    if let Some(number) = number_after("--node") {
        return node::run(number, broken).await;
    }
    let seconds = number_after("--seconds").or_else(|| Some(number_after("--minutes")? * 60));
    let length = Duration::from_secs(seconds.unwrap_or(60));
    let seed = number_after("--seed").unwrap_or_else(|| micros() % 1_000_000);
    let processes = number_after("--processes").unwrap_or(4).max(2);
    let rate = number_after("--rate").unwrap_or(300).max(10);
    let pause = Duration::from_secs(number_after("--faults").unwrap_or(2).max(1));
    println!("seed {seed}, {processes} processes, {rate} requests a second, {length:?}");

    let report = Arc::new(Report::default());
    let stage = Stage::set_up(processes, broken, Arc::clone(&report)).await;
    let traffic = Traffic::new(&stage, rate, seed, Arc::clone(&report));
    let began = Instant::now();
    let end = began + length;
    let asking = tokio::spawn(Arc::clone(&traffic).run(end));
    let faults = fault::Lanes::start(&stage, seed, pause, end, &report);
    let watching = tokio::spawn(report::watch(Arc::clone(&stage), Arc::clone(&report), end));
    let mut broke = asking.await.is_err();
    broke |= faults.ended().await;
    broke |= watching.await.is_err();
    if broke {
        report.violation("the program itself has failed: see the panic above", None);
    }
    if !report.is_violated() {
        stage.heal().await;
        traffic.check_the_end().await;
    }
    report.print(&stage, began.elapsed()).await;
    stage.stop().await;
    if report.is_violated() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
