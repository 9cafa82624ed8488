//! Getting blocks: interest, requests, arrivals, verified pieces and blame.

use super::super::event::Event;
use super::super::input::{CloseReason, Verification};
use super::super::output::Output;
use super::super::peer::{self, Greeting, Holdings, Peer, Standing, Terms};
use super::super::picker::{Manner, Pick, Received, Restriction, Speed};
use super::super::{Disposition, PeerKey};
use super::blame::Giver;
use super::{GIVERS_MAX, Phase, Torrent};
use crate::geometry::Geometry;
use crate::types::{BLOCK_SIZE, BlockRef, Limit, Moment, PieceIndex, Span};
use crate::wire::Message;
use crate::wire::extended::{self, Extension};
use std::time::Duration;

/// A peer that delivers a piece within this time is given pieces of its own.
const FAST_PIECE: Duration = Duration::from_secs(10);
/// Bounds on the blocks of a piece that is asked of a mate at a time: 64 KiB and 1 MiB.
const AHEAD_MIN: u32 = 4;
const AHEAD_PIECE_MAX: u32 = 64;
/// For so long we stay interested in a stranger that has nothing for us at the moment.
const INTEREST_HELD: Duration = Duration::from_secs(5);

impl Torrent {
    /// Tells the peer whether we want anything of it, when that changed.
    pub(super) fn review_interest(&mut self, now: Moment, key: PeerKey) {
        let (Some(content), Some(peer)) = (&self.content, self.peers.get_mut(&key)) else { return };
        let Holdings::Known(have) = &peer.have else { return };
        if peer.greeting == Greeting::Due {
            return;
        }
        let wants = self.phase == Phase::Downloading && content.picker.is_interesting(have);
        let fetching = self.phase == Phase::Downloading && !content.picker.is_complete();
        let download = &mut peer.download;
        if wants {
            download.idle_since = None;
        } else if download.interested && fetching {
            // It may soon have something: who takes its interest back loses its place.
            let since = *download.idle_since.get_or_insert(now);
            if peer.upload.standing == Standing::Mate || now - since < INTEREST_HELD {
                return;
            }
        }
        if wants != download.interested {
            download.interested = wants;
            let message = if wants { Message::Interested } else { Message::NotInterested };
            self.send(now, key, message);
        }
        self.refill(now, key);
    }

    pub(super) fn review_all(&mut self, now: Moment) {
        let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        for key in keys {
            self.review_interest(now, key);
        }
    }

    pub(super) fn refill_all(&mut self, now: Moment) {
        if self.phase != Phase::Downloading {
            return;
        }
        // Who lets us wait is asked last, and of those first who was tried longest ago: one would take
        // again at once what it has just lost.
        let mut peers: Vec<&Peer> = self.peers.values().collect();
        peers.sort_by_key(|peer| peer.download.pipeline.waited_for());
        let keys: Vec<PeerKey> = peers.into_iter().map(|peer| peer.key).collect();
        for key in keys {
            self.refill(now, key);
        }
    }

    /// Asks the peer for as many blocks as its pipeline has room for, if it may be asked now.
    pub(super) fn refill(&mut self, now: Moment, key: PeerKey) {
        let others = self.peers.len().saturating_sub(1);
        let (Some(content), Some(peer)) = (&self.content, self.peers.get(&key)) else { return };
        let pipeline = &peer.download.pipeline;
        let room = match &peer.download.terms {
            Terms::OnTurn => 0,
            Terms::Assigned(_) => pipeline.space(),
            Terms::Anything if peer.upload.standing == Standing::Mate => {
                let rate = peer.download.meter.rate(now);
                // Alone it has nobody to share with, and may be far away.
                let soon = if others > 0 { rate / 2 } else { rate.saturating_mul(2) };
                let most = ahead(soon, &content.geometry);
                pipeline.room().min(most.saturating_sub(pipeline.owed()))
            }
            Terms::Anything => pipeline.room(),
        };
        self.ask(now, key, room);
    }

