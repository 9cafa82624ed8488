//! How much of a connection's stream waits in the kernel before it is sent.
//!
//! What the kernel has taken counts as sent, so a deep queue there makes the choice of whom to
//! serve blind: a dozen connections each swallow a piece, and the uplink sends them all at
//! once, thinly. The queue is therefore held to what leaves in a twentieth of a second
//! (`TCP_NOTSENT_LOWAT`), within bounds: enough to ride out a busy machine, and at high rates
//! enough to fill large writes.
//!
//! Not here: what is in flight, which is TCP's to decide.

use crate::types::Moment;
use std::time::Duration;
use tokio::net::TcpStream;

/// Bytes that wait in the kernel at the least, and to begin with.
const LEAST: u32 = 32 << 10;
/// Bytes at which the kernel's own bounds take over.
const MOST: u32 = 4 << 20;
/// The rate is measured over this time at the least.
const PERIOD: Duration = Duration::from_millis(100);
/// What waits is what leaves in a second, divided by this.
const PER_SECOND: u64 = 20;

/// The bound of one connection.
#[derive(Debug)]
pub(super) struct Backlog {
    since: Moment,
    sent: u64,
    bound: u32,
}

impl Backlog {
    /// Sets the first bound.
    pub(super) fn new(now: Moment, stream: &TcpStream) -> Self {
        set(stream, LEAST);
        Self { since: now, sent: 0, bound: LEAST }
    }

    /// Bytes of a message that may keep others waiting: what leaves in six milliseconds.
    pub(super) const fn brief(&self) -> u32 {
        self.bound / 8
    }

    /// Bytes of blocks have gone to the kernel. Sets the bound anew when it is off by half.
    pub(super) fn sent(&mut self, now: Moment, bytes: usize, stream: &TcpStream) {
        if let Some(bound) = self.measure(now, bytes) {
            set(stream, bound);
        }
    }

    fn measure(&mut self, now: Moment, bytes: usize) -> Option<u32> {
        self.sent += u64::try_from(bytes).unwrap_or(u64::MAX);
        let time = now.since(self.since);
        if time < PERIOD {
            return None;
        }
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        let rate = self.sent.saturating_mul(1000) / millis;
        let target = u32::try_from(rate / PER_SECOND).unwrap_or(MOST).clamp(LEAST, MOST);
        self.since = now;
        self.sent = 0;
        if target / 2 <= self.bound && self.bound / 2 <= target {
            return None;
        }
        self.bound = target;
        Some(target)
    }
}

/// A system without the option queues as it likes.
#[cfg(target_os = "linux")]
fn set(stream: &TcpStream, bound: u32) {
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(bound);
}

#[cfg(not(target_os = "linux"))]
fn set(_stream: &TcpStream, _bound: u32) {}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> Backlog {
        Backlog { since: Moment::ZERO, sent: 0, bound: LEAST }
    }

    /// The bound after a second at a rate.
    fn settle(backlog: &mut Backlog, from: u64, rate: usize) -> u32 {
        for turn in 0..100 {
            let now = Moment::from_micros((from * 100 + turn) * 10_000);
            backlog.measure(now, rate / 100);
        }
        backlog.bound
    }

    #[test]
    fn it_follows_the_rate_within_bounds() {
        let mut backlog = fresh();
        assert_eq!(backlog.measure(Moment::ZERO, 1_000_000), None, "before anything is known");
        assert_eq!(settle(&mut backlog, 1, 250_000), LEAST);
        let fast = settle(&mut backlog, 2, 100_000_000);
        assert!((2_000_000..=MOST).contains(&fast), "{fast}");
        assert_eq!(settle(&mut backlog, 3, 4_000_000_000), MOST);
        assert!(settle(&mut backlog, 4, 2_500_000) <= 250_000);
    }

    #[test]
    fn a_rate_that_hardly_changes_costs_no_system_call() {
        let mut backlog = fresh();
        settle(&mut backlog, 0, 10_000_000);
        let bound = backlog.bound;
        let calls = (0..100).filter(|turn| {
            let now = Moment::from_micros((100 + turn) * 10_000);
            backlog.measure(now, 100_000 + usize::try_from(turn * 100).unwrap()).is_some()
        });
        assert_eq!((calls.count(), backlog.bound), (0, bound));
    }
}
