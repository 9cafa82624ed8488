//! Requests in flight to one peer: how many, how old, when to give up on them.
//!
//! The depth is what the pipe delivers in one round trip and a short stall: enough to keep it
//! full, no more, since what one peer owes no other can send. Every block that comes is a
//! sample of the rate: so many blocks came since it was asked for, in so long. A sample needs
//! no average and is never too low because the peer was idle before, so the depth follows it
//! at once upwards: from the first blocks to a pipe of 10 Gbit/s and 20 ms in three round trips,
//! long before TCP gets there. It shrinks only to the best that the samples of a whole window
//! confirm.
//!
//! The round trip is the shortest time that any block took. At a peer with a queue of its own
//! that is too long, and cannot be told from a long path: [`PATH_MAX`] bounds the mistake.
//!
//! Not here: which blocks (see `picker`).

use crate::types::{BlockRef, Moment};
use std::collections::VecDeque;
use std::time::Duration;

/// Most requests in flight to one peer, whatever it advertises: 10 Gbit/s x 20 ms, and a third.
pub(crate) const DEPTH_MAX: usize = 2048;
/// Requests a peer is asked for before anything is known of it: TCP begins with fewer bytes.
const DEPTH_START: usize = 4;
/// Fewest requests in flight: one on its way, one being answered.
const DEPTH_MIN: usize = 3;
/// Requests to a peer that stopped delivering: enough to notice that it is back.
const DEPTH_SNUBBED: usize = 1;
/// What a peer takes in flight when it does not say (`reqq`).
const REQQ_DEFAULT: usize = 250;
/// Beyond the round trip, a pipe holds what is delivered in this time, or in half a round trip
/// if that is longer: stalls shorter than it cost nothing, and the depth has room to grow by.
const SLACK: Duration = Duration::from_millis(250);
/// Longest round trip that a path has, by satellite; what takes longer waits at the peer.
const PATH_MAX: Duration = Duration::from_millis(600);
/// How long no block may confirm the depth before it shrinks, if the pipe does not hold longer.
const SHRINK_AFTER: Duration = Duration::from_millis(750);
/// A peer that owes blocks and delivers nothing for this long is snubbing us.
pub(crate) const SNUB_AFTER: Duration = Duration::from_secs(20);
/// Bounds on how long a block may take when others wait for nothing but it.
const HURRY_MIN: Duration = Duration::from_secs(1);
const HURRY_MAX: Duration = Duration::from_secs(5);
/// The same when the peer said that it is our turn: its uplink waits for what we ask for.
pub(crate) const SNUB_IN_TURN: Duration = Duration::from_secs(5);

/// What one peer owes us.
#[derive(Debug)]
pub(crate) struct Pipeline {
    owed: VecDeque<Owed>,
    depth: usize,
    reqq: usize,
    patience: Duration,
    /// Gave nothing for as long as our patience lasts, and nothing since.
    snubbed: bool,
    /// Shortest time from a request to its block.
    round_trip: Option<Duration>,
    /// Blocks that came.
    delivered: u64,
    window: Window,
    progress: Moment,
    /// When a whole block came last, or the first was asked for.
    whole: Moment,
    trickles: bool,
    /// Time from a request to its block: mean and mean deviation.
    usual: Option<(Duration, Duration)>,
}

/// A request in flight.
#[derive(Clone, Copy, Debug)]
struct Owed {
    block: BlockRef,
    sent: Moment,
    /// Blocks that had come when it was sent.
    delivered: u64,
}

/// The samples between two decisions to shrink.
#[derive(Clone, Copy, Debug)]
struct Window {
    since: Moment,
    /// The largest depth that one of them asks for.
    best: usize,
}

impl Pipeline {
    pub(crate) fn new(now: Moment) -> Self {
        Self {
            owed: VecDeque::new(),
            depth: DEPTH_START,
            reqq: REQQ_DEFAULT,
            patience: SNUB_AFTER,
            snubbed: false,
            round_trip: None,
            delivered: 0,
            window: Window { since: now, best: 0 },
            progress: now,
            whole: now,
            trickles: false,
            usual: None,
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
            self.whole = now;
        }
        self.owed.push_back(Owed { block, sent: now, delivered: self.delivered });
    }

    /// A block came; false when it was not owed.
    pub(crate) fn answered(&mut self, now: Moment, block: BlockRef) -> bool {
        let Some(owed) = self.remove(block) else { return false };
        self.progress = now;
        self.whole = now;
        self.trickles = false;
        self.delivered += 1;
        if self.snubbed {
            self.snubbed = false;
            self.depth = DEPTH_MIN.min(self.reqq);
        }
        let took = (now - owed.sent).max(Duration::from_micros(1));
        self.learn(took);
        let round_trip = self.round_trip.map_or(took, |shortest| shortest.min(took));
        self.round_trip = Some(round_trip);
        let asked_for = self.depth_for(self.delivered - owed.delivered, took, round_trip);
        self.window.best = self.window.best.max(asked_for);
        self.depth = self.depth.max(asked_for);
        true
    }

    /// A request was cancelled or rejected; false when it was not owed.
    pub(crate) fn withdrawn(&mut self, block: BlockRef) -> bool {
        self.remove(block).is_some()
    }

