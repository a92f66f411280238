//! One round trip for all who ask for one value at the same moment.
//!
//! A caller joins the read that is open, and the first of them has it sent as soon as the others
//! that are ready have had their turn. It is sent after all of them had arrived, so none is given
//! something from before its arrival.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::runtime::{Handle, Id};
use tokio::sync::Notify;

use crate::backend::ValueStore;
use crate::error::BackendError;

type Outcome = Result<Option<Bytes>, BackendError>;

/// The reads that callers can join.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    /// By runtime too: another one may stand still.
    open: Mutex<HashMap<(Id, String), Arc<Read>>>,
}

#[derive(Debug, Default)]
struct Read {
    outcome: OnceLock<Outcome>,
    landed: Notify,
}

impl Reads {
    fn open(&self) -> MutexGuard<'_, HashMap<(Id, String), Arc<Read>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is stored under a name.
    pub(super) async fn get(self: &Arc<Self>, store: &Arc<dyn ValueStore>, name: &str) -> Outcome {
        let key = (Handle::current().id(), name.to_owned());
        let (read, is_first) = {
            let mut open = self.open();
            match open.get(&key) {
                Some(read) => (Arc::clone(read), false),
                None => {
                    let read = Arc::<Read>::default();
                    open.insert(key.clone(), Arc::clone(&read));
                    (read, true)
                }
            }
        };
        if is_first {
            let sending = Sending {
                reads: Arc::clone(self),
                key,
                read: Arc::clone(&read),
            };
            let store = Arc::clone(store);
            tokio::spawn(async move {
                // The other callers that are ready join first.
                tokio::task::yield_now().await;
                sending.close();
                let outcome = store.get_many(std::slice::from_ref(&sending.key.1)).await;
                sending.land(outcome.map(|found| found.into_iter().next().flatten()));
            });
        }
        // Made before the look, so that a landing in between is not missed.
        let landed = read.landed.notified();
        if read.outcome.get().is_none() {
            landed.await;
        }
        let dropped = || Err(BackendError::Disconnected("the read was dropped".into()));
        read.outcome.get().cloned().unwrap_or_else(dropped)
    }
}

/// Lands its read, whatever becomes of the task that sends it.
struct Sending {
    reads: Arc<Reads>,
    key: (Id, String),
    read: Arc<Read>,
}

impl Sending {
    /// Lets nobody join any more.
    fn close(&self) {
        let mut open = self.reads.open();
        if open
            .get(&self.key)
            .is_some_and(|read| Arc::ptr_eq(read, &self.read))
        {
            open.remove(&self.key);
        }
    }

    fn land(&self, outcome: Outcome) {
        // Only the first landing counts; the guard's own is for a runtime that ended.
        let _ = self.read.outcome.set(outcome);
        self.read.landed.notify_waiters();
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.close();
        self.land(Err(BackendError::Disconnected("the runtime ended".into())));
    }
}
