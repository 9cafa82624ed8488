//! What goes over connections: queued, sent, on its way, arrived.
//!
//! What a core sends is looked at by the ledger of its end here, before it travels, and what
//! arrives before the core hears of it. A batch leaves the sender's uplink, then its rack's and
//! the receiver's rack's line if the two are in different ones, then the receiver's downlink.
//!
//! A connection is held while its way is cut, or while it has a window's worth on its way
//! through the racks' lines, which would otherwise take in without end what they cannot send.
//!
//! Not here: what hosts of ill will do to all this (`conduct`).

use super::{Happening, World};
use crate::sim::disk::RESTORED_AFTER;
use crate::sim::host::Token;
use crate::sim::net::{Batch, Frame};
use crate::sim::oracle;
use crate::sim::spec::Conduct;
use crate::sim::trace::Line;
use std::time::Duration;
use swarm_core::proto::input::CloseReason;
use swarm_core::proto::output::Disposition;
use swarm_core::proto::{Input, PeerKey};
use swarm_core::types::{Moment, Span};
use swarm_core::wire::Message;

/// What a connection between racks may have on its way, bytes.
const WINDOW: u64 = 64 * 1024;

impl World {
    pub(super) fn send(
        &mut self,
        host: usize,
        key: PeerKey,
        message: Message,
    ) -> Result<(), String> {
        let thorough = self.is_thorough();
        let at = &mut self.hosts[host];
        let geometry = at.knows_metadata.then(|| self.content.geometry());
        oracle::check_claim(&at.have, &message)?;
        oracle::check_discretion(&self.content, &message)?;
        let Some(peer) = at.peers.get_mut(key) else {
            return Err(format!("sends {message:?} to {key:?}, which is gone"));
        };
        peer.ledger.sends(&message, geometry)?;
        match message {
            Message::Request(span) => {
                at.totals.asked += 1;
                oracle::check_request(at, span, thorough)?;
            }
            Message::Choke => at.touched.push(key),
            _ => {}
        }
        for message in self.says(host, message) {
            self.enqueue(host, key, Frame::Message(message));
        }
        Ok(())
    }

    pub(super) fn serve(&mut self, host: usize, key: PeerKey, span: Span) -> Result<(), String> {
        let at = &mut self.hosts[host];
        if !at.have.contains(span.piece) || !self.content.geometry().contains(span) {
            return Err(format!("have-implies-hash: serves {span:?}, which it does not have"));
        }
        let Some(peer) = at.peers.get_mut(key) else {
            return Err(format!("serves {span:?} to {key:?}, which is gone"));
        };
        peer.ledger.serves(span)?;
        if self.rng.below(1000) < at.spec.faults.reads {
            peer.ledger.fails(span);
            let failed = Input::ServeFailed { peer: key, span };
            self.push(Duration::ZERO, Happening::Give { host, input: failed });
            let restored = Input::Restored { piece: span.piece };
            self.push(RESTORED_AFTER, Happening::Give { host, input: restored });
            return Ok(());
        }
        if let Some(frame) = self.gives(host, span) {
            self.enqueue(host, key, frame);
        } else if self.hosts[host].spec.conduct == Conduct::Dripper {
            self.begin_to_drip(host, key);
        }
        Ok(())
    }

    fn enqueue(&mut self, host: usize, key: PeerKey, frame: Frame) {
        let buffered = self.is_buffered();
        let at = &mut self.hosts[host];
        let Some(peer) = at.peers.get_mut(key) else { return };
        if peer.queue.is_empty() {
            at.turn.push_back(key);
        }
        peer.queue.push(frame);
        if buffered {
            self.fill_socket(host, key);
        }
        self.pump(host);
    }

    /// What the socket takes counts as sent: nobody can take it back.
    fn fill_socket(&mut self, host: usize, key: PeerKey) {
        let Some(peer) = self.hosts[host].peers.get_mut(key) else { return };
        for span in peer.queue.fill_socket() {
            self.push(Duration::ZERO, Happening::Out { host, peer: key, span });
        }
    }

    /// A block is out of our hands.
    pub(super) fn out(&mut self, host: usize, key: PeerKey, span: Span) {
        let at = &mut self.hosts[host];
        if let Some(peer) = at.peers.get_mut(key) {
            at.totals.uploaded += u64::from(span.length);
            peer.ledger.unsent -= u64::from(span.length);
            self.give(host, Input::Sent { peer: key, span });
        }
    }

