//! Metrics: what a recorder is given, and that their labels stay few.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::extract::Path;
use axum::routing::get as on_get;
use axum::{Extension, Router};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use smart_cache::observe::{Kind, METRICS};
use smart_cache::{SmartCache, smart_cache};
use smart_cache_tests::harness::{RedisServer, eventually};

use crate::road::{get, redis_at, stored};

#[smart_cache("metered:{id}", tags("metered"))]
async fn metered(Path(id): Path<String>) -> Result<String, http::StatusCode> {
    (id != "gone")
        .then_some(id)
        .ok_or(http::StatusCode::NOT_FOUND)
}

mod twin {
    use super::{Path, smart_cache};

    #[smart_cache("metered:{id}")]
    pub(super) async fn metered(Path(id): Path<String>) -> String {
        id
    }
}

fn app(cache: &SmartCache) -> Router {
    Router::new()
        .route("/metered/{id}", on_get(metered))
        .route("/twin/{id}", on_get(twin::metered))
        .layer(Extension(cache.clone()))
}

/// A recorder of this thread alone, so that tests do not meet.
fn recorder() -> (PrometheusRecorder, PrometheusHandle) {
    let recorder = PrometheusBuilder::new()
        .set_buckets(&[0.001, 0.01, 0.1, 1.0])
        .unwrap()
        .build_recorder();
    let handle = recorder.handle();
    (recorder, handle)
}

/// The value of the one line with this name and all of these labels.
#[track_caller]
fn value(page: &str, name: &str, labels: &[&str]) -> f64 {
    let mut lines = page.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| {
            rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label))
        })
    });
    let line = lines.next();
    let line = line.unwrap_or_else(|| panic!("no {name} with {labels:?} in\n{page}"));
    assert_eq!(lines.next(), None, "{name} {labels:?} is one line");
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn every_listed_metric_is_recorded_and_nothing_else_is() {
    let (recorder, handle) = recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let server = RedisServer::start().await;
    let near = redis_at(&server.url()).local_capacity(64 << 20);
    let cache = near.build().await.unwrap();
    let app = app(&cache);
    eventually("the local tier to be live", async || {
        cache
            .stats()
            .local
            .is_some_and(|local| local.live)
            .then_some(())
    })
    .await;
    get(&app, "/metered/some-secret").await;
    stored(&cache, 1).await;
    for _ in 0..3 {
        get(&app, "/metered/some-secret").await;
    }
    get(&app, "/metered/gone").await;
    cache.clear("metered").await.unwrap();
    cache.publish_metrics();
    let page = handle.render();

    let requests = "smart_cache_requests_total";
    let own = r#"handler="it::operations::metrics::metered",key="metered:{id}""#;
    let count = |result: &str, detail: &str| {
        let detail = format!("detail=\"{detail}\"");
        value(
            &page,
            requests,
            &[own, &format!("result=\"{result}\""), &detail],
        )
    };
    assert_eq!((count("miss", ""), count("bypass", "status")), (1.0, 1.0));
    assert_eq!(count("hit", "local") + count("hit", "backend"), 3.0);
    assert!(count("hit", "local") >= 1.0, "{page}");
    let stored = |outcome| value(&page, "smart_cache_stores_total", &[own, outcome]);
    assert_eq!(stored("outcome=\"stored\""), 1.0);
    let one = |name, labels: &[&str]| value(&page, name, labels);
    let clears = |kind| one("smart_cache_clears_total", &[kind, "acknowledged"]);
    assert_eq!(clears("kind=\"clear\""), 1.0);
    assert_eq!(clears("kind=\"expire\""), 0.0);
    assert_eq!(one("smart_cache_backend_up", &["namespace=\"n\""]), 1.0);
    assert_eq!(one("smart_cache_local_entries", &[]), 1.0);
    assert!(one("smart_cache_tracking_lag_seconds", &[]) < 5.0);
    assert_eq!(one("smart_cache_store_seconds_count", &["stored"]), 1.0);
    assert!(one("smart_cache_lookup_seconds_count", &["miss"]) >= 1.0);

    assert!(!page.contains("some-secret"), "a key is in no label");
    let recorded: BTreeSet<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    let listed: BTreeSet<_> = METRICS
        .iter()
        .map(|metric| metric.name.to_owned())
        .collect();
    assert_eq!(recorded, listed);
    for metric in METRICS {
        check_labels(&page, metric.name, metric.kind, metric.labels);
    }
}

