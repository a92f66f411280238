//! A process that writes: it clears at a rate, whatever becomes of the clears before.

use std::path::Path as FilePath;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smart_cache::SmartCache;
use smart_cache_tests::harness::{number_after, text_after};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::shared::{Phase, Shared, cache, micros};

/// Clears that may be under way at once; past that it falls behind, and says so by its rate.
const MOST_AT_ONCE: usize = 256;
const TICK: Duration = Duration::from_millis(1);

pub(crate) async fn run() -> ExitCode {
    let wanted = |flag| number_after(flag).unwrap_or_else(|| panic!("{flag} N"));
    let file = text_after("--shared").expect("--shared FILE");
    let shared = Arc::new(Shared::open(FilePath::new(&file)));
    let url = text_after("--url").expect("--url URL");
    // It reads nothing.
    let cache = cache(&url, |builder| builder.local_capacity(0)).await;
    println!("ready");
    while shared.phase() != Phase::Clearing {
        tokio::time::sleep(TICK).await;
    }
    let probing = {
        let (cache, shared) = (cache.clone(), Arc::clone(&shared));
        let (probes, rate) = (wanted("--probes"), wanted("--probe-rate"));
        tokio::spawn(async move { probe(&cache, &shared, probes, rate).await })
    };
    let stripe = Stripe {
        next: wanted("--clearer"),
        step: wanted("--clearers"),
        entries: wanted("--entries"),
    };
    let (times, failed) = clear(&cache, &shared, stripe, wanted("--rate")).await;
    for (probe, version, at) in probing.await.expect("no panic") {
        println!("cleared {probe} {version} {at}");
    }
    for micros in times {
        println!("took {micros}");
    }
    println!("failed {failed}");
    ExitCode::SUCCESS
}

/// Which items this process clears.
struct Stripe {
    next: u64,
    step: u64,
    entries: u64,
}

impl Stripe {
    fn take(&mut self) -> String {
        let id = self.next % self.entries.max(1);
        self.next += self.step;
        format!("item:{id}")
    }
}

/// Clears so many a second; how long each took, in microseconds, and how many were not acknowledged.
async fn clear(
    cache: &SmartCache,
    shared: &Shared,
    mut stripe: Stripe,
    rate: u64,
) -> (Vec<u64>, u64) {
    let room = Arc::new(Semaphore::new(MOST_AT_ONCE));
    let (mut tasks, mut times, mut failed) = (JoinSet::new(), Vec::new(), 0);
    let mut note = |done: Result<Option<u64>, tokio::task::JoinError>| match done.expect("no panic")
    {
        Some(took) => times.push(took),
        None => failed += 1,
    };
    let (began, mut sent) = (Instant::now(), 0);
    while shared.phase() == Phase::Clearing {
        let due = (began.elapsed().as_secs_f64() * rate as f64) as u64;
        while sent < due {
            let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                break;
            };
            let (cache, key) = (cache.clone(), stripe.take());
            tasks.spawn(async move {
                let began = Instant::now();
                let cleared = cache.clear(key).await;
                drop(permit);
                cleared.is_ok().then(|| began.elapsed().as_micros() as u64)
            });
            sent += 1;
        }
        while let Some(done) = tasks.try_join_next() {
            note(done);
        }
        tokio::time::sleep(TICK).await;
    }
    while let Some(done) = tasks.join_next().await {
        note(done);
    }
    (times, failed)
}

/// Changes and clears probes in turn; which, the version that it wrote, and when its clear was
/// acknowledged.
async fn probe(
    cache: &SmartCache,
    shared: &Shared,
    probes: u64,
    rate: u64,
) -> Vec<(u64, u64, u64)> {
    let mut cleared = Vec::new();
    if rate == 0 || probes == 0 {
        return cleared;
    }
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate as f64));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for turn in 0.. {
        ticks.tick().await;
        if shared.phase() != Phase::Clearing {
            break;
        }
        let probe = turn % probes;
        let version = shared.version(probe) + 1;
        shared.set_version(probe, version);
        if cache.clear(format!("probe:{probe}")).await.is_ok() {
            cleared.push((probe, version, micros()));
        }
    }
    cleared
}
