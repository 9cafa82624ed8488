//! Snapshots of a torrent and its peers: plain data, taken when asked.

use super::super::event::Phase;
use super::super::input::{DialError, Direction};
use super::super::peer::Peer;
use super::Torrent;
use crate::types::{LimitCounts, Moment, PeerId};
use std::net::SocketAddr;

/// A torrent at one moment. Rates are payload bytes a second, totals payload bytes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// Where it is in its life.
    pub phase: Phase,
    /// Pieces verified.
    pub have: u32,
    /// Wanted pieces not verified.
    pub missing: u32,
    /// Received, bytes a second.
    pub down_rate: u64,
    /// Sent, bytes a second.
    pub up_rate: u64,
    /// Received since the torrent was made.
    pub downloaded: u64,
    /// Sent since then.
    pub uploaded: u64,
    /// Received in vain.
    pub wasted: u64,
    /// Peers that ever gave us payload.
    pub useful_peers: usize,
    /// The connected peers.
    pub peers: Vec<PeerSnapshot>,
    /// Candidate addresses known.
    pub candidates: usize,
    /// Dials begun, and how those ended that did not connect.
    pub dials: u64,
    /// Dials that connected.
    pub dials_connected: u64,
    /// Failed dials by kind.
    pub dials_failed: Vec<(DialError, u64)>,
    /// How often each bound has bitten.
    pub limits: LimitCounts,
}

/// One connected peer at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerSnapshot {
    /// Its address.
    pub addr: SocketAddr,
    /// Its peer id.
    pub id: PeerId,
    /// The client name it gave. Untrusted text.
    pub client: Option<String>,
    /// Who dialled.
    pub direction: Direction,
    /// Pieces it has.
    pub have: u32,
    /// It sends us, bytes a second.
    pub down_rate: u64,
    /// We send it, bytes a second.
    pub up_rate: u64,
    /// It has sent us.
    pub downloaded: u64,
    /// We have sent it.
    pub uploaded: u64,
    /// Whether it chokes us.
    pub choking: bool,
    /// Whether it wants something of us.
    pub interested: bool,
    /// Requests it owes us an answer to.
    pub owed: usize,
}

impl Torrent {
    /// What the torrent looks like now.
    #[must_use]
    pub fn snapshot(&self, now: Moment) -> Snapshot {
        let pieces = self.content.as_ref().map_or(0, |content| content.geometry.piece_count());
        let peers: Vec<_> =
            self.peers.values().map(|peer| snapshot_of(now, peer, pieces)).collect();
        let picker = self.content.as_ref().map(|content| &content.picker);
        let dials = self.candidates.report();
        let mut limits = self.totals.limits;
        limits.merge(&dials.limits);
        Snapshot {
            phase: self.phase,
            have: picker.map_or(0, |picker| picker.have().count()),
            missing: picker.map_or(0, super::Picker::missing_wanted),
            down_rate: peers.iter().map(|peer| peer.down_rate).sum(),
            up_rate: peers.iter().map(|peer| peer.up_rate).sum(),
            downloaded: self.totals.downloaded,
            uploaded: self.totals.uploaded,
            wasted: self.totals.wasted,
            useful_peers: self.totals.useful_peers,
            peers,
            candidates: dials.known,
            dials: dials.tried,
            dials_connected: dials.connected,
            dials_failed: dials.failed.into_iter().collect(),
            limits,
        }
    }
}

fn snapshot_of(now: Moment, peer: &Peer, pieces: u32) -> PeerSnapshot {
    PeerSnapshot {
        addr: peer.addr,
        id: peer.id,
        client: peer.wire.client.clone(),
        direction: peer.direction,
        have: peer.known().map_or(0, |have| have.count(pieces)),
        down_rate: peer.download.meter.rate(now),
        up_rate: peer.upload.meter.rate(now),
        downloaded: peer.download.meter.total(),
        uploaded: peer.upload.meter.total(),
        choking: peer.download.choked,
        interested: peer.upload.interested,
        owed: peer.download.pipeline.owed(),
    }
}
