//! A store whose steps happen when the test says so, and the orders that it says.
//!
//! Several actors share one store, each through a [`Stepped`] of its own: every read of one name,
//! every add, every delete waits for a permission. A seed draws who goes on next, until all have
//! ended: any order of all steps can come up. On a map the same seed draws the same order again; on
//! a server a step takes as long as it takes.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use smart_cache::BackendError;
use smart_cache::backend::{BoxFuture, Counted, Expiry, NamePage, Ttl, ValueStore};
use smart_cache_tests::harness::Random;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// One actor's way to the common values.
#[derive(Debug)]
pub(super) struct Stepped {
    values: Arc<dyn ValueStore>,
    permissions: Semaphore,
    waiting: AtomicUsize,
    /// Steps that have begun and not ended.
    going: AtomicUsize,
    calls: AtomicUsize,
    /// Whether it compares and writes in one step, or looks and then writes.
    compares: bool,
}

/// A step, as long as it takes.
pub(super) struct Step<'a>(&'a AtomicUsize);

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Stepped {
    pub(super) fn new(values: &Arc<dyn ValueStore>) -> Arc<Self> {
        Self::with(values, 0, true)
    }

    /// One that cannot compare and write in one step.
    pub(super) fn looking(values: &Arc<dyn ValueStore>) -> Arc<Self> {
        Self::with(values, 0, false)
    }

    /// One that goes its steps without being told to.
    pub(super) fn at_liberty(values: &Arc<dyn ValueStore>) -> Arc<Self> {
        Self::with(values, Semaphore::MAX_PERMITS, true)
    }

    fn with(values: &Arc<dyn ValueStore>, permissions: usize, compares: bool) -> Arc<Self> {
        Arc::new(Self {
            values: Arc::clone(values),
            permissions: Semaphore::new(permissions),
            waiting: AtomicUsize::new(0),
            going: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            compares,
        })
    }

    /// How many methods were called since this was last asked, the incarnation aside.
    pub(super) fn calls(&self) -> usize {
        self.calls.swap(0, Ordering::Relaxed)
    }

    fn call(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for the permission to go one step.
    pub(super) async fn step(&self) -> Step<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.permissions.acquire().await.unwrap().forget();
        self.going.fetch_add(1, Ordering::Relaxed);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Step(&self.going)
    }

    /// Whether its actor waits for a step and is in none.
    fn is_quiet(&self) -> bool {
        self.going.load(Ordering::Relaxed) == 0 && self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Goes one step, if it waits for one.
    fn go(&self) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            self.permissions.add_permits(1);
        }
    }
}

