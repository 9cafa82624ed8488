//! One piece under way: who owes and who gave each of its blocks.
//!
//! A piece that leaves room in memory for others is kept there until it is verified, and costs
//! its whole length from the first request on, so that it can always be completed. A longer one
//! is written through, block by block, and costs what is owed or waits to be written.
//!
//! Not here: what each peer owes in all, and which piece to continue (see `open`).

use super::{PeerKey, Restriction, Speed};
use crate::types::{BLOCK_SIZE, BlockIndex};

/// Copies of one block that may be in flight, the first included (LIMITS B39).
pub const COPIES_MAX: usize = 3;

/// The peers that owe a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Owers([Option<PeerKey>; COPIES_MAX]);

impl Owers {
    pub(super) fn iter(&self) -> impl Iterator<Item = PeerKey> + use<> {
        self.0.into_iter().flatten()
    }

    pub(super) fn count(&self) -> usize {
        self.iter().count()
    }

    pub(super) fn contains(&self, peer: PeerKey) -> bool {
        self.0.contains(&Some(peer))
    }

    /// Adds a peer; false when it is there already or there is no room.
    fn insert(&mut self, peer: PeerKey) -> bool {
        if self.contains(peer) {
            return false;
        }
        let slot = self.0.iter_mut().find(|slot| slot.is_none());
        slot.map(|slot| *slot = Some(peer)).is_some()
    }

    fn remove(&mut self, peer: PeerKey) -> bool {
        let slot = self.0.iter_mut().find(|slot| **slot == Some(peer));
        slot.map(|slot| *slot = None).is_some()
    }
}

/// A piece under way.
#[derive(Debug)]
pub(super) struct OpenPiece {
    /// Per block: who owes it.
    owers: Vec<Owers>,
    /// Per block: who gave it.
    givers: Vec<Option<PeerKey>>,
    /// Blocks neither owed nor given.
    free: usize,
    /// Requests in flight, copies counted.
    owed: usize,
    /// Blocks given.
    given: usize,
    /// No block before this one is free.
    first_free: usize,
    /// Bytes.
    size: u32,
    keeping: Keeping,
    /// Bytes of memory that the books hold against it; see [`Self::cost`].
    pub(super) charged: u64,
    pub(super) demand: Demand,
    pub(super) restriction: Restriction,
    /// Who works on it under a restriction.
    pub(super) sole: Option<PeerKey>,
    /// The best speed of those who worked on it since it was last left alone.
    pub(super) pace: Speed,
    /// The list it is on.
    pub(super) listed: Need,
}

/// Where the blocks of an open piece wait for its verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeping {
    /// All of them in memory.
    Whole,
    /// On the disk, but for those not written yet.
    Through {
        /// Blocks that are on the disk.
        written: usize,
    },
}

/// Whether an open piece is still to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    Wanted,
    /// Nothing more is asked for; what is in flight may arrive.
    Unwanted,
}

/// What an open piece needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Every block is given: wait for the verification.
    Verification,
    /// Every block is given or owed: wait for the peers.
    Delivery,
    /// Unwanted: it ends with what is in flight.
    End,
    /// Has free blocks, and somebody works on it.
    Help,
    /// Has free blocks, and nobody works on it.
    Adoption,
    /// Nothing of it is here, or it is unwanted, and nothing is on the way: close it.
    Nothing,
}

impl OpenPiece {
    pub(super) fn new(blocks: u32, size: u32, keeping: Keeping) -> Self {
        let blocks = blocks as usize;
        Self {
            owers: vec![Owers::default(); blocks],
            givers: vec![None; blocks],
            free: blocks,
            owed: 0,
            given: 0,
            first_free: 0,
            size,
            keeping,
            charged: 0,
            demand: Demand::Wanted,
            restriction: Restriction::None,
            sole: None,
            pace: Speed::Snubbed,
            listed: Need::Delivery,
        }
    }

