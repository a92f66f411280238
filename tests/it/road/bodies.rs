//! Which bodies are kept, and that every other one reaches the client as if there were no cache.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get as on_get;
use axum::{Extension, Router};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use smart_cache::{SmartCache, smart_cache};
use smart_cache_tests::harness::{Gate, serve};

use super::{HIT, STORED, ask, every_kind, get, in_memory, memory, send, status_of, whole};

/// A body that sends these frames and says beforehand that it is so long.
struct Scripted {
    frames: VecDeque<Result<Frame<Bytes>, &'static str>>,
    announced: Option<u64>,
}

impl Scripted {
    fn body(
        announced: impl Into<Option<u64>>,
        frames: impl IntoIterator<Item = Result<Frame<Bytes>, &'static str>>,
    ) -> Body {
        Body::new(Self {
            frames: frames.into_iter().collect(),
            announced: announced.into(),
        })
    }
}

impl http_body::Body for Scripted {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let frame = self.frames.pop_front();
        if let (Some(announced), Some(Ok(frame))) = (self.announced, &frame) {
            let sent = frame.data_ref().map_or(0, |data| data.len() as u64);
            self.announced = Some(announced.saturating_sub(sent));
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.announced
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn data(text: &'static str) -> Result<Frame<Bytes>, &'static str> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

fn trailers() -> Result<Frame<Bytes>, &'static str> {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", HeaderValue::from_static("1"));
    Ok(Frame::trailers(trailers))
}

#[smart_cache("body:{kind}", max_body = "10B")]
async fn kinds(State(gate): State<Gate>, Path(kind): Path<String>) -> Response {
    gate.pass().await;
    let body = match kind.as_str() {
        "empty" => Body::empty(),
        "pieces" => Scripted::body(10, [data("01"), data("234"), data(""), data("56789")]),
        "exact" => Body::from("0123456789"),
        "too-large" => Body::from("0123456789a"),
        "stream" => Body::from_stream(stream::iter([Ok::<_, Infallible>("01"), Ok("23")])),
        "fails-at-once" => Scripted::body(10, [Err("broken")]),
        "fails-midway" => Scripted::body(10, [data("01234"), Err("broken"), data("56789")]),
        "fails-later" => Scripted::body(10, [data("01"), data("23"), Err("broken")]),
        "ends-early" => Scripted::body(10, [data("01234")]),
        "ends-before-it-began" => Scripted::body(10, []),
        "sends-more" => Scripted::body(5, [data("01234"), data("56")]),
        "sends-more-at-once" => Scripted::body(5, [data("0123456789")]),
        "sends-much-more-at-once" => Scripted::body(5, [data("0123456789abcdef")]),
        "trailers" => Scripted::body(5, [data("01234"), trailers()]),
        "trailers-only" => Scripted::body(0, [trailers()]),
        other => panic!("no body {other}"),
    };
    body.into_response()
}

/// The same bodies where there is no cache at all.
fn plain(gate: Gate) -> Router {
    app(SmartCache::off(), gate)
}

#[smart_cache("extended")]
async fn extended(State(gate): State<Gate>) -> Response {
    gate.pass().await;
    let mut response = "text".into_response();
    response.extensions_mut().insert("for an outer layer");
    response
}

#[smart_cache("events")]
async fn events(
    State(gate): State<Gate>,
) -> Sse<impl stream::Stream<Item = Result<Event, Infallible>>> {
    gate.pass().await;
    // It never ends: whoever collects it hangs.
    let first = stream::iter([Ok(Event::default().data("one"))]);
    Sse::new(first.chain(stream::pending()))
}

fn app(cache: SmartCache, gate: Gate) -> Router {
    Router::new()
        .route("/body/{kind}", on_get(kinds))
        .route("/extended", on_get(extended))
        .route("/events", on_get(events))
        .layer(Extension(cache))
        .with_state(gate)
}

/// What a client sees of a body, frame by frame.
async fn frames(mut body: Body) -> Vec<String> {
    let mut seen = vec![format!("announced {:?}", body.size_hint().exact())];
    loop {
        match body.frame().await {
            None => return seen,
            Some(Ok(frame)) => seen.push(match frame.into_data() {
                Ok(data) => String::from_utf8(data.to_vec()).unwrap(),
                Err(frame) => format!("trailers {:?}", frame.into_trailers().unwrap()),
            }),
            Some(Err(why)) => {
                seen.push(format!("failed: {why}"));
                return seen;
            }
        }
    }
}

async fn check_kept(kind: &str) {
    let (caches, _server) = every_kind().await;
    for cache in caches {
        let gate = Gate::opened();
        let app = app(cache, gate.clone());
        let path = format!("/body/{kind}");
        let first = get(&app, &path).await;
        assert_eq!(status_of(&first), STORED, "{kind}");
        let second = get(&app, &path).await;
        assert_eq!(status_of(&second), HIT, "{kind}");
        assert_eq!(second.own(), first.own());
        assert_eq!(gate.runs(), 1);
    }
}

/// It is not kept, and the client sees the very frames that it would see without a cache.
async fn check_passed_through(kind: &str, reason: &str) {
    let gate = Gate::opened();
    let (cached, plain) = (app(in_memory().await, gate.clone()), plain(Gate::opened()));
    let path = format!("/body/{kind}");
    for run in 1..=2 {
        let response = send(&cached, Method::GET, &path, &[]).await;
        assert_eq!(
            response.headers()["cache-status"],
            format!("smart-cache; fwd=bypass; detail={reason}"),
            "{kind}"
        );
        let seen = frames(response.into_body()).await;
        let expected = frames(send(&plain, Method::GET, &path, &[]).await.into_body()).await;
        assert_eq!(joined(&seen), joined(&expected), "{kind}");
        assert_eq!(gate.runs(), run, "{kind}");
    }
}

/// Frames that stand side by side may have been put together.
fn joined(frames: &[String]) -> (String, String) {
    let (announced, rest) = frames.split_first().unwrap();
    (announced.clone(), rest.concat())
}

#[tokio::test]
async fn a_body_of_known_length_is_kept_in_one_piece_or_many() {
    for kind in ["empty", "exact", "pieces"] {
        check_kept(kind).await;
    }
}

#[tokio::test]
async fn a_body_over_the_limit_passes_through() {
    check_passed_through("too-large", "body-too-large").await;
}

#[tokio::test]
async fn a_stream_passes_through() {
    check_passed_through("stream", "stream").await;
}

#[tokio::test]
async fn a_body_that_fails_fails_for_the_client_as_without_a_cache() {
    for kind in ["fails-at-once", "fails-midway", "fails-later"] {
        check_passed_through(kind, "body").await;
    }
}

#[tokio::test]
async fn a_body_that_ends_early_is_no_whole_answer() {
    for kind in ["ends-early", "ends-before-it-began"] {
        check_passed_through(kind, "body").await;
    }
}

#[tokio::test]
async fn a_body_that_sends_more_than_it_announced_is_not_kept() {
    for kind in [
        "sends-more",
        "sends-more-at-once",
        "sends-much-more-at-once",
    ] {
        check_passed_through(kind, "body").await;
    }
}

#[tokio::test]
async fn trailers_reach_the_client_and_are_not_kept() {
    for kind in ["trailers", "trailers-only"] {
        check_passed_through(kind, "body").await;
    }
}

#[tokio::test]
async fn a_broken_body_breaks_the_connection_as_without_a_cache() {
    let (cached, plain) = (
        serve(app(in_memory().await, Gate::opened())).await,
        serve(plain(Gate::opened())).await,
    );
    for kind in ["fails-at-once", "fails-midway", "fails-later", "ends-early"] {
        for server in [&cached, &plain] {
            let request = Request::get(format!("/body/{kind}"))
                .body(Bytes::new())
                .unwrap();
            let outcome = server.client().exchange(request).await;
            assert!(outcome.is_err(), "{kind}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn response_extensions_reach_the_layers_outside_and_are_not_kept() {
    let gate = Gate::opened();
    let app = app(in_memory().await, gate.clone());
    for run in 1..=2 {
        let response = send(&app, Method::GET, "/extended", &[]).await;
        assert_eq!(response.extensions().get(), Some(&"for an outer layer"));
        let answer = whole(response).await.unwrap();
        assert_eq!(
            status_of(&answer),
            "smart-cache; fwd=bypass; detail=extensions"
        );
        assert_eq!(gate.runs(), run);
    }
}

#[tokio::test]
async fn server_sent_events_arrive_while_they_are_sent() {
    let gate = Gate::opened();
    let app = app(in_memory().await, gate.clone());
    for run in 1..=2 {
        let response = send(&app, Method::GET, "/events", &[]).await;
        assert_eq!(
            response.headers()["cache-status"],
            "smart-cache; fwd=bypass; detail=cache-control"
        );
        let mut body = response.into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(first, "data: one\n\n");
        assert_eq!(gate.runs(), run);
    }
}

#[tokio::test]
async fn the_configured_limit_holds_where_the_handler_names_none() {
    #[smart_cache("sized:{length}")]
    async fn sized(Path(length): Path<usize>) -> String {
        "x".repeat(length)
    }
    let cache = memory().max_body(100).build().await.unwrap();
    let app: Router = Router::new()
        .route("/sized/{length}", on_get(sized))
        .layer(Extension(cache));
    for (length, expected) in [
        (100, HIT),
        (101, "smart-cache; fwd=bypass; detail=body-too-large"),
    ] {
        let path = format!("/sized/{length}");
        get(&app, &path).await;
        let answer = ask(&app, Method::GET, &path, &[]).await;
        assert_eq!((status_of(&answer), answer.body.len()), (expected, length));
    }
}
