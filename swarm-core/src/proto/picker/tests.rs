//! The policy of the picker, one sentence per test, and the picker against the naive model.

use super::*;
use crate::types::{BLOCK_SIZE, BlockIndex};
use proptest::prelude::*;

const A: PeerKey = PeerKey(1);
const B: PeerKey = PeerKey(2);
const C: PeerKey = PeerKey(3);

/// A picker for `pieces` pieces of `blocks` blocks each, and seeds to fetch from.
struct Scene {
    picker: Picker,
    have: PeerHave,
}

impl Scene {
    fn new(pieces: u64, blocks: u64) -> Self {
        Self::seeded(pieces, blocks, 7)
    }

    fn seeded(pieces: u64, blocks: u64, seed: u64) -> Self {
        let length = blocks * u64::from(BLOCK_SIZE);
        let geometry = Geometry::new(length, pieces * length).unwrap();
        let mut picker = Picker::new(geometry, seed);
        for _ in 0..3 {
            picker.peer_has(&PeerHave::All);
        }
        Self { picker, have: PeerHave::All }
    }

    fn pick(&mut self, peer: PeerKey, speed: Speed, room: usize) -> Vec<BlockRef> {
        let request = Pick {
            peer,
            have: &self.have,
            room,
            speed,
            allowed: None,
            suggested: &[],
            manner: Manner::Always,
        };
        let mut out = Vec::new();
        self.picker.pick(request, &mut out);
        out
    }

    fn pick_of(&mut self, peer: PeerKey, pieces: &[u32], room: usize) -> Vec<BlockRef> {
        let have = have(self.picker.have().len(), pieces);
        let request = Pick {
            peer,
            have: &have,
            room,
            speed: Speed::Fast,
            allowed: None,
            suggested: &[],
            manner: Manner::Always,
        };
        let mut out = Vec::new();
        self.picker.pick(request, &mut out);
        out
    }

    fn receive(&mut self, peer: PeerKey, blocks: &[BlockRef]) {
        for block in blocks {
            assert!(matches!(self.picker.received(peer, *block), Received::Keep { .. }));
        }
    }

    fn give_back(&mut self, peer: PeerKey, blocks: &[BlockRef]) {
        blocks.iter().for_each(|block| self.picker.returned(peer, *block));
    }
}

fn have(len: u32, pieces: &[u32]) -> PeerHave {
    let mut have = PeerHave::None;
    for index in pieces {
        have.insert(PieceIndex::new(*index), len);
    }
    have
}

fn pieces(blocks: &[BlockRef]) -> BTreeSet<PieceIndex> {
    blocks.iter().map(|block| block.piece).collect()
}

fn block(piece: u32, block: u32) -> BlockRef {
    BlockRef { piece: PieceIndex::new(piece), block: BlockIndex::new(block) }
}

#[test]
fn a_fast_peer_stays_on_its_piece_and_the_next_opens_its_own() {
    let mut scene = Scene::new(8, 4);
    let first = scene.pick(A, Speed::Fast, 2);
    let other = scene.pick(B, Speed::Fast, 4);
    let rest = scene.pick(A, Speed::Fast, 2);
    assert_eq!(pieces(&first), pieces(&rest));
    assert!(pieces(&first).is_disjoint(&pieces(&other)));
    assert_eq!(scene.picker.open_pieces(), 2);
}

#[test]
fn slow_peers_share_one_piece_and_keep_off_those_of_fast_ones() {
    let mut scene = Scene::new(8, 4);
    let fast = scene.pick(A, Speed::Fast, 1);
    let slow = scene.pick(B, Speed::Slow, 1);
    let too = scene.pick(C, Speed::Slow, 1);
    assert_eq!(pieces(&slow), pieces(&too));
    assert!(pieces(&fast).is_disjoint(&pieces(&slow)));
}

#[test]
fn an_orphaned_piece_is_continued_before_another_is_opened() {
    let mut scene = Scene::new(8, 4);
    let blocks = scene.pick(A, Speed::Fast, 3);
    scene.receive(A, &blocks[..1]);
    scene.picker.peer_gone(A);
    let taken = scene.pick(B, Speed::Fast, 3);
    assert_eq!(taken, [1, 2, 3].map(|at| BlockRef { block: BlockIndex::new(at), ..blocks[0] }));
}

#[test]
fn a_piece_of_which_nothing_came_is_closed_when_its_last_request_ends() {
    let mut scene = Scene::new(8, 4);
    let blocks = scene.pick(A, Speed::Fast, 2);
    scene.give_back(A, &blocks);
    assert_eq!(scene.picker.open_pieces(), 0);
    assert_eq!(scene.picker.take_discarded(), [blocks[0].piece]);
    assert_eq!(scene.picker.take_discarded(), []);
}

