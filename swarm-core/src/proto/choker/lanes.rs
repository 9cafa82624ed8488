//! Whose requests are served now: a few lanes, and a queue ordered by debt.
//!
//! A piece can be passed on only when it is whole, so few uploads at the full rate beat many
//! thin ones (FLEET table A). A peer needs a lane to be served. Lanes change hands at the ends
//! of pieces, once most of what was handed out has left, and only while somebody waits: as
//! many peers as there are lanes never notice them.
//!
//! A free lane goes to the peer with the smallest *debt*: what it was given less what it gave
//! us. So who gives is served before who takes, without rates, trust or rounds: a peer that
//! only takes is served when nobody honest waits. A seed gets nothing back, and serves who was
//! served least; there a newcomer begins level with the peer served last, not at zero, so
//! that it shares the uplink and does not seize it.
//!
//! Strangers (not mates, see `wire::mate`) passed the choker before they come here. One turn
//! in [`STRANGER_TURN`] is theirs whatever their debt, so that none of them starves and the
//! choker's optimistic slot means something.
//!
//! Where the peers' downlinks and not our uplink are the narrow place, three lanes are too few.
//! Now and then a wider setting is tried for a second, and kept if more leaves (see `width`).
//!
//! Not here: who may ask at all (the choker), how far a lane reads ahead (see `peer::serving`).

use super::width::Width;
use crate::proto::PeerKey;
use crate::types::{Moment, PieceIndex, Span};
use std::collections::BTreeSet;

/// Peers served at a time while others wait and the uplink is the narrow place.
pub const LANES: usize = 3;
/// While strangers wait, one turn in so many is theirs: the share of one optimistic slot in
/// eight.
pub const STRANGER_TURN: u32 = 8;
/// Bounds of a turn's least length, bytes; then the piece at hand is finished.
const QUANTUM_MIN: u64 = 64 * 1024;
const QUANTUM_MAX: u64 = 1024 * 1024;
/// A turn is at least what the uplink sends in a thirtieth of a second.
const QUANTA_PER_SECOND: u64 = 30;

/// Who holds a lane and who waits for one. One per torrent.
#[derive(Debug)]
pub(crate) struct Lanes {
    turns: Vec<Turn>,
    width: Width,
    waiting: BTreeSet<PeerKey>,
    quantum: u64,
    piece_length: u64,
    /// Debt of the peer whose turn began last, when it began.
    level: i64,
    /// Turns since a stranger had one.
    since_stranger: u32,
}

#[derive(Debug)]
struct Turn {
    peer: PeerKey,
    piece: Option<PieceIndex>,
    handed: u64,
}

/// A peer with requests that wait, as far as the order is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) kind: Kin,
    /// Bytes given to it less bytes it gave.
    pub(crate) debt: i64,
}

/// What a peer is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kin {
    Mate,
    Stranger,
}

impl Lanes {
    pub(crate) fn new() -> Self {
        Self {
            turns: Vec::with_capacity(LANES),
            width: Width::new(LANES),
            waiting: BTreeSet::new(),
            quantum: QUANTUM_MIN,
            piece_length: 0,
            level: i64::MIN,
            since_stranger: 0,
        }
    }

    /// Sets the length of turns: the bytes a second that leave, and of a piece.
    pub(crate) fn tune(&mut self, rate: u64, piece_length: u32) {
        self.quantum = (rate / QUANTA_PER_SECOND).clamp(QUANTUM_MIN, QUANTUM_MAX);
        self.piece_length = u64::from(piece_length);
    }

    /// Looks whether more or fewer lanes would do; `sent` bytes have left since the beginning.
    pub(crate) fn widen(&mut self, now: Moment, sent: u64) {
        let contested = self.is_contested();
        self.width.look(now, sent, contested);
    }

    /// A peer has requests: it waits, unless it has or gets a lane; true when it has one.
    pub(crate) fn ask(&mut self, peer: PeerKey) -> bool {
        if self.holds(peer) {
            return true;
        }
        if self.turns.len() < self.width.lanes() && self.waiting.is_empty() {
            self.begin(peer);
            return true;
        }
        self.waiting.insert(peer);
        false
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
        let (quantum, most) = (self.quantum, self.quantum + self.piece_length);
        let Some(turn) = self.turns.iter_mut().find(|turn| turn.peer == peer) else { return false };
        let new_piece = turn.piece.is_some_and(|piece| piece != span.piece);
        let over = turn.handed >= most || (turn.handed >= quantum && new_piece);
        if over && contested {
            return false;
        }
        if over {
            turn.handed = 0;
        }
        turn.piece = Some(span.piece);
        turn.handed += u64::from(span.length);
        true
    }

    /// What a peer may still have under way when its lane passes on, bytes: so the uplink does
    /// not run dry meanwhile.
    pub(crate) fn overlap(&self) -> u64 {
        self.quantum / 2
    }

    /// A peer's turn is over; with more requests it waits for the next.
    pub(crate) fn end(&mut self, peer: PeerKey, wants_more: bool) {
        self.turns.retain(|turn| turn.peer != peer);
        if wants_more {
            self.waiting.insert(peer);
        }
    }

    /// The peer is gone.
    pub(crate) fn forget(&mut self, peer: PeerKey) {
        self.turns.retain(|turn| turn.peer != peer);
        self.waiting.remove(&peer);
    }

