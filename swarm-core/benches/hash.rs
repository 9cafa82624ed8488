//! What a byte costs to hash: pieces side by side against one after another, and against the crates.
//!
//! Read the fastest column: the lanes are the same whoever else has the core.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use sha1::Digest as _;
use swarm_core::data::hasher::{Candidate, block_digest, block_digests, verify_many};
use swarm_core::metainfo::PieceHash;
use swarm_core::metainfo::merkle::{leaves_of, piece_root};
use swarm_core::types::BLOCK_SIZE;

const BLOCK: usize = BLOCK_SIZE as usize;
const COUNTS: [usize; 8] = [1, 2, 4, 6, 8, 16, 24, 32];

fn main() {
    divan::main();
}

fn noise(length: usize) -> Vec<u8> {
    let mut x = 1u64;
    let next = |_| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        x.to_be_bytes()[0]
    };
    (0..length).map(next).collect()
}

/// Pieces with room for one more line between them, as buffers from an allocator have.
fn pieces(bytes: &[u8], length: usize) -> impl Iterator<Item = &[u8]> {
    bytes.chunks_exact(length + 64).filter_map(move |piece| piece.get(..length))
}

fn verify(bencher: Bencher<'_, '_>, count: usize, length: usize, hash: fn(&[u8]) -> PieceHash) {
    let bytes = noise(count * (length + 64));
    let candidates: Vec<_> = pieces(&bytes, length)
        .map(|piece| Candidate { segments: piece.chunks(BLOCK).collect(), expected: hash(piece) })
        .collect();
    bencher
        .counter(BytesCount::new(count * length))
        .bench(|| assert!(verify_many(black_box(&candidates)).iter().all(|good| *good)));
}

fn v1(piece: &[u8]) -> PieceHash {
    PieceHash::V1(sha1::Sha1::digest(piece).into())
}

fn v2(piece: &[u8]) -> PieceHash {
    let leaves = u32::try_from(leaves_of(piece.len() as u64)).expect("a short piece");
    PieceHash::V2 { root: piece_root(piece, leaves), leaves }
}

#[divan::bench(args = COUNTS)]
fn v1_pieces_of_16_kib(bencher: Bencher<'_, '_>, count: usize) {
    verify(bencher, count, 16 << 10, v1);
}

#[divan::bench(args = COUNTS)]
fn v1_pieces_of_1_mib(bencher: Bencher<'_, '_>, count: usize) {
    verify(bencher, count, 1 << 20, v1);
}

#[divan::bench(args = [1, 4, 16])]
fn v2_pieces_of_1_mib(bencher: Bencher<'_, '_>, count: usize) {
    verify(bencher, count, 1 << 20, v2);
}

#[divan::bench(args = [4 << 10, 64 << 10, 1 << 20])]
fn sha1_crate(bencher: Bencher<'_, '_>, length: usize) {
    let bytes = noise(length);
    bencher.counter(BytesCount::new(length)).bench(|| sha1::Sha1::digest(black_box(&bytes)));
}

#[divan::bench(args = [16 << 10, 1 << 20])]
fn sha256_crate(bencher: Bencher<'_, '_>, length: usize) {
    let bytes = noise(length);
    bencher.counter(BytesCount::new(length)).bench(|| sha2::Sha256::digest(black_box(&bytes)));
}

#[divan::bench(args = [1, 16, 64])]
fn digests_of_blocks_together(bencher: Bencher<'_, '_>, count: usize) {
    let bytes = noise(count * BLOCK);
    let blocks = || black_box(&bytes).chunks(BLOCK);
    bencher.counter(BytesCount::new(count * BLOCK)).bench(|| block_digests(blocks()));
}

#[divan::bench(args = [16])]
fn digests_of_blocks_one_by_one(bencher: Bencher<'_, '_>, count: usize) {
    let bytes = noise(count * BLOCK);
    let blocks = || black_box(&bytes).chunks(BLOCK);
    bencher
        .counter(BytesCount::new(count * BLOCK))
        .bench(|| blocks().map(block_digest).collect::<Vec<_>>());
}
