//! Peer messages (BEP 3, 6, 10).

use crate::types::{PieceIndex, Span};
use bytes::Bytes;

/// One peer message without the payload of a block, which never leaves the data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// Length 0: the connection is alive.
    KeepAlive,
    /// We will not serve you.
    Choke,
    /// We will serve you.
    Unchoke,
    /// You have pieces I want.
    Interested,
    /// You have nothing I want.
    NotInterested,
    /// I now have this piece.
    Have(PieceIndex),
    /// All pieces I have; only as the first message. Checked against the piece count by the core.
    Bitfield(Bytes),
    /// Send me this block.
    Request(Span),
    /// Header of a block; its payload follows on the stream.
    Piece(Span),
    /// Forget that request.
    Cancel(Span),
    /// UDP port of the sender's DHT node (BEP 5).
    Port(u16),
    /// You might like this piece next (BEP 6).
    Suggest(PieceIndex),
    /// I have every piece (BEP 6).
    HaveAll,
    /// I have no piece (BEP 6).
    HaveNone,
    /// I will not answer that request (BEP 6).
    Reject(Span),
    /// You may request this piece while choked (BEP 6).
    AllowedFast(PieceIndex),
    /// An extension message (BEP 10); id 0 is the extension handshake.
    Extended {
        /// Id the receiver gave the extension in its handshake; 0 for the handshake itself.
        id: u8,
        /// The rest of the message.
        payload: Bytes,
    },
    /// A message this crate does not know.
    Unknown(u8),
}
