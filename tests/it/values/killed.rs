//! A process that is killed while it writes leaves whole values behind, on a folder and on a file of
//! SQLite: what it acknowledged is there, and nothing is half there.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bytes::Bytes;
use smart_cache_tests::harness::{Client, eventually, namespace};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::kv_server::Server;

const ROUNDS: u64 = 6;
const WRITERS: u64 = 4;
const LENGTH: usize = 256 << 10;

/// Writes values that can be told whole from torn, and counts, until nobody answers any more.
async fn write(client: Client, writer: u64, acknowledged: Arc<AtomicU64>, counted: Arc<AtomicI64>) {
    for round in 0_u64.. {
        let body = Bytes::from(vec![(round % 251) as u8; LENGTH]);
        let put = http::Request::put(format!("/v/{writer}")).body(body);
        let Ok(answer) = client.exchange(put.unwrap()).await else {
            return;
        };
        assert_eq!(answer.status(), 200);
        acknowledged.fetch_add(1, Ordering::SeqCst);
        let count = http::Request::post("/incr/count").body(Bytes::new());
        let Ok(answer) = client.exchange(count.unwrap()).await else {
            return;
        };
        assert_eq!(answer.status(), 200);
        let now: i64 = std::str::from_utf8(answer.body()).unwrap().parse().unwrap();
        counted.fetch_max(now, Ordering::SeqCst);
    }
}

async fn what_a_killed_process_wrote_is_whole(backend: &str, url: &str) {
    let namespace = namespace();
    let more = ["--url", url, "--namespace", &namespace];
    let counted = Arc::new(AtomicI64::new(0));
    let mut server = Server::start(backend, &more, "").await;
    server.put("/v/count?timeout=never", "0").await;
    for writer in 0..WRITERS {
        server.put(&format!("/v/{writer}"), vec![0; LENGTH]).await;
    }
    for round in 0..ROUNDS {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let client = Client::of(server.address.parse().unwrap());
        let mut writing = JoinSet::new();
        for writer in 0..WRITERS {
            let (acknowledged, counted) = (Arc::clone(&acknowledged), Arc::clone(&counted));
            writing.spawn(write(client, writer, acknowledged, counted));
        }
        // Somewhere in the middle of what it does, another place each time.
        eventually("some writes", async || {
            (acknowledged.load(Ordering::SeqCst) > 10 + round).then_some(())
        })
        .await;
        server.program.kill();
        writing.join_all().await;

        server = Server::start(backend, &more, "").await;
        for writer in 0..WRITERS {
            let (status, body) = server.get(&format!("/v/{writer}")).await;
            assert_eq!(status, 200, "{backend}: the first write was acknowledged");
            assert_eq!(body.len(), LENGTH, "{backend}");
            assert!(body.iter().all(|byte| *byte == body[0]), "{backend}: torn");
        }
        let (_, count) = server.get("/v/count").await;
        let count: i64 = std::str::from_utf8(&count).unwrap().parse().unwrap();
        let known = counted.load(Ordering::SeqCst);
        let most = known + WRITERS as i64;
        assert!(
            (known..=most).contains(&count),
            "{backend}: {count} of {known} acknowledged"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_wrote_into_a_folder_is_whole() {
    let folder = TempDir::with_prefix("killed-").unwrap();
    let path = folder.path().join("files").display().to_string();
    what_a_killed_process_wrote_is_whole("file", &path).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_wrote_into_sqlite_is_whole() {
    let folder = TempDir::with_prefix("killed-").unwrap();
    let url = format!("sqlite:{}", folder.path().join("cache.db").display());
    what_a_killed_process_wrote_is_whole("sql", &url).await;
}
