//! How long a value stays.

use std::time::Duration;

use crate::backend::Expiry;

/// Longer than this is as good as for ever, and no server's arithmetic has trouble with it.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
/// What servers count in; a shorter time would read as none at all.
const SHORTEST: Duration = Duration::from_millis(1);

/// How long a value stays by itself.
///
/// A [`Duration`] is `After` it, and an `Option<Duration>` is `Never` where it is `None`. There is
/// no negative time: what has expired already is not stored, which is what zero says.
///
/// | | |
/// |---|---|
/// | `Timeout::Default` | as the cache was configured: 300 s |
/// | `Timeout::Never` | until it is removed, or the server needs its memory |
/// | `Timeout::After(time)` | milliseconds count; more than a hundred years are a hundred years; zero removes the value |
///
/// # Example
/// ```
/// use smart_cache::Timeout;
/// use std::time::Duration;
///
/// assert_eq!(Timeout::from(Duration::from_millis(500)), Timeout::After(Duration::from_millis(500)));
/// assert_eq!(Timeout::from(None), Timeout::Never);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Timeout {
    /// What the cache was configured with: `SMART_REDIS_DEFAULT_TIMEOUT`, else 300 s.
    #[default]
    Default,
    /// Until it is removed.
    Never,
    /// This long; zero removes the value.
    After(Duration),
}

impl From<Duration> for Timeout {
    fn from(time: Duration) -> Self {
        Self::After(time)
    }
}

impl From<Option<Duration>> for Timeout {
    fn from(time: Option<Duration>) -> Self {
        time.map_or(Self::Never, Self::After)
    }
}

/// What a timeout means for a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It is over before it has begun.
    Over,
    Until(Expiry),
}

impl Timeout {
    /// `default` is neither `Default` nor does it matter for the others.
    pub(super) fn life(self, default: Self) -> Life {
        let timeout = match self {
            Self::Default => default,
            own => own,
        };
        match timeout {
            Self::After(Duration::ZERO) => Life::Over,
            Self::After(time) => Life::Until(Some(time.clamp(SHORTEST, LONGEST))),
            Self::Never | Self::Default => Life::Until(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(timeout: impl Into<Timeout>, expected: Life) {
        let default = Timeout::After(Duration::from_secs(300));
        assert_eq!(timeout.into().life(default), expected);
    }

    #[test]
    fn every_duration_has_a_meaning_that_servers_can_count() {
        let after = |time| Life::Until(Some(time));
        check(Timeout::Default, after(Duration::from_secs(300)));
        check(Timeout::Never, Life::Until(None));
        check(None, Life::Until(None));
        check(Duration::ZERO, Life::Over);
        check(Duration::from_nanos(1), after(SHORTEST));
        check(
            Duration::from_millis(500),
            after(Duration::from_millis(500)),
        );
        check(Duration::MAX, after(LONGEST));
    }
}
