//! Everything a torrent can ask of its driver.

use super::PeerKey;
use super::event::Event;
use super::input::CloseReason;
use crate::types::{PieceIndex, Span};
use crate::wire::Message;
use bytes::Bytes;
use std::net::SocketAddr;

/// Something that must be done, in this order.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Dial and shake hands; answer with `Input::Connected` or `Input::DialFailed`.
    Connect {
        /// Whom.
        addr: SocketAddr,
    },
    /// Send a message (never `Piece`).
    Send {
        /// To whom.
        peer: PeerKey,
        /// What.
        message: Message,
    },
    /// Read a block from the storage and send it; answer with `Input::Sent` once it left
    /// our buffers, or `Input::ServeFailed`.
    Serve {
        /// To whom.
        peer: PeerKey,
        /// The block; checked: it lies in a piece we have.
        span: Span,
    },
    /// The peer takes several blocks in one `piece` message, up to so many bytes, and may send
    /// such messages from now on (see [`crate::wire::mate`]). Use it or leave it.
    Runs {
        /// Which peer.
        peer: PeerKey,
        /// Bytes of a payload, more than one block.
        bytes: u32,
    },
    /// Every block of the piece was kept: hash it, write it, answer with `Input::Verified`.
    Verify {
        /// The piece.
        piece: PieceIndex,
        /// Also compute the block digests when the hash is right: it was wrong before.
        digests: bool,
    },
    /// Drop the kept blocks of a piece: it is given up.
    Discard {
        /// The piece.
        piece: PieceIndex,
    },
    /// Close the connection. No `Input::Disconnected` is due for it.
    Disconnect {
        /// Whose.
        peer: PeerKey,
        /// Why.
        why: CloseReason,
    },
    /// The whole `info` dictionary has come from peers and hashes to the torrent's name:
    /// parse it and answer with `Input::Metainfo` or `Input::MetadataRefused`.
    Metadata {
        /// The raw dictionary.
        info: Bytes,
    },
    /// Tell whoever listens.
    Emit(Event),
}

/// What to do with a block's payload that has just arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Keep it as part of its piece until `Verify` or `Discard`.
    Keep,
    /// As `Keep`, but the piece is too long to wait in memory: write the block where it
    /// belongs, not verified, and say so (`Input::Wrote`). Hash the piece as a whole at
    /// `Verify` as usual; nobody reads it before.
    WriteThrough,
    /// Not asked for, or a duplicate: drop it.
    Drop,
}
