//! Pieces under way: who owes which block.
//!
//! The books are kept twice, by piece and by peer, and agree after every call. Pieces with
//! free blocks are listed by what they need, so that a pick looks at nothing else. A piece
//! of which nothing is here and nothing is on the way is closed at once: it holds no memory
//! and its rarity counts again.
//!
//! A block that was given up on may still arrive: after a choke without the fast extension,
//! or from a peer slower than the timeout. Its payload has been paid for, so it is kept
//! when it is still missing ([`LATE_MAX`] blocks are remembered per peer).
//!
//! Not here: which piece to continue or open (the parent), duplicates (see `endgame`).

use super::piece::{Demand, Need, OpenPiece};
use super::{PeerKey, Restriction, Speed};
use crate::types::{BlockRef, PieceIndex};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Blocks of one peer that may arrive although they were given up on.
pub const LATE_MAX: usize = 256;

/// The pieces under way and the peers at work.
#[derive(Debug, Default)]
pub(super) struct Open {
    pieces: BTreeMap<PieceIndex, OpenPiece>,
    /// Pieces in [`Need::Adoption`].
    orphans: BTreeSet<PieceIndex>,
    /// Pieces in [`Need::Help`].
    shared: BTreeSet<PieceIndex>,
    /// Pieces in [`Need::End`].
    ending: BTreeSet<PieceIndex>,
    peers: BTreeMap<PeerKey, Worker>,
    /// The peers whose speed is [`Speed::Snubbed`].
    snubbed: BTreeSet<PeerKey>,
    /// Closed because nothing was left of them; for the parent to take.
    pub(super) closed: Vec<PieceIndex>,
    bytes: u64,
    /// Requests in flight beyond the first of each block.
    copies: usize,
}

/// One peer's part.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) speed: Speed,
    /// What it owes, oldest first.
    pub(super) owed: VecDeque<BlockRef>,
    /// Pieces with free blocks that it has begun or joined.
    working: Vec<PieceIndex>,
    /// What it was asked for and no longer owes, oldest first.
    late: VecDeque<BlockRef>,
}

impl Open {
    /// Notes how fast a peer is; how many blocks it owes.
    pub(super) fn note(&mut self, peer: PeerKey, speed: Speed) -> usize {
        let worker = self.peers.entry(peer).or_insert_with(|| Worker {
            speed,
            owed: VecDeque::new(),
            working: Vec::new(),
            late: VecDeque::new(),
        });
        if speed == Speed::Snubbed {
            self.snubbed.insert(peer);
        } else if worker.speed == Speed::Snubbed {
            self.snubbed.remove(&peer);
        }
        worker.speed = speed;
        worker.owed.len()
    }

    /// Opens a piece. At least one block must be taken from it in the same call of the parent.
    pub(super) fn begin(&mut self, index: PieceIndex, piece: OpenPiece) {
        self.pieces.insert(index, piece);
        self.charge(index);
    }

    /// Lets a noted peer owe free blocks of an open piece, at most `room`; how many.
    pub(super) fn take(
        &mut self,
        peer: PeerKey,
        index: PieceIndex,
        room: usize,
        out: &mut Vec<BlockRef>,
    ) -> usize {
        let Some(worker) = self.peers.get_mut(&peer) else { return 0 };
        let Some(piece) = self.pieces.get_mut(&index) else { return 0 };
        let before = out.len();
        while out.len() - before < room {
            let Some(block) = piece.take(peer, worker.speed) else { break };
            let block = BlockRef { piece: index, block };
            worker.owed.push_back(block);
            out.push(block);
        }
        let filled = !piece.is_unfilled();
        let (pieces, working) = (&self.pieces, &mut worker.working);
        if !filled && !working.contains(&index) {
            working.retain(|old| pieces.get(old).is_some_and(OpenPiece::is_unfilled));
            working.push(index);
        }
        self.list(index);
        out.len() - before
    }

    /// Lets a noted peer owe a block that others owe too.
    pub(super) fn copy(&mut self, peer: PeerKey, block: BlockRef) -> bool {
        let Some(worker) = self.peers.get_mut(&peer) else { return false };
        let Some(piece) = self.pieces.get_mut(&block.piece) else { return false };
        if !piece.copy(peer, block.block) {
            return false;
        }
        worker.owed.push_back(block);
        self.copies += 1;
        true
    }

