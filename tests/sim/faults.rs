//! Worlds whose machines crash and come back, and whose disks refuse and forget.
//!
//! As `random`, and in addition whatever is verified and not synced may be gone after a crash,
//! a machine comes back at its old address as another process, reads and writes fail now and
//! then, and networks part for a while. `SWARM_SEEDS=10000` makes a night of it.

use super::disk::Faults;
use super::each_seed;
use super::random;
use super::world::World;
use std::time::Duration;

/// Seeds of a run in the tests.
const SEEDS: u64 = 30;

#[test]
fn any_world_with_an_honest_seed_outlives_crashes_and_bad_disks() {
    each_seed(SEEDS, end_well);
}

/// Seeds of 10,000 that once failed, for the same reasons as those in `random`.
#[test]
fn worlds_that_once_stood_still_outlive_crashes_and_bad_disks() {
    const SEEDS: [u64; 16] = [
        99, 2900, 2909, 3772, 4265, 5487, 6516, 6632, 6758, 8417, 8598, 8746, 8860, 9485, 9573,
        9834,
    ];
    for seed in SEEDS {
        end_well(seed);
    }
}

fn end_well(seed: u64) {
    let mut world = random::make(seed);
    let first = random::populate(&mut world);
    for host in 0..world.hosts.len() {
        let worst = world.rng.below(30);
        world.hosts[host].spec.faults =
            Faults { reads: world.rng.below(worst + 1), writes: world.rng.below(worst + 1) };
    }
    let mut crowd = disturb(&mut world, first);
    // From now on disks do as they are told, so that everybody must get there.
    for host in &mut world.hosts {
        host.spec.faults = Faults::default();
    }
    crowd.retain(|host| random::may_finish(&world, *host));
    world.finish(&crowd, Duration::from_secs(3600));
    world.run_for(Duration::from_secs(5));
    world.rest();
    world.part();
}

/// Crashes, breaks and parts; the fetchers that are there in the end.
fn disturb(world: &mut World, mut crowd: Vec<usize>) -> Vec<usize> {
    for _ in 0..4 + world.rng.below(8) {
        pause(world, 2_000_000);
        let chosen = world.rng.index(crowd.len());
        match world.rng.below(5) {
            0 => world.break_a_connection(crowd[chosen]),
            1 => {
                world.divide(|host| u8::from(host % 3 == 1));
                pause(world, 3_000_000);
                world.heal();
            }
            _ => {
                let found = world.crash(crowd[chosen]);
                pause(world, 1_000_000);
                crowd[chosen] = world.restart(crowd[chosen], found);
            }
        }
    }
    crowd
}

fn pause(world: &mut World, micros: u64) {
    let pause = world.rng.below(micros);
    world.run_for(Duration::from_micros(pause));
}
