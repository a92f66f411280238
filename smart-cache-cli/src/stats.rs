//! `stats`: the numbers of every process that uses the namespace, and of the server.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use serde::Serialize;
use smart_cache::SmartCache;
use smart_cache::inspect::{Facts, HandlerReport, ProcessReport, Tally};

use crate::Ended;
use crate::arguments::{Place, Stats};
use crate::connect;
use crate::failure::Failure;
use crate::output::{Output, bytes, duration};
use crate::stop::Stop;
use crate::watch;

pub(crate) async fn run(place: &Place, stats: &Stats, out: &mut Output) -> Result<Ended, Failure> {
    let cache = connect::open(place).await?;
    if !stats.watch {
        let look = Look::take(&cache).await?;
        out.print(&look, || look.to_string())?;
        return Ok(Ended::Well);
    }
    if !out.is_json() && std::io::stdout().is_terminal() {
        watch::run(&cache, stats.every).await?;
        return Ok(Ended::Well);
    }
    // Into a file or another program: a look after the other.
    let mut stop = Stop::listen()?;
    loop {
        tokio::select! {
            look = Look::take(&cache) => {
                let look = look?;
                out.print(&look, || format!("{look}\n"))?;
            }
            () = stop.asked() => return Ok(Ended::Well),
        }
        tokio::select! {
            () = tokio::time::sleep(stats.every) => {}
            () = stop.asked() => return Ok(Ended::Well),
        }
    }
}

/// Everything at one moment.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Look {
    pub(crate) server: Facts,
    pub(crate) total: Tally,
    pub(crate) processes: Vec<ProcessReport>,
    /// Of all processes together, the busiest first.
    pub(crate) handlers: Vec<HandlerReport>,
}

impl Look {
    pub(crate) async fn take(cache: &SmartCache) -> Result<Self, Failure> {
        let server = cache.inspect()?.facts().await?;
        let mut processes = cache.fleet().await?;
        // Ourselves; nobody asks us for pages.
        processes.retain(|process| !process.own);
        processes.sort_by(|a, b| (&a.process, &a.id).cmp(&(&b.process, &b.id)));
        let mut total = Tally::default();
        for process in &processes {
            total.add(&process.total);
        }
        Ok(Self {
            server,
            total,
            handlers: HandlerReport::of_all(processes.iter().cloned()),
            processes,
        })
    }

    pub(crate) fn pending_clears(&self) -> u64 {
        self.processes
            .iter()
            .map(|process| process.pending_clears)
            .sum()
    }
}

impl std::fmt::Display for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            server,
            total,
            processes,
            handlers,
        } = self;
        writeln!(f, "{}", headline(server))?;
        if processes.is_empty() {
            return write!(
                f,
                "no process has reported within half a minute (they do every few seconds)"
            );
        }
        writeln!(
            f,
            "{} processes  {} requests  {} from the cache  {} handler time saved  {} clears pending",
            processes.len(),
            total.requests(),
            ratio(total),
            duration(Duration::from_micros(total.saved_us)),
            self.pending_clears(),
        )?;
        for (reason, count) in &total.bypasses {
            writeln!(f, "  bypassed {count:>10}  {reason}")?;
        }
        for process in processes {
            writeln!(f, "{}", process_line(process))?;
        }
        for (at, handler) in handlers.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", handler_line(handler))?;
        }
        Ok(())
    }
}

fn handler_line(handler: &HandlerReport) -> String {
    let total = &handler.total;
    let bypasses: String = total
        .bypasses
        .iter()
        .map(|(reason, count)| format!("  {reason} {count}"))
        .collect();
    format!(
        "  {:<32}  {:<12}  {:>10} requests  {:>6}  saved {}  {}{bypasses}",
        handler.key,
        handler.handler.rsplit("::").next().unwrap_or_default(),
        total.requests(),
        ratio(total),
        duration(Duration::from_micros(total.saved_us)),
        handler.routes.join(" "),
    )
}

/// The server in one line.
pub(crate) fn headline(server: &Facts) -> String {
    let version = server.server_version.as_deref().unwrap_or("Redis");
    let limit = match server.max_memory {
        Some(limit) if limit > 0 => format!(" of {}", bytes(limit)),
        _ => String::new(),
    };
    let used = server.used_memory.map_or_else(String::new, bytes);
    format!(
        "{:?} on {version}  {used}{limit} used  {} names  {} away",
        server.namespace,
        server.names.unwrap_or(0),
        duration(server.round_trip)
    )
}

fn process_line(process: &ProcessReport) -> String {
    let local = match process.local {
        Some(local) if local.live => format!("local {}", bytes(local.bytes)),
        Some(_) => "local SILENT".to_owned(),
        None => "no local tier".to_owned(),
    };
    let breaker = if process.available {
        ""
    } else {
        "  BREAKER OPEN"
    };
    let counted = |count, what| match count {
        0 => String::new(),
        count => format!("  {count} {what}"),
    };
    let pending = counted(process.pending_clears, "CLEARS PENDING");
    let audit = counted(process.audits_different, "AUDITS DIFFER");
    format!(
        "  {:<32}  {:<12}  {:>10} requests  {:>6}  {local}{breaker}{pending}{audit}",
        process.process,
        process.version,
        process.total.requests(),
        ratio(&process.total),
    )
}

/// `97.3%`, of the requests that could have been hits.
pub(crate) fn ratio(tally: &Tally) -> String {
    tally
        .hit_ratio()
        .map_or_else(|| "-".to_owned(), |ratio| format!("{:.1}%", 100.0 * ratio))
}

/// What happens in a second: from the last two reports of each process.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    last: HashMap<String, (ProcessReport, f64)>,
}

impl Rates {
    /// Requests a second of all processes, after this look.
    pub(crate) fn after(&mut self, look: &Look) -> f64 {
        let mut now = HashMap::new();
        for process in &look.processes {
            let rate = match self.last.remove(&process.id) {
                // Processes report every few seconds, and are looked at more often.
                Some((last, rate)) if last.at == process.at => rate,
                Some((last, _)) => {
                    let since = process.at.duration_since(last.at).unwrap_or_default();
                    let requests = process
                        .total
                        .requests()
                        .saturating_sub(last.total.requests());
                    requests as f64 / since.as_secs_f64().max(0.001)
                }
                None => 0.0,
            };
            now.insert(process.id.clone(), (process.clone(), rate));
        }
        self.last = now;
        self.last.values().map(|(_, rate)| rate).sum()
    }
}
