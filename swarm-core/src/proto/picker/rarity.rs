//! Pieces in play, rarest first, with every update in constant time.
//!
//! One array holds every piece: first those out of play (had, open or unwanted), then the
//! others level by level, where a piece's level is the number of peers that were counted
//! piece by piece and have it. A second array says where each piece is. One more or one
//! less peer moves a piece over one border by one swap. Inside a level the order is random:
//! whoever enters a level is swapped with a random member of it, so that neither the
//! index nor the order of `have` messages decides between equals, and a thousand machines
//! that see the same messages choose differently.
//!
//! Peers that have everything are counted once, in `seeds`. A seed that turns out to lack
//! a piece (`lt_donthave`) is *unfolded*: counted piece by piece from then on. Which of the
//! seeds it was does not matter, since they were all counted alike.
//!
//! Not here: what is wanted (see `wanted`), which of these pieces to open (the parent).

use super::wanted::common;
use crate::types::{Bitfield, PieceIndex};
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

/// Pieces looked at, rarest first, before falling back to a sample of what the peer has.
/// A piece that `k` of `n` peers have is found after `n / k` looks on average, so this is
/// ample for a torrent's few hundred peers.
const SCAN_MAX: usize = 2048;
/// A peer with fewer pieces than this is served from its own set at once.
const SPARSE_MAX: u32 = 512;
/// Pieces of the peer's own set that are compared in the fallback. Beyond it the choice
/// is the rarest of a random sample.
const SAMPLE_MAX: usize = 1024;
/// Random pieces tried when a random one is asked for, before any the peer has will do.
const RANDOM_TRIES: u32 = 16;

/// The order of the pieces in play.
#[derive(Debug)]
pub(super) struct Rarity {
    /// Per piece: peers counted piece by piece that have it.
    levels: Vec<u32>,
    /// Peers counted once for every piece.
    seeds: u32,
    /// Every piece: out of play, then level 0, level 1, ...
    order: Vec<u32>,
    /// Per piece: its place in `order`.
    place: Vec<u32>,
    /// `starts[l]` is the place of the first piece of level `l`; never empty.
    starts: Vec<u32>,
    in_play: Bitfield,
    /// `order` does not know of the latest levels: many changed at once.
    stale: bool,
    rng: Xoshiro256PlusPlus,
}

impl Rarity {
    /// All of `piece_count` pieces in play, held by nobody.
    pub(super) fn new(piece_count: u32, seed: u64) -> Self {
        let mut rarity = Self {
            levels: vec![0; piece_count as usize],
            seeds: 0,
            order: (0..piece_count).collect(),
            place: (0..piece_count).collect(),
            starts: vec![0],
            in_play: Bitfield::all(piece_count),
            stale: true,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
        };
        rarity.refresh();
        rarity
    }

    /// Puts exactly these pieces in play.
    pub(super) fn reset(&mut self, in_play: Bitfield) {
        self.order.sort_by_key(|piece| in_play.contains(PieceIndex::new(*piece)));
        for (place, piece) in (0u32..).zip(&self.order) {
            put(&mut self.place, *piece, place);
        }
        self.starts = vec![in_play.len() - in_play.count()];
        self.in_play = in_play;
        self.stale = true;
        self.refresh();
    }

    /// Sorts anew after [`Self::add_peer`] and [`Self::remove_peer`], when they left that to do.
    pub(super) fn refresh(&mut self) {
        if !self.stale {
            return;
        }
        self.stale = false;
        let out = at(&self.starts, 0);
        let mut loose = self.order.split_off(out as usize);
        loose.shuffle(&mut self.rng);
        // Counted, then dealt out in random order: random inside each level.
        let mut sizes = Vec::new();
        for piece in &loose {
            let level = at(&self.levels, *piece);
            sizes.resize(sizes.len().max(level as usize + 1), 0);
            let size = at(&sizes, level);
            put(&mut sizes, level, size + 1);
        }
        let mut start = out;
        self.starts = vec![out];
        for size in sizes.iter().take(sizes.len().saturating_sub(1)) {
            start += size;
            self.starts.push(start);
        }
        let mut next = self.starts.clone();
        self.order.resize(self.levels.len(), 0);
        for piece in loose {
            let level = at(&self.levels, piece);
            let place = at(&next, level);
            put(&mut next, level, place + 1);
            put(&mut self.order, place, piece);
            put(&mut self.place, piece, place);
        }
    }

    /// Takes a piece out of play.
    pub(super) fn take_out(&mut self, piece: PieceIndex) {
        self.refresh();
        if !self.in_play.remove(piece) {
            return;
        }
        for level in (0..=at(&self.levels, piece.get())).rev() {
            self.sink(piece.get(), level);
        }
    }

