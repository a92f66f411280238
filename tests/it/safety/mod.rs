//! One visitor's answer never reaches another, whatever handlers, headers and attackers do.
//!
//! Every rule is tried with a client over TCP, once against the attribute and once against the
//! layer; but what a service reads without saying so (overridden methods, `Forwarded`, headers that
//! nobody named) concerns the layer alone, for a handler's arguments and `vary` say what it reads.

mod answers;
mod poison;
mod targets;
mod visitors;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get as on_get;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use smart_cache::{SmartCache, layer, smart_cache};
use smart_cache_tests::harness::{Served, serve, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) use crate::road::{HIT, in_memory};

/// What the handler answers next, as the test has written it.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Scripted>>);

/// Status, headers, body.
type Scripted = (u16, Vec<(String, Vec<u8>)>, String);

impl Script {
    fn write(&self, status: u16, headers: &[(&str, &str)], body: &str) {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
        *self.0.lock().unwrap() = (status, headers.collect(), body.to_owned());
    }

    fn answer(&self) -> Response {
        let (status, lines, body) = self.0.lock().unwrap().clone();
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(&value).unwrap());
        }
        (StatusCode::from_u16(status).unwrap(), headers, body).into_response()
    }
}

const LISTED: [u16; 14] = [
    200, 201, 302, 401, 403, 404, 206, 304, 412, 416, 500, 502, 503, 504,
];

#[smart_cache("scripted")]
async fn scripted(State(script): State<Script>) -> Response {
    script.answer()
}

async fn uncached(State(script): State<Script>) -> Response {
    script.answer()
}

/// One of the two ways to cache.
struct Front {
    name: &'static str,
    served: Served,
    script: Script,
    cache: SmartCache,
}

/// The scripted handler behind the attribute, and behind the layer.
async fn fronts() -> Vec<Front> {
    let mut fronts = Vec::new();
    for name in ["attribute", "layer"] {
        let (script, cache) = (Script::default(), in_memory().await);
        let app = match name {
            "attribute" => Router::new()
                .route("/", on_get(scripted))
                .route("/{*rest}", on_get(scripted)),
            _ => Router::new()
                .route("/", on_get(uncached))
                .route("/{*rest}", on_get(uncached))
                .layer(layer("scripted")),
        };
        let app = app
            .layer(axum::Extension(cache.clone()))
            .with_state(script.clone());
        fronts.push(Front {
            name,
            served: serve(app).await,
            script,
            cache,
        });
    }
    fronts
}

impl Front {
    async fn get(&self, headers: &[(&str, &str)]) -> Reply {
        ask(&self.served, "/", headers).await
    }

    /// Whether an answer with this head is given to the next one who asks.
    async fn keeps(&self, status: u16, headers: &[(&str, &str)]) -> bool {
        self.cache.clear_all().await.unwrap();
        self.script.write(status, headers, "first");
        let first = self.get(&[]).await;
        assert_eq!(first.status, status, "the client gets it as it is");
        self.script.write(200, &[], "second");
        let second = self.get(&[]).await;
        let is_kept = second.head.contains(HIT);
        assert!(
            is_kept || second.body == "second",
            "{}: {} after {status} {headers:?}",
            self.name,
            second.body
        );
        is_kept
    }
}

/// An answer as it came over the wire.
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    /// The first line of this header.
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (named, value) = line.split_once(':')?;
            named.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// GET of a target, exactly as it is written.
async fn ask(served: &Served, target: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = format!("GET {target} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        request.push_str("host: a.test\r\n");
    }
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("connection: close\r\n\r\n");
    let mut socket = TcpStream::connect(served.address()).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    within("an answer", socket.read_to_end(&mut reply))
        .await
        .unwrap();
    let reply = String::from_utf8(reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").expect("a whole head");
    let status = head.split(' ').nth(1).expect("a status line");
    Reply {
        status: status.parse().unwrap(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}
