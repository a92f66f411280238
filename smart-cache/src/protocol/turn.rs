//! Whose turn it is: what a request that missed does next.
//!
//! In the process by [`Flights`], across processes by the lease that a ticket grants. When all
//! tokens are there, requests meet before the ticket, and only the leader takes one. When one is
//! missing (first use, or a clear) the digest that would tell a flight from before the clear from
//! one after it is known only by the ticket, and requests of one moment share that: it is sent
//! after all of them had arrived.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::backend::{Backend, Payload, Ticket};
use crate::entry::{Entry, EntryId};
use crate::error::BackendError;
use crate::policy::Bypass;
use crate::protocol::flight::{Flights, Landing, Leader, Seat};
use crate::protocol::lease::HeldLease;
use crate::protocol::{Digest, Target};
use crate::together::Together;

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
    pub(crate) tickets: &'a Arc<Tickets>,
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
            let ticket = match &seat {
                Some(_) => self.ticket().await,
                None => self.shared_ticket().await,
            };
            let ticket = match ticket {
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
                InHand::Lead(_, mut lead) => {
                    lead.seat = seat.or(lead.seat.take());
                    return Turn::Lead(lead);
                }
                InHand::Taken(digest) => {
                    return match self.sit(digest).await {
                        Sitting::Leads(leader, Some(lease)) => lead(lease, Some(leader)),
                        Sitting::Leads(leader, None) => {
                            // It is over already.
                            leader.look_again();
                            Turn::LookAgain
                        }
                        Sitting::Done(turn) => turn,
                    };
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

    /// What a ticket needs, apart from this request: when that is cancelled meanwhile, the lease
    /// that may be granted is given back instead of being left to expire.
    fn asking(&self) -> impl Future<Output = Result<InHand, BackendError>> + Send + use<> {
        let (backend, target) = (Arc::clone(self.backend), Arc::clone(self.target));
        let (dynamic, patience) = (self.dynamic.to_vec(), self.patience);
        async move {
            let ticket = backend.ticket(&target, &dynamic, patience).await?;
            Ok(match ticket {
                Ticket::Lead(lease) => {
                    let digest = lease.digest;
                    let lease = Some(HeldLease::new(backend, target, lease));
                    InHand::Lead(digest, Lead { lease, seat: None })
                }
                Ticket::Busy(digest) => InHand::Busy(digest),
                Ticket::Filled(payload) => InHand::Filled(payload),
                Ticket::Held => InHand::Held,
            })
        }
    }

    /// A ticket for everybody who sits behind this request.
    async fn ticket(&self) -> Result<InHand, BackendError> {
        let ticket = tokio::spawn(self.asking()).await;
        ticket.unwrap_or_else(|_| Err(BackendError::ended()))
    }

    /// One ticket for all requests of this moment. Its lease goes to one of them, who leads; the
    /// others are told that the entry is being filled.
    async fn shared_ticket(&self) -> Result<InHand, BackendError> {
        let (asking, flights, id) = (self.asking(), Arc::clone(self.flights), self.target.id);
        let send = move || async move {
            Ok(match asking.await? {
                InHand::Lead(digest, mut lead) => {
                    // Before anybody hears of it, so that the others find the flight. A flight
                    // that is there already belongs to a holder whose lease has expired and is
                    // ours now: it answers its followers, we store.
                    if let Seat::Leader(leader) = flights.join(id, digest) {
                        lead.seat = Some(leader);
                    }
                    SharedTicket::Lead(digest, Arc::new(Mutex::new(Some(lead))))
                }
                InHand::Busy(digest) | InHand::Taken(digest) => SharedTicket::Busy(digest),
                InHand::Filled(payload) => SharedTicket::Filled(payload),
                InHand::Held => SharedTicket::Held,
            })
        };
        let shared = self.tickets.ask(id, send).await;
        Ok(match shared.ok_or_else(BackendError::ended)?? {
            SharedTicket::Lead(digest, lead) => {
                let lead = lead.lock().unwrap_or_else(PoisonError::into_inner).take();
                lead.map_or(InHand::Taken(digest), |lead| InHand::Lead(digest, lead))
            }
            SharedTicket::Busy(digest) => InHand::Busy(digest),
            SharedTicket::Filled(payload) => InHand::Filled(payload),
            SharedTicket::Held => InHand::Held,
        })
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
    Lead(Digest, Lead),
    /// Another request of this process has the lease that this ticket was granted.
    Taken(Digest),
    /// Another process fills the entry.
    Busy(Digest),
    Held,
}

/// Tickets that requests of one moment share.
pub(crate) type Tickets = Together<EntryId, Result<SharedTicket, BackendError>>;

/// [`InHand`], for several.
#[derive(Debug, Clone)]
pub(crate) enum SharedTicket {
    Filled(Payload),
    /// Whoever is first takes the lead. If nobody does, it goes to a follower.
    Lead(Digest, Arc<Mutex<Option<Lead>>>),
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
