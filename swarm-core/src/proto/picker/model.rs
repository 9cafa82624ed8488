//! A naive picker's view of the world, to hold the picker against.
//!
//! [`World`] keeps plain sets (who has what, who owes what, who gave what), makes every call
//! on a [`Picker`] that a torrent could make, and compares all that can be asked after each.
//! Driven by bytes: the property test and the fuzz target are the same.
//!
//! Not here: which of several right picks is best (see the unit tests).

use super::{
    COPIES_MAX, Manner, OPEN_MIN, PeerHave, Pick, Picker, ROUNDED_MAX, Received, Restriction,
    Speed, WHOLE_MIN, WINDOW_MIN,
};
use crate::geometry::Geometry;
use crate::proto::PeerKey;
use crate::types::{BLOCK_SIZE, Bitfield, BlockIndex, BlockRef, PieceIndex};
use std::collections::{BTreeMap, BTreeSet};

/// Calls on the picker that one driver's byte string may make.
const STEPS_MAX: usize = 4096;

/// A picker, and what must be true of it.
#[derive(Debug)]
pub struct World {
    geometry: Geometry,
    picker: Picker,
    peers: BTreeMap<PeerKey, Peer>,
    wanted: BTreeSet<PieceIndex>,
    had: BTreeSet<PieceIndex>,
    restricted: BTreeSet<PieceIndex>,
    owed: BTreeSet<(BlockRef, PeerKey)>,
    given: BTreeMap<BlockRef, PeerKey>,
    /// The open pieces that are written through, with the blocks written of each.
    through: BTreeMap<PieceIndex, usize>,
    capacity: u64,
    next: u32,
}

#[derive(Debug)]
struct Peer {
    have: PeerHave,
    late: Vec<BlockRef>,
    speed: Speed,
}

/// Runs a byte string: four bytes per step, then lets one peer that has everything finish.
pub fn run(seed: u64, bytes: &[u8]) {
    let [pieces, tail, ..] = seed.to_le_bytes();
    let total = u64::from(pieces % 40) * 40_000 + u64::from(tail) * 100 + 1;
    let geometry = Geometry::new(40_000, total).expect("lengths are within bounds");
    let mut world = World::new(geometry, seed);
    for step in bytes.chunks_exact(4).take(STEPS_MAX) {
        if let [op, a, b, c] = *step {
            world.step(op, a, b, c);
        }
    }
    world.finish();
}

impl World {
    fn new(geometry: Geometry, seed: u64) -> Self {
        Self {
            geometry,
            picker: Picker::new(geometry, seed),
            peers: BTreeMap::new(),
            wanted: geometry.pieces().collect(),
            had: BTreeSet::new(),
            restricted: BTreeSet::new(),
            owed: BTreeSet::new(),
            given: BTreeMap::new(),
            through: BTreeMap::new(),
            capacity: u64::MAX,
            next: 0,
        }
    }

    fn step(&mut self, op: u8, a: u8, b: u8, c: u8) {
        let piece = PieceIndex::new(u32::from(b) % self.geometry.piece_count());
        let peer = self.peers.keys().nth(usize::from(a) % self.peers.len().max(1)).copied();
        match (op % 32, peer) {
            (0, _) => self.set_wanted(a, b),
            (1, _) => self.set_have(a, b),
            (2, _) => self.set_capacity(u64::from(a) * 10_000),
            (3 | 4, _) | (_, None) => self.join(a, b, c),
            (5, Some(peer)) => self.leave(peer),
            (6..9, Some(peer)) => self.gain(peer, piece),
            (9, Some(peer)) => self.lose(peer, piece),
            (10..18, Some(peer)) => self.pick(peer, usize::from(b % 12), c),
            (18..26, Some(peer)) => self.deliver(peer, b),
            (26, Some(peer)) => self.stray(peer, piece, c),
            (27, Some(peer)) => self.give_back(peer, b),
            (28, Some(_)) => self.restrict(piece, c),
            (29, Some(_)) if c < 16 => self.verify(piece),
            (30, Some(_)) => self.write(piece, usize::from(c % 4)),
            (_, Some(_)) => self.judge(c),
        }
        self.compare();
    }