    /// Puts batches on the uplink while it is free. Only blocks keep it busy for long enough to
    /// make others wait for their turn: messages go one behind the other at once.
    fn pump(&mut self, host: usize) {
        while !self.hosts[host].sending {
            let Some(key) = self.hosts[host].turn.pop_front() else { return };
            if self.is_held(host, key) {
                self.hosts[host].held.push(key);
                continue;
            }
            let at = &mut self.hosts[host];
            let Some(peer) = at.peers.get_mut(key) else { continue };
            let batch = peer.queue.batch();
            let flushed = peer.queue.take_flushed();
            if !peer.queue.is_empty() {
                at.turn.push_back(key);
            }
            peer.in_flight += batch.bytes;
            let cost = self.wire.cost(batch.bytes);
            at.totals.sent += cost;
            let out = at.uplink.take(self.now, cost);
            if batch.payload > 0 {
                at.sending = true;
                self.events.push(out, Happening::Sent { host, peer: key, batch });
            } else {
                let (conn, side) = (peer.conn, peer.side);
                self.depart(out, conn, side, batch);
            }
            if flushed {
                let input = Input::Flushed { peer: key };
                self.push(Duration::ZERO, Happening::Give { host, input });
            }
        }
    }

    fn is_held(&self, host: usize, key: PeerKey) -> bool {
        let Some(peer) = self.hosts[host].peers.get(key) else { return false };
        self.is_cut(host, peer.remote)
            || (peer.in_flight >= WINDOW && self.racks_between(host, peer.remote).is_some())
    }

    /// Those who were held try again.
    pub(super) fn release(&mut self, host: usize) {
        let held = std::mem::take(&mut self.hosts[host].held);
        self.hosts[host].turn.extend(held);
        self.pump(host);
    }

    /// Blocks have left the uplink: they travel on, and the core learns that they are out.
    pub(super) fn sent(&mut self, host: usize, key: PeerKey, batch: Batch) {
        self.hosts[host].sending = false;
        let Some(peer) = self.hosts[host].peers.get_mut(key) else { return self.pump(host) };
        let (conn, side) = (peer.conn, peer.side);
        let spans: Vec<Span> = batch.spans().collect();
        self.depart(self.now, conn, side, batch);
        let buffered = self.is_buffered();
        if buffered {
            self.fill_socket(host, key);
        }
        self.pump(host);
        for span in spans.into_iter().filter(|_| !buffered) {
            self.out(host, key, span);
        }
    }

    /// From the end on `side` to the other.
    fn depart(&mut self, out: Moment, conn: usize, side: usize, batch: Batch) {
        let [(host, _), (remote, _)] = self.ends(conn, side);
        let at = out + self.latency(host, remote);
        let side = 1 - side;
        let Some((rack, _)) = self.racks_between(host, remote) else {
            return self.events.push(at, Happening::Reach { conn, side, batch });
        };
        let cost = self.wire.cost(batch.bytes);
        let done = self.racks[rack][0].take(out, cost) + self.latency(host, remote);
        self.events.push(done, Happening::Enter { conn, side, batch });
    }

    /// A batch has come as far as the receiver's rack.
    pub(super) fn enter(&mut self, conn: usize, side: usize, batch: Batch) {
        let [(host, _), (remote, _)] = self.ends(conn, side);
        let cost = self.wire.cost(batch.bytes);
        let done = match self.racks_between(host, remote) {
            Some((rack, _)) => self.racks[rack][1].take(self.now, cost),
            None => self.now,
        };
        self.events.push(done, Happening::Reach { conn, side, batch });
    }

    /// A batch has come as far as the receiver's downlink.
    pub(super) fn reach(&mut self, conn: usize, side: usize, batch: Batch) {
        let [(host, _), (remote, _)] = self.ends(conn, side);
        if self.is_cut(host, remote) {
            return self.stranded.push(Happening::Reach { conn, side, batch });
        }
        let cost = self.wire.cost(batch.bytes);
        let line = &mut self.hosts[host].downlink;
        let idle = line.is_idle(self.now);
        let done = line.take(self.now, cost);
        if idle && batch.payload == 0 {
            self.arrive(conn, side, batch);
        } else {
            self.events.push(done, Happening::Arrive { conn, side, batch });
        }
    }

