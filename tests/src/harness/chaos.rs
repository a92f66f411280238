//! A network between a client and a Redis server that fails exactly when the test says so.
//!
//! A proxy on a port of its own passes every message on, until a method changes what happens. Each
//! change holds when the method returns: nothing that the proxy had not yet written gets through
//! afterwards. Messages are told apart (see `resp`), so a rule can name a command by bytes in it,
//! and a reply by the command that it answers.
//!
//! Not here: TLS, and subscriptions to channels: RESP2 sends their messages as if they were replies,
//! and RESP3 confirms them by pushes alone.
//!
//! Over 400 lines, since it is one switchboard: each fault is a short method of the same kind.

mod link;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use rustix::net::{Shutdown, shutdown};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::resp::message_length;
use super::wait::within;
use link::Link;

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Requests,
    /// From the server to the client, pushes included.
    Replies,
}

/// How the reply of an executed command gets lost.
///
/// Except for [`Swallowed`](Self::Swallowed), nothing that stands behind it in the stream arrives, as
/// on a real connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The connection breaks when the reply should have come.
    Cut,
    /// The connection stays open, and silent for ever.
    Silence,
    /// Half of the reply arrives, then the connection breaks.
    Torn,
    /// The reply alone never comes, as from a server that has a fault: pushes still do.
    Swallowed,
}

/// The proxy; its port closes and its connections break when this drops.
///
/// # Example
///
/// ```no_run
/// # async fn example() {
/// use smart_cache_tests::harness::{Chaos, Loss, RedisServer};
///
/// let server = RedisServer::start().await;
/// let chaos = Chaos::in_front_of(server.address()).await;
/// chaos.lose_reply_of("DEL", Loss::Cut);
/// // A client of `chaos.url()` that sends DEL now gets an error, and the server has done it.
/// # }
/// ```
#[derive(Debug)]
pub struct Chaos {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// What the proxy's tasks and the test's methods have in common.
#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    rules: Mutex<Rules>,
    /// Told after every change that a waiting task may wait for.
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Rules {
    /// Where the address has moved to, if it has.
    moved: Option<SocketAddr>,
    refusing: bool,
    requests_frozen: bool,
    replies_frozen: bool,
    /// Sets the connections apart on which it goes by.
    mark: Option<Vec<u8>>,
    marked_requests_frozen: bool,
    marked_replies_frozen: bool,
    delay: Duration,
    losses: Vec<(Vec<u8>, Loss)>,
    captures: Vec<(Vec<u8>, oneshot::Sender<Bytes>)>,
    holds: Vec<(Vec<u8>, Holding)>,
    links: Vec<Weak<Link>>,
    commands: u64,
}

/// The proxy's end of a [`Held`].
#[derive(Debug)]
struct Holding {
    arrived: oneshot::Sender<()>,
    released: oneshot::Receiver<()>,
}

impl Rules {
    const fn frozen(&mut self, direction: Direction) -> &mut bool {
        match direction {
            Direction::Requests => &mut self.requests_frozen,
            Direction::Replies => &mut self.replies_frozen,
        }
    }

    const fn marked_frozen(&mut self, direction: Direction) -> &mut bool {
        match direction {
            Direction::Requests => &mut self.marked_requests_frozen,
            Direction::Replies => &mut self.marked_replies_frozen,
        }
    }
}

impl Chaos {
    /// A proxy that passes everything on to this address.
    ///
    /// # Panics
    ///
    /// When no loopback port can be had.
    pub async fn in_front_of(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a loopback port");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared {
            upstream,
            rules: Mutex::default(),
            changed: watch::Sender::new(()),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self {
            address,
            shared,
            accepting,
        }
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The proxy's port on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// What a client is configured with.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// How many commands have been passed on to the server so far, on all connections.
    #[must_use]
    pub fn commands(&self) -> u64 {
        self.shared.rules().commands
    }

    /// How many connections are open through the proxy.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared
            .rules()
            .links
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|link| link.is_open())
            .count()
    }

    /// Lets nothing through in one direction; what arrives meanwhile waits for [`thaw`](Self::thaw).
    pub fn freeze(&self, direction: Direction) {
        self.shared.change(|rules| *rules.frozen(direction) = true);
    }

