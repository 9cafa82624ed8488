//! One torrent: owns the peers, the picker, the choker and the candidates, and wires them.
//!
//! The leaf machines decide (which block, whom to serve, whom to dial); this module applies
//! what they say and turns it into [`Output`]s. Its files follow the decisions: `connect`
//! (who may be a peer), `graph` (how many), `messages` (what a peer said), `download`, `upload`,
//! `fleet` and `turns` (what is different between mates), `magnet` (metadata from peers), `pex` (addresses from
//! peers), `tick` (what time alone brings), `stats`.
//!
//! Not here: payload, sockets, files. A block is a reference until the driver verifies it.

mod allowed_fast;
mod audit;
mod blame;
mod connect;
mod download;
mod fleet;
mod graph;
mod magnet;
mod messages;
mod metadata;
mod pex;
mod stats;
mod tick;
mod turns;
mod upload;
mod veil;

pub use stats::{PeerSnapshot, Snapshot};

use super::candidates::{AddressPolicy, Candidates};
use super::choker::Choker;
use super::choker::first_copy::FirstCopy;
use super::choker::lanes::Lanes;
use super::event::{Event, Phase};
use super::input::{CloseReason, Input};
use super::neighbours::{Appetite, Doorman, Neighbours};
use super::output::Output;
use super::peer::Peer;
use super::peer::meter::Meter;
use super::picker::Picker;
use super::{Disposition, PeerKey};
use crate::geometry::Geometry;
use crate::metainfo::Metainfo;
use crate::types::{BlockRef, InfoHash, Limit, LimitCounts, Moment, PeerId, PieceIndex, Span};
use crate::wire::Message;
use blame::{Blame, Giver};
use metadata::MetadataFetch;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// What a torrent is told once, when it is made.
#[derive(Clone, Debug)]
pub struct Params {
    /// The hash peers know the torrent by.
    pub info_hash: InfoHash,
    /// Our own peer id.
    pub peer_id: PeerId,
    /// Client name and version told to peers.
    pub client: String,
    /// The port we listen on, told to peers.
    pub listen_port: Option<u16>,
    /// Bounds and knobs.
    pub config: Config,
    /// Seed of every random choice.
    pub seed: u64,
}

/// Bounds and knobs of one torrent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Connections at most. Default 100.
    pub peers_max: usize,
    /// Connections with one address of the internet at most; where many machines may share one
    /// (loopback, private networks), half of `peers_max`. Default 4.
    pub peers_per_ip_max: usize,
    /// Which addresses may be dialled.
    pub addresses: AddressPolicy,
    /// Peers served at the same time. Default [`super::choker::SLOTS_DEFAULT`].
    pub upload_slots: usize,
    /// Bytes of open pieces (requested, received, not verified) at most. Default 48 MiB.
    pub receive_budget: u64,
    /// Bytes handed to the driver for sending at most. Default 16 MiB.
    pub send_budget: u64,
    /// Whether peers exchange addresses (BEP 11); never in a private torrent. Default true.
    pub peer_exchange: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            peers_max: 100,
            peers_per_ip_max: 4,
            addresses: AddressPolicy::default(),
            upload_slots: super::choker::SLOTS_DEFAULT,
            receive_budget: 48 << 20,
            send_budget: 16 << 20,
            peer_exchange: true,
        }
    }
}

/// The state machine of one torrent. See [`super`] for the contract.
#[derive(Debug)]
pub struct Torrent {
    params: Params,
    phase: Phase,
    now: Moment,
    outbox: VecDeque<Output>,
    content: Option<Content>,
    metadata: MetadataFetch,
    peers: BTreeMap<PeerKey, Peer>,
    candidates: Candidates,
    neighbours: Neighbours,
    appetite: Appetite,
    doorman: Doorman,
    choker: Choker,
    lanes: Lanes,
    /// What we send, over all peers.
    uplink: Meter,
    /// While we seed.
    first: Option<FirstCopy>,
    /// Strangers that are shown less than we have.
    veiled: BTreeSet<PeerKey>,
    blame: Blame,
    /// Ids of peers proven to lie, where the address cannot tell them apart.
    barred: BTreeSet<PeerId>,
    totals: Totals,
    /// Bytes handed to the driver for sending, over all peers.
    sending: u64,
    /// Peers that are not choked: counted as it changes, since every block served asks.
    unchoked: usize,
    /// Peers whose requests wait for the send budget, first come first served.
    starved: VecDeque<PeerKey>,
    next_tick: Moment,
    /// Reused by every pick.
    picks: Vec<BlockRef>,
}

