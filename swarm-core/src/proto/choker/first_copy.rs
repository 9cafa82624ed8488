//! First copies: which piece a seed gives to whom before it gives any piece twice.
//!
//! While a piece is with the seed alone, nothing a crowd does can make up for the time the seed
//! spends on sending others twice: the first copy is the critical path (FLEET 4.1). So the
//! seed hands out its pieces itself: each mate is told which are its own, a few at a time, and
//! fetches them of the seed and the rest from the others. A piece that anybody was seen to
//! have or asked for needs no more help.
//!
//! Next is the mate with the fewest pieces that it has or is about to have alone: who passes
//! on what it got gets more, at the rate at which it passes on; who keeps everything for
//! itself is stuck with a few (the idea of BEP 16, without pretending to lack anything).
//!
//! What somebody keeps to itself we have to give again. Who has let that happen more than once, and
//! did not pass on as much, is known for one that only takes ([`FirstCopy::rank`]).
//!
//! What is assigned and does not arrive (the mate left, declined, or sits on it for
//! [`PATIENCE`]) is given to another, and so is what somebody asked for on its own account: once
//! it is led it may not ask for the rest of that. What others have meanwhile is not given again:
//! a piece that everybody has can be assigned to nobody, and a lead that waits for that never ends.
//! Peers come and go with pieces that went through none of these books, so now and then the books
//! are compared with who has what.
//!
//! Not here: whether this is worth it just now, and the messages (see `proto::torrent`).

use super::lanes::Rank;
use crate::proto::PeerKey;
use crate::types::{Bitfield, Moment, PieceIndex};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// An assigned piece that is not there after this time is given to another.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Between two comparisons of the books with who has what.
const REVIEW_EVERY: Duration = Duration::from_secs(10);
/// Pieces that a peer may keep to itself until we give them again, beyond those that it passed on.
const KEPT_MAX: u32 = 1;
/// Strangers that have not passed on anything may have this part of all pieces alone, and at least
/// so many: what they keep must be given again.
const TRUST_PART: u32 = 8;
const TRUST_MIN: u32 = 2;
/// Pieces remembered that a peer asked for on its own account.
const OWN_MAX: usize = 256;

/// Where the first copy of each piece is. One per torrent that seeds.
#[derive(Debug)]
pub(crate) struct FirstCopy {
    /// Pieces that nobody has or was assigned.
    fresh: Bitfield,
    /// Where to look for the next one: in order, so that the disk reads ahead.
    cursor: u32,
    books: BTreeMap<PeerKey, Book>,
    /// Assigned pieces that are not there yet, over all peers.
    due: usize,
    /// When the books were compared with who has what.
    reviewed: Moment,
    /// Pieces that were given on trust: to strangers that have not passed on any.
    on_trust: usize,
}

/// One peer's part.
#[derive(Debug, Default)]
struct Book {
    /// Assigned, and not there yet.
    due: Vec<(PieceIndex, Moment)>,
    /// Asked for on its own account, and not there yet.
    own: Vec<(PieceIndex, Moment)>,
    /// There, and at nobody else.
    alone: Vec<PieceIndex>,
    /// So many pieces that it had alone another got of it.
    proofs: u32,
    /// So many that it had alone we had to give again.
    kept: u32,
    /// Has let an assignment grow old.
    idle: bool,
}

impl Book {
    /// Pieces that it has, or is about to have, alone.
    fn len(&self) -> usize {
        self.due.len() + self.own.len() + self.alone.len()
    }
}

impl FirstCopy {
    /// All that no connected peer has is to go out; `start` decides where to begin.
    pub(crate) fn new(piece_count: u32, start: u64, is_out: impl Fn(PieceIndex) -> bool) -> Self {
        let mut fresh = Bitfield::all(piece_count);
        for piece in (0..piece_count).map(PieceIndex::new).filter(|piece| is_out(*piece)) {
            fresh.remove(piece);
        }
        let cursor = u32::try_from(start % u64::from(piece_count.max(1))).unwrap_or(0);
        Self { fresh, cursor, books: BTreeMap::new(), due: 0, reviewed: Moment::ZERO, on_trust: 0 }
    }

