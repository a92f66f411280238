//! The partitions of a process, and whether every clear reaches them; `record.rs` has the reasons.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use tokio::sync::watch;

use super::record::{self, Noted};
use crate::backend::redis::up::Up;
use crate::backend::redis::{RedisBackend, Shared};
use crate::error::BackendError;
use crate::protocol::Target;

/// The partitions, in the order of their numbers.
#[derive(Debug)]
pub(in crate::backend::redis) struct Parts {
    pub(super) all: Vec<Part>,
    /// Whether this process is making cold what clears may have missed.
    is_noting: AtomicBool,
    /// Told when a partition may be used.
    changes: watch::Sender<()>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) backend: RedisBackend,
    proof: AtomicU8,
}

impl Part {
    /// The first one needs no proof: every clear has always reached it.
    pub(super) fn new(number: u32, backend: RedisBackend) -> Self {
        Self {
            backend,
            proof: AtomicU8::new(if number == 0 { PROVED } else { UNASKED }),
        }
    }

    /// Whether every clear reaches this partition.
    pub(super) fn is_proved(&self) -> bool {
        self.proof.load(Ordering::Acquire) == PROVED
    }
}

/// Nobody has looked yet.
const UNASKED: u8 = 0;
/// Clears may have missed it: it is to be made cold.
const DUE: u8 = 1;
/// Every clear reaches it.
const PROVED: u8 = 2;

impl Parts {
    pub(super) fn new(all: Vec<Part>) -> Self {
        Self {
            all,
            is_noting: AtomicBool::new(false),
            changes: watch::Sender::new(()),
        }
    }

    /// Waits until something holds that the proofs decide.
    pub(super) async fn until(&self, mut holds: impl FnMut() -> bool) {
        let mut changes = self.changes.subscribe();
        // It ends only with these partitions themselves.
        let _ = changes.wait_for(|()| holds()).await;
    }

    pub(super) fn first(&self) -> &RedisBackend {
        &self.all[0].backend
    }

    pub(super) fn backends(&self) -> impl Iterator<Item = &RedisBackend> {
        self.all.iter().map(|part| &part.backend)
    }

    /// A value that is computed must share a partition with the value that it becomes, so what lies under
    /// the key of a value goes by that.
    pub(super) fn number_of(&self, target: &Target) -> usize {
        if target.key.starts_with('=') {
            return self.number_of_key(&target.key);
        }
        self.number(target.id.as_bytes())
    }

    pub(super) fn number_of_key(&self, key: &str) -> usize {
        self.number(blake3::hash(key.as_bytes()).as_bytes())
    }

    /// By the first bytes of a hash, the same in every build.
    pub(super) fn number(&self, hash: &[u8]) -> usize {
        let mut first = [0; 8];
        for (to, from) in first.iter_mut().zip(hash) {
            *to = *from;
        }
        (u64::from_le_bytes(first) % self.all.len() as u64) as usize
    }

    /// Notes the number of partitions where it is not, and makes cold what clears may have missed.
    async fn prove(&self, shared: &Shared, up: &Arc<Up>) -> Result<(), BackendError> {
        let own = shared.place.own;
        let noted = record::read(shared, up, up.deadline()).await?;
        let is_noted = noted.is_proved(own);
        if !is_noted && !shared.options.announce {
            // A tool that looks in notes nothing, and so it stores nothing either.
            return Ok(());
        }
        let goes_on = self.is_noting.swap(!is_noted, Ordering::AcqRel) && noted.is_new(own);
        let mut reached = own;
        if !is_noted && !goes_on {
            record::note_new(shared, up, own).await?;
            tell(shared, &noted);
            reached = noted.reached();
        }
        let mut all = true;
        for (number, part) in self.all.iter().enumerate().skip(1) {
            if number >= reached as usize {
                part.proof.store(DUE, Ordering::Release);
            }
            match part.proof.load(Ordering::Acquire) {
                PROVED => {}
                UNASKED => part.proof.store(PROVED, Ordering::Release),
                _ => match part.backend.delete_namespace_token().await {
                    Ok(()) => part.proof.store(PROVED, Ordering::Release),
                    Err(why) => {
                        tracing::debug!(partition = number, cause = %why, "not cold yet, so not used");
                        all = false;
                    }
                },
            }
        }
        self.changes.send_replace(());
        if all && !is_noted {
            record::note_proved(shared, up, own).await?;
        }
        Ok(())
    }
}

fn tell(shared: &Shared, noted: &Noted) {
    let own = shared.place.own;
    match &noted.numbers()[..] {
        [] => {
            tracing::info!(partitions = own, namespace = %shared.options.namespace, "the namespace is spread over partitions");
        }
        others => {
            tracing::warn!(partitions = own, ?others, namespace = %shared.options.namespace, "the namespace was, or is, spread over other numbers of partitions too: clears reach all of them, entries are not shared. When no process with another number is left, DEL the record to spare clears the way");
        }
    }
}

/// Runs beside the connection of the first partition.
pub(in crate::backend::redis) async fn keep(shared: Arc<Shared>, up: Arc<Up>) {
    let Some(parts) = shared.place.companions() else {
        return;
    };
    loop {
        let Some(parts) = parts.upgrade() else {
            return;
        };
        if let Err(why) = parts.prove(&shared, &up).await {
            tracing::debug!(cause = %why, "the number of partitions could not be noted");
        }
        drop(parts);
        tokio::time::sleep(shared.options.heartbeat).await;
    }
}