    /// Lets a peer owe the first free block.
    pub(super) fn take(&mut self, peer: PeerKey, speed: Speed) -> Option<BlockIndex> {
        let mut blocks = self.owers.iter_mut().zip(&self.givers).enumerate().skip(self.first_free);
        let (at, owers) = blocks
            .find(|(_, (owers, giver))| giver.is_none() && owers.count() == 0)
            .map(|(at, (owers, _))| (at, owers))?;
        owers.insert(peer);
        self.first_free = at + 1;
        self.free -= 1;
        self.owed += 1;
        self.sole = Some(peer);
        self.pace = self.pace.max(speed);
        u32::try_from(at).ok().map(BlockIndex::new)
    }

    /// Lets one more peer owe a block that others owe; false when that may not be.
    pub(super) fn copy(&mut self, peer: PeerKey, block: BlockIndex) -> bool {
        let Some(owers) = self.owers.get_mut(block.as_usize()) else { return false };
        let copied = owers.count() > 0 && owers.insert(peer);
        self.owed += usize::from(copied);
        if copied {
            self.sole = Some(peer);
        }
        copied
    }

    /// Takes a block from a peer. The others who owed it, or `None` when it is here already
    /// or does not exist.
    pub(super) fn give(&mut self, peer: PeerKey, block: BlockIndex) -> Option<Owers> {
        let giver = self.givers.get_mut(block.as_usize()).filter(|giver| giver.is_none())?;
        let owers = self.owers.get_mut(block.as_usize())?;
        *giver = Some(peer);
        let mut others = std::mem::take(owers);
        self.given += 1;
        self.owed -= others.count();
        self.free -= usize::from(others.count() == 0);
        others.remove(peer);
        Some(others)
    }

    /// The peer no longer owes the block; how many others still do.
    pub(super) fn release(&mut self, peer: PeerKey, block: BlockIndex) -> Option<usize> {
        let owers = self.owers.get_mut(block.as_usize())?;
        if !owers.remove(peer) {
            return None;
        }
        let left = owers.count();
        self.owed -= 1;
        if left == 0 {
            self.free += 1;
            self.first_free = self.first_free.min(block.as_usize());
        }
        if self.owed == 0 {
            self.pace = Speed::Snubbed;
        }
        Some(left)
    }

    pub(super) fn need(&self) -> Need {
        let unwanted = self.demand == Demand::Unwanted;
        if self.given == self.givers.len() {
            Need::Verification
        } else if self.owed == 0 && (self.given == 0 || unwanted) {
            Need::Nothing
        } else if unwanted {
            Need::End
        } else if self.free == 0 {
            Need::Delivery
        } else if self.owed == 0 {
            Need::Adoption
        } else {
            Need::Help
        }
    }

    /// Whether it has free blocks to give.
    pub(super) fn is_unfilled(&self) -> bool {
        self.free > 0 && self.demand == Demand::Wanted
    }

    /// Who owes a block.
    pub(super) fn owers(&self, block: BlockIndex) -> Owers {
        self.owers.get(block.as_usize()).copied().unwrap_or_default()
    }

    /// Per block: who gave it.
    pub(super) fn givers(&self) -> &[Option<PeerKey>] {
        &self.givers
    }