    /// Puts a piece in play.
    pub(super) fn put_in(&mut self, piece: PieceIndex) {
        self.refresh();
        if !self.in_play.insert(piece) {
            return;
        }
        let (place, border) = (at(&self.place, piece.get()), at(&self.starts, 0));
        self.swap(place, border - 1);
        put(&mut self.starts, 0, border - 1);
        let level = at(&self.levels, piece.get());
        for below in 0..level {
            self.lift(piece.get(), below);
        }
        self.mix(piece.get(), level);
    }

    /// Counts a peer that has everything.
    pub(super) fn add_seed(&mut self) {
        self.seeds += 1;
    }

    /// Counts a peer down that has everything.
    pub(super) fn remove_seed(&mut self) {
        if self.seeds > 0 {
            self.seeds -= 1;
            return;
        }
        // It was unfolded in the place of another: fold.
        for level in &mut self.levels {
            *level = level.saturating_sub(1);
        }
        self.stale = true;
    }

    /// Counts a peer that has these pieces.
    pub(super) fn add_peer(&mut self, have: &Bitfield) {
        self.stale |= is_bulk(have);
        for piece in have.iter() {
            self.raise(piece);
        }
    }

    /// Counts a peer down that has these pieces.
    pub(super) fn remove_peer(&mut self, have: &Bitfield) {
        self.stale |= is_bulk(have);
        for piece in have.iter() {
            self.lower(piece);
        }
    }

    /// One more peer has the piece.
    pub(super) fn raise(&mut self, piece: PieceIndex) {
        let Some(level) = self.levels.get_mut(piece.as_usize()) else { return };
        let old = *level;
        *level += 1;
        if !self.stale && self.in_play.contains(piece) {
            self.lift(piece.get(), old);
            self.mix(piece.get(), old + 1);
        }
    }

    /// One peer less has the piece, perhaps one that was counted as a seed.
    pub(super) fn lose(&mut self, piece: PieceIndex) {
        if self.seeds > 0 {
            self.seeds -= 1;
            for level in &mut self.levels {
                *level += 1;
            }
            self.stale = true;
        }
        self.lower(piece);
    }

    /// Pieces in play.
    pub(super) const fn len(&self) -> u32 {
        self.in_play.count()
    }

    /// Peers that have the piece.
    pub(super) fn availability(&self, piece: PieceIndex) -> u32 {
        self.levels.get(piece.as_usize()).map_or(0, |level| level + self.seeds)
    }

    /// Whether the piece is in play.
    pub(super) fn contains(&self, piece: PieceIndex) -> bool {
        self.in_play.contains(piece)
    }

    /// A rarest piece in play out of what a peer has (`None`: everything); equals are drawn
    /// by lot. Exact up to the bounds above, near beyond.
    pub(super) fn rarest(&mut self, have: Option<&Bitfield>) -> Option<PieceIndex> {
        self.refresh();
        let Some(have) = have else {
            return self.at_least(0).first().copied().map(PieceIndex::new);
        };
        if have.count() > SPARSE_MAX {
            common(have, &self.in_play, 0).next()?;
            // What a peer has was counted at least once: nothing of level 0.
            let found = self
                .at_least(1)
                .iter()
                .take(SCAN_MAX)
                .map(|piece| PieceIndex::new(*piece))
                .find(|piece| have.contains(*piece));
            if found.is_some() {
                return found;
            }
        }
        self.rarest_of_sample(have)
    }

    /// Any piece in play out of what a peer has (`None`: everything).
    pub(super) fn random(&mut self, have: Option<&Bitfield>) -> Option<PieceIndex> {
        self.refresh();
        let places = at(&self.starts, 0)..u32::try_from(self.order.len()).unwrap_or(u32::MAX);
        if places.is_empty() {
            return None;
        }
        for _ in 0..RANDOM_TRIES {
            let place = self.rng.random_range(places.clone());
            let piece = PieceIndex::new(at(&self.order, place));
            if have.is_none_or(|have| have.contains(piece)) {
                return Some(piece);
            }
        }
        self.rarest(have)
    }

    fn rarest_of_sample(&mut self, have: &Bitfield) -> Option<PieceIndex> {
        let (levels, rng) = (&self.levels, &mut self.rng);
        let from = rng.random_range(0..have.len().max(1));
        let mut best = None;
        let mut equals = 0u32;
        for piece in common(have, &self.in_play, from).take(SAMPLE_MAX) {
            let level = at(levels, piece.get());
            let rarer = best.is_none_or(|(lowest, _)| level < lowest);
            if !rarer && best.is_some_and(|(lowest, _)| level > lowest) {
                continue;
            }
            equals = if rarer { 1 } else { equals + 1 };
            if rarer || rng.random_range(0..equals) == 0 {
                best = Some((level, piece));
            }
        }
        best.map(|(_, piece)| piece)
    }

