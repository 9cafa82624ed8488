//! Who may be a peer: dialling, greeting, letting go.

use super::super::PeerKey;
use super::super::candidates::Parting;
use super::super::candidates::scope::{Scope, site_of};
use super::super::event::Event;
use super::super::input::{CloseReason, DialError, Direction, Reserved, Source};
use super::super::output::Output;
use super::super::peer::{EarlyHave, Greeting, Holdings, Identity, Peer};
use super::super::picker::PeerHave;
use super::blame::Giver;
use super::graph::listens_at;
use super::{Phase, Torrent, allowed_fast};
use crate::types::{Limit, Moment, PeerId};
use crate::wire::Message;
use crate::wire::extended::HANDSHAKE_ID;
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};

impl Torrent {
    pub(super) fn on_candidates(&mut self, now: Moment, source: Source, addrs: &[SocketAddr]) {
        for addr in addrs {
            self.candidates.add(now, source, *addr);
        }
        self.dial(now);
    }

    pub(super) fn on_dial_failed(&mut self, now: Moment, addr: SocketAddr, why: DialError) {
        if why == DialError::Ourselves {
            self.candidates.mark_self(addr);
        } else {
            self.candidates.dial_failed(now, addr, why);
        }
        self.dial(now);
    }

    /// Dials while there is room for peers and someone to dial.
    pub(super) fn dial(&mut self, now: Moment) {
        if !self.is_active() {
            return;
        }
        while let Some(addr) = self.candidates.next_dial(now, self.free_slots()) {
            self.outbox.push_back(Output::Connect { addr });
        }
    }

    pub(super) fn dial_deadline(&self) -> Option<Moment> {
        self.candidates.deadline(self.free_slots())
    }

    pub(super) fn on_connected(&mut self, now: Moment, who: Identity) {
        if who.direction == Direction::Outgoing {
            self.candidates.connected(who.addr);
        }
        if let Some(why) = self.objection(now, &who) {
            self.refuse(now, who, why);
            return;
        }
        if let Some(limit) = self.crowding(&who) {
            self.hit(limit);
            self.refuse(now, who, CloseReason::Full);
            return;
        }
        let mut twin_listens_at = None;
        if let Some((twin, direction)) = self.twin(&who) {
            if !outranks(&who, direction, &self.params.peer_id) {
                self.refuse(now, who, CloseReason::Duplicate);
                let dialled = (who.direction == Direction::Outgoing).then_some(who.addr);
                self.join_twins(now, twin, dialled);
                return;
            }
            twin_listens_at = self.peers.get(&twin).and_then(listens_at);
            self.disconnect(now, twin, CloseReason::Duplicate);
        } else if let Some(why) = self.lacks_room(now, &who) {
            self.refuse(now, who, why);
            return;
        }
        let have = if self.content.is_some() {
            Holdings::Known(PeerHave::None)
        } else {
            Holdings::Early(EarlyHave::default())
        };
        self.peers.insert(who.key, Peer::new(now, who, have));
        self.recount(who.key);
        self.count_neighbours(now);
        self.join_twins(now, who.key, twin_listens_at);
        self.emit(Event::PeerConnected { addr: who.addr });
        self.greet(now, who.key);
        self.next_tick = self.next_tick.min(now + super::tick::BUSY);
    }

    fn objection(&self, now: Moment, who: &Identity) -> Option<CloseReason> {
        if !self.is_active() && self.phase != Phase::Checking {
            return Some(CloseReason::Stopping);
        }
        if who.id == self.params.peer_id {
            return Some(CloseReason::Ourselves);
        }
        if self.is_banned(now, who.addr, who.id) {
            return Some(CloseReason::Banned);
        }
        None
    }

    /// The bound on connections with one address, or one place, that this one would be beyond.
    fn crowding(&self, who: &Identity) -> Option<Limit> {
        let config = &self.params.config;
        let (ip, site) = (who.addr.ip().to_canonical(), site_of(who.addr.ip()));
        let count = |is_there: &dyn Fn(IpAddr) -> bool| {
            self.peers.values().filter(|peer| is_there(peer.addr.ip())).count()
        };
        let is_one_host = Scope::of(ip) == Scope::Global;
        if is_one_host && count(&|other| other.to_canonical() == ip) >= config.peers_per_ip_max {
            return Some(Limit::PeersPerAddress);
        }
        let most = (config.peers_max / SITE_SHARE).max(config.peers_per_ip_max);
        let is_shared = !is_one_host || ip.is_ipv6();
        (is_shared && count(&|other| site_of(other) == site) >= most).then_some(Limit::PeersPerSite)
    }

