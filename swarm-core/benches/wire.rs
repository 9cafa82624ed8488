//! What a message costs on its way in and out: boundaries, fields, nothing else.
//!
//! `cargo bench -p swarm-core --no-default-features --bench wire`. A seed decodes one request
//! for each 16 KiB it sends and a fetcher one header, so 65,536 of them are a GiB.

use bytes::BytesMut;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use swarm_core::types::{BLOCK_SIZE, PieceIndex, Span};
use swarm_core::wire::{FrameLimits, Message, frame};

/// Messages of a turn: what a busy peer has waiting.
const MESSAGES: u32 = 1024;
const LIMITS: FrameLimits = FrameLimits { piece_count: Some(100_000), run_max: None };

fn main() {
    divan::main();
}

fn span(number: u32) -> Span {
    let blocks = number % 64;
    Span { piece: PieceIndex::new(number / 64), begin: blocks * BLOCK_SIZE, length: BLOCK_SIZE }
}

fn messages(kind: &str) -> Vec<Message> {
    let message = |number| match kind {
        "request" => Message::Request(span(number)),
        "have" => Message::Have(PieceIndex::new(number)),
        _ => Message::Piece(span(number)),
    };
    (0..MESSAGES).map(message).collect()
}

fn encoded(messages: &[Message]) -> BytesMut {
    let mut out = BytesMut::new();
    messages.iter().for_each(|message| message.encode(&mut out));
    out
}

/// Messages one after the other in one buffer. A `piece` is its header: the payload goes by
/// without the framer.
#[divan::bench(args = ["request", "have", "piece"])]
fn decode(bencher: Bencher<'_, '_>, kind: &str) {
    let bytes = encoded(&messages(kind));
    bencher.counter(ItemsCount::new(MESSAGES)).bench(|| {
        let mut rest = black_box(&bytes[..]);
        let mut count = 0;
        while let Ok(Some((taken, message))) = frame::decode(rest, &LIMITS) {
            black_box(message);
            rest = rest.get(taken..).unwrap_or_default();
            count += 1;
        }
        assert_eq!(count, MESSAGES);
    });
}

/// The same messages into one buffer.
#[divan::bench(args = ["request", "have", "piece"])]
fn encode(bencher: Bencher<'_, '_>, kind: &str) {
    let messages = messages(kind);
    let mut out = encoded(&messages);
    bencher.counter(ItemsCount::new(MESSAGES)).bench_local(|| {
        out.clear();
        messages.iter().for_each(|message| black_box(message).encode(&mut out));
        out.len()
    });
}

/// The bitfield of 100,000 pieces, as the first message of a peer.
#[divan::bench]
fn decode_a_bitfield(bencher: Bencher<'_, '_>) {
    let bits = bytes::Bytes::from(vec![0xA5; 100_000 / 8]);
    let bytes = encoded(&[Message::Bitfield(bits)]);
    bencher.bench(|| black_box(frame::decode(black_box(&bytes), &LIMITS)));
}
