//! What a peer said: one method a message, bounds first.

use super::super::PeerKey;
use super::super::event::Event;
use super::super::input::CloseReason;
use super::super::peer::{self, EARLY_HAVES_MAX, EarlySet, HINTS_MAX, Holdings, Peer};
use super::super::picker::PeerHave;
use super::{Content, Torrent};
use crate::geometry::Geometry;
use crate::types::{Bitfield, Limit, Moment, PieceIndex};
use crate::wire::Message;

impl Torrent {
    pub(super) fn on_message(&mut self, now: Moment, key: PeerKey, message: Message) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.times.heard = now;
        if let Some(limit) = bound_passed(now, peer, &message) {
            self.cut_off(now, key, limit);
            return;
        }
        match message {
            Message::KeepAlive | Message::Port(_) | Message::Piece(_) | Message::Unknown(_) => {}
            Message::Choke => self.on_choke(now, key),
            Message::Unchoke => self.on_unchoke(now, key),
            Message::Interested => self.on_interest(now, key, true),
            Message::NotInterested => self.on_interest(now, key, false),
            Message::Have(piece) => self.on_have(now, key, piece),
            Message::Bitfield(bits) => self.on_set(now, key, EarlySet::Bits(bits)),
            Message::HaveAll => self.on_set(now, key, EarlySet::All),
            Message::HaveNone => self.on_set(now, key, EarlySet::None),
            Message::Request(span) => self.on_request(now, key, span),
            Message::Cancel(span) => self.on_cancel(now, key, span),
            Message::Reject(span) => self.on_reject(key, span),
            Message::Suggest(piece) => self.on_hint(now, key, piece, Hint::Suggested),
            Message::AllowedFast(piece) => self.on_hint(now, key, piece, Hint::Allowed),
            Message::Extended { id, payload } => self.on_extended(now, key, id, &payload),
        }
    }

    /// Closes the connection of a peer that goes beyond a bound.
    pub(super) fn cut_off(&mut self, now: Moment, key: PeerKey, limit: Limit) {
        self.hit(limit);
        self.disconnect(now, key, CloseReason::Misbehaved);
    }

    /// All the peer has, said before any `have` (BEP 3, BEP 6). A bitfield may come again and
    /// takes the place of what was said before: aria2 sends one instead of many `have`s.
    fn on_set(&mut self, now: Moment, key: PeerKey, set: EarlySet) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let again = std::mem::replace(&mut peer.announced, true);
        let is_fast = !matches!(set, EarlySet::Bits(_));
        // Counting a whole set anew is work: saying it again comes at the rate of a toggle.
        if again && !peer.floods.toggles.allow(now) {
            self.cut_off(now, key, Limit::Toggles);
            return;
        }
        if is_fast && (again || !peer.wire.reserved.fast) {
            self.disconnect(now, key, CloseReason::Misbehaved);
            return;
        }
        match (&mut peer.have, &mut self.content) {
            (Holdings::Early(early), _) => early.set = Some(set),
            (Holdings::Known(have), Some(content)) => match read_set(&set, &content.geometry) {
                Some(known) => {
                    content.picker.peer_left(have);
                    content.picker.peer_has(&known);
                    let before = std::mem::replace(have, known);
                    let completed = again && have.is_all() && !before.is_all();
                    let (addr, id) = (peer.addr, peer.id);
                    self.recount(key);
                    if completed {
                        self.emit(Event::PeerCompleted { addr, id });
                    }
                    self.review_interest(now, key);
                    self.drop_redundant(now);
                }
                None => self.disconnect(now, key, CloseReason::Misbehaved),
            },
            (Holdings::Known(_), None) => {}
        }
    }

    fn on_have(&mut self, now: Moment, key: PeerKey, piece: PieceIndex) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.announced = true;
        match (&mut peer.have, &mut self.content) {
            (Holdings::Early(early), _) if early.haves.len() < EARLY_HAVES_MAX => {
                early.haves.push(piece);
            }
            (Holdings::Early(_), _) => self.cut_off(now, key, Limit::EarlyHaves),
            (Holdings::Known(have), Some(content)) if content.geometry.has_piece(piece) => {
                let count = content.geometry.piece_count();
                if !have.insert(piece, count) {
                    // News is bounded by the number of pieces; repeating it is not.
                    if !peer.floods.haves.allow(now) {
                        self.cut_off(now, key, Limit::Haves);
                    }
                    return;
                }
                content.picker.peer_gained(piece);
                let (is_all, addr, id) = (have.is_all(), peer.addr, peer.id);
                self.count_loss(key, piece);
                self.fill_lanes(now);
                if let (Some(first), Some(content)) = (&mut self.first, &self.content) {
                    first.gained(key, piece, content.picker.availability(piece) <= 1);
                }
                let missing = |content: &Content| content.picker.is_missing(piece);
                if self.content.as_ref().is_some_and(missing) {
                    self.review_interest(now, key);
                }
                if is_all {
                    self.emit(Event::PeerCompleted { addr, id });
                    self.drop_redundant(now);
                }
                self.lead(now);
            }
            _ => self.disconnect(now, key, CloseReason::Misbehaved),
        }
    }

    /// The peer can no longer serve a piece (BEP 54).
    pub(super) fn on_dont_have(&mut self, now: Moment, key: PeerKey, piece: PieceIndex) {
        let (Some(content), Some(peer)) = (&mut self.content, self.peers.get_mut(&key)) else {
            return;
        };
        let Holdings::Known(have) = &mut peer.have else { return };
        if !content.geometry.has_piece(piece) {
            self.disconnect(now, key, CloseReason::Misbehaved);
            return;
        }
        // A whole set was counted as a whole: it is counted anew as bits.
        if matches!(have, PeerHave::All) {
            content.picker.peer_left(have);
            *have = PeerHave::Some(Bitfield::all(content.geometry.piece_count()));
            content.picker.peer_has(have);
        }
        if have.remove(piece, content.geometry.piece_count()) {
            content.picker.peer_lost(piece);
            self.recount(key);
            self.review_interest(now, key);
        }
    }

    fn on_hint(&mut self, now: Moment, key: PeerKey, piece: PieceIndex, hint: Hint) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let exists = self.content.as_ref().is_none_or(|c| c.geometry.has_piece(piece));
        if !peer.wire.reserved.fast || !exists {
            self.disconnect(now, key, CloseReason::Misbehaved);
            return;
        }
        let hints = match hint {
            Hint::Allowed => &mut peer.download.allowed,
            Hint::Suggested => &mut peer.download.suggested,
        };
        if hints.contains(&piece) {
            return;
        }
        if hints.len() >= HINTS_MAX {
            hints.remove(0);
        }
        hints.push(piece);
        self.refill(now, key);
    }

    /// The number of pieces is known: what peers said before is read.
    pub(super) fn settle_early_peers(&mut self, now: Moment) {
        let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        for key in keys {
            let (Some(content), Some(peer)) = (&mut self.content, self.peers.get_mut(&key)) else {
                return;
            };
            if !settle(content, peer) {
                self.disconnect(now, key, CloseReason::Misbehaved);
            }
            self.recount(key);
        }
    }
}

