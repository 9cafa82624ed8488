//! What goes over connections: queued, sent, on its way, arrived.
//!
//! What a core sends is looked at by the ledger of its end here, before it travels, and what
//! arrives before the core hears of it.

use super::{Happening, World};
use crate::sim::host::{Conduct, Token};
use crate::sim::net::{Batch, Frame};
use crate::sim::oracle;
use crate::sim::trace::Line;
use std::time::Duration;
use swarm_core::proto::output::Disposition;
use swarm_core::proto::{Input, PeerKey};
use swarm_core::types::{Moment, Span};
use swarm_core::wire::Message;

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
        let Some(peer) = at.peers.get_mut(key) else {
            return Err(format!("sends {message:?} to {key:?}, which is gone"));
        };
        peer.ledger.sends(&message, geometry)?;
        match message {
            Message::Request(span) => oracle::check_request(at, span, thorough)?,
            Message::Choke => at.touched.push(key),
            Message::Unchoke if at.spec.conduct == Conduct::FreeRider => return Ok(()),
            _ => {}
        }
        self.enqueue(host, key, Frame::Message(message));
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
        let good = match at.spec.conduct {
            Conduct::Liar { percent } => self.rng.below(100) >= percent,
            Conduct::Mute => return Ok(()),
            Conduct::Honest | Conduct::FreeRider => true,
        };
        self.enqueue(host, key, Frame::Block { span, good });
        Ok(())
    }

    fn enqueue(&mut self, host: usize, key: PeerKey, frame: Frame) {
        let at = &mut self.hosts[host];
        let Some(peer) = at.peers.get_mut(key) else { return };
        if peer.queue.is_empty() {
            at.turn.push_back(key);
        }
        peer.queue.push(frame);
        self.pump(host);
    }

    /// Puts batches on the uplink while it is free. Only blocks keep it busy for long enough to
    /// make others wait for their turn: messages go one behind the other at once.
    fn pump(&mut self, host: usize) {
        while !self.hosts[host].sending {
            let at = &mut self.hosts[host];
            let Some(key) = at.turn.pop_front() else { return };
            let Some(peer) = at.peers.get_mut(key) else { continue };
            let batch = peer.queue.batch();
            let flushed = peer.queue.take_flushed();
            if !peer.queue.is_empty() {
                at.turn.push_back(key);
            }
            let out = at.uplink.take(self.now, batch.bytes);
            if batch.payload > 0 {
                at.sending = true;
                self.events.push(out, Happening::Sent { host, peer: key, batch });
            } else {
                let (conn, side, remote) = (peer.conn, peer.side, peer.remote);
                self.depart(out + self.latency(host, remote), conn, 1 - side, batch);
            }
            if flushed {
                let input = Input::Flushed { peer: key };
                self.push(Duration::ZERO, Happening::Give { host, input });
            }
        }
    }

    fn depart(&mut self, at: Moment, conn: usize, side: usize, batch: Batch) {
        self.events.push(at, Happening::Reach { conn, side, batch });
    }

    /// Blocks have left the uplink: they travel on, and the core learns that they are out.
    pub(super) fn sent(&mut self, host: usize, key: PeerKey, batch: Batch) {
        self.hosts[host].sending = false;
        let Some(peer) = self.hosts[host].peers.get_mut(key) else { return self.pump(host) };
        let (conn, side, remote) = (peer.conn, peer.side, peer.remote);
        let spans: Vec<Span> = batch.spans().collect();
        self.depart(self.now + self.latency(host, remote), conn, 1 - side, batch);
        self.pump(host);
        for span in spans {
            let at = &mut self.hosts[host];
            if let Some(peer) = at.peers.get_mut(key) {
                at.totals.uploaded += u64::from(span.length);
                peer.ledger.unsent -= u64::from(span.length);
                self.give(host, Input::Sent { peer: key, span });
            }
        }
    }

    /// A batch has come as far as the receiver's downlink.
    pub(super) fn reach(&mut self, conn: usize, side: usize, batch: Batch) {
        let (host, _) = self.conns[conn].ends[side];
        let line = &mut self.hosts[host].downlink;
        let idle = line.is_idle(self.now);
        let done = line.take(self.now, batch.bytes);
        if idle && batch.payload == 0 {
            self.arrive(conn, side, batch);
        } else {
            self.events.push(done, Happening::Arrive { conn, side, batch });
        }
    }

    pub(super) fn arrive(&mut self, conn: usize, side: usize, batch: Batch) {
        if self.conns[conn].silent {
            return;
        }
        let (host, key) = self.conns[conn].ends[side];
        for frame in batch.frames {
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
            }
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
        let disposition = at.core.receive(self.now, key, span);
        self.trace.note(self.now, host, Line::Block { from: key, span, good, disposition });
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
}
