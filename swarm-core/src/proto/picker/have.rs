//! What one peer has.
//!
//! Most peers of a finished swarm have everything, and every newcomer has nothing; neither
//! needs a bit per piece (LIMITS B43). A set that *grows* to everything keeps its bits: the
//! picker counted it piece by piece and must be able to count it down again, so the way a
//! set is stored says how it was counted. Ask [`PeerHave::is_all`], not for the variant.
//!
//! Not here: which of these pieces we want (see `wanted`).

use crate::types::{Bitfield, PieceIndex};

/// Pieces a peer has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PeerHave {
    /// Nothing (BEP 6 `have none`, or no `bitfield` yet).
    #[default]
    None,
    /// Everything (BEP 6 `have all`, or a full `bitfield`).
    All,
    /// These.
    Some(Bitfield),
}

impl PeerHave {
    /// The set a `bitfield` message announces; full and empty ones without their bits.
    #[must_use]
    pub fn from_bitfield(bits: Bitfield) -> Self {
        if bits.is_none() {
            Self::None
        } else if bits.is_all() {
            Self::All
        } else {
            Self::Some(bits)
        }
    }

    /// Whether the peer has `piece`. The caller has checked that the piece exists.
    #[must_use]
    pub fn contains(&self, piece: PieceIndex) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Some(bits) => bits.contains(piece),
        }
    }

    /// Adds `piece` out of `piece_count`; true when it was not in the set.
    pub fn insert(&mut self, piece: PieceIndex, piece_count: u32) -> bool {
        if matches!(self, Self::None) {
            *self = Self::Some(Bitfield::none(piece_count));
        }
        match self {
            Self::None | Self::All => false,
            Self::Some(bits) => bits.insert(piece),
        }
    }

    /// Takes `piece` out of a set out of `piece_count`; true when it was in it.
    pub fn remove(&mut self, piece: PieceIndex, piece_count: u32) -> bool {
        if matches!(self, Self::All) {
            *self = Self::Some(Bitfield::all(piece_count));
        }
        match self {
            Self::None | Self::All => false,
            Self::Some(bits) => bits.remove(piece),
        }
    }

    /// Pieces in the set, out of `piece_count`.
    #[must_use]
    pub const fn count(&self, piece_count: u32) -> u32 {
        match self {
            Self::None => 0,
            Self::All => piece_count,
            Self::Some(bits) => bits.count(),
        }
    }

    /// Whether the peer has every piece.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Some(bits) => bits.is_all(),
        }
    }

    /// Whether the peer has no piece.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        match self {
            Self::None => true,
            Self::All => false,
            Self::Some(bits) => bits.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_and_empty_bitfields_carry_no_bits() {
        assert_eq!(PeerHave::from_bitfield(Bitfield::all(9)), PeerHave::All);
        assert_eq!(PeerHave::from_bitfield(Bitfield::none(9)), PeerHave::None);
    }

    #[test]
    fn a_set_that_grows_to_everything_is_all_and_keeps_its_bits() {
        let mut have = PeerHave::None;
        assert!(have.is_none());
        assert!(have.insert(PieceIndex::new(0), 2));
        assert!(!have.insert(PieceIndex::new(0), 2));
        assert!(have.insert(PieceIndex::new(1), 2));
        assert!(have.is_all());
        assert!(matches!(have, PeerHave::Some(_)));
        assert_eq!(have.count(2), 2);
    }

    #[test]
    fn a_peer_that_had_everything_can_lose_one_piece() {
        let mut have = PeerHave::All;
        assert!(have.remove(PieceIndex::new(1), 3));
        assert!(!have.remove(PieceIndex::new(1), 3));
        assert!(have.contains(PieceIndex::new(0)) && !have.contains(PieceIndex::new(1)));
        assert_eq!(have.count(3), 2);
        assert!(!PeerHave::None.remove(PieceIndex::new(0), 3));
        assert!(!PeerHave::All.insert(PieceIndex::new(0), 3));
    }
}
