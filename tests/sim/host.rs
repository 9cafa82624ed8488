//! One host: a core, and a driver that obeys it without moving payload.
//!
//! The driver's own records (what was kept, verified, asked) are the truth that the oracle
//! holds the core against; nothing in them is read back from the core.

use super::content::Content;
use super::core::Core;
use super::disk::Disk;
use super::ledger::Ledger;
use super::net::{Line, Queue};
use super::spec::Spec;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;
use swarm_core::proto::PeerKey;
use swarm_core::proto::announce::Announcer;
use swarm_core::proto::event::Phase;
use swarm_core::types::{Bitfield, Moment, PeerId, PieceIndex, Span};

/// A host of the world.
#[expect(clippy::struct_excessive_bools, reason = "independent facts of a simulated machine")]
#[derive(Debug)]
pub(super) struct Host {
    pub(super) addr: SocketAddr,
    pub(super) id: PeerId,
    pub(super) spec: Spec,
    pub(super) core: Core,
    pub(super) alive: bool,
    pub(super) uplink: Line,
    pub(super) downlink: Line,
    pub(super) peers: Peers,
    /// Connections that have something to send, in turn.
    pub(super) turn: std::collections::VecDeque<PeerKey>,
    /// Those that have and may not: what they wait for is said in `links`.
    pub(super) held: Vec<PeerKey>,
    pub(super) sending: bool,
    /// Hosts reach each other only within one of these.
    pub(super) island: u8,
    /// Connections the oracle has to look at: something was asked or refused.
    pub(super) touched: Vec<PeerKey>,
    /// Verified pieces.
    pub(super) have: Bitfield,
    pub(super) disk: Disk,
    /// Blocks kept of pieces that are not verified.
    pub(super) open: BTreeMap<PieceIndex, Open>,
    /// Bytes of the pieces in `open`: a lower bound of what the core must account for.
    pub(super) open_bytes: u64,
    pub(super) hasher_free: Moment,
    pub(super) announcer: Option<Announcer>,
    pub(super) announces_at: Option<Moment>,
    /// The next event that wakes the core if it still wants it by then.
    pub(super) alarm: Option<Moment>,
    /// When it was woken last, and how often at that moment.
    pub(super) woken: (Moment, u32),
    pub(super) knows_metadata: bool,
    pub(super) phase: Option<Phase>,
    pub(super) totals: Totals,
    pub(super) banned: Vec<SocketAddr>,
    /// Pieces that failed, by the hosts that gave a wrong block of them.
    pub(super) spoilt_by: BTreeMap<usize, u32>,
    /// How often its core was woken by time alone.
    pub(super) wakes: u64,
    pub(super) born_at: Moment,
    pub(super) done_at: Option<Moment>,
}

/// Connections by the core's key; keys are given out in turn and never again.
#[derive(Debug, Default)]
pub(super) struct Peers {
    slots: Vec<Option<Box<Peer>>>,
    count: usize,
}

/// One connection of a host.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) conn: usize,
    pub(super) side: usize,
    pub(super) remote: usize,
    pub(super) queue: Queue,
    pub(super) ledger: Ledger,
    /// Bytes that left and have not arrived.
    pub(super) in_flight: u64,
}

/// A piece between its first block and its hash.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) blocks: Vec<Option<Token>>,
    pub(super) hashing: bool,
}

/// A block that was kept: who gave it and whether it is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) from: usize,
    pub(super) good: bool,
    /// What a real driver's digest of it would be, but for its value: 0 for the right block.
    pub(super) digest: u64,
}

/// Payload moved, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) downloaded: u64,
    pub(super) uploaded: u64,
    /// Blocks that came and were not wanted any more.
    pub(super) dropped: u64,
    /// Blocks of pieces that turned out wrong or were given up; a number, not bytes.
    pub(super) spoilt: u64,
    /// Requests made.
    pub(super) asked: u64,
    /// Everything that left the uplink.
    pub(super) sent: u64,
}

/// What a piece costs a hasher before its first byte.
const HASH_START: Duration = Duration::from_micros(100);

impl Host {
    /// Whether every wanted piece is verified.
    pub(super) fn is_complete(&self) -> bool {
        match &self.spec.wanted {
            None => self.have.is_all(),
            Some(wanted) => !wanted.has_any_not_in(&self.have),
        }
    }

