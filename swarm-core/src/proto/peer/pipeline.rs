//! Requests in flight to one peer: how many, how old, when to give up on them.
//!
//! The depth follows rate and round trip: enough to fill the pipe and ride out a short
//! stall, no more, since what one peer owes no other can send. It starts small, doubles
//! each round trip while the rate still grows, grows at once and shrinks only when three
//! looks in a row agree.
//!
//! Not here: which blocks (see `picker`).

use crate::types::{BLOCK_SIZE, BlockRef, Moment};
use std::collections::VecDeque;
use std::time::Duration;

/// Most requests in flight to one peer, whatever it advertises.
pub(crate) const DEPTH_MAX: usize = 2048;
/// Requests a peer is asked for before anything is known of it.
const DEPTH_START: usize = 16;
/// Fewest requests in flight: one on its way, one being answered.
const DEPTH_MIN: usize = 3;
/// Requests to a peer that stopped delivering: enough to notice that it is back.
const DEPTH_SNUBBED: usize = 1;
/// What a peer takes in flight when it does not say (`reqq`).
const REQQ_DEFAULT: usize = 250;
/// Beyond two round trips, a pipe holds what is delivered in this time.
const SLACK: Duration = Duration::from_millis(250);
/// Looks that must agree before the depth shrinks.
const SHRINK_VOTES: u8 = 3;
/// A peer that owes blocks and delivers nothing for this long is snubbing us.
pub(crate) const SNUB_AFTER: Duration = Duration::from_secs(20);

/// What one peer owes us.
#[derive(Debug)]
pub(crate) struct Pipeline {
    owed: VecDeque<(BlockRef, Moment)>,
    depth: usize,
    reqq: usize,
    growth: Growth,
    round_trip: Duration,
    progress: Moment,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growth {
    /// Doubling every round trip.
    Start,
    /// Following the rate; so many looks in a row wanted less.
    Steady { shrink_votes: u8 },
    /// Gave nothing for [`SNUB_AFTER`].
    Snubbed,
}

impl Pipeline {
    pub(crate) fn new(now: Moment) -> Self {
        Self {
            owed: VecDeque::new(),
            depth: DEPTH_START,
            reqq: REQQ_DEFAULT,
            growth: Growth::Start,
            round_trip: Duration::MAX,
            progress: now,
        }
    }

    /// The peer's own bound on requests in flight, from its extension handshake.
    pub(crate) fn set_reqq(&mut self, reqq: usize) {
        self.reqq = reqq.clamp(1, DEPTH_MAX);
        self.depth = self.depth.min(self.reqq);
    }

    pub(crate) fn requested(&mut self, now: Moment, block: BlockRef) {
        if self.owed.is_empty() {
            self.progress = now;
        }
        self.owed.push_back((block, now));
    }

    /// A block came; false when it was not owed.
    pub(crate) fn answered(&mut self, now: Moment, block: BlockRef) -> bool {
        let Some(sent) = self.remove(block) else { return false };
        self.progress = now;
        self.round_trip = self.round_trip.min(now - sent);
        match &mut self.growth {
            Growth::Start => self.depth = (self.depth + 1).min(self.reqq),
            Growth::Steady { .. } => {}
            Growth::Snubbed => {
                self.growth = Growth::Start;
                self.depth = DEPTH_MIN.min(self.reqq);
            }
        }
        true
    }

    /// A request was cancelled or rejected; false when it was not owed.
    pub(crate) fn withdrawn(&mut self, block: BlockRef) -> bool {
        self.remove(block).is_some()
    }

    /// Everything owed is given up: the peer choked us, or is gone.
    pub(crate) fn take_all(&mut self) -> Vec<BlockRef> {
        self.owed.drain(..).map(|(block, _)| block).collect()
    }

    /// Part of a block came: the peer is delivering.
    pub(crate) fn progressed(&mut self, now: Moment) {
        self.progress = now;
    }

    /// When the peer is to be taken for snubbing, if it owes anything.
    pub(crate) fn snub_at(&self) -> Option<Moment> {
        (!self.owed.is_empty()).then(|| self.progress + SNUB_AFTER)
    }

    /// Marks the peer as snubbing and gives up what it owes.
    pub(crate) fn snub(&mut self) -> Vec<BlockRef> {
        self.growth = Growth::Snubbed;
        self.depth = DEPTH_SNUBBED;
        self.take_all()
    }

    pub(crate) fn is_snubbed(&self) -> bool {
        self.growth == Growth::Snubbed
    }

    /// Looks at the measured rate (bytes a second) and sets the depth by it.
    pub(crate) fn tune(&mut self, rate: u64) {
        if self.owed.is_empty() || self.round_trip == Duration::MAX {
            return;
        }
        let target = self.target(rate);
        match &mut self.growth {
            Growth::Snubbed => {}
            Growth::Start if self.depth < target * 2 => {}
            Growth::Start => self.growth = Growth::Steady { shrink_votes: 0 },
            Growth::Steady { shrink_votes } if target >= self.depth => {
                *shrink_votes = 0;
                self.depth = target;
            }
            Growth::Steady { shrink_votes } => {
                *shrink_votes += 1;
                if *shrink_votes >= SHRINK_VOTES {
                    *shrink_votes = 0;
                    self.depth = target;
                }
            }
        }
    }

