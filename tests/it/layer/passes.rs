//! What passes through a layer as it comes: streams, upgrades, bodies that fail or are too long.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get as on_get;
use bytes::Bytes;
use futures_util::stream;
use http::{StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use smart_cache::{Bypass, layer};
use smart_cache_tests::harness::{Gate, resident_bytes, serve, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::{get, in_memory, send, status_of, whole};

/// A body of this many bytes, made a piece at a time, that may break off in the middle.
struct Pieces {
    left: u64,
    fails_at: u64,
    announced: bool,
}

const PIECE: u64 = 64 << 10;
static ZEROES: [u8; PIECE as usize] = [0; PIECE as usize];

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if self.left == self.fails_at {
            return Poll::Ready(Some(Err(std::io::Error::other("broken"))));
        }
        let piece = self.left.min(PIECE);
        self.left -= piece;
        let piece = Bytes::from_static(&ZEROES[..piece as usize]);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        if self.announced {
            SizeHint::with_exact(self.left)
        } else {
            SizeHint::default()
        }
    }
}

/// A site that answers with such a body, behind a layer.
async fn answering(
    bytes: u64,
    fails_at: u64,
    announced: bool,
) -> (Router, smart_cache::SmartCache) {
    let cache = in_memory().await;
    let body = move || async move {
        Body::new(Pieces {
            left: bytes,
            fails_at,
            announced,
        })
    };
    let app = Router::new()
        .route("/", on_get(body))
        .layer(layer("pieces").cache(cache.clone()));
    (app, cache)
}

/// Far over `max_body`, and so far over any memory that may be used for it.
const HUGE: u64 = 1 << 30;

