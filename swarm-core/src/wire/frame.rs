//! Message boundaries on a connection (BEP 3): a length, an id, a payload.
//!
//! [`decode`] is stateless: it takes the unread bytes of a connection and gives the first
//! message and how many bytes it took. A length that no message of that kind can have is
//! refused as soon as the length and the id are in, before a byte of it is buffered
//! (LIMITS B01, B02, B06). Of a `piece` message only the 13-byte header is taken: the payload
//! goes from the socket to its place without passing here.
//!
//! Not here: whether a message is legal at this moment, or its indices exist (`proto`).

use super::Message;
use crate::types::{BLOCK_SIZE, PieceIndex, Span};
use bytes::{BufMut, Bytes, BytesMut};

/// Longest frame of any kind, bytes after the length prefix.
pub const FRAME_MAX: u32 = 1 << 20;
/// Longest frame of a message this crate does not know: the largest one any BEP defines,
/// BEP 52 `hashes`.
pub const FRAME_UNKNOWN_MAX: u32 = 262_193;
/// Longest extension message (BEP 10), bytes after the message id.
pub const FRAME_EXTENDED_MAX: u32 = 256 << 10;
/// Longest bitfield while the number of pieces is not known, bytes: 2,097,152 pieces.
pub const FRAME_BITFIELD_MAX: u32 = 256 << 10;
/// Longest payload of a `piece` message, bytes, from a peer that joins blocks into runs (see
/// [`super::mate`]); from any other it is one block.
pub const RUN_MAX: u32 = 256 << 10;
/// Bytes of a `piece` message before its payload.
pub const PIECE_HEADER_LEN: usize = 13;

const PREFIX_LEN: usize = 4;
/// Id, piece and offset: what the length of a `piece` message counts before the payload.
const PIECE_FIELDS_LEN: u32 = 9;

const CHOKE: u8 = 0;
const UNCHOKE: u8 = 1;
const INTERESTED: u8 = 2;
const NOT_INTERESTED: u8 = 3;
const HAVE: u8 = 4;
const BITFIELD: u8 = 5;
const REQUEST: u8 = 6;
const PIECE: u8 = 7;
const CANCEL: u8 = 8;
const PORT: u8 = 9;
const SUGGEST: u8 = 13;
const HAVE_ALL: u8 = 14;
const HAVE_NONE: u8 = 15;
const REJECT: u8 = 16;
const ALLOWED_FAST: u8 = 17;
const EXTENDED: u8 = 20;

/// What is known about the torrent that bounds its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameLimits {
    /// Pieces in the torrent; `None` before the metadata.
    pub piece_count: Option<u32>,
    /// Bytes that the payload of a `piece` message may have where they are more than one block, up
    /// to [`RUN_MAX`]; `None` for a peer that was not told that we take runs.
    pub run_max: Option<u32>,
}

/// Bytes that are no message. The connection cannot go on after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The length is beyond [`FRAME_MAX`].
    #[error("frame of {length} bytes, more than {FRAME_MAX}")]
    FrameTooLong {
        /// Length found.
        length: u32,
    },
    /// The length is not one that a message with this id can have.
    #[error("message {id} of {length} bytes, which it cannot have")]
    WrongLength {
        /// Id of the message.
        id: u8,
        /// Length found, id included.
        length: u32,
    },
}

/// Reads the first message: the bytes it took and the message; `None` when more are needed
/// (see [`required`]).
///
/// After [`Message::Piece`] the next `span.length` bytes of the stream are its payload, at
/// least 1 and at most [`BLOCK_SIZE`], or what the limits say; the caller takes them before it decodes again.
///
/// # Errors
/// [`Malformed`] when no message can begin like this.
pub fn decode(bytes: &[u8], limits: &FrameLimits) -> Result<Option<(usize, Message)>, Malformed> {
    let required = required(bytes, limits)?;
    let Some(frame) = bytes.get(..required) else { return Ok(None) };
    let Some((prefix, body)) = frame.split_first_chunk::<PREFIX_LEN>() else { return Ok(None) };
    let Some((&id, payload)) = body.split_first() else {
        return Ok(Some((required, Message::KeepAlive)));
    };
    let length = u32::from_be_bytes(*prefix);
    // `required` has checked the length of every known message, so this never fails; were it
    // wrong, the peer would be blamed and nothing would panic.
    let message = message(id, length, payload).ok_or(Malformed::WrongLength { id, length })?;
    Ok(Some((required, message)))
}