    /// Takes a block from a peer: whether the piece is complete, and who else owed the block.
    /// `None` when the block is not needed or was never asked of this peer.
    pub(super) fn give(&mut self, peer: PeerKey, block: BlockRef) -> Option<(bool, Vec<PeerKey>)> {
        let worker = self.peers.get_mut(&peer)?;
        let piece = self.pieces.get_mut(&block.piece)?;
        let owes = piece.owers(block.block).contains(peer);
        if !owes {
            let at = worker.late.iter().position(|late| *late == block)?;
            worker.late.remove(at);
            if piece.restriction == Restriction::OneAtATime {
                return None;
            }
        }
        let others = piece.give(peer, block.block)?;
        let complete = piece.need() == Need::Verification;
        remove_block(&mut worker.owed, block);
        self.copies -= (others.count() + usize::from(owes)).saturating_sub(1);
        for other in others.iter() {
            if let Some(worker) = self.peers.get_mut(&other) {
                remove_block(&mut worker.owed, block);
            }
        }
        self.list(block.piece);
        Some((complete, others.iter().collect()))
    }

    /// The peer no longer owes the block, but may still send it.
    pub(super) fn release(&mut self, peer: PeerKey, block: BlockRef) {
        let Some(worker) = self.peers.get_mut(&peer) else { return };
        if !remove_block(&mut worker.owed, block) {
            return;
        }
        if worker.late.len() == LATE_MAX {
            worker.late.pop_front();
        }
        worker.late.push_back(block);
        self.forgive(peer, block);
    }

    /// Forgets a peer and all it owes.
    pub(super) fn forget(&mut self, peer: PeerKey) {
        let Some(worker) = self.peers.remove(&peer) else { return };
        self.snubbed.remove(&peer);
        for block in worker.owed {
            self.forgive(peer, block);
        }
    }

    /// Closes a piece and forgets what is owed of it.
    pub(super) fn close(&mut self, index: PieceIndex) -> Option<OpenPiece> {
        let piece = self.pieces.remove(&index)?;
        self.unlist(index);
        self.bytes -= piece.charged;
        let mut last = None;
        for (peer, block) in piece.debts() {
            self.copies -= usize::from(last.replace(block) == Some(block));
            if let Some(worker) = self.peers.get_mut(&peer) {
                remove_block(&mut worker.owed, BlockRef { piece: index, block });
            }
        }
        Some(piece)
    }

    /// Says anew of every open piece whether it is wanted.
    pub(super) fn set_demand(&mut self, wanted: impl Fn(PieceIndex) -> bool) {
        let mut all = Vec::with_capacity(self.pieces.len());
        for (index, piece) in &mut self.pieces {
            piece.demand = if wanted(*index) { Demand::Wanted } else { Demand::Unwanted };
            all.push(*index);
        }
        for index in all {
            self.list(index);
        }
    }

    /// Blocks of a piece that is written through are on the disk.
    pub(super) fn wrote(&mut self, index: PieceIndex, blocks: usize) {
        if let Some(piece) = self.pieces.get_mut(&index) {
            piece.wrote(blocks);
            self.charge(index);
        }
    }

    /// Restricts an open piece.
    pub(super) fn restrict(&mut self, index: PieceIndex, restriction: Restriction) {
        if let Some(piece) = self.pieces.get_mut(&index) {
            piece.restriction = restriction;
        }
    }

