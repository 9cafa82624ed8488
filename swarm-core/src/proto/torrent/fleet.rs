//! What is different between mates: no choking, and a seed that leads.
//!
//! A mate (`wire::mate`) is unchoked as soon as both sides are ready and stays so. What protects
//! us from those who only call themselves so is the order of service (`choker::lanes`).
//!
//! While nobody else has a piece, a seed leads its mates (`choker::first_copy`): as long as
//! there are [`CROWD_MIN`] who lack something, and pieces that are not out. Strangers are shown what
//! they are given (see [`super::veil`]); those that have seen everything, and speak BEP 6, get hints.
//!
//! Not here: the order of service itself, who may ask when (`turns`), what was assigned to whom.

use super::super::PeerKey;
use super::super::choker::first_copy::FirstCopy;
use super::super::input::CloseReason;
use super::super::peer::{Grant, Greeting, Slot, Standing, Terms};
use super::veil::{can_be_led, lacks};
use super::{Phase, Torrent};
use crate::types::{Moment, PieceIndex};
use crate::wire::extended::Extension;
use crate::wire::mate::ASSIGN_MAX;
use crate::wire::{MateMessage, Message};

/// A seed leads so many interested mates, not fewer: one or two are quicker on their own.
pub(super) const CROWD_MIN: usize = 3;
/// Assigned pieces that we remember of one seed.
const ASSIGNED_MAX: usize = 256;
/// What is assigned and not there yet amounts to what the uplink sends in a second, at the
/// least to so many pieces and bytes.
const AHEAD_PIECES: u64 = 4;
const AHEAD_BYTES: u64 = 512 * 1024;

impl Torrent {
    /// The peer has said which extensions it speaks.
    pub(super) fn review_standing(&mut self, now: Moment, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let speaks = peer.wire.ids.id_of(Extension::Mate).is_some();
        match (speaks, peer.upload.standing) {
            (true, Standing::Stranger) => {
                peer.upload.standing = Standing::Mate;
                peer.download.terms = Terms::OnTurn;
                self.lead(now);
                self.welcome(now, key);
                self.review_claim(key);
                self.review_grants(now);
                self.fill_lanes(now);
            }
            (false, Standing::Mate) => {
                peer.upload.standing = Standing::Stranger;
                peer.download.terms = Terms::Anything;
                self.rechoke(now);
            }
            _ => {}
        }
    }

    /// Unchokes a mate.
    pub(super) fn welcome(&mut self, now: Moment, key: PeerKey) {
        let serves = matches!(self.phase, Phase::Downloading | Phase::Seeding);
        let Some(peer) = self.peers.get(&key) else { return };
        let choked = matches!(peer.upload.slot, Slot::Choked { .. });
        if serves && choked && peer.is_mate() && peer.greeting != Greeting::Due {
            self.unchoke(now, key);
        }
    }

    /// Transfers begin, or we have become a seed, which owes nobody.
    pub(super) fn begin_fleet(&mut self, now: Moment) {
        let Some(content) = &self.content else { return };
        self.lanes.tune(self.uplink.rate(now), content.geometry.piece_length());
        if self.phase == Phase::Seeding && content.picker.have().is_all() {
            let picker = &content.picker;
            let count = content.geometry.piece_count();
            let is_out = |piece| picker.availability(piece) > 0;
            self.first = Some(FirstCopy::new(count, self.params.seed, is_out));
            self.lanes.level_out();
            self.peers.values_mut().for_each(|peer| peer.upload.debt = 0);
        } else {
            self.first = None;
            self.lift_veils(now);
        }
        let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        self.recount_all();
        self.lead(now);
        for key in keys {
            self.welcome(now, key);
        }
        self.recount_all();
        self.review_grants(now);
        self.fill_lanes(now);
    }

