//! The shop as its visitors and programs meet it: every route, over a small database.

mod caching;
mod cart;
mod pages;
mod writes;

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use axum::{Extension, Router};
use serde_json::Value;
use smart_cache::{BackendKind, SmartCache};
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};
use tower::ServiceExt;

use crate::app::app;
use crate::db::Db;
use crate::hooks::{self, Clears};

const FORM: &str = "application/x-www-form-urlencoded";

/// The relay clears the default cache, and a program has one of these: where tests share a process,
/// one shop is open at a time, and it begins with a cold cache.
static OPEN: Mutex<()> = Mutex::const_new(());

/// A shop with 300 products of its own, gone with the test.
struct Shop {
    app: Router,
    clears: Clears,
    db: Db,
    directory: TempDir,
    _open: MutexGuard<'static, ()>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Shop {
    async fn open() -> Self {
        let open = OPEN.lock().await;
        // Not what the environment says: a test must not clear somebody's Redis. Without time to
        // settle, for what is stored is to stay. The second shop of a process finds it installed.
        let cache = SmartCache::builder().backend(BackendKind::Memory);
        let cache = cache.settle(Duration::ZERO).build().await.unwrap();
        let _ = smart_cache::install(cache);
        smart_cache::clear_all().await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let db = Db::open(&directory.path().join("shop.db"), 300)
            .await
            .unwrap();
        let cache = smart_cache::start().await.unwrap();
        hooks::install(&db).await.unwrap();
        let clears = Clears::start(&db, &cache);
        Self {
            app: app(db.clone(), clears.clone()),
            clears,
            db,
            directory,
            _open: open,
        }
    }

    /// The same shop without a cache.
    fn uncached(&self) -> Router {
        app(self.db.clone(), self.clears.clone()).layer(Extension(SmartCache::off()))
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        Answer::of(&self.app, request).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    async fn get_json(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        answer.json()
    }

    async fn json(&self, method: Method, path: &str, body: Value) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap())
            .await
    }

    async fn form(&self, path: &str, cookie: &str, body: &str) -> Answer {
        let request = Request::post(path).header(header::CONTENT_TYPE, FORM);
        let request = request.header(header::COOKIE, cookie);
        self.send(request.body(Body::from(body.to_owned())).unwrap())
            .await
    }

    async fn cart(&self, cookie: &str) -> Answer {
        let request = Request::get("/cart").header(header::COOKIE, cookie);
        self.send(request.body(Body::empty()).unwrap()).await
    }
}

impl Answer {
    async fn of(app: &Router, request: Request<Body>) -> Self {
        let response = app.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Self {
            status: head.status,
            headers: head.headers,
            text,
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    fn header(&self, name: header::HeaderName) -> &str {
        self.headers[name].to_str().unwrap()
    }

    #[track_caller]
    fn is_refused(&self, status: StatusCode, reason: &str) {
        assert_eq!(self.status, status, "{}", self.text);
        let message = self.json()["error"].as_str().unwrap().to_owned();
        assert!(message.contains(reason), "{message}");
    }

    #[track_caller]
    fn leads_to(&self, path: &str) {
        assert_eq!(self.status, StatusCode::SEE_OTHER, "{}", self.text);
        assert_eq!(self.header(header::LOCATION), path);
    }

    /// The cookie that this answer sets, as the next request sends it.
    fn cookie(&self) -> String {
        self.header(header::SET_COOKIE)
            .split(';')
            .next()
            .unwrap()
            .to_owned()
    }
}
