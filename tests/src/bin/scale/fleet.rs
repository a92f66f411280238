//! Many clears against many processes: what each clear costs everybody, and how late they hear of it.
//!
//! Over 400 lines: those that clear, those that serve and what is said of them are one experiment.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::routing::get;
use axum::{Extension, Router};
use smart_cache_tests::harness::{Program, RedisServer, number_after};

use super::listener::{Heard, Pushes};
use super::measure::{Times, bytes, cpu_seconds, machine, row};
use super::node::item;
use super::shared::{Phase, STALENESS, Shared, ask, cache, micros};

/// Connections that fill the items, and requests that each has under way.
const FILLERS: usize = 4;
const AT_ONCE: u64 = 32;

/// What was asked for.
struct Wanted {
    processes: u64,
    clearers: u64,
    rate: u64,
    seconds: u64,
    working: u64,
    reads: u64,
    probes: u64,
    probe_rate: u64,
    poll_us: u64,
    entries: u64,
    listeners: u64,
}

impl Wanted {
    fn read() -> Self {
        let number = |flag, usual| number_after(flag).unwrap_or(usual);
        let (rate, seconds) = (number("--rate", 10_000), number("--seconds", 20).max(1));
        Self {
            processes: number("--processes", 32).max(1),
            clearers: number("--clearers", 2).max(1),
            rate,
            seconds,
            working: number("--working", 200),
            reads: number("--reads", 200),
            probes: number("--probes", 2),
            probe_rate: number("--probe-rate", 4),
            poll_us: number("--poll-us", 2_000).max(1),
            // Each is cleared once: a second clear would find nothing to delete, and tell nobody.
            entries: number("--entries", rate * seconds),
            listeners: number("--listeners", 1).max(1),
        }
    }
}

/// What has been spent so far.
struct Spent {
    at: Instant,
    redis: f64,
    nodes: Vec<f64>,
    clearers: Vec<f64>,
    own: f64,
    output: f64,
    pushes: Pushes,
}

struct Fleet {
    server: RedisServer,
    shared: Shared,
    nodes: Vec<Program>,
    clearers: Vec<Program>,
    /// What each connection that listens has heard.
    heard: Vec<Arc<Heard>>,
}

