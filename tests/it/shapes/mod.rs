//! Every shape of handler that axum accepts must also be one that can be cached.
//!
//! All of them hang in one application and are asked twice: the second answer must come from
//! the cache, byte for byte, and the handler must have run once. The shapes of axum's own
//! `debug_handler` suite are among them, with that attribute above and below ours. That this
//! compiles at all is half of the test.

mod attributes;
mod extra;
mod generated;
mod generics;
mod hostile;
mod outputs;
mod parts;
mod patterns;
mod receivers;
mod signatures;
mod writes;

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use axum::body::Body;
use axum::extract::FromRef;
use axum::handler::Handler;
use axum::http::{Method, Request, StatusCode};
use axum::routing::{get, post};
use axum::{Extension, Router};
use http_body_util::BodyExt as _;
use smart_cache::SmartCache;
use tower::ServiceExt as _;

/// The application's state; shapes take it, or a part of it.
#[derive(Clone, Default)]
struct App {
    shop: Shop,
}

#[derive(Clone, Default)]
struct Shop;

impl FromRef<App> for Shop {
    fn from_ref(app: &App) -> Self {
        app.shop.clone()
    }
}

static RUNS: LazyLock<Mutex<HashMap<&'static str, usize>>> = LazyLock::new(Mutex::default);

/// Counts a run of the shape called `name`, and gives a body that no other run gives.
fn ran(name: &'static str) -> String {
    let mut runs = RUNS.lock().unwrap();
    let count = runs.entry(name).or_default();
    *count += 1;
    format!("{name}, run {count}")
}

fn runs(name: &str) -> usize {
    RUNS.lock().unwrap().get(name).copied().unwrap_or_default()
}

/// The routes of the shapes, and an address to ask each one at.
///
/// A shape's address begins with the name under which it counts its runs.
#[derive(Default)]
struct Shapes {
    router: Router<App>,
    addresses: Vec<&'static str>,
}

impl Shapes {
    /// A shape whose route is its address.
    fn plain<T: 'static>(self, address: &'static str, handler: impl Handler<T, App>) -> Self {
        self.at(address, address, handler)
    }

    fn at<T: 'static>(
        mut self,
        route: &str,
        address: &'static str,
        handler: impl Handler<T, App>,
    ) -> Self {
        self.router = self.router.route(route, get(handler));
        self.addresses.push(address);
        self
    }

    fn write<T: 'static>(
        mut self,
        route: &str,
        address: &'static str,
        handler: impl Handler<T, App>,
    ) -> Self {
        self.router = self.router.route(route, post(handler));
        self.addresses.push(address);
        self
    }

    async fn into_router(self) -> Router {
        let cache = SmartCache::in_memory();
        self.router
            .layer(Extension("tenant".to_owned()))
            .layer(Extension(cache))
            .with_state(App::default())
    }
}

/// What came back: status, whether the cache answered, and the body.
#[derive(Debug, PartialEq)]
struct Answer {
    status: StatusCode,
    is_hit: bool,
    body: String,
}

async fn ask(router: &Router, method: Method, address: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(address)
        .header("accept-language", "en")
        .header("content-type", "application/json")
        .body(Body::from("\"new\""))
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let is_hit = response
        .headers()
        .get("cache-status")
        .is_some_and(|value| value.to_str().unwrap().contains("; hit"));
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Answer {
        status,
        is_hit,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

fn name_of(address: &'static str) -> &'static str {
    address
        .trim_start_matches('/')
        .split(['/', '?'])
        .next()
        .unwrap()
}

async fn check_each_is_cached(shapes: Shapes) {
    let addresses = shapes.addresses.clone();
    let router = shapes.into_router().await;
    for address in addresses {
        let before = runs(name_of(address));
        let first = ask(&router, Method::GET, address).await;
        assert_eq!(
            (first.status, first.is_hit),
            (StatusCode::OK, false),
            "first answer of {address}: {first:?}"
        );
        let second = ask(&router, Method::GET, address).await;
        assert_eq!(
            second,
            Answer {
                is_hit: true,
                ..first
            },
            "second answer of {address}"
        );
        assert_eq!(runs(name_of(address)), before + 1, "runs of {address}");
    }
}
