//! What a stranger asks for, and of whom.

use super::Foreign;
use std::time::Duration;
use swarm_core::geometry::Geometry;
use swarm_core::proto::event::Phase;
use swarm_core::proto::output::Disposition;
use swarm_core::proto::{Output, PeerKey};
use swarm_core::types::{BLOCK_SIZE, Moment, PieceIndex, Span};
use swarm_core::wire::Message;

/// Blocks ahead before anything is known of a peer, and at most.
pub(super) const DEPTH_FIRST: usize = 4;
const DEPTH_MAX: usize = 500;
/// Blocks ahead are what comes in so many ticks, which are seconds.
const SECONDS_AHEAD: usize = 3;
/// A peer that owes blocks and sends nothing for this long owes them no more.
const SNUB: Duration = Duration::from_secs(20);
/// Pieces fetched by chance before the rarest.
const FIRST_PIECES: u32 = 4;
/// Peers that may owe one block at the end.
const COPIES_MAX: usize = 2;

/// A piece between its first request and its hash.
#[derive(Debug)]
pub(super) struct OpenPiece {
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    span: Span,
    /// How many owe it.
    owing: usize,
    giver: Option<PeerKey>,
}

impl OpenPiece {
    fn new(geometry: &Geometry, piece: PieceIndex) -> Self {
        let size = geometry.piece_size(piece);
        let spans = (0..size).step_by(BLOCK_SIZE as usize).map(|begin| Span {
            piece,
            begin,
            length: BLOCK_SIZE.min(size - begin),
        });
        Self { blocks: spans.map(|span| Block { span, owing: 0, giver: None }).collect() }
    }

    fn block(&mut self, span: Span) -> Option<&mut Block> {
        self.blocks.iter_mut().find(|block| block.span == span)
    }

    fn is_full(&self) -> bool {
        self.blocks.iter().all(|block| block.giver.is_some())
    }

    fn has_free(&self) -> bool {
        self.blocks.iter().any(|block| block.giver.is_none() && block.owing == 0)
    }

    /// Who gave all of it, if one did.
    pub(super) fn sole_giver(&self) -> Option<PeerKey> {
        let first = self.blocks.first()?.giver?;
        self.blocks.iter().all(|block| block.giver == Some(first)).then_some(first)
    }
}

impl Foreign {
    /// Tells a peer whether we want anything of it, when that changed, and asks for it.
    pub(super) fn review(&mut self, now: Moment, key: PeerKey) {
        if !self.is_ready() {
            return;
        }
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let wanting = peer.have.has_any_not_in(&self.have);
        if std::mem::replace(&mut peer.wanting, wanting) != wanting {
            let message = if wanting { Message::Interested } else { Message::NotInterested };
            self.send(key, message);
        }
        self.request(now, key);
    }

    pub(super) fn request_all(&mut self, now: Moment) {
        let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        for key in keys {
            self.request(now, key);
        }
    }

    pub(super) fn request(&mut self, now: Moment, key: PeerKey) {
        if self.phase != Phase::Downloading {
            return;
        }
        loop {
            let Some(peer) = self.peers.get(&key) else { return };
            if peer.choked || !peer.wanting || peer.owed.len() >= peer.depth {
                return;
            }
            let Some(span) = self.pick(key) else { return };
            let Some(peer) = self.peers.get_mut(&key) else { return };
            if peer.owed.is_empty() {
                peer.heard = now;
            }
            peer.owed.push(span);
            if let Some(block) = self.open.get_mut(&span.piece).and_then(|open| open.block(span)) {
                block.owing += 1;
            }
            self.send(key, Message::Request(span));
        }
    }

    fn pick(&mut self, key: PeerKey) -> Option<Span> {
        let piece = self.begun(key).or_else(|| self.fresh(key));
        if let Some(piece) = piece {
            let geometry = self.geometry?;
            let open = self.open.entry(piece).or_insert_with(|| OpenPiece::new(&geometry, piece));
            let free = open.blocks.iter().find(|block| block.giver.is_none() && block.owing == 0);
            return free.map(|block| block.span);
        }
        self.owed_elsewhere(key)
    }

