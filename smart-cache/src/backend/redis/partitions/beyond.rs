//! Where a backend stands among the partitions of its namespace, and those of other processes, which its
//! clears must reach too.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use futures_util::future::try_join_all;

use super::proof::Parts;
use super::record::{self, Noted};
use crate::backend::BoxFuture;
use crate::backend::redis::{RedisBackend, RedisOptions};
use crate::error::BackendError;

/// What a backend knows of the partitions beside it.
#[derive(Debug)]
pub(in crate::backend::redis) struct Place {
    /// Its own number.
    pub(in crate::backend::redis) number: u32,
    /// How many there are in this process.
    pub(in crate::backend::redis) own: u32,
    /// All of them; of the first one alone.
    companions: OnceLock<Weak<Parts>>,
    /// Those of other processes, beyond our own, for clears alone; of the first one alone.
    beyond: Mutex<Vec<Arc<RedisBackend>>>,
}

impl Place {
    pub(super) fn new(number: u32, own: u32) -> Self {
        Self {
            number,
            own,
            companions: OnceLock::new(),
            beyond: Mutex::default(),
        }
    }

    /// The place of a backend that has no partitions beside it.
    pub(in crate::backend::redis) fn alone() -> Self {
        Self::new(0, 1)
    }

    pub(super) fn companions(&self) -> Option<&Weak<Parts>> {
        self.companions.get()
    }

    /// Tells the first one of all others. Only the first word counts.
    pub(super) fn introduce(&self, parts: &Arc<Parts>) {
        let _ = self.companions.set(Arc::downgrade(parts));
    }
}

impl RedisBackend {
    pub(super) fn place(&self) -> &Place {
        &self.core.shared.place
    }

    /// Does something here, and then in the partitions that other processes have beyond our own. Only the
    /// first partition looks beyond.
    pub(in crate::backend::redis) async fn and_beyond(
        &self,
        here: impl Future<Output = Result<(), BackendError>>,
        there: impl Fn(Arc<Self>) -> BoxFuture<'static, Result<(), BackendError>>,
    ) -> Result<(), BackendError> {
        if self.place().number > 0 {
            return here.await;
        }
        let (done, noted) = tokio::join!(here, self.noted());
        done?;
        let beyond = self.beyond(noted?.reach())?;
        try_join_all(beyond.into_iter().map(there)).await.map(drop)
    }

    async fn noted(&self) -> Result<Noted, BackendError> {
        let (up, deadline) = self.up().await?;
        record::read(&self.core.shared, &up, deadline).await
    }

    /// The partitions beyond our own, up to this number.
    fn beyond(&self, reach: u32) -> Result<Vec<Arc<Self>>, BackendError> {
        let place = self.place();
        let count = reach.saturating_sub(place.own) as usize;
        if count == 0 {
            return Ok(Vec::new());
        }
        let shared = &self.core.shared;
        let mut beyond = place.beyond.lock().unwrap_or_else(PoisonError::into_inner);
        while beyond.len() < count {
            let options = RedisOptions {
                tracking: false,
                announce: false,
                ..shared.options.clone()
            };
            let number = place.own + beyond.len() as u32;
            let place = Place::new(number, reach);
            let made = Self::at(shared.address.clone(), options, place);
            let made = made.map_err(|why| BackendError::Disconnected(why.to_string().into()))?;
            beyond.push(Arc::new(made));
        }
        Ok(beyond[..count].to_vec())
    }
}
