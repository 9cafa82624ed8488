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

/// Whether the segments, end to end, are the piece.
#[must_use]
pub fn verify<'a>(segments: impl IntoIterator<Item = &'a [u8]>, expected: &PieceHash) -> bool {
    let mut hasher = PieceHasher::new(expected);
    segments.into_iter().for_each(|segment| hasher.update(segment));
    hasher.matches()
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
