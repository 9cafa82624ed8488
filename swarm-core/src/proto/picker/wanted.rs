//! What is had, what is wanted, and what is therefore missing.
//!
//! Not here: in which order the missing pieces are fetched (see `rarity`).

use super::PeerHave;
use crate::types::{Bitfield, PieceIndex};

/// Bytes of two sets compared in one go: enough for the compiler to use wide registers.
const STRIDE: u32 = 64;

/// The pieces had and wanted.
#[derive(Debug)]
pub(super) struct Wanted {
    had: Bitfield,
    wanted: Bitfield,
    /// Wanted and not had.
    missing: Bitfield,
}

impl Wanted {
    /// Every one of `piece_count` pieces is wanted, none had.
    pub(super) fn new(piece_count: u32) -> Self {
        Self {
            had: Bitfield::none(piece_count),
            wanted: Bitfield::all(piece_count),
            missing: Bitfield::all(piece_count),
        }
    }

    pub(super) fn set_had(&mut self, had: &Bitfield) {
        self.had = fitted(had, self.had.len());
        self.missing = self.difference();
    }

    pub(super) fn set_wanted(&mut self, wanted: &Bitfield) {
        self.wanted = fitted(wanted, self.had.len());
        self.missing = self.difference();
    }

    pub(super) fn gain(&mut self, piece: PieceIndex) {
        self.had.insert(piece);
        self.missing.remove(piece);
    }

    pub(super) const fn had(&self) -> &Bitfield {
        &self.had
    }

    pub(super) const fn missing(&self) -> &Bitfield {
        &self.missing
    }

    /// Some missing piece that a peer has.
    pub(super) fn interesting(&self, have: &PeerHave) -> Option<PieceIndex> {
        match have {
            PeerHave::None => None,
            PeerHave::All => common(&self.missing, &self.missing, 0).next(),
            PeerHave::Some(bits) => common(bits, &self.missing, 0).next(),
        }
    }

    fn difference(&self) -> Bitfield {
        let mut missing = self.wanted.clone();
        for piece in self.had.iter() {
            missing.remove(piece);
        }
        missing
    }
}

/// The set, as one out of `len` pieces.
fn fitted(set: &Bitfield, len: u32) -> Bitfield {
    debug_assert_eq!(set.len(), len, "a set of pieces of another torrent");
    if set.len() == len {
        return set.clone();
    }
    let mut fitted = Bitfield::none(len);
    for piece in set.iter() {
        fitted.insert(piece);
    }
    fitted
}

/// The pieces in both sets, ascending from about `from` and around the end. Stretches
/// without any are passed at memory speed.
pub(super) fn common<'a>(
    a: &'a Bitfield,
    b: &'a Bitfield,
    from: u32,
) -> impl Iterator<Item = PieceIndex> + use<'a> {
    let bytes = STRIDE as usize;
    let strides = move || a.as_wire().chunks(bytes).zip(b.as_wire().chunks(bytes)).zip(0u32..);
    let skipped = (from / (8 * STRIDE)) as usize;
    strides()
        .skip(skipped)
        .chain(strides().take(skipped))
        .filter(|((a, b), _)| a.iter().zip(*b).fold(0, |any, (a, b)| any | (a & b)) != 0)
        .flat_map(|((a, b), stride)| {
            let bytes = a.iter().zip(b).map(|(a, b)| a & b).zip(stride * STRIDE..);
            bytes.filter(|(both, _)| *both != 0).flat_map(|(both, byte)| {
                let set = (0..8u32).filter(move |bit| both & (0x80 >> bit) != 0);
                set.map(move |bit| PieceIndex::new(byte * 8 + bit))
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(len: u32, pieces: &BTreeSet<u32>) -> Bitfield {
        let mut set = Bitfield::none(len);
        for index in pieces {
            set.insert(PieceIndex::new(*index));
        }
        set
    }

    #[test]
    fn a_peer_is_interesting_for_what_is_wanted_and_not_had() {
        let mut wanted = Wanted::new(3);
        let some = PeerHave::Some(set(3, &[1].into()));
        assert_eq!(wanted.interesting(&some), Some(PieceIndex::new(1)));
        assert_eq!(wanted.interesting(&PeerHave::None), None);
        wanted.set_wanted(&set(3, &[0, 2].into()));
        assert_eq!(wanted.interesting(&some), None);
        assert_eq!(wanted.interesting(&PeerHave::All), Some(PieceIndex::new(0)));
        wanted.set_had(&set(3, &[0, 1].into()));
        assert_eq!(wanted.interesting(&PeerHave::All), Some(PieceIndex::new(2)));
        wanted.gain(PieceIndex::new(2));
        assert_eq!(wanted.interesting(&PeerHave::All), None);
        assert!(wanted.had().is_all());
    }

    proptest! {
        #[test]
        fn common_pieces_are_the_intersection(
            len in 1u32..2000,
            a in prop::collection::btree_set(0u32..2000, 0..40),
            b in prop::collection::btree_set(0u32..2000, 0..400),
            from in 0u32..2000,
        ) {
            let found: Vec<u32> = common(&set(len, &a), &set(len, &b), from).map(PieceIndex::get).collect();
            let due: BTreeSet<u32> = a.intersection(&b).copied().filter(|index| *index < len).collect();
            prop_assert_eq!(found.len(), due.len());
            prop_assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), due);
        }
    }
}
