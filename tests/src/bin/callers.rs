//! A process full of callers who all want one computed value.
//!
//! `callers URL NAMESPACE [--takes-ms N]`; `GET /go/{key}/{callers}` starts that many callers of
//! `get_or_set` at once, `GET /go/{key}/{callers}?tags=a` those of a tagged value. The answer is JSON:
//! how often this process computed, and the different values that its callers got.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use smart_cache::{BackendKind, Cache, SmartCache, StartFlush};
use smart_cache_tests::harness::number_after;
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("callers: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, namespace, ..] = &arguments[..] else {
        return Err("usage: callers URL NAMESPACE [--takes-ms N]".to_owned());
    };
    let cache = SmartCache::builder()
        .backend(BackendKind::Auto)
        .url(url)
        .namespace(namespace)
        .app_version("one")
        .flush(StartFlush::Never)
        .settle(Duration::ZERO)
        // A slow answer of a busy machine is not what this is about.
        .timeout(Duration::from_secs(10))
        .wait(Duration::from_secs(30))
        .build()
        .await
        .map_err(|why| why.to_string())?;
    let shared = Shared {
        values: cache.values(),
        takes: Duration::from_millis(number_after("--takes-ms").unwrap_or(300)),
    };
    let app = Router::new()
        .route("/go/{key}/{callers}", get(go))
        .with_state(Arc::new(shared));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .map_err(|why| why.to_string())?;
    let address = listener.local_addr().map_err(|why| why.to_string())?;
    println!("listening on {address}");
    axum::serve(listener, app)
        .await
        .map_err(|why| why.to_string())
}

struct Shared {
    values: Cache,
    takes: Duration,
}

#[derive(Serialize)]
struct Answer {
    computed: u64,
    values: BTreeSet<String>,
}

async fn go(
    State(shared): State<Arc<Shared>>,
    Path((key, callers)): Path<(String, usize)>,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Json<Answer> {
    let computed = Arc::new(AtomicU64::new(0));
    let tags: Vec<String> = asked.get("tags").cloned().into_iter().collect();
    let mut calling = JoinSet::new();
    for _ in 0..callers {
        let (shared, computed) = (Arc::clone(&shared), Arc::clone(&computed));
        let wanted = shared.values.get_or_set(&key).tags(tags.clone());
        calling.spawn(async move {
            let value = wanted.compute(async || {
                let run = computed.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(shared.takes).await;
                format!("run {run} of process {}", std::process::id())
            });
            value.await.unwrap_or_else(|why| why.to_string())
        });
    }
    let values = calling.join_all().await.into_iter().collect();
    Json(Answer {
        computed: computed.load(Ordering::SeqCst),
        values,
    })
}
