//! Whose turn it is: a few lanes, and a queue ordered by need.
//!
//! A piece can be passed on only when it is whole, so few uploads at the full rate beat many
//! thin ones (FLEET table A). A peer needs a lane to be served. Lanes change hands at the ends
//! of pieces, and only while somebody waits: as many peers as there are lanes never notice them.
//!
//! A turn is either of requests that came, or *offered*: a mate (`wire::mate`) that lacks
//! something we have is told to ask for so much. When all but the last of a turn has left, the
//! next begins, early enough that an offer is answered before the uplink runs dry: how long that
//! takes is measured.
//!
//! While we fetch a free lane goes to the peer that lacks most of what we have. To serve the most
//! deprived neighbour first spreads the pieces at the rate of all uplinks together (Massoulie and
//! others, INFOCOM 2007), and nobody is left behind. A seed has everything for everybody, and serves
//! who was served least; there a newcomer begins level with the peer served last, not at zero,
//! so that it shares the uplink and does not seize it.
//!
//! Who only takes ([`Rank::Taker`]) comes after everybody else, and has one lane at most. So nothing
//! is gained for long by hiding what one has, or by keeping it.
//! Strangers that a seed leads come before those and after all others ([`Rank::Unproven`]) as long as
//! they have not passed anything on and enough lies with others like them.
//!
//! Strangers (not mates) passed the choker before they come here. One turn in [`STRANGER_TURN`]
//! is theirs whatever their order, so that none of them starves and the choker's optimistic slot
//! means something.
//!
//! Where the peers' downlinks and not our uplink are the narrow place, two lanes are too few.
//! Now and then a wider setting is tried for a second, and kept if more leaves (see `width`).
//!
//! Not here: who may ask at all (the choker), how far a lane reads ahead (see `peer::serving`),
//! the messages (see `proto::torrent`).

use super::width::Width;
use crate::proto::PeerKey;
use crate::types::{BLOCK_SIZE, Moment, PieceIndex, Span};
use std::collections::BTreeSet;
use std::time::Duration;

/// Peers served at a time while others wait and the uplink is the narrow place.
pub const LANES: usize = 2;
/// While strangers wait, one turn in so many is theirs: the share of one optimistic slot in
/// eight.
pub const STRANGER_TURN: u32 = 8;
/// Bounds of a turn's least length, bytes; then the piece at hand is finished.
const QUANTUM_MIN: u64 = 64 * 1024;
const QUANTUM_MAX: u64 = 1024 * 1024;
/// Longest turn that is offered where the way to the peers is long, bytes.
const OFFER_MAX: u64 = 16 * 1024 * 1024;
/// A turn is at least what the uplink sends in a thirtieth of a second.
const QUANTA_PER_SECOND: u64 = 30;
/// How long an offer takes to be answered, before any was; and the longest that is believed.
const ANSWER_FIRST: Duration = Duration::from_millis(50);
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// An offer that is not answered after this time is void.
const OFFER_VOID: Duration = Duration::from_secs(2);

/// Who holds a lane and who waits for one. One per torrent.
#[derive(Debug)]
pub(crate) struct Lanes {
    turns: Vec<Turn>,
    width: Width,
    waiting: BTreeSet<PeerKey>,
    /// Bytes a second that leave.
    rate: u64,
    piece_length: u64,
    /// How long offers take to be answered.
    answer: Duration,
    /// Order of the peer whose turn began last, when it began.
    level: i64,
    /// Turns since a stranger had one.
    since_stranger: u32,
}

#[derive(Debug)]
struct Turn {
    peer: PeerKey,
    rank: Rank,
    piece: Option<PieceIndex>,
    /// Bytes after which it is over.
    quantum: u64,
    handed: u64,
    /// The next of what was asked for is beyond it.
    spent: bool,
    /// Bytes that were offered and not asked for yet, and since when.
    offered: u64,
    offered_at: Option<Moment>,
    stage: Stage,
}

/// How far a turn is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// Its end is near: it takes up no lane any more.
    Closing,
}

/// A peer that would take a turn, as far as the order is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) kind: Kin,
    pub(crate) rank: Rank,
    /// Among equals the smaller is served first: a debt in bytes, or how little there is for it.
    pub(crate) order: i64,
}

/// What a peer is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kin {
    Mate,
    Stranger,
}

/// What a peer has done for us. In the order in which they are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// It gives, or we do not know yet.
    Giver,
    /// A stranger that a seed leads, and that has not passed on a piece yet.
    Unproven,
    /// It has taken much and given next to nothing.
    Taker,
}

