//! Whose turn it is: what a request that missed does next.
//!
//! In the process by [`Flights`], across processes by the lease that a ticket grants. When all
//! tokens are there, requests meet before the ticket, and only the leader takes one. When one is
//! missing (first use, or a clear) each takes its own: the digest that would tell a flight from
//! before the clear from one after it is known only then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::{Backend, Payload, Ticket};
use crate::entry::Entry;
use crate::error::BackendError;
use crate::policy::Bypass;
use crate::protocol::flight::{Flights, Landing, Leader, Seat};
use crate::protocol::lease::HeldLease;
use crate::protocol::{Digest, Target};

/// What a request that missed does next.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Run the handler; its answer may be stored.
    Lead(Lead),
    /// Somebody filled the entry meanwhile: head and record.
    Filled(Payload),
    /// The answer of the request that was followed.
    Shared(Arc<Entry>),
    /// Look the entry up again.
    LookAgain,
    /// Run the handler and store nothing.
    Alone(Bypass),
}

/// The right to run the handler for everybody who waits.
#[derive(Debug)]
pub(crate) struct Lead {
    lease: Option<HeldLease>,
    /// `None` when others in this process follow somebody else.
    seat: Option<Leader>,
}

impl Lead {
    /// Takes what is needed to store and to tell the followers.
    pub(crate) fn into_parts(mut self) -> (Option<HeldLease>, Option<Leader>) {
        (self.lease.take(), self.seat.take())
    }

    /// There is an answer already: the lease goes back, and followers look for themselves.
    pub(crate) fn look_again(self) {
        let (_lease, seat) = self.into_parts();
        if let Some(seat) = seat {
            seat.look_again();
        }
    }

    /// The answer may not be stored: followers run their own handlers, the lease goes back.
    pub(crate) fn uncacheable(self) {
        let (_lease, seat) = self.into_parts();
        if let Some(seat) = seat {
            seat.uncacheable();
        }
    }
}

impl Drop for Lead {
    /// A cancelled request leaves both to a follower.
    fn drop(&mut self) {
        if let (Some(lease), Some(seat)) = (self.lease.take(), self.seat.take()) {
            seat.bequeath(lease);
        }
    }
}

/// What the turn is taken of.
#[derive(Debug)]
pub(crate) struct Taking<'a> {
    pub(crate) backend: &'a Arc<dyn Backend>,
    pub(crate) flights: &'a Arc<Flights>,
    pub(crate) target: &'a Arc<Target>,
    /// The digest that the lookup saw, if all tokens were there.
    pub(crate) digest: Option<Digest>,
    /// The tags of the dead entry.
    pub(crate) dynamic: &'a [Arc<str>],
    /// The backend must answer the first ticket before this.
    pub(crate) patience: Instant,
    /// Longest wait for one answer of the backend after that.
    pub(crate) timeout: Duration,
    /// Nobody waits for another request beyond this.
    pub(crate) deadline: Instant,
}