    /// Pieces with free blocks that this peer has begun or joined, the latest first.
    pub(super) fn own(&self, peer: PeerKey) -> impl Iterator<Item = (PieceIndex, &OpenPiece)> + '_ {
        let working = self.peers.get(&peer).map_or(&[][..], |worker| &worker.working);
        let pieces =
            working.iter().rev().filter_map(|index| Some((*index, self.pieces.get(index)?)));
        pieces.filter(|(_, piece)| piece.is_unfilled())
    }

    /// Whether a peer may work on a piece beside those who do (LIMITS B10): a restricted
    /// piece belongs to one peer, until that is snubbed or owes nothing of it.
    pub(super) fn admits(&self, piece: &OpenPiece, peer: PeerKey, speed: Speed) -> bool {
        if piece.restriction == Restriction::None || piece.owed() == 0 {
            return true;
        }
        let Some(sole) = piece.sole else { return true };
        let stalled = !self.peers.contains_key(&sole) || self.snubbed.contains(&sole);
        sole == peer || stalled && speed != Speed::Snubbed
    }

    /// Pieces with free blocks that nobody works on.
    pub(super) fn orphans(&self) -> impl Iterator<Item = (PieceIndex, &OpenPiece)> + '_ {
        self.orphans.iter().filter_map(|index| Some((*index, self.pieces.get(index)?)))
    }

    /// Pieces with free blocks that somebody works on.
    pub(super) fn shared(&self) -> impl Iterator<Item = (PieceIndex, &OpenPiece)> + '_ {
        self.shared.iter().filter_map(|index| Some((*index, self.pieces.get(index)?)))
    }

    /// An unwanted piece that somebody still owes blocks of.
    pub(super) fn ending(&self) -> Option<PieceIndex> {
        self.ending.first().copied()
    }

    /// Whether nothing is in flight from a peer that delivers, nothing to be verified and
    /// nothing to be written: no memory will be free by itself.
    pub(super) fn is_stalled(&self) -> bool {
        let at_work = |worker: &Worker| worker.speed != Speed::Snubbed && !worker.owed.is_empty();
        !self.peers.values().any(at_work)
            && !self.pieces.values().any(|piece| piece.need() == Need::Verification)
            && !self.pieces.values().any(|piece| piece.unwritten() > 0)
    }

    /// Whether some open piece has a free block to give.
    pub(super) fn has_free(&self) -> bool {
        !self.orphans.is_empty() || !self.shared.is_empty()
    }

    pub(super) fn get(&self, index: PieceIndex) -> Option<&OpenPiece> {
        self.pieces.get(&index)
    }

    pub(super) fn indices(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.pieces.keys().copied()
    }

    /// What the peers of one speed owe, of each what it was asked for last first.
    pub(super) fn debts_of(&self, speed: Speed) -> impl Iterator<Item = BlockRef> + '_ {
        let snubbed = self.snubbed.iter().filter(move |_| speed == Speed::Snubbed);
        let snubbed = snubbed.filter_map(|peer| self.peers.get(peer));
        let rest = if speed == Speed::Snubbed { None } else { Some(self.peers.values()) };
        let rest = rest.into_iter().flatten().filter(move |worker| worker.speed == speed);
        snubbed.chain(rest).flat_map(|worker| worker.owed.iter().rev().copied())
    }

    pub(super) fn peers(&self) -> &BTreeMap<PeerKey, Worker> {
        &self.peers
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn copies(&self) -> usize {
        self.copies
    }

    /// The piece's side of `release`.
    fn forgive(&mut self, peer: PeerKey, block: BlockRef) {
        let Some(piece) = self.pieces.get_mut(&block.piece) else { return };
        if let Some(left) = piece.release(peer, block.block) {
            self.copies -= usize::from(left > 0);
            self.list(block.piece);
        }
    }

    /// Brings the books up to what a piece costs.
    fn charge(&mut self, index: PieceIndex) {
        let Some(piece) = self.pieces.get_mut(&index) else { return };
        let cost = piece.cost();
        self.bytes = self.bytes - std::mem::replace(&mut piece.charged, cost) + cost;
    }

    /// Puts a piece on the list of its need, or closes it.
    fn list(&mut self, index: PieceIndex) {
        self.charge(index);
        let Some(piece) = self.pieces.get_mut(&index) else { return };
        let need = piece.need();
        if std::mem::replace(&mut piece.listed, need) == need {
            return;
        }
        self.unlist(index);
        match need {
            Need::Help => _ = self.shared.insert(index),
            Need::Adoption => _ = self.orphans.insert(index),
            Need::End => _ = self.ending.insert(index),
            Need::Delivery | Need::Verification => {}
            Need::Nothing => {
                self.close(index);
                self.closed.push(index);
            }
        }
    }

    fn unlist(&mut self, index: PieceIndex) {
        self.orphans.remove(&index);
        self.shared.remove(&index);
        self.ending.remove(&index);
    }
}

/// Peers answer in order, mostly: the block is at or near the front.
fn remove_block(blocks: &mut VecDeque<BlockRef>, block: BlockRef) -> bool {
    let Some(at) = blocks.iter().position(|other| *other == block) else { return false };
    blocks.remove(at).is_some()
}
