//! A store whose steps happen when the test says so, and the orders that it says.
//!
//! Several actors share one [`Plain`] map, each through a [`Stepped`] of its own: every read of one
//! name, every add, every delete waits for a permission. A seed draws who goes on next, until all
//! have ended: any order of all steps can come up, and the same seed draws the same one again.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use smart_cache::BackendError;
use smart_cache::backend::{BoxFuture, Counted, Expiry, NamePage, Ttl, ValueStore};
use smart_cache_tests::harness::Random;
use tokio::sync::Semaphore;

use super::plain::Plain;

/// One actor's way to the common values.
#[derive(Debug)]
pub(super) struct Stepped {
    values: Arc<Plain>,
    permissions: Semaphore,
    waiting: AtomicUsize,
}

impl Stepped {
    pub(super) fn new(values: &Arc<Plain>) -> Arc<Self> {
        Arc::new(Self {
            values: Arc::clone(values),
            permissions: Semaphore::new(0),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Waits for the permission to go one step.
    pub(super) async fn step(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.permissions.acquire().await.unwrap().forget();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Goes one step, if it waits for one.
    fn go(&self) -> bool {
        let waits = self.waiting.load(Ordering::Relaxed) > 0;
        if waits {
            self.permissions.add_permits(1);
        }
        waits
    }
}

/// Runs actors to their ends, one step at a time, in the order that the seed draws.
///
/// # Panics
///
/// When all wait for something that is no step.
pub(super) async fn drive(seed: u64, actors: Vec<(Arc<Stepped>, BoxFuture<'static, ()>)>) {
    let mut random = Random::seeded(seed);
    let (stores, futures): (Vec<_>, Vec<_>) = actors.into_iter().unzip();
    let mut running: Vec<_> = futures.into_iter().map(tokio::spawn).collect();
    let mut idle = 0;
    settle().await;
    while running.iter().any(|actor| !actor.is_finished()) {
        let chosen = random.below(stores.len() as u64) as usize;
        if stores[chosen].go() {
            settle().await;
            idle = 0;
        } else {
            idle += 1;
            assert!(idle < 10_000, "seed {seed}: everybody waits");
        }
    }
    for actor in &mut running {
        actor.await.unwrap();
    }
}

/// Lets every task of this thread run until it waits for a step.
async fn settle() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

/// Runs `order` with each of `seeds` seeds, on one thread; how many of them it calls stale.
pub(super) fn stale_orders<F: Future<Output = bool>>(seeds: u64, order: impl Fn(u64) -> F) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let stale = async |seed| u64::from(order(seed).await);
    runtime.block_on(async {
        let mut sum = 0;
        for seed in 0..seeds {
            sum += stale(seed).await;
        }
        sum
    })
}

impl ValueStore for Stepped {
    fn get_many<'a>(
        &'a self,
        names: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<Option<Bytes>>, BackendError>> {
        Box::pin(async move {
            let mut all = Vec::new();
            for name in names {
                self.step().await;
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
        Box::pin(async move {
            for value in values {
                self.step().await;
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
        Box::pin(async move {
            self.step().await;
            self.values.add(name, value, expiry).await
        })
    }

    fn touch<'a>(
        &'a self,
        name: &'a str,
        expiry: Expiry,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        Box::pin(async move {
            self.step().await;
            self.values.touch(name, expiry).await
        })
    }

    fn delete_many<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<u64, BackendError>> {
        Box::pin(async move {
            let mut gone = 0;
            for name in names {
                self.step().await;
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
        Box::pin(async move {
            self.step().await;
            self.values.increment(name, delta).await
        })
    }

    fn rename<'a>(
        &'a self,
        from: &'a str,
        to: &'a str,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        self.values.rename(from, to)
    }

    fn ttl<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Ttl, BackendError>> {
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
        self.values.clear()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn incarnation(&self) -> BoxFuture<'_, Result<String, BackendError>> {
        Box::pin(async { Ok(String::new()) })
    }

    fn describe(&self) -> String {
        "a map, step by step".to_owned()
    }
}
