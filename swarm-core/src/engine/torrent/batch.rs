//! Complete pieces that wait a moment for company.
//!
//! Hashed side by side, sixteen pieces cost a quarter of what they cost one after another; fewer
//! than [`hasher::batch_worth`] cost more. Short pieces also share the hand-over to a worker and
//! the writing, so that more of them make a batch, up to [`BYTES_MIN`]. At full speed the next pieces are a few milliseconds
//! away, so that waiting for them costs nothing but their memory; at any other speed it would
//! delay what could be announced. Therefore a piece waits
//!
//! - while every worker has something of this torrent, for then it would wait in line anyway;
//! - else at most [`HOLD_MAX`], if the pieces before it came so fast that a batch is worth it by
//!   then, another piece is under way that may join it, and there is memory to ask for more.
//!
//! Those that wait take a part of the memory for pieces at most ([`HELD_SHARE`]). A v2 piece is
//! a batch by itself and waits for no other.
//!
//! Not here: the hashing (`data`), what follows from it (`act`).

use crate::data::hasher;
use crate::data::jobs::{StoreBatch, StorePiece};
use crate::metainfo::PieceHash;
use crate::types::Moment;
use std::collections::VecDeque;
use std::time::Duration;

/// Longest time a piece waits for company.
pub(super) const HOLD_MAX: Duration = Duration::from_millis(25);
/// Most pieces in a batch, as many as there are lanes, unless they are short.
pub(super) const PIECES_MAX: usize = 16;
/// Most short pieces in a batch.
pub(super) const SHORT_MAX: usize = 64;
/// Bytes that short pieces in a batch may have together.
const BYTES_MIN: u64 = 1 << 20;
/// The part of the memory for pieces that those which wait may take: a third.
const HELD_SHARE: u64 = 3;

/// The pieces that wait, and how fast they come.
#[derive(Debug)]
pub(super) struct Batch {
    held: Vec<StorePiece>,
    /// When the last pieces came, as many as make a batch worth it, oldest first.
    came: VecDeque<Moment>,
    /// From so many pieces on company is worth it.
    worth: usize,
    /// Memory for pieces, bytes.
    budget: u64,
    /// When those that wait have waited long enough.
    due: Moment,
    /// As many as there may be.
    is_full: bool,
    /// Every worker has something of this torrent.
    is_line: bool,
}

impl Batch {
    /// Nothing waits; all pieces of the torrent may take `budget` bytes.
    pub(super) fn new(budget: u64) -> Self {
        Self::with(budget, hasher::batch_worth())
    }

    fn with(budget: u64, worth: usize) -> Self {
        Self {
            held: Vec::new(),
            came: VecDeque::new(),
            worth,
            budget,
            due: Moment::NEVER,
            is_full: false,
            is_line: false,
        }
    }

    /// All pieces of the torrent may take so many bytes.
    pub(super) const fn set_budget(&mut self, bytes: u64) {
        self.budget = bytes;
    }

    /// Takes in a complete piece.
    pub(super) fn push(&mut self, now: Moment, piece: StorePiece) {
        let size = u64::from(piece.buf.received()).max(1);
        let room = usize::try_from(self.budget / HELD_SHARE / size).unwrap_or(usize::MAX);
        let most = usize::try_from(BYTES_MIN / size).unwrap_or(0).clamp(PIECES_MAX, SHORT_MAX);
        let full = room.min(most);
        let paced = full.min(self.worth.saturating_add(1));
        let is_message = matches!(piece.hash, PieceHash::V1(_));
        if self.held.is_empty() {
            self.due = now + HOLD_MAX;
        }
        self.held.push(piece);
        self.came.push_back(now);
        let excess = self.came.len().saturating_sub(paced);
        self.came.drain(..excess);
        let is_worth = is_message && full >= self.worth;
        let is_fast = self.came.len() >= paced
            && self.came.front().is_some_and(|first| now.since(*first) <= HOLD_MAX);
        if !is_worth || !is_fast {
            self.due = now;
        }
        self.is_full = self.held.len() >= full || !is_worth;
    }

    /// Nothing can join those that wait, or there is no memory to ask for more.
    pub(super) fn hurry(&mut self, now: Moment) {
        self.due = self.due.min(now);
    }

    /// Whether every worker has something of this torrent.
    pub(super) const fn set_line(&mut self, is_line: bool) {
        self.is_line = is_line;
    }

    /// The pieces to hash now, if any: all that wait, as jobs of one or of many.
    pub(super) fn take_due(&mut self, now: Moment) -> Vec<StoreBatch> {
        if now < self.deadline() { Vec::new() } else { self.take_all() }
    }

    /// All that wait.
    pub(super) fn take_all(&mut self) -> Vec<StoreBatch> {
        self.is_full = false;
        let pieces = std::mem::take(&mut self.held);
        if pieces.len() >= self.worth {
            return vec![StoreBatch { pieces }];
        }
        // One after another, but on as many threads as there are.
        pieces.into_iter().map(|piece| StoreBatch { pieces: vec![piece] }).collect()
    }

