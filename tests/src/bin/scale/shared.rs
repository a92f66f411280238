//! What the parts of `scale` have in common: a cache, a question, a clock, a file that all processes see.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use http_body_util::BodyExt as _;
use smart_cache::{BackendKind, Builder, SmartCache, StartFlush};
use tower::ServiceExt as _;

/// L of every process.
pub(crate) const STALENESS: Duration = Duration::from_secs(1);

/// A cache like those of a program, but that it waits long: it is the server's limits that are looked
/// for, and a request that gives up early would hide them.
pub(crate) async fn cache(url: &str, set: impl FnOnce(Builder) -> Builder) -> SmartCache {
    let builder = SmartCache::builder()
        .url(url)
        .backend(BackendKind::Redis)
        .namespace("scale")
        .app_version("scale")
        .flush(StartFlush::Never)
        .settle(Duration::ZERO)
        .local_staleness(STALENESS)
        .timeout(Duration::from_secs(5));
    set(builder).build().await.expect("good settings")
}

/// The answer's headers and body.
pub(crate) type Answer = (HeaderMap, bytes::Bytes);

pub(crate) async fn ask(router: &Router, path: &str) -> Answer {
    let request = Request::get(path).body(Body::empty()).expect("a request");
    let response = router.clone().oneshot(request).await.expect("an answer");
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    (head.headers, body)
}

pub(crate) fn is_hit((headers, _): &Answer) -> bool {
    let status = headers
        .get("cache-status")
        .and_then(|text| text.to_str().ok());
    status.is_some_and(|text| text.contains("; hit"))
}

/// The answer as a number.
pub(crate) fn number(answer: &Answer) -> u64 {
    let text = std::str::from_utf8(&answer.1).ok();
    text.and_then(|text| text.parse().ok()).expect("a number")
}

/// The clock of all processes, in microseconds. The driver sees to it that nobody sets it meanwhile.
pub(crate) fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}

/// What the driver wants of the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Warm,
    /// Processes read, nobody clears.
    Quiet,
    Clearing,
    /// Nobody clears any more, but processes go on looking.
    Settle,
    End,
}

/// Numbers in a file, which is the source that handlers read and the sign that all processes watch.
#[derive(Debug)]
pub(crate) struct Shared(File);

impl Shared {
    pub(crate) fn create(path: &Path) -> Self {
        std::fs::write(path, [0; 8]).expect("the folder is writable");
        Self::open(path)
    }

    pub(crate) fn open(path: &Path) -> Self {
        let file = File::options().read(true).write(true).open(path);
        Self(file.expect("the shared file"))
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.get(0) {
            0 => Phase::Warm,
            1 => Phase::Quiet,
            2 => Phase::Clearing,
            3 => Phase::Settle,
            _ => Phase::End,
        }
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.set(0, phase as u64);
    }

    /// The newest version of a probe.
    pub(crate) fn version(&self, probe: u64) -> u64 {
        self.get(1 + probe)
    }

    pub(crate) fn set_version(&self, probe: u64, version: u64) {
        self.set(1 + probe, version);
    }

    fn get(&self, place: u64) -> u64 {
        let mut number = [0; 8];
        // Beyond the end stands nothing yet.
        let _ = self.0.read_at(&mut number, place * 8);
        u64::from_le_bytes(number)
    }

    fn set(&self, place: u64, number: u64) {
        let written = self.0.write_all_at(&number.to_le_bytes(), place * 8);
        written.expect("the shared file");
    }
}
