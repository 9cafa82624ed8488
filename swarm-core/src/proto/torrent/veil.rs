//! What a seed shows to strangers while pieces are with it alone (BEP 16).
//!
//! A stranger asks a seed for what looks rare to it. To all of them the same pieces look rare,
//! those that only the seed has, so the last of these leave it many times over while the rest of the
//! crowd waits. So while we lead a crowd ([`super::fleet`]), a stranger that comes is shown no
//! piece but those that are given to it; and everything, as soon as nothing is with us alone or there is
//! no crowd. Our own kind needs no veil: it is told what to ask for.
//!
//! Who was here before there was a crowd has seen everything, and asks for what it likes.
//!
//! Not here: which piece is given to whom (`choker::first_copy`).

use super::super::PeerKey;
use super::super::neighbours::are_mates;
use super::super::peer::Peer;
use super::super::picker::PeerHave;
use super::fleet::CROWD_MIN;
use super::{Phase, Torrent};
use crate::types::{Bitfield, Moment, PieceIndex};
use crate::wire::Message;

/// Strangers that are veiled at a time; those beyond see everything. Bounds what each piece that
/// comes or goes costs a seed.
pub(super) const VEILED_MAX: usize = 128;
/// In a torrent of more pieces nothing is veiled: what is lifted is told piece by piece.
pub(super) const PIECES_MAX: u32 = 1 << 14;

impl Torrent {
    /// Draws a veil before a stranger that is about to be greeted, if one is called for.
    pub(super) fn draw_veil(&mut self, key: PeerKey) {
        let leads = self.phase == Phase::Seeding
            && self.first.as_ref().is_some_and(|first| !first.is_over());
        let Some(content) = self.content.as_ref().filter(|_| leads) else { return };
        let count = content.geometry.piece_count();
        let others = self.peers.values().filter(|peer| peer.key != key && lacks(peer));
        let is_crowd =
            self.veiled.len() < VEILED_MAX && others.take(CROWD_MIN - 1).count() + 1 >= CROWD_MIN;
        let us = self.params.peer_id;
        if let Some(peer) = self.peers.get_mut(&key)
            && is_crowd
            && count <= PIECES_MAX
            && !are_mates(&peer.id, &us)
        {
            peer.upload.veil = Some(Bitfield::none(count));
            self.veiled.insert(key);
        }
    }

    /// Whether the peer does not know all that we have.
    pub(super) fn is_veiled(&self, key: PeerKey) -> bool {
        self.veiled.contains(&key)
    }

    /// Shows a piece to a stranger: it may ask for it.
    pub(super) fn show_piece(&mut self, now: Moment, key: PeerKey, piece: PieceIndex) {
        let veil = self.peers.get_mut(&key).and_then(|peer| peer.upload.veil.as_mut());
        if veil.is_some_and(|shown| shown.insert(piece)) {
            self.send(now, key, Message::Have(piece));
        }
    }

    /// A stranger that is shown nothing it lacks wants nothing, and gets no slot: each is shown one
    /// piece that nobody else is.
    pub(super) fn lure(&mut self, now: Moment) {
        let (Some(first), Some(content)) = (&self.first, &self.content) else { return };
        let veiled = || self.veiled.iter().filter_map(|key| self.peers.get(key));
        let idle = |peer: &&Peer| !peer.upload.interested;
        if !veiled().any(|peer| idle(&peer)) {
            return;
        }
        let mut taken = Bitfield::none(content.geometry.piece_count());
        for shown in veiled().filter_map(|peer| peer.upload.veil.as_ref()) {
            shown.iter().for_each(|piece| _ = taken.insert(piece));
        }
        let mut lures = Vec::new();
        for peer in veiled().filter(idle) {
            let (Some(shown), Some(have)) = (&peer.upload.veil, peer.known()) else { continue };
            if shown.iter().any(|piece| !have.contains(piece)) {
                continue;
            }
            let lure = first.hint(|piece| have.contains(piece) || taken.contains(piece));
            if let Some(piece) = lure {
                taken.insert(piece);
                lures.push((peer.key, piece));
            }
        }
        for (key, piece) in lures {
            self.show_piece(now, key, piece);
        }
    }

    /// Shows everything to everybody.
    pub(super) fn lift_veils(&mut self, now: Moment) {
        for key in std::mem::take(&mut self.veiled) {
            let (Some(content), Some(peer)) = (&self.content, self.peers.get_mut(&key)) else {
                continue;
            };
            let Some(shown) = peer.upload.veil.take() else { continue };
            let knows = |piece: &PieceIndex| {
                shown.contains(*piece) || peer.known().is_some_and(|have| have.contains(*piece))
            };
            let pieces: Vec<_> =
                content.picker.have().iter().filter(|piece| !knows(piece)).collect();
            for piece in pieces {
                self.send(now, key, Message::Have(piece));
            }
            self.tell_upload_only(now, &[key]);
        }
    }

    /// What was given to a stranger goes to another, for it has lost its slot.
    pub(super) fn take_back(&mut self, key: PeerKey) {
        if !self.is_veiled(key) {
            return;
        }
        if let (Some(first), Some(content)) = (&mut self.first, &self.content) {
            first.withdrawn(key, |piece| content.picker.availability(piece) > 0);
        }
    }
}

/// Whether a peer lacks something that a seed could give it, as far as we know.
pub(super) fn lacks(peer: &Peer) -> bool {
    !peer.wire.upload_only && !peer.known().is_some_and(PeerHave::is_all)
}

/// Whether a peer can be given a piece now: our own kind whenever it wants any, a stranger that is
/// shown only what it is given while it has a slot.
pub(super) fn can_be_led(peer: &Peer) -> bool {
    peer.is_mate() && peer.upload.interested || peer.upload.veil.is_some() && peer.is_unchoked()
}
