//! Connections: dialled, shaken hands on, filled, emptied, ended.
//!
//! What a core sends is looked at by the ledger of its end here, before it travels, and what
//! arrives before the core hears of it.

use super::{Conn, DIAL_TIMEOUT, Happening, World};
use crate::sim::host::{Conduct, Peer, Token};
use crate::sim::ledger::Ledger;
use crate::sim::net::{Frame, Queue};
use crate::sim::oracle;
use std::net::SocketAddr;
use std::time::Duration;
use swarm_core::proto::input::{CloseReason, DialError, Direction, Reserved};
use swarm_core::proto::output::Disposition;
use swarm_core::proto::{Input, PeerKey};
use swarm_core::types::Span;
use swarm_core::wire::Message;

impl World {
    pub(super) fn dial(&mut self, host: usize, addr: SocketAddr) {
        let found = self.hosts.iter().rposition(|other| other.addr == addr);
        let Some(to) = found.filter(|to| self.hosts[*to].alive) else {
            let input = Input::DialFailed { addr, why: DialError::TimedOut };
            return self.push(DIAL_TIMEOUT, Happening::Give { host, input });
        };
        if to == host {
            let input = Input::DialFailed { addr, why: DialError::Ourselves };
            return self.push(Duration::ZERO, Happening::Give { host, input });
        }
        // SYN, its answer, our handshake: then they know us.
        let latency = self.latency(host, to);
        self.push(latency * 3, Happening::Accept { from: host, to });
    }

    pub(super) fn accept(&mut self, from: usize, to: usize) {
        let addr = self.hosts[to].addr;
        if !self.hosts[to].alive || self.parting {
            let input = Input::DialFailed { addr, why: DialError::Refused };
            return self.push(Duration::ZERO, Happening::Give { host: from, input });
        }
        let conn = self.conns.len();
        let keys = [from, to].map(|host| {
            let key = PeerKey(self.hosts[host].next_key);
            self.hosts[host].next_key += 1;
            key
        });
        self.conns.push(Conn { ends: [(from, keys[0]), (to, keys[1])], silent: false });
        self.push(self.latency(from, to), Happening::Established { conn });
        // An incoming connection shows the port of the dialler's socket, not the one it listens on.
        let port = 20_000 + u16::try_from(conn % 40_000).expect("below 40,000");
        let seen = SocketAddr::new(self.hosts[from].addr.ip(), port);
        self.connected(conn, 1, seen, Direction::Incoming);
    }

    pub(super) fn established(&mut self, conn: usize) {
        let [(from, _), (to, key)] = self.conns[conn].ends;
        let addr = self.hosts[to].addr;
        if !self.hosts[from].alive {
            return self.tell_closed(from, conn, 1, CloseReason::Lost);
        }
        if !self.hosts[to].peers.contains_key(&key) {
            return self.give(from, Input::DialFailed { addr, why: DialError::Handshake });
        }
        self.connected(conn, 0, addr, Direction::Outgoing);
    }

    pub(super) fn connected(
        &mut self,
        conn: usize,
        side: usize,
        addr: SocketAddr,
        direction: Direction,
    ) {
        let (host, key) = self.conns[conn].ends[side];
        let (remote, _) = self.conns[conn].ends[1 - side];
        let fast = self.hosts[host].spec.fast && self.hosts[remote].spec.fast;
        let queue = Queue::default();
        let peer = Peer { conn, side, remote, queue, ledger: Ledger::new(fast) };
        self.hosts[host].peers.insert(key, peer);
        let id = self.hosts[remote].id;
        let reserved = Reserved { fast, extended: true };
        self.give(host, Input::Connected { peer: key, addr, direction, id, reserved });
    }

    pub(super) fn send(
        &mut self,
        host: usize,
        key: PeerKey,
        message: Message,
    ) -> Result<(), String> {
        let at = &mut self.hosts[host];
        let geometry = at.knows_metadata.then(|| self.content.geometry());
        oracle::check_claim(&at.have, &message)?;
        let Some(peer) = at.peers.get_mut(&key) else {
            return Err(format!("sends {message:?} to {key:?}, which is gone"));
        };
        peer.ledger.sends(&message, geometry)?;
        if let Message::Request(span) = message {
            oracle::check_request(at, span)?;
        }
        if at.spec.conduct == Conduct::FreeRider && message == Message::Unchoke {
            return Ok(());
        }
        self.enqueue(host, key, Frame::Message(message));
        Ok(())
    }

    pub(super) fn serve(&mut self, host: usize, key: PeerKey, span: Span) -> Result<(), String> {
        let at = &mut self.hosts[host];
        if !at.have.contains(span.piece) || !self.content.geometry().contains(span) {
            return Err(format!("have-implies-hash: serves {span:?}, which it does not have"));
        }
        let Some(peer) = at.peers.get_mut(&key) else {
            return Err(format!("serves {span:?} to {key:?}, which is gone"));
        };
        peer.ledger.serves(span)?;
        let good = match at.spec.conduct {
            Conduct::Liar { percent } => self.rng.below(100) >= percent,
            Conduct::Mute => return Ok(()),
            Conduct::Honest | Conduct::FreeRider => true,
        };
        self.enqueue(host, key, Frame::Block { span, good });
        Ok(())
    }

    pub(super) fn enqueue(&mut self, host: usize, key: PeerKey, frame: Frame) {
        let at = &mut self.hosts[host];
        let Some(peer) = at.peers.get_mut(&key) else { return };
        if peer.queue.is_empty() {
            at.turn.push_back(key);
        }
        peer.queue.push(frame);
        self.pump(host);
    }

