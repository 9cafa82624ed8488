//! Situations that swarms get into, each for several seeds.

use super::content::Content;
use super::oracle;
use super::seeds;
use super::spec::{Conduct, Spec, Start, mbit};
use super::world::World;
use std::time::Duration;

const KIB: u32 = 1024;
const PIECE: u32 = 64 * KIB;

fn world(seed: u64, pieces: u32) -> World {
    // The last piece is short, and so is its last block.
    let total = u64::from(pieces) * u64::from(PIECE) - 20_001;
    World::new(seed, Content::new(total, PIECE))
}

fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

/// Every request is answered in the end; then everybody leaves and nothing stays behind.
fn wind_up(world: &mut World) {
    let answered = |world: &World| oracle::check_answered(&world.hosts);
    world.run_until(minutes(2), |world| answered(world).is_ok());
    answered(world).unwrap_or_else(|broken| panic!("{broken}"));
    world.part();
}

#[test]
fn one_seed_serves_one() {
    for seed in seeds(8) {
        let mut world = world(seed, 32);
        let from = world.add(Spec::seed());
        let to = world.add(Spec::leech());
        world.introduce(to, &[from]);
        world.finish(&[to], minutes(1));
        // 2 MiB at 20 Mbit/s are 0.84 s: no pipe may run dry for long.
        assert!(world.hosts[to].done_at.unwrap().as_micros() < 1_100_000);
        assert_eq!(world.hosts[to].totals.dropped, 0);
        wind_up(&mut world);
    }
}

#[test]
fn a_seed_that_dials_is_as_good_as_one_that_is_dialled() {
    let mut world = world(1, 16);
    let to = world.add(Spec::leech());
    let from = world.add(Spec::seed());
    world.introduce(from, &[to]);
    world.finish(&[to], minutes(1));
    wind_up(&mut world);
}

#[test]
fn peers_without_the_fast_extension_get_everything_too() {
    for seed in seeds(4) {
        let mut world = world(seed, 24);
        world.tracker = true;
        let mut plain = Spec::leech();
        plain.fast = false;
        let mut old_seed = Spec::seed();
        old_seed.fast = false;
        world.add(old_seed);
        let hosts = [world.add(plain.clone()), world.add(plain), world.add(Spec::leech())];
        world.finish(&hosts, minutes(2));
        wind_up(&mut world);
    }
}

#[test]
fn one_seed_serves_a_crowd_of_forty_nine() {
    for seed in seeds(1) {
        let mut world = world(seed, 48);
        world.tracker = true;
        world.audit_every = 97;
        world.add(Spec::seed());
        let crowd: Vec<usize> = (0..49).map(|_| world.add(Spec::leech())).collect();
        world.finish(&crowd, minutes(5));
        wind_up(&mut world);
    }
}

#[test]
fn a_seed_with_more_takers_than_slots_serves_them_all_in_turn() {
    for seed in seeds(2) {
        let mut world = world(seed, 64);
        // Little is handed out at a time, so that requests wait and a choke finds some.
        let mut spec = Spec::seed().up(mbit(4));
        spec.send_budget = 64 << 10;
        let from = world.add(spec);
        // They know nobody but the seed, so its slots are all there is.
        let takers: Vec<usize> = (0..14).map(|_| world.add(Spec::leech())).collect();
        for taker in &takers {
            world.introduce(*taker, &[from]);
        }
        // A turn takes a minute at most.
        world.run_for(Duration::from_secs(80));
        assert!(takers.iter().all(|taker| world.hosts[*taker].have.count() > 0), "one is starved");
        world.finish(&takers, minutes(4));
        wind_up(&mut world);
    }
}

