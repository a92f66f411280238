//! A client that keeps its connections, with an end to every wait.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::node::REQUEST;

/// Longer than anything that a process which lives may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// What `Cache-Status` says.
    pub(crate) cache: String,
    pub(crate) body: String,
}

/// Asks any process.
#[derive(Clone, Debug)]
pub(crate) struct Asker(Client<HttpConnector, Empty<Bytes>>);

impl Asker {
    pub(crate) fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }

    /// Sends one request.
    ///
    /// # Errors
    ///
    /// What went wrong, in words.
    pub(crate) async fn ask(
        &self,
        method: Method,
        server: SocketAddr,
        path: &str,
        number: u64,
    ) -> Result<Answer, String> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{server}{path}"))
            .header(REQUEST, number)
            .body(Empty::new())
            .map_err(|why| why.to_string())?;
        let exchange = async {
            let response = self.0.request(request).await.map_err(|why| {
                use std::error::Error as _;
                why.source()
                    .map_or_else(|| why.to_string(), |source| format!("{why}: {source}"))
            })?;
            let status = response.status().as_u16();
            let cache = response.headers().get("cache-status");
            let cache = cache.and_then(|text| text.to_str().ok()).unwrap_or("none");
            let cache = cache.to_owned();
            let body = response.into_body().collect().await;
            let body = body.map_err(|why| why.to_string())?.to_bytes();
            let body = String::from_utf8_lossy(&body).into_owned();
            Ok(Answer {
                status,
                cache,
                body,
            })
        };
        match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {PATIENCE:?}")),
        }
    }
}