    fn lower(&mut self, piece: PieceIndex) {
        let Some(level) = self.levels.get_mut(piece.as_usize()) else { return };
        let old = *level;
        debug_assert!(old > 0, "a peer is counted down for a piece it was never counted for");
        if old == 0 {
            return;
        }
        *level -= 1;
        if !self.stale && self.in_play.contains(piece) {
            self.sink(piece.get(), old);
            self.mix(piece.get(), old - 1);
        }
    }

    /// Pieces in play from this level on, rarest first.
    fn at_least(&self, level: usize) -> &[u32] {
        let start = self.starts.get(level).map_or(self.order.len(), |start| *start as usize);
        self.order.get(start..).unwrap_or_default()
    }

    fn end(&self, level: u32) -> u32 {
        let len = || u32::try_from(self.order.len()).unwrap_or(u32::MAX);
        self.starts.get(level as usize + 1).copied().unwrap_or_else(len)
    }

    /// Moves a piece over the border from `level` to the next: it is the first there.
    fn lift(&mut self, piece: u32, level: u32) {
        let last = self.end(level) - 1;
        self.swap(at(&self.place, piece), last);
        match self.starts.get_mut(level as usize + 1) {
            Some(start) => *start = last,
            None => self.starts.push(last),
        }
    }

    /// Moves a piece over the border from `level` to the one below (out of play from 0):
    /// it is the last there.
    fn sink(&mut self, piece: u32, level: u32) {
        let first = at(&self.starts, level);
        self.swap(at(&self.place, piece), first);
        put(&mut self.starts, level, first + 1);
    }

    /// Gives a piece that has just entered `level` a random place in it.
    fn mix(&mut self, piece: u32, level: u32) {
        let places = at(&self.starts, level)..self.end(level);
        if places.len() > 1 {
            let place = self.rng.random_range(places);
            self.swap(at(&self.place, piece), place);
        }
    }

    fn swap(&mut self, a: u32, b: u32) {
        let (at_a, at_b) = (at(&self.order, a), at(&self.order, b));
        put(&mut self.order, a, at_b);
        put(&mut self.order, b, at_a);
        put(&mut self.place, at_b, a);
        put(&mut self.place, at_a, b);
    }
}

/// Whether sorting anew is cheaper than moving every piece of the set.
const fn is_bulk(have: &Bitfield) -> bool {
    have.count() > have.len() / 8
}

fn at(values: &[u32], index: u32) -> u32 {
    values.get(index as usize).copied().unwrap_or_default()
}

