//! Which block next, from whom.
//!
//! Pieces under way first, then new ones, rarest first (see `policy` for the order); in the
//! end, copies of what others owe (see `endgame`).
//!
//! Memory: a piece is opened only while all open pieces, counted whole, fit the capacity,
//! so every open piece can be completed. Pieces too long for that are written through: the
//! driver writes their blocks as they come, and only those owed or not written yet count; a
//! write always ends, so that these cannot be stuck either. Should the open ones be pieces that no connected
//! peer can continue, while another peer has something else to give, the one with least
//! in it is given up ([`Picker::take_discarded`]): a full house never stops a download.
//!
//! A piece that is unwanted while it is open gets no more requests. What is in flight may
//! arrive; if that completes it, it is verified as usual, else it is given up when the last
//! request is answered, or before that if another piece needs the room. So a change of the
//! selection needs no cancels.
//!
//! Not here: how many blocks a peer may owe, when a request has timed out, who is blamed
//! for a bad piece (all in the torrent).

mod endgame;
mod have;
#[cfg(any(test, feature = "__fuzz"))]
pub mod model;
mod open;
mod piece;
mod policy;
mod rarity;
#[cfg(test)]
mod tests;
mod wanted;

pub use endgame::DEPTH as ENDGAME_DEPTH;
pub use have::PeerHave;
pub use open::LATE_MAX;
pub use piece::COPIES_MAX;

use self::open::Open;
use self::piece::{Need, OpenPiece};
use self::policy::Turn;
use self::rarity::Rarity;
use self::wanted::Wanted;
use super::PeerKey;
use crate::geometry::Geometry;
use crate::types::{Bitfield, BlockRef, PieceIndex};
use std::collections::BTreeSet;

/// Pieces that may be open whatever the capacity: one to be hashed, one to be fetched. No more
/// than these when pieces are written through.
pub const OPEN_MIN: usize = 2;
/// Pieces are kept in memory when the capacity has room for so many of them: one is hashed, one
/// waits for its last blocks, one is begun.
pub const WHOLE_MIN: u64 = 3;
/// Bytes of pieces written through that may be owed or waiting whatever the capacity.
pub const WINDOW_MIN: u64 = 512 << 10;
/// So many pieces are begun at random, to have something to give that is not what everybody
/// fetches first.
pub const RANDOM_FIRST: usize = 4;

/// Chooses the blocks to request. One per torrent.
///
/// Deterministic: equal calls with an equal seed give equal picks. Pieces that do not exist
/// are ignored everywhere.
#[derive(Debug)]
pub struct Picker {
    geometry: Geometry,
    wanted: Wanted,
    rarity: Rarity,
    open: Open,
    restricted: BTreeSet<PieceIndex>,
    discarded: Vec<PieceIndex>,
    capacity: u64,
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
    /// A picker that wants every piece and has none. The capacity is unlimited until set.
    #[must_use]
    pub fn new(geometry: Geometry, seed: u64) -> Self {
        Self {
            geometry,
            wanted: Wanted::new(geometry.piece_count()),
            rarity: Rarity::new(geometry.piece_count(), seed),
            open: Open::default(),
            restricted: BTreeSet::new(),
            discarded: Vec::new(),
            capacity: u64::MAX,
        }
    }

    /// Sets what is verified on the disk, after checking. Open pieces in it are given up.
    pub fn set_have(&mut self, have: &Bitfield) {
        self.wanted.set_had(have);
        let had: Vec<_> = self.open.indices().filter(|piece| have.contains(*piece)).collect();
        for piece in had {
            self.give_up(piece);
        }
        self.reset();
    }

    /// Sets what is to be fetched (file selection).
    pub fn set_wanted(&mut self, wanted: &Bitfield) {
        self.wanted.set_wanted(wanted);
        self.open.set_demand(|piece| wanted.contains(piece));
        self.sweep();
        self.reset();
    }

    /// Sets how many bytes of pieces may be in memory at a time. Pieces already open stay open,
    /// and are kept as they were when they were opened.
    pub const fn set_capacity(&mut self, bytes: u64) {
        self.capacity = bytes;
    }

