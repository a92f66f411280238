//! A shop on SQLite that starts with nothing installed: `cargo run -p example-app`.
//!
//! Its own variables are `PORT` (3000; 0 lets the system choose), `SHOP_DB` (`shop.db`),
//! `ADMIN_USER` (`admin`), `ADMIN_PASSWORD` (made up and printed when absent) and `RUST_LOG` (`info`);
//! those of the cache begin with `SMART_REDIS_`, with the feature `otlp` those of OpenTelemetry with
//! `OTEL_`. The first start fills the database with a catalogue that is the same on every machine.

mod admin;
mod app;
mod assets;
mod cart;
mod categories;
mod db;
mod error;
mod home;
mod hooks;
mod listing;
mod metrics;
mod money;
mod page;
mod posted;
mod products;
mod reviews;
mod seed;
mod stock;
#[cfg(test)]
mod tests;
mod timing;
#[cfg(feature = "otlp")]
mod traces;
mod visitor;

use std::env::VarError;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::net::TcpListener;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::db::Db;
use crate::hooks::Clears;

/// How many products the shop sells.
const PRODUCTS: u32 = 10_000;

/// Why the shop did not start; the message tells the reader what to change.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("RUST_LOG is {0:?}; it must look like info or info,smart_cache=debug")]
    Log(String),
    #[error("PORT is {0:?}; it must be a number from 0 to 65535")]
    Port(String),
    #[error("cannot open the database {path}: {source}", path = path.display())]
    Database { path: PathBuf, source: sqlx::Error },
    #[error(transparent)]
    Cache(#[from] smart_cache::ConfigError),
    #[error("cannot have the database tell the cache of its changes: {0}")]
    Hooks(#[from] smart_cache::hooks::outbox::OutboxError),
    #[error("the metrics cannot be recorded: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
    #[error("cannot listen on port {port}: {source}; set PORT to a free one")]
    Listen { port: u16, source: std::io::Error },
    #[error("the system gave no random bytes for a password: {0}; set ADMIN_PASSWORD")]
    Random(#[from] getrandom::Error),
    #[cfg(feature = "otlp")]
    #[error("no traces can be sent: {0}; unset OTEL_EXPORTER_OTLP_ENDPOINT to do without")]
    Traces(#[from] opentelemetry_otlp::ExporterBuildError),
    #[error("the server stopped: {0}")]
    Serve(std::io::Error),
    #[error("cannot listen for the stop signals: {0}")]
    Signal(std::io::Error),
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not by the log: its own setting may be what is wrong.
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), StartError> {
    #[cfg(feature = "otlp")]
    let traces = traces::Traces::from_env()?;
    #[cfg(feature = "otlp")]
    start_log(traces.as_ref().map(traces::Traces::layer))?;
    #[cfg(not(feature = "otlp"))]
    start_log(None::<tracing_subscriber::layer::Identity>)?;
    let port = port()?;
    let path = PathBuf::from(std::env::var_os("SHOP_DB").unwrap_or_else(|| "shop.db".into()));
    let db = Db::open(&path, PRODUCTS)
        .await
        .map_err(|source| StartError::Database { path, source })?;
    // Before the cache starts, which lists what clears its pages.
    hooks::install(&db).await?;
    let recorder = metrics::listen()?;
    let cache = smart_cache::start().await?;
    let clears = Clears::start(&db, &cache);

    // Only this machine: everybody who reaches the shop may change its prices.
    let listener = TcpListener::bind(("127.0.0.1", port))
        .await
        .map_err(|source| StartError::Listen { port, source })?;
    let address = listener.local_addr().map_err(StartError::Serve)?;
    let stopped = stop_signal()?;
    tracing::info!("the cache is {}", cache.describe());
    tracing::info!("the shop is open at http://{address}");
    tracing::info!("its cache is shown at http://{address}{}", admin::PATH);

    let shop = app::app(db.clone(), clears)
        .merge(metrics::routes(cache.clone(), recorder))
        .merge(admin::router(cache)?);
    #[cfg(feature = "otlp")]
    let shop = shop.layer(axum::middleware::from_fn(traces::join));
    axum::serve(listener, shop)
        .with_graceful_shutdown(stopped)
        .await
        .map_err(StartError::Serve)?;
    db.close().await;
    tracing::info!("the shop is closed");
    #[cfg(feature = "otlp")]
    if let Some(traces) = traces {
        traces.finish().await;
    }
    Ok(())
}

/// Logs to standard error; `RUST_LOG` says how much, for single crates if need be. What listens
/// beside the log has a filter of its own.
fn start_log(beside: Option<impl Layer<Registry> + Send + Sync>) -> Result<(), StartError> {
    let levels = match std::env::var("RUST_LOG") {
        Ok(levels) => levels.parse().map_err(|_| StartError::Log(levels))?,
        Err(_) => Targets::new().with_default(LevelFilter::INFO),
    };
    let lines = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_filter(levels);
    tracing_subscriber::registry()
        .with(beside)
        .with(lines)
        .init();
    Ok(())
}

fn port() -> Result<u16, StartError> {
    match std::env::var("PORT") {
        Err(VarError::NotPresent) => Ok(3000),
        Err(VarError::NotUnicode(value)) => Err(StartError::Port(value.display().to_string())),
        Ok(value) => value.trim().parse().map_err(|_| StartError::Port(value)),
    }
}

/// Ends on Ctrl-C, and on SIGTERM where that exists.
///
/// The handlers are installed by the call and not by the first poll, so a failure to do so
/// stops the start instead of leaving a server that cannot be stopped.
#[cfg(unix)]
fn stop_signal() -> Result<impl Future<Output = ()>, StartError> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signal)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signal)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Ends on Ctrl-C.
#[cfg(windows)]
fn stop_signal() -> Result<impl Future<Output = ()>, StartError> {
    let mut ctrl_c = tokio::signal::windows::ctrl_c().map_err(StartError::Signal)?;
    Ok(async move {
        ctrl_c.recv().await;
    })
}