    pub(super) fn tick_fleet(&mut self, now: Moment) {
        let Some(content) = &self.content else { return };
        self.lanes.tune(self.uplink.rate(now), content.geometry.piece_length());
        self.lanes.widen(now, self.totals.uploaded);
        self.tick_turns(now);
        self.unstick(now);
        self.fill_lanes(now);
        if let (Some(first), Some(content)) = (&mut self.first, &self.content) {
            first.expire(now, |piece| content.picker.availability(piece) > 0);
            self.lead(now);
        }
    }

    /// A peer asked for a piece.
    pub(super) fn on_demand(&mut self, key: PeerKey, piece: PieceIndex) {
        if let Some(first) = &mut self.first {
            first.asked(self.now, key, piece);
        }
    }

    /// A peer is gone.
    pub(super) fn bury(&mut self, now: Moment, key: PeerKey) {
        let (Some(first), Some(content)) = (&mut self.first, &self.content) else { return };
        first.gone(key, |piece| content.picker.availability(piece) > 0);
        self.lead(now);
    }

    /// As a seed: tells the mates what to fetch of us, or that they are free.
    pub(super) fn lead(&mut self, now: Moment) {
        let Some(first) = &self.first else { return };
        // Only a veil asks for it: who it is drawn before may not say that it wants anything.
        let is_crowd = self.veiled.is_empty()
            || self.peers.values().filter(|peer| lacks(peer)).take(CROWD_MIN).count() == CROWD_MIN;
        let led = self.peers.values().filter(|peer| can_be_led(peer));
        let crowd: Vec<PeerKey> = led.map(|peer| peer.key).collect();
        let is_over = self.phase != Phase::Seeding || first.is_over();
        if is_over && first.due() == 0 || !is_crowd {
            self.lift_veils(now);
        } else {
            self.lure(now);
        }
        if is_over || crowd.len() < CROWD_MIN && self.veiled.is_empty() {
            self.set_free(now);
            return;
        }
        let (Some(first), Some(content)) = (&mut self.first, &self.content) else { return };
        first.count_trust(self.veiled.iter().copied());
        let piece_length = u64::from(content.geometry.piece_length());
        let ahead = self.uplink.rate(now).max(AHEAD_BYTES).div_ceil(piece_length).max(AHEAD_PIECES);
        let ahead = usize::try_from(ahead).unwrap_or(usize::MAX);
        let each = (2 * ahead / crowd.len().max(1)).max(2);
        let mut orders: Vec<(PeerKey, Vec<PieceIndex>)> = Vec::new();
        while first.due() < ahead {
            let free = crowd.iter().filter(|key| first.due_of(**key) < each);
            let mut by_burden: Vec<_> = free
                .filter_map(|key| self.peers.get(key))
                .map(|peer| {
                    let doubtful = peer.upload.veil.is_some() && first.is_doubtful(peer.key);
                    (doubtful, first.burden(peer.key), peer.upload.debt, peer.key)
                })
                .collect();
            by_burden.sort_unstable();
            let given = by_burden.into_iter().find_map(|(_, _, _, key)| {
                let have = self.peers.get(&key)?.known()?;
                first.assign(now, key, |piece| have.contains(piece)).map(|piece| (key, piece))
            });
            let Some((key, piece)) = given else { break };
            match orders.iter_mut().find(|(other, _)| *other == key) {
                Some((_, pieces)) => pieces.push(piece),
                None => orders.push((key, vec![piece])),
            }
        }
        self.give_orders(now, &crowd, orders);
    }

    /// Sends assignments; a mate that is led for the first time is told even if it gets none.
    fn give_orders(
        &mut self,
        now: Moment,
        crowd: &[PeerKey],
        mut orders: Vec<(PeerKey, Vec<PieceIndex>)>,
    ) {
        for key in crowd {
            let Some(peer) = self.peers.get_mut(key).filter(|peer| peer.is_mate()) else {
                continue;
            };
            let news = std::mem::replace(&mut peer.upload.grant, Grant::Led) != Grant::Led;
            if news && !orders.iter().any(|(other, _)| other == key) {
                orders.push((*key, Vec::new()));
            }
        }
        for (key, pieces) in orders {
            if self.is_veiled(key) {
                pieces.iter().for_each(|piece| self.show_piece(now, key, *piece));
                continue;
            }
            for part in pieces.chunks(ASSIGN_MAX) {
                self.tell_mate(now, key, &MateMessage::Assign(part.to_vec()));
            }
            if pieces.is_empty() {
                self.tell_mate(now, key, &MateMessage::Assign(pieces));
            }
        }
    }

