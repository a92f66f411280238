//! Who runs the handler in this process when several requests miss the same entry.
//!
//! The first becomes the leader, the others follow and are given its answer. Requests meet only
//! by entry *and* digest, and only after each has made its own lookup: so one that arrives after
//! a clear sees other tokens, and never joins the flight from before it.
//!
//! Nobody is stranded: a leader that is dropped leaves its seat, and its lease, to one of the
//! followers; one that panicked or found its answer uncacheable lets all of them run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::sync::watch;

use crate::entry::{Entry, EntryId};
use crate::protocol::Digest;
use crate::protocol::lease::HeldLease;

type FlightKey = (EntryId, Digest);

/// The flights under way in this process.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    open: Mutex<HashMap<FlightKey, Arc<Flight>>>,
}

#[derive(Debug)]
struct Flight {
    phase: watch::Sender<Phase>,
    /// The lease of a leader that was dropped, for the follower that leads next. If nobody
    /// takes it, it is given back when the last of them leaves.
    bequest: Mutex<Option<HeldLease>>,
}

#[derive(Debug, Clone)]
enum Phase {
    Running,
    /// The answer, for everybody who followed.
    Answered(Arc<Entry>),
    /// Every follower runs its own handler.
    Uncacheable,
    /// Whether the answer was stored could not be promised: look it up again.
    LookAgain,
    /// The leader was dropped: one of the followers leads next.
    Abandoned,
}

/// A request's place in a flight.
#[derive(Debug)]
pub(crate) enum Seat {
    Leader(Leader),
    Follower(Follower),
}

/// Must be settled; dropping it settles by itself.
#[derive(Debug)]
pub(crate) struct Leader {
    flights: Arc<Flights>,
    key: FlightKey,
    flight: Arc<Flight>,
    settled: bool,
}

#[derive(Debug)]
pub(crate) struct Follower {
    key: FlightKey,
    flight: Arc<Flight>,
    phase: watch::Receiver<Phase>,
}

/// How a flight ended for one that followed.
#[derive(Debug)]
pub(crate) enum Landing {
    Answered(Arc<Entry>),
    Uncacheable,
    LookAgain,
    /// This request leads now, with the lease of its predecessor if there was one.
    Promoted(Leader, Option<HeldLease>),
    /// The leader did not finish in time.
    TooLate,
}

impl Flights {
    fn open(&self) -> MutexGuard<'_, HashMap<FlightKey, Arc<Flight>>> {
        self.open
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes a seat: the first of a flight leads.
    pub(crate) fn join(self: &Arc<Self>, id: EntryId, digest: Digest) -> Seat {
        let key = (id, digest);
        let mut open = self.open();
        if let Some(flight) = open.get(&key) {
            let flight = Arc::clone(flight);
            let phase = flight.phase.subscribe();
            return Seat::Follower(Follower { key, flight, phase });
        }
        let flight = Arc::new(Flight {
            phase: watch::Sender::new(Phase::Running),
            bequest: Mutex::new(None),
        });
        open.insert(key, Arc::clone(&flight));
        Seat::Leader(Leader {
            flights: Arc::clone(self),
            key,
            flight,
            settled: false,
        })
    }

    /// Whether somebody is filling this entry here.
    pub(crate) fn is_open(&self, id: EntryId, digest: Digest) -> bool {
        self.open().contains_key(&(id, digest))
    }

    /// Lets nobody join this flight any more. There may be a newer one under its key by now.
    fn close(&self, key: &FlightKey, flight: &Arc<Flight>) {
        let mut open = self.open();
        if open
            .get(key)
            .is_some_and(|found| Arc::ptr_eq(found, flight))
        {
            open.remove(key);
        }
    }

    /// Flights under way.
    pub(crate) fn len(&self) -> usize {
        self.open().len()
    }
}

impl Leader {
    /// Gives the answer to everybody who followed.
    pub(crate) fn answer(mut self, entry: &Arc<Entry>) {
        self.settle(Phase::Answered(Arc::clone(entry)));
    }

    /// Lets every follower run its own handler.
    pub(crate) fn uncacheable(mut self) {
        self.settle(Phase::Uncacheable);
    }

    /// Sends every follower back to its lookup.
    pub(crate) fn look_again(mut self) {
        self.settle(Phase::LookAgain);
    }

    /// Whether anybody waits for this leader.
    pub(crate) fn is_followed(&self) -> bool {
        self.flight.phase.receiver_count() > 0
    }

    /// Lets nobody join any more; those who follow already still wait. For an answer that counts
    /// only if its store lands: who asks once the store is on its way may ask after a clear that
    /// the store did not meet.
    pub(crate) fn close(&self) {
        self.flights.close(&self.key, &self.flight);
    }

    /// Leaves seat and lease to a follower; without followers the lease is given back.
    pub(crate) fn bequeath(self, lease: HeldLease) {
        if self.is_followed() {
            *self
                .flight
                .bequest
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(lease);
        }
    }

