//! The numbers of the overview as they change: server-sent events, each a piece of the page.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::StatusCode;
use tokio::sync::watch;
use tokio::time::Instant;

use super::history::Seen;
use super::{Admin, pages, visit::Visit};

/// A stream ends after this and the browser asks again, so that a server that stops gracefully need
/// not wait for those who look.
const LONGEST: Duration = Duration::from_secs(10);
/// What the browser waits before that.
const RETRY: Duration = Duration::from_millis(500);
/// Most streams at once; beyond it the page stands still.
const MOST: usize = 64;

static OPEN: AtomicUsize = AtomicUsize::new(0);

/// One open stream.
struct Open;

impl Open {
    fn one_more() -> Option<Self> {
        // Counted before it is compared, and so is its end.
        let open = Self;
        (OPEN.fetch_add(1, Ordering::Relaxed) < MOST).then_some(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Streaming {
    changes: watch::Receiver<Option<Arc<Seen>>>,
    visit: Visit,
    until: Instant,
    _open: Open,
}

pub(super) async fn stream(State(admin): State<Arc<Admin>>, visit: Visit) -> Response {
    let Some(open) = Open::one_more() else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let mut changes = admin.watch.subscribe();
    // The newest one goes out at once.
    changes.mark_changed();
    let streaming = Streaming {
        changes,
        visit,
        until: Instant::now() + LONGEST,
        _open: open,
    };
    Sse::new(stream::unfold(streaming, next)).into_response()
}

async fn next(mut streaming: Streaming) -> Option<(Result<Event, Infallible>, Streaming)> {
    loop {
        let changed = tokio::time::timeout_at(streaming.until, streaming.changes.changed());
        changed.await.ok()?.ok()?;
        let seen = streaming.changes.borrow_and_update().clone();
        let Some(seen) = seen else { continue };
        let html = pages::overview::live(&seen, &streaming.visit).into_string();
        // An event's data may hold no carriage return.
        let event = Event::default()
            .event("live")
            .retry(RETRY)
            .data(html.replace('\r', " "));
        return Some((Ok(event), streaming));
    }
}
