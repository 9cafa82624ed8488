//! How many peers are served at a time: as few as fill the uplink.
//!
//! Nobody tells us the rate of the uplink, nor what a peer can take. So it is tried: for one
//! period so many lanes more are open (half as many again, at least one), and they stay if what
//! leaves grows by half of what as many lanes of the same kind would add. Where the uplink is
//! full it does not grow, and the few come back. Likewise fewer lanes are tried where there are
//! more than the least, and kept if less does not leave.
//!
//! Not here: who gets a lane (see `lanes`).

use crate::types::Moment;
use std::time::Duration;

/// Most peers served at a time.
pub(super) const LANES_MAX: usize = 48;
/// What leaves is counted over this time.
const PERIOD: Duration = Duration::from_secs(1);
/// Periods from a trial that failed to the next.
const REST: u32 = 8;

/// The number of lanes.
#[derive(Debug)]
pub(super) struct Width {
    least: usize,
    /// What has proved itself.
    kept: usize,
    trial: Trial,
    /// When the present period began, and bytes that had left by then.
    since: Moment,
    sent_before: u64,
    /// Bytes that left in the last whole period with `kept` lanes.
    usual: u64,
    /// The next trial is of fewer lanes.
    down_next: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trial {
    /// None, for so many periods still.
    Resting(u32),
    /// Of so many lanes.
    Of(usize),
}

impl Width {
    pub(super) const fn new(least: usize) -> Self {
        Self {
            least,
            kept: least,
            trial: Trial::Resting(1),
            since: Moment::ZERO,
            sent_before: 0,
            usual: 0,
            down_next: false,
        }
    }

    pub(super) const fn lanes(&self) -> usize {
        match self.trial {
            Trial::Resting(_) => self.kept,
            Trial::Of(lanes) => lanes,
        }
    }

    /// Takes stock when a period is over. Only what happens while peers wait tells anything.
    pub(super) fn look(&mut self, now: Moment, sent: u64, contested: bool) {
        if !contested {
            self.trial = Trial::Resting(1);
            self.begin(now, sent);
            return;
        }
        if now - self.since < PERIOD {
            return;
        }
        let left = sent - self.sent_before;
        self.begin(now, sent);
        self.trial = match self.trial {
            Trial::Resting(periods) => {
                self.usual = left;
                if periods > 1 { Trial::Resting(periods - 1) } else { self.next_trial() }
            }
            Trial::Of(lanes) if self.has_proved(lanes, left) => {
                self.down_next = lanes < self.kept;
                self.kept = lanes;
                self.usual = left;
                self.next_trial()
            }
            Trial::Of(lanes) => {
                self.down_next = lanes > self.kept;
                Trial::Resting(REST)
            }
        };
    }

    fn begin(&mut self, now: Moment, sent: u64) {
        self.since = now;
        self.sent_before = sent;
    }

    fn next_trial(&self) -> Trial {
        let step = (self.kept / 2).max(1);
        if self.down_next && self.kept > self.least {
            Trial::Of((self.kept - step.min(self.kept)).max(self.least))
        } else if self.kept < LANES_MAX {
            Trial::Of((self.kept + step).min(LANES_MAX))
        } else {
            Trial::Resting(REST)
        }
    }

    /// Half of what the difference in lanes would make decides.
    fn has_proved(&self, lanes: usize, left: u64) -> bool {
        let share = |lanes: usize| u64::try_from(lanes).unwrap_or(u64::MAX);
        let (before, after) = (share(self.kept), share(lanes));
        if after > before {
            left > self.usual + self.usual * (after - before) / (2 * before)
        } else {
            left > self.usual - self.usual * (before - after) / (2 * before)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lanes after so many seconds when `rate(lanes)` bytes a second leave.
    fn run(width: &mut Width, from: u64, seconds: u64, rate: impl Fn(usize) -> u64) -> usize {
        let mut sent = 0;
        width.look(Moment::ZERO + Duration::from_secs(from), sent, false);
        for second in 1..=seconds {
            sent += rate(width.lanes());
            width.look(Moment::ZERO + Duration::from_secs(from + second), sent, true);
        }
        width.kept
    }

    fn capped(each: u64, all: u64) -> impl Fn(usize) -> u64 {
        move |lanes| (u64::try_from(lanes).unwrap() * each).min(all)
    }

    #[test]
    fn a_full_uplink_keeps_the_few_and_rarely_tries_more() {
        let mut width = Width::new(3);
        let trials = std::cell::Cell::new(0);
        let kept = run(&mut width, 0, 100, |lanes| {
            trials.set(trials.get() + u32::from(lanes > 3));
            2_500_000
        });
        assert_eq!(kept, 3);
        assert!((5..=15).contains(&trials.get()), "{} trials", trials.get());
    }

    #[test]
    fn narrow_downlinks_get_as_many_lanes_as_fill_the_uplink_within_ten_seconds() {
        let mut width = Width::new(3);
        let kept = run(&mut width, 0, 10, capped(100_000, 1_300_000));
        assert!((9..=19).contains(&kept), "{kept}");
        assert!(run(&mut Width::new(3), 0, 60, capped(1000, u64::MAX)) == LANES_MAX);
    }

    #[test]
    fn lanes_that_are_not_needed_any_more_are_given_up() {
        let mut width = Width::new(3);
        assert!(run(&mut width, 0, 20, capped(100_000, 2_000_000)) > 10);
        assert_eq!(run(&mut width, 100, 200, capped(5_000_000, 2_000_000)), 3);
    }

    #[test]
    fn while_nobody_waits_nothing_is_learnt() {
        let mut width = Width::new(3);
        for second in 0..50 {
            width.look(Moment::ZERO + Duration::from_secs(second), second * second, false);
            assert_eq!(width.lanes(), 3);
        }
    }
}