    /// Whether every piece is out or on its way.
    pub(crate) const fn is_over(&self) -> bool {
        self.fresh.is_none()
    }

    /// Assigned pieces on their way.
    pub(crate) const fn due(&self) -> usize {
        self.due
    }

    /// Assigned pieces on their way to one peer.
    pub(crate) fn due_of(&self, peer: PeerKey) -> usize {
        self.books.get(&peer).map_or(0, |book| book.due.len())
    }

    /// How far behind a peer is in passing on: smaller is next. Who never did comes last as long
    /// as it has more than a piece to pass on.
    pub(crate) fn burden(&self, peer: PeerKey) -> (bool, usize) {
        self.books.get(&peer).map_or((false, 0), |book| {
            let count = book.len() + book.kept as usize;
            (book.idle || book.proofs == 0 && count > 1, count)
        })
    }

    /// Who has let us give again what it had alone, and passed on less than that, only takes.
    pub(crate) fn rank(&self, peer: PeerKey) -> Rank {
        let keeps = |book: &Book| book.kept > book.proofs + KEPT_MAX;
        if self.books.get(&peer).is_some_and(keeps) { Rank::Taker } else { Rank::Giver }
    }

    /// Counts what these strangers were given on trust.
    pub(crate) fn count_trust(&mut self, strangers: impl Iterator<Item = PeerKey>) {
        let unproven = strangers.filter_map(|peer| self.books.get(&peer));
        let unproven = unproven.filter(|book| book.proofs == 0);
        self.on_trust = unproven.map(Book::len).sum();
    }

    /// Whether a stranger has to wait for what it is given: it has not passed on a piece yet, and
    /// as much as may be lies with others like it.
    pub(crate) fn is_doubtful(&self, peer: PeerKey) -> bool {
        let proved = self.books.get(&peer).is_some_and(|book| book.proofs > 0);
        !proved && self.on_trust >= (self.fresh.len() / TRUST_PART).max(TRUST_MIN) as usize
    }

    /// Gives a peer its next piece, of those it lacks.
    pub(crate) fn assign(
        &mut self,
        now: Moment,
        peer: PeerKey,
        has: impl Fn(PieceIndex) -> bool,
    ) -> Option<PieceIndex> {
        let count = self.fresh.len();
        let from = self.cursor.min(count);
        let mut order = (from..count).chain(0..from).map(PieceIndex::new);
        let piece = order.find(|piece| self.fresh.contains(*piece) && !has(*piece))?;
        self.cursor = piece.get() + 1;
        self.promise(now, peer, piece);
        Some(piece)
    }

    /// A piece that is not promised to anybody, for a hint to a peer that lacks it: from the
    /// far end, where it collides with no assignment soon.
    pub(crate) fn hint(&self, has: impl Fn(PieceIndex) -> bool) -> Option<PieceIndex> {
        let count = self.fresh.len();
        let back = (0..self.cursor).rev().chain((self.cursor..count).rev());
        back.map(PieceIndex::new).find(|piece| self.fresh.contains(*piece) && !has(*piece))
    }

    /// A peer asked for a piece on its own account: that is on its way now.
    pub(crate) fn asked(&mut self, now: Moment, peer: PeerKey, piece: PieceIndex) {
        self.fresh.remove(piece);
        let book = self.books.entry(peer).or_default();
        let known = book.own.iter().chain(&book.due).any(|(known, _)| *known == piece);
        if !known && book.own.len() < OWN_MAX {
            book.own.push((piece, now));
        }
    }