#[test]
fn five_partial_seeds_of_which_none_is_complete_make_one_whole() {
    for seed in seeds(8) {
        let mut world = world(seed, 40);
        let partial: Vec<usize> = (0..5)
            .map(|fifth| {
                let have = world.pieces(|piece| piece % 5 == fifth);
                world.add(Spec::new(Start::Partial(have)))
            })
            .collect();
        let to = world.add(Spec::leech());
        world.introduce(to, &partial);
        world.finish(&[to], minutes(1));
        // Five uplinks of 20 Mbit/s: much faster than one could.
        assert!(world.hosts[to].done_at.unwrap().as_micros() < 700_000);
        assert!(partial.iter().all(|host| world.hosts[*host].totals.uploaded > 0));
        wind_up(&mut world);
    }
}

#[test]
fn a_second_seed_takes_over_when_the_first_dies_half_way() {
    for seed in seeds(8) {
        let mut world = world(seed, 48);
        let first = world.add(Spec::seed());
        let to = world.add(Spec::leech());
        world.introduce(to, &[first]);
        assert!(world.run_until(minutes(1), |world| world.hosts[to].have.count() >= 24));
        world.kill(first);
        world.run_for(Duration::from_secs(3));
        let before = world.hosts[to].have.count();
        assert!(before < 48);
        let second = world.add(Spec::seed());
        world.introduce(second, &[to]);
        world.finish(&[to], minutes(1));
        // What was verified is not fetched again; open pieces go on.
        let total = world.content.geometry().total_length();
        assert!(world.hosts[to].totals.downloaded < total + 4 * u64::from(PIECE));
        wind_up(&mut world);
    }
}

#[test]
fn a_crowd_outlives_its_seed_once_one_copy_is_out() {
    for seed in seeds(4) {
        let mut world = world(seed, 32);
        world.tracker = true;
        let from = world.add(Spec::seed());
        let crowd: Vec<usize> = (0..8).map(|_| world.add(Spec::leech())).collect();
        let out = |world: &World| {
            (0..32).all(|piece| {
                let piece = swarm_core::types::PieceIndex::new(piece);
                crowd.iter().any(|host| world.hosts[*host].have.contains(piece))
            })
        };
        assert!(world.run_until(minutes(2), out));
        world.kill(from);
        world.finish(&crowd, minutes(2));
        wind_up(&mut world);
    }
}

#[test]
fn a_poisoner_among_the_honest_is_banned_and_only_delays() {
    for seed in seeds(8) {
        let mut world = world(seed, 48);
        world.tracker = true;
        let liar = world.add(Spec::seed().conduct(Conduct::Liar { percent: 25 }));
        world.add(Spec::seed());
        let crowd: Vec<usize> = (0..4).map(|_| world.add(Spec::leech())).collect();
        world.finish(&crowd, minutes(3));
        let liar = world.hosts[liar].addr.ip();
        let harmed = |host: &usize| world.hosts[*host].totals.spoilt > 0;
        for host in crowd.iter().filter(|host| harmed(host)) {
            let banned = &world.hosts[*host].banned;
            assert!(banned.iter().any(|addr| addr.ip() == liar), "#{host} still trusts the liar");
        }
        wind_up(&mut world);
    }
}

#[test]
fn one_honest_seed_beats_three_liars() {
    for seed in seeds(8) {
        let mut world = world(seed, 32);
        let mut all: Vec<usize> = (0..3)
            .map(|_| world.add(Spec::seed().conduct(Conduct::Liar { percent: 50 })))
            .collect();
        all.push(world.add(Spec::seed()));
        let to = world.add(Spec::leech());
        world.introduce(to, &all);
        world.finish(&[to], minutes(3));
        wind_up(&mut world);
    }
}

#[test]
fn a_lonely_liar_is_banned_at_once_and_a_late_honest_seed_finishes() {
    for seed in seeds(4) {
        let mut world = world(seed, 16);
        let liar = world.add(Spec::seed().conduct(Conduct::Liar { percent: 100 }));
        let to = world.add(Spec::leech());
        world.introduce(to, &[liar]);
        world.run_for(Duration::from_secs(5));
        assert_eq!(world.hosts[to].banned.len(), 1);
        assert_eq!(world.hosts[to].have.count(), 0);
        let from = world.add(Spec::seed());
        world.introduce(to, &[from]);
        world.finish(&[to], minutes(1));
        wind_up(&mut world);
    }
}

