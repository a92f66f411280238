//! The local tier's logic under a model checker: every interleaving of a reader that fills it, a
//! clear, and a later reader, on the very source that the library compiles.

use loom::sync::atomic::{AtomicBool, AtomicU64 as ServerValue};
use loom::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use self::freshness::{Freshness, Sample};

#[path = "../../../smart-cache/src/local/freshness.rs"]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "the library uses more of it than this model, and publishes it"
)]
mod freshness;
/// What `freshness.rs` synchronises with, as the model checker needs it.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicU64, Ordering};

    pub(super) fn micros(at: std::time::Instant) -> u64 {
        static ORIGIN: std::sync::LazyLock<std::time::Instant> =
            std::sync::LazyLock::new(std::time::Instant::now);
        at.saturating_duration_since(*ORIGIN).as_micros() as u64
    }

    /// Few, so that the model stays small.
    pub(super) const COUNTERS: usize = 2;
}

use self::sync::Ordering::SeqCst;

const KEY: &str = "k";
const OLD: u64 = 1;
const NEW: u64 = 2;
const L: Duration = Duration::from_secs(3600);

/// A server's value, a local tier of one entry, and what was heard.
struct World {
    server: ServerValue,
    freshness: Freshness,
    local: Mutex<Option<(u64, Sample)>>,
    /// Set once the clear has been heard by this process.
    heard: AtomicBool,
}

impl World {
    fn new() -> Arc<Self> {
        let freshness = Freshness::new();
        freshness.begin(Instant::now(), L);
        Arc::new(Self {
            server: ServerValue::new(OLD),
            freshness,
            local: Mutex::new(None),
            heard: AtomicBool::new(false),
        })
    }

    /// Looks up and takes the answer into the local tier: the sample first, then the question.
    fn fill(&self) {
        let sample = self.freshness.sample([KEY].into_iter());
        let value = self.server.load(SeqCst);
        *self.local.lock().unwrap() = Some((value, sample));
    }

    /// The mistake: the question first, and a push only removes what is there.
    fn fill_naively(&self) {
        let value = self.server.load(SeqCst);
        let sample = self.freshness.sample([KEY].into_iter());
        *self.local.lock().unwrap() = Some((value, sample));
    }

    /// Another process clears, and the push arrives.
    fn clear_elsewhere(&self) {
        self.server.store(NEW, SeqCst);
        self.freshness.changed(KEY);
        self.heard.store(true, SeqCst);
    }

    /// What a request is answered locally, if it is.
    fn serve(&self) -> Option<u64> {
        let local = self.local.lock().unwrap();
        let (value, sample) = local.as_ref()?;
        self.freshness
            .is_current(sample, Instant::now())
            .then_some(*value)
    }

    /// A request that begins after the clear was heard must not be answered with the old value.
    fn check(&self) {
        if self.heard.load(SeqCst) {
            assert_ne!(self.serve(), Some(OLD), "a cleared value was served");
        }
    }
}

/// Runs one reader that fills and one clear in every interleaving, and looks from a third side.
fn explore(fill: fn(&World), clear: fn(&World)) {
    loom::model(move || {
        let world = World::new();
        let filler = {
            let world = Arc::clone(&world);
            loom::thread::spawn(move || fill(&world))
        };
        let clearer = {
            let world = Arc::clone(&world);
            loom::thread::spawn(move || clear(&world))
        };
        world.check();
        filler.join().unwrap();
        clearer.join().unwrap();
        world.check();
    });
}

#[test]
fn a_sample_before_the_question_never_serves_what_was_cleared() {
    explore(World::fill, World::clear_elsewhere);
}

#[test]
#[should_panic(expected = "a cleared value was served")]
fn a_sample_after_the_question_serves_what_was_cleared() {
    explore(World::fill_naively, World::clear_elsewhere);
}

#[test]
fn a_flush_ends_everything_that_was_read_before_it() {
    explore(World::fill, |world| {
        world.server.store(NEW, SeqCst);
        world.freshness.flushed();
        world.heard.store(true, SeqCst);
    });
}

#[test]
fn a_link_that_is_lost_and_found_again_ends_everything_that_was_read_before_it() {
    explore(World::fill, |world| {
        // The push is lost with the link; the next one begins anew.
        world.server.store(NEW, SeqCst);
        world.freshness.end();
        world.freshness.begin(Instant::now(), L);
        world.heard.store(true, SeqCst);
    });
}

#[test]
#[should_panic(expected = "a cleared value was served")]
fn a_link_that_begins_without_a_new_generation_serves_what_was_cleared() {
    explore(World::fill, |world| {
        world.server.store(NEW, SeqCst);
        world.freshness.heartbeat(Instant::now(), L);
        world.heard.store(true, SeqCst);
    });
}

#[test]
fn reading_ones_own_clear_needs_the_bump_after_the_answer_too() {
    explore(World::fill, |world| {
        world.freshness.changed(KEY);
        world.server.store(NEW, SeqCst);
        world.freshness.changed(KEY);
        world.heard.store(true, SeqCst);
    });
}

#[test]
#[should_panic(expected = "a cleared value was served")]
fn a_bump_before_the_command_alone_is_not_enough() {
    explore(World::fill, |world| {
        world.freshness.changed(KEY);
        world.server.store(NEW, SeqCst);
        world.heard.store(true, SeqCst);
    });
}