    pub(super) fn arrive(&mut self, conn: usize, side: usize, batch: Batch) {
        self.acknowledge(conn, side, batch.bytes);
        if self.conns[conn].silent {
            return;
        }
        let (host, key) = self.conns[conn].ends[side];
        for frame in batch.frames {
            if self.ignores(host, &frame) {
                continue;
            }
            let at = &mut self.hosts[host];
            let geometry = at.knows_metadata.then(|| self.content.geometry());
            let Some(peer) = at.peers.get_mut(key) else { return };
            match frame {
                Frame::Message(message) => {
                    peer.ledger
                        .hears(&message, geometry)
                        .unwrap_or_else(|broken| panic!("#{host} at {:?}: {broken}", self.now));
                    if matches!(message, Message::Request(_)) {
                        at.touched.push(key);
                    }
                    self.give(host, Input::Message { peer: key, message });
                }
                Frame::Block { span, good } => self.receive(host, key, span, good),
                Frame::Torn { span } => self.receive_torn(conn, host, key, span),
            }
        }
    }

    /// The sender may have more on its way; what says so is on the receiver's uplink.
    fn acknowledge(&mut self, conn: usize, side: usize, bytes: u64) {
        let [(host, _), (remote, key)] = self.ends(conn, side);
        let cost = self.wire.acknowledgement(bytes);
        if cost > 0 {
            self.hosts[host].uplink.take(self.now, cost);
        }
        let Some(peer) = self.hosts[remote].peers.get_mut(key) else { return };
        peer.in_flight -= bytes;
        if !self.racks.is_empty() && self.hosts[remote].held.contains(&key) {
            self.release(remote);
        }
    }

    fn receive(&mut self, host: usize, key: PeerKey, span: Span, good: bool) {
        let bytes = u64::from(span.length);
        self.hosts[host].totals.downloaded += bytes;
        self.give(host, Input::Progress { peer: key, bytes });
        let at = &mut self.hosts[host];
        let Some(peer) = at.peers.get_mut(key) else { return };
        let remote = peer.remote;
        peer.ledger.gets(span);
        let digest = self.digest(remote, good);
        let at = &mut self.hosts[host];
        let disposition = at.core.receive(self.now, key, span);
        self.trace.note(self.now, host, Line::Block { from: key, span, good, disposition });
        let at = &mut self.hosts[host];
        match disposition {
            Disposition::Keep | Disposition::WriteThrough => at
                .keep(&self.content, span, Token { from: remote, good, digest })
                .unwrap_or_else(|broken| panic!("#{host} at {:?}: {broken}", self.now)),
            Disposition::Drop => at.totals.dropped += bytes,
        }
        self.settle(host);
        if disposition == Disposition::WriteThrough {
            // The disk takes no time here.
            self.give(host, Input::Wrote { piece: span.piece, blocks: 1 });
        }
    }

    /// A part of a block came, and the end of the connection.
    fn receive_torn(&mut self, conn: usize, host: usize, key: PeerKey, span: Span) {
        let bytes = u64::from(span.length / 2);
        let totals = &mut self.hosts[host].totals;
        totals.downloaded += bytes;
        totals.dropped += bytes;
        self.give(host, Input::Progress { peer: key, bytes });
        for side in 0..2 {
            self.push(Duration::ZERO, Happening::Closed { conn, side, why: CloseReason::Lost });
        }
    }

    /// Both ends as seen from one side: its own first.
    pub(super) fn ends(&self, conn: usize, side: usize) -> [(usize, PeerKey); 2] {
        let ends = self.conns[conn].ends;
        [ends[side], ends[1 - side]]
    }

    pub(super) fn is_cut(&self, a: usize, b: usize) -> bool {
        self.hosts[a].island != self.hosts[b].island
    }

    /// The racks of two hosts when they are in different ones; the first host's first. A host
    /// in none is at the lines' far end.
    fn racks_between(&self, a: usize, b: usize) -> Option<(usize, usize)> {
        match (self.hosts[a].spec.rack, self.hosts[b].spec.rack) {
            (Some(a), Some(b)) if a != b => Some((a, b)),
            _ => None,
        }
    }

    fn is_buffered(&self) -> bool {
        self.wire == crate::sim::net::Wire::Tcp
    }
}
