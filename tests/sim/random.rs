//! Worlds nobody thought of: sizes, lines, conduct and accidents drawn from the seed.
//!
//! Each world has at least one honest seed that stays, so that everybody alive must finish.

use super::content::Content;
use super::each_seed;
use super::spec::{Conduct, Reach, Spec, Start, mbit};
use super::world::{Rng, World};
use std::time::Duration;

/// Seeds per run of the tests (LIMITS 4.10, "per change").
const SEEDS: u64 = 100;

#[test]
fn any_world_with_an_honest_seed_ends_well() {
    each_seed(SEEDS, |seed| end_well(make(seed)));
}

/// As above; and nobody hears of anybody from anybody but the tracker (BEP 27).
#[test]
fn any_private_world_ends_well() {
    each_seed(SEEDS / 4, |seed| {
        let (mut world, (total, piece_length)) = (make(seed), size(&mut Rng::new(seed)));
        world.content = Content::private(total, piece_length);
        end_well(world);
    });
}

/// Seeds of 10,000 that once failed: a seed led its crowd for ever, because what it had left to
/// give out everybody had, or because it waited for one that had asked and could not any more. Or two who claim everything and
/// give nothing owed the same blocks in turn, and filled the memory for pieces.
#[test]
fn worlds_that_once_stood_still_end_well() {
    const SEEDS: [u64; 18] = [
        1079, 1266, 1878, 2336, 2665, 4951, 5495, 5628, 6440, 7413, 8073, 8249, 8451, 8462, 8599,
        8688, 9053, 9376,
    ];
    for seed in SEEDS {
        end_well(make(seed));
    }
}

fn end_well(mut world: World) {
    let crowd: Vec<usize> = populate(&mut world);
    disturb(&mut world);
    let staying: Vec<usize> = crowd.into_iter().filter(|host| may_finish(&world, *host)).collect();
    world.finish(&staying, Duration::from_secs(3600));
    world.run_for(Duration::from_secs(5));
    world.rest();
    world.part();
}

/// Who is alive and does not stand in its own way: nobody serves who claims to have everything,
/// or who takes back what it asks for.
pub(super) fn may_finish(world: &World, host: usize) -> bool {
    let at = &world.hosts[host];
    at.alive && !matches!(at.spec.conduct, Conduct::Braggart | Conduct::Canceller)
}

pub(super) fn make(seed: u64) -> World {
    let mut rng = Rng::new(seed ^ 0x5eed);
    let (total, piece_length) = size(&mut rng);
    let mut world = World::new(seed, Content::new(total, piece_length));
    world.tracker = true;
    world.audit_every = 1 + rng.below(4);
    world
}

/// Bytes of the content, and of a piece.
fn size(rng: &mut Rng) -> (u64, u32) {
    let piece_length = [1_000, 16_384, 16_385, 40_000, 65_536, 131_072][rng.index(6)];
    let pieces = 1 + rng.below(24);
    let total = (pieces * u64::from(piece_length)).saturating_sub(rng.below(piece_length.into()));
    (total.max(1), piece_length)
}

pub(super) fn populate(world: &mut World) -> Vec<usize> {
    let mut seed = spec(world, Start::Seed).conduct(Conduct::Honest);
    // Of two whom nobody can dial none hears of the other.
    seed.reach = Reach::Everybody;
    world.add(seed);
    let count = 1 + world.rng.below(7);
    (0..count)
        .map(|_| {
            let start = match world.rng.below(5) {
                0 => Start::Magnet,
                1 => {
                    let salt = world.rng.next();
                    Start::Partial(world.pieces(|piece| (salt >> (piece % 64)) & 1 == 1))
                }
                _ => Start::Leech,
            };
            let spec = spec(world, start);
            world.add(spec)
        })
        .collect()
}

fn spec(world: &mut World, start: Start) -> Spec {
    let rng = &mut world.rng;
    let rates = [mbit(2), mbit(10), mbit(20), mbit(100), mbit(1000)];
    let mut spec = Spec::new(start).up(rates[rng.index(5)]).down(rates[rng.index(5)]);
    spec.latency = Duration::from_micros(rng.below(60_000));
    spec.fast = rng.below(4) > 0;
    spec.capacity = [1, 100_000, 1 << 20, 48 << 20][rng.index(4)];
    spec.send_budget = [1, 1 << 16, 1 << 20, 16 << 20][rng.index(4)];
    spec.conduct = match rng.below(20) {
        0 | 1 => Conduct::Liar { percent: 1 + rng.below(100) },
        2 | 3 => Conduct::FreeRider,
        4 => Conduct::Mute,
        5 => Conduct::Braggart,
        6 => Conduct::Canceller,
        7 => Conduct::Vanisher { every: 1 + rng.below(50) },
        _ => Conduct::Honest,
    };
    spec.reach = if rng.below(8) == 0 { Reach::Nobody } else { Reach::Everybody };
    spec
}

fn disturb(world: &mut World) {
    for _ in 0..world.rng.below(12) {
        let pause = Duration::from_micros(world.rng.below(1_500_000));
        world.run_for(pause);
        let host = world.rng.index(world.hosts.len());
        match world.rng.below(4) {
            0 | 1 => world.break_a_connection(host),
            2 => world.silence(host),
            _ if host > 0 && world.hosts[host].alive => {
                let have = world.hosts[host].have.clone();
                world.kill(host);
                let back = spec(world, Start::Partial(have));
                world.add(back);
            }
            _ => {}
        }
    }
}