    /// A peer has a piece now, and `is_alone` with it or not.
    pub(crate) fn gained(&mut self, peer: PeerKey, piece: PieceIndex, is_alone: bool) {
        self.fresh.remove(piece);
        let ours = self.books.get_mut(&peer).is_some_and(|book| {
            let before = (book.due.len(), book.own.len());
            book.due.retain(|(due, _)| *due != piece);
            book.own.retain(|(own, _)| *own != piece);
            self.due -= before.0 - book.due.len();
            before != (book.due.len(), book.own.len())
        });
        for (_, book) in self.books.iter_mut().filter(|(other, _)| **other != peer) {
            let before = book.alone.len();
            book.alone.retain(|alone| *alone != piece);
            match book.alone.len() < before {
                true if ours => book.kept += 1,
                true => book.proofs += 1,
                false => {}
            }
        }
        if let Some(book) = self.books.get_mut(&peer).filter(|_| ours) {
            book.idle = false;
            if is_alone {
                book.alone.push(piece);
            }
        }
    }

    /// A peer will not take a piece: another does, unless it `is_out`.
    pub(crate) fn declined(
        &mut self,
        peer: PeerKey,
        piece: PieceIndex,
        is_out: impl Fn(PieceIndex) -> bool,
    ) {
        let Some(book) = self.books.get_mut(&peer) else { return };
        let before = book.due.len();
        book.due.retain(|(due, _)| *due != piece);
        if book.due.len() < before {
            self.due -= 1;
            if !is_out(piece) {
                self.fresh.insert(piece);
            }
        }
    }

    /// A peer cannot take just now what is on its way to it: others do, unless it `is_out`.
    pub(crate) fn withdrawn(&mut self, peer: PeerKey, is_out: impl Fn(PieceIndex) -> bool) {
        let Some(book) = self.books.get_mut(&peer) else { return };
        let due = std::mem::take(&mut book.due);
        self.due -= due.len();
        for (piece, _) in due.into_iter().filter(|(piece, _)| !is_out(*piece)) {
            self.fresh.insert(piece);
        }
    }

    /// A peer is gone: what was on its way to it is not, and what it had alone is lost unless
    /// it `is_out` at another.
    pub(crate) fn gone(&mut self, peer: PeerKey, is_out: impl Fn(PieceIndex) -> bool) {
        let Some(book) = self.books.remove(&peer) else { return };
        self.due -= book.due.len();
        let coming = book.due.into_iter().chain(book.own).map(|(piece, _)| piece);
        let lost = coming.chain(book.alone);
        for piece in lost.filter(|piece| !is_out(*piece)) {
            self.fresh.insert(piece);
        }
    }

    /// Takes back what has been on its way for too long, unless it `is_out` by now.
    pub(crate) fn expire(&mut self, now: Moment, is_out: impl Fn(PieceIndex) -> bool) {
        let old = |(_, since): &mut (PieceIndex, Moment)| now - *since >= PATIENCE;
        for book in self.books.values_mut() {
            let due: Vec<_> = book.due.extract_if(.., old).collect();
            let own: Vec<_> = book.own.extract_if(.., old).collect();
            self.due -= due.len();
            book.idle |= !due.is_empty();
            for (piece, _) in due.into_iter().chain(own).filter(|(piece, _)| !is_out(*piece)) {
                self.fresh.insert(piece);
            }
        }
        if now - self.reviewed >= REVIEW_EVERY {
            self.reviewed = now;
            self.review(is_out);
        }
    }

    /// Fresh is exactly what nobody has and what is on its way to nobody.
    fn review(&mut self, is_out: impl Fn(PieceIndex) -> bool) {
        let coming: BTreeSet<PieceIndex> = self
            .books
            .values()
            .flat_map(|book| book.due.iter().chain(&book.own))
            .map(|(piece, _)| *piece)
            .collect();
        for piece in (0..self.fresh.len()).map(PieceIndex::new) {
            if is_out(piece) {
                self.fresh.remove(piece);
            } else if !coming.contains(&piece) {
                self.fresh.insert(piece);
            }
        }
    }

