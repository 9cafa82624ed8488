//! Turns: whose it is to ask, between mates.
//!
//! A mate that is the only one to want something of us asks for what it likes. Else a mate asks when we say that it is its turn (`choker::lanes` decides whose), for about a
//! piece, and chooses which one then: the rarest at the moment at which it is about to leave.
//! Nobody is bound to the queue of a busy peer while another has nothing to do, and no more
//! pieces are open than are about to come.
//!
//! A mate that cannot use its turn says so, and is offered none until we have something new or
//! [`PASSED_FOR`] is over.
//!
//! Not here: the order (see `choker::lanes`), what a seed assigns (see `fleet`).

use super::super::PeerKey;
use super::super::choker::first_copy::FirstCopy;
use super::super::choker::lanes::{Claim, Kin, Rank};
use super::super::peer::pipeline::SNUB_IN_TURN;
use super::super::peer::{Grant, Holdings, Peer, Terms};
use super::{Phase, Torrent};
use crate::types::{Bitfield, Moment, PieceIndex};
use crate::wire::MateMessage;
use std::time::Duration;

/// So many peers that want something of us may ask for it at any time.
const UNCONTESTED: usize = 1;
/// A mate that had no use for a turn is offered none for this long, if we get nothing new.
const PASSED_FOR: Duration = Duration::from_millis(250);
/// Payload bytes that anybody is given on trust.
const TRUST: i64 = 512 * 1024;
/// Who gave less than one byte for so many that it took, beyond that, only takes.
const TAKES: u64 = 8;

impl Torrent {
    /// Begins a turn: of requests that wait, or with an offer.
    pub(super) fn begin_turn(&mut self, now: Moment, key: PeerKey) {
        if self.peers.get(&key).is_some_and(|peer| peer.upload.serving.is_waiting()) {
            self.pump(now, key);
            return;
        }
        let blocks = self.lanes.offer(now, key);
        self.tell_mate(now, key, &MateMessage::Turn(blocks));
    }

    /// Whether the peer wants a turn may have changed.
    pub(super) fn review_claim(&mut self, key: PeerKey) {
        let wants = self.peers.get(&key).is_some_and(is_waiting);
        self.lanes.want(key, wants);
    }

    /// Sees to it that mates ask when they like if there are few of them, else in turn.
    pub(super) fn review_grants(&mut self, now: Moment) {
        if !matches!(self.phase, Phase::Downloading | Phase::Seeding) {
            return;
        }
        let eaters = self.peers.values().filter(|peer| is_eater(peer)).count();
        let grant = if eaters <= UNCONTESTED { Grant::Free } else { Grant::OnTurn };
        let changed: Vec<PeerKey> = self
            .peers
            .values()
            .filter(|peer| peer.is_mate() && peer.is_unchoked())
            .filter(|peer| peer.upload.grant != grant && peer.upload.grant != Grant::Led)
            .map(|peer| peer.key)
            .collect();
        for key in changed {
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            peer.upload.grant = grant;
            let message =
                if grant == Grant::Free { MateMessage::Free } else { MateMessage::Turn(0) };
            self.tell_mate(now, key, &message);
            self.review_claim(key);
        }
    }

    /// What time brings: offers that nobody answered, mates that may have use for one again.
    pub(super) fn tick_turns(&mut self, now: Moment) {
        for key in self.lanes.expire(now) {
            self.on_pass(now, key);
        }
        let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        for key in keys {
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            if peer.upload.passed.is_some_and(|at| now.since(at) >= PASSED_FOR) {
                peer.upload.passed = None;
            }
            self.review_claim(key);
        }
        self.review_grants(now);
    }

    /// We have a piece more: who lacks it has something to ask for.
    pub(super) fn count_gain(&mut self, now: Moment, piece: PieceIndex) {
        let mut lacking = Vec::new();
        for peer in self.peers.values_mut() {
            if peer.known().is_some_and(|have| !have.contains(piece)) {
                peer.upload.useful += 1;
                peer.upload.passed = None;
                lacking.push(peer.key);
            }
        }
        lacking.into_iter().for_each(|key| self.review_claim(key));
        self.review_grants(now);
    }