    /// Whether the core said that it banned this address.
    pub(super) fn has_banned(&self, addr: SocketAddr) -> bool {
        self.banned.iter().any(|banned| banned.ip() == addr.ip())
    }

    /// Keeps a block; objects to a second copy.
    pub(super) fn keep(
        &mut self,
        content: &Content,
        span: Span,
        token: Token,
    ) -> Result<(), String> {
        let geometry = content.geometry();
        let block = geometry.block_of(span).ok_or_else(|| format!("keeps {span:?}, no block"))?;
        if self.have.contains(span.piece) {
            return Err(format!("keeps {span:?} of a verified piece"));
        }
        let count = usize::try_from(geometry.block_count(span.piece)).expect("small");
        let size = u64::from(geometry.piece_size(span.piece));
        let open = self.open.entry(span.piece).or_insert_with(|| {
            self.open_bytes += size;
            Open { blocks: vec![None; count], hashing: false }
        });
        if open.hashing {
            return Err(format!("keeps {span:?} while its piece is hashed"));
        }
        let slot = &mut open.blocks[block.block.as_usize()];
        if slot.replace(token).is_some() {
            return Err(format!("keeps {span:?} twice"));
        }
        Ok(())
    }

    /// Begins to hash a piece; when it is done. Objects when a block is missing.
    pub(super) fn verify(
        &mut self,
        content: &Content,
        now: Moment,
        piece: PieceIndex,
    ) -> Result<Moment, String> {
        let open = self.open.get_mut(&piece).ok_or_else(|| format!("verify of closed {piece}"))?;
        if open.hashing || open.blocks.contains(&None) {
            return Err(format!("verify of {piece} twice or before its last block"));
        }
        open.hashing = true;
        let size = u64::from(content.geometry().piece_size(piece));
        let cost = HASH_START + Duration::from_micros(size * 1_000_000 / self.spec.hash_rate);
        self.hasher_free = self.hasher_free.max(now) + cost;
        Ok(self.hasher_free)
    }

    /// Gives up the blocks kept of a piece.
    pub(super) fn close(&mut self, content: &Content, piece: PieceIndex) -> Option<Open> {
        let open = self.open.remove(&piece)?;
        self.open_bytes -= u64::from(content.geometry().piece_size(piece));
        Some(open)
    }
}

impl Peers {
    /// A key for a connection to come.
    pub(super) fn reserve(&mut self) -> PeerKey {
        self.slots.push(None);
        PeerKey(u32::try_from(self.slots.len() - 1).expect("fewer connections than numbers"))
    }

    pub(super) fn insert(&mut self, key: PeerKey, peer: Peer) {
        self.count += 1;
        self.slots[at(key)] = Some(Box::new(peer));
    }

    pub(super) fn get(&self, key: PeerKey) -> Option<&Peer> {
        self.slots[at(key)].as_deref()
    }

    pub(super) fn get_mut(&mut self, key: PeerKey) -> Option<&mut Peer> {
        self.slots[at(key)].as_deref_mut()
    }

    pub(super) fn remove(&mut self, key: PeerKey) -> Option<Peer> {
        let peer = self.slots[at(key)].take()?;
        self.count -= 1;
        Some(*peer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (PeerKey, &Peer)> {
        (0..).map(PeerKey).zip(&self.slots).filter_map(|(key, slot)| Some((key, slot.as_deref()?)))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Peer> {
        self.slots.iter().filter_map(Option::as_deref)
    }

    /// All keys that still mean a connection.
    pub(super) fn keys(&self) -> Vec<PeerKey> {
        self.iter().map(|(key, _)| key).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }
}

fn at(key: PeerKey) -> usize {
    usize::try_from(key.0).expect("32 bits fit")
}

impl Open {
    pub(super) fn is_good(&self) -> bool {
        self.blocks.iter().flatten().all(|token| token.good)
    }

    /// Digests as a real driver makes them: equal blocks give equal digests.
    pub(super) fn digests(&self) -> Vec<u64> {
        self.blocks.iter().flatten().map(|token| token.digest).collect()
    }

    /// Who gave a wrong block, each once.
    pub(super) fn liars(&self) -> BTreeSet<usize> {
        self.blocks.iter().flatten().filter(|token| !token.good).map(|token| token.from).collect()
    }
}
