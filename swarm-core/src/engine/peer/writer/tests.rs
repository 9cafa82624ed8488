use super::*;
use crate::data::BlockPool;
use crate::types::PieceIndex;
use proptest::prelude::*;

fn fill_of(piece: u32) -> u8 {
    u8::try_from(piece).unwrap()
}

fn span(piece: u32, length: u32) -> Span {
    Span { piece: PieceIndex::new(piece), begin: 0, length }
}

/// Blocks of these lengths, one a piece, that lie end to end.
fn laid_out(lengths: &[u32]) -> Vec<(Span, u64)> {
    let mut offset = 0;
    let place = |(piece, length): (u32, &u32)| {
        let at = offset;
        offset += u64::from(*length);
        (span(piece, *length), at)
    };
    (0..).zip(lengths).map(place).collect()
}

fn read(pool: &BlockPool, span: Span) -> BlockBuf {
    let mut data = pool.take();
    data.as_mut().fill(fill_of(span.piece.get()));
    data.set_len(span.length as usize);
    data
}

/// Queues blocks that a worker has read.
fn push_read(writer: &mut Writer, pool: &BlockPool, lengths: &[u32]) {
    let mut cold = Vec::new();
    writer.push_blocks(laid_out(lengths));
    writer.await_all(&mut cold);
    for span in cold {
        writer.fill(span, read(pool, span));
    }
}

fn frame_of(piece: u32, length: u32) -> Vec<u8> {
    let mut bytes = piece_header(span(piece, length)).to_vec();
    bytes.resize(bytes.len() + length as usize, fill_of(piece));
    bytes
}

/// Writes as a socket would that takes at most `take` bytes.
fn write(writer: &mut Writer, payload_max: usize, take: usize, to: &mut Vec<u8>) -> (usize, usize) {
    let gathered = writer.gather(payload_max);
    let bytes: Vec<u8> = gathered.parts().iter().flat_map(|part| part.iter().copied()).collect();
    assert_eq!(bytes.len(), gathered.len());
    let count = take.min(bytes.len());
    to.extend_from_slice(&bytes[..count]);
    let payload = writer.advance(count, &mut Vec::new());
    assert!(payload <= payload_max);
    (count, payload)
}

/// Sends at most `take` bytes of the first block as if from its file.
fn send_stored(writer: &mut Writer, take: usize, to: &mut Vec<u8>) -> usize {
    let block = writer.stored().unwrap();
    let length = usize::try_from(block.payload.end - block.payload.start).unwrap();
    let mut bytes = block.header().to_vec();
    bytes.resize(bytes.len() + length, fill_of(block.span.piece.get()));
    bytes.truncate(take);
    to.extend_from_slice(&bytes);
    writer.advance(bytes.len(), &mut Vec::new())
}

#[test]
fn messages_pass_waiting_blocks_but_never_cut_into_one() {
    let pool = BlockPool::new(4);
    let mut writer = Writer::default();
    push_read(&mut writer, &pool, &[100, 100]);
    let mut out = Vec::new();
    assert_eq!(write(&mut writer, 1000, 50, &mut out), (50, 50));
    writer.push_control(&mut BytesMut::from(&b"control"[..]));
    // Not enough is granted to finish the block: nothing else may go.
    assert_eq!(write(&mut writer, 10, 1000, &mut out), (10, 10));
    assert_eq!(write(&mut writer, 1000, 1000, &mut out).1, 53 + 113);
    let due = [&frame_of(0, 100)[..], b"control", &frame_of(1, 100)].concat();
    assert_eq!(out, due);
}

#[test]
fn messages_go_when_no_payload_is_granted() {
    let pool = BlockPool::new(4);
    let mut writer = Writer::default();
    push_read(&mut writer, &pool, &[100]);
    writer.push_control(&mut BytesMut::from(&b"control"[..]));
    let mut out = Vec::new();
    assert_eq!(write(&mut writer, 0, 1000, &mut out), (7, 0));
    assert_eq!(writer.blocks_len(1000), 113);
    assert_eq!(writer.blocks_len(50), 50);
}