#[test]
fn a_snubbed_peer_gets_one_block_and_not_of_a_piece_that_others_fetch() {
    let mut scene = Scene::new(8, 4);
    let fast = scene.pick(A, Speed::Fast, 1);
    let snubbed = scene.pick(B, Speed::Snubbed, 10);
    assert_eq!(snubbed.len(), 1);
    assert!(pieces(&fast).is_disjoint(&pieces(&snubbed)));
    assert_eq!(scene.pick(B, Speed::Snubbed, 10), []);
}

#[test]
fn the_capacity_bounds_open_pieces_and_full_houses_are_shared() {
    let mut scene = Scene::new(8, 4);
    scene.picker.set_capacity(u64::from(BLOCK_SIZE) * 4 * 3);
    for peer in [A, B, C] {
        scene.pick(peer, Speed::Fast, 1);
    }
    let shared = scene.pick(PeerKey(4), Speed::Fast, 12);
    assert_eq!(shared.len(), 9);
    assert_eq!(scene.picker.open_pieces(), 3);
    assert_eq!(scene.pick(PeerKey(5), Speed::Fast, 12), []);
}

#[test]
fn two_pieces_may_be_open_whatever_the_capacity() {
    let mut scene = Scene::new(8, 4);
    scene.picker.set_capacity(0);
    assert_eq!(scene.pick(A, Speed::Fast, 100).len(), 8);
    assert_eq!(scene.picker.open_pieces(), OPEN_MIN);
}

#[test]
fn a_piece_too_long_for_the_capacity_takes_memory_by_block() {
    let mut scene = Scene::new(4, 100);
    let window = usize::try_from(WINDOW_MIN / u64::from(BLOCK_SIZE)).unwrap();
    scene.picker.set_capacity(WHOLE_MIN * 100 * u64::from(BLOCK_SIZE) - 1);
    let first = scene.pick(A, Speed::Fast, 150);
    assert_eq!((first.len(), scene.picker.open_pieces()), (150, OPEN_MIN));
    assert_eq!(scene.picker.open_bytes(), 150 * u64::from(BLOCK_SIZE));
    assert_eq!(scene.pick(B, Speed::Fast, 1000).len(), 50, "no third piece is opened");
    scene.give_back(B, &scene.picker.owed(B).collect::<Vec<_>>());
    scene.picker.set_capacity(0);
    assert_eq!(scene.pick(B, Speed::Fast, 1000), [], "more is owed than there is room for");
    scene.receive(A, &first);
    assert_eq!(scene.pick(B, Speed::Fast, 1000), [], "nothing is written yet");
    scene.picker.wrote(first[0].piece, 100);
    scene.picker.wrote(first[149].piece, 40);
    assert_eq!(scene.picker.open_bytes(), 10 * u64::from(BLOCK_SIZE));
    assert_eq!(scene.pick(B, Speed::Fast, 1000).len(), window - 10);
    assert!(scene.picker.is_full());
}

/// How many of 256 blocks lie behind the one before them.
fn neighbours(pieces: u64, blocks: u64) -> usize {
    let picked = Scene::new(pieces, blocks).pick(A, Speed::Fast, 256);
    picked.windows(2).filter(|pair| pair[0].piece.get() + 1 == pair[1].piece.get()).count()
}

#[test]
fn many_short_pieces_are_asked_for_in_runs_and_few_are_not() {
    assert!(neighbours(1 << 15, 1) > 200);
    assert!(neighbours(1 << 14, 1) > 200);
    assert!(neighbours((1 << 14) - 16, 1) < 20, "everybody would have the same");
    assert!(neighbours(1 << 15, 16) < 3, "a run by itself");
}

#[test]
fn a_run_ends_before_a_piece_that_others_are_rarer_than() {
    let mut scene = Scene::new(1 << 15, 1);
    let first = scene.pick(A, Speed::Fast, RANDOM_FIRST);
    let next = first.last().unwrap().piece.get() + 1;
    scene.picker.peer_has(&have(1 << 15, &[next]));
    assert_ne!(scene.pick(A, Speed::Fast, 1)[0].piece.get(), next);
}

