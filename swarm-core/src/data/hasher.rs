//! Whether bytes are the piece they claim to be.
//!
//! A piece is fed from front to back in segments of any length, so that nobody has to join
//! blocks first. Many are fed at once: the lanes of the CPU (`lanes`) then work on them side by side,
//! on pieces where SHA-1 makes each a chain (BEP 3), on 16 KiB leaves within one piece where it is a Merkle
//! tree of SHA-256 (BEP 52).
//!
//! Not here: threads, reading, what follows from a wrong hash.

use super::lanes::{Algorithm as _, Message, Sha1, Sha256, Width, finish_all, update_all};
use super::zeros;
use crate::metainfo::PieceHash;
use crate::types::BLOCK_SIZE;
use sha1::Digest as _;
use std::sync::OnceLock;

/// A piece that waits to be verified among others.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    /// Its bytes from front to back, cut anywhere.
    pub segments: Vec<&'a [u8]>,
    /// What it must hash to.
    pub expected: PieceHash,
}

/// Whether each candidate is the piece it claims to be, in order. Pieces of one length, cut
/// alike, are fastest; from [`batch_worth`] of them on, faster than one after another.
#[must_use]
pub fn verify_many(batch: &[Candidate<'_>]) -> Vec<bool> {
    verify_in(Width::fastest(), batch)
}

/// From how many v1 pieces of one length on [`verify_many`] is faster than one after another on
/// this CPU; `usize::MAX` where it never is. A v2 piece is many messages by itself and gains
/// nothing from company.
#[must_use]
pub fn batch_worth() -> usize {
    Sha1::worth(Width::fastest())
}

/// Whether the segments, end to end, are the piece.
#[must_use]
pub fn verify<'a>(segments: impl IntoIterator<Item = &'a [u8]>, expected: &PieceHash) -> bool {
    let segments = segments.into_iter().collect();
    verify_many(&[Candidate { segments, expected: *expected }]) == [true]
}

fn verify_in(width: Width, batch: &[Candidate<'_>]) -> Vec<bool> {
    let mut hashers: Vec<_> = batch.iter().map(|c| PieceHasher::like(&c.expected)).collect();
    let mut rests: Vec<_> = batch.iter().map(|c| c.segments.as_slice()).collect();
    while rests.iter().any(|rest| !rest.is_empty()) {
        let feeds = hashers.iter_mut().zip(&mut rests).map(|(hasher, rest)| {
            let (now, later) = rest.split_at(hasher.appetite().min(rest.len()));
            *rest = later;
            (hasher, now)
        });
        feed(width, feeds);
    }
    let hashed = finish(width, hashers);
    hashed
        .into_iter()
        .zip(batch)
        .map(|(hashed, candidate)| hashed.is(&candidate.expected))
        .collect()
}

/// SHA-1 of the segments, end to end.
#[must_use]
pub fn sha1<'a>(segments: impl IntoIterator<Item = &'a [u8]>) -> [u8; 20] {
    let mut sha1 = sha1::Sha1::new();
    segments.into_iter().for_each(|segment| sha1.update(segment));
    sha1.finalize().into()
}

/// A short digest of one block: the first 8 bytes of its SHA-1. Compared between a bad and
/// a good copy of a piece, it tells which peer sent what was wrong.
#[must_use]
pub fn block_digest(block: &[u8]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = sha1([block]);
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// [`block_digest`] of each block, side by side.
#[must_use]
pub fn block_digests<'a>(blocks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u64> {
    let width = Width::fastest();
    let blocks = blocks.into_iter();
    let mut messages: Vec<_> = blocks.map(|block| (Message::<Sha1, 5>::default(), block)).collect();
    update_all(width, messages.iter_mut().map(|(message, block)| (message, *block)));
    let hashes = finish_all(width, messages.into_iter().map(|(message, _)| message));
    hashes.iter().map(|[high, low, ..]| u64::from(*high) << 32 | u64::from(*low)).collect()
}

/// One piece on its way through its hash.
#[derive(Clone, Debug)]
pub(super) enum PieceHasher {
    V1(Message<Sha1, 5>),
    V2(Box<Tree>),
}

/// What a piece turned out to be.
#[derive(Debug)]
pub(super) enum Hashed {
    Sha1([u32; 5]),
    Tree(Box<Tree>),
}

/// A Merkle tree over 16 KiB leaves, folded as they come (BEP 52).
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    leaf: Message<Sha256, 8>,
    /// Roots of full subtrees with their height, heights falling from bottom to top.
    stack: Vec<(u32, Node)>,
}

/// A hash in the tree, in words.
type Node = [u32; 8];

/// The last bytes of a leaf, and what came of it before.
struct LastOfLeaf<'a> {
    tree: usize,
    leaf: Message<Sha256, 8>,
    bytes: &'a [u8],
}

/// Segments that a tree takes in one step: four for each of 16 lanes, when each is a leaf.
const TREE_SEGMENTS: usize = 64;