    /// A peer's whole set is known: counts it. To be called once per peer, before the first
    /// pick for it.
    pub fn peer_has(&mut self, have: &PeerHave) {
        match have {
            PeerHave::None => {}
            PeerHave::All => self.rarity.add_seed(),
            PeerHave::Some(bits) => self.rarity.add_peer(bits),
        }
    }

    /// A peer has one more piece (`have`), that it did not have before.
    pub fn peer_gained(&mut self, piece: PieceIndex) {
        self.rarity.raise(piece);
    }

    /// A peer has one piece less (`lt_donthave`), that it had before.
    pub fn peer_lost(&mut self, piece: PieceIndex) {
        if self.geometry.has_piece(piece) {
            self.rarity.lose(piece);
        }
    }

    /// A peer with this set is gone: counts it down. The set is the one counted by
    /// [`Self::peer_has`] with every later change made by [`PeerHave::insert`] and
    /// [`PeerHave::remove`].
    pub fn peer_left(&mut self, have: &PeerHave) {
        match have {
            PeerHave::None => {}
            PeerHave::All => self.rarity.remove_seed(),
            PeerHave::Some(bits) => self.rarity.remove_peer(bits),
        }
    }

    /// Appends blocks to request of a peer, at most `request.room`; the peer owes them now.
    ///
    /// Never a block the peer lacks or owes already, nor of a piece that is had or unwanted.
    pub fn pick(&mut self, request: Pick<'_>, out: &mut Vec<BlockRef>) {
        let owed = self.open.note(request.peer, request.speed);
        let room = match request.speed {
            Speed::Snubbed => request.room.min(1usize.saturating_sub(owed)),
            Speed::Slow | Speed::Fast => request.room,
        };
        if room == 0 || self.is_complete() {
            return;
        }
        let mut turn = Turn { request, room, out };
        match request.allowed {
            Some(allowed) => self.pick_allowed(&mut turn, allowed),
            None => self.pick_any(&mut turn, owed),
        }
    }

    /// A block arrived whole.
    pub fn received(&mut self, peer: PeerKey, block: BlockRef) -> Received {
        let Some((complete, cancel)) = self.open.give(peer, block) else { return Received::Drop };
        self.sweep();
        Received::Keep { complete, cancel }
    }

    /// Blocks that arrived of a piece that [is written through](Self::is_through) have been
    /// written: they take no memory any more.
    pub fn wrote(&mut self, piece: PieceIndex, blocks: usize) {
        self.open.wrote(piece, blocks);
    }

    /// Whether the blocks of an open piece are to be written as they come, because it is too
    /// long for the capacity that was set when it was opened.
    #[must_use]
    pub fn is_through(&self, piece: PieceIndex) -> bool {
        self.open.get(piece).is_some_and(OpenPiece::is_through)
    }

    /// The peer no longer owes the block: rejected, choked, timed out. Should it arrive
    /// after all while it is still missing, it is kept.
    pub fn returned(&mut self, peer: PeerKey, block: BlockRef) {
        self.open.release(peer, block);
        self.sweep();
    }

    /// The connection is gone, and with it all the peer owed.
    pub fn peer_gone(&mut self, peer: PeerKey) {
        self.open.forget(peer);
        self.sweep();
    }

    /// The piece matched its hash: it is had.
    pub fn verified(&mut self, piece: PieceIndex) {
        let open = self.open.close(piece);
        if open.is_some_and(|open| open.need() != Need::Verification) {
            self.discarded.push(piece);
        }
        self.rarity.take_out(piece);
        self.wanted.gain(piece);
        self.restricted.remove(&piece);
    }

    /// The piece did not match its hash and is missing again. Says who gave each block, in
    /// block order; nobody when the piece was not open.
    pub fn failed(&mut self, piece: PieceIndex) -> Vec<PeerKey> {
        let Some(open) = self.open.close(piece) else { return Vec::new() };
        self.reopen(piece);
        open.givers().iter().copied().flatten().collect()
    }