    /// Every request in flight.
    pub(super) fn debts(&self) -> impl Iterator<Item = (PeerKey, BlockIndex)> + '_ {
        (0u32..)
            .zip(&self.owers)
            .flat_map(|(block, owers)| owers.iter().map(move |peer| (peer, BlockIndex::new(block))))
    }

    /// Bytes of memory that it takes or will take with what is owed.
    pub(super) fn cost(&self) -> u64 {
        match self.keeping {
            Keeping::Whole => u64::from(self.size),
            Keeping::Through { written } => {
                let blocks = self.givers.len().saturating_sub(self.free + written);
                blocks as u64 * u64::from(BLOCK_SIZE)
            }
        }
    }

    /// Given blocks have been written; says nothing of a piece that is kept whole.
    pub(super) fn wrote(&mut self, blocks: usize) {
        if let Keeping::Through { written } = &mut self.keeping {
            *written = (*written + blocks).min(self.given);
        }
    }

    /// Given blocks that wait to be written.
    pub(super) const fn unwritten(&self) -> usize {
        match self.keeping {
            Keeping::Whole => 0,
            Keeping::Through { written } => self.given - written,
        }
    }

    /// Whether its blocks are written as they come.
    pub(super) const fn is_through(&self) -> bool {
        matches!(self.keeping, Keeping::Through { .. })
    }

    /// Blocks neither owed nor given.
    pub(super) const fn free(&self) -> usize {
        self.free
    }

    /// Blocks given.
    pub(super) const fn given(&self) -> usize {
        self.given
    }

    /// Requests in flight.
    pub(super) const fn owed(&self) -> usize {
        self.owed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PeerKey = PeerKey(1);
    const B: PeerKey = PeerKey(2);

    fn block(index: u32) -> BlockIndex {
        BlockIndex::new(index)
    }

    #[test]
    fn a_block_is_owed_at_most_three_times_and_once_by_each() {
        let mut piece = OpenPiece::new(1, 1, Keeping::Whole);
        assert!(!piece.copy(A, block(0)));
        assert_eq!(piece.take(A, Speed::Fast), Some(block(0)));
        assert_eq!(piece.take(B, Speed::Fast), None);
        assert!(!piece.copy(A, block(0)));
        assert!(piece.copy(B, block(0)));
        assert!(piece.copy(PeerKey(3), block(0)));
        assert!(!piece.copy(PeerKey(4), block(0)));
        assert_eq!(piece.owed(), COPIES_MAX);
        let others = piece.give(B, block(0)).unwrap();
        assert_eq!(others.iter().collect::<Vec<_>>(), [A, PeerKey(3)]);
        assert_eq!((piece.owed(), piece.need()), (0, Need::Verification));
        assert_eq!(piece.give(A, block(0)), None);
    }

    #[test]
    fn the_need_follows_the_blocks() {
        let mut piece = OpenPiece::new(2, 2, Keeping::Whole);
        piece.take(A, Speed::Slow);
        assert_eq!((piece.need(), piece.pace), (Need::Help, Speed::Slow));
        piece.take(A, Speed::Slow);
        assert_eq!(piece.need(), Need::Delivery);
        piece.give(A, block(0));
        assert_eq!(piece.release(A, block(1)), Some(0));
        assert_eq!((piece.need(), piece.pace), (Need::Adoption, Speed::Snubbed));
        assert_eq!(piece.release(A, block(1)), None);
        piece.demand = Demand::Unwanted;
        assert_eq!(piece.need(), Need::Nothing);
        piece.demand = Demand::Wanted;
        assert_eq!(piece.take(B, Speed::Fast), Some(block(1)));
    }

    #[test]
    fn a_piece_written_through_costs_what_is_owed_or_not_written_yet() {
        let block_bytes = u64::from(BLOCK_SIZE);
        let mut piece = OpenPiece::new(3, 3 * BLOCK_SIZE, Keeping::Through { written: 0 });
        assert_eq!(piece.cost(), 0);
        piece.take(A, Speed::Slow);
        piece.take(A, Speed::Slow);
        piece.copy(B, block(1));
        assert_eq!(piece.cost(), 2 * block_bytes, "a copy of a block is the same block");
        piece.give(A, block(0));
        assert_eq!((piece.cost(), piece.unwritten()), (2 * block_bytes, 1));
        piece.wrote(1);
        assert_eq!((piece.cost(), piece.unwritten()), (block_bytes, 0));
        piece.wrote(9);
        assert_eq!(piece.cost(), block_bytes, "no more is written than was given");
        piece.release(A, block(1));
        piece.release(B, block(1));
        assert_eq!(piece.cost(), 0);
        let mut whole = OpenPiece::new(3, 5, Keeping::Whole);
        whole.wrote(1);
        assert_eq!((whole.cost(), whole.unwritten()), (5, 0));
    }
}
