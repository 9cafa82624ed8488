//! What two peers of this crate say to each other beyond the BEPs.
//!
//! Whoever names the extension `swarm_mate` in its extension handshake (BEP 10) is a *mate*:
//! it is served by deficit and not by choke rounds, and it understands these messages. One byte
//! of kind, then numbers of 4 bytes, big-endian:
//!
//! | kind | payload | sense |
//! |---|---|---|
//! | 0 | - | free: ask me for anything I have |
//! | 1 | pieces | these are yours: until I say otherwise ask me for nothing but what I assigned |
//! | 2 | piece | I will not take this piece that you assigned to me |
//! | 3 | blocks | your turn: ask me now for so many blocks of anything I have; then wait for the next |
//! | 4 | - | I have nothing more to ask for in this turn |
//!
//! Until it is told otherwise a mate asks only when it is its turn: what waits in the queue of
//! a busy peer, no idle one can give, and the piece it asks for is best chosen when it is about to
//! leave. Who shares the last piece that it began asks for the rest of it too.
//!
//! A mate that also says `swarm_run` in that handshake takes *runs*: one `piece` message for several
//! blocks that it asked for, end to end in one piece, of so many bytes at most. It is asked block by
//! block as ever, and all but the last block of a run are whole ones.
//!
//! Nothing here needs trust: who claims to be a mate and is none gains nothing (see
//! `proto::choker::lanes`), and who asks out of turn waits for one.
//!
//! Not here: when which is said (see `proto::torrent`).

use crate::types::PieceIndex;
use bytes::{BufMut as _, Bytes, BytesMut};

/// Pieces in one assignment at most; what is beyond is not read.
pub const ASSIGN_MAX: usize = 64;

/// A message of the extension.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MateMessage {
    /// Anything may be asked for.
    Free,
    /// Ask for nothing but these and what was assigned before; at most [`ASSIGN_MAX`].
    Assign(Vec<PieceIndex>),
    /// The sender does not want this piece.
    Decline(PieceIndex),
    /// So many blocks may be asked for, now.
    Turn(u32),
    /// The rest of the turn is not needed.
    Pass,
}

const FREE: u8 = 0;
const ASSIGN: u8 = 1;
const DECLINE: u8 = 2;
const TURN: u8 = 3;
const PASS: u8 = 4;

impl MateMessage {
    /// Reads the payload of an extension message. `None` when it is none, or of a later kind.
    /// Bytes that are no whole number at the end are passed over.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (kind, rest) = payload.split_first()?;
        let (numbers, _) = rest.as_chunks::<4>();
        let mut pieces = numbers.iter().map(|number| PieceIndex::new(u32::from_be_bytes(*number)));
        match *kind {
            FREE => Some(Self::Free),
            ASSIGN => Some(Self::Assign(pieces.take(ASSIGN_MAX).collect())),
            DECLINE => pieces.next().map(Self::Decline),
            TURN => pieces.next().map(|blocks| Self::Turn(blocks.get())),
            PASS => Some(Self::Pass),
            _ => None,
        }
    }

    /// The payload to send.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Self::Free => out.put_u8(FREE),
            Self::Assign(pieces) => {
                out.put_u8(ASSIGN);
                pieces.iter().take(ASSIGN_MAX).for_each(|piece| out.put_u32(piece.get()));
            }
            Self::Decline(piece) => {
                out.put_u8(DECLINE);
                out.put_u32(piece.get());
            }
            Self::Turn(blocks) => {
                out.put_u8(TURN);
                out.put_u32(*blocks);
            }
            Self::Pass => out.put_u8(PASS),
        }
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(count: u32) -> Vec<PieceIndex> {
        (0..count).map(PieceIndex::new).collect()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let all = [
            MateMessage::Free,
            MateMessage::Assign(pieces(3)),
            MateMessage::Assign(Vec::new()),
            MateMessage::Decline(PieceIndex::new(u32::MAX)),
            MateMessage::Turn(0x0102_0304),
            MateMessage::Pass,
        ];
        for message in all {
            assert_eq!(MateMessage::decode(&message.encode()), Some(message));
        }
    }

    #[test]
    fn the_bytes_are_a_kind_and_big_endian_numbers() {
        let message = MateMessage::Assign(vec![PieceIndex::new(1), PieceIndex::new(0x0203)]);
        assert_eq!(&message.encode()[..], [1, 0, 0, 0, 1, 0, 0, 2, 3]);
        assert_eq!(&MateMessage::Free.encode()[..], [0]);
    }

    #[test]
    fn an_assignment_is_bounded_on_both_sides() {
        let many = MateMessage::Assign(pieces(1000));
        let most = Some(MateMessage::Assign(pieces(64)));
        assert_eq!(MateMessage::decode(&many.encode()), most);
        let mut raw = vec![1];
        raw.resize(1 + 4 * 1000, 0);
        let read = MateMessage::decode(&raw);
        assert!(matches!(read, Some(MateMessage::Assign(read)) if read.len() == ASSIGN_MAX));
    }

    #[test]
    fn what_is_none_is_told_apart() {
        for payload in [&[][..], &[2], &[2, 0, 0, 0], &[3], &[5], &[255, 0, 0, 0, 0]] {
            assert_eq!(MateMessage::decode(payload), None, "{payload:?}");
        }
    }
}