/// Runs actors to their ends, one step at a time, in the order that the seed draws.
///
/// # Panics
///
/// When one waits for something that is no step.
pub(super) async fn drive(seed: u64, actors: Vec<(Arc<Stepped>, BoxFuture<'static, ()>)>) {
    let mut random = Random::seeded(seed);
    let mut running: Vec<(Arc<Stepped>, JoinHandle<()>)> = actors
        .into_iter()
        .map(|(store, actor)| (store, tokio::spawn(actor)))
        .collect();
    loop {
        for (store, actor) in &running {
            eventually_quiet(seed, store, actor).await;
        }
        let (ended, going): (Vec<_>, Vec<_>) = running
            .into_iter()
            .partition(|(_, actor)| actor.is_finished());
        for (_, actor) in ended {
            actor.await.unwrap();
        }
        if going.is_empty() {
            return;
        }
        running = going;
        let chosen = random.below(running.len() as u64) as usize;
        running[chosen].0.go();
    }
}

/// Lets every task of this thread run until this actor waits for a step, or has ended.
async fn eventually_quiet(seed: u64, store: &Stepped, actor: &JoinHandle<()>) {
    for turn in 0_u32.. {
        // A few turns in any case: whoever was let go has not gone yet.
        if turn >= 8 && (actor.is_finished() || store.is_quiet()) {
            return;
        }
        if turn < 2_000 {
            tokio::task::yield_now().await;
        } else {
            // A server is at work.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(turn < 30_000, "seed {seed}: an actor waits for no step");
    }
}

/// How many orders are called stale by `order`, one for each of `seeds` seeds.
pub(super) async fn stale_of<F: Future<Output = bool>>(
    seeds: u64,
    order: impl Fn(u64) -> F,
) -> u64 {
    let mut sum = 0;
    for seed in 0..seeds {
        sum += u64::from(order(seed).await);
    }
    sum
}

/// [`stale_of`], on one thread.
pub(super) fn stale_orders<F: Future<Output = bool>>(seeds: u64, order: impl Fn(u64) -> F) -> u64 {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(stale_of(seeds, order))
}

impl ValueStore for Stepped {
    fn get_many<'a>(
        &'a self,
        names: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, BackendError>> {
        self.call();
        Box::pin(async move {
            let mut all = Vec::new();
            for name in names {
                let _step = self.step().await;
                let one = self.values.get_many(std::slice::from_ref(name)).await?;
                all.extend(one);
            }
            Ok(all)
        })
    }

    fn set_many<'a>(
        &'a self,
        values: &'a [(String, Bytes)],
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<Vec<usize>, BackendError>> {
        self.call();
        Box::pin(async move {
            for value in values {
                let _step = self.step().await;
                self.values
                    .set_many(std::slice::from_ref(value), expiry)
                    .await?;
            }
            Ok(Vec::new())
        })
    }

    fn add<'a>(
        &'a self,
        name: &'a str,
        value: Bytes,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        self.call();
        Box::pin(async move {
            let _step = self.step().await;
            self.values.add(name, value, expiry).await
        })
    }

    fn touch<'a>(
        &'a self,
        name: &'a str,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        self.call();
        Box::pin(async move {
            let _step = self.step().await;
            self.values.touch(name, expiry).await
        })
    }

    fn delete_many<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<u64, BackendError>> {
        self.call();
        Box::pin(async move {
            let mut gone = 0;
            for name in names {
                let _step = self.step().await;
                gone += self.values.delete_many(std::slice::from_ref(name)).await?;
            }
            Ok(gone)
        })
    }

    fn increment<'a>(
        &'a self,
        name: &'a str,
        delta: i64,
    ) -> BoxFuture<'a, Result<Counted, BackendError>> {
        self.call();
        Box::pin(async move {
            let _step = self.step().await;
            self.values.increment(name, delta).await
        })
    }

    fn rename<'a>(
        &'a self,
        from: &'a str,
        to: &'a str,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        self.call();
        Box::pin(async move {
            let _step = self.step().await;
            self.values.rename(from, to).await
        })
    }

    fn exchange<'a>(
        &'a self,
        name: &'a str,
        old: &'a Bytes,
        new: Option<&'a Bytes>,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        self.call();
        Box::pin(async move {
            if self.compares {
                let _step = self.step().await;
                return self.values.exchange(name, old, new).await;
            }
            let names = [name.to_owned()];
            if self.get_many(&names).await?[0].as_ref() != Some(old) {
                return Ok(false);
            }
            match new {
                None => drop(self.delete_many(&names).await?),
                Some(new) => {
                    let values = [(name.to_owned(), new.clone())];
                    self.set_many(&values, None).await?;
                }
            }
            Ok(true)
        })
    }

    fn ttl<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Ttl, BackendError>> {
        self.call();
        self.values.ttl(name)
    }

    fn names<'a>(
        &'a self,
        _: &'a str,
        _: Option<String>,
    ) -> BoxFuture<'a, Result<NamePage, BackendError>> {
        let why = "an order of steps lists nothing".into();
        Box::pin(async { Err(BackendError::Unsupported(why)) })
    }

    fn clear(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        self.call();
        self.values.clear()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn incarnation(&self) -> BoxFuture<'_, Result<String, BackendError>> {
        self.values.incarnation()
    }

    fn describe(&self) -> String {
        "a map, step by step".to_owned()
    }
}
