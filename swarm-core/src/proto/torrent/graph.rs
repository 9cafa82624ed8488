//! A torrent's place in the graph of its swarm: how many more neighbours it looks for, whom it
//! lets go for a newcomer, and which candidate a connection stands for.
//!
//! Not here: the numbers and their reasons (see `proto::neighbours`).

use super::super::PeerKey;
use super::super::candidates::Parting;
use super::super::input::{CloseReason, Direction};
use super::super::neighbours::{MATES_KEPT, Neighbours, USELESS_AFTER, are_mates};
use super::super::peer::{Identity, Peer};
use super::super::picker::PeerHave;
use super::{Phase, Torrent};
use crate::types::{Limit, Moment, PeerId};
use std::net::SocketAddr;

impl Torrent {
    /// How many more connections to look for, dials under way included in what there is.
    pub(super) fn free_slots(&self) -> usize {
        let dialling = self.candidates.dialling();
        let counted = Neighbours { dialling, ..self.neighbours };
        counted.room(self.params.config.peers_max, self.appetite.more())
    }

    /// Counts the neighbours: when one comes or goes, and now and then, for one may become
    /// useless by doing nothing.
    pub(super) fn count_neighbours(&mut self, now: Moment) {
        let mut counted = Neighbours::default();
        for peer in self.peers.values() {
            let serves = peer.wire.upload_only || peer.known().is_some_and(PeerHave::is_all);
            let is_of_use = now.since(peer.times.useful) < USELESS_AFTER;
            if self.phase == Phase::Downloading && serves && !peer.download.interested {
                counted.spent += 1;
            } else if serves {
                counted.serving += 1;
            } else if self.is_mate(&peer.id) && is_of_use {
                counted.mates += 1;
            } else {
                counted.strangers += 1;
            }
        }
        self.neighbours = counted;
    }

    /// Dials more if those we know have turned out to be of less use than we thought.
    pub(super) fn seek_neighbours(&mut self, now: Moment) {
        self.count_neighbours(now);
        self.dial(now);
    }

    /// Whether those we know are of use; if not, more are sought.
    pub(super) fn review_appetite(&mut self, now: Moment) {
        let lacks = self.content.as_ref().is_some_and(|content| !content.picker.is_complete());
        let is_hungry = self.phase == Phase::Downloading && lacks && !self.peers.is_empty();
        let is_fed = !is_hungry || self.is_owed();
        self.appetite.look(now, is_fed);
    }

    /// Why there is no place for a newcomer; makes one where that is right.
    pub(super) fn lacks_room(&mut self, now: Moment, who: &Identity) -> Option<CloseReason> {
        let is_mate = self.is_mate(&who.id);
        let mates = self.peers.values().filter(|peer| self.is_mate(&peer.id)).count();
        let is_visitor = is_mate && who.direction == Direction::Incoming;
        if is_visitor && !self.doorman.admits(now, who.id, mates) {
            return Some(CloseReason::Full);
        }
        if self.peers.len() < self.params.config.peers_max {
            return None;
        }
        self.hit(Limit::PeersPerTorrent);
        let Some(key) = self.spare(now, mates) else { return Some(CloseReason::Full) };
        if !self.doorman.may_displace(now) {
            return Some(CloseReason::Full);
        }
        self.disconnect(now, key, CloseReason::Full);
        None
    }

    /// The neighbour that is missed least: the longest useless one, else the oldest of the
    /// mates beyond those that are kept anyway. Nobody to or from whom blocks are on their way.
    fn spare(&self, now: Moment, mates: usize) -> Option<PeerKey> {
        let idle = || self.peers.values().filter(|peer| !peer.is_busy());
        let useless = idle()
            .filter(|peer| now.since(peer.times.useful) >= USELESS_AFTER)
            .min_by_key(|peer| peer.times.useful);
        let extra = || {
            let oldest = idle().filter(|peer| self.is_mate(&peer.id));
            oldest.min_by_key(|peer| peer.times.connected).filter(|_| mates > MATES_KEPT)
        };
        useless.or_else(extra).map(|peer| peer.key)
    }

    /// Of two connections to one peer only `kept` stays: what is known of where the peer
    /// listens goes with it, so that it is not dialled beside it, and dialled when it is gone.
    pub(super) fn join_twins(&mut self, now: Moment, kept: PeerKey, other: Option<SocketAddr>) {
        let (Some(other), Some(peer)) = (other, self.peers.get_mut(&kept)) else { return };
        match listens_at(peer) {
            None => peer.listens_at = Some(other),
            Some(addr) if addr == other => {}
            Some(_) => self.candidates.disconnected(now, other, Parting::Done),
        }
    }

    /// A peer that dialled us says where it listens: nobody needs to dial it there.
    pub(super) fn learn_port(&mut self, now: Moment, key: PeerKey, port: u16) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.direction == Direction::Outgoing || peer.listens_at.is_some() {
            return;
        }
        let addr = SocketAddr::new(peer.addr.ip(), port);
        peer.listens_at = Some(addr);
        self.candidates.add_connected(now, addr);
    }

    /// Whether we and the peer have everything: no more to be had from each other.
    pub(super) fn both_complete(&self, peer: &Peer) -> bool {
        let have = self.content.as_ref().map(|content| content.picker.have());
        let is_seed = peer.wire.upload_only || peer.known().is_some_and(|have| have.is_all());
        is_seed && have.is_some_and(crate::types::Bitfield::is_all)
    }

    fn is_mate(&self, id: &PeerId) -> bool {
        are_mates(id, &self.params.peer_id)
    }
}

/// The address a peer can be dialled at, as far as we know.
pub(super) fn listens_at(peer: &Peer) -> Option<SocketAddr> {
    if peer.direction == Direction::Outgoing { Some(peer.addr) } else { peer.listens_at }
}
