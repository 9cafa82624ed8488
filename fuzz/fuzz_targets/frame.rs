//! A stream of peer messages cut anywhere: what is read does not depend on the cuts, nothing
//! stalls, and what is read is written back to the same bytes.

#![no_main]

use arbitrary::Arbitrary;
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use swarm_core::wire::Message;
use swarm_core::wire::frame::{self, FrameLimits, Malformed};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    piece_count: Option<u16>,
    cuts: Vec<u16>,
    stream: &'a [u8],
}

/// What a reader sees: messages, and how many payload bytes of the last block arrived.
#[derive(Debug, PartialEq)]
struct Seen {
    messages: Vec<Message>,
    payload: u64,
    end: Option<Malformed>,
    unread: usize,
}

fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>, limits: &FrameLimits) -> Seen {
    let mut seen = Seen { messages: Vec::new(), payload: 0, end: None, unread: 0 };
    let (mut unread, mut owed) = (Vec::new(), 0usize);
    for chunk in chunks {
        unread.extend_from_slice(chunk);
        loop {
            let taken = owed.min(unread.len());
            unread.drain(..taken);
            owed -= taken;
            seen.payload += taken as u64;
            if owed > 0 {
                break;
            }
            match frame::decode(&unread, limits) {
                Err(malformed) => {
                    seen.end = Some(malformed);
                    return seen;
                }
                Ok(None) => {
                    let required = frame::required(&unread, limits).expect("no error a moment ago");
                    assert!(required > unread.len(), "it waits for bytes that it has");
                    break;
                }
                Ok(Some((taken, message))) => {
                    check_round_trip(&unread[..taken], &message);
                    unread.drain(..taken);
                    if let Message::Piece(span) = &message {
                        owed = span.length as usize;
                    }
                    seen.messages.push(message);
                }
            }
        }
    }
    seen.unread = unread.len();
    seen
}

fn check_round_trip(bytes: &[u8], message: &Message) {
    if matches!(message, Message::Unknown(_)) {
        return;
    }
    let mut out = BytesMut::new();
    message.encode(&mut out);
    assert_eq!(&out[..], bytes, "{message:?}");
}

fuzz_target!(|input: Input<'_>| {
    let limits = FrameLimits { piece_count: input.piece_count.map(u32::from) };
    let stream = input.stream;
    let whole = read(std::iter::once(stream), &limits);
    let mut cuts: Vec<usize> =
        input.cuts.iter().map(|cut| usize::from(*cut) % (stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    let mut parts = read(cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]), &limits);
    if whole.end.is_some() {
        parts.unread = whole.unread;
    }
    assert_eq!(parts, whole);
});