    /// Asks the peer for so many blocks, if it has them; for how many it was asked.
    pub(super) fn ask(&mut self, now: Moment, key: PeerKey, room: usize) -> usize {
        let (Some(content), Some(peer)) = (&mut self.content, self.peers.get_mut(&key)) else {
            return 0;
        };
        let download = &mut peer.download;
        let trickles = download.pipeline.is_trickling();
        let Holdings::Known(have) = &peer.have else { return 0 };
        let deaf = download.choked && download.allowed.is_empty();
        // The picker is told of one that trickles even if there is nothing to ask it for.
        let idle = room == 0 && !trickles;
        if self.phase != Phase::Downloading || !download.interested || idle || deaf {
            return 0;
        }
        let speed = if trickles || download.pipeline.is_snubbed() {
            Speed::Snubbed
        } else if download.meter.rate(now).saturating_mul(FAST_PIECE.as_secs())
            >= u64::from(content.geometry.piece_length())
        {
            Speed::Fast
        } else {
            Speed::Slow
        };
        let (allowed, manner) = match &download.terms {
            _ if download.choked => (Some(&download.allowed[..]), Manner::Always),
            Terms::Assigned(pieces) => (Some(&pieces[..]), Manner::Always),
            Terms::OnTurn => (None, Manner::InTurn),
            Terms::Anything => (None, Manner::Always),
        };
        let suggested = &download.suggested[..];
        let pick = Pick { peer: key, have, room, speed, allowed, suggested, manner };
        content.picker.pick(pick, &mut self.picks);
        let asked = self.picks.len();
        for block in self.picks.drain(..) {
            download.pipeline.requested(now, block);
            peer.times.spoke = now;
            let message = Message::Request(content.geometry.span_of(block));
            self.outbox.push_back(Output::Send { peer: key, message });
        }
        asked
    }