/// Bytes that must be there before [`decode`] can say more: those of the length and the id
/// first, then those of the whole frame (of a `piece` message, its header).
///
/// A caller that cannot hold that many contiguously makes room for them.
///
/// # Errors
/// [`Malformed`] as soon as the length, or the length with the id, is impossible.
pub fn required(bytes: &[u8], limits: &FrameLimits) -> Result<usize, Malformed> {
    let Some((prefix, body)) = bytes.split_first_chunk::<PREFIX_LEN>() else {
        return Ok(PREFIX_LEN);
    };
    let length = u32::from_be_bytes(*prefix);
    if length > FRAME_MAX {
        return Err(Malformed::FrameTooLong { length });
    }
    let Some(&id) = body.first().filter(|_| length > 0) else {
        return Ok(PREFIX_LEN + usize::from(length > 0));
    };
    if !length_fits(id, length, limits) {
        return Err(Malformed::WrongLength { id, length });
    }
    Ok(if id == PIECE { PIECE_HEADER_LEN } else { PREFIX_LEN + length as usize })
}

/// The header of a `piece` message; the `span.length` bytes of the block follow it.
#[must_use]
pub fn piece_header(span: Span) -> [u8; PIECE_HEADER_LEN] {
    let mut header = [0; PIECE_HEADER_LEN];
    let mut out = header.as_mut_slice();
    out.put_u32(PIECE_FIELDS_LEN.saturating_add(span.length));
    out.put_u8(PIECE);
    out.put_u32(span.piece.get());
    out.put_u32(span.begin);
    header
}

impl Message {
    /// Appends the frame of this message. Of [`Message::Piece`] that is the header only, of
    /// [`Message::Unknown`] a frame with nothing but its id.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::KeepAlive => out.put_u32(0),
            Self::Choke => put_frame(out, CHOKE, &[]),
            Self::Unchoke => put_frame(out, UNCHOKE, &[]),
            Self::Interested => put_frame(out, INTERESTED, &[]),
            Self::NotInterested => put_frame(out, NOT_INTERESTED, &[]),
            Self::Have(piece) => put_frame(out, HAVE, &piece.get().to_be_bytes()),
            Self::Bitfield(bits) => put_frame(out, BITFIELD, bits),
            Self::Request(span) => put_span(out, REQUEST, *span),
            Self::Piece(span) => out.put_slice(&piece_header(*span)),
            Self::Cancel(span) => put_span(out, CANCEL, *span),
            Self::Port(port) => put_frame(out, PORT, &port.to_be_bytes()),
            Self::Suggest(piece) => put_frame(out, SUGGEST, &piece.get().to_be_bytes()),
            Self::HaveAll => put_frame(out, HAVE_ALL, &[]),
            Self::HaveNone => put_frame(out, HAVE_NONE, &[]),
            Self::Reject(span) => put_span(out, REJECT, *span),
            Self::AllowedFast(piece) => put_frame(out, ALLOWED_FAST, &piece.get().to_be_bytes()),
            Self::Extended { id, payload } => put_extended(out, *id, payload),
            Self::Unknown(id) => put_frame(out, *id, &[]),
        }
    }
}

