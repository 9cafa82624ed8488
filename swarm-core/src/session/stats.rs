//! Snapshots: plain data, no handles.

use crate::proto::event::Phase;
use crate::proto::input::{DialError, Direction};
use crate::types::FileIndex;
use std::net::SocketAddr;

/// One torrent at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TorrentStats {
    /// Where it is in its life.
    pub phase: Phase,
    /// Bytes of wanted content verified and written. Pad files do not count.
    pub have_bytes: u64,
    /// Bytes of wanted content; 0 before the metadata.
    pub total_bytes: u64,
    /// Pieces hashed so far while checking.
    pub checked_pieces: u32,
    /// Pieces in all; 0 before the metadata.
    pub pieces: u32,
    /// Payload received, bytes a second.
    pub down_rate: u64,
    /// Payload sent, bytes a second.
    pub up_rate: u64,
    /// Payload received since the torrent was added, bytes.
    pub downloaded: u64,
    /// Payload sent since then, bytes.
    pub uploaded: u64,
    /// Payload received in vain, bytes.
    pub wasted: u64,
    /// Connected peers.
    pub peers: Vec<PeerStats>,
    /// Wanted files, pad files left out.
    pub files: Vec<FileStats>,
    /// Whom we asked for peers and what came of it.
    pub sources: Vec<SourceReport>,
    /// Dials and how they ended.
    pub dials: DialReport,
}

/// One connected peer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerStats {
    /// Its address.
    pub addr: SocketAddr,
    /// Client name from its extension handshake, else from its peer id. Untrusted text.
    pub client: String,
    /// Who dialled.
    pub direction: Direction,
    /// Share of the torrent it has, 0 to 1.
    pub progress: f64,
    /// Payload it sends us, bytes a second.
    pub down_rate: u64,
    /// Payload we send it, bytes a second.
    pub up_rate: u64,
    /// Payload it has sent us, bytes.
    pub downloaded: u64,
    /// Payload we have sent it, bytes.
    pub uploaded: u64,
}

/// One file's progress.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FileStats {
    /// Which file.
    pub file: FileIndex,
    /// Bytes verified and written.
    pub have_bytes: u64,
    /// Its length.
    pub length: u64,
}

/// What one source of peers gave.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SourceReport {
    /// A tracker's URL with its secrets cut, or `given` for peers the user named.
    pub name: String,
    /// Peers it gave, in all.
    pub peers: usize,
    /// Why its last answer failed, if it did. Untrusted text.
    pub error: Option<String>,
    /// Whether it was asked and has answered at least once.
    pub answered: bool,
}

/// Dials and how they ended.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DialReport {
    /// Candidate addresses known.
    pub known: usize,
    /// Dials begun.
    pub tried: u64,
    /// Dials that became connections.
    pub connected: u64,
    /// Failures by kind, most frequent first.
    pub failed: Vec<(DialError, u64)>,
}
