//! Whether the store is asked at all: a store that hangs must not cost each request its timeout.
//!
//! After a few failures in a row requests are refused at once; one of them is let through from
//! time to time to see whether the store is back. Clears are always sent.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::BackendError;

/// So many calls in a row have to fail before requests are refused.
const FAILURES: u32 = 3;
/// Time between two looks whether the store is back: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    pause: Duration,
    /// When the next request is let through, while the store does not answer.
    next_look: Option<Instant>,
}

impl Breaker {
    /// Lets a request pass, unless the store has not been answering.
    pub(super) fn admit(&self) -> Result<(), BackendError> {
        let mut state = self.lock();
        let Some(next_look) = state.next_look else {
            return Ok(());
        };
        let now = Instant::now();
        if now < next_look {
            return Err(BackendError::Disconnected(
                format!(
                    "the store does not answer; asked again in {:?}",
                    next_look - now
                )
                .into(),
            ));
        }
        // This request looks; the others wait for what it finds, or for the next pause.
        let pause = state.pause;
        state.next_look = Some(now + pause);
        Ok(())
    }

    /// How a call went; an answer that refuses is an answer.
    pub(super) fn report(&self, failure: Option<&BackendError>) {
        let silent = matches!(
            failure,
            Some(BackendError::Timeout(_) | BackendError::Disconnected(_))
        );
        let mut state = self.lock();
        if !silent {
            if state.next_look.is_some() {
                tracing::info!("the store answers again");
            }
            *state = State::default();
            return;
        }
        state.failures = state.failures.saturating_add(1);
        if state.failures < FAILURES {
            return;
        }
        if state.next_look.is_none() {
            tracing::warn!(
                cause = failure.map(tracing::field::display),
                "the store does not answer; handlers run without it"
            );
        }
        state.pause = (state.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        state.next_look = Some(Instant::now() + state.pause);
    }

    /// Whether requests are let through.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().next_look.is_none()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence() -> BackendError {
        BackendError::Timeout(Duration::from_millis(1))
    }

    #[test]
    fn three_silences_in_a_row_open_it_and_one_answer_closes_it() {
        let breaker = Breaker::default();
        for _ in 1..FAILURES {
            breaker.report(Some(&silence()));
            breaker.admit().unwrap();
        }
        breaker.report(Some(&silence()));
        assert!(!breaker.is_closed());
        breaker.admit().unwrap_err();
        breaker.report(None);
        breaker.admit().unwrap();
    }

    #[test]
    fn a_refusal_is_an_answer() {
        let breaker = Breaker::default();
        for _ in 0..2 * FAILURES {
            breaker.report(Some(&BackendError::Refused("no".into())));
        }
        assert!(breaker.is_closed());
    }
}
