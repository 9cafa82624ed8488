//! A set of pieces, in the order of the wire.
//!
//! The first piece is the highest bit of the first byte (BEP 3); the bits after the last
//! piece are always zero, checked once when bytes come in and kept by every method.

use super::PieceIndex;

/// A set of pieces out of a fixed number of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bitfield {
    bytes: Vec<u8>,
    len: u32,
    count: u32,
}

/// Bytes that are no bitfield for the torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BitfieldError {
    /// The number of bytes does not fit the number of pieces.
    #[error("bitfield of {found} bytes where {expected} are due")]
    WrongLength {
        /// Bytes due.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// A bit after the last piece is set.
    #[error("bitfield with bits set after the last piece")]
    SpareBits,
}

impl Bitfield {
    /// The empty set out of `len` pieces.
    #[must_use]
    pub fn none(len: u32) -> Self {
        Self { bytes: vec![0; bytes_for(len)], len, count: 0 }
    }

    /// All of `len` pieces.
    #[must_use]
    pub fn all(len: u32) -> Self {
        let mut bytes = vec![0xff; bytes_for(len)];
        if let (Some(last), spare @ 1..) = (bytes.last_mut(), spare_bits(len)) {
            *last = 0xff << spare;
        }
        Self { bytes, len, count: len }
    }

    /// Reads the payload of a `bitfield` message.
    ///
    /// # Errors
    /// When the length is not exactly right for `len` pieces, or a spare bit is set.
    pub fn from_wire(bytes: &[u8], len: u32) -> Result<Self, BitfieldError> {
        let expected = bytes_for(len);
        if bytes.len() != expected {
            return Err(BitfieldError::WrongLength { expected, found: bytes.len() });
        }
        let spare_mask = (1u8 << spare_bits(len)) - 1;
        if bytes.last().is_some_and(|last| last & spare_mask != 0) {
            return Err(BitfieldError::SpareBits);
        }
        let count = bytes.iter().map(|byte| byte.count_ones()).sum();
        Ok(Self { bytes: bytes.to_vec(), len, count })
    }

    /// The payload of a `bitfield` message.
    #[must_use]
    pub fn as_wire(&self) -> &[u8] {
        &self.bytes
    }

    /// Pieces the set is taken out of.
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether there are no pieces to choose from at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Pieces in the set.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether every piece is in the set.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        self.count == self.len
    }

    /// Whether no piece is in the set.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.count == 0
    }

    /// Whether `piece` is in the set. A piece out of range never is.
    #[must_use]
    pub fn contains(&self, piece: PieceIndex) -> bool {
        let (byte, mask) = place(piece);
        self.bytes.get(byte).is_some_and(|bits| bits & mask != 0)
    }

    /// Adds `piece`; true when it was not in the set. A piece out of range is not added.
    pub fn insert(&mut self, piece: PieceIndex) -> bool {
        if piece.get() >= self.len || self.contains(piece) {
            return false;
        }
        let (byte, mask) = place(piece);
        if let Some(bits) = self.bytes.get_mut(byte) {
            *bits |= mask;
            self.count += 1;
        }
        true
    }

    /// Takes `piece` out; true when it was in the set.
    pub fn remove(&mut self, piece: PieceIndex) -> bool {
        if !self.contains(piece) {
            return false;
        }
        let (byte, mask) = place(piece);
        if let Some(bits) = self.bytes.get_mut(byte) {
            *bits &= !mask;
            self.count -= 1;
        }
        true
    }

    /// The pieces in the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.bytes.iter().enumerate().filter(|(_, bits)| **bits != 0).flat_map(|(at, bits)| {
            let bits = *bits;
            let first = u32::try_from(at).unwrap_or(u32::MAX / 8) * 8;
            (0..8u32)
                .filter(move |bit| bits & (0x80 >> bit) != 0)
                .map(move |bit| PieceIndex::new(first + bit))
        })
    }

    /// Whether the set holds a piece that `other` lacks.
    #[must_use]
    pub fn has_any_not_in(&self, other: &Self) -> bool {
        self.bytes.iter().zip(&other.bytes).any(|(mine, theirs)| mine & !theirs != 0)
    }
}

fn bytes_for(len: u32) -> usize {
    len.div_ceil(8) as usize
}

fn spare_bits(len: u32) -> u32 {
    (8 - len % 8) % 8
}

fn place(piece: PieceIndex) -> (usize, u8) {
    (piece.as_usize() / 8, 0x80 >> (piece.get() % 8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spare_bits_and_wrong_lengths_are_refused() {
        assert_eq!(Bitfield::from_wire(&[0xff], 7), Err(BitfieldError::SpareBits));
        assert!(Bitfield::from_wire(&[0xfe], 7).unwrap().is_all());
        assert!(Bitfield::from_wire(&[0xfe, 0], 7).is_err());
        assert!(Bitfield::from_wire(&[], 7).is_err());
        assert!(Bitfield::from_wire(&[], 0).unwrap().is_all());
    }

    #[test]
    fn a_piece_out_of_range_is_neither_added_nor_found() {
        let mut set = Bitfield::none(9);
        assert!(!set.insert(PieceIndex::new(9)));
        assert!(!set.contains(PieceIndex::new(u32::MAX)));
        assert_eq!(set.count(), 0);
    }

    proptest! {
        #[test]
        fn it_is_a_set(len in 0u32..200, ops in prop::collection::vec((0u32..210, any::<bool>()), 0..200)) {
            let mut set = Bitfield::none(len);
            let mut model = std::collections::BTreeSet::new();
            for (index, add) in ops {
                let piece = PieceIndex::new(index);
                if add {
                    prop_assert_eq!(set.insert(piece), index < len && model.insert(index));
                } else {
                    prop_assert_eq!(set.remove(piece), model.remove(&index));
                }
            }
            prop_assert_eq!(set.iter().map(PieceIndex::get).collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(set.count() as usize, model.len());
            prop_assert_eq!(&Bitfield::from_wire(set.as_wire(), len).unwrap(), &set);
            let all = Bitfield::all(len);
            prop_assert_eq!(all.iter().count(), len as usize);
            prop_assert_eq!(all.has_any_not_in(&set), set.count() < len);
            prop_assert!(!set.has_any_not_in(&all));
        }
    }
}
