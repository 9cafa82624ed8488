//! A pipeline against a link in virtual time: a queue of fixed rate behind a fixed delay.

use super::*;
use crate::types::{BLOCK_SIZE, BlockIndex, PieceIndex};
use proptest::prelude::*;

/// A peer behind a link: answers in order, each block as soon as the link is free.
struct Link {
    bytes_per_second: u64,
    round_trip: Duration,
    free: Moment,
    arrivals: VecDeque<(Moment, BlockRef)>,
}

/// A pipeline kept full over one link.
struct Scene {
    pipeline: Pipeline,
    link: Link,
    now: Moment,
    next: u32,
    blocks: u64,
    next_look: Moment,
}

const LOOK: Duration = Duration::from_millis(250);

impl Scene {
    fn new(bytes_per_second: u64, round_trip: Duration) -> Self {
        let mut pipeline = Pipeline::new(Moment::ZERO);
        pipeline.set_reqq(usize::MAX);
        let link =
            Link { bytes_per_second, round_trip, free: Moment::ZERO, arrivals: VecDeque::new() };
        let next_look = Moment::ZERO + LOOK;
        Self { pipeline, link, now: Moment::ZERO, next: 0, blocks: 0, next_look }
    }

    fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        self.fill();
        while let Some((at, block)) = self.link.arrivals.front().copied() {
            let next = at.min(self.next_look);
            if next > end {
                break;
            }
            self.now = next;
            if next == self.next_look {
                self.pipeline.tune(next);
                self.next_look = next + LOOK;
            } else {
                self.link.arrivals.pop_front();
                assert!(self.pipeline.answered(next, block));
                self.blocks += 1;
            }
            self.fill();
        }
        self.now = end;
    }

    fn fill(&mut self) {
        for _ in 0..self.pipeline.room() {
            let asked = block(self.next);
            self.next += 1;
            self.pipeline.requested(self.now, asked);
            let micros = u64::from(BLOCK_SIZE) * 1_000_000 / self.link.bytes_per_second;
            let there = self.now + self.link.round_trip / 2;
            self.link.free = self.link.free.max(there) + Duration::from_micros(micros.max(1));
            self.link.arrivals.push_back((self.link.free + self.link.round_trip / 2, asked));
        }
    }

    /// How long a request made now would wait.
    fn queue(&self) -> Duration {
        self.link.arrivals.back().map_or(Duration::ZERO, |(at, _)| *at - self.now)
    }

    /// Share of the link used over the next `span`.
    fn share(&mut self, span: Duration) -> f64 {
        let before = self.blocks;
        self.run_for(span);
        let bytes = (self.blocks - before) * u64::from(BLOCK_SIZE);
        bytes as f64 / (self.link.bytes_per_second as f64 * span.as_secs_f64())
    }
}

fn block(index: u32) -> BlockRef {
    BlockRef { piece: PieceIndex::new(0), block: BlockIndex::new(index) }
}