#[test]
fn free_riders_get_theirs_and_do_not_starve_the_rest() {
    for seed in seeds(4) {
        let mut world = world(seed, 32);
        world.tracker = true;
        world.add(Spec::seed());
        let honest: Vec<usize> = (0..6).map(|_| world.add(Spec::leech())).collect();
        let riders: Vec<usize> =
            (0..3).map(|_| world.add(Spec::leech().conduct(Conduct::FreeRider))).collect();
        world.finish(&honest, minutes(2));
        world.finish(&riders, minutes(5));
        wind_up(&mut world);
    }
}

#[test]
fn a_peer_that_takes_requests_and_stays_silent_holds_nothing_up() {
    for seed in seeds(4) {
        let mut world = world(seed, 32);
        let mute = world.add(Spec::seed().conduct(Conduct::Mute));
        let from = world.add(Spec::seed());
        let to = world.add(Spec::leech());
        world.introduce(to, &[mute, from]);
        // Its blocks go to others when it snubs, after 20 s at most.
        world.finish(&[to], Duration::from_secs(30));
    }
}

#[test]
fn a_connection_that_dies_without_a_word_is_given_up() {
    for seed in seeds(4) {
        let mut world = world(seed, 48);
        let from = world.add(Spec::seed());
        let to = world.add(Spec::leech());
        world.introduce(to, &[from]);
        assert!(world.run_until(minutes(1), |world| world.hosts[to].have.count() >= 8));
        world.silence(from);
        // Both sides let go in bounded time and find each other again.
        world.finish(&[to], minutes(10));
        wind_up(&mut world);
    }
}

#[test]
fn broken_connections_cost_time_and_nothing_else() {
    for seed in seeds(8) {
        let mut world = world(seed, 64);
        world.tracker = true;
        world.add(Spec::seed());
        let crowd: Vec<usize> = (0..4).map(|_| world.add(Spec::leech())).collect();
        for _ in 0..20 {
            world.run_for(Duration::from_millis(150));
            let host = usize::try_from(world.rng.below(5)).unwrap();
            world.break_a_connection(host);
        }
        world.finish(&crowd, minutes(10));
        wind_up(&mut world);
    }
}

#[test]
fn hosts_come_and_go_and_those_who_stay_finish() {
    for seed in seeds(4) {
        let mut world = world(seed, 48);
        world.tracker = true;
        world.add(Spec::seed());
        let staying: Vec<usize> = (0..4).map(|_| world.add(Spec::leech())).collect();
        for _ in 0..10 {
            let guest = world.add(Spec::leech());
            world.run_for(Duration::from_millis(400));
            let have = world.hosts[guest].have.clone();
            world.kill(guest);
            // Half of them come back with what they had: a resume.
            if world.rng.below(2) == 0 {
                world.add(Spec::new(Start::Partial(have)));
            }
        }
        world.finish(&staying, minutes(3));
        wind_up(&mut world);
    }
}

#[test]
fn a_magnet_needs_nothing_but_a_peer() {
    for seed in seeds(8) {
        let mut world = world(seed, 24);
        let from = world.add(Spec::seed());
        let to = world.add(Spec::new(Start::Magnet));
        world.introduce(to, &[from]);
        world.finish(&[to], minutes(1));
        assert!(world.hosts[to].done_at.unwrap().as_micros() < 2_000_000);
        wind_up(&mut world);
    }
}

#[test]
fn metadata_of_many_pieces_comes_from_peers_that_are_no_seeds() {
    for seed in seeds(4) {
        // 5,000 pieces are 100 KB of metadata: seven pieces of it.
        let mut world = World::new(seed, Content::new(5_000 * 1024, 1024));
        world.audit_every = 1_009;
        let have = world.pieces(|piece| piece % 2 == 0);
        let rest = world.pieces(|piece| piece % 2 == 1);
        let some = [Spec::new(Start::Partial(have)), Spec::new(Start::Partial(rest))];
        let from = some.map(|spec| world.add(spec));
        let to = world.add(Spec::new(Start::Magnet));
        world.introduce(to, &from);
        world.finish(&[to], minutes(2));
        wind_up(&mut world);
    }
}

