//! Whether bytes are the piece they claim to be.
//!
//! A [`PieceHasher`] is fed a piece from front to back in segments of any length, so that
//! nobody has to join blocks first. SHA-1 and SHA-256 come from the RustCrypto crates, which
//! choose the CPU's SHA instructions at run time. Several hashers are independent of each
//! other: hashing many pieces side by side in vector lanes would step a slice of them.
//!
//! Not here: threads, reading, what follows from a wrong hash.

use crate::metainfo::PieceHash;
use crate::types::BLOCK_SIZE;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

/// Hashes one piece against what it must be.
#[derive(Debug)]
pub struct PieceHasher {
    state: State,
}

#[derive(Debug)]
enum State {
    V1 { sha1: Sha1, expected: [u8; 20] },
    V2 { tree: Box<Tree>, root: [u8; 32], leaves: u32 },
}

impl PieceHasher {
    /// Starts on a piece that must hash to `expected`.
    #[must_use]
    pub fn new(expected: &PieceHash) -> Self {
        let state = match *expected {
            PieceHash::V1(expected) => State::V1 { sha1: Sha1::new(), expected },
            PieceHash::V2 { root, leaves } => {
                State::V2 { tree: Box::default(), root, leaves: leaves.max(1) }
            }
        };
        Self { state }
    }

    /// Takes the next bytes of the piece.
    pub fn update(&mut self, segment: &[u8]) {
        match &mut self.state {
            State::V1 { sha1, .. } => sha1.update(segment),
            State::V2 { tree, .. } => tree.update(segment),
        }
    }

    /// Whether the bytes were the piece.
    #[must_use]
    pub fn matches(self) -> bool {
        match self.state {
            State::V1 { sha1, expected } => <[u8; 20]>::from(sha1.finalize()) == expected,
            State::V2 { tree, root, leaves } => tree.root(leaves) == Some(root),
        }
    }
}

/// SHA-1 of a piece nobody knows the hash of yet.
#[derive(Debug, Default)]
pub struct Sha1Hasher(Sha1);

impl Sha1Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, segment: &[u8]) {
        self.0.update(segment);
    }

    /// The hash.
    #[must_use]
    pub fn finish(self) -> [u8; 20] {
        self.0.finalize().into()
    }
}

/// Whether the segments, end to end, are the piece.
#[must_use]
pub fn verify<'a>(segments: impl IntoIterator<Item = &'a [u8]>, expected: &PieceHash) -> bool {
    let mut hasher = PieceHasher::new(expected);
    segments.into_iter().for_each(|segment| hasher.update(segment));
    hasher.matches()
}

/// A piece that waits to be verified among others.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// Its bytes from front to back, cut anywhere.
    pub segments: Vec<&'a [u8]>,
    /// What it must hash to.
    pub expected: PieceHash,
}

/// Whether each candidate is the piece it claims to be, in order. Pieces of one length are
/// fastest; from [`batch_worth`] of them on, faster than one after another.
#[must_use]
pub fn verify_many(batch: &[Candidate<'_>]) -> Vec<bool> {
    let one = |piece: &Candidate<'_>| verify(piece.segments.iter().copied(), &piece.expected);
    batch.iter().map(one).collect()
}

/// From how many v1 pieces of one length on [`verify_many`] is faster than one after another on
/// this CPU; `usize::MAX` where it never is. A v2 piece is many messages by itself and gains
/// nothing from company.
#[must_use]
pub const fn batch_worth() -> usize {
    usize::MAX
}

/// SHA-1 of the segments, end to end.
#[must_use]
pub fn sha1<'a>(segments: impl IntoIterator<Item = &'a [u8]>) -> [u8; 20] {
    let mut sha1 = Sha1::new();
    segments.into_iter().for_each(|segment| sha1.update(segment));
    sha1.finalize().into()
}

/// A short digest of one block: the first 8 bytes of its SHA-1. Compared between a bad and
/// a good copy of a piece, it tells which peer sent what was wrong.
#[must_use]
pub fn block_digest(block: &[u8]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 20]>::from(Sha1::digest(block));
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// A Merkle tree over 16 KiB leaves, folded as they come (BEP 52).
#[derive(Debug, Default)]
struct Tree {
    leaf: Sha256,
    leaf_len: usize,
    /// Roots of full subtrees with their height, heights falling from bottom to top.
    stack: Vec<(u32, [u8; 32])>,
}

impl Tree {
    const LEAF: usize = BLOCK_SIZE as usize;

