//! The shop as a process of its own, for tests of what only a process shows.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};

use bytes::Bytes;
use http::{Response, StatusCode};
use smart_cache_tests::harness::{Client, eventually, within};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// The running shop and what it logs; killed when this drops.
pub(crate) struct Shop {
    process: Child,
    log: mpsc::UnboundedReceiver<String>,
    /// Lines that were read and not asked for yet.
    seen: VecDeque<String>,
    _folder: TempDir,
}

impl Shop {
    pub(crate) fn start(environment: &[(&str, &str)]) -> Self {
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
    pub(crate) async fn logs(&mut self, part: &str) -> String {
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

    /// What it has logged so far, as far as it was looked at and not asked for.
    pub(crate) fn everything_logged(&mut self) -> String {
        while let Ok(line) = self.log.try_recv() {
            self.seen.push_back(line);
        }
        self.seen.make_contiguous().join("\n")
    }

    /// Waits until it listens.
    pub(crate) async fn client(&mut self) -> Client {
        let address = self.logs("the shop is open at http://").await;
        Client::of(address.trim().parse::<SocketAddr>().expect("an address"))
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        eventually("the shop has ended", async || {
            self.process.try_wait().expect("our own child")
        })
        .await
    }

    /// Asks it to stop, as `kill` does.
    pub(crate) fn stop(&self) {
        let id = self.process.id().to_string();
        let sent = Command::new("kill").arg(id).status();
        assert!(sent.is_ok_and(|sent| sent.success()), "kill");
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn cache_status(answer: &Response<Bytes>) -> &str {
    answer.headers()["cache-status"]
        .to_str()
        .expect("it is ASCII")
}

pub(crate) async fn get(shop: Client, path: &str) -> Response<Bytes> {
    let answer = shop.get(path).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    answer
}

/// The page as the cache has it, once it is there.
pub(crate) async fn hit(shop: Client, path: &str) -> Bytes {
    let what = format!("a hit for {path}");
    eventually(what, async || {
        let answer = get(shop, path).await;
        (cache_status(&answer) == "smart-cache; hit").then(|| answer.into_body())
    })
    .await
}