    /// The peer has a piece more.
    pub(super) fn count_loss(&mut self, key: PeerKey, piece: PieceIndex) {
        let ours =
            self.content.as_ref().is_some_and(|content| content.picker.have().contains(piece));
        if let Some(peer) = self.peers.get_mut(&key).filter(|_| ours) {
            peer.upload.useful = peer.upload.useful.saturating_sub(1);
        }
        self.review_claim(key);
    }

    /// Counts from the beginning what we have for a peer.
    pub(super) fn recount(&mut self, key: PeerKey) {
        let (Some(content), Some(peer)) = (&self.content, self.peers.get_mut(&key)) else { return };
        peer.upload.useful = useful(content.picker.have(), &peer.have);
        self.review_claim(key);
    }

    pub(super) fn recount_all(&mut self) {
        let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        keys.into_iter().for_each(|key| self.recount(key));
    }

    /// It is our turn at a mate.
    pub(super) fn on_turn(&mut self, now: Moment, key: PeerKey, blocks: u32) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.download.terms = Terms::OnTurn;
        peer.download.pipeline.set_patience(SNUB_IN_TURN);
        if blocks == 0 {
            return;
        }
        let pipeline = &peer.download.pipeline;
        let space = if pipeline.is_disgraced(now) { 0 } else { pipeline.space() };
        let room = (blocks as usize).min(space);
        let asked = self.ask(now, key, room);
        if asked < blocks as usize {
            self.tell_mate(now, key, &MateMessage::Pass);
        }
    }

    /// A mate has nothing more to ask for in its turn.
    pub(super) fn on_pass(&mut self, now: Moment, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.upload.passed = Some(now);
        self.next_tick = self.next_tick.min(now + super::tick::BUSY);
        self.lanes.passed(key);
        self.review_claim(key);
        self.pass_on(now, key);
    }
}

/// What a peer may claim of our uplink. A seed has something for everybody, and serves who got
/// least; who fetches serves whom it can help most.
pub(super) fn claim(phase: Phase, first: Option<&FirstCopy>, peer: &Peer) -> Option<Claim> {
    let kind = if peer.is_mate() { Kin::Mate } else { Kin::Stranger };
    let (rank, order) = if phase == Phase::Downloading {
        (rank(peer), -i64::from(peer.upload.useful))
    } else {
        (first.map_or(Rank::Giver, |first| rank_as_led(first, peer)), peer.upload.debt)
    };
    is_waiting(peer).then_some(Claim { kind, rank, order })
}

/// Pieces that we have and a peer lacks.
pub(super) fn useful(ours: &Bitfield, theirs: &Holdings) -> u32 {
    let Holdings::Known(theirs) = theirs else { return 0 };
    let useful = ours.iter().filter(|piece| !theirs.contains(*piece)).count();
    u32::try_from(useful).unwrap_or(u32::MAX)
}

/// Whether a peer wants anything of us at all.
fn is_eater(peer: &Peer) -> bool {
    let wants = peer.is_unchoked() && peer.upload.interested;
    wants && (!peer.is_mate() || peer.upload.useful > 0)
}

/// Whether a peer would take a turn.
pub(super) fn is_waiting(peer: &Peer) -> bool {
    let offered = peer.is_mate() && peer.upload.grant == Grant::OnTurn && is_eater(peer);
    peer.upload.serving.is_waiting() || offered && peer.upload.passed.is_none()
}

/// What a peer has done with what the seed gave it. A stranger has to show first that it passes
/// on anything: what goes to one that does not is lost to everybody else.
fn rank_as_led(first: &FirstCopy, peer: &Peer) -> Rank {
    match first.rank(peer.key) {
        Rank::Giver if peer.upload.veil.is_some() && first.is_doubtful(peer.key) => Rank::Unproven,
        rank => rank,
    }
}

fn rank(peer: &Peer) -> Rank {
    let gave = i64::try_from(peer.download.meter.total() * TAKES).unwrap_or(i64::MAX);
    let took = i64::try_from(peer.upload.meter.total()).unwrap_or(i64::MAX);
    if took > TRUST.saturating_add(gave) { Rank::Taker } else { Rank::Giver }
}