    /// Everything owed is given up: the peer choked us, or is gone.
    pub(crate) fn take_all(&mut self) -> Vec<BlockRef> {
        self.owed.drain(..).map(|owed| owed.block).collect()
    }

    /// Part of a block came: the peer is delivering.
    pub(crate) fn progressed(&mut self, now: Moment) {
        self.progress = now;
    }

    /// Whether no block came for longer than its blocks usually take, so that somebody with
    /// nothing else to do had better be asked for them.
    pub(crate) fn is_late(&self, now: Moment) -> bool {
        let usual = self.usual.map_or(HURRY_MAX, |(mean, deviation)| mean + 4 * deviation);
        !self.owed.is_empty() && now - self.whole >= usual.clamp(HURRY_MIN, HURRY_MAX)
    }

    /// When the peer is to be taken for snubbing, if it owes anything.
    pub(crate) fn snub_at(&self) -> Option<Moment> {
        (!self.owed.is_empty()).then(|| self.progress + self.patience)
    }

    /// Notices that no whole block has come for [`SNUB_AFTER`], though bytes may have; true when
    /// that is news. What the peer owes is not given up, for a line of a few hundred bytes a second
    /// is no faster; but others may be asked for it.
    pub(crate) fn begins_to_trickle(&mut self, now: Moment) -> bool {
        let trickles = !self.owed.is_empty() && now - self.whole >= SNUB_AFTER;
        trickles && !std::mem::replace(&mut self.trickles, true)
    }

    /// Whether no whole block has come since it began to trickle.
    pub(crate) fn is_trickling(&self) -> bool {
        self.trickles
    }

    /// Marks the peer as snubbing and gives up what it owes.
    pub(crate) fn snub(&mut self) -> Vec<BlockRef> {
        self.snubbed = true;
        self.depth = DEPTH_SNUBBED;
        self.take_all()
    }

    /// Whether it has snubbed us so lately that it is not even tried: what it would be asked for
    /// now others are about to give.
    pub(crate) fn is_disgraced(&self, now: Moment) -> bool {
        self.snubbed && self.owed.is_empty() && now < self.progress + self.patience * 2
    }

    pub(crate) fn is_snubbed(&self) -> bool {
        self.snubbed
    }

    /// Since when it lets us wait; `None` when it does not.
    pub(crate) fn waited_for(&self) -> Option<Moment> {
        self.snubbed.then_some(self.progress)
    }

    /// Shrinks the depth when no block of a whole window asked for as much. To be called
    /// several times a second.
    pub(crate) fn tune(&mut self, now: Moment) {
        let known = self.round_trip.filter(|_| !self.snubbed && !self.owed.is_empty());
        let Some(round_trip) = known else {
            // It was asked for nothing, or has not had the time to answer: no evidence.
            self.window = Window { since: now, best: 0 };
            return;
        };
        if now - self.window.since < SHRINK_AFTER.max(hold(round_trip)) {
            return;
        }
        self.depth = self.depth.min(self.window.best.max(DEPTH_MIN.min(self.reqq)));
        self.window = Window { since: now, best: 0 };
    }

    /// How many more requests fit, in bunches: none until a quarter of the depth is free,
    /// so that requests leave several to a packet.
    pub(crate) fn room(&self) -> usize {
        let room = self.depth.saturating_sub(self.owed.len());
        if room * 4 >= self.depth || self.owed.len() < DEPTH_MIN { room } else { 0 }
    }

    /// How many more requests the peer takes, whatever its rate.
    pub(crate) fn space(&self) -> usize {
        self.reqq.saturating_sub(self.owed.len())
    }

    /// Sets after what time without a byte the peer is snubbing us.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    pub(crate) fn owed(&self) -> usize {
        self.owed.len()
    }

    pub(crate) fn owed_blocks(&self) -> impl Iterator<Item = BlockRef> + '_ {
        self.owed.iter().map(|owed| owed.block)
    }

    /// The depth of a pipe that delivers so many blocks in so long.
    fn depth_for(&self, blocks: u64, took: Duration, round_trip: Duration) -> usize {
        let held = u128::from(blocks).saturating_mul(hold(round_trip).as_micros());
        let depth = usize::try_from(held.div_ceil(took.as_micros().max(1))).unwrap_or(DEPTH_MAX);
        depth.clamp(DEPTH_MIN, DEPTH_MAX).min(self.reqq)
    }

    /// As TCP estimates its round trip (RFC 6298).
    fn learn(&mut self, took: Duration) {
        let (mean, deviation) = self.usual.unwrap_or((took, took / 2));
        let off = mean.abs_diff(took);
        self.usual = Some(((mean * 7 + took) / 8, (deviation * 3 + off) / 4));
    }

    fn remove(&mut self, block: BlockRef) -> Option<Owed> {
        // Peers answer in order, so the search almost always ends at the front.
        let at = self.owed.iter().position(|owed| owed.block == block)?;
        self.owed.remove(at)
    }
}

/// How long a request may be on its way when the pipe is as full as it is to be.
fn hold(round_trip: Duration) -> Duration {
    let path = round_trip.min(PATH_MAX);
    path + SLACK.max(path / 2)
}

#[cfg(test)]
mod tests;
