//! One process of the application: cached pages and lists, writes that clear, and what it counts.

use std::collections::{HashSet, VecDeque};
use std::path::Path as FilePath;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Extension, Router};
use redis::Cmd;
use redis::aio::MultiplexedConnection;
use smart_cache::{BackendKind, ClearError, SmartCache, StartFlush, depends_on, smart_cache};
use smart_cache_tests::harness::{Random, text_after};
use tokio::net::TcpListener;

use super::nodes::BUILDS;
use super::rows::{Row, Rows, shown};
use super::{Broken, STALENESS, micros};

/// The header that tells one request from all others.
pub(crate) const REQUEST: &str = "x-request";
/// How many requests are remembered, to see whether a handler runs twice for one.
const REMEMBERED: usize = 20_000;
/// The longest that a handler takes, in milliseconds: long enough to be killed while it computes.
const LONGEST_HANDLER: u64 = 40;

/// What the handlers share.
#[derive(Clone)]
struct App {
    rows: Rows,
    cache: SmartCache,
    build: Arc<str>,
    runs: Arc<Runs>,
    wrong: Option<Arc<SetDel>>,
}

/// For which requests a handler has run.
#[derive(Default)]
struct Runs {
    seen: Mutex<(HashSet<u64>, VecDeque<u64>)>,
    doubled: AtomicU64,
}

impl Runs {
    fn note(&self, request: u64) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (set, order) = &mut *seen;
        if !set.insert(request) {
            self.doubled.fetch_add(1, Ordering::Relaxed);
        }
        order.push_back(request);
        if order.len() > REMEMBERED
            && let Some(old) = order.pop_front()
        {
            set.remove(&old);
        }
    }
}

impl App {
    /// What every handler does around its answer: it is counted, reads, and takes a while.
    async fn answer(&self, headers: &HeaderMap, read: impl FnOnce(&Rows) -> String) -> String {
        let request = headers.get(REQUEST).and_then(|text| text.to_str().ok());
        let request = request.and_then(|text| text.parse().ok()).unwrap_or(0);
        self.runs.note(request);
        let text = read(&self.rows);
        let takes = Random::seeded(request).below(LONGEST_HANDLER);
        tokio::time::sleep(Duration::from_millis(takes)).await;
        format!("{} {text}", self.build)
    }
}

fn show(rows: &Rows, row: Row) -> String {
    let Row::List(list) = row else {
        return format!("{} {}", row.key(), rows.version(row));
    };
    let version = rows.version(row);
    let mut text = format!("{} {version}", row.key());
    for page in shown(list, version) {
        let page = Row::Page(page);
        depends_on(page.key());
        text += &format!(" {} {}", page.key(), rows.version(page));
    }
    text
}

#[smart_cache("page:{id}", tags("pages"))]
async fn page(
    State(app): State<App>,
    Path(id): Path<u64>,
    #[key(ignore)] headers: HeaderMap,
) -> String {
    app.answer(&headers, |rows| show(rows, Row::Page(id))).await
}

/// The same page, never from the memory of the process.
#[smart_cache("page:{id}", tags("pages"), local = false)]
async fn far(
    State(app): State<App>,
    Path(id): Path<u64>,
    #[key(ignore)] headers: HeaderMap,
) -> String {
    app.answer(&headers, |rows| show(rows, Row::Page(id))).await
}

/// Shows pages that are known only once its own row was read.
#[smart_cache("list:{id}", tags("pages"))]
async fn list(
    State(app): State<App>,
    Path(id): Path<u64>,
    #[key(ignore)] headers: HeaderMap,
) -> String {
    app.answer(&headers, |rows| show(rows, Row::List(id))).await
}

/// What a write says: the version it has committed, then when its clear was acknowledged.
fn told(version: u64, cleared: Result<(), ClearError>) -> String {
    match cleared {
        Ok(()) => format!("{version} cleared {}", micros()),
        Err(why) => format!("{version} failed {} {why}", micros()),
    }
}

/// Commits these rows, and clears by this wish.
async fn write(
    app: &App,
    rows: &[Row],
    clear: impl Future<Output = Result<(), ClearError>>,
) -> String {
    let mut version = 0;
    for row in rows {
        version = app.rows.commit(*row);
    }
    match &app.wrong {
        Some(wrong) => {
            wrong.delete(rows).await;
            told(version, Ok(()))
        }
        None => told(version, clear.await),
    }
}

async fn write_row(app: App, row: Row) -> String {
    write(&app, &[row], app.cache.clear(row.key())).await
}

async fn write_page(State(app): State<App>, Path(id): Path<u64>) -> String {
    write_row(app, Row::Page(id)).await
}

async fn write_list(State(app): State<App>, Path(id): Path<u64>) -> String {
    write_row(app, Row::List(id)).await
}

/// Changes every page, and clears their tag.
async fn write_pages(State(app): State<App>) -> String {
    let pages: Vec<Row> = Row::all()
        .filter(|row| matches!(row, Row::Page(_)))
        .collect();
    write(&app, &pages, app.cache.clear("pages")).await
}