impl Taking<'_> {
    pub(crate) async fn take(mut self) -> Turn {
        let mut seat = None;
        if let Some(digest) = self.digest {
            match self.sit(digest).await {
                Sitting::Leads(leader, Some(lease)) => return lead(lease, Some(leader)),
                Sitting::Leads(leader, None) => {
                    seat = Some(leader);
                    // Waiting for a flight is no waiting for the backend.
                    self.patience = Instant::now() + self.timeout;
                }
                Sitting::Done(turn) => return turn,
            }
        }
        loop {
            let ticket = match self.ticket().await {
                Ok(ticket) => ticket,
                Err(why) => {
                    tracing::debug!(key = %self.target.key, cause = %why, "no ticket: the handler runs and stores nothing");
                    return alone(seat, Bypass::Unavailable);
                }
            };
            match ticket {
                InHand::Held => return alone(seat, Bypass::Held),
                InHand::Filled(payload) => {
                    if let Some(seat) = seat {
                        seat.look_again();
                    }
                    return Turn::Filled(payload);
                }
                InHand::Lead(digest, lease) => {
                    let seat = seat.or_else(|| match self.flights.join(self.target.id, digest) {
                        Seat::Leader(leader) => Some(leader),
                        // Its lease has expired and is ours now: it answers its followers, we
                        // store.
                        Seat::Follower(_) => None,
                    });
                    return lead(lease, seat);
                }
                InHand::Busy(digest) if seat.is_none() => match self.sit(digest).await {
                    Sitting::Leads(leader, Some(lease)) => return lead(lease, Some(leader)),
                    // Nobody here runs it: this request asks for all that wait in this process.
                    Sitting::Leads(leader, None) => seat = Some(leader),
                    Sitting::Done(turn) => return turn,
                },
                InHand::Busy(_) => {}
            }
            let now = Instant::now();
            if now >= self.deadline {
                // The seat goes to a follower that may still wait.
                return Turn::Alone(Bypass::Wait);
            }
            tokio::time::sleep(poll_pause().min(self.deadline - now)).await;
            self.patience = Instant::now() + self.timeout;
        }
    }

    /// Takes a ticket in a task of its own: when the request is cancelled meanwhile, the lease
    /// that may be granted is given back instead of being left to expire.
    async fn ticket(&self) -> Result<InHand, BackendError> {
        let (backend, target) = (Arc::clone(self.backend), Arc::clone(self.target));
        let (dynamic, patience) = (self.dynamic.to_vec(), self.patience);
        let (tell, told) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let ticket = backend.ticket(&target, &dynamic, patience).await;
            let in_hand = ticket.map(|ticket| match ticket {
                Ticket::Lead(lease) => {
                    InHand::Lead(lease.digest, HeldLease::new(backend, target, lease))
                }
                Ticket::Busy(digest) => InHand::Busy(digest),
                Ticket::Filled(payload) => InHand::Filled(payload),
                Ticket::Held => InHand::Held,
            });
            // Nobody listens any more: what is in hand is dropped, and so given back.
            let _ = tell.send(in_hand);
        });
        told.await
            .unwrap_or_else(|_| Err(BackendError::Disconnected("the runtime ended".into())))
    }

    /// Takes a seat and, as a follower, waits for the flight's end.
    async fn sit(&self, digest: Digest) -> Sitting {
        let follower = match self.flights.join(self.target.id, digest) {
            Seat::Leader(leader) => return Sitting::Leads(leader, None),
            Seat::Follower(follower) => follower,
        };
        match follower.land(self.flights, self.deadline).await {
            Landing::Promoted(leader, lease) => Sitting::Leads(leader, lease),
            Landing::Answered(entry) => Sitting::Done(Turn::Shared(entry)),
            Landing::LookAgain => Sitting::Done(Turn::LookAgain),
            Landing::Uncacheable => Sitting::Done(Turn::Alone(Bypass::Uncacheable)),
            Landing::TooLate => Sitting::Done(Turn::Alone(Bypass::Wait)),
        }
    }
}

/// A ticket whose lease, if it grants one, is guarded.
enum InHand {
    Filled(Payload),
    Lead(Digest, HeldLease),
    Busy(Digest),
    Held,
}

enum Sitting {
    Leads(Leader, Option<HeldLease>),
    Done(Turn),
}

fn lead(lease: HeldLease, seat: Option<Leader>) -> Turn {
    Turn::Lead(Lead {
        lease: Some(lease),
        seat,
    })
}

/// Nobody waits for a request that will store nothing.
fn alone(seat: Option<Leader>, bypass: Bypass) -> Turn {
    if let Some(seat) = seat {
        seat.uncacheable();
    }
    Turn::Alone(bypass)
}

/// Between 20 and 50 ms, so that processes do not ask in step.
fn poll_pause() -> Duration {
    let mut random = [0; 1];
    // Without randomness the pause is only less spread.
    let _ = getrandom::fill(&mut random);
    Duration::from_micros(20_000 + u64::from(random[0]) * 117)
}
