//! `smart_cache::layer`: around one route, a nested router, a whole site, and foreign services.

mod expired;
mod freshness;
mod mounts;
mod options;
mod passes;
mod seen;
mod writes;

use axum::Router;
use axum::extract::State;
use axum::routing::get as on_get;
use http::Method;
use smart_cache::{CacheLayer, SmartCache, layer};
use smart_cache_tests::harness::Gate;

pub(crate) use crate::road::{
    HIT, STORED, ask, every_kind, get, in_memory, send, status_of, stored, whole,
};

/// A path, and headers.
type Ask<'a> = (&'a str, &'a [(&'a str, &'a str)]);

/// Says how often it ran.
async fn run(State(gate): State<Gate>) -> String {
    gate.pass().await.to_string()
}

/// `/` and everything below it counts its runs, behind a layer with these options.
async fn site(options: impl FnOnce(CacheLayer) -> CacheLayer) -> (Router, SmartCache) {
    let cache = in_memory().await;
    let app = Router::new()
        .route("/", on_get(run).post(run))
        .route("/{*rest}", on_get(run).post(run))
        .layer(options(layer("site").cache(cache.clone())))
        .with_state(Gate::opened());
    (app, cache)
}

/// Asks with these headers; the run that answered, and how.
async fn asked(app: &Router, path: &str, headers: &[(&str, &str)]) -> (String, String) {
    let answer = ask(app, Method::GET, path, headers).await;
    (answer.text(), status_of(&answer).to_owned())
}

/// The two requests have an answer each, and keep it.
async fn check_apart(app: &Router, one: Ask<'_>, other: Ask<'_>) {
    let first = asked(app, one.0, one.1).await.0;
    let second = asked(app, other.0, other.1).await.0;
    assert_ne!(first, second, "{one:?} and {other:?} are two");
    assert_eq!(asked(app, one.0, one.1).await, (first, HIT.to_owned()));
    assert_eq!(asked(app, other.0, other.1).await, (second, HIT.to_owned()));
}

/// The two requests share one answer.
async fn check_shared(app: &Router, one: Ask<'_>, other: Ask<'_>) {
    let first = asked(app, one.0, one.1).await.0;
    assert_eq!(
        asked(app, other.0, other.1).await,
        (first, HIT.to_owned()),
        "{one:?} and {other:?} are one"
    );
}

/// The request runs each time, for this reason.
async fn check_stays_out(app: &Router, path: &str, headers: &[(&str, &str)], why: &str) {
    let first = asked(app, path, headers).await;
    assert_eq!(first.1, why, "{path} {headers:?}");
    let second = asked(app, path, headers).await;
    assert_ne!(first.0, second.0, "{path} {headers:?}");
    assert_eq!(second.1, why);
}