    /// Closes the flight before its end is told, so that whoever hears of it can open the next.
    fn settle(&mut self, phase: Phase) {
        if !std::mem::replace(&mut self.settled, true) {
            self.flights.close(&self.key, &self.flight);
            self.flight.phase.send_replace(phase);
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        let phase = if std::thread::panicking() {
            Phase::Uncacheable
        } else {
            Phase::Abandoned
        };
        self.settle(phase);
    }
}

impl Follower {
    /// Waits for the leader, but not beyond `deadline`.
    pub(crate) async fn land(mut self, flights: &Arc<Flights>, deadline: Instant) -> Landing {
        loop {
            let ended = self
                .phase
                .wait_for(|phase| !matches!(phase, Phase::Running));
            let phase = match tokio::time::timeout_at(deadline.into(), ended).await {
                Err(_) => return Landing::TooLate,
                Ok(Ok(phase)) => phase.clone(),
                // The sender is kept in the flight that we hold, so it cannot be gone.
                Ok(Err(_)) => return Landing::LookAgain,
            };
            match phase {
                Phase::Answered(entry) => return Landing::Answered(entry),
                Phase::Uncacheable => return Landing::Uncacheable,
                Phase::LookAgain => return Landing::LookAgain,
                Phase::Running | Phase::Abandoned => match flights.join(self.key.0, self.key.1) {
                    Seat::Follower(next) => self = next,
                    Seat::Leader(leader) => {
                        let bequest = self
                            .flight
                            .bequest
                            .lock()
                            .unwrap_or_else(std::sync::PoisonError::into_inner)
                            .take();
                        return Landing::Promoted(leader, bequest);
                    }
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::entry::Answer;

    fn flights() -> (Arc<Flights>, EntryId, Digest) {
        (
            Arc::default(),
            EntryId::of(b"e"),
            Digest::of([b"t".as_slice()].into_iter()),
        )
    }

    fn lead(flights: &Arc<Flights>, id: EntryId, digest: Digest) -> Leader {
        let Seat::Leader(leader) = flights.join(id, digest) else {
            panic!("the seat is taken")
        };
        leader
    }

    fn follow(flights: &Arc<Flights>, id: EntryId, digest: Digest) -> Follower {
        let Seat::Follower(follower) = flights.join(id, digest) else {
            panic!("nobody leads")
        };
        follower
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test]
    async fn followers_get_the_leaders_answer() {
        let (flights, id, digest) = flights();
        let leader = lead(&flights, id, digest);
        let follower = follow(&flights, id, digest);
        let answer = Answer {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::from_static(b"x"),
            created: SystemTime::now(),
            encoded: Vec::new(),
            took: Duration::from_secs(7),
        };
        leader.answer(&Arc::new(Entry::new(answer, true)));
        assert!(
            matches!(follower.land(&flights, soon()).await, Landing::Answered(entry) if entry.took().as_secs() == 7)
        );
        assert_eq!(flights.len(), 0);
    }

    #[tokio::test]
    async fn other_tokens_are_another_flight() {
        let (flights, id, digest) = flights();
        let _leader = lead(&flights, id, digest);
        let later = Digest::of([b"u".as_slice()].into_iter());
        assert!(matches!(flights.join(id, later), Seat::Leader(_)));
    }

    #[tokio::test]
    async fn one_follower_leads_when_the_leader_is_dropped() {
        let (flights, id, digest) = flights();
        let leader = lead(&flights, id, digest);
        let (one, two) = (follow(&flights, id, digest), follow(&flights, id, digest));
        drop(leader);
        let Landing::Promoted(next, None) = one.land(&flights, soon()).await else {
            panic!("not promoted")
        };
        let waiting = tokio::spawn({
            let flights = Arc::clone(&flights);
            async move { two.land(&flights, soon()).await }
        });
        tokio::task::yield_now().await;
        next.uncacheable();
        assert!(matches!(waiting.await.unwrap(), Landing::Uncacheable));
    }

    #[tokio::test]
    async fn a_panicking_leader_lets_all_run() {
        let (flights, id, digest) = flights();
        let leader = lead(&flights, id, digest);
        let follower = follow(&flights, id, digest);
        let _ = std::thread::spawn(move || {
            let _leader = leader;
            panic!("as a handler would");
        })
        .join();
        assert!(matches!(
            follower.land(&flights, soon()).await,
            Landing::Uncacheable
        ));
    }

    #[tokio::test]
    async fn nobody_waits_beyond_the_deadline() {
        let (flights, id, digest) = flights();
        let _leader = lead(&flights, id, digest);
        let follower = follow(&flights, id, digest);
        assert!(matches!(
            follower.land(&flights, Instant::now()).await,
            Landing::TooLate
        ));
    }
}
