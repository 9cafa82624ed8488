//! Giving blocks: whom we serve, what they asked for, in what order it leaves.

use super::super::PeerKey;
use super::super::choker::{self, Mode};
use super::super::input::CloseReason;
use super::super::output::Output;
use super::super::peer::{self, Greeting, Peer, Slot, serving};
use super::turns::{claim, is_waiting};
use super::{Content, Phase, Torrent};
use crate::types::{BLOCK_SIZE, Limit, Moment, Span};
use crate::wire::Message;

/// Least of the send budget a served peer is given, bytes.
const SHARE_MIN: u64 = 64 * 1024;
/// Requests for allowed-fast pieces served while choked: so many times each piece's blocks.
const ALLOWED_REPEATS: u32 = 3;

impl Torrent {
    pub(super) fn on_interest(&mut self, now: Moment, key: PeerKey, interested: bool) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if std::mem::replace(&mut peer.upload.interested, interested) == interested {
            return;
        }
        if peer.is_mate() {
            self.lead(now);
            self.welcome(now, key);
            self.review_claim(key);
            self.review_grants(now);
            self.fill_lanes(now);
            return;
        }
        self.rechoke(now);
        self.grant_allowed_fast(now, key);
        self.hint(now, key);
        self.lead(now);
    }

    /// Asks the choker whom to serve, and does so.
    pub(super) fn rechoke(&mut self, now: Moment) {
        let mode = match self.phase {
            Phase::Seeding => Mode::Seed,
            Phase::Downloading => Mode::Leech,
            _ => return,
        };
        let peers: Vec<choker::Candidate> = self
            .peers
            .values()
            .filter(|peer| peer.greeting != Greeting::Due && !peer.is_mate())
            .map(|peer| contender(now, peer))
            .collect();
        let round = self.choker.round(now, mode, &peers);
        for key in round.choke {
            self.choke(now, key);
        }
        for key in round.unchoke {
            self.unchoke(now, key);
        }
    }

    pub(super) fn unchoke(&mut self, now: Moment, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        self.unchoked += usize::from(!peer.is_unchoked());
        peer.upload.slot = Slot::Unchoked { total_before: peer.upload.meter.total() };
        peer.upload.allowed_served = 0;
        self.send(now, key, Message::Unchoke);
    }

    fn choke(&mut self, now: Moment, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        self.unchoked -= usize::from(peer.is_unchoked());
        peer.upload.slot = Slot::Choked { since: now };
        let fast = peer.wire.reserved.fast;
        let allowed = &peer.upload.allowed;
        let dropped = peer.upload.serving.clear(|span| fast && allowed.contains(&span.piece));
        self.send(now, key, Message::Choke);
        self.take_back(key);
        // With the fast extension every request has an answer (BEP 6).
        for span in dropped.into_iter().filter(|_| fast) {
            self.send(now, key, Message::Reject(span));
        }
        self.pass_on(now, key);
    }

    pub(super) fn on_request(&mut self, now: Moment, key: PeerKey, span: Span) {
        let (Some(content), Some(peer)) = (&self.content, self.peers.get_mut(&key)) else { return };
        match judge(now, content, peer, span) {
            Verdict::Serve => {
                self.on_demand(key, span.piece);
                self.serve(now, key, span.length);
            }
            Verdict::Early => self.reject(now, key, span),
            Verdict::Invalid => {
                peer.upload.serving.invalid += 1;
                if peer.upload.serving.invalid > serving::INVALID_MAX {
                    self.cut_off(now, key, Limit::InvalidRequests);
                } else {
                    self.reject(now, key, span);
                }
            }
        }
    }

    fn reject(&mut self, now: Moment, key: PeerKey, span: Span) {
        if self.peers.get(&key).is_some_and(|peer| peer.wire.reserved.fast) {
            self.send(now, key, Message::Reject(span));
        }
    }

    pub(super) fn on_cancel(&mut self, now: Moment, key: PeerKey, span: Span) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.upload.serving.cancel(span) {
            self.reject(now, key, span);
            self.pass_on(now, key);
        }
    }

    /// The peer has requests: serves them, now or when it is its turn.
    fn serve(&mut self, now: Moment, key: PeerKey, length: u32) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.is_stuck(now) {
            return;
        }
        if self.phase == Phase::Seeding && !self.lanes.knows(key) {
            peer.upload.debt = peer.upload.debt.max(self.lanes.floor());
        }
        if self.lanes.ask(now, key, length) {
            self.pump(now, key);
        } else {
            self.fill_lanes(now);
        }
    }

    /// Hands the driver what the peer's turn, its window and the send budget have room for.
    pub(super) fn pump(&mut self, now: Moment, key: PeerKey) {
        let budget = self.params.config.send_budget;
        let served = u64::try_from(self.unchoked.max(1)).unwrap_or(u64::MAX);
        let fair = (budget / served).max(SHARE_MIN);
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let rate = peer.upload.meter.rate(now);
        let lanes = &mut self.lanes;
        while self.sending < budget {
            let turn = |span| lanes.take(key, span);
            let before = peer.upload.serving.sending();
            let Some(span) = peer.upload.serving.next(rate, fair, turn) else { return };
            if before == 0 {
                peer.upload.moved = now;
            }
            self.sending += u64::from(span.length);
            peer.upload.debt = peer.upload.debt.saturating_add(i64::from(span.length));
            peer.times.spoke = now;
            self.outbox.push_back(Output::Serve { peer: key, span });
        }
        if peer.upload.serving.is_waiting() && !self.starved.contains(&key) {
            self.starved.push_back(key);
        }
    }

    /// Ends the peer's turn if it is over, and gives free lanes to those who wait.
    pub(super) fn pass_on(&mut self, now: Moment, key: PeerKey) {
        if let Some(peer) = self.peers.get(&key) {
            let serving = &peer.upload.serving;
            self.lanes.settle(key, (serving.queued(), serving.sending()), is_waiting(peer));
        }
        self.fill_lanes(now);
    }

    pub(super) fn fill_lanes(&mut self, now: Moment) {
        while self.lanes.has_room() {
            let (peers, phase, first) = (&self.peers, self.phase, self.first.as_ref());
            let next = self.lanes.next(|key| {
                let peer = peers.get(&key).filter(|peer| !peer.is_stuck(now))?;
                claim(phase, first, peer)
            });
            let Some(key) = next else { return };
            self.begin_turn(now, key);
        }
    }

    /// Takes from those that take nothing what others wait for: their lanes, and if the send
    /// budget is used up their connections. A peer asks for a lane again as soon as it has taken
    /// something.
    pub(super) fn unstick(&mut self, now: Moment) {
        if self.lanes.is_contested() {
            let stuck = self.peers.values().filter(|peer| peer.is_stuck(now));
            stuck.for_each(|peer| self.lanes.forget(peer.key));
        }
        if self.starved.is_empty() {
            return;
        }
        let worst = self.peers.values().filter(|peer| peer.stuck_for(now) >= peer::STUCK_MAX);
        for key in worst.map(|peer| peer.key).collect::<Vec<PeerKey>>() {
            self.disconnect(now, key, CloseReason::Overloaded);
        }
    }

    /// The send budget has room again: those who waited for it come first.
    pub(super) fn pump_starved(&mut self, now: Moment) {
        for _ in 0..self.starved.len() {
            if self.sending >= self.params.config.send_budget {
                return;
            }
            if let Some(key) = self.starved.pop_front() {
                self.pump(now, key);
            }
        }
    }

    pub(super) fn on_sent(&mut self, now: Moment, key: PeerKey, span: Span) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.upload.serving.done(span);
        peer.upload.moved = now;
        let waits = peer.upload.serving.is_waiting();
        peer.upload.meter.add(now, u64::from(span.length));
        peer.times.spoke = now;
        self.sending = self.sending.saturating_sub(u64::from(span.length));
        self.totals.uploaded += u64::from(span.length);
        self.uplink.add(now, u64::from(span.length));
        self.pump_starved(now);
        if self.lanes.holds(key) {
            self.pump(now, key);
        } else if waits && !self.lanes.knows(key) {
            // It was stuck and is not any more.
            self.serve(now, key, 0);
        }
        self.pass_on(now, key);
    }

    pub(super) fn on_serve_failed(&mut self, now: Moment, key: PeerKey, span: Span) {
        self.withdraw(now, span.piece);
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.upload.serving.done(span);
        self.sending = self.sending.saturating_sub(u64::from(span.length));
        if peer.wire.reserved.fast {
            self.send(now, key, Message::Reject(span));
        } else {
            // It would wait for ever: without the fast extension there is no way to say no.
            self.disconnect(now, key, CloseReason::Stopping);
        }
        self.pump_starved(now);
        self.pass_on(now, key);
    }
}