    /// Whether a lane is free that somebody waits for.
    pub(crate) fn has_room(&self) -> bool {
        self.turns.len() < self.width.lanes() && !self.waiting.is_empty()
    }

    /// Gives a free lane to whom it belongs. Peers without a claim wait no longer.
    pub(crate) fn next(&mut self, claim: impl Fn(PeerKey) -> Option<Claim>) -> Option<PeerKey> {
        if self.turns.len() >= self.width.lanes() {
            return None;
        }
        let mut claims: Vec<(Claim, PeerKey)> = Vec::with_capacity(self.waiting.len());
        self.waiting.retain(|peer| {
            let claim = claim(*peer);
            claims.extend(claim.map(|claim| (claim, *peer)));
            claim.is_some()
        });
        let least = |kind: Option<Kin>| {
            let of_kind = |(claim, _): &&(Claim, PeerKey)| kind.is_none_or(|k| k == claim.kind);
            claims.iter().filter(of_kind).min_by_key(|(claim, peer)| (claim.debt, *peer)).copied()
        };
        let due = self.since_stranger + 1 >= STRANGER_TURN;
        let guaranteed = if due { least(Some(Kin::Stranger)) } else { None };
        let (claim, peer) = guaranteed.or_else(|| least(None))?;
        self.since_stranger = match claim.kind {
            Kin::Stranger => 0,
            Kin::Mate => self.since_stranger.saturating_add(1),
        };
        if guaranteed.is_none() {
            self.level = claim.debt;
        }
        self.waiting.remove(&peer);
        self.begin(peer);
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

    fn begin(&mut self, peer: PeerKey) {
        self.turns.push(Turn { peer, piece: None, handed: 0 });
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
        Some(Claim { kind: Kin::Mate, debt })
    }

    /// Three peers hold the lanes.
    fn full() -> Lanes {
        let mut lanes = lanes();
        for number in 0..3 {
            assert!(lanes.ask(key(number)));
        }
        lanes
    }

    #[test]
    fn as_many_as_there_are_lanes_are_never_interrupted() {
        let mut lanes = full();
        for index in 0..100_000 {
            assert!(lanes.take(key(index % 3), span(index)));
        }
    }

    #[test]
    fn who_comes_later_waits_for_the_end_of_a_piece() {
        let mut lanes = full();
        assert!(lanes.take(key(0), span(7)));
        assert!(!lanes.ask(key(3)));
        for _ in 1..16 {
            assert!(lanes.take(key(0), span(7)), "the piece is finished");
        }
        assert!(!lanes.take(key(0), span(8)), "another is not begun");
        lanes.end(key(0), true);
        assert_eq!(lanes.next(|peer| mate(i64::from(peer.0 == 0))), Some(key(3)));
        assert!(lanes.knows(key(0)) && !lanes.holds(key(0)));
    }

    #[test]
    fn a_turn_of_small_pieces_is_some_of_them_and_a_repeated_piece_ends_too() {
        let mut lanes = full();
        lanes.tune(0, 16_384);
        lanes.ask(key(3));
        let taken = (0..100).take_while(|piece| lanes.take(key(0), span(*piece))).count();
        assert_eq!(taken, 4, "64 KiB");
        let taken = (0..100).take_while(|_| lanes.take(key(1), span(1))).count();
        assert_eq!(taken, 5, "a quantum and a piece, however often it is asked for");
    }

    #[test]
    fn the_smallest_debt_is_served_first_and_who_asks_no_more_is_dropped() {
        let mut lanes = full();
        for number in 3..7 {
            lanes.ask(key(number));
        }
        let debts = |peer: PeerKey| match peer.0 {
            3 => mate(5),
            4 => mate(-7),
            5 => None,
            _ => mate(0),
        };
        assert_eq!(lanes.next(debts), None, "no lane is free");
        for number in [0, 1, 2] {
            lanes.end(key(number), false);
        }
        let order = [lanes.next(debts), lanes.next(debts), lanes.next(debts)];
        assert_eq!(order, [Some(key(4)), Some(key(6)), Some(key(3))]);
        assert!(!lanes.knows(key(5)));
    }

    #[test]
    fn a_stranger_with_any_debt_has_one_turn_in_eight() {
        let mut lanes = full();
        lanes.ask(key(10));
        lanes.ask(key(11));
        let claim = |peer: PeerKey| {
            let kind = if peer.0 == 11 { Kin::Stranger } else { Kin::Mate };
            Some(Claim { kind, debt: if peer.0 == 11 { i64::MAX } else { 0 } })
        };
        let mut served = Vec::new();
        lanes.end(key(0), false);
        for _ in 0..64 {
            let next = lanes.next(claim).unwrap();
            served.push(next);
            lanes.end(next, true);
        }
        assert_eq!(served.iter().filter(|peer| **peer == key(11)).count(), 8);
    }

    #[test]
    fn who_is_gone_holds_nothing() {
        let mut lanes = full();
        lanes.ask(key(3));
        lanes.forget(key(3));
        lanes.forget(key(1));
        assert!(!lanes.is_contested() && !lanes.has_room());
        assert!(lanes.ask(key(4)));
    }

    #[test]
    fn turns_lengthen_with_the_rate_within_bounds() {
        let mut lanes = lanes();
        assert_eq!(lanes.overlap(), 32 * 1024);
        lanes.tune(u64::MAX, PIECE);
        assert_eq!(lanes.overlap(), 512 * 1024);
    }
}