#[test]
fn pieces_that_wait_to_be_written_are_not_given_up() {
    let mut scene = Scene::new(3, 40);
    scene.picker.set_capacity(0);
    let blocks = scene.pick_of(A, &[0, 1], 100);
    assert_eq!(blocks.len(), 32, "the window and no more");
    scene.receive(A, &blocks);
    scene.picker.peer_gone(A);
    assert_eq!(scene.pick_of(B, &[2], 1), [], "there will be room when they are written");
    assert_eq!(scene.picker.take_discarded(), []);
    scene.picker.wrote(blocks[0].piece, 32);
    assert_eq!(scene.pick_of(B, &[2], 1).len(), 1);
}

#[test]
fn pieces_that_nobody_can_continue_give_way_to_what_a_peer_has() {
    let mut scene = Scene::new(3, 2);
    for _ in 0..3 {
        scene.picker.peer_left(&PeerHave::All);
    }
    scene.picker.set_capacity(0);
    let first = have(3, &[0, 1]);
    scene.picker.peer_has(&first);
    scene.picker.peer_has(&have(3, &[2]));
    let blocks = scene.pick_of(A, &[0, 1], 4);
    let (part, whole): (Vec<_>, Vec<_>) =
        blocks.iter().partition(|block| block.piece == PieceIndex::new(0));
    scene.receive(A, &part[..1]);
    scene.receive(A, &whole[..1]);
    assert_eq!(scene.pick_of(B, &[2], 2), [], "the open pieces still move");
    scene.picker.peer_gone(A);
    scene.picker.peer_left(&first);
    assert_eq!(scene.pick_of(B, &[2], 2), [block(2, 0), block(2, 1)]);
    assert_eq!(scene.picker.take_discarded().len(), 1);
    assert_eq!(scene.picker.open_pieces(), OPEN_MIN);
}

#[test]
fn the_first_pieces_are_random_and_the_next_the_rarest() {
    let rarest = PieceIndex::new(5);
    let mut firsts = BTreeSet::new();
    for seed in 0..20 {
        let mut scene = Scene::seeded(16, 1, seed);
        let most: Vec<_> = (0..16).filter(|index| *index != 5).collect();
        scene.picker.peer_has(&have(16, &most));
        let opened = scene.pick(A, Speed::Fast, RANDOM_FIRST + 1);
        firsts.insert(opened[0].piece);
        assert!(opened.iter().any(|block| block.piece == rarest));
    }
    assert!(firsts.len() > 5, "{firsts:?}");
}

#[test]
fn a_suggested_piece_is_opened_first_when_the_peer_has_it() {
    let mut scene = Scene::new(100, 1);
    let suggested = [PieceIndex::new(200), PieceIndex::new(63), PieceIndex::new(64)];
    let have = have(100, &[1, 64]);
    let request = Pick {
        peer: A,
        have: &have,
        room: 1,
        speed: Speed::Fast,
        allowed: None,
        suggested: &suggested,
        manner: Manner::Always,
    };
    let mut out = Vec::new();
    scene.picker.pick(request, &mut out);
    assert_eq!(out, [block(64, 0)]);
}

#[test]
fn while_choked_only_allowed_pieces_are_picked() {
    let mut scene = Scene::new(100, 2);
    let allowed = [PieceIndex::new(9), PieceIndex::new(7)];
    let request = Pick {
        peer: A,
        have: &PeerHave::All,
        room: 10,
        speed: Speed::Fast,
        allowed: Some(&allowed),
        suggested: &[],
        manner: Manner::Always,
    };
    let mut out = Vec::new();
    scene.picker.pick(request, &mut out);
    assert_eq!(out, [block(9, 0), block(9, 1), block(7, 0), block(7, 1)]);
    scene.picker.pick(request, &mut out);
    assert_eq!(out.len(), 4);
}

#[test]
fn in_the_endgame_the_first_to_deliver_wins_and_the_others_are_told() {
    let mut scene = Scene::new(1, 2);
    let all = scene.pick(A, Speed::Slow, 10);
    assert!(scene.picker.in_endgame());
    let copies = scene.pick(B, Speed::Fast, 10);
    assert_eq!(copies, [all[1], all[0]], "the block that would come last is copied first");
    assert_eq!(scene.pick(C, Speed::Fast, 10).len(), 2);
    assert_eq!(scene.pick(PeerKey(4), Speed::Fast, 10), [], "three copies are enough");
    let won = scene.picker.received(B, all[0]);
    assert_eq!(won, Received::Keep { complete: false, cancel: vec![A, C] });
    assert_eq!(scene.picker.received(A, all[0]), Received::Drop);
    assert!(!scene.picker.owes(C, all[0]));
    let last = scene.picker.received(C, all[1]);
    assert_eq!(last, Received::Keep { complete: true, cancel: vec![A, B] });
}