    /// Lets a frozen direction flow again, beginning with what has waited.
    pub fn thaw(&self, direction: Direction) {
        self.shared.change(|rules| *rules.frozen(direction) = false);
    }

    /// Breaks every open connection. New ones are welcome.
    pub fn cut(&self) {
        self.shared.change(|rules| {
            for link in rules.links.drain(..).filter_map(|link| link.upgrade()) {
                link.cut();
            }
        });
    }

    /// Sets apart the connections on which a command that holds `needle` goes by from now on: what
    /// the methods named `marked` do is done to them alone.
    pub fn mark(&self, needle: impl AsRef<[u8]>) {
        self.shared
            .change(|rules| rules.mark = Some(needle.as_ref().to_vec()));
    }

    /// [`freeze`](Self::freeze) for the marked connections alone, those included that are marked later.
    pub fn freeze_marked(&self, direction: Direction) {
        self.shared
            .change(|rules| *rules.marked_frozen(direction) = true);
    }

    /// [`thaw`](Self::thaw) for the marked connections.
    pub fn thaw_marked(&self, direction: Direction) {
        self.shared
            .change(|rules| *rules.marked_frozen(direction) = false);
    }

    /// Breaks the open connections that are marked.
    pub fn cut_marked(&self) {
        self.cut_where(true);
    }

    /// Breaks the open connections that are not marked.
    pub fn cut_unmarked(&self) {
        self.cut_where(false);
    }

    fn cut_where(&self, marked: bool) {
        self.shared.change(|rules| {
            let links = rules.links.iter().filter_map(Weak::upgrade);
            links
                .filter(|link| link.is_marked() == marked)
                .for_each(|link| link.cut());
        });
    }

    /// Moves the address to another server, as a failover does: open connections break, new ones are
    /// made to `upstream`.
    pub fn redirect(&self, upstream: SocketAddr) {
        self.divert(upstream);
        self.cut();
    }

    /// Moves the address to another server for new connections alone; open ones go on.
    pub fn divert(&self, upstream: SocketAddr) {
        self.shared.change(|rules| rules.moved = Some(upstream));
    }

    /// Closes new connections as soon as they are made; open ones go on.
    pub fn refuse_connections(&self) {
        self.shared.change(|rules| rules.refusing = true);
    }

    /// Takes new connections again.
    pub fn accept_connections(&self) {
        self.shared.change(|rules| rules.refusing = false);
    }

    /// Forgets what was to become of single messages: losses, captures and holds that have not met one.
    pub fn forget(&self) {
        self.shared.change(|rules| {
            rules.losses.clear();
            rules.captures.clear();
            rules.holds.clear();
        });
    }

    /// Holds everything that the server says back for so long.
    pub fn delay(&self, by: Duration) {
        self.shared.change(|rules| rules.delay = by);
    }

    /// Executes the next command that holds `needle`, and loses its reply.
    pub fn lose_reply_of(&self, needle: impl AsRef<[u8]>, loss: Loss) {
        self.shared
            .change(|rules| rules.losses.push((needle.as_ref().to_vec(), loss)));
    }

    /// Keeps a copy of the next command that holds `needle`, to deliver it once more later.
    pub fn capture(&self, needle: impl AsRef<[u8]>) -> Captured {
        let (sender, message) = oneshot::channel();
        self.shared
            .change(|rules| rules.captures.push((needle.as_ref().to_vec(), sender)));
        Captured {
            upstream: self.shared.upstream(),
            message,
        }
    }

    /// Stops the next command that holds `needle` on its way to the server, and with it everything
    /// behind it on the same connection.
    pub fn hold(&self, needle: impl AsRef<[u8]>) -> Held {
        let (arrived, arrival) = oneshot::channel();
        let (release, released) = oneshot::channel();
        let holding = Holding { arrived, released };
        self.shared
            .change(|rules| rules.holds.push((needle.as_ref().to_vec(), holding)));
        Held { arrival, release }
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        self.accepting.abort();
        // A connection that is being made this very moment must not survive the proxy either.
        self.shared.change(|rules| rules.refusing = true);
        self.cut();
    }
}

