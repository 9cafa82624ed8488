//! The only reader of the clock: turns it into [`Moment`]s.
//!
//! It reads tokio's clock and not the system's, so that tests can pause it. It is monotonic:
//! setting the wall clock neither expires nor revives a peer.

use std::time::Duration;
use swarm_core::types::Moment;
use tokio::time::Instant;

/// Counts from the start of a tracker.
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

    /// The runtime's name for a time this far ahead.
    pub(crate) fn after(self, span: Duration) -> Instant {
        Instant::now() + span
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_starts_at_zero_and_moves_on() {
        let clock = Clock::start();
        let first = clock.now();
        tokio::time::sleep_until(clock.after(Duration::from_millis(1))).await;
        assert!(clock.now() >= first + Duration::from_millis(1));
    }
}
