//! The shop as a real process over a real Redis, which dies and comes back meanwhile.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use smart_cache_tests::harness::{Client, RedisServer, eventually, within};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// The running shop and what it logs; killed when this drops.
struct Shop {
    process: Child,
    log: mpsc::UnboundedReceiver<String>,
    /// Lines that were read and not asked for yet.
    seen: VecDeque<String>,
    _folder: TempDir,
}

impl Shop {
    fn start(environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut process = Command::new(env!("CARGO_BIN_EXE_example-app"))
            .current_dir(folder.path())
            .env("PORT", "0")
            .env("SHOP_DB", "shop.db")
            .env("RUST_LOG", "info")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("cargo has built it");
        let stderr = process.stderr.take().expect("it was asked to be piped");
        let (sender, log) = mpsc::unbounded_channel();
        // A thread, for reading a pipe blocks; it ends with the process.
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            process,
            log,
            seen: VecDeque::new(),
            _folder: folder,
        }
    }

    /// What stands behind `part` in the first line that has it and was not asked for yet.
    async fn logs(&mut self, part: &str) -> String {
        loop {
            let mut found = self.seen.iter().enumerate();
            let behind = |line: &String| Some(line.split_once(part)?.1.to_owned());
            if let Some((at, rest)) = found.find_map(|(at, line)| Some((at, behind(line)?))) {
                self.seen.remove(at);
                return rest;
            }
            let line = within(format!("{part:?} in the log"), self.log.recv()).await;
            let line = line.unwrap_or_else(|| panic!("no {part:?} in the log: {:?}", self.seen));
            self.seen.push_back(line);
        }
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn cache_status(answer: &Response<Bytes>) -> &str {
    answer.headers()["cache-status"]
        .to_str()
        .expect("it is ASCII")
}

async fn get(shop: Client, path: &str) -> Response<Bytes> {
    let answer = shop.get(path).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    answer
}

/// The page as the cache has it, once it is there.
async fn hit(shop: Client, path: &str) -> Bytes {
    let what = format!("a hit for {path}");
    eventually(what, async || {
        let answer = get(shop, path).await;
        (cache_status(&answer) == "smart-cache; hit").then(|| answer.into_body())
    })
    .await
}

async fn stock(shop: Client) -> i64 {
    let body = get(shop, "/api/products/7").await.into_body();
    let product: serde_json::Value = serde_json::from_slice(&body).expect("it is JSON");
    product["stock"].as_i64().expect("it is a number")
}

#[tokio::test]
async fn pages_and_writes_go_on_without_redis_and_it_is_used_again_when_it_is_back() {
    let mut redis = RedisServer::start().await;
    let port = redis.port().to_string();
    let mut process = Shop::start(&[("SMART_REDIS_PORT", &port)]);
    assert!(process.logs("the cache is").await.contains(&port));
    let address = process.logs("the shop is open at http://").await;
    let shop = Client::of(address.trim().parse::<SocketAddr>().unwrap());

    let pages = ["/", "/products?q=lamp", "/products/7", "/categories/garden"];
    let mut warm = Vec::new();
    for path in pages {
        warm.push(hit(shop, path).await);
    }
    let before = stock(shop).await;

    redis.kill();
    for (path, warm) in pages.iter().zip(&warm) {
        let answer = get(shop, path).await;
        assert!(cache_status(&answer).contains("fwd=bypass"), "{path}");
        assert_eq!(answer.body(), warm, "{path}");
    }
    process.logs("connection lost").await;
    let delivery = Request::post("/products/7/stock")
        .header("content-type", "application/json")
        .body(Bytes::from_static(b"{\"quantity\":5}"))
        .unwrap();
    assert_eq!(shop.send(delivery).await.status(), StatusCode::CREATED);
    process.logs("the outbox was not delivered").await;
    assert_eq!(stock(shop).await, before + 5);

    redis.restart().await;
    process.logs("all clears are acknowledged").await;
    let page = hit(shop, "/products/7").await;
    assert_ne!(page, warm[2]);
    hit(shop, "/api/products/7").await;
    assert_eq!(stock(shop).await, before + 5);
}

#[tokio::test]
async fn a_setting_that_cannot_be_used_stops_the_start_and_says_what_is_allowed() {
    let mut process = Shop::start(&[("SMART_REDIS_PORT", "six")]);
    let complaint = process.logs("SMART_REDIS_PORT").await;
    assert!(complaint.contains("six"), "{complaint}");
    assert!(!process.process.wait().unwrap().success());
}

#[tokio::test]
async fn the_metrics_tell_of_hits_by_template_and_never_by_key() {
    let redis = RedisServer::start().await;
    let port = redis.port().to_string();
    let mut process = Shop::start(&[("SMART_REDIS_PORT", &port)]);
    let address = process.logs("the shop is open at http://").await;
    let shop = Client::of(address.trim().parse::<SocketAddr>().unwrap());
    hit(shop, "/products/7").await;
    let page = get(shop, "/metrics").await.into_body();
    let page = String::from_utf8(page.to_vec()).unwrap();
    let line = page.lines().find(|line| {
        line.starts_with("smart_cache_requests_total{") && line.contains("result=\"hit\"")
    });
    assert!(
        line.is_some_and(|line| line.contains("product:{product.id}")),
        "{page}"
    );
    assert!(page.contains("smart_cache_store_seconds_bucket{"), "{page}");
    assert!(!page.contains("product:7"), "{page}");
}
