use super::*;
use crate::types::{BLOCK_SIZE, PieceIndex};
use bytes::BytesMut;
use proptest::prelude::*;

/// What a peer sends, for tests.
#[derive(Clone, Debug)]
enum Sent {
    Message(Message),
    Block(Span),
}

fn span(piece: u32, length: u32) -> Span {
    Span { piece: PieceIndex::new(piece), begin: 0, length }
}

fn payload(span: Span) -> Vec<u8> {
    let first = span.piece.get().wrapping_mul(31);
    (0..span.length).map(|at| (first.wrapping_add(at) % 251) as u8).collect()
}

fn bytes_of(stream: &[Sent]) -> BytesMut {
    let mut bytes = BytesMut::new();
    for sent in stream {
        match sent {
            Sent::Message(message) => message.encode(&mut bytes),
            Sent::Block(span) => {
                Message::Piece(*span).encode(&mut bytes);
                bytes.extend_from_slice(&payload(*span));
            }
        }
    }
    bytes
}

/// Gives `reader` at most `limit` bytes of the stream, as a socket would.
fn read(
    reader: &mut Reader,
    stream: &mut &[u8],
    limit: usize,
    out: &mut Vec<Incoming>,
) -> Result<u64, CloseReason> {
    let mut count = 0;
    for mut buffer in reader.buffers(limit.max(1)) {
        let (now, rest) = stream.split_at(buffer.len().min(stream.len()));
        buffer[..now.len()].copy_from_slice(now);
        count += now.len();
        *stream = rest;
    }
    let mut payload = reader.advance(count, out)?;
    while reader.has_more() {
        let mut next = Vec::new();
        payload += reader.advance(0, &mut next)?;
        assert!(next.len() <= ITEMS_MAX);
        out.append(&mut next);
    }
    Ok(payload)
}

fn reader(asked: u64) -> Reader {
    let mut reader = Reader::new(BlockPool::new(64));
    reader.set_run_max(frame::RUN_MAX);
    reader.ask(asked);
    reader
}

/// Every message in order, and every block with what it consists of, runs taken apart.
fn check(stream: &[Sent], out: &[Incoming]) {
    let mut out = out.iter();
    for sent in stream {
        match sent {
            Sent::Message(sent) => match out.next() {
                Some(Incoming::Message(came)) => assert_eq!(sent, came),
                other => panic!("{other:?}"),
            },
            Sent::Block(run) => {
                let mut begin = run.begin;
                for part in payload(*run).chunks(BLOCK_SIZE as usize) {
                    let length = u32::try_from(part.len()).unwrap();
                    match out.next() {
                        Some(Incoming::Block(came, data)) => {
                            assert_eq!(*came, Span { begin, length, ..*run });
                            assert!(*part == **data);
                        }
                        other => panic!("{other:?}"),
                    }
                    begin += length;
                }
            }
        }
    }
    assert_eq!(out.count(), 0);
}

fn any_sent() -> impl Strategy<Value = Sent> {
    prop_oneof![
        (0u32..9, 1u32..=BLOCK_SIZE).prop_map(|(piece, length)| Sent::Block(span(piece, length))),
        (0u32..9).prop_map(|piece| Sent::Block(span(piece, BLOCK_SIZE))),
        (0u32..9, 1u32..=16)
            .prop_map(|(piece, blocks)| Sent::Block(span(piece, blocks * BLOCK_SIZE))),
        (0u32..9, BLOCK_SIZE..=frame::RUN_MAX)
            .prop_map(|(piece, length)| Sent::Block(span(piece, length))),
        (0u32..9).prop_map(|piece| Sent::Message(Message::Have(PieceIndex::new(piece)))),
        Just(Sent::Message(Message::KeepAlive)),
        prop::collection::vec(any::<u8>(), 0..9000).prop_map(|payload| {
            Sent::Message(Message::Extended { id: 1, payload: payload.into() })
        }),
    ]
}