/// Feeds each piece its next segments, and all of them side by side.
pub(super) fn feed<'a>(
    width: Width,
    batch: impl Iterator<Item = (&'a mut PieceHasher, &'a [&'a [u8]])>,
) {
    let (mut messages, mut trees) = (Vec::new(), Vec::new());
    for (hasher, segments) in batch {
        match hasher {
            PieceHasher::V1(message) => messages.push((message, segments)),
            PieceHasher::V2(tree) => trees.push((&mut **tree, segments)),
        }
    }
    while messages.iter().any(|(_, segments)| !segments.is_empty()) {
        let next = messages.iter_mut().filter_map(|(message, segments)| {
            let (first, rest) = segments.split_first()?;
            *segments = rest;
            Some((&mut **message, *first))
        });
        update_all(width, next);
    }
    if !trees.is_empty() {
        feed_trees(width, &mut trees);
    }
}

/// The rest of each leaf that is full now goes side by side; the start of a leaf whose end has not come
/// goes at once.
fn feed_trees(width: Width, trees: &mut [(&mut Tree, &[&[u8]])]) {
    let mut full = Vec::new();
    for (at, (tree, segments)) in trees.iter_mut().enumerate() {
        for mut segment in segments.iter().copied() {
            while let Some((bytes, rest)) = segment.split_at_checked(tree.room()) {
                full.push(LastOfLeaf { tree: at, leaf: std::mem::take(&mut tree.leaf), bytes });
                segment = rest;
            }
            tree.leaf.update(segment);
        }
    }
    update_all(width, full.iter_mut().map(|last| (&mut last.leaf, last.bytes)));
    let nodes = finish_all(width, full.iter().map(|last| last.leaf.clone()));
    for (last, node) in full.iter().zip(nodes) {
        if let Some((tree, _)) = trees.get_mut(last.tree) {
            tree.push(node);
        }
    }
}

/// Ends the pieces, side by side.
pub(super) fn finish(width: Width, pieces: Vec<PieceHasher>) -> Vec<Hashed> {
    let messages = pieces.iter().filter_map(|piece| match piece {
        PieceHasher::V1(message) => Some(message.clone()),
        PieceHasher::V2(_) => None,
    });
    let mut hashes = finish_all(width, messages).into_iter();
    let hashed = pieces.into_iter().map(|piece| match piece {
        PieceHasher::V1(_) => Hashed::Sha1(hashes.next().unwrap_or_default()),
        PieceHasher::V2(tree) => Hashed::Tree(tree),
    });
    hashed.collect()
}

impl PieceHasher {
    /// Starts on a piece that is hashed with SHA-1.
    pub(super) fn v1() -> Self {
        Self::V1(Message::default())
    }

    /// Starts on a piece that is hashed as `expected` is.
    pub(super) fn like(expected: &PieceHash) -> Self {
        match expected {
            PieceHash::V1(_) => Self::v1(),
            PieceHash::V2 { .. } => Self::V2(Box::default()),
        }
    }

    /// Whether the bytes were the piece.
    pub(super) fn matches(self, expected: &PieceHash) -> bool {
        finish(Width::fastest(), vec![self]).pop().is_some_and(|hashed| hashed.is(expected))
    }

    /// As it is after so many zeros, without hashing them again each time.
    pub(super) fn skip_zeros(&mut self, length: u64) {
        *self = match self {
            Self::V1(_) => Self::V1(zeros::message(length)),
            Self::V2(_) => Self::V2(Box::new(Tree::of_zeros(length))),
        };
    }

    /// How many segments it can make use of in one step.
    const fn appetite(&self) -> usize {
        match self {
            Self::V1(_) => 1,
            Self::V2(_) => TREE_SEGMENTS,
        }
    }
}

impl Hashed {
    /// Whether this is what it must be.
    pub(super) fn is(self, expected: &PieceHash) -> bool {
        let words = |bytes: &[u8]| -> Vec<_> {
            bytes.as_chunks().0.iter().map(|word| u32::from_be_bytes(*word)).collect()
        };
        match (self, expected) {
            (Self::Sha1(hash), PieceHash::V1(expected)) => hash == *words(expected),
            (Self::Tree(tree), PieceHash::V2 { root, leaves }) => {
                tree.root((*leaves).max(1)).is_some_and(|node| node == *words(root))
            }
            _ => false,
        }
    }

    /// The SHA-1, where it is one.
    pub(super) fn sha1(&self) -> Option<[u8; 20]> {
        match self {
            Self::Sha1(hash) => hash.map(u32::to_be_bytes).as_flattened().try_into().ok(),
            Self::Tree(_) => None,
        }
    }
}

impl Tree {
    /// Bytes that the current leaf lacks.
    fn room(&self) -> usize {
        usize::try_from(u64::from(BLOCK_SIZE) - self.leaf.length()).unwrap_or(0)
    }

    /// After so many zeros.
    fn of_zeros(length: u64) -> Self {
        static LEAF: OnceLock<Node> = OnceLock::new();
        let leaf = *LEAF.get_or_init(|| {
            let mut leaf = Message::default();
            leaf.update(&[0; BLOCK_SIZE as usize]);
            Message::<Sha256, 8>::finish(leaf)
        });
        let mut tree = Self::default();
        (0..length / u64::from(BLOCK_SIZE)).for_each(|_| tree.push(leaf));
        zeros::update(&mut tree.leaf, length % u64::from(BLOCK_SIZE));
        tree
    }

    fn push(&mut self, leaf: Node) {
        let mut node = (0, leaf);
        while let Some(left) = self.stack.pop_if(|left| left.0 == node.0) {
            node = (node.0 + 1, parent(&left.1, &node.1));
        }
        self.stack.push(node);
    }

    /// The root of the tree padded with zero leaves to `leaves`; `None` when there were more.
    fn root(mut self, leaves: u32) -> Option<Node> {
        //= BEP 52: the remaining leaf hashes beyond the end of the file are set to zero
        if self.leaf.length() > 0 {
            let last = std::mem::take(&mut self.leaf).finish();
            self.push(last);
        }
        let height = leaves.next_power_of_two().trailing_zeros();
        let (mut at, mut node) = self.stack.pop().unwrap_or_default();
        let mut padding = (0..at).fold([0; 8], |zero, _| parent(&zero, &zero));
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

fn parent(left: &Node, right: &Node) -> Node {
    let mut both = Message::<Sha256, 8>::default();
    for node in [left, right] {
        both.update(node.map(u32::to_be_bytes).as_flattened());
    }
    both.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha1::Sha1;
    use sha2::Sha256;

    const LEAF: usize = BLOCK_SIZE as usize;

    const ABC: [u8; 20] = [
        0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81, 0x6a, 0xba, 0x3e, 0x25, 0x71, 0x78, 0x50, 0xc2,
        0x6c, 0x9c, 0xd0, 0xd8, 0x9d,
    ];

    /// The tree as BEP 52 describes it: every level in full.
    fn naive_root(bytes: &[u8], leaves: usize) -> [u8; 32] {
        let hash = |block: &[u8]| -> [u8; 32] { Sha256::digest(block).into() };
        let mut level: Vec<_> = bytes.chunks(LEAF).map(hash).collect();
        level.resize(leaves, [0; 32]);
        while level.len() > 1 {
            level = level.chunks(2).map(|pair| Sha256::digest(pair.concat()).into()).collect();
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
        assert_eq!(
            block_digests([b"abc".as_slice(), b""]),
            [0xa999_3e36_4706_816a, 0xda39_a3ee_5e6b_4b0d]
        );
    }

    #[test]
    fn more_leaves_than_the_tree_has_never_match() {
        let bytes = vec![7; 3 * LEAF];
        let root = naive_root(&bytes, 4);
        assert!(verify([bytes.as_slice()], &PieceHash::V2 { root, leaves: 4 }));
        for leaves in [0, 1, 2, 8] {
            assert!(!verify([bytes.as_slice()], &PieceHash::V2 { root, leaves }));
        }
    }

    proptest! {
        #[test]
        fn a_tree_is_the_same_however_its_bytes_come(
            length in 1usize..9 * LEAF,
            extra in 0u32..3,
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let bytes: Vec<u8> = (0..length).map(|at| u8::try_from(at % 253).unwrap()).collect();
            let leaves = length.div_ceil(LEAF).next_power_of_two() << extra;
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

    proptest! {
        // Lanes are slow in a build for debugging.
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn a_batch_is_judged_as_its_pieces_are_one_by_one(
            pieces in prop::collection::vec(
                (0usize..3 * LEAF, any::<bool>(), any::<bool>(), 1usize..2 * LEAF),
                0..34,
            ),
        ) {
            let bytes: Vec<u8> = (0..3 * LEAF).map(|at| u8::try_from(at % 253).unwrap()).collect();
            let (mut batch, mut good) = (Vec::new(), Vec::new());
            for (length, v2, wrong, cut) in pieces {
                let bytes = &bytes[..length];
                let leaves = length.div_ceil(LEAF).max(1).next_power_of_two();
                let mut expected = match v2 && length > 0 {
                    true => PieceHash::V2 {
                        root: naive_root(bytes, leaves),
                        leaves: u32::try_from(leaves).unwrap(),
                    },
                    false => PieceHash::V1(Sha1::digest(bytes).into()),
                };
                if let (true, PieceHash::V1([first, ..]) | PieceHash::V2 { root: [first, ..], .. }) =
                    (wrong, &mut expected)
                {
                    *first ^= 1;
                }
                batch.push(Candidate { segments: bytes.chunks(cut).collect(), expected });
                good.push(!wrong);
            }
            for width in [Width::One, Width::widest()] {
                prop_assert_eq!(&verify_in(width, &batch), &good);
            }
        }
    }
}
