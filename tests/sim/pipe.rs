//! One seed, one fetcher, one link: whether the pipe is full, how soon, and never too full.
//!
//! The whole core takes part, not the pipeline alone: picker, memory for open pieces, serving
//! and its budget must all keep up with 76,000 blocks a second.
//!
//! Not here: TCP, whose slow start and windows come on top (`tests/bench/far.py` has both).

use super::content::Content;
use super::spec::{Conduct, Spec, mbit};
use super::world::World;
use std::time::Duration;

const PIECE: u32 = 1 << 20;
/// Every byte of a block costs so many on the line: the header in front of it.
const OVERHEAD: f64 = (16_384.0 + 13.0) / 16_384.0;

/// A world with one link between a seed and a fetcher, host 0 and host 1.
struct Pipe {
    world: World,
    bytes_per_second: u64,
}

impl Pipe {
    fn new(mbits: u64, round_trip: Duration, mib: u64) -> Self {
        let mut world = World::new(1, Content::new(mib << 20, PIECE));
        world.audit_every = 50_021;
        let end = |mut spec: Spec| {
            spec.latency = round_trip / 4;
            spec.capacity = 48 << 20;
            // Two cores, with lanes: the link is what is looked at.
            spec.hash_rate = 4_000_000_000;
            spec.up(mbit(mbits)).down(mbit(mbits))
        };
        let from = world.add(end(Spec::seed()));
        let to = world.add(end(Spec::leech()));
        world.introduce(to, &[from]);
        // Both checked what they have, shook hands and said that they are interested.
        let begun = |world: &World| world.hosts[1].totals.downloaded > 0;
        assert!(world.run_until(Duration::from_secs(10), begun));
        Self { world, bytes_per_second: mbit(mbits) }
    }

    /// Share of the link that carries payload over the next `span`.
    fn share(&mut self, span: Duration) -> f64 {
        let before = self.world.hosts[1].totals.downloaded;
        self.world.run_for(span);
        let bytes = self.world.hosts[1].totals.downloaded - before;
        bytes as f64 * OVERHEAD / (self.bytes_per_second as f64 * span.as_secs_f64())
    }

    /// How long the blocks that are owed would keep the link busy.
    fn queue(&self) -> Duration {
        let seen = self.world.hosts[1].core.snapshot(self.world.now);
        let owed: usize = seen.peers.iter().map(|peer| peer.owed).sum();
        Duration::from_secs_f64((owed * 16_384) as f64 / self.bytes_per_second as f64)
    }
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

#[test]
fn ten_gigabits_over_twenty_milliseconds_are_full_within_five_round_trips() {
    let mut pipe = Pipe::new(10_000, ms(20), 512);
    pipe.world.run_for(ms(5 * 20));
    let share = pipe.share(ms(200));
    assert!(share >= 0.95, "{share:.3} of the link");
}

#[test]
fn a_gigabit_over_a_hundred_milliseconds_is_full_within_seven_round_trips() {
    let mut pipe = Pipe::new(1_000, ms(100), 256);
    pipe.world.run_for(ms(7 * 100));
    let share = pipe.share(ms(700));
    assert!(share >= 0.95, "{share:.3} of the link");
}

#[test]
fn a_gigabit_by_satellite_is_filled_as_far_as_the_deepest_pipe_goes() {
    // 2,048 blocks in flight for 600 ms and their own time on the line are 0.39 Gbit/s.
    let mut pipe = Pipe::new(1_000, ms(600), 256);
    pipe.world.run_for(Duration::from_secs(12));
    let share = pipe.share(ms(600));
    assert!(share >= 0.35, "{share:.3} of the link");
}

#[test]
fn a_megabit_is_never_asked_for_more_than_a_second_of_it() {
    let mut pipe = Pipe::new(1, ms(40), 8);
    for _ in 0..100 {
        pipe.world.run_for(ms(100));
        assert!(pipe.queue() <= ms(1000), "{:?}", pipe.queue());
    }
    let share = pipe.share(Duration::from_secs(10));
    assert!(share >= 0.95, "{share:.3} of the link");
}

#[test]
fn what_a_stalled_peer_owes_is_fetched_from_another_within_the_time_of_a_snub() {
    let mut pipe = Pipe::new(100, ms(20), 64);
    pipe.world.run_for(ms(500));
    let world = &mut pipe.world;
    world.hosts[0].spec.conduct = Conduct::Mute;
    world.run_for(ms(1000));
    let slow = world.add(Spec::seed().up(mbit(100)).down(mbit(100)));
    world.introduce(1, &[slow]);
    // 64 MiB take 5.4 s; what the mute one owes is free after 20 s at the latest.
    world.finish(&[1], Duration::from_secs(27));
}
