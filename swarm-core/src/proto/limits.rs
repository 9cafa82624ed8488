//! Buckets over injected time: how many bytes, or how many events, a while may hold.
//!
//! A [`TokenBucket`] may go into debt: whoever asks while it holds anything at all is given up
//! to a whole burst, and nobody is given anything until the debt is paid back. So a limit of
//! one byte a second works like one of a gigabyte, no request is too large to be ever granted,
//! and a wait is never a row of one-byte wake-ups. An [`EventBucket`] has no debt: a message
//! is within its rate or it is not.
//!
//! Both count in millionths of a token, so that a microsecond at any rate is a whole number
//! and nothing is lost by rounding.
//!
//! Not here: what happens to who is over a limit.

use crate::types::Moment;
use std::num::NonZeroU64;
use std::time::Duration;

/// Choke, unchoke, interested and not-interested messages of one peer, a second (LIMITS B15).
pub const TOGGLES_PER_SECOND: u32 = 10;
/// Toggles that may come at once.
pub const TOGGLES_BURST: u32 = 50;
/// `have` messages of one peer, a second (LIMITS B16).
pub const HAVES_PER_SECOND: u32 = 2_000;
/// `have` messages that may come at once.
pub const HAVES_BURST: u32 = 20_000;
/// Metadata requests of one peer, a second (LIMITS B34).
pub const METADATA_REQUESTS_PER_SECOND: u32 = 2;
/// Metadata requests that may come at once.
pub const METADATA_REQUESTS_BURST: u32 = 64;
/// Times the whole metadata may be asked for by one peer at once, beyond that burst.
pub const METADATA_COPIES_BURST: u32 = 2;

/// Millionths of a token in a token: one microsecond at rate 1.
const MICRO: i128 = 1_000_000;

/// A limit on bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenBucket {
    level: Level,
}

/// A limit on events a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventBucket {
    level: Level,
}

/// What is in a bucket, in millionths of a token; below zero is debt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Level {
    rate: NonZeroU64,
    burst: NonZeroU64,
    micros: i128,
    at: Moment,
}

impl TokenBucket {
    /// A full bucket: `rate` bytes a second, at most `burst` bytes in one grant.
    ///
    /// Over any stretch of time the grants are at most `rate` × time + 2 × `burst` bytes.
    #[must_use]
    pub const fn new(now: Moment, rate: NonZeroU64, burst: NonZeroU64) -> Self {
        Self { level: Level::full(now, rate, burst) }
    }

    /// Grants `up_to` bytes or a whole burst, whichever is less; 0 while in debt.
    #[must_use]
    pub fn take(&mut self, now: Moment, up_to: u64) -> u64 {
        self.level.refill(now);
        if self.level.micros <= 0 {
            return 0;
        }
        let granted = up_to.min(self.level.burst.get());
        self.level.micros -= i128::from(granted) * MICRO;
        granted
    }

    /// Takes back what was granted and not used.
    pub fn give_back(&mut self, bytes: u64) {
        self.level.micros += i128::from(bytes) * MICRO;
        self.level.cap();
    }

    /// When [`Self::take`] grants something: `now`, or later.
    #[must_use]
    pub fn ready_at(&self, now: Moment) -> Moment {
        self.level.reaches(1).max(now)
    }

    /// Changes the limit. A debt stays.
    pub fn set_rate(&mut self, now: Moment, rate: NonZeroU64, burst: NonZeroU64) {
        self.level.refill(now);
        self.level.rate = rate;
        self.level.burst = burst;
        self.level.cap();
    }
}

impl EventBucket {
    /// A full bucket: `per_second` events, `burst` of them at once. Zero counts as one.
    #[must_use]
    pub fn new(now: Moment, per_second: u32, burst: u32) -> Self {
        let at_least_one = |n: u32| NonZeroU64::new(u64::from(n)).unwrap_or(NonZeroU64::MIN);
        Self { level: Level::full(now, at_least_one(per_second), at_least_one(burst)) }
    }

    /// Counts one event; false when it is one too many, and then it is not counted.
    #[must_use]
    pub fn allow(&mut self, now: Moment) -> bool {
        self.level.refill(now);
        let allowed = self.level.micros >= MICRO;
        if allowed {
            self.level.micros -= MICRO;
        }
        allowed
    }

    /// When [`Self::allow`] allows one more: `now`, or later.
    #[must_use]
    pub fn ready_at(&self, now: Moment) -> Moment {
        self.level.reaches(MICRO).max(now)
    }
}

impl Level {
    const fn full(now: Moment, rate: NonZeroU64, burst: NonZeroU64) -> Self {
        Self { rate, burst, micros: burst.get() as i128 * MICRO, at: now }
    }

    fn refill(&mut self, now: Moment) {
        // Below 2^128: both factors are 64 bits wide, and the level is below 2^84.
        let passed = now.as_micros().saturating_sub(self.at.as_micros());
        let gained = u128::from(passed) * u128::from(self.rate.get());
        self.micros = self.micros.saturating_add(i128::try_from(gained).unwrap_or(i128::MAX));
        self.at = self.at.max(now);
        self.cap();
    }

    fn cap(&mut self) {
        self.micros = self.micros.min(i128::from(self.burst.get()) * MICRO);
    }