    /// How many more requests fit, in bunches: none until a quarter of the depth is free,
    /// so that requests leave several to a packet.
    pub(crate) fn room(&self) -> usize {
        let room = self.depth.saturating_sub(self.owed.len());
        if room * 4 >= self.depth || self.owed.len() < DEPTH_MIN { room } else { 0 }
    }

    pub(crate) fn owed(&self) -> usize {
        self.owed.len()
    }

    pub(crate) fn owed_blocks(&self) -> impl Iterator<Item = BlockRef> + '_ {
        self.owed.iter().map(|(block, _)| *block)
    }

    fn target(&self, rate: u64) -> usize {
        let hold = self.round_trip.saturating_mul(2).saturating_add(SLACK).as_micros();
        let bytes = u128::from(rate).saturating_mul(hold) / 1_000_000;
        let blocks = usize::try_from(bytes / u128::from(BLOCK_SIZE)).unwrap_or(DEPTH_MAX);
        blocks.clamp(DEPTH_MIN, DEPTH_MAX).min(self.reqq)
    }

    fn remove(&mut self, block: BlockRef) -> Option<Moment> {
        // Peers answer in order, so the search almost always ends at the front.
        let at = self.owed.iter().position(|(owed, _)| *owed == block)?;
        self.owed.remove(at).map(|(_, sent)| sent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{BlockIndex, PieceIndex};

    fn block(index: u32) -> BlockRef {
        BlockRef { piece: PieceIndex::new(0), block: BlockIndex::new(index) }
    }

    fn at(millis: u64) -> Moment {
        Moment::from_micros(millis * 1000)
    }

    /// Runs a peer of fixed rate and round trip until the depth settles.
    fn settle(rate: u64, round_trip_ms: u64, reqq: usize) -> usize {
        let mut pipeline = Pipeline::new(at(0));
        pipeline.set_reqq(reqq);
        let mut next = 0;
        for turn in 0..200u64 {
            while pipeline.owed() < pipeline.depth {
                pipeline.requested(at(turn * round_trip_ms), block(next));
                next += 1;
            }
            let by_rate = rate * round_trip_ms / 1000 / u64::from(BLOCK_SIZE);
            let answers = pipeline.owed().min(usize::try_from(by_rate.max(1)).unwrap());
            for _ in 0..answers {
                let (front, _) = pipeline.owed[0];
                assert!(pipeline.answered(at((turn + 1) * round_trip_ms), front));
            }
            let got = u64::try_from(answers).unwrap() * u64::from(BLOCK_SIZE);
            pipeline.requested(at((turn + 1) * round_trip_ms), block(next));
            next += 1;
            pipeline.tune(got * 1000 / round_trip_ms);
        }
        pipeline.depth
    }

    #[test]
    fn a_long_fat_pipe_is_filled() {
        // 10 Gbit/s x 20 ms holds 1,526 blocks.
        assert!(settle(1_250_000_000, 20, 4096) >= 1526);
        // 1 Gbit/s x 100 ms holds 763.
        assert!(settle(125_000_000, 100, 4096) >= 763);
    }

    #[test]
    fn a_slow_peer_is_asked_for_little() {
        assert!(settle(20_000, 1000, 4096) <= 4);
    }

    #[test]
    fn the_peers_own_bound_and_ours_are_kept() {
        assert_eq!(settle(1_250_000_000, 20, 100), 100);
        assert!(settle(u64::MAX / 1_000_000, 1000, usize::MAX) <= DEPTH_MAX);
    }

    #[test]
    fn a_block_that_is_not_owed_is_told_apart() {
        let mut pipeline = Pipeline::new(at(0));
        pipeline.requested(at(0), block(1));
        assert!(!pipeline.answered(at(1), block(2)));
        assert!(pipeline.answered(at(1), block(1)));
        assert!(!pipeline.answered(at(1), block(1)));
    }

    #[test]
    fn a_snubbing_peer_loses_what_it_owes_and_gets_one_request_until_it_delivers() {
        let mut pipeline = Pipeline::new(at(0));
        for index in 0..8 {
            pipeline.requested(at(0), block(index));
        }
        assert_eq!(pipeline.snub_at(), Some(at(20_000)));
        assert_eq!(pipeline.snub().len(), 8);
        assert_eq!((pipeline.room(), pipeline.snub_at()), (1, None));
        pipeline.requested(at(20_000), block(9));
        assert!(pipeline.answered(at(21_000), block(9)));
        assert!(!pipeline.is_snubbed());
        assert!(pipeline.room() > 1);
    }
}