#[test]
fn copies_are_bounded_per_peer_and_in_all_and_denied_to_the_snubbed() {
    let mut scene = Scene::new(1, 100);
    assert_eq!(scene.pick(A, Speed::Fast, usize::MAX).len(), 100);
    assert_eq!(scene.pick(B, Speed::Snubbed, usize::MAX), []);
    assert_eq!(scene.pick(B, Speed::Slow, usize::MAX), [], "a slow peer does not race a fast one");
    assert_eq!(scene.pick(B, Speed::Fast, usize::MAX).len(), ENDGAME_DEPTH);
    let picked: usize =
        (10..20).map(|key| scene.pick(PeerKey(key), Speed::Fast, usize::MAX).len()).sum();
    assert_eq!(ENDGAME_DEPTH + picked, 8, "a hundredth of the blocks, at least 8");
}

#[test]
fn peers_that_never_deliver_cannot_fill_the_memory() {
    let mut scene = Scene::new(9, 2);
    scene.picker.set_capacity(0);
    let held = scene.pick(A, Speed::Fast, 4);
    assert_eq!(scene.pick(B, Speed::Fast, 4), [], "the capacity is used up");
    assert_eq!(scene.pick(A, Speed::Snubbed, 0), []);
    let copies = scene.pick(B, Speed::Fast, 4);
    assert_eq!(copies.iter().collect::<BTreeSet<_>>(), held.iter().collect());
    assert!(!scene.picker.in_endgame());
}

#[test]
fn blocks_of_the_slowest_are_copied_first() {
    let mut scene = Scene::new(1, 3);
    scene.pick(A, Speed::Fast, 1);
    let slow = scene.pick(B, Speed::Slow, 1);
    let snubbed = scene.pick(C, Speed::Snubbed, 1);
    let copies = scene.pick(PeerKey(4), Speed::Fast, 2);
    assert_eq!(copies, [snubbed[0], slow[0]]);
}

#[test]
fn a_block_that_arrives_late_is_kept_while_it_is_missing() {
    let mut scene = Scene::new(4, 4);
    let blocks = scene.pick(A, Speed::Fast, 3);
    scene.receive(A, &blocks[..1]);
    scene.give_back(A, &blocks[1..]);
    assert_eq!(scene.pick(B, Speed::Fast, 1), [blocks[1]]);
    let kept = scene.picker.received(A, blocks[1]);
    assert_eq!(kept, Received::Keep { complete: false, cancel: vec![B] });
    assert_eq!(scene.picker.received(A, blocks[1]), Received::Drop);
    assert_eq!(scene.picker.received(B, blocks[2]), Received::Drop, "never asked of this peer");
}

#[test]
fn no_more_late_blocks_are_remembered_than_the_bound() {
    let blocks = LATE_MAX as u64 + 2;
    let mut scene = Scene::new(1, blocks);
    let all = scene.pick(A, Speed::Fast, usize::MAX);
    scene.receive(A, &all[..1]);
    scene.give_back(A, &all[1..]);
    assert_eq!(scene.picker.received(A, all[1]), Received::Drop);
    assert!(matches!(scene.picker.received(A, all[2]), Received::Keep { .. }));
}

#[test]
fn a_failed_piece_names_who_gave_each_block_and_is_missing_again() {
    let mut scene = Scene::new(1, 3);
    let a = scene.pick(A, Speed::Slow, 2);
    let b = scene.pick(B, Speed::Slow, 1);
    scene.receive(B, &b);
    scene.receive(A, &a);
    let piece = PieceIndex::new(0);
    assert_eq!(scene.picker.contributors(piece), [Some(A), Some(A), Some(B)]);
    assert_eq!(scene.picker.failed(piece), [A, A, B]);
    assert!(scene.picker.is_missing(piece) && scene.picker.open_pieces() == 0);
    assert_eq!(scene.pick(C, Speed::Fast, 3).len(), 3);
}

#[test]
fn a_restricted_piece_is_taken_from_one_peer_until_that_is_snubbed() {
    let mut scene = Scene::new(1, 4);
    scene.picker.restrict(PieceIndex::new(0), Restriction::OneAtATime);
    let blocks = scene.pick(A, Speed::Fast, 2);
    assert_eq!(scene.pick(B, Speed::Fast, 4), []);
    scene.receive(A, &blocks[..1]);
    assert_eq!(scene.pick(A, Speed::Snubbed, 4), []);
    assert_eq!(scene.pick(C, Speed::Snubbed, 4), []);
    assert_eq!(scene.pick(B, Speed::Fast, 4), [block(0, 2), block(0, 3), block(0, 1)]);
    scene.give_back(A, &blocks[1..]);
    assert_eq!(scene.picker.received(A, blocks[1]), Received::Drop, "a late block would mix");
}

