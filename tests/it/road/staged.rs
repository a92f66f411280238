//! Moments in which no server can be stopped: a backend whose steps the test lets go one by one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::routing::get as on_get;
use axum::{Extension, Router};
use smart_cache::backend::{
    Backend, BoxFuture, Filling, Lease, Lookup, MemoryBackend, Reclaimed, Stored, Ticket,
};
use smart_cache::{BackendError, SmartCache, StartFlush, Target, depends_on, smart_cache};
use smart_cache_tests::harness::Gate;
use tokio::task::JoinHandle;

use super::{Answer, HIT, get, status_of, stored};

/// Entries in memory; answers of the backend come when, and as, the test says.
#[derive(Debug)]
struct Staged {
    inner: MemoryBackend,
    /// What a store passes after it has landed, before its answer comes.
    after_store: Gate,
    /// Lookups see nothing.
    blind: AtomicBool,
    /// Clears do not arrive.
    deaf: AtomicBool,
}

impl Staged {
    fn new() -> Arc<Self> {
        let lease = Duration::from_secs(10);
        Arc::new(Self {
            inner: MemoryBackend::new(1 << 20, lease, Duration::ZERO, 100),
            after_store: Gate::new(),
            blind: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
        })
    }

    async fn heard(&self) -> Result<(), BackendError> {
        if self.deaf.load(Ordering::SeqCst) {
            return Err(BackendError::Disconnected("staged".into()));
        }
        Ok(())
    }
}

impl Backend for Staged {
    fn lookup<'a>(
        &'a self,
        target: &'a Target,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Lookup, BackendError>> {
        Box::pin(async move {
            if self.blind.load(Ordering::SeqCst) {
                return Ok(Lookup::Miss {
                    digest: None,
                    dynamic: Vec::new(),
                });
            }
            self.inner.lookup(target, deadline).await
        })
    }

    fn ticket<'a>(
        &'a self,
        target: &'a Target,
        dynamic: &'a [Arc<str>],
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Ticket, BackendError>> {
        self.inner.ticket(target, dynamic, deadline)
    }

    fn store<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
        filling: Filling<'a>,
    ) -> BoxFuture<'a, Result<Stored, BackendError>> {
        Box::pin(async move {
            let stored = self.inner.store(target, lease, filling).await;
            self.after_store.pass().await;
            stored
        })
    }

    fn renew<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        self.inner.renew(target, lease)
    }

    fn release<'a>(
        &'a self,
        target: &'a Target,
        lease: &'a Lease,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        self.inner.release(target, lease)
    }

    fn discard<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<(), BackendError>> {
        self.inner.discard(target)
    }

    fn clear<'a>(&'a self, keys: &'a [String]) -> BoxFuture<'a, Result<(), BackendError>> {
        Box::pin(async move {
            self.heard().await?;
            self.inner.clear(keys).await
        })
    }

    fn clear_all(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        Box::pin(async move {
            self.heard().await?;
            self.inner.clear_all().await
        })
    }

    fn reclaim(&self, keys: Vec<String>) -> BoxFuture<'_, Reclaimed> {
        self.inner.reclaim(keys)
    }

    fn sweep(&self) -> BoxFuture<'_, Result<u64, BackendError>> {
        self.inner.sweep()
    }

    fn lease(&self) -> Duration {
        self.inner.lease()
    }

    fn open(&self) -> BoxFuture<'_, Result<(), BackendError>> {
        self.inner.open()
    }

    fn first_of_version(&self) -> BoxFuture<'_, Result<bool, BackendError>> {
        self.inner.first_of_version()
    }

    fn describe(&self) -> String {
        "staged".to_owned()
    }

    fn is_available(&self) -> bool {
        true
    }
}

#[smart_cache("list")]
async fn list(State(gate): State<Gate>) -> String {
    depends_on("row");
    gate.pass().await.to_string()
}

#[smart_cache("page", tags("pages"))]
async fn page(State(gate): State<Gate>) -> String {
    gate.pass().await.to_string()
}

async fn cache_on(backend: &Arc<Staged>) -> SmartCache {
    SmartCache::builder()
        .custom_backend(Arc::clone(backend) as Arc<dyn Backend>)
        .flush(StartFlush::Never)
        .build()
        .await
        .unwrap()
}

fn app(cache: &SmartCache, gate: &Gate) -> Router {
    Router::new()
        .route("/list", on_get(list))
        .route("/page", on_get(page))
        .layer(Extension(cache.clone()))
        .with_state(gate.clone())
}

