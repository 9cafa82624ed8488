//! Every length a peer can claim, every split a stream can have, every message both ways.

use super::*;
use proptest::prelude::*;

const PIECES: FrameLimits = FrameLimits { piece_count: Some(100), run_max: None };
const UNKNOWN: FrameLimits = FrameLimits { piece_count: None, run_max: None };

fn frame(length: u32, id: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.push(id);
    bytes.extend(payload);
    bytes
}

fn encoded(message: &Message) -> BytesMut {
    let mut out = BytesMut::new();
    message.encode(&mut out);
    out
}

fn sample_span() -> Span {
    Span { piece: PieceIndex::new(0x0102_0304), begin: 0x4000, length: 0x10 }
}

#[test]
fn the_bytes_are_those_of_bep_3_6_and_10() {
    let piece = PieceIndex::new(0x0102_0304);
    let span = sample_span();
    let cases: Vec<(Message, &[u8])> = vec![
        (Message::KeepAlive, &[0, 0, 0, 0]),
        (Message::Choke, &[0, 0, 0, 1, 0]),
        (Message::Unchoke, &[0, 0, 0, 1, 1]),
        (Message::Interested, &[0, 0, 0, 1, 2]),
        (Message::NotInterested, &[0, 0, 0, 1, 3]),
        (Message::Have(piece), &[0, 0, 0, 5, 4, 1, 2, 3, 4]),
        (Message::Bitfield(Bytes::from_static(&[0xa0])), &[0, 0, 0, 2, 5, 0xa0]),
        (Message::Request(span), &[0, 0, 0, 13, 6, 1, 2, 3, 4, 0, 0, 0x40, 0, 0, 0, 0, 0x10]),
        (Message::Piece(span), &[0, 0, 0, 25, 7, 1, 2, 3, 4, 0, 0, 0x40, 0]),
        (Message::Cancel(span), &[0, 0, 0, 13, 8, 1, 2, 3, 4, 0, 0, 0x40, 0, 0, 0, 0, 0x10]),
        (Message::Port(6881), &[0, 0, 0, 3, 9, 0x1a, 0xe1]),
        (Message::Suggest(piece), &[0, 0, 0, 5, 13, 1, 2, 3, 4]),
        (Message::HaveAll, &[0, 0, 0, 1, 14]),
        (Message::HaveNone, &[0, 0, 0, 1, 15]),
        (Message::Reject(span), &[0, 0, 0, 13, 16, 1, 2, 3, 4, 0, 0, 0x40, 0, 0, 0, 0, 0x10]),
        (Message::AllowedFast(piece), &[0, 0, 0, 5, 17, 1, 2, 3, 4]),
        (
            Message::Extended { id: 3, payload: Bytes::from_static(b"de") },
            &[0, 0, 0, 4, 20, 3, b'd', b'e'],
        ),
    ];
    for (message, bytes) in cases {
        assert_eq!(encoded(&message), bytes, "{message:?}");
        assert_eq!(decode(bytes, &UNKNOWN), Ok(Some((bytes.len(), message))));
    }
}

#[test]
fn a_length_over_the_bound_is_refused_before_the_id_is_in() {
    for length in [FRAME_MAX + 1, 1 << 30, u32::MAX] {
        let refused = Err(Malformed::FrameTooLong { length });
        assert_eq!(decode(&length.to_be_bytes(), &UNKNOWN), refused);
    }
    assert_eq!(decode(&FRAME_MAX.to_be_bytes(), &UNKNOWN), Ok(None));
}

/// Lengths worth trying: all small ones, and those around every bound.
fn lengths() -> impl Iterator<Item = u32> {
    let bounds =
        [BLOCK_SIZE + 9, RUN_MAX + 9, FRAME_BITFIELD_MAX, FRAME_EXTENDED_MAX, FRAME_UNKNOWN_MAX];
    let near = bounds.into_iter().flat_map(|bound| bound - 2..=bound + 2);
    (1..=64).chain(near).chain([FRAME_MAX - 1, FRAME_MAX])
}

fn allowed(id: u8, length: u32, limits: &FrameLimits) -> bool {
    match id {
        0..=3 | 14 | 15 => length == 1,
        4 | 13 | 17 => length == 5,
        6 | 8 | 16 => length == 13,
        9 => length == 3,
        5 => match limits.piece_count {
            Some(_) => length == 14,
            None => (2..=262_145).contains(&length),
        },
        7 => match limits.run_max {
            None => (10..=16_393).contains(&length),
            Some(_) => (10..=262_153).contains(&length),
        },
        20 => (2..=262_145).contains(&length),
        _ => length <= 262_193,
    }
}

#[test]
fn every_id_takes_exactly_the_lengths_it_may_have_and_refuses_others_on_five_bytes() {
    let greedy = FrameLimits { run_max: Some(u32::MAX), ..UNKNOWN };
    for limits in [PIECES, UNKNOWN, greedy] {
        for id in 0..=u8::MAX {
            for length in lengths() {
                let found = required(&frame(length, id, &[]), &limits);
                let due = match (allowed(id, length, &limits), id) {
                    (false, _) => Err(Malformed::WrongLength { id, length }),
                    (true, 7) => Ok(PIECE_HEADER_LEN),
                    (true, _) => Ok(4 + length as usize),
                };
                assert_eq!(found, due, "id {id}, length {length}, {limits:?}");
            }
        }
    }
}

#[test]
fn an_empty_block_is_refused() {
    let bytes = frame(9, 7, &[0; 8]);
    assert_eq!(decode(&bytes, &PIECES), Err(Malformed::WrongLength { id: 7, length: 9 }));
}

