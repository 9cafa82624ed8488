//! What comes in, turned into inputs of the state machine.

use super::{Link, Mail, NewPeer, Orders, TorrentTask};
use crate::data::{BlockBuf, PieceBuf};
use crate::engine::gate::Throttle;
use crate::engine::peer::{self, Incoming, Outbox, Report};
use crate::proto::input::{Input, Source};
use crate::proto::{Disposition, PeerKey};
use crate::types::{Moment, Span};
use bytes::BytesMut;

impl TorrentTask {
    /// Tells the state machine what happened and does what it says.
    pub(super) fn feed(&mut self, now: Moment, input: Input) {
        self.core.handle(now, input);
        self.drain(now);
    }

    pub(super) fn on_mail(&mut self, now: Moment, mail: Mail) {
        match mail {
            Mail::Report { peer, report } => self.on_report(now, peer, report),
            Mail::Closed { peer, why } => {
                if self.links.remove(&peer).is_some() {
                    self.feed(now, Input::Disconnected { peer, why });
                }
            }
            Mail::Connected(new) => self.on_connected(now, *new),
            Mail::DialFailed { addr, why } => self.feed(now, Input::DialFailed { addr, why }),
            Mail::Candidates { source, addrs } => {
                self.feed(now, Input::Candidates { source, addrs });
            }
        }
    }

    fn on_report(&mut self, now: Moment, peer: PeerKey, report: Report) {
        let Report { items, payload_bytes, sent, cold, unread, flushed } = report;
        self.reads.extend(cold.into_iter().map(|span| (peer, span)));
        for span in sent {
            self.feed_from(now, peer, Input::Sent { peer, span });
        }
        for span in unread {
            self.on_unread(now, span.piece);
            self.feed_from(now, peer, Input::ServeFailed { peer, span });
        }
        if flushed {
            self.feed_from(now, peer, Input::Flushed { peer });
        }
        if payload_bytes > 0 {
            self.feed_from(now, peer, Input::Progress { peer, bytes: payload_bytes });
        }
        for item in items {
            match item {
                Incoming::Message(message) => {
                    self.feed_from(now, peer, Input::Message { peer, message });
                }
                Incoming::Block(span, block) => self.on_block(now, peer, span, block),
            }
        }
    }

    /// Feeds what a peer said, unless an earlier word of it has ended the connection.
    fn feed_from(&mut self, now: Moment, peer: PeerKey, input: Input) {
        if self.links.contains_key(&peer) {
            self.feed(now, input);
        }
    }

    fn on_block(&mut self, now: Moment, peer: PeerKey, span: Span, block: BlockBuf) {
        if !self.links.contains_key(&peer) {
            return;
        }
        match self.core.receive(now, peer, span) {
            Disposition::Keep => self.keep(span, block),
            Disposition::WriteThrough => self.keep_through(span, block),
            Disposition::Drop => drop(block),
        }
        self.drain(now);
    }

    /// Puts a block into its piece.
    fn keep(&mut self, span: Span, block: BlockBuf) {
        let Some(content) = &self.content else { return };
        let geometry = content.geometry;
        let Some(place) = geometry.block_of(span) else { return };
        let piece =
            self.pieces.entry(place.piece).or_insert_with(|| PieceBuf::new(&geometry, place.piece));
        let refused = piece.insert(place.block, block).is_err();
        debug_assert!(!refused, "the core keeps each block once");
    }

    fn on_connected(&mut self, now: Moment, new: NewPeer) {
        let NewPeer { stream, addr, direction, id, reserved, slot } = new;
        let key = PeerKey(self.next_peer);
        self.next_peer = self.next_peer.wrapping_add(1);
        let outbox = Outbox::default();
        if let Some(content) = &self.content {
            outbox.set_source(content.source());
        }
        let link = Link { outbox: outbox.clone(), control: BytesMut::new(), asked: 0 };
        self.links.insert(key, link);
        let (face, shared) = (&self.face, &self.shared);
        let connection = peer::run(peer::Parts {
            key,
            stream,
            outbox,
            inbox: self.inbox.clone(),
            pool: shared.pool.clone(),
            down: Throttle::new(face.down.clone(), shared.down.clone()),
            up: Throttle::new(face.up.clone(), shared.up.clone()),
        });
        shared.tasks.spawn("peer", async move {
            connection.await;
            drop(slot);
        });
        self.feed(now, Input::Connected { peer: key, addr, direction, id, reserved });
    }

    pub(super) fn on_orders(&mut self, now: Moment, orders: Orders) {
        let Orders { pause, peers, selection, capacity_bytes, stop } = orders;
        if let Some(bytes) = capacity_bytes {
            self.batch.set_budget(bytes);
            self.feed(now, Input::Capacity { bytes });
        }
        if !peers.is_empty() {
            self.face.report_source(GIVEN, |report| {
                report.peers += peers.len();
                report.answered = true;
            });
            self.feed(now, Input::Candidates { source: Source::User, addrs: peers });
        }
        if let Some(selection) = selection {
            self.on_selection(now, selection);
        }
        match pause {
            Some(true) => self.feed(now, Input::Pause),
            Some(false) => self.feed(now, Input::Resume),
            None => {}
        }
        self.stopping |= stop;
    }
}

/// Name of the peers the user gave, among the sources.
const GIVEN: &str = "given";
