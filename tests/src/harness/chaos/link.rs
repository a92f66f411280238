//! One connection through the proxy: two tasks that pass messages on, and what they share.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::super::resp::{is_push, message_length};
use super::{Direction, Holding, Loss, Shared, hang_up};

/// A client's socket, the server's, and which command the next reply belongs to.
#[derive(Debug)]
pub(super) struct Link {
    client: TcpStream,
    server: TcpStream,
    /// Whether a command with the proxy's mark has gone by.
    marked: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    /// For each command that awaits its reply, in order: what shall become of that reply.
    awaited: VecDeque<Option<Loss>>,
}

impl Link {
    pub(super) fn new(client: TcpStream, server: TcpStream) -> Self {
        Self {
            client,
            server,
            marked: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        !self.state().closed
    }

    pub(super) fn is_marked(&self) -> bool {
        self.marked.load(Ordering::SeqCst)
    }

    /// Breaks the connection on both sides.
    pub(super) fn cut(&self) {
        self.state().closed = true;
        hang_up(&self.client);
        hang_up(&self.server);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes on what the client says until one side hangs up.
pub(super) async fn pass_requests(link: Arc<Link>, shared: Arc<Shared>) {
    let mut buffer = BytesMut::new();
    while let Ok(Some(message)) = next_message(&link.client, &mut buffer).await {
        if request(&link, &shared, message).await.is_err() {
            break;
        }
    }
    link.cut();
}

async fn request(link: &Link, shared: &Shared, message: Bytes) -> io::Result<()> {
    if let Some(holding) = stopped(shared, &message) {
        let _ = holding.arrived.send(());
        // An error means that the test dropped its end, which also lets the command go.
        let _ = holding.released.await;
    }
    let loss = noticed(link, shared, &message);
    // Before it is written: its reply may come before this task runs again.
    link.state().awaited.push_back(loss);
    forward(link, shared, Direction::Requests, &message).await
}

/// The rule that stops this command, if there is one; it is used up.
fn stopped(shared: &Shared, message: &[u8]) -> Option<Holding> {
    take(&mut shared.rules().holds, message)
}

/// Counts and copies the command, and says what shall become of its reply.
fn noticed(link: &Link, shared: &Shared, message: &Bytes) -> Option<Loss> {
    let mut rules = shared.rules();
    rules.commands += 1;
    if rules.mark.as_ref().is_some_and(|mark| holds(message, mark)) {
        link.marked.store(true, Ordering::SeqCst);
    }
    if let Some(capture) = take(&mut rules.captures, message) {
        // Nobody may be waiting for the copy any more.
        let _ = capture.send(message.clone());
    }
    take(&mut rules.losses, message)
}

/// The first rule whose needle the message holds.
fn take<T>(rules: &mut Vec<(Vec<u8>, T)>, message: &[u8]) -> Option<T> {
    let index = rules
        .iter()
        .position(|(needle, _)| holds(message, needle))?;
    Some(rules.remove(index).1)
}

fn holds(message: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || message.windows(needle.len()).any(|part| part == needle)
}

/// Passes on what the server says until one side hangs up, or a reply is to be lost.
///
/// Reading goes on while a message is delayed, so that a delay is the latency of the link and not a
/// pause behind each message.
pub(super) async fn pass_replies(link: Arc<Link>, shared: Arc<Shared>) {
    let (sender, mut arrived) = mpsc::unbounded_channel();
    let reading = async {
        let mut buffer = BytesMut::new();
        while let Ok(Some(message)) = next_message(&link.server, &mut buffer).await {
            if sender.send((Instant::now(), message)).is_err() {
                break;
            }
        }
        drop(sender);
        std::future::pending::<()>().await;
    };
    let writing = async {
        while let Some((at, message)) = arrived.recv().await {
            match reply(&link, &shared, at, &message).await {
                Ok(Outcome::Passed) => {}
                Ok(Outcome::Silenced) => return false,
                Ok(Outcome::Broken) | Err(_) => return true,
            }
        }
        true
    };
    let is_over = tokio::select! {
        is_over = writing => is_over,
        () = reading => true,
    };
    // In silence the requests' task still sees when the client gives up, and ends the connection.
    if is_over {
        link.cut();
    }
}

/// What became of a reply.
enum Outcome {
    Passed,
    Silenced,
    Broken,
}

async fn reply(link: &Link, shared: &Shared, at: Instant, message: &[u8]) -> io::Result<Outcome> {
    let loss = if is_push(message) {
        None
    } else {
        link.state().awaited.pop_front().flatten()
    };
    let whole = match loss {
        Some(Loss::Cut) => return Ok(Outcome::Broken),
        Some(Loss::Silence) => return Ok(Outcome::Silenced),
        Some(Loss::Swallowed) => return Ok(Outcome::Passed),
        Some(Loss::Torn) => &message[..message.len() / 2],
        None => message,
    };
    let delay = shared.rules().delay;
    if !delay.is_zero() {
        tokio::time::sleep_until((at + delay).into()).await;
    }
    forward(link, shared, Direction::Replies, whole).await?;
    Ok(if loss.is_none() {
        Outcome::Passed
    } else {
        Outcome::Broken
    })
}

/// The next whole message; `None` once the sender has hung up.
async fn next_message(from: &TcpStream, buffer: &mut BytesMut) -> io::Result<Option<Bytes>> {
    loop {
        if let Some(length) = message_length(buffer) {
            return Ok(Some(buffer.split_to(length).freeze()));
        }
        from.readable().await?;
        match from.try_read_buf(buffer) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Writes a message as long as its direction is not frozen.
///
/// Each piece is written under the rules' lock, without waiting there: that is what lets
/// [`freeze`](super::Chaos::freeze) promise that nothing gets through once it has returned.
async fn forward(
    link: &Link,
    shared: &Shared,
    direction: Direction,
    message: &[u8],
) -> io::Result<()> {
    let to = match direction {
        Direction::Requests => &link.server,
        Direction::Replies => &link.client,
    };
    let mut changed = shared.changed.subscribe();
    let mut rest = message;
    while !rest.is_empty() {
        to.writable().await?;
        changed.mark_unchanged();
        let written = {
            let mut rules = shared.rules();
            if *rules.frozen(direction) || (link.is_marked() && *rules.marked_frozen(direction)) {
                None
            } else {
                Some(to.try_write(rest))
            }
        };
        match written {
            Some(Ok(count)) => rest = &rest[count..],
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            Some(Err(error)) => return Err(error),
            // An error means that the proxy is gone.
            None => changed.changed().await.map_err(io::Error::other)?,
        }
    }
    Ok(())
}
