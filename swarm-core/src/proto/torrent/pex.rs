//! Whether a torrent exchanges addresses with its peers (BEP 11), and whom it can tell of.
//!
//! A private torrent does not (BEP 27): it never offers the extension and reads no message of
//! it. As long as only a magnet link is known, nobody can say whether the torrent is private,
//! so it waits for the metadata.
//!
//! Not here: what one peer is told and believed (see `proto::pex`).

use super::super::PeerKey;
use super::super::input::{CloseReason, Direction, Source};
use super::super::peer::Peer;
use super::graph::listens_at;
use super::{Phase, Torrent};
use crate::types::{Limit, Moment};
use crate::wire::Message;
use crate::wire::extended::Extension;
use crate::wire::ut_pex::{PexFlags, PexMessage, PexPeer};
use bytes::Bytes;

impl Torrent {
    /// Whether peers may tell each other of peers here.
    pub(super) fn exchanges_peers(&self) -> bool {
        let is_public = self.content.as_ref().is_some_and(|c| !c.metainfo.is_private());
        self.params.config.peer_exchange && is_public
    }

    pub(super) fn on_pex(&mut self, now: Moment, key: PeerKey, payload: &Bytes) {
        if !self.exchanges_peers() {
            return;
        }
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Ok(message) = PexMessage::decode(payload) else {
            self.disconnect(now, key, CloseReason::Malformed);
            return;
        };
        let is_early = peer.pex.is_early(now);
        let taken = peer.pex.take(now, peer.addr, &message);
        if is_early {
            self.hit(Limit::PeerExchangeRate);
        }
        let Ok(named) = taken else {
            self.disconnect(now, key, CloseReason::Misbehaved);
            return;
        };
        // A seed has no use for another.
        let is_seed = self.phase == Phase::Seeding;
        for named in named.into_iter().filter(|n| !(is_seed && n.flags.has(PexFlags::SEED))) {
            self.candidates.add(now, Source::Pex, named.addr);
        }
        self.dial(now);
    }

    /// Tells every peer whose turn it is of the others.
    pub(super) fn exchange_peers(&mut self, now: Moment) {
        let is_due =
            |peer: &Peer| peer.pex.is_due(now) && peer.wire.ids.id_of(Extension::UtPex).is_some();
        if !self.peers.values().any(is_due) || !self.exchanges_peers() {
            return;
        }
        let mut current: Vec<PexPeer> = self.peers.values().filter_map(as_told).collect();
        current.sort_unstable();
        current.dedup_by_key(|peer| peer.addr);
        let due: Vec<PeerKey> =
            self.peers.values().filter(|peer| is_due(peer)).map(|peer| peer.key).collect();
        for key in due {
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            let Some(id) = peer.wire.ids.id_of(Extension::UtPex) else { continue };
            let listener = listens_at(peer).unwrap_or(peer.addr);
            if let Some(news) = peer.pex.news(now, listener, &current) {
                self.send(now, key, Message::Extended { id, payload: news.encode() });
            }
        }
    }
}

/// A peer as others may be told of it; `None` when nobody can know where it listens.
fn as_told(peer: &Peer) -> Option<PexPeer> {
    let is_reachable = peer.direction == Direction::Outgoing;
    let addr = listens_at(peer)?;
    let is_seed = peer.wire.upload_only || peer.known().is_some_and(|have| have.is_all());
    let flags =
        PexFlags::default().with(PexFlags::SEED, is_seed).with(PexFlags::REACHABLE, is_reachable);
    Some(PexPeer { addr, flags })
}
