//! A stream of peer messages cut anywhere: what is read does not depend on the cuts, nothing
//! stalls, and what is read is written back to the same bytes.

use super::script::Script;
use bytes::BytesMut;
use swarm_core::wire::Message;
use swarm_core::wire::frame::{self, FrameLimits, Malformed, RUN_MAX};

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

/// A piece count (0: not known yet), how many cuts and whether runs may come, the cuts, the stream.
pub fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let piece_count = Some(u32::from(script.short())).filter(|count| *count > 0);
    let cuts = script.byte();
    let run_max = (cuts & 0x80 != 0).then_some(RUN_MAX);
    let limits = FrameLimits { piece_count, run_max };
    let cuts: Vec<usize> = (0..cuts % 16).map(|_| usize::from(script.short())).collect();
    let stream = script.rest();
    let whole = read(std::iter::once(stream), &limits);
    let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % (stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    let mut parts = read(cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]), &limits);
    if whole.end.is_some() {
        parts.unread = whole.unread;
    }
    assert_eq!(parts, whole);
}
