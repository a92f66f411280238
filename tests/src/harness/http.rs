//! An axum router on a real port, and a small client to ask it.

use std::net::SocketAddr;

use axum::Router;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::wait::within;

/// A router that listens; it stops listening when this drops.
#[derive(Debug)]
pub struct Served {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

/// Serves a router on a free loopback port.
///
/// Most tests need no socket and call the router as a service; this is for what only a connection
/// shows: clients that go away, HEAD without a body, several servers at once.
///
/// # Panics
///
/// When no loopback port can be had.
pub async fn serve(router: Router) -> Served {
    let listener = TcpListener::bind(("127.0.0.1", 0))
        .await
        .expect("a loopback port");
    let address = listener.local_addr().expect("it is bound");
    let serving = tokio::spawn(async move {
        // It only ends by being aborted: axum goes on after errors of single connections.
        let _ = axum::serve(listener, router).await;
    });
    Served { address, serving }
}

impl Served {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client of this server.
    #[must_use]
    pub const fn client(&self) -> Client {
        Client::of(self.address)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Asks one server over HTTP/1.1, each time on a new connection.
///
/// Dropping the future of a request closes its connection: a client that went away.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    server: SocketAddr,
}

impl Client {
    /// A client of the server at this address.
    #[must_use]
    pub const fn of(server: SocketAddr) -> Self {
        Self { server }
    }

    /// The server's address.
    #[must_use]
    pub const fn server(self) -> SocketAddr {
        self.server
    }

    /// GET of a path (with its query) and the whole answer.
    pub async fn get(self, path: &str) -> Response<Bytes> {
        self.request(Method::GET, path).await
    }

    /// A request without a body.
    ///
    /// # Panics
    ///
    /// As [`send`](Self::send).
    pub async fn request(self, method: Method, path: &str) -> Response<Bytes> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Bytes::new());
        self.send(request.expect("the path is a legal URI")).await
    }

    /// Any request; `Host` is added, everything else is sent as it is.
    ///
    /// # Panics
    ///
    /// When the server cannot be reached, breaks the connection, or does not answer in time.
    pub async fn send(self, request: Request<Bytes>) -> Response<Bytes> {
        let what = format!("the answer to {} {}", request.method(), request.uri());
        let answer = within(what, self.exchange(request)).await;
        answer.unwrap_or_else(|error| panic!("the request failed: {error}"))
    }

    /// As [`send`](Self::send), for requests that are expected to fail or to take longer.
    ///
    /// # Errors
    ///
    /// When the connection cannot be made or breaks before the whole answer is there.
    pub async fn exchange(
        self,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(self.server).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // In a guard, so that a caller who gives up also hangs up.
        let _connection = Aborted(tokio::spawn(connection));
        let mut request = request.map(Full::new);
        request
            .headers_mut()
            .entry(http::header::HOST)
            .or_insert(http::HeaderValue::from_static("localhost"));
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }
}

/// A task that ends with this guard.
struct Aborted<T>(JoinHandle<T>);

impl<T> Drop for Aborted<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
