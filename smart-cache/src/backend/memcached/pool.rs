//! A few connections that take turns: each carries one command at a time.

use std::sync::{Mutex, PoisonError};

use async_memcached::{Client, Error};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Connections to one server.
pub(super) struct Pool {
    address: String,
    idle: Mutex<Vec<Client>>,
    permits: Semaphore,
}

/// A connection in use.
pub(super) struct Taken<'a> {
    client: Client,
    _permit: SemaphorePermit<'a>,
}

impl Pool {
    pub(super) fn new(address: &str, connections: u32) -> Self {
        Self {
            address: address.to_owned(),
            idle: Mutex::default(),
            permits: Semaphore::new(connections.max(1) as usize),
        }
    }

    pub(super) async fn take(&self) -> Result<Taken<'_>, Error> {
        let permit = self
            .permits
            .acquire()
            .await
            .map_err(|_| Error::ConnectionClosed)?;
        let idle = self.lock().pop();
        let client = match idle {
            Some(client) => client,
            None => Client::new(&self.address).await?,
        };
        Ok(Taken {
            client,
            _permit: permit,
        })
    }

    /// A connection that failed takes the idle ones with it: they see the same server.
    pub(super) fn give_back(&self, taken: Taken<'_>, failure: Option<&Error>) {
        let mut idle = self.lock();
        if matches!(failure, Some(Error::Io(_) | Error::ConnectionClosed)) {
            idle.clear();
        } else if !taken.client.is_closed() {
            idle.push(taken.client);
        }
    }

    pub(super) fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Client>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::ops::Deref for Taken<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl std::ops::DerefMut for Taken<'_> {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pool({}, {} idle)", self.address, self.lock().len())
    }
}