fn put(values: &mut [u32], index: u32, value: u32) {
    if let Some(slot) = values.get_mut(index as usize) {
        *slot = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piece(index: u32) -> PieceIndex {
        PieceIndex::new(index)
    }

    fn set(len: u32, pieces: &[u32]) -> Bitfield {
        let mut set = Bitfield::none(len);
        for index in pieces {
            set.insert(piece(*index));
        }
        set
    }

    impl Rarity {
        /// Every array agrees with every other.
        pub(in crate::proto::picker) fn check(&mut self) {
            self.refresh();
            let count = u32::try_from(self.order.len()).unwrap();
            assert_eq!(self.starts[0], count - self.in_play.count());
            assert!(self.starts.is_sorted());
            for (place, index) in self.order.iter().enumerate() {
                assert_eq!(self.place[*index as usize] as usize, place);
                let level = self.levels[*index as usize];
                if self.in_play.contains(piece(*index)) {
                    let level = (self.starts[level as usize], self.end(level));
                    assert!((level.0..level.1).contains(&u32::try_from(place).unwrap()));
                } else {
                    assert!(place < self.starts[0] as usize);
                }
            }
        }
    }

    #[test]
    fn the_piece_that_fewest_peers_have_comes_first() {
        let mut rarity = Rarity::new(4, 1);
        rarity.add_seed();
        rarity.add_peer(&set(4, &[0, 1, 3]));
        rarity.raise(piece(0));
        rarity.raise(piece(2));
        rarity.raise(piece(2));
        rarity.raise(piece(3));
        assert_eq!(rarity.rarest(None), Some(piece(1)));
        rarity.take_out(piece(1));
        assert_eq!(rarity.rarest(Some(&set(4, &[1, 2]))), Some(piece(2)));
        rarity.lose(piece(2));
        rarity.lower(piece(2));
        assert_eq!(rarity.rarest(None), Some(piece(2)));
        assert_eq!(rarity.availability(piece(2)), 1);
        assert_eq!(rarity.availability(piece(0)), 3);
        rarity.put_in(piece(1));
        rarity.check();
    }

    #[test]
    fn nothing_is_found_when_the_peer_has_nothing_in_play() {
        let mut rarity = Rarity::new(4, 1);
        let have = set(4, &[1]);
        rarity.add_peer(&have);
        rarity.take_out(piece(1));
        assert_eq!(rarity.rarest(Some(&have)), None);
        assert_eq!(rarity.random(Some(&have)), None);
        rarity.reset(Bitfield::none(4));
        assert_eq!(rarity.rarest(None), None);
        assert_eq!(rarity.random(None), None);
        rarity.check();
    }

    /// How often each of 8 pieces comes first, over many seeds.
    fn firsts(prepare: impl Fn(&mut Rarity), have: Option<&Bitfield>) -> [u32; 8] {
        let mut firsts = [0; 8];
        for seed in 0..4000 {
            let mut rarity = Rarity::new(8, seed);
            prepare(&mut rarity);
            firsts[rarity.rarest(have).unwrap().as_usize()] += 1;
        }
        firsts
    }

    #[test]
    fn equals_are_drawn_by_lot_whatever_the_order_of_have_messages() {
        let ascending = |rarity: &mut Rarity| {
            for _ in 0..3 {
                (0..8).for_each(|index| rarity.raise(piece(index)));
            }
            rarity.take_out(piece(5));
            rarity.put_in(piece(5));
        };
        let all = Bitfield::all(8);
        for have in [None, Some(&all)] {
            // 500 expected, standard deviation 21.
            for count in firsts(ascending, have) {
                assert!((400..600).contains(&count), "{count} of 4000");
            }
        }
    }

    #[test]
    fn a_large_set_is_scanned_and_a_small_one_sampled_to_the_same_end() {
        let mut rarity = Rarity::new(5000, 3);
        let most: Vec<u32> = (0..4000).collect();
        rarity.add_peer(&set(5000, &most));
        rarity.add_peer(&set(5000, &most[..3999]));
        assert_eq!(rarity.rarest(Some(&set(5000, &most))), Some(piece(3999)));
        assert_eq!(rarity.rarest(Some(&set(5000, &[7, 3999]))), Some(piece(3999)));
        let (few, other) = (set(5000, &[7, 4500]), set(5000, &most[1..]));
        rarity.add_peer(&few);
        assert_eq!(rarity.rarest(Some(&few)), Some(piece(4500)));
        assert!(rarity.rarest(Some(&other)).is_some());
        rarity.check();
    }

    #[test]
    fn seeds_that_lose_pieces_are_counted_exactly() {
        let mut rarity = Rarity::new(3, 1);
        rarity.add_seed();
        rarity.add_seed();
        rarity.lose(piece(0));
        rarity.lose(piece(0));
        let totals = |rarity: &Rarity| [0, 1, 2].map(|index| rarity.availability(piece(index)));
        assert_eq!(totals(&rarity), [0, 2, 2]);
        rarity.add_seed();
        rarity.remove_seed();
        rarity.remove_peer(&set(3, &[1, 2]));
        rarity.check();
        assert_eq!(totals(&rarity), [0, 1, 1]);
        let mut other = Rarity::new(3, 1);
        other.add_seed();
        other.add_peer(&set(3, &[1]));
        other.lose(piece(1));
        other.remove_seed();
        other.check();
        assert_eq!(totals(&other), [0, 0, 0]);
    }

    proptest! {
        #[test]
        fn the_order_follows_any_changes(seed: u64, ops in prop::collection::vec((0u8..6, 0u32..20), 0..200)) {
            let mut rarity = Rarity::new(20, seed);
            let mut levels = [0u32; 20];
            for (op, index) in ops {
                let at = index as usize;
                match op {
                    0 | 1 => { rarity.raise(piece(index)); levels[at] += 1; }
                    2 if levels[at] > 0 => { rarity.lower(piece(index)); levels[at] -= 1; }
                    3 => rarity.take_out(piece(index)),
                    4 => rarity.put_in(piece(index)),
                    5 => {
                        let have = set(20, &(0..index).collect::<Vec<_>>());
                        rarity.add_peer(&have);
                        (0..at).for_each(|at| levels[at] += 1);
                    }
                    _ => {}
                }
                rarity.check();
                let lowest = (0..20).filter(|index| rarity.contains(piece(*index))).map(|index| levels[index as usize]).min();
                prop_assert_eq!(rarity.rarest(None).map(|piece| levels[piece.as_usize()]), lowest);
                prop_assert_eq!(rarity.availability(piece(index)), levels[at]);
            }
        }
    }
}