/// A command that the proxy will copy when it comes by.
#[derive(Debug)]
#[must_use]
pub struct Captured {
    upstream: SocketAddr,
    message: oneshot::Receiver<Bytes>,
}

impl Captured {
    /// Waits until the command has gone by.
    ///
    /// # Panics
    ///
    /// When it does not come before the harness's deadline.
    pub async fn taken(self) -> Replay {
        let message = within("a command to capture", self.message)
            .await
            .expect("the proxy is alive");
        Replay {
            upstream: self.upstream,
            message,
        }
    }

    /// Waits so long; `None` when the command has not come, or the proxy is calm again.
    pub async fn taken_within(self, limit: Duration) -> Option<Replay> {
        let message = tokio::time::timeout(limit, self.message).await.ok()?;
        Some(Replay {
            upstream: self.upstream,
            message: message.ok()?,
        })
    }
}

/// A captured command, to be delivered again as often as the test likes.
///
/// It is named by [`Captured::taken`]; the connection it uses is new, so a server that asks for a
/// password or a database other than 0 is not reached by it.
#[derive(Debug)]
pub struct Replay {
    upstream: SocketAddr,
    message: Bytes,
}

impl Replay {
    /// The command as it went over the wire.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Sends it to the server on a connection of its own and returns the raw reply.
    ///
    /// # Panics
    ///
    /// When the server cannot be reached or does not answer.
    pub async fn deliver(&self) -> Vec<u8> {
        let mut server = TcpStream::connect(self.upstream)
            .await
            .expect("the server listens");
        server
            .write_all(&self.message)
            .await
            .expect("the server reads");
        let mut reply = Vec::new();
        while message_length(&reply).is_none() {
            let read = within(
                "the reply of a replayed command",
                server.read_buf(&mut reply),
            )
            .await;
            assert!(
                read.expect("the server answers") > 0,
                "the server closed the connection"
            );
        }
        reply
    }
}

/// A command that the proxy stops when it comes by.
///
/// Dropping this lets the command go on, as [`release`](Self::release) does.
#[derive(Debug)]
#[must_use]
pub struct Held {
    arrival: oneshot::Receiver<()>,
    release: oneshot::Sender<()>,
}

impl Held {
    /// Waits until the command is here, sent by the client and unknown to the server.
    ///
    /// # Panics
    ///
    /// When it does not come before the harness's deadline.
    pub async fn arrived(&mut self) {
        within("a command to hold", &mut self.arrival)
            .await
            .expect("the proxy is alive");
    }

    /// Waits so long; whether the command has come. It cannot any more once the proxy is calm again.
    pub async fn arrived_within(&mut self, limit: Duration) -> bool {
        let arrival = tokio::time::timeout(limit, &mut self.arrival).await;
        arrival.is_ok_and(|arrival| arrival.is_ok())
    }

    /// Lets the command go on to the server.
    pub fn release(self) {
        // The receiver is gone when the connection broke meanwhile: then there is nothing to let go.
        let _ = self.release.send(());
    }
}

impl Shared {
    fn rules(&self) -> MutexGuard<'_, Rules> {
        // A task that panicked holding the lock left plain values behind, none of them half written.
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn upstream(&self) -> SocketAddr {
        self.rules().moved.unwrap_or(self.upstream)
    }

    fn change(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.rules());
        self.changed.send_replace(());
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        if shared.rules().refusing {
            continue;
        }
        let Ok(server) = TcpStream::connect(shared.upstream()).await else {
            continue;
        };
        // Small messages must not wait for each other, or delays would be measured that nobody asked for.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let link = Arc::new(Link::new(client, server));
        {
            let mut rules = shared.rules();
            // Looked at again, because connecting to the server took a while.
            if rules.refusing {
                continue;
            }
            rules.links.retain(|old| old.strong_count() > 0);
            rules.links.push(Arc::downgrade(&link));
        }
        tokio::spawn(link::pass_requests(Arc::clone(&link), Arc::clone(&shared)));
        tokio::spawn(link::pass_replies(link, Arc::clone(&shared)));
    }
}

/// Ends both directions at once; data that was written before still arrives.
fn hang_up(stream: &TcpStream) {
    // It fails when the other side was quicker, which is what we want anyway.
    let _ = shutdown(stream, Shutdown::Both);
}