    pub(super) fn on_progress(&mut self, now: Moment, key: PeerKey, bytes: u64) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.download.meter.total() == 0 && bytes > 0 {
            self.totals.useful_peers += 1;
        }
        peer.times.heard = now;
        peer.download.meter.add(now, bytes);
        peer.download.pipeline.progressed(now);
        self.totals.downloaded += bytes;
    }

    pub(super) fn on_block(&mut self, now: Moment, key: PeerKey, span: Span) -> Disposition {
        let (Some(content), Some(peer)) = (&mut self.content, self.peers.get_mut(&key)) else {
            return Disposition::Drop;
        };
        peer.times.heard = now;
        let Some(block) = content.geometry.block_of(span) else {
            self.totals.wasted += u64::from(span.length);
            self.disconnect(now, key, CloseReason::Misbehaved);
            return Disposition::Drop;
        };
        if !peer.download.pipeline.answered(now, block) {
            self.on_unrequested(now, key, span);
            return Disposition::Drop;
        }
        let received = content.picker.received(key, block);
        let Received::Keep { complete, cancel } = received else {
            self.totals.wasted += u64::from(span.length);
            self.refill(now, key);
            return Disposition::Drop;
        };
        if self.phase == Phase::Downloading {
            peer.upload.debt = peer.upload.debt.saturating_sub(i64::from(span.length));
        }
        let through = content.picker.is_through(block.piece);
        let giver = Giver { key, addr: peer.addr, id: peer.id };
        if content.givers.insert(key, giver).is_none() && content.givers.len() > GIVERS_MAX {
            content.givers.pop_first();
        }
        for other in cancel {
            self.cancel(now, other, block, span);
        }
        if complete {
            let digests = self.blame.is_suspect(block.piece);
            self.outbox.push_back(Output::Verify { piece: block.piece, digests });
        }
        self.refill(now, key);
        if through { Disposition::WriteThrough } else { Disposition::Keep }
    }

    /// Blocks of a long piece have left the memory: there is room to ask for more.
    pub(super) fn on_wrote(&mut self, now: Moment, piece: PieceIndex, blocks: usize) {
        let Some(content) = &mut self.content else { return };
        content.picker.wrote(piece, blocks);
        self.refill_all(now);
    }

    /// Takes back a request that another peer has answered.
    fn cancel(&mut self, now: Moment, key: PeerKey, block: BlockRef, span: Span) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.download.pipeline.withdrawn(block) {
            peer.floods.pardon(1);
            self.send(now, key, Message::Cancel(span));
            self.refill(now, key);
        }
    }

    /// A block nobody waits for. One may cross our cancel or come after we gave up on it;
    /// beyond those the peer is pushing data at us.
    fn on_unrequested(&mut self, now: Moment, key: PeerKey, span: Span) {
        self.totals.wasted += u64::from(span.length);
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.floods.unrequested() > peer::UNREQUESTED_MAX {
            self.cut_off(now, key, Limit::UnrequestedBlocks);
        }
    }

    pub(super) fn on_choke(&mut self, now: Moment, key: PeerKey) {
        let (Some(content), Some(peer)) = (&mut self.content, self.peers.get_mut(&key)) else {
            return;
        };
        peer.download.choked = true;
        // With the fast extension each request is answered or rejected by name; without it
        // a choke drops them all (BEP 3, BEP 6).
        if !peer.wire.reserved.fast {
            give_up_owed(&mut content.picker, peer);
            self.refill_all(now);
        }
    }

    pub(super) fn on_unchoke(&mut self, now: Moment, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.download.choked = false;
        self.next_tick = self.next_tick.min(now + super::tick::BUSY);
        self.refill(now, key);
    }

    pub(super) fn on_reject(&mut self, key: PeerKey, span: Span) {
        let (Some(content), Some(peer)) = (&mut self.content, self.peers.get_mut(&key)) else {
            return;
        };
        let Some(block) = content.geometry.block_of(span) else { return };
        // A piece granted while choked and then refused is no longer granted.
        peer.download.allowed.retain(|piece| *piece != span.piece || !peer.download.choked);
        if peer.download.pipeline.withdrawn(block) {
            content.picker.returned(key, block);
        }
        // Asking again at once could go round in circles: the next tick does.
    }

    /// The peer owes blocks and delivers nothing: others get them.
    pub(super) fn snub(&mut self, now: Moment, key: PeerKey) {
        let (Some(content), Some(peer)) = (&mut self.content, self.peers.get_mut(&key)) else {
            return;
        };
        let geometry = content.geometry;
        let given_up = peer.download.pipeline.snub();
        peer.floods.pardon(u32::try_from(given_up.len()).unwrap_or(u32::MAX));
        for block in given_up {
            content.picker.returned(key, block);
            let message = Message::Cancel(geometry.span_of(block));
            self.outbox.push_back(Output::Send { peer: key, message });
        }
        peer.times.spoke = now;
        self.refill_all(now);
    }

    /// The peer delivers bytes and no blocks. It keeps what it alone owes, which others may be
    /// asked for too; what it owes beside others only uses up their allowance.
    pub(super) fn review_trickle(&mut self, now: Moment, key: PeerKey) {
        let (Some(content), Some(peer)) = (&mut self.content, self.peers.get_mut(&key)) else {
            return;
        };
        if !peer.download.pipeline.begins_to_trickle(now) {
            return;
        }
        for block in content.picker.copies_of(key) {
            if peer.download.pipeline.withdrawn(block) {
                peer.floods.pardon(1);
                content.picker.returned(key, block);
                let message = Message::Cancel(content.geometry.span_of(block));
                self.outbox.push_back(Output::Send { peer: key, message });
            }
        }
    }

    pub(super) fn on_verified(
        &mut self,
        now: Moment,
        piece: PieceIndex,
        outcome: Verification,
        digests: &[u64],
    ) {
        match outcome {
            Verification::Good => self.on_piece_good(now, piece, digests),
            Verification::Bad => self.on_piece_bad(now, piece, digests),
            Verification::NotWritten => self.on_piece_not_written(now, piece),
        }
    }

    fn on_piece_good(&mut self, now: Moment, piece: PieceIndex, digests: &[u64]) {
        let Some(content) = &mut self.content else { return };
        content.picker.verified(piece);
        let complete = content.picker.is_complete();
        self.emit(Event::PieceDone { piece });
        for liar in self.blame.verified(piece, digests) {
            self.ban(now, liar);
        }
        // Those who lack it can fetch it; a seed shows its user how far we are.
        let concerned: Vec<PeerKey> = self
            .peers
            .values()
            .filter(|peer| peer.greeting != Greeting::Due)
            .filter(|peer| peer.known().is_some_and(|have| have.is_all() || !have.contains(piece)))
            .map(|peer| peer.key)
            .collect();
        for key in concerned {
            self.send(now, key, Message::Have(piece));
        }
        self.count_gain(now, piece);
        self.fill_lanes(now);
        if complete && self.phase == Phase::Downloading {
            self.on_complete(now);
        } else {
            self.refill_all(now);
        }
    }

    /// Nobody is to blame but this machine. Should it recover, the piece is fetched again.
    fn on_piece_not_written(&mut self, now: Moment, piece: PieceIndex) {
        if let Some(content) = &mut self.content {
            drop(content.picker.failed(piece));
        }
        self.stop(now, Phase::Failed);
    }

    fn on_complete(&mut self, now: Moment) {
        self.enter(Phase::Seeding);
        self.tell_all_upload_only(now);
        self.review_all(now);
        self.drop_redundant(now);
        self.rechoke(now);
        self.begin_fleet(now);
    }

    /// Two seeds have nothing to say to each other.
    pub(super) fn drop_redundant(&mut self, now: Moment) {
        if self.phase != Phase::Seeding
            || !self.content.as_ref().is_some_and(|content| content.picker.have().is_all())
        {
            return;
        }
        let seeds: Vec<PeerKey> = self
            .peers
            .values()
            .filter(|peer| peer.wire.upload_only || peer.known().is_some_and(|have| have.is_all()))
            .filter(|peer| !peer.upload.interested)
            .map(|peer| peer.key)
            .collect();
        for key in seeds {
            self.disconnect(now, key, CloseReason::Redundant);
        }
    }

    fn on_piece_bad(&mut self, now: Moment, piece: PieceIndex, digests: &[u64]) {
        let Some(content) = &mut self.content else { return };
        let givers: Vec<Giver> = content
            .picker
            .failed(piece)
            .into_iter()
            .filter_map(|key| content.givers.get(&key).copied())
            .collect();
        self.totals.wasted += u64::from(content.geometry.piece_size(piece));
        self.emit(Event::PieceFailed { piece });
        let liar = self.blame.failed(piece, &givers, digests);
        if let Some(liar) = liar {
            self.ban(now, liar);
        } else if let Some(content) = &mut self.content {
            // From one peer alone the next failure names its liar, and a success names
            // those of this one.
            content.picker.restrict(piece, Restriction::OneAtATime);
        }
        self.refill_all(now);
    }

    /// The piece cannot be read any more: it is offered to nobody.
    pub(super) fn withdraw(&mut self, now: Moment, piece: PieceIndex) {
        let Some(content) = &mut self.content else { return };
        if !content.withdrawn.insert(piece) {
            return;
        }
        let told: Vec<(PeerKey, u8)> = self
            .peers
            .values()
            .filter_map(|peer| peer.wire.ids.id_of(Extension::LtDonthave).map(|id| (peer.key, id)))
            .collect();
        for (key, id) in told {
            let payload = extended::encode_donthave(piece);
            self.send(now, key, Message::Extended { id, payload });
        }
    }

    /// The piece can be read again: those who were told otherwise hear of it.
    pub(super) fn restore(&mut self, now: Moment, piece: PieceIndex) {
        let Some(content) = &mut self.content else { return };
        if !content.withdrawn.remove(&piece) {
            return;
        }
        let told: Vec<PeerKey> = self
            .peers
            .values()
            .filter(|peer| peer.wire.ids.id_of(Extension::LtDonthave).is_some())
            .map(|peer| peer.key)
            .collect();
        for key in told {
            self.send(now, key, Message::Have(piece));
        }
    }
}

/// Blocks to ask a mate for at a time: one piece, or what it will deliver `soon`, in bytes. It
/// serves piece after piece, everybody in turn, and what waits with one that is busy no idle
/// one can give.
fn ahead(soon: u64, geometry: &Geometry) -> usize {
    let piece = geometry.blocks_per_piece().clamp(AHEAD_MIN, AHEAD_PIECE_MAX);
    let soon = u32::try_from(soon / u64::from(BLOCK_SIZE)).unwrap_or(u32::MAX);
    soon.max(piece) as usize
}

pub(super) fn give_up_owed(picker: &mut super::Picker, peer: &mut Peer) {
    let owed = peer.download.pipeline.take_all();
    peer.floods.pardon(u32::try_from(owed.len()).unwrap_or(u32::MAX));
    for block in owed {
        picker.returned(peer.key, block);
    }
}
