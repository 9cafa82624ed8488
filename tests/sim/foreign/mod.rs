//! A stranger: what a libtorrent-like client does, as far as it matters to a swarm.
//!
//! It knows nothing of our extension. It unchokes eight, ranked every fifteen seconds by what
//! they gave (a seed: by whose turn it is), one of them by chance for thirty seconds; a slot
//! that falls free is given away at once. It asks for the rarest piece, begun ones first, as
//! many blocks ahead as come in three seconds, and at the end for blocks that others owe.
//!
//! It is written from the BEPs and from what such clients are documented to do, and shares no
//! code with the core. Not modelled: metadata for magnets, peer exchange, blame for wrong data
//! beyond a peer that gave a whole wrong piece.

mod choke;
mod fetch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use swarm_core::geometry::Geometry;
use swarm_core::proto::event::Phase;
use swarm_core::proto::input::{CloseReason, Direction, Verification};
use swarm_core::proto::output::Disposition;
use swarm_core::proto::{Event, Input, Output, PeerKey};
use swarm_core::types::{Bitfield, Moment, PeerId, PieceIndex, Span};
use swarm_core::wire::Message;

use super::world::Rng;
use fetch::OpenPiece;

/// The state machine of one torrent in a stranger's client.
#[derive(Debug)]
pub(super) struct Foreign {
    id: PeerId,
    rng: Rng,
    geometry: Option<Geometry>,
    have: Bitfield,
    phase: Phase,
    peers: BTreeMap<PeerKey, Remote>,
    /// Peers that have each piece.
    holders: Vec<u32>,
    open: BTreeMap<PieceIndex, OpenPiece>,
    known: BTreeSet<SocketAddr>,
    to_dial: VecDeque<SocketAddr>,
    dialling: usize,
    outbox: VecDeque<Output>,
    next_tick: Moment,
    next_round: Moment,
    rounds: u32,
    downloaded: u64,
    uploaded: u64,
}

/// One peer of it.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "BEP 3 gives each side of a connection two")]
struct Remote {
    id: PeerId,
    direction: Direction,
    fast: bool,
    have: Bitfield,
    /// They choke us; we choke them.
    choked: bool,
    choking: bool,
    wanting: bool,
    wanted: bool,
    optimistic: bool,
    unchoked_at: Moment,
    /// Blocks they owe us.
    owed: Vec<Span>,
    /// Blocks ahead.
    depth: usize,
    /// Bytes since the last round, and in the round before.
    came: u64,
    rate: u64,
    /// Blocks since the last tick, and the mean of some ticks before.
    ticked: usize,
    pace: usize,
    heard: Moment,
    /// What they asked for, and what of it is with the driver.
    asked: VecDeque<Span>,
    sending: usize,
}

/// Between two looks at time-outs and pipelines.
const TICK: Duration = Duration::from_secs(1);
/// Connections it looks for.
const PEERS_SOUGHT: usize = 50;
/// Connections it takes.
const PEERS_MAX: usize = 200;

impl Foreign {
    pub(super) fn new(id: PeerId, seed: u64, now: Moment) -> Self {
        Self {
            id,
            rng: Rng::new(seed),
            geometry: None,
            have: Bitfield::none(0),
            phase: Phase::Checking,
            peers: BTreeMap::new(),
            holders: Vec::new(),
            open: BTreeMap::new(),
            known: BTreeSet::new(),
            to_dial: VecDeque::new(),
            dialling: 0,
            outbox: VecDeque::new(),
            next_tick: now,
            next_round: now,
            rounds: 0,
            downloaded: 0,
            uploaded: 0,
        }
    }