fn asking(app: &Router, path: &'static str) -> JoinHandle<Answer> {
    let app = app.clone();
    tokio::spawn(async move { get(&app, path).await })
}

/// Lets the list's tag be known, so that the next store of the list lands.
async fn with_known_row(backend: &Arc<Staged>) {
    let lease = Instant::now() + Duration::from_secs(5);
    let target = Target::new("row", &[], b"row");
    let _ = backend.inner.ticket(&target, &[], lease).await.unwrap();
}

/// The store of a list has landed and its answer is on the way when a row is cleared. Who asks now
/// sees the same static tokens as the leader did, and must not be given the leader's answer.
#[tokio::test]
async fn who_asks_after_a_found_tag_was_cleared_does_not_join_the_flight_from_before_it() {
    let (backend, gate) = (Staged::new(), Gate::opened());
    let cache = cache_on(&backend).await;
    let app = app(&cache, &gate);
    with_known_row(&backend).await;
    let before = asking(&app, "/list");
    backend.after_store.begun().await;
    assert_eq!(before.await.unwrap().text(), "1");
    cache.clear("row").await.unwrap();
    let after = asking(&app, "/list");
    // It runs its own handler, or waits in a flight that it must not share.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    backend.after_store.open_for_all();
    let after = after.await.unwrap();
    assert_eq!(after.text(), "2", "it asked after the clear: {after:?}");
    assert_eq!(gate.runs(), 2);
}

/// The followers from before the clear had asked before it, so they may be given the answer.
#[tokio::test]
async fn who_asked_before_the_store_is_given_its_answer() {
    let (backend, gate) = (Staged::new(), Gate::new());
    let cache = cache_on(&backend).await;
    let app = app(&cache, &gate);
    with_known_row(&backend).await;
    let leader = asking(&app, "/list");
    gate.begun().await;
    // The lookup of the second sees the tokens that the first one's ticket has minted.
    let follower = asking(&app, "/list");
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    gate.open_for_all();
    backend.after_store.begun().await;
    assert_eq!(leader.await.unwrap().text(), "1");
    assert!(
        !follower.is_finished(),
        "the answer counts once the store has landed"
    );
    backend.after_store.open_for_all();
    assert_eq!(follower.await.unwrap().text(), "1");
    assert_eq!((gate.runs(), cache.stats().flights), (1, 0));
}

/// A clear of a found tag has failed here, so the tag is distrusted: also in an entry that is met
/// only by the ticket, where the lookup could not show its tags.
#[tokio::test]
async fn an_entry_that_the_ticket_finds_is_distrusted_like_one_that_the_lookup_finds() {
    let (backend, gate) = (Staged::new(), Gate::opened());
    backend.after_store.open_for_all();
    let (cache, other) = (cache_on(&backend).await, cache_on(&backend).await);
    let (app, filling) = (app(&cache, &gate), app(&other, &gate));
    with_known_row(&backend).await;
    get(&filling, "/list").await;
    stored(&other, 1).await;
    assert_eq!(status_of(&get(&app, "/list").await), HIT);

    backend.deaf.store(true, Ordering::SeqCst);
    cache.clear("row").await.unwrap_err();
    for blind in [false, true] {
        backend.blind.store(blind, Ordering::SeqCst);
        let answer = get(&app, "/list").await;
        assert_ne!(answer.text(), "1", "blind {blind}: {answer:?}");
        assert_eq!(
            status_of(&answer),
            "smart-cache; fwd=bypass; detail=pending-clear",
            "blind {blind}"
        );
    }
}

/// The same for a declared tag whose clear fails between the lookup and the ticket's answer.
#[tokio::test]
async fn a_flight_is_not_joined_while_the_clear_of_its_key_is_pending() {
    let (backend, gate) = (Staged::new(), Gate::new());
    backend.after_store.open_for_all();
    let cache = cache_on(&backend).await;
    let app = app(&cache, &gate);
    let before = asking(&app, "/page");
    gate.begun().await;
    backend.deaf.store(true, Ordering::SeqCst);
    cache.clear("pages").await.unwrap_err();
    let after = asking(&app, "/page");
    gate.begun().await;
    gate.open_for_all();
    assert_eq!(before.await.unwrap().text(), "1");
    let after = after.await.unwrap();
    assert_eq!(after.text(), "2");
    assert_eq!(
        status_of(&after),
        "smart-cache; fwd=bypass; detail=pending-clear"
    );
    assert_eq!(cache.stats().stored, 0, "nor is the old answer stored");
}