pub(crate) async fn run() -> ExitCode {
    let wanted = Wanted::read();
    machine();
    row(
        "processes",
        format!(
            "{} with a local tier, {} that clear, on the same processors as Redis; {} that only listen",
            wanted.processes, wanted.clearers, wanted.listeners
        ),
    );
    row(
        "each reads",
        format!(
            "{} pages a second of {}, and {} probes every {} us",
            wanted.reads, wanted.working, wanted.probes, wanted.poll_us
        ),
    );
    let fleet = Fleet::start(&wanted).await;
    row(
        "connections",
        format!(
            "{}, which take {} of Redis' memory",
            fleet.server.info("connected_clients").await,
            bytes(
                fleet
                    .server
                    .info("mem_clients_normal")
                    .await
                    .parse()
                    .expect("a number")
            )
        ),
    );
    let clock = (Instant::now(), micros());
    fleet.shared.set_phase(Phase::Quiet);
    let before = fleet.spent().await;
    tokio::time::sleep(Duration::from_secs(wanted.seconds.div_ceil(4))).await;
    let quiet = fleet.spent().await;
    fleet.shared.set_phase(Phase::Clearing);
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(wanted.seconds)).await;
    let after = fleet.spent().await;
    fleet.shared.set_phase(Phase::Settle);
    // On a busy machine this program too comes late.
    let cleared_for = began.elapsed();
    // A process that has heard nothing must have stopped by then.
    tokio::time::sleep(STALENESS * 2).await;
    fleet.shared.set_phase(Phase::End);
    let drift = (clock.0.elapsed().as_micros() as i64 - (micros() - clock.1) as i64).abs();
    let buffer = fleet.server.info("client_recent_max_output_buffer").await;
    let Fleet {
        nodes, clearers, ..
    } = fleet;
    let mut seen = Seen::default();
    for node in nodes {
        seen.add_node(&node.ended().await.1);
    }
    for clearer in clearers {
        seen.add_clearer(&clearer.ended().await.1);
    }
    let good = seen.print_clears(&wanted, cleared_for);
    print_pushes(&wanted, &quiet, &after, &buffer);
    print_cpu("nobody clears", &before, &quiet);
    print_cpu("clearing", &quiet, &after);
    seen.print_pages();
    let late = seen.print_lateness(&wanted);
    if drift > 1_000 {
        println!("the clock was set meanwhile, by {drift} us: the lateness says nothing");
    }
    if good && late {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

impl Fleet {
    async fn start(wanted: &Wanted) -> Self {
        let server = RedisServer::start().await;
        fill(&server.url(), wanted.entries).await;
        let file = server.folder().join("shared");
        let shared = Shared::create(&file);
        let own = std::env::current_exe().expect("a running program is a file");
        let start = |role: &str, number: u64, more: &[(&str, u64)]| {
            let mut arguments = vec![role.to_owned(), number.to_string()];
            arguments.extend(["--url".to_owned(), server.url()]);
            arguments.extend(["--shared".to_owned(), file.display().to_string()]);
            for (flag, number) in more {
                arguments.extend([(*flag).to_owned(), number.to_string()]);
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            Program::start(&own, &arguments, &[])
        };
        let mut nodes = Vec::new();
        for number in 0..wanted.processes {
            let mut node = start(
                "--node",
                number,
                &[
                    ("--working", wanted.working),
                    ("--reads", wanted.reads),
                    ("--probes", wanted.probes),
                    ("--poll-us", wanted.poll_us),
                ],
            );
            // One after the other, so that starting does not look like serving.
            node.line_with("ready").await;
            nodes.push(node);
        }
        let mut clearers = Vec::new();
        for number in 0..wanted.clearers {
            let probe_rate = if number == 0 { wanted.probe_rate } else { 0 };
            let mut clearer = start(
                "--clearer",
                number,
                &[
                    ("--clearers", wanted.clearers),
                    ("--entries", wanted.entries),
                    ("--rate", wanted.rate / wanted.clearers),
                    ("--probes", wanted.probes),
                    ("--probe-rate", probe_rate),
                ],
            );
            clearer.line_with("ready").await;
            clearers.push(clearer);
        }
        let mut heard = Vec::new();
        for _ in 0..wanted.listeners {
            heard.push(Heard::at(server.address()).await);
        }
        Self {
            server,
            shared,
            nodes,
            clearers,
            heard,
        }
    }

    async fn spent(&self) -> Spent {
        let cpu = |program: &Program| cpu_seconds(program.id()).expect("it runs");
        let redis = self.server.info("process_id").await;
        Spent {
            at: Instant::now(),
            redis: cpu_seconds(redis.parse().expect("a number")).expect("it runs"),
            nodes: self.nodes.iter().map(cpu).collect(),
            clearers: self.clearers.iter().map(cpu).collect(),
            own: cpu_seconds(std::process::id()).expect("it runs"),
            output: self
                .server
                .info("total_net_output_bytes")
                .await
                .parse()
                .expect("a number"),
            pushes: self.heard[0].now(),
        }
    }
}

/// Fills what is to be cleared.
async fn fill(url: &str, entries: u64) {
    let next = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..FILLERS {
        let cache = cache(url, |builder| builder.local_capacity(0)).await;
        let router = Router::new()
            .route("/{id}", get(item))
            .layer(Extension(cache));
        for _ in 0..AT_ONCE {
            let (router, next) = (router.clone(), Arc::clone(&next));
            tasks.spawn(async move {
                loop {
                    let id = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if id >= entries {
                        return;
                    }
                    ask(&router, &format!("/{id}")).await;
                }
            });
        }
    }
    tasks.join_all().await;
}

/// What processes have printed.
#[derive(Default)]
struct Seen {
    /// When each process was last answered with each version of each probe.
    sightings: Vec<HashMap<(u64, u64), u64>>,
    /// Probe, version that was written, when its clear was acknowledged.
    cleared: Vec<(u64, u64, u64)>,
    took: Times,
    failed: u64,
    /// Requests for pages and those that the local tier answered, while nobody cleared and while many did.
    quiet: [u64; 2],
    clearing: [u64; 2],
}

/// The word and the numbers of a line.
fn split(line: &str) -> (&str, Vec<u64>) {
    let mut words = line.split(' ');
    let word = words.next().unwrap_or_default();
    (
        word,
        words.filter_map(|number| number.parse().ok()).collect(),
    )
}

impl Seen {
    fn add_node(&mut self, lines: &[String]) {
        let mut sightings = HashMap::new();
        for line in lines {
            match (split(line).0, &split(line).1[..]) {
                ("saw", &[probe, version, last]) => drop(sightings.insert((probe, version), last)),
                ("quiet", &[all, local]) => {
                    self.quiet = [self.quiet[0] + all, self.quiet[1] + local];
                }
                ("clearing", &[all, local]) => {
                    self.clearing = [self.clearing[0] + all, self.clearing[1] + local];
                }
                _ => {}
            }
        }
        self.sightings.push(sightings);
    }

    fn add_clearer(&mut self, lines: &[String]) {
        for line in lines {
            match (split(line).0, &split(line).1[..]) {
                ("cleared", &[probe, version, at]) => self.cleared.push((probe, version, at)),
                ("took", &[micros]) => self.took.push_micros(micros),
                ("failed", &[failed]) => self.failed += failed,
                _ => {}
            }
        }
    }

    /// Whether all were acknowledged.
    fn print_clears(&mut self, wanted: &Wanted, cleared_for: Duration) -> bool {
        let took = std::mem::take(&mut self.took);
        let reached = took.len() as f64 / cleared_for.as_secs_f64();
        row(
            "clears",
            format!("{reached:.0}/s of {}/s, for {cleared_for:.0?}", wanted.rate),
        );
        row("not acknowledged", self.failed);
        let any = took.len() > 0;
        row("clear", took.percentiles());
        any && self.failed == 0
    }

    fn print_pages(&self) {
        for (when, [all, local]) in [("nobody clears", self.quiet), ("clearing", self.clearing)] {
            let share = 100.0 * local as f64 / all.max(1) as f64;
            row(
                &format!("pages answered from memory, {when}"),
                format!("{share:.1}% of {all}"),
            );
        }
    }

    /// Whether nobody was later than L.
    fn print_lateness(&self, wanted: &Wanted) -> bool {
        let mut lateness = Times::default();
        let mut unseen = 0;
        for (probe, version, at) in &self.cleared {
            for sightings in &self.sightings {
                match sightings.get(&(*probe, version - 1)) {
                    Some(last) => lateness.push_micros(last.saturating_sub(*at)),
                    // It did not look, or was still waiting for that version.
                    None => unseen += 1,
                }
            }
        }
        let (pairs, late, longest) = (lateness.len(), lateness.above_zero(), lateness.longest());
        row(
            "clears of probes, seen by each process",
            format!("{} clears, {pairs} seen, {unseen} not", self.cleared.len()),
        );
        row(
            "still served after the acknowledgement",
            format!(
                "{late} of {pairs} ({:.1}%)",
                100.0 * late as f64 / pairs.max(1) as f64
            ),
        );
        row(
            &format!("how late (a look every {} us)", wanted.poll_us),
            lateness.percentiles(),
        );
        if longest > STALENESS {
            println!("later than L, which is {STALENESS:?}");
        }
        longest <= STALENESS && pairs > 0
    }
}

fn print_pushes(wanted: &Wanted, before: &Spent, after: &Spent, buffer: &str) {
    let seconds = (after.at - before.at).as_secs_f64();
    let of = |field: fn(&Pushes) -> u64| (field(&after.pushes) - field(&before.pushes)) as f64;
    let (sent, messages, names) = (
        of(|pushes| pushes.bytes),
        of(|pushes| pushes.messages),
        of(|pushes| pushes.names),
    );
    row(
        "pushed to each process",
        format!(
            "{}/s: {:.0} names/s in {:.0} messages/s, {:.0} B a name",
            bytes(sent / seconds),
            names / seconds,
            messages / seconds,
            sent / names.max(1.0)
        ),
    );
    let output = after.output - before.output;
    let listeners = (wanted.processes + wanted.listeners) as f64;
    row(
        "Redis sends",
        format!(
            "{}/s, {:.0}% of it pushes",
            bytes(output / seconds),
            100.0 * sent * listeners / output.max(1.0)
        ),
    );
    row("longest output buffer of a client", format!("{buffer} B"));
}

fn print_cpu(when: &str, before: &Spent, after: &Spent) {
    let seconds = (after.at - before.at).as_secs_f64();
    let share = |before: f64, after: f64| 100.0 * (after - before) / seconds;
    let shares = |before: &[f64], after: &[f64]| -> Vec<f64> {
        let pairs = before.iter().zip(after);
        pairs
            .map(|(before, after)| share(*before, *after))
            .collect()
    };
    let (nodes, clearers) = (
        shares(&before.nodes, &after.nodes),
        shares(&before.clearers, &after.clearers),
    );
    let sum: f64 = nodes.iter().sum();
    let least = nodes.iter().copied().fold(f64::INFINITY, f64::min);
    let most = nodes.iter().copied().fold(0.0, f64::max);
    let clearing: f64 = clearers.iter().sum();
    row(
        &format!("processor, {when}"),
        format!(
            "Redis {:.1}%; each process {:.1}% ({least:.1} to {most:.1}), all {sum:.0}%; those that clear {clearing:.0}%; this program {:.0}%",
            share(before.redis, after.redis),
            sum / nodes.len() as f64,
            share(before.own, after.own),
        ),
    );
}