/// What exists once the metadata is known.
#[derive(Debug)]
struct Content {
    metainfo: Arc<Metainfo>,
    geometry: Geometry,
    picker: Picker,
    /// Pieces we have but cannot read any more: not served.
    withdrawn: BTreeSet<PieceIndex>,
    /// Peers that gave blocks, for blame after they left.
    givers: BTreeMap<PeerKey, Giver>,
}

/// Counted since the torrent was made.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    downloaded: u64,
    uploaded: u64,
    wasted: u64,
    useful_peers: usize,
    limits: LimitCounts,
}

/// Addresses of block givers remembered at once.
const GIVERS_MAX: usize = 4096;

impl Torrent {
    /// A torrent in [`Phase::Metadata`]; give it `Input::Metainfo` at once if it is known.
    #[must_use]
    pub fn new(params: Params, now: Moment) -> Self {
        let seed = params.seed;
        Self {
            phase: Phase::Metadata,
            now,
            outbox: VecDeque::new(),
            content: None,
            metadata: MetadataFetch::default(),
            peers: BTreeMap::new(),
            candidates: Candidates::new(seed ^ 1, params.config.addresses),
            neighbours: Neighbours::default(),
            appetite: Appetite::default(),
            doorman: Doorman::default(),
            choker: Choker::new(seed ^ 2, params.config.upload_slots),
            lanes: Lanes::new(),
            uplink: Meter::new(now),
            first: None,
            veiled: BTreeSet::new(),
            blame: Blame::default(),
            barred: BTreeSet::new(),
            totals: Totals::default(),
            sending: 0,
            unchoked: 0,
            starved: VecDeque::new(),
            next_tick: now,
            picks: Vec::new(),
            params,
        }
    }

    /// Tells what happened. Drain [`Self::poll`] afterwards.
    pub fn handle(&mut self, now: Moment, input: Input) {
        self.advance(now);
        match input {
            Input::Wake => self.dial(now),
            Input::Metainfo(metainfo) => self.on_metainfo(now, metainfo),
            Input::MetadataRefused => self.on_metadata_refused(now),
            Input::Checked { have } => self.on_checked(now, &have),
            Input::Wanted(wanted) => self.on_wanted(now, &wanted),
            Input::Capacity { bytes } => self.on_capacity(now, bytes),
            Input::Pause => self.stop(now, Phase::Paused),
            Input::Resume => self.on_resume(now),
            Input::Candidates { source, addrs } => self.on_candidates(now, source, &addrs),
            Input::Connected { peer, addr, direction, id, reserved } => {
                let who = super::peer::Identity { key: peer, addr, direction, id, reserved };
                self.on_connected(now, who);
            }
            Input::DialFailed { addr, why } => self.on_dial_failed(now, addr, why),
            Input::Message { peer, message } => self.on_message(now, peer, message),
            Input::Progress { peer, bytes } => self.on_progress(now, peer, bytes),
            Input::Disconnected { peer, why } => self.on_disconnected(now, peer, why),
            Input::Verified { piece, outcome, digests } => {
                self.on_verified(now, piece, outcome, &digests);
            }
            Input::Wrote { piece, blocks } => self.on_wrote(now, piece, blocks),
            Input::Sent { peer, span } => self.on_sent(now, peer, span),
            Input::Flushed { peer } => self.on_flushed(now, peer),
            Input::ServeFailed { peer, span } => self.on_serve_failed(now, peer, span),
            Input::Restored { piece } => self.restore(now, piece),
        }
        if now >= self.next_tick {
            self.tick(now);
        }
        self.discard();
    }

    /// A block's header arrived and its payload is in the driver's hands: what to do with it.
    /// Drain [`Self::poll`] afterwards; the payload of a kept block must be in place by then.
    pub fn receive(&mut self, now: Moment, peer: PeerKey, span: Span) -> Disposition {
        self.advance(now);
        let disposition = self.on_block(now, peer, span);
        self.discard();
        disposition
    }

