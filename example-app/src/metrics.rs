//! `/metrics`: what Prometheus scrapes.
//!
//! smart-cache speaks to the `metrics` facade; this is the recorder that listens. With
//! `ops/grafana-dashboard.json` and `ops/alerts.yml` that is all the shop's monitoring.

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use smart_cache::SmartCache;

/// Bounds of the histograms, in seconds: from a round trip on one machine to a timeout.
const SECONDS: [f64; 11] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.0,
];

/// Listens to everything that this process measures from now on.
pub(crate) fn listen() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets(&SECONDS)?
        .install_recorder()
}

/// The page, for whoever may reach the shop: put a guard or another port in front of it where
/// strangers may.
pub(crate) fn routes(cache: SmartCache, recorder: PrometheusHandle) -> Router {
    Router::new()
        .route("/metrics", get(show))
        .with_state((cache, recorder))
}

async fn show(
    State((cache, recorder)): State<(SmartCache, PrometheusHandle)>,
) -> impl IntoResponse {
    // The counts of this very moment, instead of those of up to two seconds ago.
    cache.publish_metrics();
    // With buckets there is nothing to age, so the upkeep may come with the scrape.
    recorder.run_upkeep();
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4")],
        recorder.render(),
    )
}