impl Lanes {
    pub(crate) fn new() -> Self {
        Self {
            turns: Vec::with_capacity(LANES),
            width: Width::new(LANES),
            waiting: BTreeSet::new(),
            rate: 0,
            piece_length: 0,
            answer: ANSWER_FIRST,
            level: i64::MIN,
            since_stranger: 0,
        }
    }

    /// Sets the length of turns: the bytes a second that leave, and of a piece.
    pub(crate) fn tune(&mut self, rate: u64, piece_length: u32) {
        self.rate = rate;
        self.piece_length = u64::from(piece_length);
    }

    /// Looks whether more or fewer lanes would do; `sent` bytes have left since the beginning.
    pub(crate) fn widen(&mut self, now: Moment, sent: u64) {
        let contested = self.is_contested();
        self.width.look(now, sent, contested);
    }

    /// A peer has requests: it waits, unless it has or gets a lane; true when it has one.
    pub(crate) fn ask(&mut self, now: Moment, peer: PeerKey, length: u32) -> bool {
        let block = if length > 0 { self.block() } else { 0 };
        if let Some(turn) = self.turns.iter_mut().find(|turn| turn.peer == peer) {
            turn.offered = turn.offered.saturating_sub(block);
            if let Some(at) = turn.offered_at.take() {
                self.answer = (self.answer * 7 + now.since(at).min(ANSWER_MAX)) / 8;
            }
            return true;
        }
        if self.running() < self.width.lanes() && self.waiting.is_empty() {
            self.begin(peer, Rank::Giver);
            return true;
        }
        self.waiting.insert(peer);
        false
    }

    /// Says whether a peer would take a turn.
    pub(crate) fn want(&mut self, peer: PeerKey, wants: bool) {
        let running = |turn: &Turn| turn.peer == peer && turn.stage == Stage::Running;
        if !wants {
            self.waiting.remove(&peer);
        } else if !self.turns.iter().any(running) {
            self.waiting.insert(peer);
        }
    }

    pub(crate) fn holds(&self, peer: PeerKey) -> bool {
        self.turns.iter().any(|turn| turn.peer == peer)
    }

    /// Whether a peer has a lane or waits for one.
    pub(crate) fn knows(&self, peer: PeerKey) -> bool {
        self.holds(peer) || self.waiting.contains(&peer)
    }