/// Whether a message with this id can have this length, id included.
fn length_fits(id: u8, length: u32, limits: &FrameLimits) -> bool {
    match id {
        CHOKE | UNCHOKE | INTERESTED | NOT_INTERESTED | HAVE_ALL | HAVE_NONE => length == 1,
        HAVE | SUGGEST | ALLOWED_FAST => length == 5,
        REQUEST | CANCEL | REJECT => length == 13,
        PORT => length == 3,
        BITFIELD => match limits.piece_count {
            Some(pieces) => length - 1 == pieces.div_ceil(8),
            None => (2..=FRAME_BITFIELD_MAX + 1).contains(&length),
        },
        PIECE => {
            let payload_max = limits.run_max.map_or(BLOCK_SIZE, |most| most.min(RUN_MAX));
            (PIECE_FIELDS_LEN + 1..=PIECE_FIELDS_LEN + payload_max).contains(&length)
        }
        EXTENDED => (2..=FRAME_EXTENDED_MAX + 1).contains(&length),
        _ => length <= FRAME_UNKNOWN_MAX,
    }
}

/// The message of a whole frame; `length` and `payload` disagree only for `piece`, of which
/// the payload here is no more than the piece and the offset.
fn message(id: u8, length: u32, payload: &[u8]) -> Option<Message> {
    Some(match id {
        CHOKE => Message::Choke,
        UNCHOKE => Message::Unchoke,
        INTERESTED => Message::Interested,
        NOT_INTERESTED => Message::NotInterested,
        HAVE => Message::Have(piece(payload)?),
        BITFIELD => Message::Bitfield(Bytes::copy_from_slice(payload)),
        REQUEST => Message::Request(span(payload)?),
        PIECE => {
            let length = length.checked_sub(PIECE_FIELDS_LEN)?;
            let [piece, begin] = words(payload)?;
            Message::Piece(Span { piece: PieceIndex::new(piece), begin, length })
        }
        CANCEL => Message::Cancel(span(payload)?),
        PORT => Message::Port(u16::from_be_bytes(payload.try_into().ok()?)),
        SUGGEST => Message::Suggest(piece(payload)?),
        HAVE_ALL => Message::HaveAll,
        HAVE_NONE => Message::HaveNone,
        REJECT => Message::Reject(span(payload)?),
        ALLOWED_FAST => Message::AllowedFast(piece(payload)?),
        EXTENDED => {
            let (&id, payload) = payload.split_first()?;
            Message::Extended { id, payload: Bytes::copy_from_slice(payload) }
        }
        _ => Message::Unknown(id),
    })
}

fn piece(payload: &[u8]) -> Option<PieceIndex> {
    let [piece] = words(payload)?;
    Some(PieceIndex::new(piece))
}

fn span(payload: &[u8]) -> Option<Span> {
    let [piece, begin, length] = words(payload)?;
    Some(Span { piece: PieceIndex::new(piece), begin, length })
}

/// Exactly `N` big-endian words.
pub(super) fn words<const N: usize>(payload: &[u8]) -> Option<[u32; N]> {
    let (chunks, rest) = payload.as_chunks::<4>();
    let chunks: &[[u8; 4]; N] = chunks.try_into().ok()?;
    rest.is_empty().then(|| chunks.map(u32::from_be_bytes))
}

/// Appends a frame. A payload comes from our own side and is far below [`FRAME_MAX`].
fn put_frame(out: &mut BytesMut, id: u8, payload: &[u8]) {
    put_prefix(out, id, payload.len());
    out.put_slice(payload);
}

fn put_span(out: &mut BytesMut, id: u8, span: Span) {
    put_prefix(out, id, 12);
    out.put_u32(span.piece.get());
    out.put_u32(span.begin);
    out.put_u32(span.length);
}

fn put_extended(out: &mut BytesMut, id: u8, payload: &[u8]) {
    put_prefix(out, EXTENDED, payload.len() + 1);
    out.put_u8(id);
    out.put_slice(payload);
}

fn put_prefix(out: &mut BytesMut, id: u8, payload_len: usize) {
    let length = u32::try_from(payload_len + 1).unwrap_or(u32::MAX);
    debug_assert!(length <= FRAME_MAX, "no message of ours is that long");
    out.reserve(PREFIX_LEN + 1 + payload_len);
    out.put_u32(length);
    out.put_u8(id);
}

#[cfg(test)]
mod tests;