    /// The connection we already have to the same peer, and who dialled it.
    fn twin(&self, who: &Identity) -> Option<(PeerKey, Direction)> {
        self.peers.values().find(|peer| peer.id == who.id).map(|peer| (peer.key, peer.direction))
    }

    fn refuse(&mut self, now: Moment, who: Identity, why: CloseReason) {
        if why == CloseReason::Ourselves && who.direction == Direction::Outgoing {
            self.candidates.mark_self(who.addr);
        } else if who.direction == Direction::Outgoing && why != CloseReason::Duplicate {
            self.candidates.disconnected(now, who.addr, parting(why, false));
        }
        self.outbox.push_back(Output::Disconnect { peer: who.key, why });
    }

    /// Says what we have and what we speak. Waits for checking: a bitfield has to be the
    /// first message and cannot be taken back.
    pub(super) fn greet(&mut self, now: Moment, key: PeerKey) {
        if self.phase == Phase::Checking {
            return;
        }
        let named = if self.content.is_some() { Greeting::Done } else { Greeting::Nameless };
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let before = std::mem::replace(&mut peer.greeting, named);
        let reserved = peer.wire.reserved;
        match before {
            Greeting::Due => {}
            Greeting::Nameless if named == Greeting::Done => {
                self.greet_again(now, key, reserved);
                return;
            }
            _ => return,
        }
        self.draw_veil(key);
        if let Some(message) = self.opening(key, reserved.fast) {
            self.send(now, key, message);
        }
        if reserved.extended {
            let payload = self.extended_handshake(key);
            self.send(now, key, Message::Extended { id: HANDSHAKE_ID, payload });
        }
    }

    /// The metadata came after the first greeting: now others can have it from us.
    fn greet_again(&mut self, now: Moment, key: PeerKey, reserved: Reserved) {
        if reserved.extended {
            let payload = self.extended_handshake(key);
            self.send(now, key, Message::Extended { id: HANDSHAKE_ID, payload });
        }
        let have = self.content.as_ref().map(|content| content.picker.have());
        let pieces: Vec<_> = have.into_iter().flat_map(|have| have.iter()).collect();
        for piece in pieces {
            self.send(now, key, Message::Have(piece));
        }
    }

    fn opening(&self, key: PeerKey, fast: bool) -> Option<Message> {
        let content = self.content.as_ref().filter(|_| !self.is_veiled(key));
        let have = content.map(|content| content.picker.have());
        match have {
            Some(have) if have.is_all() && fast => Some(Message::HaveAll),
            Some(have) if !have.is_none() => {
                Some(Message::Bitfield(Bytes::copy_from_slice(have.as_wire())))
            }
            _ if fast => Some(Message::HaveNone),
            _ => None,
        }
    }

    /// To a peer that wants something of us and has to wait for its turn. Not to everybody at
    /// once: all peers of one network are granted the same pieces, and a crowd that is served
    /// anyway would fetch those of the seed many times over.
    pub(super) fn grant_allowed_fast(&mut self, now: Moment, key: PeerKey) {
        let (Some(content), Some(peer)) = (&self.content, self.peers.get_mut(&key)) else { return };
        let veiled = peer.upload.veil.is_some();
        if !peer.wire.reserved.fast || peer.is_unchoked() || !peer.upload.interested || veiled {
            return;
        }
        if !peer.upload.allowed.is_empty() {
            return;
        }
        let set =
            allowed_fast::allowed_fast(peer.addr.ip(), self.params.info_hash, &content.geometry);
        let have = content.picker.have();
        let granted: Vec<_> = set.into_iter().filter(|piece| have.contains(*piece)).collect();
        peer.upload.allowed.clone_from(&granted);
        for piece in granted {
            self.send(now, key, Message::AllowedFast(piece));
        }
    }