enum Hint {
    Allowed,
    Suggested,
}

fn settle(content: &mut Content, peer: &mut Peer) -> bool {
    let Holdings::Early(early) = &mut peer.have else { return true };
    let geometry = &content.geometry;
    let set = early.set.take().unwrap_or(EarlySet::None);
    let Some(mut known) = read_set(&set, geometry) else { return false };
    for piece in std::mem::take(&mut early.haves) {
        if !geometry.has_piece(piece) {
            return false;
        }
        known.insert(piece, geometry.piece_count());
    }
    content.picker.peer_has(&known);
    peer.have = Holdings::Known(known);
    true
}

fn read_set(set: &EarlySet, geometry: &Geometry) -> Option<PeerHave> {
    match set {
        EarlySet::All => Some(PeerHave::All),
        EarlySet::None => Some(PeerHave::None),
        EarlySet::Bits(bits) => {
            Bitfield::from_wire(bits, geometry.piece_count()).ok().map(PeerHave::from_bitfield)
        }
    }
}

/// Messages that cost the peer nothing and us something come at a bounded rate: the bound that
/// this one is beyond.
fn bound_passed(now: Moment, peer: &mut Peer, message: &Message) -> Option<Limit> {
    let floods = &mut peer.floods;
    let (allowed, limit) = match message {
        Message::Choke | Message::Unchoke | Message::Interested | Message::NotInterested => {
            (floods.toggles.allow(now), Limit::Toggles)
        }
        Message::Unknown(_) => {
            floods.unknown += 1;
            (floods.unknown <= peer::UNKNOWN_MAX, Limit::UnknownMessages)
        }
        Message::Request(_) | Message::Piece(_) | Message::Have(_) => return None,
        _ => (floods.chatter.allow(now), Limit::Chatter),
    };
    (!allowed).then_some(limit)
}
