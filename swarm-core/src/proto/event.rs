//! What a torrent tells whoever listens. Plain data, stable names.

use super::input::CloseReason;
use crate::types::{PeerId, PieceIndex};
use std::net::SocketAddr;

/// Something worth telling.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The torrent moved to another phase.
    Phase(Phase),
    /// A piece is verified and written.
    PieceDone {
        /// The piece.
        piece: PieceIndex,
    },
    /// A piece did not match its hash and is fetched again.
    PieceFailed {
        /// The piece.
        piece: PieceIndex,
    },
    /// A peer is connected.
    PeerConnected {
        /// Its address.
        addr: SocketAddr,
    },
    /// A peer that lacked pieces has told us that it has them all. One that came complete has
    /// not become it.
    PeerCompleted {
        /// Its address.
        addr: SocketAddr,
        /// Its peer id, which stays when it connects again.
        id: PeerId,
    },
    /// A peer is gone.
    PeerDisconnected {
        /// Its address.
        addr: SocketAddr,
        /// Why.
        why: CloseReason,
    },
    /// A peer was proven to have sent wrong data; its address is not used again.
    PeerBanned {
        /// Its address.
        addr: SocketAddr,
    },
}

/// Where a torrent is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Looking for the metadata of a magnet link.
    Metadata,
    /// Hashing what is already on the disk.
    Checking,
    /// Fetching.
    Downloading,
    /// Everything wanted is here; serving.
    Seeding,
    /// Stopped by the user.
    Paused,
    /// Stopped by an error of the local machine.
    Failed,
}
