//! Which block next, from whom.

mod have;

pub use have::PeerHave;

use super::PeerKey;
use crate::geometry::Geometry;
use crate::types::{Bitfield, BlockRef, PieceIndex};

/// Chooses the blocks to request. One per torrent.
#[derive(Debug)]
pub struct Picker {
    geometry: Geometry,
    have: Bitfield,
}

/// One peer that could be asked for more.
#[derive(Clone, Copy, Debug)]
pub struct Pick<'a> {
    /// Who.
    pub peer: PeerKey,
    /// What it has, as counted by [`Picker::peer_has`] and its companions.
    pub have: &'a PeerHave,
    /// Most blocks to pick. With 0 only the speed is noted.
    pub room: usize,
    /// How fast it delivers; remembered until its next pick.
    pub speed: Speed,
    /// The peer chokes us: only these pieces may be asked for (BEP 6 `allowed fast`).
    pub allowed: Option<&'a [PieceIndex]>,
    /// Pieces the peer would like us to take next (BEP 6 `suggest piece`).
    pub suggested: &'a [PieceIndex],
}

/// How fast a peer delivers, compared with the others. Ordered from worst to best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Speed {
    /// It has let a request time out and delivered nothing since.
    Snubbed,
    /// It would take long to deliver a whole piece.
    Slow,
    /// It delivers a whole piece in reasonable time.
    Fast,
}

/// What to do with a block that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// Not asked of this peer, a duplicate, or no longer needed.
    Drop,
    /// Part of its piece now.
    Keep {
        /// It was the last: the piece can be verified.
        complete: bool,
        /// Others who owed the same block and no longer do: tell them.
        cancel: Vec<PeerKey>,
    },
}

/// From how many peers at a time a piece may be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restriction {
    /// From any number.
    #[default]
    None,
    /// From one: so that a bad hash names its sender (LIMITS B10).
    OneAtATime,
}

impl Picker {
    /// A picker that wants every piece and has none.
    #[must_use]
    pub fn new(geometry: Geometry, seed: u64) -> Self {
        let _ = seed;
        Self { geometry, have: Bitfield::none(geometry.piece_count()) }
    }

    /// Sets what is verified on the disk, after checking. Open pieces in it are closed.
    pub fn set_have(&mut self, have: &Bitfield) {
        self.have = have.clone();
    }

    /// Sets what is to be fetched (file selection).
    pub fn set_wanted(&mut self, wanted: &Bitfield) {
        let _ = wanted;
    }

    /// Sets how many bytes of pieces may be open at a time; two pieces always may.
    pub fn set_capacity(&mut self, bytes: u64) {
        let _ = bytes;
    }

    /// A peer's whole set is known.
    pub fn peer_has(&mut self, have: &PeerHave) {
        let _ = have;
    }

    /// A peer has one more piece (`have`).
    pub fn peer_gained(&mut self, piece: PieceIndex) {
        let _ = piece;
    }

    /// A peer has one piece less (`lt_donthave`).
    pub fn peer_lost(&mut self, piece: PieceIndex) {
        let _ = piece;
    }

    /// A peer with this set is gone.
    pub fn peer_left(&mut self, have: &PeerHave) {
        let _ = have;
    }

    /// Appends blocks to request of a peer, at most `request.room`; the peer owes them now.
    pub fn pick(&mut self, request: Pick<'_>, out: &mut Vec<BlockRef>) {
        let _ = (request, out);
    }

    /// A block arrived whole.
    pub fn received(&mut self, peer: PeerKey, block: BlockRef) -> Received {
        let _ = (peer, block);
        Received::Drop
    }

    /// The peer no longer owes the block: rejected, choked, timed out.
    pub fn returned(&mut self, peer: PeerKey, block: BlockRef) {
        let _ = (peer, block);
    }

    /// The connection is gone, and with it all the peer owed.
    pub fn peer_gone(&mut self, peer: PeerKey) {
        let _ = peer;
    }

    /// The piece matched its hash.
    pub fn verified(&mut self, piece: PieceIndex) {
        self.have.insert(piece);
    }

    /// The piece did not match its hash and is missing again. Says who gave each block.
    pub fn failed(&mut self, piece: PieceIndex) -> Vec<PeerKey> {
        let _ = piece;
        Vec::new()
    }

    /// Restricts how a piece may be fetched, until it is verified.
    pub fn restrict(&mut self, piece: PieceIndex, restriction: Restriction) {
        let _ = (piece, restriction);
    }

    /// Open pieces given up since the last call; what was kept of them is to be dropped.
    /// Ask after `pick`, `returned`, `peer_gone`, `set_wanted` and `received`.
    #[must_use]
    pub fn take_discarded(&mut self) -> Vec<PieceIndex> {
        Vec::new()
    }

    /// Who gave each block of an open piece, in block order; empty for any other piece.
    #[must_use]
    pub fn contributors(&self, piece: PieceIndex) -> &[Option<PeerKey>] {
        let _ = piece;
        &[]
    }

    /// Whether the peer has a wanted piece that we lack.
    #[must_use]
    pub fn is_interesting(&self, have: &PeerHave) -> bool {
        self.interesting_piece(have).is_some()
    }

    /// Some wanted piece that we lack and the peer has. As long as it
    /// [stays missing](Self::is_missing), the peer stays interesting without another look.
    #[must_use]
    pub fn interesting_piece(&self, have: &PeerHave) -> Option<PieceIndex> {
        let _ = have;
        None
    }

    /// Whether the piece is wanted and not had.
    #[must_use]
    pub fn is_missing(&self, piece: PieceIndex) -> bool {
        !self.have.contains(piece)
    }

    /// Blocks the peer owes, in the order they were picked.
    pub fn owed(&self, peer: PeerKey) -> impl Iterator<Item = BlockRef> + '_ {
        let _ = peer;
        std::iter::empty()
    }

    /// Whether the peer owes this block.
    #[must_use]
    pub fn owes(&self, peer: PeerKey, block: BlockRef) -> bool {
        let _ = (peer, block);
        false
    }

    /// Wanted pieces that are not had.
    #[must_use]
    pub fn missing_wanted(&self) -> u32 {
        self.geometry.piece_count() - self.have.count()
    }

    /// Whether every wanted piece is had.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing_wanted() == 0
    }

    /// Whether every missing wanted block is requested.
    #[must_use]
    pub fn in_endgame(&self) -> bool {
        false
    }

    /// Pieces under way: a block requested or received, not verified yet.
    #[must_use]
    pub fn open_pieces(&self) -> usize {
        0
    }

    /// Bytes of the pieces under way, each counted whole.
    #[must_use]
    pub fn open_bytes(&self) -> u64 {
        0
    }

    /// Pieces verified.
    #[must_use]
    pub fn have(&self) -> &Bitfield {
        &self.have
    }

    /// Connected peers that have the piece.
    #[must_use]
    pub fn availability(&self, piece: PieceIndex) -> u32 {
        let _ = piece;
        0
    }
}