/// Changes everything, and clears the namespace.
async fn write_all(State(app): State<App>) -> String {
    let all: Vec<Row> = Row::all().collect();
    write(&app, &all, app.cache.clear_all()).await
}

/// Asks for a new answer, of a row that nobody has changed.
async fn soften(State(app): State<App>, Path(id): Path<u64>) -> String {
    told(0, app.cache.expire(Row::Page(id).key()).await)
}

/// What the driver asks for once in a while.
async fn stats(State(app): State<App>) -> String {
    let stats = app.cache.stats();
    format!(
        "{} {} {}",
        stats.pending_clears,
        app.runs.doubled.load(Ordering::Relaxed),
        stats.local_hits
    )
}

/// SET after a miss, DEL after a write, of the entries of both builds.
struct SetDel {
    client: redis::Client,
    connection: tokio::sync::Mutex<Option<MultiplexedConnection>>,
}

impl SetDel {
    async fn run<T: redis::FromRedisValue>(&self, command: Cmd) -> Option<T> {
        let mut place = self.connection.lock().await;
        if place.is_none() {
            *place = self.client.get_multiplexed_async_connection().await.ok();
        }
        let connection = place.as_mut()?;
        let answer = command.query_async(connection).await;
        if answer.is_err() {
            *place = None;
        }
        answer.ok()
    }

    async fn delete(&self, rows: &[Row]) {
        let names = |row: &Row| BUILDS.map(|build| Self::name(build, *row));
        let names: Vec<String> = rows.iter().flat_map(names).collect();
        let _: Option<u64> = self.run(Cmd::del(&names)).await;
    }

    fn name(build: &str, row: Row) -> String {
        format!("{build}:{}", row.key())
    }
}

async fn wrong_page(State(app): State<App>, Path(id): Path<u64>, headers: HeaderMap) -> String {
    let (Some(wrong), row) = (&app.wrong, Row::Page(id)) else {
        return String::new();
    };
    let name = SetDel::name(&app.build, row);
    if let Some(Some(found)) = wrong.run::<Option<String>>(Cmd::get(&name)).await {
        return found;
    }
    let answer = app.answer(&headers, |rows| show(rows, row)).await;
    let _: Option<()> = wrong.run(Cmd::set(&name, &answer)).await;
    answer
}

/// Nothing but its handler.
async fn bare_list(State(app): State<App>, Path(id): Path<u64>, headers: HeaderMap) -> String {
    app.answer(&headers, |rows| show(rows, Row::List(id))).await
}

fn router(app: &App) -> Router {
    let reads = if app.wrong.is_some() {
        Router::new()
            .route("/page/{id}", get(wrong_page))
            .route("/far/{id}", get(wrong_page))
            .route("/list/{id}", get(bare_list))
    } else {
        Router::new()
            .route("/page/{id}", get(page))
            .route("/far/{id}", get(far))
            .route("/list/{id}", get(list))
    };
    reads
        .route("/page/{id}", post(write_page))
        .route("/list/{id}", post(write_list))
        .route("/pages", post(write_pages))
        .route("/all", post(write_all))
        .route("/soften/{id}", post(soften))
        .route("/stats", get(stats))
        .layer(Extension(app.cache.clone()))
        .with_state(app.clone())
}

/// Serves until it is killed.
pub(crate) async fn run(number: u64, broken: Option<Broken>) -> ExitCode {
    let url = text_after("--url").expect("--url URL");
    let build = text_after("--build").expect("--build NAME");
    let mut builder = SmartCache::builder()
        .url(&url)
        .backend(BackendKind::Redis)
        .namespace("soak")
        .app_version(build.as_str())
        .flush(StartFlush::Never)
        .settle(Duration::ZERO)
        // Short, so that the entry of a process that was killed is filled again while the run lasts.
        .lease(Duration::from_secs(2))
        .wait(Duration::from_secs(1))
        .local_staleness(STALENESS);
    if broken == Some(Broken::FixedId) {
        builder = builder.server_id("always");
    }
    let cache = match builder.build().await {
        Ok(cache) => cache,
        Err(why) => {
            println!("node {number}: {why}");
            return ExitCode::FAILURE;
        }
    };
    let wrong = (broken == Some(Broken::SetDel)).then(|| {
        Arc::new(SetDel {
            client: redis::Client::open(url.as_str()).expect("a URL"),
            connection: tokio::sync::Mutex::default(),
        })
    });
    let app = App {
        rows: Rows::open(FilePath::new(&text_after("--rows").expect("--rows FILE"))),
        cache,
        build: build.into(),
        runs: Arc::default(),
        wrong,
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await;
    let listener = listener.expect("a loopback port");
    println!("listening on {}", listener.local_addr().expect("bound"));
    match axum::serve(listener, router(&app)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("node {number}: {why}");
            ExitCode::FAILURE
        }
    }
}