#[test]
fn an_unwanted_open_piece_ends_with_its_last_request() {
    let mut scene = Scene::new(2, 2);
    let blocks = scene.pick(A, Speed::Fast, 2);
    let piece = blocks[0].piece;
    scene.receive(A, &blocks[..1]);
    let mut wanted = Bitfield::all(2);
    wanted.remove(piece);
    scene.picker.set_wanted(&wanted);
    assert_eq!(scene.picker.open_pieces(), 1, "a request is in flight");
    assert!(!pieces(&scene.pick(B, Speed::Fast, 10)).contains(&piece));
    scene.give_back(A, &blocks[1..]);
    assert_eq!(scene.picker.take_discarded(), [piece]);
    scene.picker.set_wanted(&Bitfield::all(2));
    assert_eq!(scene.pick(C, Speed::Fast, 2).len(), 2);
}

#[test]
fn an_unwanted_open_piece_that_becomes_whole_is_verified_as_usual() {
    let mut scene = Scene::new(2, 2);
    let blocks = scene.pick(A, Speed::Fast, 2);
    scene.picker.set_wanted(&Bitfield::none(2));
    assert!(scene.picker.is_complete());
    scene.receive(A, &blocks[..1]);
    let last = scene.picker.received(A, blocks[1]);
    assert_eq!(last, Received::Keep { complete: true, cancel: vec![] });
    scene.picker.verified(blocks[0].piece);
    assert!(scene.picker.have().contains(blocks[0].piece));
    assert_eq!(scene.picker.take_discarded(), []);
}

#[test]
fn a_piece_that_comes_from_elsewhere_is_dropped_from_the_open_ones() {
    let mut scene = Scene::new(2, 2);
    let blocks = scene.pick(A, Speed::Fast, 1);
    scene.picker.verified(blocks[0].piece);
    assert_eq!(scene.picker.take_discarded(), [blocks[0].piece]);
    assert_eq!(scene.picker.owed(A).count(), 0);
    assert_eq!(scene.picker.received(A, blocks[0]), Received::Drop);
}

#[test]
fn equal_seeds_pick_equally_and_others_differently() {
    let picks = |seed| {
        let mut scene = Scene::seeded(64, 1, seed);
        scene.pick(A, Speed::Fast, 64)
    };
    assert_eq!(picks(1), picks(1));
    assert_ne!(picks(1), picks(2));
}

proptest! {
    #[test]
    fn it_agrees_with_the_naive_model_and_one_good_peer_is_enough(
        seed: u64,
        bytes in prop::collection::vec(any::<u8>(), 0..800),
    ) {
        model::run(seed, &bytes);
    }
}

#[test]
fn in_turn_pieces_under_way_come_first_and_the_last_one_is_asked_for_to_its_end() {
    let mut scene = Scene::new(100, 4);
    let begun = scene.pick(A, Speed::Fast, 1);
    let ask = |scene: &mut Scene, room| {
        let request = Pick {
            peer: B,
            have: &PeerHave::All,
            room,
            speed: Speed::Fast,
            allowed: None,
            suggested: &[],
            manner: Manner::InTurn,
        };
        let mut out = Vec::new();
        scene.picker.pick(request, &mut out);
        out
    };
    let out = ask(&mut scene, 4);
    assert_eq!(out.len(), 7, "three of the begun piece, and a whole one");
    assert!(out[..3].iter().all(|block| block.piece == begun[0].piece));
    assert_eq!(ask(&mut scene, 0), [], "no turn");
}

#[test]
fn in_turn_a_long_piece_is_not_rounded_up_to_and_nothing_is_asked_for_twice() {
    let mut scene = Scene::new(1, u64::from(ROUNDED_MAX) + 1);
    let have = PeerHave::All;
    let request = |peer, room| Pick {
        peer,
        have: &have,
        room,
        speed: Speed::Fast,
        allowed: None,
        suggested: &[],
        manner: Manner::InTurn,
    };
    let mut out = Vec::new();
    scene.picker.pick(request(A, 4), &mut out);
    assert_eq!(out.len(), 4);
    scene.picker.pick(request(A, 100), &mut out);
    assert_eq!(out.len(), 65, "all of it");
    scene.picker.pick(request(B, 4), &mut out);
    assert_eq!(out.len(), 65);
}