    /// Restricts how a piece may be fetched, until it is verified.
    pub fn restrict(&mut self, piece: PieceIndex, restriction: Restriction) {
        match restriction {
            Restriction::None => self.restricted.remove(&piece),
            Restriction::OneAtATime => self.restricted.insert(piece),
        };
        self.open.restrict(piece, restriction);
    }

    /// Open pieces given up since the last call: what was kept of them is to be dropped.
    /// Nobody owes blocks of them any more; should some arrive, they are not kept.
    ///
    /// To be asked, and acted upon, after each call that is not a question, before blocks
    /// that were picked are requested: a piece given up may be open anew.
    #[must_use]
    pub fn take_discarded(&mut self) -> Vec<PieceIndex> {
        std::mem::take(&mut self.discarded)
    }

    /// Who gave each block of an open piece, in block order; empty for any other piece.
    #[must_use]
    pub fn contributors(&self, piece: PieceIndex) -> &[Option<PeerKey>] {
        self.open.get(piece).map_or(&[], OpenPiece::givers)
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
        self.wanted.interesting(have)
    }

    /// Whether the piece is wanted and not had.
    #[must_use]
    pub fn is_missing(&self, piece: PieceIndex) -> bool {
        self.wanted.missing().contains(piece)
    }

    /// Blocks the peer owes, in the order they were picked.
    pub fn owed(&self, peer: PeerKey) -> impl Iterator<Item = BlockRef> + '_ {
        self.open.peers().get(&peer).into_iter().flat_map(|worker| worker.owed.iter().copied())
    }

    /// Whether the peer owes this block.
    #[must_use]
    pub fn owes(&self, peer: PeerKey, block: BlockRef) -> bool {
        self.open.get(block.piece).is_some_and(|piece| piece.owers(block.block).contains(peer))
    }

    /// Wanted pieces that are not had.
    #[must_use]
    pub const fn missing_wanted(&self) -> u32 {
        self.wanted.missing().count()
    }

    /// Whether every wanted piece is had.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.wanted.missing().is_none()
    }

    /// Whether something is missing and every missing wanted block is requested.
    #[must_use]
    pub fn in_endgame(&self) -> bool {
        !self.is_complete() && self.rarity.len() == 0 && !self.open.has_free()
    }

    /// Blocks that a peer owes and others owe too.
    #[must_use]
    pub fn copies_of(&self, peer: PeerKey) -> Vec<BlockRef> {
        let owers = |block: &BlockRef| {
            self.open.get(block.piece).map_or(0, |piece| piece.owers(block.block).count())
        };
        self.owed(peer).filter(|block| owers(block) > 1).collect()
    }

    /// Pieces under way: a block requested or received, not verified yet.
    #[must_use]
    pub fn open_pieces(&self) -> usize {
        self.open.len()
    }

    /// Bytes of memory that the pieces under way take, or will with what is owed: each counted
    /// whole, or by block when it is written through.
    #[must_use]
    pub const fn open_bytes(&self) -> u64 {
        self.open.bytes()
    }

    /// Whether no further piece may be opened before one is closed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.has_room()
    }

    /// Pieces verified.
    #[must_use]
    pub const fn have(&self) -> &Bitfield {
        self.wanted.had()
    }

    /// Connected peers that have the piece.
    #[must_use]
    pub fn availability(&self, piece: PieceIndex) -> u32 {
        self.rarity.availability(piece)
    }

    fn give_up(&mut self, piece: PieceIndex) {
        if self.open.close(piece).is_some() {
            self.open.closed.push(piece);
            self.sweep();
        }
    }

    /// Takes over the pieces that `open` has closed.
    fn sweep(&mut self) {
        for piece in std::mem::take(&mut self.open.closed) {
            self.discarded.push(piece);
            self.reopen(piece);
        }
    }

    /// A closed piece may be opened again, if it is still missing.
    fn reopen(&mut self, piece: PieceIndex) {
        if self.is_missing(piece) {
            self.rarity.put_in(piece);
        }
    }

    /// Puts exactly the missing pieces in play that are not open.
    fn reset(&mut self) {
        let mut in_play = self.wanted.missing().clone();
        for piece in self.open.indices() {
            in_play.remove(piece);
        }
        self.rarity.reset(in_play);
    }
}