fn at(millis: u64) -> Moment {
    Moment::from_micros(millis * 1000)
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

const GBIT: u64 = 125_000_000;

#[test]
fn ten_gigabits_over_twenty_milliseconds_are_full_after_four_round_trips() {
    let mut scene = Scene::new(10 * GBIT, ms(20));
    scene.run_for(ms(80));
    assert!(scene.pipeline.depth >= 1526, "{}", scene.pipeline.depth);
    let share = scene.share(ms(1000));
    assert!(share >= 0.99, "{share}");
}

#[test]
fn a_gigabit_over_a_hundred_milliseconds_is_full_after_six_round_trips() {
    let mut scene = Scene::new(GBIT, ms(100));
    scene.run_for(ms(600));
    assert!(scene.pipeline.depth >= 763, "{}", scene.pipeline.depth);
    let share = scene.share(ms(2000));
    assert!(share >= 0.99, "{share}");
}

#[test]
fn a_slow_peer_never_owes_more_than_a_second_of_its_link() {
    let mut scene = Scene::new(GBIT / 1000, ms(20));
    for _ in 0..200 {
        scene.run_for(ms(50));
        assert!(scene.queue() <= ms(1000), "{:?}", scene.queue());
    }
    let share = scene.share(ms(10_000));
    assert!(share >= 0.98, "{share}");
}

#[test]
fn the_depth_grows_no_slower_after_a_long_idle_time() {
    let mut scene = Scene::new(GBIT, ms(100));
    // The connection was there for a minute before the peer let us ask.
    scene.now = at(60_000);
    scene.next_look = scene.now + LOOK;
    scene.run_for(ms(600));
    assert!(scene.pipeline.depth >= 763, "{}", scene.pipeline.depth);
}

#[test]
fn one_slow_look_does_not_shrink_the_depth_and_a_slow_second_does() {
    let mut scene = Scene::new(GBIT, ms(20));
    scene.run_for(ms(2000));
    let before = scene.pipeline.depth;
    scene.link.bytes_per_second = GBIT / 100;
    scene.run_for(ms(300));
    assert_eq!(scene.pipeline.depth, before);
    // What was asked for at the old rate has to come first.
    scene.run_for(ms(60_000));
    assert!(scene.pipeline.depth * 20 < before, "{} of {before}", scene.pipeline.depth);
    scene.link.bytes_per_second = GBIT;
    scene.run_for(ms(2000));
    assert!(scene.pipeline.depth * 10 >= before * 9, "{} of {before}", scene.pipeline.depth);
}

#[test]
fn a_queue_at_the_peer_is_not_taken_for_a_long_path() {
    let mut pipeline = Pipeline::new(at(0));
    pipeline.requested(at(0), block(0));
    // It served others for ten seconds first, then gives a block every 100 ms.
    assert!(pipeline.answered(at(10_000), block(0)));
    for index in 1..100u64 {
        let owed = block(u32::try_from(index).unwrap());
        pipeline.requested(at(9_900 + index * 100), owed);
        assert!(pipeline.answered(at(10_000 + index * 100), owed));
        pipeline.requested(at(10_000 + index * 100), block(1000));
        pipeline.tune(at(10_000 + index * 100));
        assert!(pipeline.withdrawn(block(1000)));
    }
    assert!(pipeline.depth <= 10, "{}", pipeline.depth);
}

#[test]
fn the_peers_own_bound_and_ours_are_kept() {
    let mut scene = Scene::new(10 * GBIT, ms(20));
    scene.pipeline.set_reqq(100);
    scene.run_for(ms(500));
    assert_eq!(scene.pipeline.depth, 100);
    scene.pipeline.set_reqq(usize::MAX);
    scene.run_for(ms(500));
    assert_eq!(scene.pipeline.depth, DEPTH_MAX);
    assert!(scene.pipeline.owed() <= DEPTH_MAX);
}

#[test]
fn a_block_that_is_not_owed_is_told_apart() {
    let mut pipeline = Pipeline::new(at(0));
    pipeline.requested(at(0), block(1));
    assert!(!pipeline.answered(at(1), block(2)));
    assert!(pipeline.answered(at(1), block(1)));
    assert!(!pipeline.answered(at(1), block(1)));
}

#[test]
fn a_snubbing_peer_loses_what_it_owes_and_gets_one_request_until_it_delivers() {
    let mut pipeline = Pipeline::new(at(0));
    for index in 0..8 {
        pipeline.requested(at(0), block(index));
    }
    assert_eq!(pipeline.snub_at(), Some(at(20_000)));
    assert_eq!(pipeline.snub().len(), 8);
    assert_eq!((pipeline.room(), pipeline.snub_at()), (1, None));
    pipeline.tune(at(40_000));
    assert_eq!(pipeline.room(), 1);
    pipeline.requested(at(20_000), block(9));
    assert!(pipeline.answered(at(21_000), block(9)));
    assert!(!pipeline.is_snubbed());
    assert!(pipeline.room() > 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the link, once it has settled it is used and the queue is short.
    #[test]
    fn every_link_is_filled_and_none_is_flooded(
        rate in prop_oneof![50_000u64..2_000_000, 2_000_000u64..200_000_000],
        round_trip in 1u64..500,
    ) {
        let mut scene = Scene::new(rate, ms(round_trip));
        scene.run_for(ms(10_000));
        let share = scene.share(ms(5_000));
        let whole = rate * round_trip / 1000 / u64::from(BLOCK_SIZE) < 1500;
        // Blocks are counted whole: a thousandth of one is rounding, and no block less.
        let rounding = f64::from(BLOCK_SIZE) / 1000.0 / (rate as f64 * 5.0);
        prop_assert!(!whole || share + rounding >= 0.95, "used {share}");
        let block = ms(u64::from(BLOCK_SIZE) * 1000 / rate + 1);
        let most = hold(ms(round_trip) + block) * 5 / 4 + block * 4;
        prop_assert!(scene.queue() <= most, "a queue of {:?}, not {most:?}", scene.queue());
    }
}

#[test]
fn a_peer_is_late_by_what_it_usually_takes() {
    let mut pipeline = Pipeline::new(at(0));
    assert!(!pipeline.is_late(at(100_000)), "it owes nothing");
    pipeline.requested(at(100_000), block(0));
    assert!(!pipeline.is_late(at(104_999)));
    assert!(pipeline.is_late(at(105_000)), "of whom nothing is known the most is expected");
    assert!(pipeline.answered(at(105_100), block(0)));
    for n in 1..90 {
        pipeline.requested(at(105_100 + n * 10), block(0));
        assert!(pipeline.answered(at(105_110 + n * 10), block(0)));
    }
    pipeline.requested(at(110_000), block(0));
    assert!(!pipeline.is_late(at(110_999)), "a stall of a second is none");
    assert!(pipeline.is_late(at(111_000)), "it used to take 10 ms");
}
