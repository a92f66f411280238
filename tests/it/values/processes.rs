//! Four real processes and ten thousand callers who want one value that is not there: it is computed
//! once, on every store that processes share, and in the memory of one.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::Value;
use smart_cache::{BackendKind, SmartCache};
use smart_cache_tests::harness::{
    Client, Gate, MariaDbServer, MemcachedServer, PostgresServer, Program, RedisServer, namespace,
    workspace_program,
};
use tempfile::TempDir;
use tokio::task::JoinSet;

const PROCESSES: usize = 4;
const CALLERS: usize = 10_000;

async fn ten_thousand_callers_compute_once(url: &str) {
    let namespace = namespace();
    let mut programs = Vec::new();
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for _ in 0..PROCESSES {
        let program = workspace_program("callers");
        let mut program = Program::start(program, &[url, &namespace], &[]);
        addresses.push(program.line_with("listening on ").await.parse().unwrap());
        programs.push(program);
    }
    for path in ["/go/plain/", "/go/tagged/"] {
        let query = if path == "/go/tagged/" { "?tags=t" } else { "" };
        let path = format!("{path}{}{query}", CALLERS / PROCESSES);
        let mut asking = JoinSet::new();
        for address in &addresses {
            let (client, path) = (Client::of(*address), path.clone());
            asking.spawn(async move { client.get(&path).await });
        }
        let (mut computed, mut values) = (0, BTreeSet::new());
        for answer in asking.join_all().await {
            let answer: Value = serde_json::from_slice(answer.body()).unwrap();
            computed += answer["computed"].as_u64().unwrap();
            let got = answer["values"].as_array().unwrap();
            values.extend(got.iter().map(ToString::to_string));
        }
        assert_eq!(computed, 1, "{path}: {values:?}");
        assert_eq!(values.len(), 1, "{path}: {values:?}");
    }
}

#[tokio::test]
async fn ten_thousand_callers_compute_once_on_redis() {
    let server = RedisServer::start().await;
    ten_thousand_callers_compute_once(&server.url()).await;
}

#[tokio::test]
async fn ten_thousand_callers_compute_once_on_postgres() {
    let server = PostgresServer::start().await;
    ten_thousand_callers_compute_once(&server.database()).await;
}

#[tokio::test]
async fn ten_thousand_callers_compute_once_on_mariadb() {
    let server = MariaDbServer::start().await;
    ten_thousand_callers_compute_once(&server.database()).await;
}

/// The memory of a process is its own, so all callers are in one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_callers_compute_once_in_memory() {
    for tags in [&[][..], &["t"]] {
        let builder = SmartCache::builder().backend(BackendKind::Memory);
        let values = builder.build().await.unwrap().values();
        let gate = Gate::new();
        let mut calling = JoinSet::new();
        for _ in 0..CALLERS {
            let (wanted, gate) = (values.get_or_set("k").tags(tags.to_vec()), gate.clone());
            calling.spawn(async move {
                let value = wanted.compute(async || gate.pass().await);
                value.await.unwrap()
            });
        }
        gate.begun().await;
        gate.open_for_all();
        let values: BTreeSet<u64> = calling.join_all().await.into_iter().collect();
        assert_eq!((gate.runs(), values.len()), (1, 1), "{tags:?}");
    }
}

#[tokio::test]
async fn ten_thousand_callers_compute_once_on_a_sqlite_file() {
    let folder = TempDir::with_prefix("callers-").unwrap();
    let url = format!("sqlite:{}", folder.path().join("cache.db").display());
    ten_thousand_callers_compute_once(&url).await;
}

#[tokio::test]
async fn ten_thousand_callers_compute_once_on_a_folder() {
    let folder = TempDir::with_prefix("callers-").unwrap();
    let url = format!("file:{}", folder.path().join("cache").display());
    ten_thousand_callers_compute_once(&url).await;
}

#[tokio::test]
async fn ten_thousand_callers_compute_once_on_a_memcached() {
    let server = MemcachedServer::start().await;
    ten_thousand_callers_compute_once(&server.url()).await;
}
