//! What one connection costs besides its system calls: bytes to blocks, blocks to bytes.
//!
//! `cargo run --release -p swarm-core --example connection -- --bench`. The reader and the
//! writer are no part of the crate's face, so their files are compiled in again here, exactly as
//! they are; neither knows a socket. What a read would copy is copied from a buffer, and counted.

use bytes::BytesMut;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use reader::Reader;
use swarm_core::data::BlockPool;
// What the two files find below `crate`.
use swarm_core::{data, proto, types, wire};
use types::{BLOCK_SIZE, PieceIndex, Span};
use wire::Message;
use writer::Writer;

#[expect(dead_code, reason = "the engine uses more of it")]
#[path = "../src/engine/peer/reader.rs"]
mod reader;
#[expect(dead_code, reason = "the engine uses more of it")]
#[path = "../src/engine/peer/writer.rs"]
mod writer;

/// Blocks of a turn: what one gathered write takes.
const BLOCKS: u32 = 32;
const BYTES: u64 = BLOCKS as u64 * BLOCK_SIZE as u64;
/// More than all of them with their headers.
const NO_LIMIT: usize = 1 << 20;

fn main() {
    divan::main();
}

fn spans() -> impl Iterator<Item = Span> {
    let piece = PieceIndex::new(7);
    (0..BLOCKS).map(move |block| Span { piece, begin: block * BLOCK_SIZE, length: BLOCK_SIZE })
}

/// Blocks as they come from a busy peer, in reads of at most so many KiB. Every byte is copied
/// once in place of the read, and those that land in the scratch buffer once more.
#[divan::bench(args = [64, 272])]
fn bytes_to_blocks(bencher: Bencher<'_, '_>, read_kib: usize) {
    let mut stream = BytesMut::new();
    for span in spans() {
        Message::Piece(span).encode(&mut stream);
        stream.resize(stream.len() + BLOCK_SIZE as usize, 0xA5);
    }
    let (mut reader, mut items) = (Reader::new(BlockPool::new(64)), Vec::new());
    bencher.counter(BytesCount::new(BYTES)).bench_local(|| {
        reader.ask(BLOCKS.into());
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let mut read = 0;
            for buffer in &mut reader.buffers(read_kib << 10) {
                let count = buffer.len().min(rest.len());
                let (now, later) = rest.split_at(count);
                buffer.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
                rest = later;
                read += count;
            }
            reader.advance(read, &mut items).expect("what a peer may send");
        }
        assert_eq!(items.len(), BLOCKS as usize);
        items.clear();
    });
}

/// Blocks that a worker has read: queued, gathered into one write, taken in as sent.
#[divan::bench]
fn blocks_to_one_write(bencher: Bencher<'_, '_>) {
    let pool = BlockPool::new(64);
    let (mut writer, mut cold, mut sent) = (Writer::default(), Vec::new(), Vec::new());
    bencher.counter(BytesCount::new(BYTES)).bench_local(|| {
        writer.push_blocks(spans().zip((0..).step_by(BLOCK_SIZE as usize)));
        writer.await_all(&mut cold);
        for span in cold.drain(..) {
            let mut block = pool.take();
            block.set_len(BLOCK_SIZE as usize);
            writer.fill(span, block);
        }
        let gathered = writer.gather(NO_LIMIT);
        assert_eq!(black_box(gathered.parts()).len(), 2 * BLOCKS as usize);
        let count = gathered.len();
        writer.advance(count, &mut sent);
        assert_eq!(sent.len(), BLOCKS as usize);
        sent.clear();
    });
}

/// Blocks that leave from their file: queued, looked up in runs, taken in as sent.
#[divan::bench]
fn blocks_from_their_file(bencher: Bencher<'_, '_>) {
    let (mut writer, mut sent) = (Writer::default(), Vec::new());
    bencher.counter(BytesCount::new(BYTES)).bench_local(|| {
        writer.push_blocks(spans().zip((0..).step_by(BLOCK_SIZE as usize)));
        while let Some(stored) = writer.stored() {
            black_box(writer.stored_run());
            let count = stored.header().len() + BLOCK_SIZE as usize;
            writer.advance(count, &mut sent);
        }
        assert_eq!(sent.len(), BLOCKS as usize);
        sent.clear();
    });
}
