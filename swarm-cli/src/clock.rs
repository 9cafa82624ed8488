//! The only place that reads a clock here; everything else is told what time it is.
//!
//! Views and waits get a [`Moment`], so that their tests need no real time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use swarm_core::types::Moment;

/// Counts from its creation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this module is the clock")]
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Moment {
        Moment::ZERO + self.start.elapsed()
    }
}

/// Seconds since 1970, for a torrent's creation date; 0 when the machine's clock is before that.
#[expect(clippy::disallowed_methods, reason = "this module is the clock")]
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}