    fn update(&mut self, mut segment: &[u8]) {
        while !segment.is_empty() {
            let room = (Self::LEAF - self.leaf_len).min(segment.len());
            let (now, rest) = segment.split_at(room);
            self.leaf.update(now);
            self.leaf_len += room;
            if self.leaf_len == Self::LEAF {
                self.close_leaf();
            }
            segment = rest;
        }
    }

    fn close_leaf(&mut self) {
        let mut node = (0, std::mem::take(&mut self.leaf).finalize().into());
        self.leaf_len = 0;
        while let Some(left) = self.stack.pop_if(|left| left.0 == node.0) {
            node = (node.0 + 1, parent(&left.1, &node.1));
        }
        self.stack.push(node);
    }

    /// The root of the tree padded with zero leaves to `leaves`; `None` when there were more.
    fn root(mut self, leaves: u32) -> Option<[u8; 32]> {
        //= BEP 52: the remaining leaf hashes beyond the end of the file are set to zero
        if self.leaf_len > 0 {
            self.close_leaf();
        }
        let height = leaves.next_power_of_two().trailing_zeros();
        let (mut at, mut node) = self.stack.pop().unwrap_or_default();
        let mut padding = (0..at).fold([0; 32], |zero, _| parent(&zero, &zero));
        while at < height {
            node = match self.stack.pop_if(|left| left.0 == at) {
                Some(left) => parent(&left.1, &node),
                None => parent(&node, &padding),
            };
            padding = parent(&padding, &padding);
            at += 1;
        }
        (self.stack.is_empty() && at == height).then_some(node)
    }
}

fn parent(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut sha256 = Sha256::new();
    sha256.update(left);
    sha256.update(right);
    sha256.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ABC: [u8; 20] = [
        0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81, 0x6a, 0xba, 0x3e, 0x25, 0x71, 0x78, 0x50, 0xc2,
        0x6c, 0x9c, 0xd0, 0xd8, 0x9d,
    ];

    /// The tree as BEP 52 describes it: every level in full.
    fn naive_root(bytes: &[u8], leaves: usize) -> [u8; 32] {
        let hash = |block: &[u8]| -> [u8; 32] { Sha256::digest(block).into() };
        let mut level: Vec<_> = bytes.chunks(Tree::LEAF).map(hash).collect();
        level.resize(leaves, [0; 32]);
        while level.len() > 1 {
            level = level.chunks(2).map(|pair| parent(&pair[0], &pair[1])).collect();
        }
        level[0]
    }

    #[test]
    fn a_known_hash_is_recognised_and_a_flipped_bit_is_not() {
        assert_eq!(sha1([b"a".as_slice(), b"bc"]), ABC);
        assert!(verify([b"a".as_slice(), b"", b"bc"], &PieceHash::V1(ABC)));
        assert!(!verify([b"abd".as_slice()], &PieceHash::V1(ABC)));
        assert!(!verify([], &PieceHash::V1(ABC)));
        assert_eq!(block_digest(b"abc"), 0xa999_3e36_4706_816a);
        let mut unknown = Sha1Hasher::default();
        unknown.update(b"abc");
        assert_eq!(unknown.finish(), ABC);
    }

    #[test]
    fn more_leaves_than_the_tree_has_never_match() {
        let bytes = vec![7; 3 * Tree::LEAF];
        let root = naive_root(&bytes, 4);
        assert!(verify([bytes.as_slice()], &PieceHash::V2 { root, leaves: 4 }));
        for leaves in [0, 1, 2, 8] {
            assert!(!verify([bytes.as_slice()], &PieceHash::V2 { root, leaves }));
        }
    }

    proptest! {
        #[test]
        fn a_tree_is_the_same_however_its_bytes_come(
            length in 1usize..9 * Tree::LEAF,
            extra in 0u32..3,
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let bytes: Vec<u8> = (0..length).map(|at| u8::try_from(at % 253).unwrap()).collect();
            let leaves = length.div_ceil(Tree::LEAF).next_power_of_two() << extra;
            let expected = PieceHash::V2 {
                root: naive_root(&bytes, leaves),
                leaves: u32::try_from(leaves).unwrap(),
            };
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(length)).chain([0, length]).collect();
            cuts.sort_unstable();
            let segments = || cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]);
            prop_assert!(verify(segments(), &expected));
            prop_assert!(verify(segments(), &PieceHash::V1(Sha1::digest(&bytes).into())));
            let mut wrong = bytes.clone();
            wrong[length / 2] ^= 1;
            prop_assert!(!verify([wrong.as_slice()], &expected));
        }
    }
}