    /// Puts the next batch on the uplink when it is free.
    pub(super) fn pump(&mut self, host: usize) {
        let at = &mut self.hosts[host];
        while !at.sending
            && let Some(key) = at.turn.pop_front()
        {
            let Some(peer) = at.peers.get_mut(&key) else { continue };
            let batch = peer.queue.batch();
            if !peer.queue.is_empty() {
                at.turn.push_back(key);
            }
            let bytes = batch.iter().map(Frame::bytes).sum();
            let out = at.uplink.take(self.now, bytes);
            at.sending = true;
            self.events.insert((out, self.made), Happening::Sent { host, peer: key, batch });
            self.made += 1;
        }
    }

    /// A batch has left the uplink: it travels on, and the core learns which blocks are out.
    pub(super) fn sent(&mut self, host: usize, key: PeerKey, batch: Vec<Frame>) {
        self.hosts[host].sending = false;
        let Some(peer) = self.hosts[host].peers.get_mut(&key) else { return self.pump(host) };
        let (conn, side, remote) = (peer.conn, peer.side, peer.remote);
        let spans: Vec<_> = batch
            .iter()
            .filter_map(|frame| match frame {
                Frame::Block { span, .. } => Some(*span),
                Frame::Message(_) => None,
            })
            .collect();
        let talked = batch.iter().any(|frame| matches!(frame, Frame::Message(_)));
        let bytes = batch.iter().map(Frame::bytes).sum();
        let latency = self.latency(host, remote);
        let arrival = self.hosts[remote].downlink.take(self.now + latency, bytes);
        self.push_at(arrival, Happening::Arrive { conn, side: 1 - side, batch });
        self.pump(host);
        for span in spans {
            let at = &mut self.hosts[host];
            if let Some(peer) = at.peers.get_mut(&key) {
                at.totals.uploaded += u64::from(span.length);
                peer.ledger.unsent -= u64::from(span.length);
                self.give(host, Input::Sent { peer: key, span });
            }
        }
        if talked && self.hosts[host].peers.contains_key(&key) {
            self.give(host, Input::Flushed { peer: key });
        }
    }

    pub(super) fn arrive(&mut self, conn: usize, side: usize, batch: Vec<Frame>) {
        if self.conns[conn].silent {
            return;
        }
        let (host, key) = self.conns[conn].ends[side];
        for frame in batch {
            let at = &mut self.hosts[host];
            let geometry = at.knows_metadata.then(|| self.content.geometry());
            let Some(peer) = at.peers.get_mut(&key) else { return };
            match frame {
                Frame::Message(message) => {
                    peer.ledger
                        .hears(&message, geometry)
                        .unwrap_or_else(|broken| panic!("#{host} at {:?}: {broken}", self.now));
                    self.give(host, Input::Message { peer: key, message });
                }
                Frame::Block { span, good } => self.receive(host, key, span, good),
            }
        }
    }

    pub(super) fn receive(&mut self, host: usize, key: PeerKey, span: Span, good: bool) {
        let bytes = u64::from(span.length);
        self.hosts[host].totals.downloaded += bytes;
        self.give(host, Input::Progress { peer: key, bytes });
        let at = &mut self.hosts[host];
        let Some(peer) = at.peers.get_mut(&key) else { return };
        let remote = peer.remote;
        peer.ledger.gets(span);
        let disposition = at.core.receive(self.now, key, span);
        self.note(host, format_args!("<- block {span:?} from {key:?} good={good} {disposition:?}"));
        let at = &mut self.hosts[host];
        match disposition {
            Disposition::Keep | Disposition::WriteThrough => at
                .keep(&self.content, span, Token { from: remote, good })
                .unwrap_or_else(|broken| panic!("#{host} at {:?}: {broken}", self.now)),
            Disposition::Drop => at.totals.dropped += bytes,
        }
        self.settle(host);
        if disposition == Disposition::WriteThrough {
            // The disk takes no time here.
            self.give(host, Input::Wrote { piece: span.piece, blocks: 1 });
        }
    }

    pub(super) fn disconnect(
        &mut self,
        host: usize,
        key: PeerKey,
        why: CloseReason,
    ) -> Result<(), String> {
        let Some(peer) = self.hosts[host].peers.remove(&key) else {
            return Err(format!("disconnects {key:?}, which is gone"));
        };
        let blamed =
            matches!(why, CloseReason::Banned | CloseReason::Misbehaved | CloseReason::Malformed);
        let liar = matches!(self.hosts[peer.remote].spec.conduct, Conduct::Liar { .. });
        if blamed && !liar {
            return Err(format!("honest-not-banned: closes on #{} as {why:?}", peer.remote));
        }
        self.tell_closed(host, peer.conn, 1 - peer.side, CloseReason::Remote);
        Ok(())
    }

    pub(super) fn tell_closed(&mut self, from: usize, conn: usize, side: usize, why: CloseReason) {
        if self.conns[conn].silent {
            return;
        }
        let (to, _) = self.conns[conn].ends[side];
        let latency = self.latency(from, to);
        // Behind everything that is on its way.
        let at = self.hosts[to].downlink.take(self.now + latency, 0);
        self.push_at(at, Happening::Closed { conn, side, why });
    }

    pub(super) fn closed(&mut self, conn: usize, side: usize, why: CloseReason) {
        let (host, key) = self.conns[conn].ends[side];
        if self.hosts[host].peers.remove(&key).is_some() {
            self.give(host, Input::Disconnected { peer: key, why });
        }
    }
}