    /// When the level is at least `due`, which may be in the past.
    fn reaches(&self, due: i128) -> Moment {
        let missing = u128::try_from(due - self.micros).unwrap_or(0);
        let micros = missing.div_ceil(u128::from(self.rate.get()));
        self.at + Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Moment = Moment::from_micros(7);

    fn nz(n: u64) -> NonZeroU64 {
        NonZeroU64::new(n).unwrap()
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn one_byte_a_second_is_one_byte_a_second() {
        let mut bucket = TokenBucket::new(START, nz(1), nz(1));
        let (mut now, mut granted) = (START, 0);
        while now < START + secs(1000) {
            let got = bucket.take(now, 16 << 10);
            assert!(got > 0, "ready_at was kept and nothing was granted");
            granted += got;
            now = bucket.ready_at(now);
        }
        assert!((1000..=1002).contains(&granted), "{granted} bytes in 1000 s");
    }

    #[test]
    fn a_grant_over_the_rate_is_paid_back_before_the_next() {
        let mut bucket = TokenBucket::new(START, nz(1000), nz(16_384));
        assert_eq!(bucket.take(START, 100_000), 16_384);
        assert_eq!(bucket.take(START, 1), 0);
        let ready = START + Duration::from_micros(1);
        assert_eq!(bucket.ready_at(START), ready);
        assert_eq!(bucket.take(ready, 16_384), 16_384);
        assert!(bucket.ready_at(ready) > ready + secs(16));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_but_never_more_than_a_burst() {
        let mut bucket = TokenBucket::new(START, nz(10), nz(100));
        assert_eq!(bucket.take(START, 100), 100);
        bucket.give_back(60);
        assert_eq!(bucket.take(START, 60), 60);
        bucket.give_back(1_000_000);
        assert_eq!(bucket, TokenBucket::new(START, nz(10), nz(100)));
    }

    #[test]
    fn a_new_rate_holds_at_once_and_keeps_the_debt() {
        let mut bucket = TokenBucket::new(START, nz(10), nz(100));
        assert_eq!(bucket.take(START, 50) + bucket.take(START, 100), 150);
        bucket.set_rate(START, nz(50), nz(100));
        assert_eq!(bucket.ready_at(START), START + secs(1) + Duration::from_micros(1));
    }

    #[test]
    fn events_beyond_the_burst_wait_for_the_rate() {
        let mut bucket = EventBucket::new(START, TOGGLES_PER_SECOND, TOGGLES_BURST);
        let allowed = (0..100).filter(|_| bucket.allow(START)).count();
        assert_eq!(allowed, 50);
        let ready = bucket.ready_at(START);
        assert_eq!(ready, START + Duration::from_millis(100));
        assert!(bucket.allow(ready) && !bucket.allow(ready));
    }

    #[test]
    fn neither_a_clock_at_its_end_nor_one_running_backwards_breaks_a_bucket() {
        let mut bucket = TokenBucket::new(START, nz(u64::MAX), nz(u64::MAX));
        assert_eq!(bucket.take(Moment::NEVER, u64::MAX), u64::MAX);
        assert_eq!(bucket.take(Moment::ZERO, 1), 0);
        let slow = TokenBucket::new(Moment::NEVER, nz(1), nz(1));
        assert_eq!(slow.ready_at(Moment::ZERO), Moment::NEVER);
    }

    proptest! {
        #[test]
        fn the_long_run_rate_is_the_limit_within_one_per_cent(
            rate in 1u64..2_000_000_000,
            burst in 1u64..4_000_000,
            asks in prop::collection::vec(1u64..1_000_000, 1..20),
        ) {
            let mut bucket = TokenBucket::new(START, nz(rate), nz(burst));
            let (mut now, mut granted, mut turns) = (START, 0u64, 0usize);
            // Long enough for the two bursts at its ends to weigh under one per cent.
            while granted < burst.saturating_mul(250).max(250) && turns < 20_000 {
                let got = bucket.take(now, asks[turns % asks.len()]);
                prop_assert!(got > 0);
                granted += got;
                turns += 1;
                now = bucket.ready_at(now);
            }
            let passed = now.since(START).as_secs_f64();
            let over = granted as f64 - passed * rate as f64;
            prop_assert!(over <= 2.0 * burst as f64 + 1.0, "{over} bytes too many");
            if granted >= burst.saturating_mul(250) && passed > 0.01 {
                let found = granted as f64 / passed;
                prop_assert!((found / rate as f64 - 1.0).abs() < 0.01, "{found} where {rate} is due");
            }
        }

        #[test]
        fn events_never_pass_rate_times_time_plus_burst(
            per_second in 1u32..5000,
            burst in 1u32..5000,
            steps in prop::collection::vec(0u64..3_000, 1..3000),
        ) {
            let mut bucket = EventBucket::new(START, per_second, burst);
            let (mut now, mut allowed) = (START, 0u64);
            for step in steps {
                now += Duration::from_micros(step);
                allowed += u64::from(bucket.allow(now));
                let passed = now.since(START).as_micros();
                let bound = passed * u128::from(per_second) / 1_000_000 + u128::from(burst);
                prop_assert!(u128::from(allowed) <= bound);
            }
        }
    }
}