    /// When the pieces that wait must be hashed; never while none does, or while that is not a
    /// matter of time.
    pub(super) fn deadline(&self) -> Moment {
        match (self.held.is_empty(), self.is_full) {
            (true, _) => Moment::NEVER,
            (false, true) => Moment::ZERO,
            (false, false) if self.is_line => Moment::NEVER,
            (false, false) => self.due,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{BlockPool, PieceBuf};
    use crate::geometry::Geometry;
    use crate::storage::MemStorage;
    use crate::types::{BlockIndex, PieceIndex};
    use std::sync::Arc;

    const PIECE: u64 = 16 << 10;
    const ROOMY: u64 = 16 << 20;

    fn piece(hash: PieceHash) -> StorePiece {
        piece_of(1, hash)
    }

    fn piece_of(blocks: u32, hash: PieceHash) -> StorePiece {
        let length = u64::from(blocks) * PIECE;
        let geometry = Geometry::new(length, length).unwrap();
        let mut buf = PieceBuf::new(&geometry, PieceIndex::new(0));
        for index in 0..blocks {
            let mut block = BlockPool::new(0).take();
            block.set_len(16 << 10);
            buf.insert(BlockIndex::new(index), block).unwrap();
        }
        let storage = Arc::new(MemStorage::new(0));
        StorePiece { storage, geometry, buf, hash, digests: false }
    }

    fn v1() -> StorePiece {
        piece(PieceHash::V1([0; 20]))
    }

    const fn at(millis: u64) -> Moment {
        Moment::from_micros(millis * 1000)
    }

    /// Pieces of each batch that left, when one came every so many milliseconds.
    fn sizes(batch: &mut Batch, from: u64, every: u64, count: u64) -> Vec<usize> {
        let mut sizes = Vec::new();
        for step in 0..count {
            let now = at(from + step * every);
            batch.push(now, v1());
            sizes.extend(batch.take_due(now).iter().map(|batch| batch.pieces.len()));
        }
        sizes
    }

    #[test]
    fn at_full_speed_pieces_leave_side_by_side_and_else_at_once() {
        let mut batch = Batch::with(ROOMY, 8);
        let first = sizes(&mut batch, 0, 0, 256);
        assert_eq!(first.iter().sum::<usize>() + batch.held.len(), 256);
        assert_eq!(first.first(), Some(&1), "the pace is not known yet");
        assert_eq!(first.last(), Some(&SHORT_MAX));
        batch.take_all();
        let some = sizes(&mut batch, 1000, 3, 40);
        assert_eq!(some.last(), Some(&10), "as many as come in the time, and the one that ends it");
        batch.take_all();
        assert_eq!(sizes(&mut batch, 2000, 4, 40), [1; 40], "nine would take 32 ms");
    }

    #[test]
    fn of_long_pieces_there_are_no_more_than_lanes() {
        let mut batch = Batch::with(ROOMY, 8);
        let mut sizes = Vec::new();
        for _ in 0..99 {
            batch.push(at(0), piece_of(8, PieceHash::V1([0; 20])));
            sizes.extend(batch.take_due(at(0)).iter().map(|batch| batch.pieces.len()));
        }
        assert_eq!(sizes.iter().max(), Some(&PIECES_MAX));
    }

    #[test]
    fn no_piece_waits_longer_than_the_bound() {
        let mut batch = Batch::with(ROOMY, 8);
        sizes(&mut batch, 0, 1, 20);
        batch.take_all();
        assert_eq!(batch.deadline(), Moment::NEVER);
        batch.push(at(20), v1());
        assert_eq!(batch.deadline(), at(20) + HOLD_MAX);
        batch.push(at(21), v1());
        assert!(batch.take_due(at(44)).is_empty());
        let due = batch.take_due(at(45));
        assert_eq!(due.len(), 2, "too few for lanes: a job each");
        assert_eq!(batch.deadline(), Moment::NEVER);
    }

    #[test]
    fn a_piece_that_would_stand_in_line_waits_for_company_there() {
        let mut batch = Batch::with(ROOMY, 8);
        batch.set_line(true);
        assert_eq!(sizes(&mut batch, 0, 100, 129), [SHORT_MAX; 2]);
        assert_eq!(batch.deadline(), Moment::NEVER, "the job that ends will say");
        batch.set_line(false);
        assert_eq!(batch.take_due(at(12_900)).len(), 1);
    }

    #[test]
    fn nobody_waits_for_what_cannot_come() {
        let mut batch = Batch::with(ROOMY, 8);
        sizes(&mut batch, 0, 1, 20);
        batch.take_all();
        batch.push(at(20), v1());
        assert!(batch.take_due(at(20)).is_empty());
        batch.hurry(at(21));
        assert_eq!(batch.take_due(at(21)).len(), 1);
    }

    #[test]
    fn little_memory_makes_small_batches_or_none() {
        let mut batch = Batch::with(ROOMY, 8);
        batch.set_budget(HELD_SHARE * PIECE * 10);
        assert_eq!(sizes(&mut batch, 0, 1, 40).last(), Some(&10));
        batch.take_all();
        batch.set_budget(HELD_SHARE * PIECE * 7);
        assert_eq!(sizes(&mut batch, 40, 1, 9), [1; 9], "seven are not worth it");
        batch.set_budget(0);
        assert_eq!(sizes(&mut batch, 50, 1, 9), [1; 9]);
    }

    #[test]
    fn a_v2_piece_and_a_machine_without_lanes_wait_for_nothing() {
        let mut batch = Batch::with(ROOMY, 8);
        sizes(&mut batch, 0, 1, 24);
        batch.take_all();
        batch.push(at(24), piece(PieceHash::V2 { root: [0; 32], leaves: 1 }));
        assert_eq!(batch.take_due(at(24)).len(), 1);
        let mut batch = Batch::with(ROOMY, usize::MAX);
        assert_eq!(sizes(&mut batch, 0, 0, 40), [1; 40]);
    }
}