    pub(super) fn on_disconnected(&mut self, now: Moment, key: PeerKey, why: CloseReason) {
        self.let_go(now, key, why);
        self.dial(now);
    }

    /// Closes a connection for a reason of ours.
    pub(super) fn disconnect(&mut self, now: Moment, key: PeerKey, why: CloseReason) {
        if self.peers.contains_key(&key) {
            self.outbox.push_back(Output::Disconnect { peer: key, why });
            self.let_go(now, key, why);
        }
    }

    fn let_go(&mut self, now: Moment, key: PeerKey, why: CloseReason) {
        let Some(peer) = self.peers.remove(&key) else { return };
        if why == CloseReason::Overloaded {
            self.hit(Limit::UnsentBytes);
        }
        self.lanes.forget(key);
        self.veiled.remove(&key);
        self.count_neighbours(now);
        if let Some(content) = &mut self.content {
            content.picker.peer_gone(key);
            if let Holdings::Known(have) = &peer.have {
                content.picker.peer_left(have);
            }
        }
        self.metadata.give_up(key);
        self.sending -= peer.upload.serving.sending();
        self.unchoked -= usize::from(peer.is_unchoked());
        self.starved.retain(|starved| *starved != key);
        let moved = peer.download.meter.total() + peer.upload.meter.total() > 0;
        // Two seeds close their connection at the same time: each sees the other do it.
        let done = self.both_complete(&peer);
        let parting = if done { Parting::Done } else { parting(why, moved) };
        if let Some(addr) = listens_at(&peer).filter(|_| why != CloseReason::Duplicate) {
            self.candidates.disconnected(now, addr, parting);
        }
        self.emit(Event::PeerDisconnected { addr: peer.addr, why });
        if self.is_active() && why != CloseReason::Stopping {
            self.rechoke(now);
            self.bury(now, key);
            self.fill_lanes(now);
            self.pump_starved(now);
            self.refill_all(now);
        }
    }

    /// Never again: the peer has been proven to send wrong data.
    pub(super) fn ban(&mut self, now: Moment, liar: Giver) {
        if self.is_banned(now, liar.addr, liar.id) {
            return;
        }
        // Everything on this machine shares the loopback address: there the id has to do.
        if liar.addr.ip().to_canonical().is_loopback() {
            self.barred.insert(liar.id);
            if self.barred.len() > BARRED_MAX {
                self.barred.pop_first();
            }
        } else {
            self.candidates.ban(now, liar.addr.ip());
        }
        self.emit(Event::PeerBanned { addr: liar.addr });
        let barred: Vec<PeerKey> = self
            .peers
            .values()
            .filter(|peer| self.is_banned(now, peer.addr, peer.id))
            .map(|peer| peer.key)
            .collect();
        for key in barred {
            self.disconnect(now, key, CloseReason::Banned);
        }
    }

    fn is_banned(&self, now: Moment, addr: SocketAddr, id: PeerId) -> bool {
        self.barred.contains(&id) || self.candidates.is_banned(now, addr.ip())
    }
}

/// Of a torrent's connections so large a part may be with one place that many machines may share:
/// behind a private or loopback address, in an IPv6 /64. A rack or a site of honest peers finds
/// room in it, and whoever fills it leaves as much for everybody else.
const SITE_SHARE: usize = 2;

/// Peer ids barred at once; an address is barred by the candidate list.
pub(super) const BARRED_MAX: usize = 1024;

/// Whether to dial the address again, and how soon.
fn parting(why: CloseReason, moved: bool) -> Parting {
    match why {
        CloseReason::Stopping => Parting::Useful,
        CloseReason::Remote | CloseReason::Lost | CloseReason::Idle if moved => Parting::Useful,
        CloseReason::Redundant | CloseReason::Ourselves | CloseReason::Banned => Parting::Done,
        _ => Parting::Useless,
    }
}

/// Both sides may dial at the same moment. Both must then drop the same connection: the one
/// dialled by the smaller peer id stays. Of two dialled by the same side the older stays.
fn outranks(new: &Identity, old: Direction, ours: &PeerId) -> bool {
    let kept = if *ours < new.id { Direction::Outgoing } else { Direction::Incoming };
    new.direction != old && new.direction == kept
}