    /// Whether anybody waits.
    pub(crate) fn is_contested(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether a peer's turn reaches as far as this block; if so the block counts as handed out.
    pub(crate) fn take(&mut self, peer: PeerKey, span: Span) -> bool {
        let contested = self.is_contested();
        let piece_length = self.piece_length;
        let Some(turn) = self.turns.iter_mut().find(|turn| turn.peer == peer) else { return false };
        let new_piece = turn.piece.is_some_and(|piece| piece != span.piece);
        let most = turn.quantum + piece_length;
        let over = turn.handed >= most || (turn.handed >= turn.quantum && new_piece);
        turn.spent = over && contested;
        if turn.spent {
            return false;
        }
        if over {
            turn.handed = 0;
        }
        turn.piece = Some(span.piece);
        turn.handed += u64::from(span.length);
        true
    }

    /// What a peer may still have under way when its lane passes on, bytes: as much as leaves
    /// while an offer to the next is answered.
    fn overlap(&self) -> u64 {
        let lanes = u64::try_from(self.width.lanes()).unwrap_or(u64::MAX);
        (self.leaves_in(self.answer * 2) / lanes).clamp(QUANTUM_MIN / 2, OFFER_MAX / 2)
    }

    /// Bytes that leave in a time.
    fn leaves_in(&self, time: Duration) -> u64 {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.rate.saturating_mul(micros) / 1_000_000
    }

    /// Least length of a turn, bytes.
    fn quantum(&self) -> u64 {
        let quantum = (self.rate / QUANTA_PER_SECOND).clamp(QUANTUM_MIN, QUANTUM_MAX);
        quantum.max(self.overlap() * 2)
    }

    /// Blocks to offer for a turn: whole pieces, unless those are long.
    fn offer_blocks(&self) -> u32 {
        let piece = self.piece_length.max(1);
        let quantum = self.quantum();
        let bytes = if piece <= QUANTUM_MAX { quantum.div_ceil(piece) * piece } else { quantum };
        u32::try_from(bytes.div_ceil(self.block())).unwrap_or(u32::MAX)
    }

    /// What a block that was offered counts, however short the one is that is asked for.
    fn block(&self) -> u64 {
        match self.piece_length {
            0 => u64::from(BLOCK_SIZE),
            piece => piece.min(u64::from(BLOCK_SIZE)),
        }
    }

    /// A peer has its turn and nothing to ask for so far: how many blocks it is offered.
    pub(crate) fn offer(&mut self, now: Moment, peer: PeerKey) -> u32 {
        let (blocks, quantum) = (self.offer_blocks(), self.quantum());
        let bytes = u64::from(blocks) * self.block();
        if let Some(turn) = self.turns.iter_mut().find(|turn| turn.peer == peer) {
            turn.offered += bytes;
            turn.quantum += bytes.saturating_sub(quantum);
            turn.offered_at = Some(now);
        }
        blocks
    }

    /// A peer will not ask for more of what it was offered.
    pub(crate) fn passed(&mut self, peer: PeerKey) {
        if let Some(turn) = self.turns.iter_mut().find(|turn| turn.peer == peer) {
            turn.offered = 0;
        }
    }

    /// Peers that have not answered an offer, which is void now.
    pub(crate) fn expire(&mut self, now: Moment) -> Vec<PeerKey> {
        let mut silent = Vec::new();
        for turn in self.turns.iter_mut().filter(|turn| turn.offered > 0) {
            if now.since(*turn.offered_at.get_or_insert(now)) >= OFFER_VOID {
                turn.offered = 0;
                silent.push(turn.peer);
            }
        }
        silent
    }

    /// Ends a peer's turn when it is over; `queued` bytes wait and `sending` are leaving, and it
    /// `wants` another turn.
    pub(crate) fn settle(&mut self, peer: PeerKey, (queued, sending): (u64, u64), wants: bool) {
        let (overlap, contested) = (self.overlap(), self.is_contested());
        let Some(at) = self.turns.iter().position(|turn| turn.peer == peer) else { return };
        let Some(turn) = self.turns.get_mut(at) else { return };
        let rest = (turn.quantum + self.piece_length).saturating_sub(turn.handed);
        let due = match contested {
            true if turn.spent => 0,
            true => queued.min(rest),
            false => queued,
        };
        let left = turn.offered + due + sending;
        if left == 0 {
            self.turns.swap_remove(at);
        } else if contested && left <= overlap {
            turn.stage = Stage::Closing;
        } else {
            return;
        }
        self.want(peer, wants);
    }

    /// The peer is gone.
    pub(crate) fn forget(&mut self, peer: PeerKey) {
        self.turns.retain(|turn| turn.peer != peer);
        self.waiting.remove(&peer);
    }

    /// Whether a lane is free that somebody waits for.
    pub(crate) fn has_room(&self) -> bool {
        self.running() < self.width.lanes() && !self.waiting.is_empty()
    }

    /// Gives a free lane to whom it belongs. Peers without a claim wait no longer.
    pub(crate) fn next(&mut self, claim: impl Fn(PeerKey) -> Option<Claim>) -> Option<PeerKey> {
        if self.running() >= self.width.lanes() {
            return None;
        }
        let mut claims: Vec<(Claim, PeerKey)> = Vec::with_capacity(self.waiting.len());
        self.waiting.retain(|peer| {
            let claim = claim(*peer);
            claims.extend(claim.map(|claim| (claim, *peer)));
            claim.is_some()
        });
        if self.turns.iter().any(|turn| turn.rank == Rank::Taker) {
            claims.retain(|(claim, _)| claim.rank != Rank::Taker);
        }
        let least = |kind: Option<Kin>| {
            let of_kind = |(claim, _): &&(Claim, PeerKey)| kind.is_none_or(|k| k == claim.kind);
            let order = |(claim, peer): &&(Claim, PeerKey)| (claim.rank, claim.order, *peer);
            claims.iter().filter(of_kind).min_by_key(order).copied()
        };
        let due = self.since_stranger + 1 >= STRANGER_TURN;
        let guaranteed = if due { least(Some(Kin::Stranger)) } else { None };
        let (claim, peer) = guaranteed.or_else(|| least(None))?;
        self.since_stranger = match claim.kind {
            Kin::Stranger => 0,
            Kin::Mate => self.since_stranger.saturating_add(1),
        };
        if guaranteed.is_none() {
            self.level = claim.order;
        }
        self.waiting.remove(&peer);
        self.begin(peer, claim.rank);
        Some(peer)
    }

    /// The least debt with which a peer of a seed joins those who wait.
    pub(crate) fn floor(&self) -> i64 {
        self.level
    }

    /// Debts begin anew.
    pub(crate) fn level_out(&mut self) {
        self.level = i64::MIN;
    }

    fn running(&self) -> usize {
        self.turns.iter().filter(|turn| turn.stage == Stage::Running).count()
    }

    /// Begins a turn, or goes on with one whose end was near.
    fn begin(&mut self, peer: PeerKey, rank: Rank) {
        let quantum = self.quantum();
        if let Some(turn) = self.turns.iter_mut().find(|turn| turn.peer == peer) {
            turn.quantum = turn.quantum.max(turn.handed) + quantum;
            turn.spent = false;
            turn.stage = Stage::Running;
            return;
        }
        self.turns.push(Turn {
            peer,
            rank,
            piece: None,
            quantum,
            handed: 0,
            spent: false,
            offered: 0,
            offered_at: None,
            stage: Stage::Running,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u32 = 256 * 1024;

    fn key(number: u32) -> PeerKey {
        PeerKey(number)
    }

    fn span(piece: u32) -> Span {
        Span { piece: PieceIndex::new(piece), begin: 0, length: 16_384 }
    }

    fn lanes() -> Lanes {
        let mut lanes = Lanes::new();
        lanes.tune(0, PIECE);
        lanes
    }

    fn mate(debt: i64) -> Option<Claim> {
        Some(Claim { kind: Kin::Mate, rank: Rank::Giver, order: debt })
    }

    /// Peers 0 and 1 hold the lanes.
    fn full() -> Lanes {
        let mut lanes = lanes();
        for number in [0, 1] {
            assert!(lanes.ask(Moment::ZERO, key(number), 0));
        }
        lanes
    }

    #[test]
    fn as_many_as_there_are_lanes_are_never_interrupted() {
        let mut lanes = full();
        for index in 0..100_000 {
            assert!(lanes.take(key(index % 2), span(index)));
        }
    }

    #[test]
    fn who_comes_later_waits_for_the_end_of_a_piece() {
        let mut lanes = full();
        assert!(lanes.take(key(0), span(7)));
        assert!(!lanes.ask(Moment::ZERO, key(3), 0));
        for _ in 1..16 {
            assert!(lanes.take(key(0), span(7)), "the piece is finished");
        }
        assert!(!lanes.take(key(0), span(8)), "another is not begun");
        lanes.settle(key(0), (0, 0), true);
        assert_eq!(lanes.next(|peer| mate(i64::from(peer.0 == 0))), Some(key(3)));
        assert!(lanes.knows(key(0)) && !lanes.holds(key(0)));
    }

    #[test]
    fn a_turn_of_small_pieces_is_some_of_them_and_a_repeated_piece_ends_too() {
        let mut lanes = full();
        lanes.tune(0, 16_384);
        lanes.ask(Moment::ZERO, key(3), 0);
        let taken = (0..100).take_while(|piece| lanes.take(key(0), span(*piece))).count();
        assert_eq!(taken, 4, "64 KiB");
        let taken = (0..100).take_while(|_| lanes.take(key(1), span(1))).count();
        assert_eq!(taken, 5, "a quantum and a piece, however often it is asked for");
    }

    #[test]
    fn the_smallest_debt_is_served_first_and_who_asks_no_more_is_dropped() {
        let mut lanes = full();
        for number in 3..7 {
            lanes.ask(Moment::ZERO, key(number), 0);
        }
        let debts = |peer: PeerKey| match peer.0 {
            3 => mate(5),
            4 => mate(-7),
            5 => None,
            _ => mate(0),
        };
        assert_eq!(lanes.next(debts), None, "no lane is free");
        for number in [0, 1] {
            lanes.settle(key(number), (0, 0), false);
        }
        let first = [lanes.next(debts), lanes.next(debts)];
        lanes.settle(key(4), (0, 0), false);
        let order = [first[0], first[1], lanes.next(debts)];
        assert_eq!(order, [Some(key(4)), Some(key(6)), Some(key(3))]);
        assert!(!lanes.knows(key(5)));
    }

    #[test]
    fn a_stranger_with_any_debt_has_one_turn_in_eight() {
        let mut lanes = full();
        lanes.ask(Moment::ZERO, key(10), 0);
        lanes.ask(Moment::ZERO, key(11), 0);
        let claim = |peer: PeerKey| {
            let kind = if peer.0 == 11 { Kin::Stranger } else { Kin::Mate };
            Some(Claim { kind, rank: Rank::Giver, order: if peer.0 == 11 { i64::MAX } else { 0 } })
        };
        let mut served = Vec::new();
        lanes.settle(key(0), (0, 0), false);
        for _ in 0..64 {
            let next = lanes.next(claim).unwrap();
            served.push(next);
            lanes.settle(next, (0, 0), true);
        }
        assert_eq!(served.iter().filter(|peer| **peer == key(11)).count(), 8);
    }

    #[test]
    fn who_is_gone_holds_nothing() {
        let mut lanes = full();
        lanes.ask(Moment::ZERO, key(3), 0);
        lanes.forget(key(3));
        lanes.forget(key(1));
        assert!(!lanes.is_contested() && !lanes.has_room());
        assert!(lanes.ask(Moment::ZERO, key(4), 0));
    }

    #[test]
    fn turns_lengthen_with_the_rate_within_bounds() {
        let mut lanes = lanes();
        assert_eq!((lanes.quantum(), lanes.offer_blocks()), (QUANTUM_MIN, 16), "a whole piece");
        lanes.tune(u64::MAX, PIECE);
        assert_eq!(lanes.quantum(), OFFER_MAX);
        lanes.tune(0, 4 << 20);
        assert_eq!(lanes.offer_blocks(), 4, "of a long piece a part");
    }

    #[test]
    fn an_offer_holds_a_lane_until_it_is_passed_asked_for_and_sent_or_void() {
        let at = |millis| Moment::ZERO + Duration::from_millis(millis);
        let mut lanes = lanes();
        lanes.want(key(1), true);
        assert_eq!(lanes.next(|_| mate(0)), Some(key(1)));
        assert_eq!(lanes.offer(at(0), key(1)), 16);
        lanes.settle(key(1), (0, 0), false);
        assert!(lanes.holds(key(1)), "the answer is on its way");
        lanes.passed(key(1));
        lanes.settle(key(1), (0, 0), false);
        assert!(!lanes.holds(key(1)));
        lanes.want(key(1), true);
        lanes.next(|_| mate(0));
        lanes.offer(at(0), key(1));
        assert_eq!(lanes.expire(at(1999)), []);
        assert_eq!(lanes.expire(at(2000)), [key(1)]);
        lanes.settle(key(1), (0, 0), false);
        assert!(!lanes.knows(key(1)));
    }

    #[test]
    fn the_next_turn_begins_while_the_last_of_one_is_under_way() {
        let mut lanes = full();
        lanes.want(key(3), true);
        lanes.settle(key(0), (0, 33 * 1024), false);
        assert!(!lanes.has_room());
        lanes.settle(key(0), (0, 32 * 1024), true);
        assert!(lanes.has_room() && lanes.holds(key(0)));
        let order = |peer: PeerKey| mate(i64::from(peer.0));
        assert_eq!(lanes.next(order), Some(key(0)), "it may go on with another");
        assert!(!lanes.has_room());
    }

    #[test]
    fn how_long_answers_take_is_followed_and_never_believed_beyond_a_second() {
        let mut lanes = lanes();
        lanes.tune(2_500_000, PIECE);
        let before = lanes.overlap();
        for turn in 0..100 {
            lanes.want(key(1), true);
            lanes.next(|_| mate(0));
            lanes.offer(Moment::ZERO, key(1));
            lanes.ask(Moment::ZERO + Duration::from_secs(30), key(1), 16_384);
            lanes.passed(key(1));
            lanes.settle(key(1), (0, 0), false);
            assert!(lanes.overlap() >= before, "turn {turn}");
        }
        assert!(lanes.answer <= ANSWER_MAX && lanes.overlap() > 1_600_000);
    }

    #[test]
    fn who_only_takes_comes_last_and_has_one_lane() {
        let mut lanes = lanes();
        let taker = |peer: PeerKey| {
            let rank = if peer.0 < 10 { Rank::Taker } else { Rank::Giver };
            Some(Claim { kind: Kin::Mate, rank, order: i64::from(peer.0) })
        };
        for number in [1, 2, 11] {
            lanes.want(key(number), true);
        }
        assert_eq!(lanes.next(taker), Some(key(11)));
        assert_eq!(lanes.next(taker), Some(key(1)));
        assert_eq!(lanes.next(taker), None, "a lane is free, but not for another of them");
        lanes.settle(key(1), (0, 0), false);
        assert_eq!(lanes.next(taker), Some(key(2)));
    }
}
