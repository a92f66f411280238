//! A cached application on a Redis that fails in every way: the handlers answer, clears say what is
//! wrong, and everything comes back by itself.

mod clears;
mod doors;
mod lives;
mod outages;
mod refusals;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Request, StatusCode};
use axum::routing::get;
use axum::{Extension, Router};
use http_body_util::BodyExt as _;
use smart_cache::{BackendKind, ClearError, SmartCache, StartFlush, smart_cache};
use smart_cache_tests::harness::eventually;
use tower::ServiceExt as _;

/// The default of `SMART_REDIS_TIMEOUT`: what a request may lose when Redis does not answer.
const TIMEOUT: Duration = Duration::from_millis(250);
/// What a loaded machine may add to any measured time.
const MARGIN: Duration = Duration::from_millis(500);

/// Which application answered, and how often its handlers have run.
#[derive(Clone)]
struct Runs {
    application: u64,
    count: Arc<AtomicU64>,
}

#[smart_cache("page:{id}", tags("pages"))]
async fn page(State(runs): State<Runs>, Path(id): Path<u64>) -> String {
    let run = runs.count.fetch_add(1, Ordering::SeqCst) + 1;
    format!("page {id} of application {}, run {run}", runs.application)
}

/// One application of this process: a router with a cache of its own.
#[derive(Clone)]
struct App {
    router: Router,
    cache: SmartCache,
    runs: Runs,
}

/// What came back, and after how long.
#[derive(Debug, Clone)]
struct Answer {
    body: String,
    how: String,
    took: Duration,
}

impl Answer {
    fn is_hit(&self) -> bool {
        self.how.contains("; hit")
    }

    fn is_unavailable(&self) -> bool {
        self.how.contains("unavailable")
    }
}

/// A cache that stores for ever at once, and flushes nothing when it starts. Every hit is a round
/// trip, so that what becomes of the road to Redis is seen.
fn builder(url: &str, namespace: &str) -> smart_cache::Builder {
    SmartCache::builder()
        .url(url)
        .backend(BackendKind::Redis)
        .namespace(namespace)
        .app_version("test")
        .flush(StartFlush::Never)
        .settle(Duration::ZERO)
        .local_capacity(0)
}

impl App {
    async fn at(url: &str, namespace: &str) -> Self {
        Self::of(builder(url, namespace).build().await.unwrap())
    }

    fn of(cache: SmartCache) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let runs = Runs {
            application: NEXT.fetch_add(1, Ordering::Relaxed),
            count: Arc::default(),
        };
        let router = Router::new()
            .route("/page/{id}", get(page))
            .layer(Extension(cache.clone()))
            .with_state(runs.clone());
        Self {
            router,
            cache,
            runs,
        }
    }

    /// Asks for a page. Whatever Redis does, the answer must be a page.
    async fn ask(&self, id: u64) -> Answer {
        let request = Request::builder()
            .uri(format!("/page/{id}"))
            .body(Body::empty())
            .unwrap();
        let start = Instant::now();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let took = start.elapsed();
        assert_eq!(response.status(), StatusCode::OK);
        let how = response.headers()["cache-status"]
            .to_str()
            .unwrap()
            .to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.starts_with(&format!("page {id} of ")), "{body}");
        Answer { body, how, took }
    }

    /// Asks until the cache answers.
    async fn hit(&self, id: u64) -> Answer {
        self.until(id, "a hit", Answer::is_hit).await
    }

    async fn until(&self, id: u64, what: &str, is_it: impl Fn(&Answer) -> bool) -> Answer {
        eventually(what, async || Some(self.ask(id).await).filter(&is_it)).await
    }

    /// A clear that must not be acknowledged; its error in words.
    async fn failing_clear(&self, key: &str) -> String {
        let error = self
            .cache
            .clear(key)
            .await
            .expect_err("a clear that cannot land");
        assert!(matches!(error, ClearError::Unacknowledged(_)), "{error:?}");
        error.to_string()
    }

    /// Waits until everything that could not be cleared has been.
    async fn all_cleared(&self) {
        eventually("all clears to land", async || {
            (self.cache.stats().pending_clears == 0).then_some(())
        })
        .await;
    }

    fn runs(&self) -> u64 {
        self.runs.count.load(Ordering::SeqCst)
    }
}

#[track_caller]
fn assert_within(took: Duration, limit: Duration) {
    assert!(
        took <= limit + MARGIN,
        "took {took:?}, at most {limit:?} is allowed"
    );
}

#[track_caller]
fn assert_says(message: &str, cause: &str) {
    assert!(
        message.contains(cause),
        "{message:?} does not say {cause:?}"
    );
}
