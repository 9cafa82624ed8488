//! What one decision costs: 100,000 pieces, 500 peers.
//!
//! `cargo bench -p swarm-core --no-default-features --bench picker`. Goals: a pick below
//! 2 µs, a `have` below 100 ns. Every bench works on a swarm in full swing: 5 seeds,
//! 445 peers with random halves, 50 with 100 pieces each.

use divan::Bencher;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use std::time::Duration;
use swarm_core::geometry::Geometry;
use swarm_core::proto::PeerKey;
use swarm_core::proto::choker::{Candidate, Choker, Demand, Mode, SLOTS_DEFAULT, Upload};
use swarm_core::proto::picker::{PeerHave, Pick, Picker, Received, Speed};
use swarm_core::types::{Bitfield, BlockRef, Moment, PieceIndex};

const PIECES: u32 = 100_000;
const PEERS: u32 = 500;
const PIECE_LENGTH: u64 = 256 << 10;
/// Blocks each peer owes.
const DEPTH: usize = 32;
const SEED: u64 = 7;
/// A peer with half the pieces.
const HALF: u32 = 100;

fn main() {
    divan::main();
}

struct Swarm {
    picker: Picker,
    peers: Vec<PeerHave>,
    rng: Xoshiro256PlusPlus,
    blocks: Vec<BlockRef>,
}

impl Swarm {
    fn new() -> Self {
        let total = u64::from(PIECES) * PIECE_LENGTH;
        let geometry = Geometry::new(PIECE_LENGTH, total).expect("within the limits");
        let mut picker = Picker::new(geometry, SEED);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(SEED);
        let peers: Vec<_> = (0..PEERS)
            .map(|peer| match peer {
                0..5 => PeerHave::All,
                5..450 => random_have(&mut rng, PIECES / 2),
                _ => random_have(&mut rng, 100),
            })
            .collect();
        peers.iter().for_each(|have| picker.peer_has(have));
        Self { picker, peers, rng, blocks: Vec::new() }
    }

    /// Picks for one peer; how many blocks.
    fn pick(&mut self, peer: u32, room: usize) -> usize {
        self.blocks.clear();
        let have = self.peers.get(peer as usize).expect("one of the peers");
        let request = Pick {
            peer: PeerKey(peer),
            have,
            room,
            speed: Speed::Fast,
            allowed: None,
            suggested: &[],
            manner: swarm_core::proto::picker::Manner::Always,
        };
        self.picker.pick(request, &mut self.blocks);
        self.blocks.len()
    }

    /// One peer delivers its oldest block; the piece is verified at once.
    fn deliver(&mut self, peer: u32) {
        let Some(block) = self.picker.owed(PeerKey(peer)).next() else { return };
        let received = self.picker.received(PeerKey(peer), block);
        if matches!(received, Received::Keep { complete: true, .. }) {
            self.picker.verified(block.piece);
        }
    }

    /// What [`HALF`] has.
    fn half(&self) -> Bitfield {
        match self.peers.get(HALF as usize) {
            Some(PeerHave::Some(bits)) => bits.clone(),
            _ => Bitfield::none(PIECES),
        }
    }

    /// Every peer owes [`DEPTH`] blocks.
    fn fill(mut self) -> Self {
        for peer in 0..PEERS {
            self.pick(peer, DEPTH);
        }
        self
    }
}

fn random_have(rng: &mut Xoshiro256PlusPlus, count: u32) -> PeerHave {
    let mut bits = Bitfield::none(PIECES);
    while bits.count() < count {
        bits.insert(PieceIndex::new(rng.random_range(0..PIECES)));
    }
    PeerHave::from_bitfield(bits)
}

/// One block delivered and the next picked, peer after peer: what every block costs.
#[divan::bench(args = [64 << 20, u64::MAX], sample_count = 100, sample_size = 2000)]
fn block_in_and_next_out(bencher: Bencher<'_, '_>, capacity: u64) {
    let mut swarm = Swarm::new();
    swarm.picker.set_capacity(capacity);
    let mut swarm = swarm.fill();
    let mut peer = 0;
    bencher.bench_local(|| {
        peer = (peer + 1) % 450;
        swarm.deliver(peer);
        swarm.pick(peer, 1)
    });
}

/// One block of a piece the peer is on.
#[divan::bench(sample_count = 100, sample_size = 2000)]
fn pick_one_block(bencher: Bencher<'_, '_>) {
    let mut swarm = Swarm::new();
    let mut peer = 0;
    bencher.bench_local(|| {
        peer = (peer + 1) % 450;
        swarm.pick(peer, 1)
    });
}