    fn promise(&mut self, now: Moment, peer: PeerKey, piece: PieceIndex) {
        self.fresh.remove(piece);
        self.books.entry(peer).or_default().due.push((piece, now));
        self.due += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PeerKey = PeerKey(1);
    const B: PeerKey = PeerKey(2);

    fn piece(index: u32) -> PieceIndex {
        PieceIndex::new(index)
    }

    fn at(seconds: u64) -> Moment {
        Moment::ZERO + Duration::from_secs(seconds)
    }

    fn start(count: u32) -> FirstCopy {
        FirstCopy::new(count, 0, |_| false)
    }

    #[test]
    fn every_piece_is_assigned_once_in_order_from_where_it_began() {
        let mut first = FirstCopy::new(5, 3, |piece| piece.get() == 1);
        let pieces: Vec<u32> = (0..9)
            .map_while(|n| first.assign(at(0), PeerKey(n % 2), |_| false))
            .map(PieceIndex::get)
            .collect();
        assert_eq!(pieces, [3, 4, 0, 2]);
        assert!(first.is_over());
        assert_eq!(first.due(), 4);
    }

    #[test]
    fn what_a_peer_has_is_not_assigned_to_it() {
        let mut first = start(2);
        let has = |has: PieceIndex| has == piece(0);
        assert_eq!(first.assign(at(0), A, has), Some(piece(1)));
        assert_eq!(first.assign(at(0), A, has), None);
        assert!(!first.is_over(), "piece 0 waits for another peer");
    }

    #[test]
    fn who_keeps_pieces_to_itself_bears_them_and_who_passes_them_on_does_not() {
        let mut first = start(8);
        for peer in [A, A, B, B] {
            let piece = first.assign(at(0), peer, |_| false).unwrap();
            first.gained(peer, piece, true);
        }
        assert_eq!((first.burden(A), first.burden(B)), ((true, 2), (true, 2)), "no proof yet");
        first.gained(B, piece(0), true);
        first.gained(B, piece(1), true);
        assert_eq!((first.burden(A), first.burden(B)), ((false, 0), (true, 2)));
        assert_eq!(first.due(), 0);
    }

    #[test]
    fn what_was_asked_for_or_seen_elsewhere_needs_no_assignment() {
        let mut first = start(3);
        first.asked(at(0), A, piece(0));
        assert_eq!((first.burden(A), first.burden(B)), ((false, 1), (false, 0)));
        assert_eq!(first.due(), 0, "nobody waits for an assignment");
        first.gained(B, piece(1), true);
        assert_eq!(first.assign(at(0), B, |_| false), Some(piece(2)));
        assert!(first.is_over());
    }

    #[test]
    fn what_a_peer_takes_with_it_goes_out_again_unless_another_has_it() {
        let mut first = start(4);
        for _ in 0..4 {
            first.assign(at(0), A, |_| false);
        }
        first.gained(A, piece(0), true);
        first.gained(A, piece(1), true);
        first.gained(B, piece(1), true);
        first.gone(A, |piece| piece.get() == 1);
        let again: Vec<_> = (0..4).map_while(|_| first.assign(at(1), B, |_| false)).collect();
        assert_eq!(again, [piece(0), piece(2), piece(3)]);
        assert_eq!(first.due(), 3);
    }

    #[test]
    fn declined_and_forgotten_pieces_go_to_others() {
        let mut first = start(2);
        first.assign(at(0), A, |_| false);
        first.assign(at(1), A, |_| false);
        first.declined(A, piece(0), |_| false);
        first.declined(A, piece(0), |_| false);
        assert_eq!((first.due(), first.is_over()), (1, false));
        first.expire(at(30), |_| false);
        assert_eq!(first.due(), 1, "not yet");
        first.expire(at(31), |_| false);
        assert_eq!((first.due(), first.burden(A)), (0, (true, 0)));
        assert_eq!(first.assign(at(31), B, |_| false), Some(piece(0)));
        first.gained(A, piece(1), true);
        assert!(first.is_over(), "late is better than never");
    }

    #[test]
    fn what_grew_old_or_was_declined_and_is_out_by_now_is_not_assigned_again() {
        let mut first = start(2);
        first.assign(at(0), A, |_| false);
        first.assign(at(0), A, |_| false);
        first.declined(A, piece(0), |_| true);
        first.expire(at(30), |_| true);
        assert!(first.is_over(), "else a crowd that has it all is led for ever");
        assert_eq!(first.due(), 0);
    }

    #[test]
    fn who_comes_or_goes_with_pieces_is_noticed() {
        let mut first = start(2);
        first.expire(at(10), |_| true);
        assert!(first.is_over(), "somebody came who has them");
        first.expire(at(15), |_| false);
        assert!(first.is_over(), "not yet");
        first.expire(at(20), |_| false);
        assert_eq!(first.assign(at(20), A, |_| false), Some(piece(0)), "it went");
        first.expire(at(30), |_| false);
        assert_eq!(first.assign(at(30), B, |_| false), Some(piece(1)), "the other is coming");
        assert!(first.is_over());
    }

    #[test]
    fn what_a_peer_asked_for_and_never_got_is_assigned() {
        let mut first = start(1);
        first.asked(at(0), A, piece(0));
        assert!(first.is_over());
        first.expire(at(30), |_| false);
        assert_eq!(first.burden(A), (false, 0), "it never promised anything");
        assert_eq!(first.assign(at(30), A, |_| false), Some(piece(0)));
    }

    #[test]
    fn a_hint_is_no_promise_and_comes_from_the_far_end() {
        let mut first = start(4);
        first.assign(at(0), A, |_| false);
        assert_eq!(first.hint(|_| false), Some(piece(3)));
        assert_eq!(first.hint(|has| has == piece(3)), Some(piece(2)));
        assert_eq!(first.due(), 1);
    }

    #[test]
    fn who_lets_us_give_its_pieces_again_only_takes_until_it_passes_some_on() {
        let mut first = start(8);
        for _ in 0..4 {
            let piece = first.assign(at(0), A, |_| false).unwrap();
            first.gained(A, piece, true);
        }
        for index in 0..2 {
            assert_eq!(first.rank(A), Rank::Giver);
            first.asked(at(0), B, piece(index));
            first.gained(B, piece(index), false);
        }
        assert_eq!((first.rank(A), first.rank(B)), (Rank::Taker, Rank::Giver));
        assert_eq!(first.burden(A), (true, 4), "what it kept is not forgotten");
        first.gained(B, piece(2), false);
        assert_eq!(first.rank(A), Rank::Giver);
    }

    #[test]
    fn what_was_given_to_one_that_lost_its_slot_goes_to_others() {
        let mut first = start(3);
        first.assign(at(0), A, |_| false);
        first.assign(at(0), A, |_| false);
        first.withdrawn(A, |piece| piece.get() == 1);
        assert_eq!((first.due(), first.is_over()), (0, false));
        let again: Vec<_> = (0..3).map_while(|_| first.assign(at(1), B, |_| false)).collect();
        assert_eq!(again, [piece(2), piece(0)]);
    }

    #[test]
    fn strangers_are_given_so_much_on_trust_and_more_when_they_pass_it_on() {
        let mut first = start(64);
        for n in 0..8 {
            let peer = PeerKey(n % 2);
            first.count_trust([PeerKey(0), PeerKey(1)].into_iter());
            assert!(!first.is_doubtful(peer), "{n}");
            let given = first.assign(at(0), peer, |_| false).unwrap();
            first.gained(peer, given, true);
        }
        first.count_trust([PeerKey(0), PeerKey(1)].into_iter());
        assert!(first.is_doubtful(PeerKey(0)) && first.is_doubtful(PeerKey(1)));
        first.gained(PeerKey(9), piece(0), false);
        first.count_trust([PeerKey(0), PeerKey(1)].into_iter());
        assert!(!first.is_doubtful(PeerKey(0)), "another has got it of the first");
        assert!(!first.is_doubtful(PeerKey(1)), "and there is room for trust again");
    }

    #[test]
    fn only_so_many_pieces_are_remembered_that_a_peer_asked_for() {
        let mut first = start(1000);
        (0..1000).for_each(|index| first.asked(at(0), A, piece(index)));
        assert_eq!(first.burden(A), (true, OWN_MAX));
    }
}
