//! The Merkle trees of BEP 52: SHA-256 over 16 KiB leaves, two children to a node.
//!
//! A tree is as wide as the next power of two; leaves after the end of the file are zero.
//! A *piece root* is the node above one piece; the piece roots of a file, without those
//! that cover nothing, are its piece layer.

use sha2::{Digest as _, Sha256};

use crate::types::BLOCK_SIZE;

/// Bytes in a node.
pub const HASH_SIZE: usize = 32;

/// What the file tree and the piece layers say about one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileRoots {
    /// Root of the file's tree; zero for an empty file, which has none.
    pub root: [u8; HASH_SIZE],
    /// The piece layer; empty when the file is not longer than a piece.
    pub layer: Vec<[u8; HASH_SIZE]>,
}

/// Node over one piece: `bytes` is what the file has there, at most `leaves` blocks, and
/// `leaves` a power of two.
///
/// For a file of at most one piece, `leaves` is [`leaves_of`] its length; else it is the
/// piece length in blocks.
#[must_use]
pub fn piece_root(bytes: &[u8], leaves: u32) -> [u8; HASH_SIZE] {
    let block = usize::try_from(BLOCK_SIZE).unwrap_or(usize::MAX);
    let hashes = bytes.chunks(block).map(|block| Sha256::digest(block).into()).collect();
    root_of(hashes, leaves, [0; HASH_SIZE])
}

/// Leaves in the tree of a file of this length: a power of two, at least 1.
#[must_use]
pub fn leaves_of(length: u64) -> u64 {
    length.div_ceil(u64::from(BLOCK_SIZE)).max(1).next_power_of_two()
}

impl FileRoots {
    /// From the piece roots of a non-empty file, in order.
    #[must_use]
    pub fn new(piece_roots: Vec<[u8; HASH_SIZE]>, piece_length: u32) -> Self {
        match piece_roots.as_slice() {
            [] => Self::default(),
            [root] => Self { root: *root, layer: Vec::new() },
            _ => Self { root: layer_root(&piece_roots, piece_length), layer: piece_roots },
        }
    }
}

/// Root of the tree above a piece layer.
pub(super) fn layer_root(layer: &[[u8; HASH_SIZE]], piece_length: u32) -> [u8; HASH_SIZE] {
    let mut pad = [0; HASH_SIZE];
    for _ in 0..(piece_length / BLOCK_SIZE).max(1).ilog2() {
        pad = parent(&pad, &pad);
    }
    let width = u32::try_from(layer.len()).unwrap_or(u32::MAX / 2 + 1).next_power_of_two();
    root_of(layer.to_vec(), width, pad)
}

/// Reduces a row of nodes, filled up to `width` with `pad`, to one.
fn root_of(mut row: Vec<[u8; HASH_SIZE]>, width: u32, mut pad: [u8; HASH_SIZE]) -> [u8; HASH_SIZE] {
    for _ in 0..width.max(1).ilog2() {
        row = row
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => parent(left, right),
                [left, ..] => parent(left, &pad),
                [] => pad,
            })
            .collect();
        pad = parent(&pad, &pad);
    }
    row.first().copied().unwrap_or(pad)
}

fn parent(left: &[u8; HASH_SIZE], right: &[u8; HASH_SIZE]) -> [u8; HASH_SIZE] {
    Sha256::new().chain_update(left).chain_update(right).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_hashes_to_its_only_leaf() {
        assert_eq!(piece_root(b"abc", 1), <[u8; 32]>::from(Sha256::digest(b"abc")));
    }

    #[test]
    fn a_piece_layer_has_the_same_root_as_the_leaves() {
        let length = usize::try_from(BLOCK_SIZE).unwrap() * 11 + 5;
        let bytes: Vec<u8> = (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let whole = piece_root(&bytes, u32::try_from(leaves_of(bytes.len() as u64)).unwrap());
        for leaves in [1u32, 2, 4, 8] {
            let piece_length = leaves * BLOCK_SIZE;
            let roots = bytes
                .chunks(piece_length as usize)
                .map(|piece| piece_root(piece, leaves))
                .collect::<Vec<_>>();
            assert_eq!(FileRoots::new(roots, piece_length).root, whole, "{leaves} leaves a piece");
        }
    }

    #[test]
    fn leaves_are_counted_up_to_a_power_of_two() {
        let block = u64::from(BLOCK_SIZE);
        let counts = [0, 1, block, block + 1, 3 * block, 5 * block].map(leaves_of);
        assert_eq!(counts, [1, 1, 1, 2, 4, 8]);
    }
}
