//! Everything that can happen to a torrent.

use super::PeerKey;
use crate::metainfo::Metainfo;
use crate::types::{Bitfield, PeerId, PieceIndex, Span};
use crate::wire::Message;
use std::net::SocketAddr;
use std::sync::Arc;

pub use crate::wire::Reserved;

/// Something that happened. With `Torrent::receive`, the only way to change a `Torrent`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// The deadline passed, or nothing did: look at the time.
    Wake,
    /// The metadata is known and valid: from the caller's file, or parsed after `Output::Metadata`.
    Metainfo(Arc<Metainfo>),
    /// The metadata peers sent does not parse or does not hash to the torrent's name.
    MetadataRefused,
    /// What is on the disk has been hashed; transfers may begin.
    Checked {
        /// Pieces verified on disk.
        have: Bitfield,
    },
    /// Pieces to fetch (file selection). Default: all.
    Wanted(Bitfield),
    /// Bytes of open pieces (requested, received, unverified) the driver has memory for.
    /// At least two pieces can always be open.
    Capacity {
        /// Bytes.
        bytes: u64,
    },
    /// Stop transfers and close connections, keep state.
    Pause,
    /// Undo `Pause`.
    Resume,
    /// Addresses to try.
    Candidates {
        /// Who named them.
        source: Source,
        /// The addresses.
        addrs: Vec<SocketAddr>,
    },
    /// A handshake succeeded, dialled by us or by them.
    Connected {
        /// Key for all that follows on this connection.
        peer: PeerKey,
        /// The remote address.
        addr: SocketAddr,
        /// Who dialled.
        direction: Direction,
        /// The remote peer id.
        id: PeerId,
        /// Extensions in the handshake's reserved bytes.
        reserved: Reserved,
    },
    /// `Output::Connect` came to nothing.
    DialFailed {
        /// The address tried.
        addr: SocketAddr,
        /// Why.
        why: DialError,
    },
    /// A message arrived (never `Piece`: that is `Torrent::receive`).
    Message {
        /// From whom.
        peer: PeerKey,
        /// What.
        message: Message,
    },
    /// Payload bytes of a block arrived, whole or in part: the peer is alive and delivering.
    Progress {
        /// From whom.
        peer: PeerKey,
        /// Bytes since the last report.
        bytes: u64,
    },
    /// The connection is gone.
    Disconnected {
        /// Whose.
        peer: PeerKey,
        /// Why.
        why: CloseReason,
    },
    /// Answer to `Output::Verify`.
    Verified {
        /// The piece.
        piece: PieceIndex,
        /// Whether it is good and written.
        outcome: Verification,
        /// Short digests of the piece's blocks in order, when `Output::Verify` asked for
        /// them or the hash was wrong; else empty.
        digests: Vec<u64>,
    },
    /// Blocks that `Disposition::WriteThrough` was said of have been written and take no
    /// memory any more. Not due for a piece that was discarded meanwhile.
    Wrote {
        /// Their piece.
        piece: PieceIndex,
        /// How many.
        blocks: usize,
    },
    /// Bytes of a served block went out; `whole` when it was the last of them.
    Sent {
        /// To whom.
        peer: PeerKey,
        /// The block.
        span: Span,
    },
    /// Every message for the peer has left our buffers. Due at least when many bytes of them
    /// had piled up (16 KiB).
    Flushed {
        /// To whom.
        peer: PeerKey,
    },
    /// A piece that could not be read, see `ServeFailed`, was read and hashed again: it is good.
    Restored {
        /// The piece.
        piece: PieceIndex,
    },
    /// A block we promised cannot be read.
    ServeFailed {
        /// To whom.
        peer: PeerKey,
        /// The block.
        span: Span,
    },
}

/// Who named a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The user, or a magnet's `x.pe`.
    User,
    /// A tracker.
    Tracker,
    /// The peer itself, by connecting to us.
    Incoming,
    /// Another peer (BEP 11).
    Pex,
}

/// Who dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// We did.
    Outgoing,
    /// They did.
    Incoming,
}

/// Why a dial came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// Nothing listens there.
    #[error("connection refused")]
    Refused,
    /// No answer in time.
    #[error("timed out")]
    TimedOut,
    /// No route, or the address family is off.
    #[error("unreachable")]
    Unreachable,
    /// Something answered, but not as a BitTorrent peer, or it closed during the handshake.
    #[error("no handshake")]
    Handshake,
    /// It does not have this torrent.
    #[error("a different torrent")]
    OtherTorrent,
    /// It is us.
    #[error("ourselves")]
    Ourselves,
    /// Any other failure of the system.
    #[error("failed")]
    Other,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer closed it.
    #[error("closed by the peer")]
    Remote,
    /// The network failed.
    #[error("connection lost")]
    Lost,
    /// Bytes that are no message.
    #[error("malformed message")]
    Malformed,
    /// A legal message at an illegal moment or with illegal content.
    #[error("protocol violation")]
    Misbehaved,
    /// Wrong data, proven.
    #[error("sent wrong data")]
    Banned,
    /// Nothing came for too long.
    #[error("timed out")]
    Idle,
    /// Neither side has anything for the other.
    #[error("both complete")]
    Redundant,
    /// A second connection to the same peer.
    #[error("duplicate connection")]
    Duplicate,
    /// It is us.
    #[error("ourselves")]
    Ourselves,
    /// Its own queue towards us is over its bound.
    #[error("too slow to read")]
    Overloaded,
    /// Too many connections.
    #[error("no free slot")]
    Full,
    /// We are stopping or pausing.
    #[error("stopping")]
    Stopping,
}

/// What became of a piece whose blocks are all here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// The hash matched and the piece is written.
    Good,
    /// The hash did not match; what was written of the piece is worth nothing.
    Bad,
    /// The hash matched but the piece could not be written; the torrent is failing.
    NotWritten,
}