    /// Something that must be done; `None` when nothing is left to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// When to `handle` `Input::Wake` if nothing happens before; `None` when time alone
    /// changes nothing.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        if !self.is_active() {
            return None;
        }
        let dial = self.dial_deadline().unwrap_or(Moment::NEVER);
        Some(self.next_tick.min(dial))
    }

    /// Where the torrent is in its life.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The pieces verified so far; `None` before the metadata.
    #[must_use]
    pub fn have(&self) -> Option<&crate::types::Bitfield> {
        self.content.as_ref().map(|content| content.picker.have())
    }

    /// Whether the memory for pieces is used up: no more of them can be asked for before one
    /// is verified.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.content.as_ref().is_some_and(|content| content.picker.is_full())
    }

    /// Whether a peer owes us blocks: then another piece may soon be complete.
    #[must_use]
    pub fn is_owed(&self) -> bool {
        self.peers.values().any(|peer| peer.download.pipeline.owed() > 0)
    }

    /// Stops on an error of the local machine: peers are let go, the state is kept.
    pub fn fail(&mut self, now: Moment) {
        self.advance(now);
        self.stop(now, Phase::Failed);
    }

    /// Passes on what the picker gave up.
    fn discard(&mut self) {
        let Some(content) = &mut self.content else { return };
        for piece in content.picker.take_discarded() {
            self.outbox.push_back(Output::Discard { piece });
        }
    }

    fn advance(&mut self, now: Moment) {
        debug_assert!(now >= self.now, "time runs forwards");
        debug_assert!(self.outbox.is_empty(), "outputs are drained before the next input");
        self.now = now;
    }

    /// Whether peers are talked to at all.
    fn is_active(&self) -> bool {
        matches!(self.phase, Phase::Metadata | Phase::Downloading | Phase::Seeding)
    }

    fn enter(&mut self, phase: Phase) {
        if self.phase != phase {
            self.phase = phase;
            self.emit(Event::Phase(phase));
        }
    }

    /// A bound has bitten.
    fn hit(&mut self, limit: Limit) {
        self.totals.limits.hit(limit);
    }

    fn emit(&mut self, event: Event) {
        self.outbox.push_back(Output::Emit(event));
    }

    fn send(&mut self, now: Moment, key: PeerKey, message: Message) {
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.times.spoke = now;
            self.outbox.push_back(Output::Send { peer: key, message });
        }
    }

    fn on_metainfo(&mut self, now: Moment, metainfo: Arc<Metainfo>) {
        if self.content.is_some() {
            return;
        }
        let geometry = *metainfo.geometry();
        let mut picker = Picker::new(geometry, self.params.seed ^ 3);
        picker.set_capacity(self.params.config.receive_budget);
        self.content = Some(Content {
            metainfo,
            geometry,
            picker,
            withdrawn: BTreeSet::new(),
            givers: BTreeMap::new(),
        });
        self.metadata = MetadataFetch::default();
        self.enter(Phase::Checking);
        self.settle_early_peers(now);
    }

    fn on_checked(&mut self, now: Moment, have: &crate::types::Bitfield) {
        let Some(content) = &mut self.content else { return };
        content.picker.set_have(have);
        self.begin_transfers(now);
    }

    /// Checking is done, or the torrent is resumed: greet who is here, dial, ask.
    fn begin_transfers(&mut self, now: Moment) {
        let Some(content) = &self.content else { return };
        let complete = content.picker.is_complete();
        self.enter(if complete { Phase::Seeding } else { Phase::Downloading });
        let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        for key in keys {
            self.greet(now, key);
            self.review_interest(now, key);
        }
        self.begin_fleet(now);
        self.next_tick = now;
        self.dial(now);
    }

    fn on_wanted(&mut self, now: Moment, wanted: &crate::types::Bitfield) {
        let Some(content) = &mut self.content else { return };
        content.picker.set_wanted(wanted);
        if matches!(self.phase, Phase::Downloading | Phase::Seeding) {
            let phase =
                if content.picker.is_complete() { Phase::Seeding } else { Phase::Downloading };
            if self.phase != phase {
                self.enter(phase);
                self.tell_all_upload_only(now);
            }
            self.review_all(now);
        }
    }

    fn on_capacity(&mut self, now: Moment, bytes: u64) {
        self.params.config.receive_budget = bytes;
        if let Some(content) = &mut self.content {
            content.picker.set_capacity(bytes);
            self.refill_all(now);
        }
    }

    fn on_resume(&mut self, now: Moment) {
        if !matches!(self.phase, Phase::Paused | Phase::Failed) {
            return;
        }
        if self.content.is_some() {
            self.begin_transfers(now);
        } else {
            self.enter(Phase::Metadata);
            self.next_tick = now;
            self.dial(now);
        }
    }

    fn stop(&mut self, now: Moment, phase: Phase) {
        let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        for key in keys {
            self.disconnect(now, key, CloseReason::Stopping);
        }
        self.enter(phase);
    }
}

#[cfg(test)]
mod tests;