/// What the handler below answers with.
static MOOD: AtomicU16 = AtomicU16::new(200);

#[smart_cache("moody:{id}")]
async fn moody(Path(id): Path<String>) -> (http::StatusCode, String) {
    let mood = MOOD.load(Ordering::SeqCst);
    (http::StatusCode::from_u16(mood).unwrap(), id)
}

#[tokio::test]
async fn soft_clears_and_what_follows_them_have_metrics_of_their_own() {
    let (recorder, handle) = recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let cache = crate::road::in_memory().await;
    let app = Router::new()
        .route("/moody/{id}", on_get(moody))
        .layer(Extension(cache.clone()));
    let refreshed = async |times| {
        eventually(format!("{times} refreshes"), async || {
            (cache.stats().refreshes == times).then_some(())
        })
        .await;
    };
    get(&app, "/moody/a").await;
    stored(&cache, 1).await;
    get(&app, "/moody/a").await;
    for (times, mood) in [(1, 200), (2, 503)] {
        MOOD.store(mood, Ordering::SeqCst);
        cache.expire("moody:a").await.unwrap();
        let shown = get(&app, "/moody/a").await;
        assert_eq!(shown.status, 200, "the old answer, once more");
        refreshed(times).await;
        stored(&cache, 2).await;
    }
    cache.clear("moody:a").await.unwrap();
    cache.publish_metrics();
    let page = handle.render();
    let own = "key=\"moody:{id}\"";
    let one = |name, labels: &[&str]| value(&page, name, &[labels, &[own]].concat());
    let hits = |detail| one("smart_cache_requests_total", &["result=\"hit\"", detail]);
    assert_eq!(hits("detail=\"expired\""), 2.0);
    let others = hits("detail=\"local\"") + hits("detail=\"backend\"");
    assert_eq!(others, 1.0, "what was shown once more is counted once");
    let refreshes = |outcome| one("smart_cache_refreshes_total", &[outcome]);
    assert_eq!(refreshes("outcome=\"answered\""), 1.0);
    assert_eq!(refreshes("outcome=\"failed\""), 1.0);
    let clears = |kind| value(&page, "smart_cache_clears_total", &[kind, "acknowledged"]);
    assert_eq!(clears("kind=\"expire\""), 2.0);
    assert_eq!(clears("kind=\"clear\""), 1.0, "and each clear in one place");
    let stats = cache.stats();
    assert_eq!((stats.clears, stats.expires), (3, 2));
}

#[track_caller]
fn check_labels(page: &str, name: &str, kind: Kind, labels: &[&str]) {
    let name = match kind {
        Kind::Histogram => format!("{name}_count"),
        _ => name.to_owned(),
    };
    let line = page
        .lines()
        .find(|line| line.starts_with(&format!("{name}{{")))
        .unwrap_or_else(|| panic!("no {name}"));
    let (_, rest) = line.split_once('{').unwrap();
    let (inside, _) = rest.rsplit_once('}').unwrap();
    let found: BTreeSet<_> = inside
        .split("\",")
        .map(|label| label.split_once('=').unwrap().0)
        .collect();
    let listed: BTreeSet<_> = labels.iter().copied().chain(["namespace"]).collect();
    assert_eq!(found, listed, "{line}");
}

#[tokio::test]
async fn a_recorder_that_is_installed_late_misses_no_count() {
    let cache = crate::road::in_memory().await;
    let app = app(&cache);
    for id in ["a", "b", "c"] {
        get(&app, &format!("/metered/{id}")).await;
        get(&app, &format!("/twin/{id}")).await;
    }
    let (recorder, handle) = recorder();
    metrics::with_local_recorder(&recorder, || {
        cache.publish_metrics();
        // Totals are set, not added.
        cache.publish_metrics();
    });
    let page = handle.render();
    for handler in ["metrics::metered", "metrics::twin::metered"] {
        let handler = format!("handler=\"it::operations::{handler}\"");
        let labels = [&*handler, "key=\"metered:{id}\"", "result=\"miss\""];
        assert_eq!(value(&page, "smart_cache_requests_total", &labels), 3.0);
    }
}

#[tokio::test]
async fn a_cache_publishes_by_itself() {
    let (recorder, handle) = recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let cache = crate::road::in_memory().await;
    get(&app(&cache), "/metered/a").await;
    eventually("the counts to be published", async || {
        handle.render().contains("result=\"miss\"").then_some(())
    })
    .await;
}
