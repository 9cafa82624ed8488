use super::*;
use crate::data::BlockPool;
use crate::types::PieceIndex;
use proptest::prelude::*;

fn fill_of(piece: u32) -> u8 {
    u8::try_from(piece).unwrap()
}

fn block(pool: &BlockPool, piece: u32, length: u32) -> OutgoingBlock {
    let mut data = pool.take();
    data.as_mut().fill(fill_of(piece));
    data.set_len(length as usize);
    OutgoingBlock { span: Span { piece: PieceIndex::new(piece), begin: 0, length }, data }
}

fn frame_of(piece: u32, length: u32) -> Vec<u8> {
    let span = Span { piece: PieceIndex::new(piece), begin: 0, length };
    let mut bytes = piece_header(span).to_vec();
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

#[test]
fn messages_pass_waiting_blocks_but_never_cut_into_one() {
    let pool = BlockPool::new(4);
    let mut writer = Writer::default();
    writer.push_blocks([block(&pool, 1, 100), block(&pool, 2, 100)]);
    let mut out = Vec::new();
    assert_eq!(write(&mut writer, 1000, 50, &mut out), (50, 50));
    writer.push_control(&mut BytesMut::from(&b"control"[..]));
    // Not enough is granted to finish the block: nothing else may go.
    assert_eq!(write(&mut writer, 10, 1000, &mut out), (10, 10));
    assert_eq!(write(&mut writer, 1000, 1000, &mut out).1, 53 + 113);
    let due = [&frame_of(1, 100)[..], b"control", &frame_of(2, 100)].concat();
    assert_eq!(out, due);
}

#[test]
fn messages_go_when_no_payload_is_granted() {
    let pool = BlockPool::new(4);
    let mut writer = Writer::default();
    writer.push_blocks([block(&pool, 1, 100)]);
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
    writer.push_blocks([block(&pool, 1, 100), block(&pool, 2, 7)]);
    let mut sent = Vec::new();
    writer.advance(112, &mut sent);
    assert!(sent.is_empty());
    writer.advance(1 + 20, &mut sent);
    assert_eq!(sent.len(), 2);
    assert_eq!(pool.in_use(), 0);
}

proptest! {
    #[test]
    fn however_it_is_written_every_byte_goes_out_once_and_in_order(
        lengths in prop::collection::vec(1u32..400, 0..100),
        steps in prop::collection::vec((1usize..3000, 1usize..3000), 1..10),
    ) {
        let pool = BlockPool::new(4);
        let mut writer = Writer::default();
        let blocks = lengths.iter().zip(0..).map(|(length, piece)| block(&pool, piece, *length));
        writer.push_blocks(blocks);
        let due: Vec<u8> =
            lengths.iter().zip(0..).flat_map(|(length, piece)| frame_of(piece, *length)).collect();
        let mut out = Vec::new();
        let mut steps = steps.iter().cycle();
        while writer.blocks_len(1) > 0 {
            let (payload_max, take) = *steps.next().unwrap();
            let (count, _) = write(&mut writer, payload_max, take, &mut out);
            prop_assert!(count > 0);
        }
        prop_assert_eq!(out, due);
    }
}
