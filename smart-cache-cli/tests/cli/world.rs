//! A real Redis that a real application has filled, and the real program that looks at it.

use std::process::Stdio;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Path;
use axum::http::Request;
use axum::routing::get;
use axum::{Extension, Router};
use smart_cache::{BackendKind, SmartCache, StartFlush, smart_cache};
use smart_cache_tests::harness::{RedisServer, eventually, within};
use tower::ServiceExt as _;

#[smart_cache("product:{id}", tags("products"))]
async fn product(Path(id): Path<u32>) -> String {
    format!("the product {id}\u{1b}[31m <script>")
}

/// What the program said, and how it ended.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    #[track_caller]
    pub(crate) fn well(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }

    /// Every line as JSON.
    #[track_caller]
    pub(crate) fn json(self) -> Vec<serde_json::Value> {
        let out = self.well();
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        out.lines().map(parse).collect()
    }
}

/// Runs the program with exactly these settings.
pub(crate) async fn run(settings: &[(&str, &str)], arguments: &[&str]) -> Said {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_smart-cache"))
        .args(arguments)
        .env_clear()
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .output();
    let output = within(format!("the end of smart-cache {arguments:?}"), output);
    let output = output.await.unwrap();
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// An application on a server of its own, and the program that looks at it.
pub(crate) struct World {
    pub(crate) server: RedisServer,
    pub(crate) cache: SmartCache,
    app: Router,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::on(RedisServer::start().await).await
    }

    pub(crate) async fn on(server: RedisServer) -> Self {
        let cache = SmartCache::builder()
            .url(&server.url())
            .backend(BackendKind::Redis)
            .namespace("shop")
            .app_version("build-1")
            .settle(Duration::ZERO)
            .flush(StartFlush::Never)
            .local_capacity(0)
            .timeout(Duration::from_secs(5))
            .build()
            .await
            .unwrap();
        let app = Router::new()
            .route("/product/{id}", get(product))
            .layer(Extension(cache.clone()));
        Self { server, cache, app }
    }

    /// How the cache answers.
    pub(crate) async fn ask(&self, id: u32) -> String {
        let request = Request::get(format!("/product/{id}")).body(Body::empty());
        let answer = self.app.clone().oneshot(request.unwrap()).await.unwrap();
        let status = &answer.headers()["cache-status"];
        status.to_str().unwrap().to_owned()
    }

    /// Stores these products.
    pub(crate) async fn fill(&self, ids: std::ops::Range<u32>) {
        let before = self.cache.stats().stored;
        let count = u64::from(ids.end - ids.start);
        for id in ids {
            self.ask(id).await;
        }
        eventually("every product to be stored", async || {
            (self.cache.stats().stored == before + count).then_some(())
        })
        .await;
    }

    pub(crate) async fn say(&self, arguments: &[&str]) -> Said {
        let url = self.server.url();
        let settings = [
            ("SMART_REDIS_URL", &*url),
            ("SMART_REDIS_NAMESPACE", "shop"),
        ];
        run(&settings, arguments).await
    }
}
