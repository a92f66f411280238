//! A private Prometheus that scrapes one program.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use http::Request;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::daemon::{Daemon, Refusal, free_port};
use super::http::Client;

/// A real Prometheus on a free port.
///
/// # Example
///
/// ```no_run
/// # async fn example(shop: std::net::SocketAddr) {
/// use smart_cache_tests::harness::Prometheus;
///
/// let prometheus = Prometheus::scraping(shop, "ops/alerts.yml".as_ref()).await;
/// println!("{:?}", prometheus.query("up").await);
/// # }
/// ```
#[derive(Debug)]
pub struct Prometheus {
    client: Client,
    _daemon: Daemon,
    /// Last, so that the process is gone before its files are.
    _folder: TempDir,
}

impl Prometheus {
    /// Scrapes `/metrics` of this address every second, and evaluates these rules as often.
    ///
    /// # Panics
    ///
    /// When Prometheus is not installed, or does not start with these rules.
    pub async fn scraping(target: SocketAddr, rules: &Path) -> Self {
        let folder = TempDir::with_prefix("prometheus-").expect("a temporary folder");
        let rules = rules.canonicalize().expect("there are rules");
        // JSON is YAML.
        let settings = json!({
            "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
            "rule_files": [rules],
            "scrape_configs": [
                { "job_name": "program", "static_configs": [{ "targets": [target.to_string()] }] },
            ],
        });
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, settings.to_string()).expect("the folder is writable");
        loop {
            let port = free_port();
            let client = Client::of(SocketAddr::from(([127, 0, 0, 1], port)));
            let mut command = Command::new("prometheus");
            command
                .arg(format!("--config.file={}", file.display()))
                .arg(format!("--storage.tsdb.path={}", folder.path().display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"));
            let log = folder.path().join("prometheus.log");
            let ready = async |_: &str| {
                let request = Request::get("/-/ready").body(Bytes::new());
                let answer = client.exchange(request.expect("a legal request")).await;
                answer.is_ok_and(|answer| answer.status().is_success())
            };
            match Daemon::start(command, &log, Signal::KILL, ready).await {
                Ok(daemon) => {
                    return Self {
                        client,
                        _daemon: daemon,
                        _folder: folder,
                    };
                }
                Err(Refusal::PortTaken) => {}
                Err(Refusal::Other(why)) => panic!("prometheus did not start: {why}"),
            }
        }
    }

    /// What an expression is worth now: its series.
    ///
    /// # Panics
    ///
    /// When it is none.
    pub async fn query(&self, expression: &str) -> Vec<Value> {
        let expression = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        let data = self.api(&format!("query?query={expression}")).await;
        data["result"].as_array().cloned().unwrap_or_default()
    }

    /// What its API says at this path, `label/__name__/values`.
    ///
    /// # Panics
    ///
    /// When it says that something is wrong.
    pub async fn api(&self, path: &str) -> Value {
        let answer = self.client.get(&format!("/api/v1/{path}")).await;
        let text = String::from_utf8_lossy(answer.body());
        let said: Value = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!(said["status"], "success", "{path}: {text}");
        said["data"].clone()
    }
}