    /// One honest peer with everything completes the torrent, whatever the others did.
    fn finish(&mut self) {
        let held: Vec<_> = self.owed.iter().copied().collect();
        let mut last = None;
        for (block, peer) in held {
            // Peers that hang on to one copy of each block must not stop it.
            if last.replace(block) == Some(block) {
                self.give_back_block(peer, block);
            }
        }
        for peer in self.peers.keys().copied().collect::<Vec<_>>() {
            self.pick(peer, 0, 0);
        }
        let honest = PeerKey(u32::MAX);
        self.picker.peer_has(&PeerHave::All);
        let peer = Peer { have: PeerHave::All, late: Vec::new(), speed: Speed::Fast };
        self.peers.insert(honest, peer);
        let blocks = self.geometry.piece_count() * self.geometry.blocks_per_piece();
        for _ in 0..=blocks {
            self.judge(1);
            for piece in self.geometry.pieces() {
                self.write(piece, usize::MAX);
            }
            self.pick(honest, 3, 2);
            while self.owed.iter().any(|(_, owes)| *owes == honest) {
                self.deliver(honest, 0);
            }
            self.compare();
        }
        assert!(self.picker.is_complete(), "a peer with everything could not finish");
    }

    fn join(&mut self, a: u8, b: u8, c: u8) {
        let mut bits = Bitfield::none(self.geometry.piece_count());
        for piece in self.geometry.pieces() {
            let noise = piece.get().wrapping_mul(u32::from(b) * 2 + 1) ^ u32::from(c);
            if a >= 192 || noise % 256 < u32::from(a) {
                bits.insert(piece);
            }
        }
        let have = PeerHave::from_bitfield(bits);
        self.picker.peer_has(&have);
        let peer = Peer { have, late: Vec::new(), speed: Speed::Fast };
        self.peers.insert(PeerKey(self.next), peer);
        self.next += 1;
    }

    fn leave(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.remove(&key) else { return };
        self.picker.peer_left(&peer.have);
        self.picker.peer_gone(key);
        self.owed.retain(|(_, owes)| *owes != key);
    }

    fn gain(&mut self, key: PeerKey, piece: PieceIndex) {
        let count = self.geometry.piece_count();
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.have.insert(piece, count) {
            self.picker.peer_gained(piece);
        }
    }

    fn lose(&mut self, key: PeerKey, piece: PieceIndex) {
        let count = self.geometry.piece_count();
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.have.remove(piece, count) {
            self.picker.peer_lost(piece);
        }
    }

    fn set_wanted(&mut self, a: u8, b: u8) {
        let wanted = self.some_pieces(a, b);
        self.wanted = wanted.iter().collect();
        self.picker.set_wanted(&wanted);
    }

    fn set_have(&mut self, a: u8, b: u8) {
        let have = self.some_pieces(a / 4, b);
        self.had = have.iter().collect();
        self.owed.retain(|(block, _)| !have.contains(block.piece));
        self.picker.set_have(&have);
    }

    fn some_pieces(&self, a: u8, b: u8) -> Bitfield {
        let mut set = Bitfield::none(self.geometry.piece_count());
        let noise = |piece: &PieceIndex| piece.get().wrapping_mul(97) ^ u32::from(b);
        for piece in self.geometry.pieces().filter(|piece| noise(piece) % 200 < u32::from(a)) {
            set.insert(piece);
        }
        set
    }

    fn set_capacity(&mut self, bytes: u64) {
        self.capacity = bytes;
        self.picker.set_capacity(bytes);
    }

    fn restrict(&mut self, piece: PieceIndex, c: u8) {
        if c.is_multiple_of(2) {
            self.restricted.insert(piece);
            self.picker.restrict(piece, Restriction::OneAtATime);
        } else {
            self.restricted.remove(&piece);
            self.picker.restrict(piece, Restriction::None);
        }
    }