proptest! {
    #[test]
    fn however_the_stream_is_cut_the_same_comes_out(
        stream in prop::collection::vec(any_sent(), 0..30),
        limits in prop::collection::vec(prop_oneof![1usize..40, 1usize..100_000], 1..20),
    ) {
        let bytes = bytes_of(&stream);
        let mut rest = &bytes[..];
        let mut reader = reader(16 * 30);
        let mut out = Vec::new();
        let mut total = 0;
        let mut limits = limits.iter().cycle();
        while !rest.is_empty() {
            total += read(&mut reader, &mut rest, *limits.next().unwrap(), &mut out).unwrap();
        }
        check(&stream, &out);
        let payload: u64 = stream.iter().map(|sent| match sent {
            Sent::Block(span) => u64::from(span.length),
            Sent::Message(_) => 0,
        }).sum();
        prop_assert_eq!(total, payload);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..4000), limit in 1usize..500) {
        let mut reader = reader(3);
        let mut rest = &bytes[..];
        let mut out = Vec::new();
        while !rest.is_empty() {
            if read(&mut reader, &mut rest, limit, &mut out).is_err() {
                break;
            }
        }
    }
}

#[test]
fn blocks_nobody_asked_for_take_no_buffer_and_end_the_connection() {
    let stream: Vec<_> = (0..100).map(|piece| Sent::Block(span(piece, 100))).collect();
    let bytes = bytes_of(&stream);
    let mut rest = &bytes[..];
    let mut reader = reader(5);
    let mut out = Vec::new();
    let end = loop {
        if let Err(why) = read(&mut reader, &mut rest, 113, &mut out) {
            break why;
        }
    };
    assert_eq!(end, CloseReason::Misbehaved);
    assert_eq!(out.len(), 5);
    assert_eq!(reader.pool.peak(), 5);
    assert_eq!(bytes.len() - rest.len(), 113 * (5 + UNASKED_MAX as usize + 1));
}

#[test]
fn a_busy_peer_reads_in_large_steps_and_a_quiet_one_holds_little() {
    let mut reader = reader(1000);
    reader.buffers(1);
    assert_eq!(reader.scratch.len(), SCRATCH_MIN);
    let stream: Vec<_> = (0..200).map(|piece| Sent::Block(span(piece, BLOCK_SIZE))).collect();
    let bytes = bytes_of(&stream);
    let mut rest = &bytes[..];
    let mut out = Vec::new();
    let mut reads = 0;
    while !rest.is_empty() {
        read(&mut reader, &mut rest, usize::MAX, &mut out).unwrap();
        reads += 1;
    }
    check(&stream, &out);
    assert_eq!(reader.scratch.len(), SCRATCH_MIN, "blocks came to their places");
    assert!(reads < 20, "{reads} reads for 200 blocks");
    drop(out);
    assert_eq!(reader.pool.in_use(), 0, "places are given back after each read");
    let mut out = Vec::new();
    let have = bytes_of(&[Sent::Message(Message::Have(PieceIndex::new(1)))]);
    let flood = have.repeat(100_000);
    let mut rest = &flood[..];
    while !rest.is_empty() {
        read(&mut reader, &mut rest, usize::MAX, &mut out).unwrap();
    }
    assert_eq!(reader.scratch.len(), SCRATCH_MAX);
    for _ in 0..=QUIET_READS {
        read(&mut reader, &mut &have[..], usize::MAX, &mut out).unwrap();
    }
    assert_eq!(reader.scratch.capacity(), SCRATCH_MIN);
}

#[test]
fn a_read_takes_no_more_buffers_than_blocks_were_asked_for() {
    let mut reader = reader(3);
    let stream: Vec<_> = (0..3).map(|piece| Sent::Block(span(piece, BLOCK_SIZE))).collect();
    let bytes = bytes_of(&stream);
    let mut out = Vec::new();
    for cut in [bytes.len() / 2, bytes.len() - 1, bytes.len()] {
        let mut rest = bytes.get(..cut).unwrap();
        let mut reader = Reader::new(BlockPool::new(64));
        reader.ask(3);
        while !rest.is_empty() {
            read(&mut reader, &mut rest, usize::MAX, &mut out).unwrap();
        }
        assert!(reader.pool.peak() <= 3);
    }
    let mut rest = &bytes[..];
    read(&mut reader, &mut rest, 10, &mut out).unwrap();
    assert_eq!(reader.pool.in_use(), 1, "its header has begun");
}