#[test]
fn a_block_is_reported_when_its_last_byte_is_gone() {
    let pool = BlockPool::new(4);
    let mut writer = Writer::default();
    push_read(&mut writer, &pool, &[100, 7]);
    let mut sent = Vec::new();
    writer.advance(112, &mut sent);
    assert!(sent.is_empty());
    writer.advance(1 + 20, &mut sent);
    assert_eq!(sent.len(), 2);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn messages_go_before_a_stored_block_and_after_one_that_is_begun() {
    let mut writer = Writer::default();
    writer.push_blocks(laid_out(&[100, 100, 100]));
    assert_eq!(writer.stored_run(), Some(0..300));
    let mut out = Vec::new();
    assert_eq!(send_stored(&mut writer, 63, &mut out), 63);
    writer.push_control(&mut BytesMut::from(&b"control"[..]));
    assert_eq!(writer.gather(1000).len(), 0, "the block that is begun is not here");
    assert_eq!(writer.stored_run(), Some(50..100), "and nothing follows it at once");
    assert_eq!(send_stored(&mut writer, 1000, &mut out), 50);
    assert!(writer.stored().is_none() && writer.stored_run().is_none());
    assert_eq!(write(&mut writer, 1000, 1000, &mut out), (7, 0));
    assert_eq!(writer.stored_run(), Some(100..300));
    send_stored(&mut writer, 1000, &mut out);
    assert_eq!(out, [&frame_of(0, 100)[..], b"control", &frame_of(1, 100)].concat());
}

#[test]
fn blocks_keep_their_order_whatever_the_order_they_are_read_in() {
    let pool = BlockPool::new(4);
    let mut writer = Writer::default();
    writer.push_blocks(laid_out(&[100, 100]));
    let mut cold = Vec::new();
    writer.await_all(&mut cold);
    writer.await_all(&mut cold);
    assert_eq!(cold, [span(0, 100), span(1, 100)], "each is asked for once");
    writer.fill(span(1, 100), read(&pool, span(1, 100)));
    assert!(writer.is_awaiting());
    assert_eq!((writer.blocks_len(1000), writer.gather(1000).len()), (0, 0));
    writer.fill(span(0, 100), read(&pool, span(0, 100)));
    let mut out = Vec::new();
    write(&mut writer, 1000, 1000, &mut out);
    assert_eq!(out, [frame_of(0, 100), frame_of(1, 100)].concat());
    assert!(!writer.is_awaiting());
}

#[test]
fn a_block_that_cannot_be_read_leaves_the_queue_unless_it_is_begun() {
    let mut writer = Writer::default();
    writer.push_blocks(laid_out(&[100, 100, 100]));
    writer.advance(20, &mut Vec::new());
    writer.await_all(&mut Vec::new());
    assert_eq!(writer.drop_unread(&[span(2, 100), span(9, 100)]), Ok(()));
    assert_eq!(writer.drop_unread(&[span(0, 100)]), Err(CloseReason::Lost));
    assert_eq!(writer.drop_unread(&[span(1, 100)]), Ok(()));
    assert_eq!(writer.blocks.len(), 1);
}

#[test]
fn a_run_ends_at_a_gap_and_at_its_bound() {
    let mut writer = Writer::default();
    writer.push_blocks([(span(0, 100), 0), (span(1, 100), 100), (span(3, 100), 300)]);
    assert_eq!(writer.stored_run(), Some(0..200));
    let mut writer = Writer::default();
    writer.push_blocks(laid_out(&[10; STORED_RUN_MAX + 3]));
    assert_eq!(writer.stored_run(), Some(0..10 * STORED_RUN_MAX as u64));
}

/// Blocks of one piece, the last one short.
fn of_one_piece(count: u32) -> Vec<(Span, u64)> {
    let block = |at: u32| {
        let length = if at + 1 == count { 100 } else { BLOCK_SIZE };
        let begin = at * BLOCK_SIZE;
        (Span { piece: PieceIndex::new(3), begin, length }, u64::from(begin))
    };
    (0..count).map(block).collect()
}

fn header_len(writer: &Writer) -> usize {
    writer.stored().unwrap().header().len()
}

#[test]
fn blocks_of_a_piece_that_lie_end_to_end_become_one_frame() {
    let most = 4 * BLOCK_SIZE;
    let mut writer = Writer::default();
    writer.push_blocks(of_one_piece(6));
    writer.join(u64::MAX, most);
    let first = writer.stored().unwrap();
    assert_eq!(first.header(), piece_header(Span { length: most, ..first.span }));
    assert_eq!(first.frame_end, u64::from(most));
    writer.push_control(&mut BytesMut::from(&b"control"[..]));
    let mut sent = Vec::new();
    writer.advance(7, &mut sent);
    // The header, two blocks and a half.
    writer.advance(PIECE_HEADER_LEN + 2 * BLOCK_SIZE as usize + 5000, &mut sent);
    assert_eq!(sent.len(), 2);
    writer.push_control(&mut BytesMut::from(&b"control"[..]));
    writer.join(u64::MAX, u32::MAX);
    assert_eq!(header_len(&writer), 0, "it is in the middle of the frame");
    assert_eq!(
        writer.stored().unwrap().frame_end,
        u64::from(most),
        "which stays as long as it was said to be"
    );
    assert_eq!(writer.gather(usize::MAX).len(), 0, "no message cuts in");
    writer.advance(2 * BLOCK_SIZE as usize - 5000, &mut sent);
    assert_eq!(writer.gather(usize::MAX).len(), 7);
    writer.advance(7, &mut sent);
    writer.join(u64::MAX, most);
    assert_eq!(
        writer.stored().unwrap().frame_end,
        u64::from(5 * BLOCK_SIZE + 100),
        "the short one ends the piece"
    );
    assert_eq!(sent.len(), 4);
}

#[test]
fn what_is_not_the_next_whole_block_is_not_joined() {
    let [first, second, third] = [0, 1, 2].map(|at| of_one_piece(9)[at]);
    let other = (Span { piece: PieceIndex::new(4), ..second.0 }, second.1);
    let half = (Span { length: BLOCK_SIZE / 2, ..first.0 }, first.1);
    let behind = (Span { begin: BLOCK_SIZE / 2, ..first.0 }, u64::from(BLOCK_SIZE / 2));
    for blocks in [[first, third], [first, other], [half, behind], [second, first]] {
        let mut writer = Writer::default();
        writer.push_blocks(blocks);
        writer.join(u64::MAX, u32::MAX);
        assert_eq!(writer.stored().unwrap().header(), piece_header(blocks[0].0), "{blocks:?}");
    }
    for (end, most) in [(u64::from(2 * BLOCK_SIZE) - 1, u32::MAX), (u64::MAX, 2 * BLOCK_SIZE - 1)] {
        let mut writer = Writer::default();
        writer.push_blocks([first, second]);
        writer.join(end, most);
        assert_eq!(writer.stored().unwrap().header(), piece_header(first.0));
    }
}

#[test]
fn a_join_is_undone_when_the_blocks_turn_cold_before_the_frame_is_begun() {
    let pool = BlockPool::new(4);
    let mut writer = Writer::default();
    writer.push_blocks(of_one_piece(3));
    writer.join(u64::MAX, u32::MAX);
    let mut cold = Vec::new();
    writer.await_all(&mut cold);
    assert_eq!(cold.len(), 3);
    assert_eq!(writer.drop_unread(&[cold[1]]), Ok(()), "nothing was promised");
    for span in [cold[0], cold[2]] {
        writer.fill(span, read(&pool, span));
    }
    let due = 2 * PIECE_HEADER_LEN + BLOCK_SIZE as usize + 100;
    assert_eq!(writer.gather(usize::MAX).len(), due);
}

#[test]
fn a_block_of_a_frame_that_is_begun_must_be_read() {
    let pool = BlockPool::new(4);
    let mut writer = Writer::default();
    writer.push_blocks(of_one_piece(4));
    writer.join(u64::MAX, 3 * BLOCK_SIZE);
    writer.advance(PIECE_HEADER_LEN + 10, &mut Vec::new());
    let mut cold = Vec::new();
    writer.await_all(&mut cold);
    writer.fill(cold[0], read(&pool, cold[0]));
    writer.push_control(&mut BytesMut::from(&b"control"[..]));
    let whole = BLOCK_SIZE as usize;
    assert_eq!(writer.gather(usize::MAX).len(), whole - 10, "the rest of the frame is awaited");
    writer.advance(whole - 10, &mut Vec::new());
    assert_eq!(writer.gather(usize::MAX).len(), 0);
    assert_eq!(writer.drop_unread(&[cold[3]]), Ok(()), "it is of the next frame");
    assert_eq!(writer.drop_unread(&[cold[2]]), Err(CloseReason::Lost));
    for span in [cold[1], cold[2]] {
        writer.fill(span, read(&pool, span));
    }
    assert_eq!(writer.gather(whole + 5).len(), whole + 5, "and nothing cuts into it");
    assert_eq!(writer.gather(usize::MAX).len(), 2 * whole + 7);
}

proptest! {
    #[test]
    fn however_it_is_written_every_byte_goes_out_once_and_in_order(
        lengths in prop::collection::vec(1u32..400, 0..100),
        stored in prop::collection::vec(any::<bool>(), 1..20),
        steps in prop::collection::vec((1usize..3000, 1usize..3000), 1..10),
    ) {
        let pool = BlockPool::new(4);
        let mut writer = Writer::default();
        let mut stored = stored.iter().cycle();
        let mut blocks = laid_out(&lengths).into_iter();
        let due: Vec<u8> =
            lengths.iter().zip(0..).flat_map(|(length, piece)| frame_of(piece, *length)).collect();
        let mut out = Vec::new();
        let mut steps = steps.iter().cycle();
        loop {
            // A few come in; those that are in the storage may turn cold at any time.
            writer.push_blocks(blocks.by_ref().take(3));
            if !stored.next().unwrap() {
                let mut cold = Vec::new();
                writer.await_all(&mut cold);
                for span in cold.into_iter().rev() {
                    writer.fill(span, read(&pool, span));
                }
            }
            if writer.blocks_len(1) == 0 {
                break;
            }
            let (payload_max, take) = *steps.next().unwrap();
            let count = match writer.stored() {
                Some(_) => send_stored(&mut writer, take, &mut out),
                None => write(&mut writer, payload_max, take, &mut out).0,
            };
            prop_assert!(count > 0);
        }
        prop_assert_eq!(out, due);
    }
}