/// A whole new piece each: for a seed, for a peer with half, for one with 100 pieces.
#[divan::bench(args = ["seed", "half", "sparse"], sample_count = 100, sample_size = 20)]
fn open_a_piece(bencher: Bencher<'_, '_>, kind: &str) {
    let mut swarm = Swarm::new().fill();
    let first = match kind {
        "seed" => 0,
        "half" => 5,
        _ => 450,
    };
    let mut step = 0;
    bencher.bench_local(|| {
        step += 1;
        swarm.pick(first + step % 5, 16)
    });
}

/// A pick for a peer that has nothing we lack.
#[divan::bench]
fn pick_in_vain(bencher: Bencher<'_, '_>) {
    let mut swarm = Swarm::new();
    swarm.picker.set_have(&swarm.half());
    bencher.bench_local(|| swarm.pick(HALF, 1));
}

/// One `have` message.
#[divan::bench(sample_count = 100, sample_size = 2000)]
fn have_message(bencher: Bencher<'_, '_>) {
    let mut swarm = Swarm::new().fill();
    bencher.bench_local(|| {
        let piece = PieceIndex::new(swarm.rng.random_range(0..PIECES));
        swarm.picker.peer_gained(piece);
    });
}

/// Interest in a peer of whose half we have everything: the longest search.
#[divan::bench]
fn interest_in_vain(bencher: Bencher<'_, '_>) {
    let mut swarm = Swarm::new();
    let half = swarm.half();
    swarm.picker.set_have(&half);
    let have = PeerHave::Some(half);
    bencher.bench_local(|| swarm.picker.is_interesting(&have));
}

/// A peer with half the pieces comes and goes, with a pick between.
#[divan::bench(sample_count = 20, sample_size = 2)]
fn peer_joins_and_leaves(bencher: Bencher<'_, '_>) {
    let mut swarm = Swarm::new();
    let have = random_have(&mut swarm.rng, PIECES / 2);
    bencher.bench_local(|| {
        swarm.picker.peer_has(&have);
        swarm.pick(3, 1);
        swarm.picker.peer_left(&have);
    });
}

/// Looking for a copy to take in the endgame, and giving it back.
#[divan::bench]
fn endgame_copy(bencher: Bencher<'_, '_>) {
    let mut swarm = Swarm::new();
    let mut wanted = Bitfield::none(PIECES);
    (0..200).for_each(|piece| _ = wanted.insert(PieceIndex::new(piece * 500)));
    swarm.picker.set_wanted(&wanted);
    for peer in (0..450).cycle() {
        if swarm.picker.in_endgame() {
            break;
        }
        swarm.pick(peer, 1);
    }
    let idle = PeerKey(PEERS);
    bencher.bench_local(|| {
        swarm.blocks.clear();
        let request = Pick {
            peer: idle,
            have: &PeerHave::All,
            room: 1,
            speed: Speed::Fast,
            allowed: None,
            suggested: &[],
            manner: swarm_core::proto::picker::Manner::Always,
        };
        swarm.picker.pick(request, &mut swarm.blocks);
        assert_eq!(swarm.blocks.len(), 1);
        swarm.blocks.iter().for_each(|block| swarm.picker.returned(idle, *block));
    });
}

/// A round of the choker among 500 interested peers.
#[divan::bench(args = ["leech", "seed"])]
fn choke_round(bencher: Bencher<'_, '_>, mode: &str) {
    let mode = if mode == "seed" { Mode::Seed } else { Mode::Leech };
    let mut choker = Choker::new(SEED, SLOTS_DEFAULT);
    let mut now = Moment::ZERO;
    let mut peers: Vec<_> = (0..PEERS)
        .map(|peer| Candidate {
            peer: PeerKey(peer),
            demand: Demand::Interested,
            upload: Upload::Choked,
            down_rate: u64::from(peer % 100) * 1000,
            up_rate: 1,
            snubbed: false,
            uploaded_since_unchoke: 0,
            connected_at: Moment::ZERO,
        })
        .collect();
    bencher.bench_local(|| {
        let round = choker.round(now, mode, &peers);
        for peer in &mut peers {
            if round.unchoke.contains(&peer.peer) {
                peer.upload = Upload::Unchoked;
            } else if round.choke.contains(&peer.peer) {
                peer.upload = Upload::Choked;
            }
        }
        now += Duration::from_secs(10);
    });
}