    /// A piece that was begun and has blocks nobody was asked for.
    fn begun(&self, key: PeerKey) -> Option<PieceIndex> {
        let have = &self.peers.get(&key)?.have;
        let mut open = self.open.iter();
        open.find(|(piece, open)| have.contains(**piece) && open.has_free())
            .map(|(piece, _)| *piece)
    }

    /// The rarest of those that are not begun; the first few by chance.
    fn fresh(&mut self, key: PeerKey) -> Option<PieceIndex> {
        let by_chance = self.have.count() < FIRST_PIECES;
        let have = &self.peers.get(&key)?.have;
        let missing = have.iter().filter(|at| !self.have.contains(*at));
        let (mut least, mut rarest) = (u32::MAX, Vec::new());
        for piece in missing.filter(|at| !self.open.contains_key(at)) {
            let holders = if by_chance { 0 } else { self.holders[piece.as_usize()] };
            if holders < least {
                least = holders;
                rarest.clear();
            }
            if holders == least {
                rarest.push(piece);
            }
        }
        if rarest.is_empty() {
            return None;
        }
        Some(rarest[self.rng.index(rarest.len())])
    }

    /// The end: a block that another peer owes, for a peer that owes nothing.
    fn owed_elsewhere(&self, key: PeerKey) -> Option<Span> {
        let peer = self.peers.get(&key)?;
        if !peer.owed.is_empty() {
            return None;
        }
        let slow = self.open.iter().filter(|(piece, _)| peer.have.contains(**piece));
        let blocks = slow.flat_map(|(_, open)| &open.blocks);
        let mut late = blocks.filter(|b| b.giver.is_none() && b.owing > 0 && b.owing < COPIES_MAX);
        late.next().map(|block| block.span)
    }

    /// Nobody owes it on this account any more.
    pub(super) fn returned(&mut self, span: Span) {
        if let Some(block) = self.open.get_mut(&span.piece).and_then(|open| open.block(span)) {
            block.owing = block.owing.saturating_sub(1);
        }
    }

    pub(super) fn on_block(&mut self, now: Moment, key: PeerKey, span: Span) -> Disposition {
        let Some(peer) = self.peers.get_mut(&key) else { return Disposition::Drop };
        peer.heard = now;
        peer.came += u64::from(span.length);
        peer.ticked += 1;
        let Some(at) = peer.owed.iter().position(|owed| *owed == span) else {
            return Disposition::Drop;
        };
        peer.owed.swap_remove(at);
        peer.depth = (peer.depth + 1).min(DEPTH_MAX);
        self.returned(span);
        let Some(open) = self.open.get_mut(&span.piece) else { return Disposition::Drop };
        let kept = match open.block(span) {
            Some(block) if block.giver.is_none() => {
                block.giver = Some(key);
                true
            }
            _ => false,
        };
        if kept {
            if open.is_full() {
                self.outbox.push_back(Output::Verify { piece: span.piece, digests: false });
            }
            self.cancel_elsewhere(span);
        }
        self.request(now, key);
        if kept { Disposition::Keep } else { Disposition::Drop }
    }

    fn cancel_elsewhere(&mut self, span: Span) {
        let owing: Vec<PeerKey> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.owed.contains(&span))
            .map(|(key, _)| *key)
            .collect();
        for key in owing {
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            peer.owed.retain(|owed| *owed != span);
            self.returned(span);
            self.send(key, Message::Cancel(span));
        }
    }

    /// Depths follow the pace: what comes in three seconds. Who is silent owes nothing any more.
    pub(super) fn pace_pipelines(&mut self, now: Moment) {
        let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        for key in keys {
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            peer.pace = (peer.pace * 3 + std::mem::take(&mut peer.ticked)).div_ceil(4);
            peer.depth = peer.depth.min((peer.pace * SECONDS_AHEAD).max(DEPTH_FIRST));
            if peer.owed.is_empty() || now - peer.heard < SNUB {
                continue;
            }
            peer.depth = 1;
            for span in std::mem::take(&mut peer.owed) {
                self.returned(span);
                self.send(key, Message::Cancel(span));
            }
        }
    }
}