    /// Leads nobody any more.
    fn set_free(&mut self, now: Moment) {
        let mut led = Vec::new();
        for peer in self.peers.values_mut().filter(|peer| peer.upload.grant == Grant::Led) {
            peer.upload.grant = Grant::OnTurn;
            led.push(peer.key);
        }
        for key in &led {
            self.tell_mate(now, *key, &MateMessage::Turn(0));
            self.review_claim(*key);
        }
        if !led.is_empty() {
            self.review_grants(now);
            self.fill_lanes(now);
        }
    }

    pub(super) fn tell_mate(&mut self, now: Moment, key: PeerKey, message: &MateMessage) {
        let ids = self.peers.get(&key).map(|peer| peer.wire.ids);
        if let Some(id) = ids.and_then(|ids| ids.id_of(Extension::Mate)) {
            self.send(now, key, Message::Extended { id, payload: message.encode() });
        }
    }

    /// Suggests to a stranger a piece that nobody has.
    pub(super) fn hint(&mut self, now: Moment, key: PeerKey) {
        let (Some(first), Some(peer)) = (&self.first, self.peers.get(&key)) else { return };
        let shown_all = peer.upload.veil.is_none();
        if !peer.wire.reserved.fast || peer.is_mate() || !peer.upload.interested || !shown_all {
            return;
        }
        let Some(have) = peer.known() else { return };
        if let Some(piece) = first.hint(|piece| have.contains(piece)) {
            self.send(now, key, Message::Suggest(piece));
        }
    }

    pub(super) fn on_mate_message(&mut self, now: Moment, key: PeerKey, payload: &[u8]) {
        match MateMessage::decode(payload) {
            Some(MateMessage::Free) => {
                let Some(peer) = self.peers.get_mut(&key) else { return };
                peer.download.terms = Terms::Anything;
                self.refill(now, key);
            }
            Some(MateMessage::Assign(pieces)) => self.on_assign(now, key, &pieces),
            Some(MateMessage::Decline(piece)) => {
                if let (Some(first), Some(content)) = (&mut self.first, &self.content) {
                    first.declined(key, piece, |piece| content.picker.availability(piece) > 0);
                }
            }
            Some(MateMessage::Turn(blocks)) => self.on_turn(now, key, blocks),
            Some(MateMessage::Pass) => self.on_pass(now, key),
            None => {}
        }
    }

    /// A seed tells us what to fetch of it.
    fn on_assign(&mut self, now: Moment, key: PeerKey, pieces: &[PieceIndex]) {
        let (Some(content), Some(peer)) = (&self.content, self.peers.get_mut(&key)) else { return };
        if pieces.iter().any(|piece| !content.geometry.has_piece(*piece)) {
            self.disconnect(now, key, CloseReason::Misbehaved);
            return;
        }
        if !matches!(peer.download.terms, Terms::Assigned(_)) {
            peer.download.terms = Terms::Assigned(Vec::new());
        }
        let Terms::Assigned(assigned) = &mut peer.download.terms else { return };
        assigned.retain(|piece| content.picker.is_missing(*piece));
        let mut declined = Vec::new();
        for piece in pieces {
            if !content.picker.is_missing(*piece) || assigned.len() >= ASSIGNED_MAX {
                declined.push(*piece);
            } else if !assigned.contains(piece) {
                assigned.push(*piece);
            }
        }
        for piece in declined {
            self.tell_mate(now, key, &MateMessage::Decline(piece));
        }
        self.refill(now, key);
    }
}