#[test]
fn a_whole_crowd_starts_from_a_magnet() {
    for seed in seeds(2) {
        let mut world = world(seed, 24);
        world.tracker = true;
        world.add(Spec::seed());
        let crowd: Vec<usize> = (0..8).map(|_| world.add(Spec::new(Start::Magnet))).collect();
        world.finish(&crowd, minutes(3));
        wind_up(&mut world);
    }
}

#[test]
fn only_what_is_wanted_is_fetched() {
    for seed in seeds(4) {
        let mut world = world(seed, 40);
        let wanted = world.pieces(|piece| (7..13).contains(&piece) || piece == 39);
        let from = world.add(Spec::seed());
        let to = world.add(Spec::leech().wanted(wanted.clone()));
        world.introduce(to, &[from]);
        world.finish(&[to], minutes(1));
        world.run_for(Duration::from_secs(5));
        assert_eq!(world.hosts[to].have, wanted);
        wind_up(&mut world);
    }
}

/// Far more than it looks for at first: what it lacks may be with those it has not met.
#[test]
fn a_torrent_that_fifty_have_a_piece_each_of_is_fetched_from_all_fifty() {
    for seed in seeds(4) {
        let mut world = world(seed, 50);
        let parts: Vec<usize> = (0..50)
            .map(|part| {
                let mine = world.pieces(|piece| piece == part);
                let mut spec = Spec::new(Start::Partial(mine.clone()));
                spec.wanted = Some(mine);
                world.add(spec)
            })
            .collect();
        let to = world.add(Spec::leech());
        world.introduce(to, &parts);
        world.finish(&[to], Duration::from_secs(4));
        wind_up(&mut world);
    }
}

#[test]
fn two_who_want_different_halves_and_a_third_who_wants_all_of_both() {
    for seed in seeds(4) {
        let mut world = world(seed, 32);
        let halves = [world.pieces(|piece| piece < 16), world.pieces(|piece| piece >= 16)];
        let partial = halves.map(|half| {
            let mut spec = Spec::new(Start::Partial(half.clone()));
            spec.wanted = Some(half);
            world.add(spec)
        });
        let to = world.add(Spec::leech());
        world.introduce(to, &partial);
        world.finish(&[to], minutes(1));
        wind_up(&mut world);
    }
}

#[test]
fn little_memory_slows_a_fetch_and_does_not_stop_it() {
    for seed in seeds(4) {
        let mut world = world(seed, 32);
        let from: Vec<usize> = (0..3).map(|_| world.add(Spec::seed())).collect();
        let mut spec = Spec::leech();
        spec.capacity = 1;
        let to = world.add(spec);
        world.introduce(to, &from);
        world.finish(&[to], minutes(1));
        wind_up(&mut world);
    }
}

#[test]
fn a_host_named_by_its_own_address_does_not_talk_to_itself() {
    let mut world = world(3, 8);
    let from = world.add(Spec::seed());
    let to = world.add(Spec::leech());
    world.introduce(to, &[to, from, to]);
    world.introduce(from, &[from, to]);
    assert!(world.run_until(minutes(1), |world| world.hosts[to].have.count() >= 4));
    assert_eq!(world.hosts[to].peers.len(), 1);
    world.finish(&[to], minutes(1));
    wind_up(&mut world);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let mut world = world(seed, 16);
        world.tracker = true;
        world.add(Spec::seed());
        world.add(Spec::seed().conduct(Conduct::Liar { percent: 30 }));
        let crowd: Vec<usize> = (0..5).map(|_| world.add(Spec::leech())).collect();
        world.run_for(Duration::from_millis(700));
        world.break_a_connection(crowd[0]);
        world.finish(&crowd, minutes(3));
        (world.trace().hash(), world.trace().events())
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}
