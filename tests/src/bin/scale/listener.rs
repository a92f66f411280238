//! One more connection that is told of every clear, as each process is: it counts what it is sent.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// A thread of their own, so that a thousand of them do not keep the driver from its clock.
static LISTENING: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(1).enable_all();
    runtime.build().expect("a runtime")
});

/// What has arrived.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    bytes: AtomicU64,
    messages: AtomicU64,
    names: AtomicU64,
}

/// [`Heard`] at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pushes {
    pub(crate) bytes: u64,
    pub(crate) messages: u64,
    pub(crate) names: u64,
}

impl Heard {
    /// Listens as the tracking connection of a process does, for as long as the program runs.
    pub(crate) async fn at(address: SocketAddr) -> Arc<Self> {
        let listening = LISTENING.spawn(Self::listen(address));
        listening.await.expect("no panic")
    }

    async fn listen(address: SocketAddr) -> Arc<Self> {
        let mut stream = TcpStream::connect(address).await.expect("Redis listens");
        let hello = b"HELLO 3\r\nCLIENT TRACKING ON BCAST PREFIX {scale}:t:\r\nPING\r\n";
        stream.write_all(hello).await.expect("Redis listens");
        let (heard, mut stream) = (Arc::new(Self::default()), BufReader::new(stream));
        while line(&mut stream).await.expect("Redis answers") != "+PONG" {}
        let counted = Arc::clone(&heard);
        tokio::spawn(async move { while counted.count(&mut stream).await.is_ok() {} });
        heard
    }

    /// Counts one line, and the name that follows it.
    async fn count(&self, stream: &mut BufReader<TcpStream>) -> std::io::Result<()> {
        let line = line(stream).await?;
        let mut length = line.len() as u64 + 2;
        let number = || line[1..].parse::<u64>().unwrap_or(0);
        match line.as_bytes().first() {
            Some(b'>') => drop(self.messages.fetch_add(1, Ordering::Relaxed)),
            Some(b'*') => drop(self.names.fetch_add(number(), Ordering::Relaxed)),
            Some(b'$') => {
                let mut name = vec![0; number() as usize + 2];
                stream.read_exact(&mut name).await?;
                length += name.len() as u64;
            }
            _ => {}
        }
        self.bytes.fetch_add(length, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn now(&self) -> Pushes {
        Pushes {
            bytes: self.bytes.load(Ordering::Relaxed),
            messages: self.messages.load(Ordering::Relaxed),
            names: self.names.load(Ordering::Relaxed),
        }
    }
}

async fn line(stream: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}