async fn check_flat(announced: bool, why: &str) {
    let (app, _) = answering(HUGE, 0, announced).await;
    let served = serve(app).await;
    let mut socket = TcpStream::connect(served.address()).await.unwrap();
    let ask = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    socket.write_all(ask).await.unwrap();
    let mut buffer = vec![0; 256 << 10];
    let (mut read, mut most, mut head) = (0, 0, String::new());
    let before = resident_bytes();
    loop {
        let bytes = within("the next piece", socket.read(&mut buffer))
            .await
            .unwrap();
        if bytes == 0 {
            break;
        }
        if read == 0 {
            head = String::from_utf8_lossy(&buffer[..bytes.min(1024)]).into_owned();
        }
        read += bytes as u64;
        most = most.max(resident_bytes());
    }
    assert!(head.contains(why), "{head}");
    assert!(read > HUGE, "all of it came: {read}");
    let grown = most.saturating_sub(before);
    println!("{read} bytes passed; {before} bytes resident before, {most} at most");
    assert!(grown < 32 << 20, "{grown} bytes more were resident");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_far_over_the_limit_streams_through_with_flat_memory() {
    check_flat(true, "detail=body-too-large").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_of_unknown_length_streams_through_with_flat_memory() {
    check_flat(false, "detail=stream").await;
}

#[tokio::test]
async fn a_body_that_breaks_off_breaks_off_for_the_client_and_is_not_kept() {
    for announced in [true, false] {
        let (app, cache) = answering(4 * PIECE, PIECE, announced).await;
        for _ in 0..2 {
            let mut body = send(&app, http::Method::GET, "/", &[]).await.into_body();
            let mut read = 0;
            let failure = loop {
                match body.frame().await {
                    Some(Ok(frame)) => read += frame.into_data().unwrap().len() as u64,
                    Some(Err(failure)) => break Some(failure),
                    None => break None,
                }
            };
            assert_eq!(read, 3 * PIECE);
            assert!(failure.unwrap().to_string().contains("broken"));
        }
        let why = if announced {
            Bypass::Body
        } else {
            Bypass::Stream
        };
        assert_eq!(cache.stats().bypasses, [(why, 2)]);
        assert_eq!(cache.stats().stored, 0);
    }
}

#[tokio::test]
async fn a_limit_of_its_own_lets_longer_bodies_in_or_keeps_shorter_ones_out() {
    for (limit, is_kept) in [(10, true), (9, false)] {
        let app: Router = Router::new()
            .route("/", on_get(|| async { "0123456789" }))
            .layer(layer("limited").max_body(limit).cache(in_memory().await));
        get(&app, "/").await;
        assert_eq!(status_of(&get(&app, "/").await) == super::HIT, is_kept);
    }
}

#[tokio::test]
async fn events_reach_their_client_while_they_happen() {
    let (events, receiver) = mpsc::channel::<&str>(1);
    let receiver = std::sync::Arc::new(std::sync::Mutex::new(Some(receiver)));
    let feed = move || async move {
        let receiver = receiver.lock().unwrap().take();
        // axum itself says no-cache of events; without that the reason would be another one.
        let mut answer = Sse::new(stream::unfold(receiver, async |receiver| {
            let mut receiver = receiver?;
            let text = receiver.recv().await?;
            Some((
                Ok::<_, Infallible>(Event::default().data(text)),
                Some(receiver),
            ))
        }))
        .into_response();
        answer.headers_mut().remove(header::CACHE_CONTROL);
        answer
    };
    let app = Router::new()
        .route("/", on_get(feed))
        .layer(layer("feed").cache(in_memory().await));
    let answer = send(&app, http::Method::GET, "/", &[]).await;
    assert_eq!(
        answer.headers()["cache-status"],
        "smart-cache; fwd=bypass; detail=stream"
    );
    let mut body = answer.into_body();
    for text in ["one", "two"] {
        events.send(text).await.unwrap();
        let frame = within("an event", body.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), format!("data: {text}\n\n"));
    }
    drop(events);
    assert!(within("the end", body.frame()).await.is_none());
}

#[tokio::test]
async fn an_upgraded_connection_belongs_to_the_handler() {
    /// Answers 101, then sends back what it reads, in capitals.
    async fn shout(State(gate): State<Gate>, mut request: Request) -> Response {
        gate.pass().await;
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut socket = TokioIo::new(upgrade.await.unwrap());
            let mut buffer = [0; 5];
            while socket.read_exact(&mut buffer).await.is_ok() {
                socket
                    .write_all(&buffer.to_ascii_uppercase())
                    .await
                    .unwrap();
            }
        });
        let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, "shout")];
        (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
    }

    let gate = Gate::opened();
    let app = Router::new()
        .route("/", on_get(shout))
        .layer(layer("sockets").status([200, 101]).cache(in_memory().await))
        .with_state(gate.clone());
    let served = serve(app).await;
    for run in 1..=2 {
        let mut socket = TcpStream::connect(served.address()).await.unwrap();
        let ask = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: shout\r\n\r\n";
        socket.write_all(ask).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within("the head", socket.read_u8()).await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("detail=upgrade"), "{head}");
        for text in ["hello", "again"] {
            socket.write_all(text.as_bytes()).await.unwrap();
            let mut back = [0; 5];
            within("the echo", socket.read_exact(&mut back))
                .await
                .unwrap();
            assert_eq!(&back[..], text.to_uppercase().as_bytes());
        }
        assert_eq!(gate.runs(), run);
    }
}

#[tokio::test]
async fn trailers_pass_through() {
    async fn trailing() -> Body {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-sum", "1".parse().unwrap());
        let body = http_body_util::Full::new(Bytes::from_static(b"body"));
        Body::new(body.with_trailers(async { Some(Ok(trailers)) }))
    }

    let app = Router::new()
        .route("/", on_get(trailing))
        .layer(layer("trailers").cache(in_memory().await));
    for _ in 0..2 {
        let answer = send(&app, http::Method::GET, "/", &[]).await;
        let body = answer.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["x-sum"], "1");
        assert_eq!(body.to_bytes(), "body");
    }
}

#[tokio::test]
async fn an_answer_passes_with_its_extensions() {
    #[derive(Clone, PartialEq, Debug)]
    struct Rendered(u8);

    async fn extended() -> Response {
        (axum::Extension(Rendered(7)), "page").into_response()
    }

    let app = Router::new()
        .route("/", on_get(extended))
        .layer(layer("extended").cache(in_memory().await));
    for _ in 0..2 {
        let answer = send(&app, http::Method::GET, "/", &[]).await;
        assert_eq!(answer.extensions().get(), Some(&Rendered(7)));
        assert_eq!(whole(answer).await.unwrap().text(), "page");
    }
}