#[test]
fn blocks_of_runs_come_to_their_places() {
    let run = |piece| Sent::Block(span(piece, frame::RUN_MAX));
    let stream: Vec<_> = (0..40).map(run).collect();
    let bytes = bytes_of(&stream);
    for limit in [7000, 100_000, usize::MAX] {
        let (mut reader, mut rest, mut out) = (reader(40 * 16), &bytes[..], Vec::new());
        while !rest.is_empty() {
            read(&mut reader, &mut rest, limit, &mut out).unwrap();
        }
        check(&stream, &out);
        assert_eq!(reader.scratch.len(), SCRATCH_MIN, "none went by the scratch buffer");
        drop(out);
        assert_eq!(reader.pool.in_use(), 0);
    }
}

#[test]
fn a_run_from_a_peer_that_may_send_none_ends_the_connection() {
    let bytes = bytes_of(&[Sent::Block(span(1, 2 * BLOCK_SIZE))]);
    for (run_max, whole) in
        [(None, false), (Some(2 * BLOCK_SIZE - 1), false), (Some(2 * BLOCK_SIZE), true)]
    {
        let (mut reader, mut rest, mut out) =
            (Reader::new(BlockPool::new(4)), &bytes[..], Vec::new());
        reader.ask(2);
        if let Some(bytes) = run_max {
            reader.set_run_max(bytes);
        }
        let end = loop {
            match read(&mut reader, &mut rest, 1000, &mut out) {
                Err(why) => break Some(why),
                Ok(_) if rest.is_empty() => break None,
                Ok(_) => {}
            }
        };
        assert_eq!(end, (!whole).then_some(CloseReason::Malformed));
        assert_eq!(out.len(), if whole { 2 } else { 0 });
    }
}

#[test]
fn every_block_of_a_run_that_nobody_asked_for_counts() {
    let bytes = bytes_of(&vec![Sent::Block(span(1, frame::RUN_MAX)); 3]);
    let (mut reader, mut rest, mut out) = (reader(5), &bytes[..], Vec::new());
    let end = loop {
        if let Err(why) = read(&mut reader, &mut rest, 5000, &mut out) {
            break why;
        }
    };
    assert_eq!((end, out.len(), reader.pool.peak()), (CloseReason::Misbehaved, 5, 5));
}

#[test]
fn a_message_between_blocks_puts_nothing_out_of_order() {
    let mut stream: Vec<_> = (0..9).map(|piece| Sent::Block(span(piece, BLOCK_SIZE))).collect();
    stream.insert(6, Sent::Message(Message::Have(PieceIndex::new(1))));
    stream.insert(4, Sent::Block(span(77, 100)));
    stream.insert(2, Sent::Block(span(78, 5 * BLOCK_SIZE)));
    stream.insert(2, Sent::Block(span(79, 3 * BLOCK_SIZE + 5)));
    let bytes = bytes_of(&stream);
    for limit in [5000, 100_000, usize::MAX] {
        let (mut reader, mut rest, mut out) = (reader(20), &bytes[..], Vec::new());
        while !rest.is_empty() {
            read(&mut reader, &mut rest, limit, &mut out).unwrap();
        }
        check(&stream, &out);
    }
}

#[test]
fn a_length_no_message_can_have_ends_the_connection_before_it_is_buffered() {
    let mut reader = reader(0);
    let mut out = Vec::new();
    let end = read(&mut reader, &mut &[0xff, 0xff, 0xff, 0xff, 5][..], 100, &mut out);
    assert_eq!(end, Err(CloseReason::Malformed));
    assert_eq!(reader.scratch.len(), SCRATCH_MIN);
}

#[test]
fn a_flood_of_tiny_messages_is_handed_on_in_bounded_portions() {
    let mut reader = reader(0);
    let keep_alives = vec![0; 4 * 3 * ITEMS_MAX];
    let mut rest = &keep_alives[..];
    let mut count = 0;
    while !rest.is_empty() {
        let free = reader.buffers(usize::MAX)[1].len().min(rest.len());
        reader.buffers(usize::MAX)[1][..free].fill(0);
        rest = &rest[free..];
        let mut out = Vec::new();
        reader.advance(free, &mut out).unwrap();
        while reader.has_more() {
            assert_eq!(out.len(), ITEMS_MAX);
            count += out.len();
            out.clear();
            reader.advance(0, &mut out).unwrap();
        }
        count += out.len();
    }
    assert_eq!(count, 3 * ITEMS_MAX);
}