#[test]
fn a_block_is_known_from_its_header_alone() {
    let span = Span { length: BLOCK_SIZE, ..sample_span() };
    let header = piece_header(span);
    assert_eq!(decode(&header, &PIECES), Ok(Some((PIECE_HEADER_LEN, Message::Piece(span)))));
    for len in 0..PIECE_HEADER_LEN {
        assert_eq!(decode(&header[..len], &PIECES), Ok(None));
    }
}

#[test]
fn an_unknown_message_is_taken_whole() {
    let mut bytes = frame(4, 99, b"abc");
    bytes.extend([0, 0, 0, 1, 1]);
    assert_eq!(decode(&bytes, &PIECES), Ok(Some((8, Message::Unknown(99)))));
    assert_eq!(decode(&bytes[8..], &PIECES), Ok(Some((5, Message::Unchoke))));
}

/// What a reader sees: messages, and the payload of each block.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Message(Message),
    Payload(Vec<u8>),
}

/// Reads a stream that arrives in pieces of the given lengths, as a connection does.
fn read_in(chunks: impl Iterator<Item = Vec<u8>>) -> (Vec<Seen>, Option<Malformed>) {
    let (mut unread, mut owed, mut seen) = (Vec::new(), 0usize, Vec::new());
    for chunk in chunks {
        unread.extend(chunk);
        loop {
            if owed > 0 {
                let taken = owed.min(unread.len());
                let part: Vec<u8> = unread.drain(..taken).collect();
                owed -= taken;
                match seen.last_mut() {
                    Some(Seen::Payload(all)) => all.extend(part),
                    _ => seen.push(Seen::Payload(part)),
                }
                if owed > 0 {
                    break;
                }
            }
            match decode(&unread, &UNKNOWN) {
                Err(malformed) => return (seen, Some(malformed)),
                Ok(None) => break,
                Ok(Some((taken, message))) => {
                    unread.drain(..taken);
                    if let Message::Piece(span) = message {
                        owed = span.length as usize;
                    }
                    seen.push(Seen::Message(message));
                }
            }
        }
    }
    (seen, None)
}

fn any_span() -> impl Strategy<Value = Span> {
    (any::<u32>(), any::<u32>(), 1..=BLOCK_SIZE).prop_map(|(piece, begin, length)| Span {
        piece: PieceIndex::new(piece),
        begin,
        length,
    })
}

fn any_message() -> impl Strategy<Value = Message> {
    let piece = || any::<u32>().prop_map(PieceIndex::new);
    let payload = |min| prop::collection::vec(any::<u8>(), min..40).prop_map(Bytes::from);
    prop_oneof![
        Just(Message::KeepAlive),
        Just(Message::Choke),
        Just(Message::Unchoke),
        Just(Message::Interested),
        Just(Message::NotInterested),
        Just(Message::HaveAll),
        Just(Message::HaveNone),
        piece().prop_map(Message::Have),
        piece().prop_map(Message::Suggest),
        piece().prop_map(Message::AllowedFast),
        any_span().prop_map(Message::Request),
        any_span().prop_map(Message::Piece),
        any_span().prop_map(Message::Cancel),
        any_span().prop_map(Message::Reject),
        any::<u16>().prop_map(Message::Port),
        payload(1).prop_map(Message::Bitfield),
        (any::<u8>(), payload(0)).prop_map(|(id, payload)| Message::Extended { id, payload }),
        (30u8..).prop_map(Message::Unknown),
    ]
}

/// A stream of messages, with zeros for the payload of blocks.
fn stream(messages: &[Message]) -> Vec<u8> {
    let mut out = BytesMut::new();
    for message in messages {
        message.encode(&mut out);
        if let Message::Piece(span) = message {
            out.put_bytes(0, span.length as usize);
        }
    }
    out.to_vec()
}

fn chunks(bytes: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec()).collect()
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(messages in prop::collection::vec(any_message(), 0..20)) {
        let (seen, malformed) = read_in(std::iter::once(stream(&messages)));
        prop_assert_eq!(malformed, None);
        let decoded: Vec<Message> = seen
            .into_iter()
            .filter_map(|seen| match seen {
                Seen::Message(message) => Some(message),
                Seen::Payload(_) => None,
            })
            .collect();
        prop_assert_eq!(decoded, messages);
    }

    #[test]
    fn no_split_of_a_stream_changes_what_is_read(
        messages in prop::collection::vec(any_message(), 0..12),
        tail in prop::collection::vec(any::<u8>(), 0..12),
        cuts in prop::collection::vec(any::<usize>(), 0..30),
    ) {
        let mut bytes = stream(&messages);
        bytes.extend(tail);
        let whole = read_in(std::iter::once(bytes.clone()));
        prop_assert_eq!(read_in(chunks(&bytes, &cuts).into_iter()), whole);
        let tiny = &bytes[..bytes.len().min(300)];
        prop_assert_eq!(
            read_in(tiny.iter().map(|byte| vec![*byte])),
            read_in(std::iter::once(tiny.to_vec()))
        );
    }

    #[test]
    fn any_bytes_are_read_without_panic_and_never_stall(
        length in prop_oneof![0u32..40, any::<u32>()],
        id in 0u8..24,
        payload in prop::collection::vec(any::<u8>(), 0..64),
        cut in 0usize..70,
    ) {
        let mut bytes = frame(length, id, &payload);
        bytes.truncate(cut);
        for limits in [PIECES, UNKNOWN] {
            match decode(&bytes, &limits) {
                Ok(Some((taken, _))) => prop_assert!(taken >= 4 && taken <= bytes.len()),
                Ok(None) => prop_assert!(required(&bytes, &limits).unwrap() > bytes.len()),
                Err(_) => prop_assert!(required(&bytes, &limits).is_err()),
            }
        }
    }
}