    pub(super) fn handle(&mut self, now: Moment, input: Input) {
        match input {
            Input::Metainfo(metainfo) => self.geometry = Some(*metainfo.geometry()),
            Input::Checked { have } => self.begin(now, have),
            Input::Candidates { addrs, .. } => {
                let fresh = addrs.into_iter().filter(|addr| self.known.insert(*addr));
                self.to_dial.extend(fresh);
                self.dial();
            }
            Input::Connected { peer, direction, id, reserved, .. } => {
                self.on_connected(now, peer, (direction, id, reserved.fast));
            }
            Input::DialFailed { .. } => {
                self.dialling = self.dialling.saturating_sub(1);
                self.dial();
            }
            Input::Message { peer, message } => self.on_message(now, peer, message),
            Input::Progress { bytes, .. } => self.downloaded += bytes,
            Input::Disconnected { peer, .. } => self.forget(now, peer),
            Input::Verified { piece, outcome, .. } => self.on_verified(now, piece, outcome),
            Input::Sent { peer, span } => self.on_sent(peer, span),
            _ => {}
        }
        if now >= self.next_tick && self.geometry.is_some() {
            self.tick(now);
        }
    }

    pub(super) fn receive(&mut self, now: Moment, peer: PeerKey, span: Span) -> Disposition {
        self.on_block(now, peer, span)
    }

