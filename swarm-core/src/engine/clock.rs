//! The only reader of the clock: turns the runtime's time into [`Moment`]s.
//!
//! It reads tokio's clock and not the system's, so that engine tests can pause it.
//!
//! Not here: wall-clock time, which the engine never needs.

use crate::types::Moment;
use std::time::Duration;
use tokio::time::Instant;

/// Counts from the start of a session. Copied to whoever needs to know the time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

#[expect(clippy::disallowed_methods, reason = "this file is the one reader of the clock")]
impl Clock {
    /// A clock that shows `Moment::ZERO` now.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// What time it is. Never runs backwards.
    pub(crate) fn now(self) -> Moment {
        Moment::ZERO + Instant::now().duration_since(self.start)
    }

    /// The runtime's name for a moment, to sleep until. Moments beyond 30 years are cut there.
    pub(crate) fn instant(self, moment: Moment) -> Instant {
        self.start + moment.since(Moment::ZERO).min(FAR)
    }
}

/// Longest time to sleep. Longer ones overflow the runtime's timer.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_starts_at_zero_and_names_moments_that_never_come() {
        let clock = Clock::start();
        assert!(clock.now() < Moment::from_micros(60_000_000));
        assert!(clock.instant(Moment::NEVER) > clock.instant(clock.now()));
    }
}
