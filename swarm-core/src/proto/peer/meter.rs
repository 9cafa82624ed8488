//! A transfer rate over injected time.
//!
//! Bytes fade with a time constant, so that the rate follows a change within about that
//! time; a young meter divides by its age instead, so that the first second is not
//! under-estimated.

use crate::types::Moment;
use std::time::Duration;

/// Rate of one direction of one connection (or of a whole torrent).
#[derive(Clone, Debug)]
pub(crate) struct Meter {
    born: Moment,
    folded: Moment,
    weight: f64,
    fresh: u64,
    total: u64,
}

/// Time in which a byte fades to 1/e of its weight.
const FADE: Duration = Duration::from_secs(2);
/// Bytes are folded into the average at most this often; a fold costs an `exp`.
const FOLD: Duration = Duration::from_millis(50);
/// A meter never takes itself for younger than this.
const AGE_MIN: Duration = Duration::from_millis(100);

impl Meter {
    pub(crate) fn new(now: Moment) -> Self {
        Self { born: now, folded: now, weight: 0.0, fresh: 0, total: 0 }
    }

    pub(crate) fn add(&mut self, now: Moment, bytes: u64) {
        if now - self.folded >= FOLD {
            self.weight = self.faded(now);
            self.fresh = 0;
            self.folded = now;
        }
        self.fresh += bytes;
        self.total += bytes;
    }

    /// Bytes since the meter was made.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Bytes a second.
    pub(crate) fn rate(&self, now: Moment) -> u64 {
        let age = (now - self.born).max(AGE_MIN).as_secs_f64();
        let fade = FADE.as_secs_f64();
        as_count(self.faded(now) / (fade * (1.0 - (-age / fade).exp())))
    }

    /// What is left of all bytes; the fresh ones count as old as the last fold, [`FOLD`] at most.
    fn faded(&self, now: Moment) -> f64 {
        let age = (now - self.folded).as_secs_f64();
        (self.weight + as_float(self.fresh)) * (-age / FADE.as_secs_f64()).exp()
    }
}

/// Exact below 2^53, and a rate need not be exact above.
#[expect(clippy::cast_precision_loss, reason = "rates are estimates")]
fn as_float(bytes: u64) -> f64 {
    bytes as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a non-negative estimate; the cast saturates"
)]
fn as_count(bytes: f64) -> u64 {
    bytes as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_micros(millis * 1000)
    }

    #[test]
    fn a_steady_stream_shows_its_rate_from_the_first_second_on() {
        let mut meter = Meter::new(at(0));
        for tick in 1..=100 {
            meter.add(at(tick * 100), 100_000);
            let rate = meter.rate(at(tick * 100));
            assert!((900_000..=1_300_000).contains(&rate) || tick < 3, "{rate} at tick {tick}");
        }
        assert_eq!(meter.total(), 10_000_000);
    }

    #[test]
    fn silence_fades() {
        let mut meter = Meter::new(at(0));
        meter.add(at(100), 1_000_000);
        meter.add(at(101), 1_000_000);
        assert!(meter.rate(at(30_000)) < 10);
        meter.add(at(60_000), 1);
        assert!(meter.rate(at(60_000)) < 10, "what came in one burst is not remembered for ever");
    }
}
