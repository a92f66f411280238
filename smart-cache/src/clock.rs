//! One reading of the clock for everything that a hit asks of it.
//!
//! `Instant`s keep seconds and nanoseconds apart, and the difference of two costs more than all else
//! that a hit computes. So it is taken once, and what follows are whole numbers.

use std::sync::LazyLock;
use std::time::Instant;

/// When this was first asked for; everything is counted from here.
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Microseconds of the monotonic clock since the program's first moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) fn now() -> Self {
        Instant::now().into()
    }

    pub(crate) fn micros(self) -> u64 {
        self.0
    }

    /// Whole seconds from an earlier moment to this one.
    pub(crate) fn seconds_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000_000
    }
}

impl From<Instant> for Moment {
    fn from(at: Instant) -> Self {
        Self(micros(at))
    }
}

/// The microseconds of a [`Moment`].
pub(crate) fn micros(at: Instant) -> u64 {
    let origin = *ORIGIN;
    at.saturating_duration_since(origin).as_micros() as u64
}