    fn pick(&mut self, key: PeerKey, room: usize, c: u8) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.speed = match c % 4 {
            0 => Speed::Snubbed,
            1 => Speed::Slow,
            _ => Speed::Fast,
        };
        let hints: Vec<_> = (0..3).map(|step| PieceIndex::new(u32::from(c) % 41 + step)).collect();
        let allowed = (c % 5 == 4).then_some(&hints[..]);
        let suggested = if c % 7 == 6 { &hints[..] } else { &[] };
        let manner = if c % 5 == 3 { Manner::InTurn } else { Manner::Always };
        let request = Pick {
            peer: key,
            have: &peer.have,
            room,
            speed: peer.speed,
            allowed,
            suggested,
            manner,
        };
        let (open, mut out) = (self.picker.open_pieces(), Vec::new());
        self.picker.pick(request, &mut out);
        let piece = match manner {
            Manner::InTurn if room > 0 => {
                self.geometry.blocks_per_piece().min(ROUNDED_MAX) as usize
            }
            _ => 1,
        };
        assert!(out.len() < room + piece, "more than was asked for");
        let (have, speed, picked) = (peer.have.clone(), peer.speed, out.len());
        self.discard();
        let mut first_of_through = false;
        for block in out {
            if self.is_writing_through() && !self.is_open(block.piece) {
                self.through.insert(block.piece, 0);
            }
            assert!(have.contains(block.piece), "a piece the peer lacks");
            assert!(allowed.is_none_or(|allowed| allowed.contains(&block.piece)), "choked");
            assert!(self.is_missing(block.piece), "a piece that is had or unwanted");
            assert!(!self.given.contains_key(&block), "a block that is here");
            assert!(self.geometry.block_size(block) > 0, "a block that does not exist");
            let copy = self.owers(block).next().is_some();
            first_of_through |= !copy && self.through.contains_key(&block.piece);
            assert!(!copy || speed != Speed::Snubbed && allowed.is_none(), "a needless copy");
            let is_slow = |ower| self.peers.get(&ower).is_none_or(|peer| peer.speed <= Speed::Slow);
            let are_slow = self.owers(block).all(is_slow);
            assert!(!copy || are_slow || manner == Manner::Always, "a copy in turn of a fast peer");
            assert!(!copy || self.is_all_requested() || self.is_held_up(block), "an early copy");
            assert!(self.owed.insert((block, key)), "a block the peer owes already");
        }
        let owed = self.owed.iter().filter(|(_, owes)| *owes == key).count();
        assert!(picked == 0 || speed != Speed::Snubbed || owed == 1, "a snubbed peer owes one");
        let (now, bytes) = (self.picker.open_pieces(), self.picker.open_bytes());
        let window = self.capacity.max(WINDOW_MIN);
        // Blocks of a piece that is written through may take the least window also where less is
        // left beside whole pieces: the capacity may have changed since it was opened.
        let most = if self.through.is_empty() { self.capacity } else { window };
        assert!(now <= open.max(OPEN_MIN) || bytes <= most, "over the capacity");
        assert!(!first_of_through || bytes <= window, "over the capacity by blocks");
    }

    fn deliver(&mut self, key: PeerKey, b: u8) {
        let owed: Vec<_> = self.owed.iter().filter(|(_, owes)| *owes == key).copied().collect();
        let Some((block, _)) = owed.get(usize::from(b) % owed.len().max(1)).copied() else {
            return;
        };
        self.accept(key, block);
    }

    /// A block arrives that may have been returned, given or never asked for.
    fn stray(&mut self, key: PeerKey, piece: PieceIndex, c: u8) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let guess = BlockRef { piece, block: BlockIndex::new(u32::from(c) % 4) };
        let block = peer.late.get(usize::from(c) % 8).copied().unwrap_or(guess);
        if self.owed.contains(&(block, key)) {
            return self.accept(key, block);
        }
        let open = !self.picker.contributors(block.piece).is_empty();
        let late = peer.late.iter().position(|late| *late == block).filter(|_| open);
        let due = late.is_some_and(|at| {
            peer.late.remove(at);
            !self.given.contains_key(&block) && !self.restricted.contains(&block.piece)
        });
        if due {
            return self.accept(key, block);
        }
        assert_eq!(self.picker.received(key, block), Received::Drop, "not asked for");
    }

    fn accept(&mut self, key: PeerKey, block: BlockRef) {
        let others: Vec<_> = self.owers(block).filter(|owes| *owes != key).collect();
        let Received::Keep { complete, mut cancel } = self.picker.received(key, block) else {
            unreachable!("a block that was due was dropped");
        };
        cancel.sort();
        assert_eq!(cancel, others, "the others who owed it");
        self.owed.retain(|(owed, _)| *owed != block);
        assert_eq!(self.given.insert(block, key), None, "given twice");
        assert_eq!(complete, self.is_given(block.piece), "complete");
        self.discard();
    }

    fn give_back(&mut self, key: PeerKey, b: u8) {
        let owed: Vec<_> = self.owed.iter().filter(|(_, owes)| *owes == key).copied().collect();
        for (block, _) in owed.into_iter().skip(usize::from(b) % 8) {
            self.give_back_block(key, block);
        }
    }

    fn give_back_block(&mut self, key: PeerKey, block: BlockRef) {
        self.picker.returned(key, block);
        self.owed.remove(&(block, key));
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.late.push(block);
            let excess = peer.late.len().saturating_sub(super::LATE_MAX);
            peer.late.drain(..excess);
        }
        self.discard();
    }

    /// The disk answers for one complete piece.
    fn judge(&mut self, c: u8) {
        let complete: Vec<_> =
            self.geometry.pieces().filter(|piece| self.is_given(*piece)).collect();
        let Some(piece) = complete.get(usize::from(c / 4) % complete.len().max(1)) else { return };
        if c.is_multiple_of(4) {
            let blame: Vec<_> = self.blocks(*piece).map(|(_, giver)| giver).collect();
            assert_eq!(self.picker.failed(*piece), blame, "who gave the blocks");
            self.given.retain(|block, _| block.piece != *piece);
            self.through.remove(piece);
        } else {
            self.verify(*piece);
        }
    }

    fn verify(&mut self, piece: PieceIndex) {
        self.picker.verified(piece);
        self.had.insert(piece);
        self.restricted.remove(&piece);
        self.through.remove(&piece);
        self.owed.retain(|(block, _)| block.piece != piece);
        if self.is_given(piece) {
            self.given.retain(|block, _| block.piece != piece);
        }
    }

    /// The disk has so many more blocks of a piece.
    fn write(&mut self, piece: PieceIndex, blocks: usize) {
        let given = self.blocks(piece).count();
        let Some(written) = self.through.get_mut(&piece) else { return };
        let blocks = blocks.min(given - *written);
        *written += blocks;
        self.picker.wrote(piece, blocks);
    }

    fn discard(&mut self) {
        for piece in self.picker.take_discarded() {
            let owed = self.owed.iter().any(|(block, _)| block.piece == piece);
            assert!(!owed || !self.is_missing(piece), "given up while somebody owes it");
            self.given.retain(|block, _| block.piece != piece);
            self.owed.retain(|(block, _)| block.piece != piece);
            self.through.remove(&piece);
        }
    }

    fn compare(&mut self) {
        self.discard();
        for (block, _) in &self.owed {
            assert!(self.owers(*block).count() <= COPIES_MAX, "too many copies");
        }
        let mut open = BTreeSet::new();
        for piece in self.geometry.pieces() {
            let peers = self.peers.values().filter(|peer| peer.have.contains(piece)).count();
            assert_eq!(self.picker.availability(piece) as usize, peers, "availability");
            assert_eq!(self.picker.is_missing(piece), self.is_missing(piece), "missing");
            let givers: Vec<_> = self.picker.contributors(piece).iter().flatten().collect();
            let due: Vec<_> = self.blocks(piece).map(|(_, giver)| giver).collect();
            assert!(givers.into_iter().eq(&due), "contributors of {piece}");
            let owed = self.owed.iter().any(|(block, _)| block.piece == piece);
            assert_eq!(
                !self.picker.contributors(piece).is_empty(),
                owed || !due.is_empty(),
                "{piece} is open when it has a block given or owed"
            );
            if owed || !due.is_empty() {
                open.insert(piece);
            }
        }
        self.through.retain(|piece, _| open.contains(piece));
        let bytes: u64 = open.iter().map(|piece| self.cost(*piece)).sum();
        assert_eq!((self.picker.open_pieces(), self.picker.open_bytes()), (open.len(), bytes));
        for (key, peer) in &self.peers {
            let owed: BTreeSet<_> = self.picker.owed(*key).map(|block| (block, *key)).collect();
            let due = self.owed.iter().filter(|(_, owes)| owes == key);
            assert!(owed.iter().eq(due), "what {key:?} owes");
            let missing = self.geometry.pieces().filter(|piece| self.is_missing(*piece));
            let interesting = missing.into_iter().any(|piece| peer.have.contains(piece));
            assert_eq!(self.picker.is_interesting(&peer.have), interesting, "interest");
        }
        let missing = self.geometry.pieces().filter(|piece| self.is_missing(*piece)).count();
        assert_eq!(self.picker.missing_wanted() as usize, missing);
        let endgame = missing > 0 && self.is_all_requested();
        assert_eq!(self.picker.in_endgame(), endgame, "endgame");
        assert!(self.picker.have().iter().eq(self.had.iter().copied()), "had");
    }

    fn owers(&self, block: BlockRef) -> impl Iterator<Item = PeerKey> + '_ {
        let range = (block, PeerKey(0))..=(block, PeerKey(u32::MAX));
        self.owed.range(range).map(|(_, owes)| *owes)
    }

    /// The blocks of a piece that are here.
    fn blocks(&self, piece: PieceIndex) -> impl Iterator<Item = (BlockRef, PeerKey)> + '_ {
        let block = |index| BlockRef { piece, block: BlockIndex::new(index) };
        self.given.range(block(0)..=block(u32::MAX)).map(|(block, giver)| (*block, *giver))
    }

    fn is_given(&self, piece: PieceIndex) -> bool {
        self.blocks(piece).count() == self.geometry.block_count(piece) as usize
    }

    fn is_missing(&self, piece: PieceIndex) -> bool {
        self.wanted.contains(&piece) && !self.had.contains(&piece)
    }

    /// The memory is used up and only snubbed peers owe the block.
    fn is_held_up(&self, block: BlockRef) -> bool {
        let more = self.picker.open_bytes() + u64::from(self.geometry.piece_length());
        let snubbed = |owes| self.peers.get(&owes).map(|peer| peer.speed) == Some(Speed::Snubbed);
        let full = self.is_writing_through() || more > self.capacity;
        full && self.owers(block).all(snubbed)
    }

    /// Whether a piece opened now is written through.
    fn is_writing_through(&self) -> bool {
        u64::from(self.geometry.piece_length()) * WHOLE_MIN > self.capacity
    }

    fn is_open(&self, piece: PieceIndex) -> bool {
        self.owed.iter().any(|(block, _)| block.piece == piece)
            || self.blocks(piece).next().is_some()
    }

    /// Memory that an open piece takes.
    fn cost(&self, piece: PieceIndex) -> u64 {
        let Some(written) = self.through.get(&piece) else {
            return u64::from(self.geometry.piece_size(piece));
        };
        let owed = self.owed.iter().map(|(block, _)| block).filter(|block| block.piece == piece);
        let owed = owed.collect::<BTreeSet<_>>().len();
        let blocks = owed + self.blocks(piece).count() - written;
        blocks as u64 * u64::from(BLOCK_SIZE)
    }

    fn is_all_requested(&self) -> bool {
        self.geometry.pieces().filter(|piece| self.is_missing(*piece)).all(|piece| {
            (0..self.geometry.block_count(piece)).all(|index| {
                let block = BlockRef { piece, block: BlockIndex::new(index) };
                self.given.contains_key(&block) || self.owers(block).next().is_some()
            })
        })
    }
}
