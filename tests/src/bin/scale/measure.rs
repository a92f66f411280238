//! Percentiles, processor time, and tables of two columns.

use std::time::Duration;

/// Ticks of `/proc/PID/stat` in a second: the same number on every Linux.
const TICKS: f64 = 100.0;

/// Times in microseconds, and which of them stands where.
#[derive(Debug, Default)]
pub(crate) struct Times(Vec<u64>);

impl Times {
    pub(crate) fn push(&mut self, time: Duration) {
        self.push_micros(time.as_micros() as u64);
    }

    pub(crate) fn push_micros(&mut self, micros: u64) {
        self.0.push(micros);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn longest(&self) -> Duration {
        Duration::from_micros(self.0.iter().copied().max().unwrap_or(0))
    }

    /// How many are not zero.
    pub(crate) fn above_zero(&self) -> usize {
        self.0.iter().filter(|time| **time > 0).count()
    }

    /// In one line.
    pub(crate) fn percentiles(mut self) -> String {
        self.0.sort_unstable();
        let Some(last) = self.0.len().checked_sub(1) else {
            return "nothing".to_owned();
        };
        let at = |share: f64| shown(self.0[(last as f64 * share) as usize]);
        format!(
            "p50 {}  p90 {}  p99 {}  p99.9 {}  longest {}",
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            at(1.0)
        )
    }
}

fn shown(micros: u64) -> String {
    match micros {
        0..10_000 => format!("{micros} us"),
        _ => format!("{:.1} ms", micros as f64 / 1000.0),
    }
}

/// Seconds that a process has had of the processors; `None` once it has ended.
pub(crate) fn cpu_seconds(process: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The program's name stands in parentheses and may hold anything.
    let behind = &stat[stat.rfind(')')? + 1..];
    let mut fields = behind.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

/// One line of a table.
pub(crate) fn row(what: &str, value: impl std::fmt::Display) {
    println!("{what:<44} {value}");
}

/// Bytes, for people.
pub(crate) fn bytes(number: f64) -> String {
    match number {
        large if large >= 1e9 => format!("{:.2} GB", large / 1e9),
        middle if middle >= 1e6 => format!("{:.1} MB", middle / 1e6),
        small => format!("{small:.0} B"),
    }
}

/// The machine, for whoever reads the table.
pub(crate) fn machine() {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    let build = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    row(
        "machine",
        format!("{processors} processors, load {load} before it began, {build} build"),
    );
}
