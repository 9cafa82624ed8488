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
