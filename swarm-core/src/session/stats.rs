//! Snapshots: plain data, no handles.

use crate::engine::shared::Shared;
use crate::engine::torrent::Face;
use crate::proto::event::Phase;
use crate::proto::input::{DialError, Direction};
use crate::proto::torrent::Snapshot;
use crate::session::Error;
use crate::types::{FileIndex, LimitCounts, PeerId};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// One torrent at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TorrentStats {
    /// Where it is in its life.
    pub phase: Phase,
    /// Why a fetch waits ([`Phase::Failed`]) and when it tries again.
    pub trouble: Option<Trouble>,
    /// Bytes of wanted content verified and written. Pad files do not count.
    pub have_bytes: u64,
    /// Bytes of wanted content; 0 before the metadata.
    pub total_bytes: u64,
    /// Pieces hashed so far while checking.
    pub checked_pieces: u32,
    /// Pieces that were not hashed at the start, because an earlier run had verified them and
    /// nobody has touched their files since.
    pub known_pieces: u32,
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
    /// How often bounds of the torrent have bitten.
    pub limits: LimitCounts,
}

/// A whole session at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionStats {
    /// Connections, handshakes included.
    pub peers: usize,
    /// Connections there may be: [`Config::peers_max`](super::Config::peers_max), or as many as
    /// the process may open files.
    pub peers_max: usize,
    /// Files of torrents that are open.
    pub open_files: usize,
    /// Torrents.
    pub torrents: usize,
    /// How often bounds of the session have bitten. Those of each torrent are in
    /// [`TorrentStats::limits`].
    pub limits: LimitCounts,
}

impl SessionStats {
    pub(crate) fn of(shared: &Shared) -> Self {
        Self {
            peers: shared.peers_max.saturating_sub(shared.slots.available_permits()),
            peers_max: shared.peers_max,
            open_files: shared.files.count(),
            torrents: shared.entries().len(),
            limits: shared.limits.counts(),
        }
    }
}

/// What the local machine does to a fetch.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trouble {
    /// What is wrong.
    pub error: Error,
    /// From the failure to the next try.
    pub retry_in: Duration,
}

/// One connected peer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerStats {
    /// Its address.
    pub addr: SocketAddr,
    /// Its peer id, which stays when it connects again.
    pub id: PeerId,
    /// Client name from its extension handshake, else from its peer id. Untrusted text.
    pub client: String,
    /// Who dialled.
    pub direction: Direction,
    /// Share of the torrent it has, 0 to 1.
    pub progress: f64,
    /// Whether it wants something we have.
    pub interested: bool,
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

impl TorrentStats {
    pub(crate) fn of(face: &Face) -> Self {
        let live = face.live();
        let snapshot = live.as_deref();
        let status = face.status.borrow();
        let pieces =
            status.metainfo.as_ref().map_or(0, |metainfo| metainfo.geometry().piece_count());
        let (phase, trouble) = (status.phase, status.trouble.clone());
        drop(status);
        let progress = face.progress.get();
        let count = |value: fn(&Snapshot) -> u64| snapshot.map_or(0, value);
        Self {
            phase,
            trouble,
            have_bytes: progress.map_or(0, |progress| progress.have_bytes()),
            total_bytes: progress.map_or(0, |progress| progress.total_bytes()),
            checked_pieces: face.checked_pieces(),
            known_pieces: face.known_pieces.load(Ordering::Relaxed),
            pieces,
            down_rate: count(|snapshot| snapshot.down_rate),
            up_rate: count(|snapshot| snapshot.up_rate),
            downloaded: count(|snapshot| snapshot.downloaded),
            uploaded: count(|snapshot| snapshot.uploaded),
            wasted: count(|snapshot| snapshot.wasted),
            peers: snapshot.map_or_else(Vec::new, |snapshot| peers(snapshot, pieces)),
            files: progress.map_or_else(Vec::new, |progress| progress.files()),
            sources: face.sources(),
            dials: snapshot.map_or_else(DialReport::default, dials),
            limits: snapshot.map_or_else(LimitCounts::default, |snapshot| snapshot.limits),
        }
    }
}

fn peers(snapshot: &Snapshot, pieces: u32) -> Vec<PeerStats> {
    let each = snapshot.peers.iter();
    each.map(|peer| PeerStats {
        addr: peer.addr,
        id: peer.id,
        interested: peer.interested,
        client: peer.client.clone().unwrap_or_else(|| client_of(&peer.id)),
        direction: peer.direction,
        progress: if pieces == 0 { 0.0 } else { f64::from(peer.have) / f64::from(pieces) },
        down_rate: peer.down_rate,
        up_rate: peer.up_rate,
        downloaded: peer.downloaded,
        uploaded: peer.uploaded,
    })
    .collect()
}

fn dials(snapshot: &Snapshot) -> DialReport {
    let mut failed = snapshot.dials_failed.clone();
    failed.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    DialReport {
        known: snapshot.candidates,
        tried: snapshot.dials,
        connected: snapshot.dials_connected,
        failed,
    }
}

/// The client's code and version as they stand at the front of its peer id (BEP 20).
fn client_of(id: &PeerId) -> String {
    let [b'-', code @ .., _, _, _, _, _, _, _, _, _, _, _, _] = id.as_bytes() else {
        return "unknown client".to_owned();
    };
    let code = String::from_utf8_lossy(code);
    code.trim_end_matches('-').to_owned()
}
