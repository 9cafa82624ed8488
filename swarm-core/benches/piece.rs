//! What a piece costs between its first block and its verdict, by its length.
//!
//! `cargo bench -p swarm-core --no-default-features --bench piece`. Buffers come from a pool
//! and go back to it, as in a fetch; their bytes are never copied. Disk and socket are left out
//! (`data` has the former, `tests/bench/transfer.py` both).

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use swarm_core::data::{BlockPool, PieceBuf, hasher};
use swarm_core::geometry::Geometry;
use swarm_core::metainfo::PieceHash;
use swarm_core::types::{BLOCK_SIZE, BlockIndex, PieceIndex};

/// KiB of a piece.
const LENGTHS: [u64; 4] = [16, 64, 1024, 16384];
const PIECE: PieceIndex = PieceIndex::new(0);

fn main() {
    divan::main();
}

fn geometry(kib: u64) -> Geometry {
    Geometry::new(kib << 10, kib << 10).expect("within the limits")
}

/// Takes a buffer for every block of the piece and puts it in its place, filled as it is.
fn fill(geometry: &Geometry, pool: &BlockPool) -> PieceBuf {
    let mut piece = PieceBuf::new(geometry, PIECE);
    for index in 0..geometry.block_count(PIECE) {
        let mut block = pool.take();
        block.set_len(BLOCK_SIZE as usize);
        piece.insert(BlockIndex::new(index), block).expect("a block of this piece");
    }
    piece
}

/// Buffers taken, put in place and given back.
#[divan::bench(args = LENGTHS)]
fn insert_every_block(bencher: Bencher<'_, '_>, kib: u64) {
    let (geometry, pool) = (geometry(kib), BlockPool::new(1024));
    let blocks = ItemsCount::new(geometry.block_count(PIECE));
    bencher.counter(blocks).bench(|| black_box(fill(&geometry, &pool)));
}

/// The same, and the piece hashed.
#[divan::bench(args = LENGTHS)]
fn insert_and_verify(bencher: Bencher<'_, '_>, kib: u64) {
    let (geometry, pool) = (geometry(kib), BlockPool::new(1024));
    let expected = PieceHash::V1(hasher::sha1(fill(&geometry, &pool).blocks()));
    bencher.counter(BytesCount::new(kib << 10)).bench(|| {
        let piece = fill(&geometry, &pool);
        assert!(hasher::verify(piece.blocks(), &expected));
    });
}
