//! How the cache starts: from real environments, in real processes.
//!
//! Each test starts the program `probe` (src/bin), which prints its log and its answers.

mod advice;
mod blocking;
mod caches;
mod fallback;
mod flush;
mod settings;

use std::path::Path;

use http::Method;
use smart_cache_tests::harness::{Client, Program, RedisServer, eventually};

/// The variables of one process.
#[derive(Clone, Default)]
struct Environment(Vec<(String, String)>);

impl Environment {
    /// Of a process that uses this server and namespace, flushes nothing and stores at once.
    fn of(server: &RedisServer, namespace: &str) -> Self {
        Self::default()
            .with("SMART_REDIS_URL", &server.url())
            .with("SMART_REDIS_NAMESPACE", namespace)
            .with("SMART_REDIS_RESTART_AND_CLEAR_CACHE", "false")
            .with("SMART_REDIS_SETTLE", "0")
    }

    /// The same with one more variable, or another value of one.
    fn with(mut self, name: &str, value: &str) -> Self {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    fn start(&self, program: impl AsRef<Path>, arguments: &[&str]) -> Program {
        let environment: Vec<(&str, &str)> = [("RUST_LOG", "info")]
            .into_iter()
            .chain(
                self.0
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.as_str())),
            )
            .collect();
        Program::start(program.as_ref(), arguments, &environment)
    }

    /// Runs a probe that ends by itself: whether it succeeded, and all that it printed.
    async fn run(&self, arguments: &[&str]) -> (bool, String) {
        let (status, lines) = self.start(PROBE, arguments).ended().await;
        (status.success(), lines.join("\n"))
    }

    async fn probe(&self) -> Probe {
        Probe::started(self.start(PROBE, &[])).await
    }
}

/// The program that most tests start.
const PROBE: &str = env!("CARGO_BIN_EXE_probe");

/// A probe that listens, with what it has logged so far.
struct Probe {
    program: Program,
    client: Client,
    log: String,
}

impl Probe {
    async fn started(mut program: Program) -> Self {
        let mut log = String::new();
        loop {
            let line = program.line().await;
            let line = line.unwrap_or_else(|| panic!("the probe ended:\n{log}"));
            if let Some(address) = line.strip_prefix("listening on ") {
                let client = Client::of(address.parse().unwrap());
                return Self {
                    program,
                    client,
                    log,
                };
            }
            log.push_str(&line);
            log.push('\n');
        }
    }

    /// Waits until the log holds `part`.
    async fn logs(&mut self, part: &str) {
        while !self.log.contains(part) {
            let line = self.program.line().await;
            let line = line.unwrap_or_else(|| panic!("ended without {part:?}:\n{}", self.log));
            self.log.push_str(&line);
            self.log.push('\n');
        }
    }

    async fn get(&self, path: &str) -> Answer {
        let answer = self.client.get(path).await;
        let how = answer.headers().get("cache-status").cloned();
        Answer {
            how: how.map_or_else(String::new, |how| how.to_str().unwrap().to_owned()),
            body: String::from_utf8(answer.body().to_vec()).unwrap(),
        }
    }

    async fn post(&self, path: &str) -> String {
        let answer = self.client.request(Method::POST, path).await;
        String::from_utf8(answer.body().to_vec()).unwrap()
    }

    async fn hit(&self, path: &str) -> Answer {
        eventually(format!("a hit of {path}"), async || {
            Some(self.get(path).await).filter(Answer::is_hit)
        })
        .await
    }

    /// Whether an answer was made by this process.
    fn made(&self, answer: &Answer) -> bool {
        answer
            .body
            .contains(&format!("by process {},", self.program.id()))
    }
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
struct Answer {
    how: String,
    body: String,
}

impl Answer {
    fn is_hit(&self) -> bool {
        self.how.contains("; hit")
    }
}

#[track_caller]
fn assert_says(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} is missing in:\n{text}");
}
