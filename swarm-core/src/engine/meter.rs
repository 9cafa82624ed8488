//! How often the bounds of a session have bitten, counted from any task.
//!
//! Not here: those of one torrent, which its state machine counts.

use crate::types::{Limit, LimitCounts};
use std::sync::atomic::{AtomicU64, Ordering};

/// One counter a limit.
#[derive(Debug)]
pub(crate) struct LimitMeter([AtomicU64; Limit::COUNT]);

impl LimitMeter {
    /// Counts one bite.
    pub(crate) fn hit(&self, limit: Limit) {
        if let Some(count) = self.0.get(limit as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What has been counted.
    pub(crate) fn counts(&self) -> LimitCounts {
        let mut counts = LimitCounts::default();
        for (limit, count) in Limit::ALL.iter().zip(&self.0) {
            counts.add(*limit, count.load(Ordering::Relaxed));
        }
        counts
    }
}

impl Default for LimitMeter {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown_under_its_limit() {
        let meter = LimitMeter::default();
        meter.hit(Limit::Redirects);
        meter.hit(Limit::Redirects);
        meter.hit(Limit::Peers);
        let hits: Vec<_> = meter.counts().hits().collect();
        assert_eq!(hits, [(Limit::Peers, 1), (Limit::Redirects, 2)]);
    }
}