    pub(super) fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        (!self.peers.is_empty()).then_some(self.next_tick)
    }

    pub(super) fn moved(&self) -> (u64, u64) {
        (self.downloaded, self.uploaded)
    }

    fn begin(&mut self, now: Moment, have: Bitfield) {
        self.holders = vec![0; usize::try_from(have.len()).expect("32 bits fit")];
        for at in self.peers.values() {
            at.have.iter().for_each(|piece| self.holders[piece.as_usize()] += 1);
        }
        self.have = have;
        let phase = if self.have.is_all() { Phase::Seeding } else { Phase::Downloading };
        self.enter(phase);
        let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        for key in keys {
            self.greet(key);
            self.review(now, key);
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.outbox.push_back(Output::Emit(Event::Phase(phase)));
    }

    fn is_ready(&self) -> bool {
        self.phase != Phase::Checking
    }

    fn dial(&mut self) {
        while self.peers.len() + self.dialling < PEERS_SOUGHT
            && let Some(addr) = self.to_dial.pop_front()
        {
            self.dialling += 1;
            self.outbox.push_back(Output::Connect { addr });
        }
    }

    fn on_connected(
        &mut self,
        now: Moment,
        key: PeerKey,
        (direction, id, fast): (Direction, PeerId, bool),
    ) {
        if direction == Direction::Outgoing {
            self.dialling = self.dialling.saturating_sub(1);
        }
        let twin = self.peers.iter().find(|(_, peer)| peer.id == id);
        let twin = twin.map(|(other, peer)| (*other, peer.direction));
        let kept = if self.id < id { Direction::Outgoing } else { Direction::Incoming };
        match twin {
            Some((other, old)) if direction != old && direction == kept => {
                self.disconnect(now, other, CloseReason::Duplicate);
            }
            Some(_) => return self.refuse(key, CloseReason::Duplicate),
            None if self.peers.len() >= PEERS_MAX => return self.refuse(key, CloseReason::Full),
            None => {}
        }
        let count = self.geometry.map_or(0, |geometry| geometry.piece_count());
        let remote = Remote {
            id,
            direction,
            fast,
            have: Bitfield::none(count),
            choked: true,
            choking: true,
            wanting: false,
            wanted: false,
            optimistic: false,
            unchoked_at: Moment::ZERO,
            owed: Vec::new(),
            depth: fetch::DEPTH_FIRST,
            came: 0,
            rate: 0,
            ticked: 0,
            pace: 0,
            heard: now,
            asked: VecDeque::new(),
            sending: 0,
        };
        if self.peers.is_empty() {
            self.next_tick = now + TICK;
        }
        self.peers.insert(key, remote);
        if self.is_ready() {
            self.greet(key);
        }
    }

    fn refuse(&mut self, peer: PeerKey, why: CloseReason) {
        self.outbox.push_back(Output::Disconnect { peer, why });
    }

    fn greet(&mut self, key: PeerKey) {
        let fast = self.peers[&key].fast;
        let opening = match () {
            () if self.have.is_all() && fast => Some(Message::HaveAll),
            () if !self.have.is_none() => {
                Some(Message::Bitfield(bytes::Bytes::copy_from_slice(self.have.as_wire())))
            }
            () => fast.then_some(Message::HaveNone),
        };
        if let Some(opening) = opening {
            self.send(key, opening);
        }
        let payload = bytes::Bytes::from_static(b"d1:mde1:v8:Strangere");
        self.send(key, Message::Extended { id: 0, payload });
    }

    fn send(&mut self, peer: PeerKey, message: Message) {
        self.outbox.push_back(Output::Send { peer, message });
    }

    fn disconnect(&mut self, now: Moment, peer: PeerKey, why: CloseReason) {
        self.outbox.push_back(Output::Disconnect { peer, why });
        self.forget(now, peer);
    }

    fn forget(&mut self, now: Moment, key: PeerKey) {
        let Some(peer) = self.peers.remove(&key) else { return };
        for piece in peer.have.iter() {
            if let Some(count) = self.holders.get_mut(piece.as_usize()) {
                *count -= 1;
            }
        }
        for span in peer.owed {
            self.returned(span);
        }
        if !peer.choking {
            self.refill_slots(now);
        }
        self.request_all(now);
        self.dial();
    }

    fn on_message(&mut self, now: Moment, key: PeerKey, message: Message) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        match message {
            Message::Choke => {
                peer.choked = true;
                if !peer.fast {
                    let owed = std::mem::take(&mut peer.owed);
                    owed.into_iter().for_each(|span| self.returned(span));
                }
            }
            Message::Unchoke => {
                peer.choked = false;
                self.request(now, key);
            }
            Message::Interested | Message::NotInterested => {
                peer.wanted = message == Message::Interested;
                self.on_interest(now, key);
            }
            Message::Have(piece) => {
                if peer.have.insert(piece) && !self.holders.is_empty() {
                    self.holders[piece.as_usize()] += 1;
                }
                self.review(now, key);
            }
            Message::HaveAll => self.on_set(now, key, None),
            Message::Bitfield(bits) => self.on_set(now, key, Some(&bits)),
            Message::Request(span) => self.on_request(key, span),
            Message::Cancel(span) => {
                if let Some(at) = peer.asked.iter().position(|other| *other == span) {
                    peer.asked.remove(at);
                    self.reject(key, span);
                }
            }
            Message::Reject(span) => {
                if let Some(at) = peer.owed.iter().position(|other| *other == span) {
                    peer.owed.swap_remove(at);
                    self.returned(span);
                }
            }
            _ => {}
        }
    }

    fn on_set(&mut self, now: Moment, key: PeerKey, bits: Option<&[u8]>) {
        let (Some(geometry), Some(peer)) = (self.geometry, self.peers.get_mut(&key)) else {
            return;
        };
        let count = geometry.piece_count();
        let set = bits.map_or_else(
            || Bitfield::all(count),
            |bits| Bitfield::from_wire(bits, count).expect("valid here"),
        );
        if !self.holders.is_empty() {
            peer.have.iter().for_each(|piece| self.holders[piece.as_usize()] -= 1);
            set.iter().for_each(|piece| self.holders[piece.as_usize()] += 1);
        }
        peer.have = set;
        self.review(now, key);
    }

    fn tick(&mut self, now: Moment) {
        self.next_tick = now + TICK;
        if !self.is_ready() {
            return;
        }
        if now >= self.next_round {
            self.round(now);
        }
        self.pace_pipelines(now);
        self.request_all(now);
        if self.phase == Phase::Seeding {
            let done: Vec<PeerKey> =
                self.peers.iter().filter(|(_, p)| p.have.is_all()).map(|(key, _)| *key).collect();
            for key in done {
                self.disconnect(now, key, CloseReason::Redundant);
            }
        }
    }

    fn on_verified(&mut self, now: Moment, piece: PieceIndex, outcome: Verification) {
        let Some(open) = self.open.remove(&piece) else { return };
        if outcome != Verification::Good {
            if let Some(liar) = open.sole_giver() {
                self.disconnect(now, liar, CloseReason::Banned);
            }
            return self.request_all(now);
        }
        self.have.insert(piece);
        self.outbox.push_back(Output::Emit(Event::PieceDone { piece }));
        let told: Vec<PeerKey> = self.peers.keys().copied().collect();
        for key in told {
            self.send(key, Message::Have(piece));
            self.review(now, key);
        }
        if self.have.is_all() {
            self.enter(Phase::Seeding);
        }
    }
}