enum Verdict {
    Serve,
    /// Sent before it could know that we choked it, or that the queue is full.
    Early,
    Invalid,
}

/// Whether a request is served; if so it is queued.
fn judge(now: Moment, content: &Content, peer: &mut Peer, span: Span) -> Verdict {
    let valid = content.geometry.contains(span)
        && span.length <= BLOCK_SIZE
        && content.picker.have().contains(span.piece)
        && !content.withdrawn.contains(&span.piece);
    if !valid {
        return Verdict::Invalid;
    }
    if let Slot::Choked { since } = peer.upload.slot {
        let upload = &mut peer.upload;
        let limit = content
            .geometry
            .blocks_per_piece()
            .saturating_mul(ALLOWED_REPEATS)
            .saturating_mul(u32::try_from(upload.allowed.len()).unwrap_or(u32::MAX));
        let granted = upload.allowed.contains(&span.piece) && upload.allowed_served < limit;
        if !granted {
            let grace = now - since < peer::CHOKE_GRACE;
            return if grace { Verdict::Early } else { Verdict::Invalid };
        }
        upload.allowed_served += 1;
    }
    if peer.upload.serving.push(span) { Verdict::Serve } else { Verdict::Invalid }
}

fn contender(now: Moment, peer: &Peer) -> choker::Candidate {
    let total = peer.upload.meter.total();
    let (upload, uploaded_since_unchoke) = match peer.upload.slot {
        Slot::Unchoked { total_before } => (choker::Upload::Unchoked, total - total_before),
        Slot::Choked { .. } => (choker::Upload::Choked, 0),
    };
    let demand = match (peer.wire.upload_only, peer.upload.interested) {
        (true, _) => choker::Demand::UploadOnly,
        (false, true) => choker::Demand::Interested,
        (false, false) => choker::Demand::NotInterested,
    };
    choker::Candidate {
        peer: peer.key,
        demand,
        upload,
        down_rate: peer.download.meter.rate(now),
        up_rate: peer.upload.meter.rate(now),
        snubbed: peer.download.pipeline.is_snubbed(),
        uploaded_since_unchoke,
        connected_at: peer.times.connected,
    }
}
